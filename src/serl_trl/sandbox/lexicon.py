"""The words that fill the slots of the sandbox's problems, read from `lexicon.yaml`."""

from serl_trl.common.plain_yaml import own_table

_LISTS = own_table(__file__)

FAMILIES: dict[str, list[str]] = {name: text.split() for name, text in _LISTS["families"].items()}
# A solver takes any word in a slot, but not another verb: it may mean another computation.
CLOSED_FAMILIES = frozenset(_LISTS["closed"].split())
# "Seven Ada" or "half apples": words that change what is computed wherever they stand.
MEANING_WORDS = frozenset(_LISTS["meaning"].split())
