"""What the option `validity` chooses: how much is refused, and which signals ask the model."""

from collections.abc import Collection
from dataclasses import dataclass

from serl_trl.common.completion import REFERENCE
from serl_trl.common.plugin import Plugin, is_path, shown, split_list
from serl_trl.filters.validity.registry import ASKED_SIGNALS, find_asked

AUTO, CAREFUL, STRICT, WEIGH, OFF = "auto", "careful", "strict", "weigh", "off"
_SETTINGS = (AUTO, CAREFUL, STRICT, WEIGH, OFF)
# What `auto` asks, as a share of the votes. For 16 votes it is what the study trained with.
# Names are left unread: a very small model puts them anew when it restates.
_ASKED = {"abstention(num={})": 1 / 2, "restatable(num={},keep_names=False)": 1 / 4}


@dataclass(frozen=True)
class Choice:
    """`on`: there is a gate; `strict`: most of what it keeps shall be valid, not just likely.

    `weigh`: what a kept group teaches is multiplied by the chance that its question is valid.
    `asked` are the signals that ask the model, in the order given.
    """

    on: bool
    strict: bool
    weigh: bool = False
    asked: tuple[Plugin, ...] = ()

    @property
    def judge(self) -> str:
        """The model that the signals ask: the first that one of them names, or the reference."""
        named = [(each.options or {}).get("by", REFERENCE) for each in self.asked]
        return next((name for name in named if name != REFERENCE), REFERENCE)

    @property
    def num_completions(self) -> int:
        """The most completions that a question costs beside its votes; plug-ins are not asked."""
        return sum(each.make().num_completions for each in self.asked if not each.foreign)


NO_GATE = Choice(on=False, strict=False)


def read_choice(
    value: str | bool, plugins: Collection[str] = (), *, group_size: int = 16
) -> Choice:
    """Return what the option's `value` chooses; a bare `off` of YAML comes as False.

    `auto` is strict and asks `abstention` and `restatable`, half and a quarter as often as a group
    has votes, unless they are named with options of their own. Calls nothing of a plug-in. Raises
    `ValueError` for an unknown word, and for off beside another.
    """
    names = _names(value)
    for name in names:
        if name.partition("(")[0] not in (*_SETTINGS, *ASKED_SIGNALS) and not is_path(name):
            known = ", ".join(ASKED_SIGNALS)
            raise ValueError(
                f"validity={shown(name)} is unknown; choose auto, careful, strict, weigh or off, "
                f"or signals that ask the model: {known}."
            )
    if not names or (OFF in names and len(names) > 1):
        raise ValueError(f"validity={shown(str(value))} must be off alone, or leave off out.")
    asked = [name for name in names if name not in _SETTINGS]
    if AUTO in names:
        given = {name.partition("(")[0] for name in asked}
        usual = [text.format(max(1, int(share * group_size))) for text, share in _ASKED.items()]
        asked += [text for text in usual if text.partition("(")[0] not in given]
    found = tuple(find_asked(name, plugins) for name in asked)
    return Choice(OFF not in names, is_strict(value), WEIGH in names, found)


def is_strict(value: str | bool) -> bool:
    """Return whether the option's `value` chooses strict or auto; looks nothing up."""
    return not {STRICT, AUTO}.isdisjoint(_names(value))


def _names(value: str | bool) -> list[str]:
    return [OFF] if value is False else split_list(str(value))
