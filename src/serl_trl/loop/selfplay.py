"""One round of self-play after another: propose, filter, roll out, vote, band, refill.

Knows no trainer: the policy, the filter and the ledger are handed in. Every process of a run
executes this file on the same gathered state and so takes the same decisions.
"""

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from serl_trl.answers.equality import AnswerKind
from serl_trl.answers.verifier import Verifier
from serl_trl.common.mathtext import template
from serl_trl.common.verdict import Verdict
from serl_trl.filters.gate import ProposalFilter
from serl_trl.labels.groups import (
    Ballot,
    Completion,
    Group,
    count_ballots,
    judge_group,
    label_rewards,
)
from serl_trl.loop.diversity import (
    distinct_ratio,
    seed_coverage_ratio,
    template_ratio,
    top_template_ratio,
)
from serl_trl.loop.label_trust import split_half
from serl_trl.loop.tally import Tally
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.prompts import Messages, PromptStyle
from serl_trl.propose.requests import ProposerRequest, build_requests, parse_proposals

T = TypeVar("T")

RECENT_GROUPS = 256
"""Groups over which the share of the commonest answer, and the label accuracy's estimate, go."""

NUM_SHOWN = 3
"""Proposals of a round that are kept to be shown."""

RECENT_TEXTS = 256
"""Accepted instructions over which diversity is measured: as many each time, so steps compare."""


@dataclass(frozen=True)
class Pending:
    """An instruction that passed the filters and waits to be rolled out."""

    instruction: str
    origin: str


@dataclass(frozen=True)
class JudgedProposal:
    """A proposal with its fate and the `shots` it was written from (their origins)."""

    text: str
    verdict: Verdict
    shots: tuple[str, ...]


@dataclass(frozen=True)
class Refill:
    """What one refill found: as many groups as a generation batch needs, or none at all.

    `bound` names what stopped it early: "rounds", "rollouts", "seconds", "run" (`max_rollouts` of
    the whole run) or "" for a full batch.
    """

    groups: list[Group]
    metrics: dict[str, float]
    bound: str


@dataclass(frozen=True)
class Options:
    """The options of a refill, by the names and meanings they have in `SeRLConfig`."""

    prompt_source: str
    label_reward: str
    answer_kind: str | AnswerKind
    shuffle_dataset: bool
    num_requests: int
    num_shots: int
    num_pool_shots: int
    prefer_least_used_seeds: bool
    use_band: bool
    difficulty_low: float
    difficulty_high: float
    max_staleness: int
    max_refill_rounds: int
    max_refill_rollouts: int
    max_refill_s: float
    max_rollouts: int
    num_generations: int
    prompts_per_batch: int
    max_request_tokens: int | None
    style: PromptStyle


class Policy(Protocol):
    """The model that plays every part, over all processes and whatever backend generates."""

    def propose(self, requests: Sequence[Messages]) -> list[Completion]:
        """Answer each request once, with the proposer's sampling values."""
        ...

    def roll_out(self, instructions: Sequence[str]) -> list[list[Completion]]:
        """Complete each instruction `num_generations` times, with the trainer's sampling values."""
        ...

    def log_probs(self, groups: Sequence[Group]) -> list[list[list[float]]]:
        """Score the tokens of every completion of `groups` under the present weights."""
        ...

    def count_request_tokens(self, messages: Messages) -> int:
        """Count the tokens of a request in the chat template."""
        ...

    def decide(self, work: Callable[[], T]) -> T:
        """Do `work` in one process and return its result in all: what the clock may sway."""
        ...


class Ledger(Protocol):
    """Where a run writes down what it did; see `ledger.py`."""

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
        ...


class _NoLedger:
    def write(self, record: dict[str, Any]) -> None:
        """Drop the record."""


