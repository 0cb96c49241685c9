"""The signals of a gate that ask a model, and which of them are not asked any more."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

from serl_trl.filters.validity.asked import Asked, AskedSignal
from serl_trl.filters.validity.sign import Sign
from serl_trl.labels.base import POLICY, Tools

# A signal that doubts given questions more than this, which are valid, cannot tell.
_MAX_DOUBT_OF_SEEDS = 0.5
# One that says the same of nearly all questions, of so many, tells nothing and costs completions.
_WINDOW, _MIN_TELLING = 64, 0.05

logger = logging.getLogger(__name__)


@dataclass
class Asking:
    """Asks `signals` about questions: the policy, or the teacher of the run (`model`).

    A signal is `unused` from where it shows that it cannot tell: its scores of the seeds, which are
    valid, average over 0.5, or of 64 questions in a row over 95 % got the same score. The log says
    so. `scores` are those of the last questions, fewer than 64, by signal.
    """

    signals: tuple[AskedSignal, ...] = ()
    model: str = POLICY
    unused: tuple[str, ...] = ()
    scores: dict[str, list[float]] = field(default_factory=dict)

    @property
    def used(self) -> list[AskedSignal]:
        """The signals that are still asked."""
        return [each for each in self.signals if each.name not in self.unused]

    @property
    def num_completions(self) -> int:
        """The most completions that a question costs."""
        return sum(signal.num_completions for signal in self.used)

    def judge(self, questions: Sequence[Asked], tools: Tools) -> dict[str, list[Sign]]:
        """Return the signs of the questions, by signal, and drop the signals that say the same."""
        found = self._ask(questions, tools)
        self._drop(self._hear(tools.decide(lambda: _scores(found))))
        return found

    def try_on_seeds(self, questions: Sequence[Asked], tools: Tools) -> None:
        """Drop the signals that doubt most of these questions, which are valid."""
        found = self._ask(questions, tools)
        self._drop(_doubting(tools.decide(lambda: _scores(found))))

    def _ask(self, questions: Sequence[Asked], tools: Tools) -> dict[str, list[Sign]]:
        if self.model != POLICY:
            tools = replace(tools, complete=partial(tools.complete, model=self.model))
        return {each.name: each.judge(questions, tools) for each in self.used}

    def _hear(self, found: Mapping[str, Sequence[float]]) -> dict[str, str]:
        """Remember the scores of questions, and return which signals say the same of nearly all."""
        silent = {}
        for name, scores in found.items():
            heard = self.scores.setdefault(name, [])
            heard += scores
            if len(heard) >= _WINDOW:
                ((score, same),) = Counter(heard).most_common(1)
                if len(heard) - same < _MIN_TELLING * len(heard):
                    silent[name] = f"gives {same} of {len(heard)} questions the same {score:.2f}"
                heard.clear()
        return silent

    def _drop(self, reasons: Mapping[str, str]) -> None:
        for name, reason in reasons.items():
            logger.warning(
                "validity: %s %s, so it is not asked any more. Its options may mend that.",
                name,
                reason,
            )
        self.unused = (*self.unused, *reasons)

    def state_dict(self) -> Mapping[str, Any]:
        """Return what was learnt of the signals, as JSON values."""
        return {"unused": list(self.unused), "scores": self.scores}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.unused = tuple(state["unused"])
        self.scores = {name: list(each) for name, each in state["scores"].items()}


def _scores(signs: Mapping[str, Sequence[Sign]]) -> dict[str, list[float]]:
    return {name: [sign.score for sign in each] for name, each in signs.items()}


def _doubting(scores: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Return which signals doubt most of the seeds, by their scores of these."""
    doubts = {name: fmean(each) for name, each in scores.items()}
    return {
        name: f"doubts the given instructions ({doubt:.2f} on average, of 1), which are valid"
        for name, doubt in doubts.items()
        if doubt > _MAX_DOUBT_OF_SEEDS
    }
