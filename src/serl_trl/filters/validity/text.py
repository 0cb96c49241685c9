"""The signals that read a text alone, and the filter that refuses by them.

Without a rollout: what a careful reader sees. A text whose signs come to `REFUSED_FROM` or more is
refused with the reason `validity`; the detail names the signal that counts most.
"""

from collections.abc import Callable, Collection, Mapping

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.filters.validity.missing import missing
from serl_trl.filters.validity.quantities import quantities
from serl_trl.filters.validity.sign import Sign, add_up
from serl_trl.filters.validity.spelling import spelling
from serl_trl.filters.validity.stray import stray
from serl_trl.filters.validity.unfinished import unfinished

TextSignal = Callable[[str], Sign]

# These read English.
ENGLISH_SIGNALS: dict[str, TextSignal] = {
    signal.__name__: signal for signal in (stray, quantities, missing, spelling)
}
TEXT_SIGNALS: dict[str, TextSignal] = {**ENGLISH_SIGNALS, "unfinished": unfinished}

REFUSED_FROM = 0.5
_SPELT = spelling.__name__


def doubt(text: str, names: Collection[str] = TEXT_SIGNALS) -> Sign:
    """Return the signs that the text signals `names` see in `text`, added up."""
    return add_up(TEXT_SIGNALS[name](text) for name in names)


def signals_of(filters: Collection[object], *, spelt: bool = True) -> frozenset[str]:
    """Return the names of the signals that the `filters` of a run read; `spelt`: spelling too."""
    english = {*ENGLISH_SIGNALS} - (set() if spelt else {_SPELT})
    names = english if "validity" in filters else set()
    return frozenset(names | ({"unfinished"} if "unfinished" in filters else set()))


def check_validity(text: str, *, spelt: bool = True) -> Verdict:
    """Refuse what a reader of English sees is no question with an answer.

    Without `spelt` the spelling is not looked at: the domain has words of its own.
    """
    signals = {name: ENGLISH_SIGNALS[name] for name in ENGLISH_SIGNALS if spelt or name != _SPELT}
    return _judge(text, signals)


def check_unfinished(text: str) -> Verdict:
    """Refuse texts that are cut off or caught in a loop, in any language."""
    return _judge(text, {"unfinished": unfinished})


def _judge(text: str, signals: Mapping[str, TextSignal]) -> Verdict:
    signs = {name: signal(text) for name, signal in signals.items()}
    if add_up(signs.values()).score < REFUSED_FROM:
        return KEEP
    deciding = max(signs, key=lambda name: signs[name].score)
    found = signs[deciding].found[:80]
    return Verdict(False, "validity", {"signal": deciding, "found": found})