class SelfPlay:
    """The state of self-play and its one operation, `refill`.

    `golds` are the gold answers of the seeds (`None` where unknown); `oracle` answers for
    instructions that are not seeds. `watch` is called with what is being waited for, the groups
    kept and the groups needed. All randomness comes from `rng`.
    """

    def __init__(
        self,
        options: Options,
        *,
        pool: InstructionPool,
        proposal_filter: ProposalFilter,
        policy: Policy,
        verifier: Verifier,
        ledger: Ledger,
        rng: random.Random,
        golds: dict[str, str | None] | None = None,
        oracle: Callable[[str], str | None] | None = None,
        watch: Callable[[str, int, int], None] = lambda part, kept, needed: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.pool = pool
        self.filter = proposal_filter
        self._policy, self._verifier = policy, verifier
        self._ledger = ledger
        self._rng = rng
        self._golds = golds or {}
        self._oracle = oracle
        self._watch = watch
        self._clock = clock
        self.pending: deque[Pending] = deque()
        self.leftovers: deque[Group] = deque()
        self.num_empty_refills = 0
        self.last_proposals: list[JudgedProposal] = []
        self.last_unread = ""
        self._recent_majorities: deque[str] = deque(maxlen=RECENT_GROUPS)
        self._templates = {template(text) for text in pool.accepted}
        self._label_ratios: deque[float] = deque(maxlen=RECENT_GROUPS)
        self._kept_ratio = 0.5
        self._num_groups = 0
        self.num_rollouts = 0
        self._num_proposals = 0
        self._given_order: list[int] = []
        self._refusals: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    @property
    def rollouts_spent(self) -> bool:
        """Whether `max_rollouts` of the run leaves no room for one more group."""
        most = self.options.max_rollouts
        return bool(most) and self.num_rollouts + self.options.num_generations > most

    def refill(self, step: int) -> Refill:
        """Find the groups of one generation batch with the weights of optimizer step `step`.

        Repeats rounds until the batch is full or a bound is met. With a bound met and at least one
        group, the batch is topped up by repeating its own groups (counted); nothing is widened.
        """
        tally = Tally()
        needed = self.options.prompts_per_batch
        self.filter.forget_pending([pending.instruction for pending in self.pending])
        kept = self._take_leftovers(step, tally)
        started = self._clock()
        bound = ""
        while len(kept) < needed and not bound:
            kept += self._round(step, needed - len(kept), tally)
            tally.counts["refill_rounds"] += 1
            bound = self._bound_met(started, tally) if len(kept) < needed else ""
        kept, surplus = kept[:needed], kept[needed:]
        self._keep_surplus(surplus, tally)
        num_found = len(kept)
        if kept and num_found < needed:
            kept = [kept[i % num_found] for i in range(needed)]
        tally.counts["repeated_groups"] = len(kept) - num_found
        # All rows of a batch carry log-probs or none does: one leftover is enough to need them all.
        if any(c.logprobs is not None for group in kept for c in group.completions):
            with tally.time("rollout"):
                kept = self._with_log_probs(kept)
        self.num_empty_refills = 0 if kept else self.num_empty_refills + 1
        if bound:
            self._write(type="bound", step=step, bound=bound, num_found=num_found, needed=needed)
        return Refill(kept, self._metrics(tally), bound)

    def judge_proposals(self, step: int, tally: Tally | None = None) -> list[JudgedProposal]:
        """Run one round of proposing and filtering; what is kept joins the pool and waits."""
        tally = tally or Tally()
        with tally.time("propose"):
            requests = self._requests()
            self._watch("proposing", 0, 0)
            completions = self._policy.propose([request.messages for request in requests])
        judged = []
        with tally.time("filter"):
            for request, completion in zip(requests, completions, strict=True):
                texts = parse_proposals(completion.text, truncated=completion.truncated)
                tally.counts["empty_requests"] += not texts
                if not texts:
                    self.last_unread = completion.text
                judged += [self._judge(text, request, step, tally) for text in texts]
        self.last_proposals = judged[:NUM_SHOWN]
        return judged

    @contextmanager
    def looking(self) -> Generator[None]:
        """Undo at the end what rounds inside the block do to the state; the ledger gets nothing."""
        state, ledger, shown = self.state_dict(), self._ledger, self.last_proposals
        self._ledger = _NoLedger()
        try:
            yield
        finally:
            self.load_state_dict(state)
            self._ledger, self.last_proposals = ledger, shown

    def say_round(self, judged: Sequence[JudgedProposal]) -> str:
        """Say what a round of proposals gave, and why where it gave nothing."""
        kept = sum(proposal.verdict.keep for proposal in judged)
        if not judged:
            lines = " / ".join(self.last_unread.strip().splitlines()[:3])[:300]
            return f"no proposal: nothing was read in what the model wrote, for example {lines!r}"
        refused = Counter(p.verdict.reason for p in judged if not p.verdict.keep)
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
        found = f"{len(judged)} proposals, {kept} kept"
        return found if kept else f"{found}; refused: {reasons}"

    def diagnose(self) -> str:
        """Say in plain words why refills found nothing: counts by reason, an example of each."""
        lines = [
            f"{self.num_empty_refills} refills in a row found no group to train on "
            f"({self._num_proposals} proposals and {self._num_groups} groups so far)."
        ]
        for reason, count in self._refusals.most_common():
            example = self._examples.get(reason, "")
            lines.append(
                f"  {count:6d} x {reason}" + (f", for example: {example!r}" if example else "")
            )
        if not self._refusals:
            lines.append("  The proposer wrote nothing that could be read as a numbered list.")
        return "\n".join(lines)

    def take_label_ratios(self) -> list[float]:
        """Return the majority ratios of the labels kept since the last call, the latest 256."""
        ratios = list(self._label_ratios)
        self._label_ratios.clear()
        return ratios

    def start_iteration(self, *, reset_pool: bool) -> None:
        """Forget the accepted proposals, what waits and what is left over, where `reset_pool`."""
        if reset_pool:
            self.pool.reset()
            self._templates.clear()
            self.filter.reset_to(self.pool.seeds)
            self.pending.clear()
        self.leftovers.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that decides the future, as plain JSON values."""
        version, internal, gauss = self._rng.getstate()
        return {
            "pool": self.pool.state_dict(),
            "filter": self.filter.state_dict(),
            "pending": [asdict(pending) for pending in self.pending],
            "leftovers": [asdict(group) for group in self.leftovers],
            "num_empty_refills": self.num_empty_refills,
            "recent_majorities": list(self._recent_majorities),
            "label_ratios": list(self._label_ratios),
            "kept_ratio": self._kept_ratio,
            "num_groups": self._num_groups,
            "num_rollouts": self.num_rollouts,
            "num_proposals": self._num_proposals,
            "given_order": list(self._given_order),
            "refusals": dict(self._refusals),
            "examples": dict(self._examples),
            "rng": [version, list(internal), gauss],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from what `state_dict` returned."""
        self.pool.load_state_dict(state["pool"])
        self._templates = {template(text) for text in self.pool.accepted}
        self.filter.load_state_dict(state["filter"])
        self.pending = deque(Pending(**pending) for pending in state["pending"])
        self.leftovers = deque(Group.from_state(saved) for saved in state["leftovers"])
        self.num_empty_refills = state["num_empty_refills"]
        self._recent_majorities = deque(state["recent_majorities"], maxlen=RECENT_GROUPS)
        self._label_ratios = deque(state["label_ratios"], maxlen=RECENT_GROUPS)
        self._kept_ratio = state["kept_ratio"]
        self._num_groups = state["num_groups"]
        self.num_rollouts = state["num_rollouts"]
        self._num_proposals = state["num_proposals"]
        self._given_order = list(state["given_order"])
        self._refusals = Counter(state["refusals"])
        self._examples = dict(state["examples"])
        version, internal, gauss = state["rng"]
        self._rng.setstate((version, tuple(internal), gauss))

    def _round(self, step: int, needed: int, tally: Tally) -> list[Group]:
        """Roll out about as many instructions as `needed` groups take, proposing when short."""
        wanted = math.ceil(needed / max(self._kept_ratio, 0.25))
        wanted = min(wanted, self._rollouts_left(tally))
        if self.options.prompt_source == "given":
            # Without a band every prompt is kept, and more than needed would only be thrown away.
            waiting = self._next_given(wanted if self.options.use_band else min(needed, wanted))
        else:
            if len(self.pending) < wanted:
                self.judge_proposals(step, tally)
            waiting = [self.pending.popleft() for _ in range(min(wanted, len(self.pending)))]
        if not waiting:
            return []
        with tally.time("rollout"):
            self._watch("rolling out", self.options.prompts_per_batch - needed, needed)
            completions = self._policy.roll_out([pending.instruction for pending in waiting])
        with tally.time("vote"):
            groups = self._vote(waiting, completions, step, tally)
            verdicts = [self._judge_group(group) for group in groups]
            kept = [group for group, verdict in zip(groups, verdicts, strict=True) if verdict.keep]
            for group, verdict in zip(groups, verdicts, strict=True):
                self._count_group(group, verdict, tally)
        # A slow average, so that one odd round does not decide how much the next one rolls out.
        self._kept_ratio = 0.8 * self._kept_ratio + 0.2 * len(kept) / len(groups)
        return kept

    def _requests(self) -> list[ProposerRequest]:
        options = self.options
        return build_requests(
            self.pool,
            self._rng,
            num_requests=options.num_requests,
            num_shots=options.num_shots,
            num_pool_shots=options.num_pool_shots,
            style=options.style,
            max_prompt_tokens=options.max_request_tokens,
            count_tokens=self._policy.count_request_tokens,
            prefer_least_used=options.prefer_least_used_seeds,
        )

    def _judge(
        self, text: str, request: ProposerRequest, step: int, tally: Tally
    ) -> JudgedProposal:
        verdict = self.filter.judge(text)
        number = self._num_proposals
        self._num_proposals += 1
        tally.counts["proposals"] += 1
        if verdict.keep:
            self.filter.admit(text)
            self.pool.add(text)
            self._templates.add(template(text))
            self.pending.append(Pending(text, f"proposal:{number}"))
            tally.counts["accepted"] += 1
        else:
            self._refuse(verdict.reason, text, tally)
        detail: dict[str, Any] = dict(verdict.detail or {})
        if "rouge_l" in detail:
            tally.similarities.append(detail["rouge_l"])
        self._write(
            type="proposal",
            id=number,
            step=step,
            text=text,
            shots=list(request.shots.origins),
            keep=verdict.keep,
            reason=verdict.reason,
            detail=detail,
        )
        return JudgedProposal(text, verdict, request.shots.origins)

    def _next_given(self, count: int) -> list[Pending]:
        rows = []
        for _ in range(count):
            if not self._given_order:
                self._given_order = list(range(len(self.pool.seeds)))
                if self.options.shuffle_dataset:
                    self._rng.shuffle(self._given_order)
            index = self._given_order.pop(0)
            rows.append(Pending(self.pool.seeds[index], f"seed:{index}"))
        return rows

    def _vote(
        self,
        waiting: Sequence[Pending],
        completions: Sequence[list[Completion]],
        step: int,
        tally: Tally,
    ) -> list[Group]:
        # In one process: an oracle, or a verifier's deadline, could decide otherwise in another.
        golds, ballots, outcomes = self._policy.decide(lambda: self._count(waiting, completions))
        tally.outcomes.update(outcomes)
        groups = []
        for pending, texts, gold, ballot in zip(waiting, completions, golds, ballots, strict=True):
            vote, right = ballot.vote, ballot.right
            label_right = None
            if gold is not None and vote.answer is not None:
                tally.reward_hits += [
                    (reward > 0) == hit for reward, hit in zip(vote.rewards, right, strict=True)
                ]
                # The members of the majority are all right, or all wrong.
                label_right = right[vote.rewards.index(1.0)]
            groups.append(
                Group(
                    id=self._num_groups,
                    instruction=pending.instruction,
                    origin=pending.origin,
                    completions=texts,
                    vote=vote,
                    rewards=label_rewards(self.options.label_reward, vote, right, self._rng),
                    step=step,
                    gold=gold,
                    label_right=label_right,
                )
            )
            self._num_groups += 1
            self.num_rollouts += len(texts)
            tally.counts["completions"] += len(texts)
            tally.counts["unparsable"] += vote.num_unparsable
            tally.counts["truncated"] += sum(c.truncated for c in texts)
        return groups

    def _count(
        self, waiting: Sequence[Pending], completions: Sequence[list[Completion]]
    ) -> tuple[list[str | None], list[Ballot], dict[str, int]]:
        """Return gold answers, votes, and how the pairs of answers ended that were compared."""
        golds = [self._gold(pending.instruction) for pending in waiting]
        with self._verifier.counting() as outcomes:
            ballots = count_ballots(
                completions, golds, kind=self.options.answer_kind, verifier=self._verifier
            )
        return golds, ballots, outcomes

    def _gold(self, instruction: str) -> str | None:
        gold = self._golds.get(instruction)
        return self._oracle(instruction) if gold is None and self._oracle else gold

    def _judge_group(self, group: Group) -> Verdict:
        options = self.options
        return judge_group(
            group,
            label=options.label_reward,
            use_band=options.use_band,
            low=options.difficulty_low,
            high=options.difficulty_high,
        )

    def _count_group(self, group: Group, verdict: Verdict, tally: Tally) -> None:
        vote = group.vote
        tally.counts["groups"] += 1
        tally.majority_ratios.append(vote.majority_ratio)
        counts = tuple(votes for _, votes in vote.counts)
        tally.halves.append(split_half(counts, num_unparsable=vote.num_unparsable))
        if vote.answer is not None:
            self._recent_majorities.append(vote.answer)
        if group.label_right is not None:
            tally.label_hits.append(group.label_right)
            if verdict.keep:
                tally.kept_label_hits.append(group.label_right)
        if verdict.keep:
            tally.kept_majority_ratios.append(vote.majority_ratio)
            if vote.answer is not None:
                self._label_ratios.append(vote.majority_ratio)
        else:
            self._refuse(verdict.reason, group.instruction, tally)
        self._write(
            type="group",
            id=group.id,
            step=group.step,
            instruction=group.instruction,
            origin=group.origin,
            answers=dict(vote.counts),
            num_unparsable=vote.num_unparsable,
            majority_answer=vote.answer,
            majority_ratio=vote.majority_ratio,
            gold=group.gold,
            label_right=group.label_right,
            keep=verdict.keep,
            reason=verdict.reason,
        )

    def _refuse(self, reason: str, text: str, tally: Tally) -> None:
        tally.refused[reason] += 1
        self._refusals[reason] += 1
        self._examples[reason] = text[:160]

    def _rollouts_left(self, tally: Tally) -> int:
        """Prompts that may still be rolled out in this refill; the run may allow fewer."""
        options = self.options
        left = options.max_refill_rollouts * options.prompts_per_batch - tally.counts["groups"]
        if not options.max_rollouts:
            return left
        return min(left, (options.max_rollouts - self.num_rollouts) // options.num_generations)

    def _bound_met(self, started: float, tally: Tally) -> str:
        if self.rollouts_spent:
            return "run"
        if tally.counts["refill_rounds"] >= self.options.max_refill_rounds:
            return "rounds"
        if self._rollouts_left(tally) <= 0:
            return "rollouts"
        late = self._clock() - started > self.options.max_refill_s
        return "seconds" if self._policy.decide(lambda: late) else ""

    def _take_leftovers(self, step: int, tally: Tally) -> list[Group]:
        fresh = []
        needed = self.options.prompts_per_batch
        while self.leftovers and len(fresh) < needed:
            group = self.leftovers.popleft()
            used = step - group.step <= self.options.max_staleness
            self._write(
                type="leftover", id=group.id, step=step, staleness=step - group.step, used=used
            )
            tally.counts["stale_used" if used else "stale_dropped"] += 1
            if used:
                fresh.append(group)
        return fresh

    def _keep_surplus(self, surplus: list[Group], tally: Tally) -> None:
        if self.options.max_staleness == 0:
            tally.counts["surplus_dropped"] += len(surplus)
        elif surplus:
            # Now, while the weights that sampled them are still here.
            with tally.time("rollout"):
                self.leftovers.extend(self._with_log_probs(surplus))

    def _with_log_probs(self, groups: list[Group]) -> list[Group]:
        """Give every completion its sampling log-probs, which a batch with stale groups needs."""
        missing = {g.id: g for g in groups if any(c.logprobs is None for c in g.completions)}
        scored = dict(
            zip(missing, self._policy.log_probs(list(missing.values())), strict=True)
            if missing
            else ()
        )
        return [group.scored(scored[group.id]) if group.id in scored else group for group in groups]

    def _metrics(self, tally: Tally) -> dict[str, float]:
        commonest = Counter(self._recent_majorities).most_common(1)
        share = {}
        if commonest:
            share["commonest_answer_ratio"] = commonest[0][1] / len(self._recent_majorities)
        state: dict[str, float] = {
            "num_pending": len(self.pending),
            "num_empty_refills": self.num_empty_refills,
            "num_rollouts": self.num_rollouts,
            "pool_size": len(self.pool),
            "num_templates": len(self._templates),
            "seed_coverage_ratio": seed_coverage_ratio(
                self.pool.shown, num_seeds=len(self.pool.seeds)
            ),
        }
        recent = self.pool.accepted[-RECENT_TEXTS:]
        if recent:
            state["template_ratio"] = template_ratio(recent)
            state["top_template_ratio"] = top_template_ratio(recent)
            state["distinct_2_ratio"] = distinct_ratio(recent, n=2)
        metrics = tally.metrics() | share | state
        return {f"serl/{name}": float(value) for name, value in metrics.items()}

    def _write(self, **record: Any) -> None:
        self._ledger.write(record)
