"""What the option `validity` chooses: how much is refused, and which signals ask the model."""

from collections.abc import Collection
from dataclasses import dataclass

from serl_trl.common.plugin import Plugin, is_path, shown, split_list
from serl_trl.filters.validity.registry import ASKED_SIGNALS, find_asked

AUTO, STRICT, WEIGH, OFF = "auto", "strict", "weigh", "off"
_SETTINGS = (AUTO, STRICT, WEIGH, OFF)


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
    def num_completions(self) -> int:
        """The most completions that a question costs beside its votes; plug-ins are not asked."""
        return sum(each.make().num_completions for each in self.asked if not each.foreign)


def read_choice(value: str | bool, plugins: Collection[str] = ()) -> Choice:
    """Return what the option's `value` chooses; a bare `off` of YAML comes as False.

    Calls nothing of a plug-in. Raises `ValueError` for an unknown word, and for off beside another.
    """
    names = _names(value)
    for name in names:
        if name.partition("(")[0] not in (*_SETTINGS, *ASKED_SIGNALS) and not is_path(name):
            known = ", ".join(ASKED_SIGNALS)
            raise ValueError(
                f"validity={shown(name)} is unknown; choose auto, strict, weigh or off, or signals "
                f"that ask the model: {known}."
            )
    if not names or (OFF in names and len(names) > 1):
        raise ValueError(f"validity={shown(str(value))} must be off alone, or leave off out.")
    asked = tuple(find_asked(name, plugins) for name in names if name not in _SETTINGS)
    return Choice(OFF not in names, STRICT in names, WEIGH in names, asked)


def is_strict(value: str | bool) -> bool:
    """Return whether the option's `value` chooses strict; looks nothing up."""
    return STRICT in _names(value)


def _names(value: str | bool) -> list[str]:
    return [OFF] if value is False else split_list(str(value))
