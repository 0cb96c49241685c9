"""Rollouts in two calls: a pilot of every prompt, then the rest of those that may land in the band.

Without it most completions of a run are of groups that the band refuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Messages
from serl_trl.common.verdict import KEEP
from serl_trl.filters.validity.asked import complete_each
from serl_trl.labels.ballots import count_ballots
from serl_trl.labels.pilot import Pilot
from serl_trl.loop.groups import Rolled
from serl_trl.loop.seams import Policy


@dataclass(frozen=True)
class Piloting:
    """Rolls out by a pilot; `kind` finds and compares the answers, as it does for the vote."""

    pilot: Pilot
    kind: AnswerKind
    verifier: Verifier
    policy: Policy

    def roll_out(self, prompts: Sequence[Messages], by_gold: Sequence[bool]) -> Rolled:
        """Complete each prompt `pilot.votes` times, and to the end where the group goes on.

        One that goes by its gold answer always does: no band asks how many of it agree.
        """
        first = complete_each(self.policy.complete, prompts, self.pilot.votes)
        nothing = [None] * len(prompts)
        # In one process: the verifier's deadline could decide otherwise in another.
        verdicts = self.policy.decide(
            lambda: [
                KEEP if sure else self.pilot.judge(ballot.vote)
                for ballot, sure in zip(
                    count_ballots(first, nothing, kind=self.kind, verifier=self.verifier),
                    by_gold,
                    strict=True,
                )
            ]
        )
        rows = [row for row, verdict in enumerate(verdicts) if verdict.keep]
        left = self.pilot.size - self.pilot.votes
        more = complete_each(self.policy.complete, [prompts[row] for row in rows], left)
        for row, rest in zip(rows, more, strict=True):
            first[row] = [*first[row], *rest]
        ended = {row: verdict for row, verdict in enumerate(verdicts) if not verdict.keep}
        return Rolled(prompts, first, ended=ended)
