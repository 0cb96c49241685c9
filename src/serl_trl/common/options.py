"""How an option of a run or a command is declared: default, help, range, choices.

The field's metadata is the one home of these: help pages, checks and messages read them there.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

# For `usual`, where the default is the number of SeRL, arXiv 2505.20347.
PAPER = "the paper uses {default:g}"


@dataclass(frozen=True)
class Bounds:
    """The range of a number, both ends included, and what is usual in it or what it counts."""

    low: float
    high: float = math.inf
    usual: str = ""

    @property
    def words(self) -> str:
        """The range in words, to stand behind "must be"."""
        upper = "" if self.high == math.inf else f" and at most {self.high:g}"
        return f"at least {self.low:g}{upper}"


class _Help(str):
    """A help text that knows the range it states; argparse refuses metadata of other names."""

    bounds: Bounds | None = None


def option(
    default: Any,
    help_text: str,
    bounds: tuple[float, float] | None = None,
    usual: str = "",
    **metadata: Any,
) -> Any:
    """Return a dataclass field; help is the text with the range and what is usual behind it."""
    text = _Help(help_text)
    if bounds is not None:
        found = Bounds(*bounds, usual.format(default=default))
        text = _Help(f"{help_text} {found.words.capitalize()}; {found.usual}.")
        text.bounds = found
    # A list is copied for each config, so that no two share one.
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={"help": text, **metadata})
    return field(default=default, metadata={"help": text, **metadata})


def bounds_of(*types: Any) -> dict[str, Bounds]:
    """Return the ranges of the options that dataclasses declare, by their names."""
    return {
        item.name: bounds
        for each in types
        for item in fields(each)
        if (bounds := getattr(item.metadata.get("help"), "bounds", None))
    }


def choices_of(*types: Any) -> dict[str, tuple[Any, ...]]:
    """Return the values that options of dataclasses are chosen from, by their names."""
    return {
        item.name: tuple(item.metadata["choices"])
        for each in types
        for item in fields(each)
        if "choices" in item.metadata
    }
