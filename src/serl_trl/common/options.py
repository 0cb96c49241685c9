"""How an option of a run or a command is declared: default, help text, choices."""

from dataclasses import field
from typing import Any


def option(default: Any, help_text: str, **metadata: Any) -> Any:
    """Return a dataclass field; the help text says meaning, unit, range and source."""
    return field(default=default, metadata={"help": help_text, **metadata})
