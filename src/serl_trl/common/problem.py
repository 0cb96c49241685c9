"""What is wrong with an option, as a value; the sentence that people read is written from it."""

from dataclasses import dataclass
from typing import Any

from serl_trl.common.text import near_matches, visible


@dataclass(frozen=True)
class Problem:
    """Why `option` cannot have its `value`: the rule, the way out, and where the value was given.

    Without an option the rule is the whole sentence. No value is shown where that is `None`.
    `others` are the options that the rule names too. A way out that begins with a capital letter
    is a sentence of its own.
    """

    option: str
    value: Any = None
    rule: str = ""
    way_out: str = ""
    place: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        subject = self.option if self.value is None else f"{self.option}={_shown(self.value)}"
        text = f"{subject}{self.rule}" if self.rule[:1] in ":," else f"{subject} {self.rule}"
        if self.way_out:
            text += f". {self.way_out}" if self.way_out[0].isupper() else f"; {self.way_out}"
        # What stands in the middle of a sentence may end as one: examples, a hint, a reason.
        text = text.strip() if text.endswith((".", "?")) else f"{text.strip()}."
        return f"{text} ({self.place})" if self.place else text


def unknown_choice(option: str, value: Any, known: tuple[Any, ...]) -> Problem:
    """Return the problem of a value that is not in `known`, with what was probably meant."""
    names = [str(choice) for choice in known]
    hint = near_matches(str(value), names).strip()
    rule = f"is unknown; choose one of {', '.join(names)}"
    return Problem(option, value, rule, hint)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else visible(str(value))
