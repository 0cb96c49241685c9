"""Tasks for the next rollouts: asked of the sources, filtered where they are new, kept waiting."""

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serl_trl.common.completion import Completion, Messages, Sampling
from serl_trl.common.mathtext import template
from serl_trl.common.verdict import Verdict
from serl_trl.filters.gate import ProposalFilter
from serl_trl.loop.books import Books, plain
from serl_trl.loop.groups import task_from_state
from serl_trl.loop.seams import Policy
from serl_trl.loop.tally import Tally
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.base import Task, TaskSource

# Proposals of a round that are kept to be shown.
NUM_SHOWN = 3


@dataclass(frozen=True)
class JudgedProposal:
    """A proposal with its fate and the `shots` it was written from (their origins)."""

    text: str
    verdict: Verdict
    shots: tuple[str, ...]


@dataclass
class Stream:
    """A source with its share of the tasks, what waits of it, and how many it was asked for.

    `name` is the one in the config, without options; several sources may share it.
    """

    source: TaskSource
    share: float = 1.0
    pending: deque[Task] = field(default_factory=deque)
    num_asked: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.kind

    @property
    def kind(self) -> str:
        """The name of the source's class."""
        return type(self.source).__qualname__

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the source and of what waits."""
        return {
            "kind": self.kind,
            "source": plain(self.source.state_dict()),
            "pending": [asdict(task) for task in self.pending],
            "num_asked": self.num_asked,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.source.load_state_dict(state["source"])
        self.pending = deque(task_from_state(saved) for saved in state["pending"])
        self.num_asked = state["num_asked"]


class Proposing:
    """The sources, the pool and the filter of a run; everything about a task before its rollouts.

    `spare` says that more tasks may be drawn than are needed, because some groups are not kept.
    """

    def __init__(  # noqa: PLR0913 - the parts of a refill, built once by the trainer
        self,
        streams: Sequence[Stream],
        *,
        pool: InstructionPool,
        proposal_filter: ProposalFilter,
        policy: Policy,
        books: Books,
        rng: random.Random,
        spare: bool,
    ) -> None:
        self.streams = list(streams)
        self.pool = pool
        self.filter = proposal_filter
        self.last_proposals: list[JudgedProposal] = []
        self.last_unread = ""
        self._policy, self._books = policy, books
        self._rng = rng
        self._spare = spare
        self._templates = {template(text) for text in pool.accepted}

    @property
    def pending(self) -> list[Task]:
        """The tasks that passed the filters and wait to be rolled out."""
        return [task for stream in self.streams for task in stream.pending]

    @property
    def writing(self) -> list[Stream]:
        """The streams whose sources write new texts."""
        return [stream for stream in self.streams if stream.source.writes]

    def forget_elapsed(self) -> None:
        """Tell the filter what still waits, which is all that its narrower scope knows."""
        self.filter.forget_pending([task.instruction for task in self.pending])

    def draw(self, wanted: int, needed: int, step: int, tally: Tally) -> list[tuple[Stream, Task]]:
        """Return up to `wanted` tasks by the shares of their sources, where `needed` are short."""
        if not self._spare and not self.writing:
            # Every group is kept, and what exceeds the batch would only be thrown away.
            wanted = min(wanted, needed)
        turns: list[Stream] = []
        for stream, quota in zip(self.streams, self._quotas(wanted), strict=True):
            short = quota - len(stream.pending)
            # A source that writes is asked for the whole quota, because the filters refuse some of
            # it.
            if short > 0 and stream.source.writes:
                self._propose(stream, quota, step, tally)
            elif short > 0:
                stream.pending += self._ask(stream, short, step, tally)
            # What was asked counts, not what came: a source with nothing left must not get all
            # places.
            stream.num_asked += quota
            turns += [stream] * min(quota, len(stream.pending))
        # What a batch has no place for is dropped from the end, which must not be one source.
        if len(self.streams) > 1:
            self._rng.shuffle(turns)
        return [(stream, replace(stream.pending.popleft(), source=stream.name)) for stream in turns]

    def judge_proposals(self, step: int, tally: Tally | None = None) -> list[JudgedProposal]:
        """Run one round of proposing and filtering of each source that writes new texts."""
        tally = tally or Tally()
        return [each for stream in self.writing for each in self._propose(stream, 1, step, tally)]

    def say_round(self, judged: Sequence[JudgedProposal]) -> str:
        """Say what a round of proposals gave, and why where it gave nothing."""
        if not judged:
            lines = " / ".join(self.last_unread.strip().splitlines()[:3])[:300]
            return f"no proposal: nothing was read in what the model wrote, for example {lines!r}"
        kept = sum(proposal.verdict.keep for proposal in judged)
        found = f"{len(judged)} proposals, {kept} kept"
        if kept:
            return found
        refused = Counter(proposal.verdict.reason for proposal in judged)
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
        return f"{found}; refused: {reasons}"

    @property
    def num_templates(self) -> int:
        """How many accepted instructions differ in more than their numbers."""
        return len(self._templates)

    def reset(self) -> None:
        """Forget the accepted proposals and what waits: a new iteration begins."""
        self.pool.reset()
        self._templates.clear()
        self.filter.reset()
        for stream in self.streams:
            stream.pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return pool, filter and sources, as plain JSON values."""
        return {
            "pool": self.pool.state_dict(),
            "filter": self.filter.state_dict(),
            "streams": [stream.state_dict() for stream in self.streams],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly from what `state_dict` returned."""
        self.pool.load_state_dict(state["pool"])
        # Not saved, because it follows from the pool.
        self._templates = {template(text) for text in self.pool.accepted}
        self.filter.load_state_dict(state["filter"])
        # Not strict: a run may go on with other sources, as `allow_changes` lets it; those begin
        # afresh.
        for stream, saved in zip(self.streams, state["streams"], strict=False):
            if saved["kind"] == stream.kind:
                stream.load_state_dict(saved)

    def _quotas(self, wanted: int) -> list[int]:
        """Share out `wanted` so that what each source was ever asked for stays near its share."""
        if len(self.streams) == 1:
            return [wanted]
        whole = sum(stream.share for stream in self.streams)
        asked = [stream.num_asked for stream in self.streams]
        # One task after another goes to the source that is furthest behind, of equals the first.
        for _ in range(wanted):
            total = sum(asked) + 1
            behind = [s.share / whole * total - n for s, n in zip(self.streams, asked, strict=True)]
            asked[behind.index(max(behind))] += 1
        return [n - stream.num_asked for stream, n in zip(self.streams, asked, strict=True)]

    def _ask(self, stream: Stream, num: int, step: int, tally: Tally) -> list[Task]:
        def complete(
            prompts: Sequence[Messages], sampling: Sampling | None = None
        ) -> list[Completion]:
            with tally.time("propose"):
                self._books.watch("proposing", 0, 0)
                return self._policy.propose(prompts, sampling)

        source = stream.source
        before = source.epochs or 0.0
        tasks = source.propose(num, pool=self.pool, complete=complete, rng=self._rng)
        # Said where all rows were handed out, because now they come again.
        if source.epochs and int(source.epochs) > int(before):
            epochs = source.epochs
            self._books.write(type="rows_spent", source=stream.name, step=step, epochs=epochs)
        return tasks

    def _propose(self, stream: Stream, num: int, step: int, tally: Tally) -> list[JudgedProposal]:
        with tally.time("filter"):
            tasks = self._ask(stream, num, step, tally)
            unread = stream.source.unread
            tally.counts["empty_requests"] += len(unread)
            tally.counts["retried_requests"] += stream.source.num_retried
            self.last_unread = unread[-1] if unread else self.last_unread
            judged = [self._judge(stream, task, step, tally) for task in tasks]
            stream.source.observe_filtered([each.verdict for each in judged])
        self.last_proposals = judged[:NUM_SHOWN]
        return judged

    def _judge(self, stream: Stream, task: Task, step: int, tally: Tally) -> JudgedProposal:
        text, counters = task.instruction, self._books.counters
        verdict, number = self.filter.judge(text), counters.num_proposals
        counters.num_proposals += 1
        tally.counts["proposals"] += 1
        if verdict.keep:
            # Known at once, so that the next proposal of the same round must differ from it.
            self.filter.admit(text)
            self.pool.add(text)
            self._templates.add(template(text))
            stream.pending.append(replace(task, origin=task.origin or f"proposal:{number}"))
            tally.counts["accepted"] += 1
        else:
            self._books.refuse(verdict.reason, text, tally)
        detail: dict[str, Any] = dict(verdict.detail or {})
        if "rouge_l" in detail:
            tally.similarities.append(detail["rouge_l"])
        self._books.write(
            type="proposal",
            id=number,
            step=step,
            text=text,
            shots=list(task.parents),
            keep=verdict.keep,
            reason=verdict.reason,
            detail=detail,
        )
        return JudgedProposal(text, verdict, task.parents)
