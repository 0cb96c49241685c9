"""What one refill counts and times, and the metrics this becomes; see `docs/metrics.md`."""

import time
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from serl_trl.answers.verifier import OUTCOMES
from serl_trl.answers.voting import Vote
from serl_trl.labels.base import Labelled
from serl_trl.loop.by_source import OfSource
from serl_trl.loop.label_trust import SplitHalf, split_half_error_bound

# The counts of a refill; each is logged under `num_` and its name.
COUNTS = (
    "proposals",
    "accepted",
    "empty_requests",
    "retried_requests",
    "groups",
    "repeated_groups",
    "surplus_dropped",
    "stale_used",
    "stale_dropped",
    "refill_rounds",
    "labeller_rollouts",
)

# The timed parts of a refill.
PARTS = ("propose", "filter", "rollout", "vote")


@dataclass
class Tally:
    """The counts, times and ratios of one refill while it runs."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    majority_ratios: list[float] = field(default_factory=list)
    majorities: list[str] = field(default_factory=list)
    kept_majority_ratios: list[float] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)
    likenesses: list[float] = field(default_factory=list)
    repetitions: list[float] = field(default_factory=list)
    label_hits: list[bool] = field(default_factory=list)
    kept_label_hits: list[bool] = field(default_factory=list)
    reward_hits: list[bool] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    halves: list[SplitHalf] = field(default_factory=list)
    of_labeller: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    of_source: defaultdict[str, OfSource] = field(default_factory=lambda: defaultdict(OfSource))
    _seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _part: str = ""
    _began: float = field(default_factory=time.perf_counter)
    _since: float = field(default_factory=time.perf_counter)

    @contextmanager
    def time(self, part: str) -> Generator[None]:
        """Add the seconds of the block to `part`; what is timed inside it counts there alone."""
        outer = self._turn_to(part)
        try:
            yield
        finally:
            self._turn_to(outer)

    def _turn_to(self, part: str) -> str:
        """Begin to count for `part` (empty: for none), and return what was counted for before."""
        # The clock never stands still: each moment belongs to one part, or to none.
        now = time.perf_counter()
        before, since = self._part, self._since
        self._seconds[before] += now - since
        self._part, self._since = part, now
        return before

    def note_group(self, labelled: Labelled, vote: Vote, label_right: bool | None) -> None:
        """Count a group with its vote, and whether its label is right where that is known."""
        kept = labelled.verdict.keep
        self.counts["groups"] += 1
        self.majority_ratios.append(vote.majority_ratio)
        self.majorities += [] if vote.answer is None else [vote.answer]
        self.kept_majority_ratios += [vote.majority_ratio] if kept else []
        if label_right is not None:
            self.label_hits.append(label_right)
            self.kept_label_hits += [label_right] if kept else []
        for name, value in labelled.metrics.items():
            self.of_labeller[name].append(value)

    def metrics(self) -> dict[str, float]:
        """Return the refill in numbers; a ratio over nothing is left out rather than 0."""
        counts = self.counts
        ratios = {
            "accepted_ratio": _ratio(counts["accepted"], counts["proposals"]),
            "kept_ratio": _ratio(len(self.kept_majority_ratios), counts["groups"]),
            "unparsable_ratio": _ratio(counts["unparsable"], counts["completions"]),
            "truncated_ratio": _ratio(counts["truncated"], counts["completions"]),
            "sampled_per_trained": _ratio(counts["sampled"], counts["trained"]),
            "majority_ratio": _mean(self.majority_ratios),
            "kept_majority_ratio": _mean(self.kept_majority_ratios),
            "label_accuracy": _mean(self.label_hits),
            "kept_label_accuracy": _mean(self.kept_label_hits),
            "reward_accuracy": _mean(self.reward_hits),
            "split_half_error_bound": split_half_error_bound(self.halves),
            "similarity": _mean(self.similarities),
            "completion_similarity": _mean(self.likenesses),
            "repetition_ratio": _mean(self.repetitions),
        }
        whole = time.perf_counter() - self._began
        seconds = {part: self._seconds[part] for part in PARTS} | {
            "refill": whole,
            # Everything that is neither generation nor update: parsing, filters, votes, ledger.
            "own": whole - self._seconds["propose"] - self._seconds["rollout"],
        }
        return (
            {name: value for name, value in ratios.items() if value is not None}
            | {f"num_{name}": float(counts[name]) for name in COUNTS}
            | {f"verifier/num_{name}": float(self.outcomes[name]) for name in OUTCOMES}
            | {f"refused/{reason}": float(n) for reason, n in sorted(self.refused.items())}
            | {f"label/{name}": sum(v) / len(v) for name, v in sorted(self.of_labeller.items())}
            | {f"time/{part}_s": value for part, value in seconds.items()}
        )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: list[float] | list[bool]) -> float | None:
    return _ratio(sum(values), len(values))
