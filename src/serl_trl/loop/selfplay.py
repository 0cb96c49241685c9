"""One round of self-play after another: propose, filter, roll out, label, refill.

Knows no trainer: the policy, the filter and the ledger are handed in. Every process of a run
executes this file on the same gathered state and so takes the same decisions.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from serl_trl.common.completion import Messages
from serl_trl.common.files import JsonLines
from serl_trl.labels.base import wrapped
from serl_trl.loop.books import Books
from serl_trl.loop.by_source import source_metrics
from serl_trl.loop.diversity import (
    distinct_ratio,
    seed_coverage_ratio,
    template_ratio,
    top_template_ratio,
)
from serl_trl.loop.groups import Group, Rolled
from serl_trl.loop.labelling import Labelling
from serl_trl.loop.pilots import Piloting
from serl_trl.loop.proposing import Proposing
from serl_trl.loop.seams import Options, Policy
from serl_trl.loop.tally import Tally
from serl_trl.loop.views import roll_out, second_prompts
from serl_trl.propose.prompts import rollout_messages
from serl_trl.propose.sources.base import GroupResult, Task

# Accepted instructions over which diversity is measured: as many each time, so steps compare.
RECENT_TEXTS = 256


@dataclass(frozen=True)
class Refill:
    """What one refill found: as many groups as a generation batch needs, or none at all.

    `bound` names what stopped it early: "rounds", "rollouts", "seconds", "run" (`max_rollouts` of
    the whole run) or "" for a full batch.
    """

    groups: list[Group]
    metrics: dict[str, float]
    bound: str


class SelfPlay:
    """The state of self-play and its one operation, `refill`.

    All randomness comes from `rng`, which its parts share. `piloting` rolls out in two calls;
    `None` completes every group.
    """

    def __init__(
        self,
        options: Options,
        proposing: Proposing,
        labelling: Labelling,
        *,
        policy: Policy,
        books: Books,
        rng: random.Random,
    ) -> None:
        self.options = options
        self.proposing = proposing
        self.labelling = labelling
        self.books = books
        self.leftovers: deque[Group] = deque()
        self.clock: Callable[[], float] = time.monotonic
        self.piloting: Piloting | None = None
        self._policy = policy
        self._rng = rng

    @property
    def rollouts_spent(self) -> bool:
        """Whether `max_rollouts` of the run leaves no room for one more group."""
        most = self.options.max_rollouts
        return bool(most) and self.books.counters.num_rollouts + self.options.num_generations > most

    def refill(self, step: int) -> Refill:
        """Find the groups of one generation batch with the weights of optimizer step `step`.

        Repeats rounds until the batch is full or a bound is met. With a bound met and at least one
        group, the batch is topped up by repeating its own groups (counted); nothing is widened.
        """
        tally = Tally()
        needed = self.options.prompts_per_batch
        before = self.books.counters.num_rollouts
        self.proposing.forget_elapsed()
        kept = self._take_leftovers(step, tally)
        started = self.clock()
        bound = ""
        while len(kept) < needed and not bound:
            kept += self._round(step, needed - len(kept), tally)
            tally.counts["refill_rounds"] += 1
            bound = self._bound_met(started, tally) if len(kept) < needed else ""
        kept, surplus = kept[:needed], kept[needed:]
        self._keep_surplus(surplus, tally)
        num_found = len(kept)
        tally.counts["trained"] = num_found * self.options.num_generations
        tally.counts["sampled"] = self.books.counters.num_rollouts - before
        # A batch must be full: TRL divides it among processes and passes by its size.
        if kept and num_found < needed:
            kept = [kept[i % num_found] for i in range(needed)]
        tally.counts["repeated_groups"] = len(kept) - num_found
        # All rows of a batch carry log-probs or none does: one leftover is enough to need them all.
        if any(c.logprobs is not None for group in kept for c in group.completions):
            with tally.time("rollout"):
                kept = self._with_log_probs(kept)
        counters = self.books.counters
        counters.num_empty_refills = 0 if kept else counters.num_empty_refills + 1
        if bound:
            found = {"bound": bound, "num_found": num_found, "needed": needed}
            self.books.write(type="bound", step=step, **found)
        return Refill(kept, self._metrics(tally, kept), bound)

    @contextmanager
    def looking(self) -> Generator[None]:
        """Undo at the end what rounds inside the block do to the state; the ledger gets nothing."""
        state, ledger, shown = self.state_dict(), self.books.ledger, self.proposing.last_proposals
        self.books.ledger = JsonLines(None)
        try:
            yield
        finally:
            self.load_state_dict(state)
            self.books.ledger, self.proposing.last_proposals = ledger, shown

    def start_iteration(self, *, reset_pool: bool) -> None:
        """Forget the accepted proposals, what waits and what is left over, where `reset_pool`."""
        if reset_pool:
            self.proposing.reset()
        # They were sampled by a model that the new iteration no longer refers to.
        self.leftovers.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that decides the future, as plain JSON values."""
        version, internal, gauss = self._rng.getstate()
        return {
            "proposing": self.proposing.state_dict(),
            "labelling": self.labelling.state_dict(),
            "books": self.books.state_dict(),
            "leftovers": [asdict(group) for group in self.leftovers],
            "rng": [version, list(internal), gauss],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from what `state_dict` returned."""
        self.proposing.load_state_dict(state["proposing"])
        self.labelling.load_state_dict(state["labelling"])
        self.books.load_state_dict(state["books"])
        self.leftovers = deque(Group.from_state(saved) for saved in state["leftovers"])
        # JSON has made lists of its tuples.
        version, internal, gauss = state["rng"]
        self._rng.setstate((version, tuple(internal), gauss))

    def _round(self, step: int, needed: int, tally: Tally) -> list[Group]:
        """Roll out about as many tasks as `needed` groups take, and return the groups kept."""
        options, counters = self.options, self.books.counters
        # A quarter is the least that is planned with, so that a round stays within four batches.
        wanted = math.ceil(needed / max(counters.kept_ratio, 0.25))
        wanted = min(wanted, self._rollouts_left(tally))
        drawn = self.proposing.draw(wanted, needed, step, tally)
        if not drawn:
            return []
        tasks = [task for _, task in drawn]
        prompts = [rollout_messages(task.instruction, options.style) for task in tasks]
        with tally.time("rollout"):
            self.books.watch("rolling out", options.prompts_per_batch - needed, needed)
            views = self._second_prompts(tasks, prompts, tally)
            if self.piloting is None:
                found = roll_out(self._policy, prompts, views, options.num_generations)
                rolled = Rolled(prompts, found, views)
            else:
                rolled = self.piloting.roll_out(prompts, [task.by_gold for task in tasks])
        with tally.time("vote"):
            groups = self.labelling.judge(tasks, rolled, step, tally)
        # Each source hears of its own tasks only.
        for stream in self.proposing.streams:
            pairs = zip(drawn, groups, strict=True)
            if own := [_result(group) for (source, _), group in pairs if source is stream]:
                stream.source.observe(own)
        kept = [group for group in groups if group.labelled.verdict.keep]
        # A slow average, so that one odd round does not decide how much the next one rolls out.
        counters.kept_ratio = 0.8 * counters.kept_ratio + 0.2 * len(kept) / len(groups)
        return kept

    def _second_prompts(
        self, tasks: Sequence[Task], prompts: Sequence[Messages], tally: Tally
    ) -> list[Messages | None]:
        """Return the prompts of second views; no list where the labeller needs none."""
        if "restatement" not in self.labelling.labeller.needs:
            return []
        restating = wrapped(self.labelling.labeller)[-1].restating
        self.books.counters.num_rollouts += restating.tries * len(tasks)
        tally.counts["labeller_rollouts"] += restating.tries * len(tasks)
        text = self.options.style.restate_instruction
        return second_prompts(self._policy, tasks, prompts, text=text, restating=restating)

    def _rollouts_left(self, tally: Tally) -> int:
        """Prompts that may still be rolled out in this refill; the run may allow fewer."""
        options = self.options
        left = options.max_refill_rollouts * options.prompts_per_batch - tally.counts["groups"]
        if not options.max_rollouts:
            return left
        spare = options.max_rollouts - self.books.counters.num_rollouts
        return min(left, spare // options.num_generations)

    def _bound_met(self, started: float, tally: Tally) -> str:
        if self.rollouts_spent:
            return "run"
        if tally.counts["refill_rounds"] >= self.options.max_refill_rounds:
            return "rounds"
        if self._rollouts_left(tally) <= 0:
            return "rollouts"
        # Clocks of processes differ, and all must stop at the same round.
        late = self.clock() - started > self.options.max_refill_s
        return "seconds" if self._policy.decide(lambda: late) else ""

    def _take_leftovers(self, step: int, tally: Tally) -> list[Group]:
        fresh = []
        while self.leftovers and len(fresh) < self.options.prompts_per_batch:
            group = self.leftovers.popleft()
            staleness = step - group.step
            used = staleness <= self.options.max_staleness
            record = {"id": group.id, "step": step, "staleness": staleness, "used": used}
            self.books.write(type="leftover", **record)
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

    def _with_log_probs(self, groups: Sequence[Group]) -> list[Group]:
        """Give every completion its sampling log-probs, which a batch with stale groups needs."""
        # By id: a batch that was filled up holds a group more than once.
        missing = {g.id: g for g in groups if any(c.logprobs is None for c in g.completions)}
        if not missing:
            return list(groups)
        scores = self._policy.log_probs([group.rollouts for group in missing.values()])
        found = dict(zip(missing, scores, strict=True))
        return [group.scored(found[group.id]) if group.id in found else group for group in groups]

    def _metrics(self, tally: Tally, kept: Sequence[Group]) -> dict[str, float]:
        pool, counters = self.proposing.pool, self.books.counters
        state: dict[str, float] = {
            "num_pending": len(self.proposing.pending),
            "num_empty_refills": counters.num_empty_refills,
            "num_rollouts": counters.num_rollouts,
            "pool_size": len(pool),
            "num_templates": self.proposing.num_templates,
            "seed_coverage_ratio": seed_coverage_ratio(pool.shown, num_seeds=len(pool.seeds)),
        }
        commonest = self.labelling.commonest_answer_ratio
        if commonest is not None:
            state["commonest_answer_ratio"] = commonest
        # Of a fixed number, since more groups share more answers, and before the band: a batch that
        # was not filled repeats its groups.
        if first := tally.majorities[: self.options.prompts_per_batch]:
            state["distinct_answer_ratio"] = len(set(first)) / len(first)
        if recent := pool.accepted[-RECENT_TEXTS:]:
            state["template_ratio"] = template_ratio(recent)
            state["top_template_ratio"] = top_template_ratio(recent)
            state["distinct_2_ratio"] = distinct_ratio(recent, n=2)
        epochs = {each.name: each.source.epochs for each in self.proposing.streams}
        found = tally.metrics() | state | source_metrics(epochs, tally.of_source, kept)
        return {f"serl/{name}": float(v) for name, v in found.items()}


def _result(group: Group) -> GroupResult:
    labelled = group.labelled
    task = group.rollouts.task
    return GroupResult(task, labelled.verdict, labelled.agreement, labelled.label)
