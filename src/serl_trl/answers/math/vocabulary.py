"""The words, signs and LaTeX commands that answers are written in; they lie in vocabulary.yaml."""

from fractions import Fraction

from serl_trl.common.plain_yaml import own_table

_LISTS = own_table(__file__)


def _set_of(name: str) -> frozenset[str]:
    return frozenset(_LISTS[name].split())


def _spelled(name: str) -> dict[str, str]:
    """Every word between two commas means the first of them."""
    spellings = [words.split() for words in _LISTS[name].split(",")]
    return {word: words[0] for words in spellings for word in words}


SIGNS: dict[str, str] = _LISTS["signs"]
COMMANDS: dict[str, str] = dict.fromkeys(_set_of("layout"), "") | _LISTS["commands"]
GREEK, FONTS, ACCENTS = _set_of("greek"), _set_of("fonts"), _set_of("accents")
TRIGONOMETRIC, RELATIONS, VECTORS = map(_set_of, ("trigonometric", "relations", "vectors"))
NAMES = _set_of("names")
OTHER_NAMES: dict[str, str] = _LISTS["other_names"]
UNITS, SHORT_WORDS, NO_UNITS = map(_set_of, ("units", "short_words", "no_units"))
MULTIPLIERS = {word: Fraction(value) for word, value in _LISTS["multipliers"].items()}
EXPRESSIONS = (
    GREEK
    | TRIGONOMETRIC
    | _set_of("expressions")
    | {f"\\{end}{{{kind}matrix}}" for end in ("begin", "end") for kind in ("p", "b", "v", "")}
)
PHRASES = {each: phrase for phrase, same in _LISTS["phrases"].items() for each in same}
MEASURES, SIDES, SENSES = map(_spelled, ("measures", "sides", "senses"))
COMPASS: dict[str, str] = _LISTS["compass"]
POWERS: dict[str, int] = _LISTS["powers"]
NEUTRAL, STEPS = _set_of("neutral"), _set_of("steps")
