"""The fixed words of a report, read once from `words.yaml`; the curves of `curves.yaml`."""

from importlib.resources import files
from typing import Any

import yaml


def read_table(name: str) -> Any:
    """Return the content of one of the tables beside this file."""
    return yaml.safe_load(files("serl_trl.report").joinpath(name).read_text(encoding="utf-8"))


_WORDS = read_table("words.yaml")

REASONS: dict[str, str] = _WORDS["reasons"]
"""Why a proposal or a group was refused; a filter of the user's own has no row."""
DETAILS: dict[str, str] = _WORDS["details"]
BOUNDS: dict[str, str] = _WORDS["bounds"]
GLOSSARY: dict[str, str] = _WORDS["glossary"]
OPTIONS: list[str] = _WORDS["options"]
