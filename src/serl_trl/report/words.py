"""The fixed words of a report, read once from `words.yaml`."""

from serl_trl.common.plain_yaml import own_table

_WORDS = own_table(__file__)

DETAILS: dict[str, str] = _WORDS["details"]
BOUNDS: dict[str, str] = _WORDS["bounds"]
TRANSITIONS: dict[str, str] = _WORDS["transitions"]
GLOSSARY: dict[str, str] = _WORDS["glossary"]
OPTIONS: list[str] = _WORDS["options"]
