"""Few-shot requests that say why proposals of the round before were refused.

A refused text itself is never shown: a small model would copy it, and what the filters refuse may
hold the special tokens of a chat template.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serl_trl.common.completion import Complete, Messages
from serl_trl.common.plugin import shown
from serl_trl.common.reasons import ASKS
from serl_trl.common.verdict import Verdict
from serl_trl.propose.pool import InstructionPool, Shots
from serl_trl.propose.prompts import proposer_messages
from serl_trl.propose.sources.base import GroupResult, Task
from serl_trl.propose.sources.few_shot import FewShot


@dataclass
class Retry(FewShot):
    """Asks as `FewShot` does, and names the `named` commonest reasons of the last refusals.

    These are the refusals of the last round by the filters, and since then those of groups by the
    gate on questions. Only reasons with a row in `ASKS` are named, in English. Of equally common
    ones the first comes first. A request that would be too long with them names none.
    """

    named: int = 3
    _refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.named) is not int or self.named < 1:
            raise ValueError(
                f"sources=retry(named={shown(repr(self.named))}) must be a whole number of at "
                "least 1; 3 is usual."
            )

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Ask the policy, and return all that can be read in its answers."""
        # What is named must never be why a request no longer fits.
        if self._too_long(self._messages(Shots((), ()))):
            self._refused.clear()
        self.num_retried = self.num_requests if self._refused else 0
        return super().propose(num, pool=pool, complete=complete, rng=rng)

    def observe_filtered(self, verdicts: Sequence[Verdict]) -> None:
        """Remember why these were refused, in place of what was refused before."""
        self._refused = _asked(verdicts)

    def observe(self, results: Sequence[GroupResult]) -> None:
        """Remember why groups were refused, too."""
        self._refused += _asked(result.verdict for result in results)

    def _messages(self, shots: Shots) -> Messages:
        asks = [ask for ask, _ in self._refused.most_common(self.named)]
        return proposer_messages(shots.texts, self.style, asks)

    def state_dict(self) -> Mapping[str, Any]:
        """Return what the next requests name."""
        return {"refused": dict(self._refused)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Name what the saved run would have named."""
        self._refused = Counter(state["refused"])


def _asked(verdicts: Iterable[Verdict]) -> Counter[str]:
    # Counted by what is asked instead, which several reasons share.
    return Counter(ASKS[each.reason] for each in verdicts if not each.keep and each.reason in ASKS)
