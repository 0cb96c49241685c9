"""The words that fill the slots of the sandbox's problems, read from `lexicon.yaml`."""

from pathlib import Path

import yaml

_LISTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

FAMILIES: dict[str, list[str]] = {name: text.split() for name, text in _LISTS["families"].items()}
# A solver takes any word in a slot, but not another verb: it may mean another computation.
CLOSED_FAMILIES = frozenset(_LISTS["closed"].split())
# "Seven Ada" or "half apples": words that change what is computed wherever they stand.
MEANING_WORDS = frozenset(_LISTS["meaning"].split())
