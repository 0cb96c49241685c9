"""New instructions from few-shot requests to the policy.

Source: SeRL, arXiv 2505.20347, "self-instruction", after Self-Instruct, arXiv 2212.10560. That of
labelled rows among the examples: R-Few, arXiv 2512.02472.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from serl_trl.common.completion import Complete, Messages
from serl_trl.common.plugin import shown
from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.propose.pool import InstructionPool, Shots
from serl_trl.propose.prompts import PromptStyle, proposer_messages
from serl_trl.propose.sources.base import LABELLED, Rows, Task, TaskSource


@dataclass(frozen=True)
class ProposerRequest:
    """One conversation that asks for new instructions, and the examples it shows."""

    messages: Messages
    shots: Shots


@dataclass
class FewShot(TaskSource):
    """Shows seeds and accepted proposals as a numbered list and reads how the policy continues it.

    A round makes `num_requests` requests whatever is wanted, with `num_shots` examples each, of
    which up to `num_pool_shots` are accepted proposals. A request longer than `max_request_tokens`
    by `count_tokens` loses its longest examples, never its end. With `anchors` the places of 0 to
    that many examples, each number as likely, go to rows of `labelled_set`, without their answers.
    """

    num_requests: int = 4
    num_shots: int = 8
    num_pool_shots: int = 2
    prefer_least_used_seeds: bool = False
    style: PromptStyle = field(default_factory=PromptStyle)
    max_request_tokens: int | None = None
    count_tokens: Callable[[Messages], int] | None = None
    anchors: int = 0
    labelled_set: Rows = ()

    def __post_init__(self) -> None:
        if type(self.anchors) is not int or self.anchors < 0:
            raise ValueError(
                f"sources: anchors={shown(repr(self.anchors))} must be a whole number of at least "
                "0; R-Few shows up to 5 labelled rows in a request."
            )
        if self.anchors:
            self.needs = frozenset({LABELLED})

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Ask the policy, and return all that can be read in its answers."""
        requests = [self.request(pool, rng) for _ in range(self.num_requests)]
        completions = complete([request.messages for request in requests])
        tasks, unread = [], []
        for request, completion in zip(requests, completions, strict=True):
            texts = parse_proposals(
                completion.text, truncated=completion.truncated, asking=not self.style.task_template
            )
            tasks += [Task(text, parents=request.shots.origins) for text in texts]
            unread += [] if texts else [completion.text]
        self.unread = tuple(unread)
        return tasks

    def request(self, pool: InstructionPool, rng: random.Random) -> ProposerRequest:
        """Draw shots and write a request that fits; the shots it shows are counted in `pool`.

        Raises `ValueError` where even a request without shots is too long.
        """
        shots = self._draw(pool, rng)
        messages = self._messages(shots)
        while self._too_long(messages):
            if not shots.texts:
                raise ValueError(
                    f"max_request_tokens={self.max_request_tokens} cannot hold the proposer's "
                    "request even without a shot; raise it, or shorten the proposer's texts."
                )
            shots = shots.without_longest()
            messages = self._messages(shots)
        # Only what the request shows in the end counts as shown.
        pool.mark_shown(shots)
        return ProposerRequest(messages, shots)

    def _draw(self, pool: InstructionPool, rng: random.Random) -> Shots:
        most = min(self.anchors, self.num_shots, len(self.labelled_set))
        # Without anchors nothing is drawn for them: a run without labels stays what it was.
        num = rng.randint(0, most) if most else 0
        shots = pool.draw_shots(
            rng,
            num_shots=self.num_shots - num,
            num_pool_shots=min(self.num_pool_shots, self.num_shots - num),
            prefer_least_used=self.prefer_least_used_seeds,
        )
        if not num:
            return shots
        rows = rng.sample(range(len(self.labelled_set)), num)
        drawn = [*zip(shots.texts, shots.origins, strict=True)]
        drawn += [(self.labelled_set[row][0], f"labelled:{row}") for row in rows]
        rng.shuffle(drawn)
        return Shots(tuple(text for text, _ in drawn), tuple(origin for _, origin in drawn))

    def _messages(self, shots: Shots) -> Messages:
        return proposer_messages(shots.texts, self.style)

    def _too_long(self, messages: Messages) -> bool:
        if self.max_request_tokens is None or self.count_tokens is None:
            return False
        return self.count_tokens(messages) > self.max_request_tokens
