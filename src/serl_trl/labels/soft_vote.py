"""Every answer is worth its share of the votes, so that a doubtful majority teaches little.

Source: SRT (arXiv 2505.21444), EMPO (arXiv 2504.05812) and, with `mask_answer`, OM-GRPO
(arXiv 2608.03119): r_i = n_c(i) / G.
"""

from typing import ClassVar

from serl_trl.common.verdict import Verdict
from serl_trl.labels.base import Labelled, Rollouts, check_range
from serl_trl.labels.vote import MajorityVote, hindrance


class SoftVote(MajorityVote):
    """Rewards each completion with the share of its answer in all G; one without answer with 0.

    Refuses a group whose largest share is below `gate` ("no_consensus"). A tie is kept: its answers
    are worth the same. Answers that nobody shares are refused as the vote refuses them.
    """

    meaning: ClassVar[str] = (
        "Each answer is rewarded by its share of the votes; no solution was shown."
    )
    rewarded: ClassVar[str] = "each answer was rewarded by the share of completions that gave it"

    def __init__(self, gate: float = 0.0) -> None:
        check_range(0, 1, gate=gate)
        self.gate = gate

    def _label(self, group: Rollouts) -> Labelled:
        vote = group.vote
        verdict = hindrance(vote, ties=True)
        if verdict.keep and vote.majority_ratio < self.gate:
            verdict = Verdict(False, "no_consensus")
        return Labelled(tuple(vote.shares), verdict, vote.majority_ratio, vote.answer)
