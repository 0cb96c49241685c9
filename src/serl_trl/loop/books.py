"""What a run keeps account of: its ledger, its counts, and what was refused and why."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from serl_trl.loop.seams import Ledger, Watch
from serl_trl.loop.tally import Tally

_MAX_EXAMPLE = 160


def plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a part as JSON values of its own, which later changes do not reach.

    Raises `ValueError` for a state that JSON cannot hold: a checkpoint could not either.
    """
    try:
        return json.loads(json.dumps(dict(state)))
    except TypeError as error:
        raise ValueError(f"state_dict must return JSON values: {error}.") from error


@dataclass
class Counters:
    """Counts over the whole run. `kept_ratio` is a slow average of the kept share of groups."""

    num_proposals: int = 0
    num_groups: int = 0
    num_rollouts: int = 0
    num_empty_refills: int = 0
    # A guess, until groups of the run have been judged.
    kept_ratio: float = 0.5


@dataclass
class Books:
    """Shared by the parts of a refill; the counts and the refusals are saved with the run."""

    ledger: Ledger
    watch: Watch = lambda part, kept, needed: None
    counters: Counters = field(default_factory=Counters)
    refusals: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def write(self, **record: Any) -> None:
        """Write one record to the ledger."""
        self.ledger.write(record)

    def refuse(self, reason: str, text: str, tally: Tally) -> None:
        """Count the refusal of `text`, in the refill and in the run."""
        tally.refused[reason] += 1
        self.refusals[reason] += 1
        # The latest: what a run dies of shows at its end.
        self.examples[reason] = text[:_MAX_EXAMPLE]

    def diagnose(self) -> str:
        """Say in plain words why refills found nothing: counts by reason, an example of each."""
        counters = self.counters
        lines = [
            f"{counters.num_empty_refills} refills in a row found no group to train on "
            f"({counters.num_proposals} proposals and {counters.num_groups} groups so far)."
        ]
        for reason, count in self.refusals.most_common():
            example = self.examples.get(reason, "")
            shown = f", for example: {example!r}" if example else ""
            lines.append(f"  {count:6d} x {reason}{shown}")
        # Nothing was refused because nothing was proposed.
        if not self.refusals:
            lines.append("  The proposer wrote nothing that could be read as a numbered list.")
        return "\n".join(lines)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and refusals, as plain JSON values."""
        return {
            "counters": asdict(self.counters),
            "refusals": dict(self.refusals),
            "examples": dict(self.examples),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.counters = Counters(**state["counters"])
        self.refusals = Counter(state["refusals"])
        self.examples = dict(state["examples"])
