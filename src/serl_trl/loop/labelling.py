"""Rollouts become groups: counted and voted on, judged by the labeller, written down."""

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion, Messages
from serl_trl.labels.ballots import Ballot, count_ballots
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools
from serl_trl.loop.books import Books
from serl_trl.loop.groups import Group, scored
from serl_trl.loop.label_trust import split_half
from serl_trl.loop.seams import Policy
from serl_trl.loop.tally import Tally
from serl_trl.propose.sources.base import Task

RECENT_GROUPS = 256
"""Groups over which the share of the commonest answer, and the label accuracy's estimate, go."""


class LabellerError(ValueError):
    """A labeller returned something else than a result for each completion of each group."""


class Labelling:
    """The labeller of a run with what it needs, and what is remembered of its labels.

    `golds` are the gold answers of the seeds (`None` where unknown); `oracle` answers for
    instructions that are not seeds.
    """

    def __init__(
        self,
        labeller: Labeller,
        *,
        kind: AnswerKind,
        verifier: Verifier,
        policy: Policy,
        books: Books,
        rng: random.Random,
    ) -> None:
        self.labeller = labeller
        self.golds: Mapping[str, str | None] = {}
        self.oracle: Callable[[str], str | None] | None = None
        self._kind, self._verifier = kind, verifier
        self._policy, self._books, self._rng = policy, books, rng
        self._recent_majorities: deque[str] = deque(maxlen=RECENT_GROUPS)
        self._label_ratios: deque[float] = deque(maxlen=RECENT_GROUPS)

    def judge(
        self,
        tasks: Sequence[Task],
        prompts: Sequence[Messages],
        completions: Sequence[list[Completion]],
        step: int,
        tally: Tally,
    ) -> list[Group]:
        """Return the group of each task, kept or not, in order."""
        # In one process: an oracle, or a verifier's deadline, could decide otherwise in another.
        golds, ballots, outcomes = self._policy.decide(lambda: self._count(tasks, completions))
        tally.outcomes.update(outcomes)
        rollouts = [
            Rollouts(
                replace(task, gold=gold), prompt, tuple(texts), ballot.vote, tuple(ballot.right)
            )
            for task, prompt, texts, gold, ballot in zip(
                tasks, prompts, completions, golds, ballots, strict=True
            )
        ]
        if "log_probs" in self.labeller.needs:
            log_probs = self._policy.log_probs(rollouts)
            rollouts = [scored(*pair) for pair in zip(rollouts, log_probs, strict=True)]
        labelled = self._label(rollouts, step)
        groups = [
            self._group(*pair, step=step, tally=tally)
            for pair in zip(rollouts, labelled, strict=True)
        ]
        for group in groups:
            self._note(group, tally)
        return groups

    def take_label_ratios(self) -> list[float]:
        """Return the majority ratios of the labels kept since the last call, the latest 256."""
        ratios = list(self._label_ratios)
        self._label_ratios.clear()
        return ratios

    @property
    def commonest_answer_ratio(self) -> float | None:
        """The share of the commonest majority answer of late; `None` before the first one."""
        commonest = Counter(self._recent_majorities).most_common(1)
        return commonest[0][1] / len(self._recent_majorities) if commonest else None

    def state_dict(self) -> dict[str, Any]:
        """Return the labeller's state and what is remembered, as plain JSON values."""
        return {
            "labeller": dict(self.labeller.state_dict()),
            "recent_majorities": list(self._recent_majorities),
            "label_ratios": list(self._label_ratios),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly from what `state_dict` returned."""
        self.labeller.load_state_dict(state["labeller"])
        self._recent_majorities = deque(state["recent_majorities"], maxlen=RECENT_GROUPS)
        self._label_ratios = deque(state["label_ratios"], maxlen=RECENT_GROUPS)

    def _count(
        self, tasks: Sequence[Task], completions: Sequence[list[Completion]]
    ) -> tuple[list[str | None], list[Ballot], dict[str, int]]:
        """Return gold answers, votes, and how the pairs of answers ended that were compared."""
        golds = [self._gold(task) for task in tasks]
        with self._verifier.counting() as outcomes:
            ballots = count_ballots(completions, golds, kind=self._kind, verifier=self._verifier)
        return golds, ballots, outcomes

    def _gold(self, task: Task) -> str | None:
        gold = self.golds.get(task.instruction) if task.gold is None else task.gold
        return self.oracle(task.instruction) if gold is None and self.oracle else gold

    def _label(self, rollouts: Sequence[Rollouts], step: int) -> list[Labelled]:
        policy = self._policy
        tools = Tools(self._kind, self._verifier, policy.complete, policy.decide, self._rng, step)
        found = self.labeller.label(rollouts, tools)
        # All processes have judged alike, unless a labeller went by clock or chance of its own.
        labelled = policy.decide(lambda: found)
        judge = getattr(self.labeller, "labeller", self.labeller)
        sizes = [len(each.rewards) for each in labelled]
        if sizes != [len(group.completions) for group in rollouts]:
            raise LabellerError(
                f"{type(judge).__name__} returned rewards for groups of {sizes} "
                f"completions; the groups have {[len(group.completions) for group in rollouts]}. "
                "A labeller returns one result per group, with one reward or None per completion."
            )
        return labelled

    def _group(self, rollouts: Rollouts, labelled: Labelled, *, step: int, tally: Tally) -> Group:
        vote, texts, counters = rollouts.vote, rollouts.completions, self._books.counters
        label_right = None
        if rollouts.task.gold is not None and vote.answer is not None:
            tally.reward_hits += [
                (reward > 0) == hit
                for reward, hit in zip(vote.rewards, rollouts.right, strict=True)
            ]
            # The members of the majority are all right, or all wrong.
            label_right = rollouts.right[vote.rewards.index(1.0)]
        group = Group(counters.num_groups, step, rollouts, labelled, label_right)
        counters.num_groups += 1
        counters.num_rollouts += len(texts)
        tally.counts["completions"] += len(texts)
        tally.counts["unparsable"] += vote.num_unparsable
        tally.counts["truncated"] += sum(c.truncated for c in texts)
        return group

    def _note(self, group: Group, tally: Tally) -> None:
        """Count a group, and write it down."""
        vote, verdict = group.vote, group.labelled.verdict
        tally.note_group(group.labelled, vote, group.label_right)
        counts = tuple(votes for _, votes in vote.counts)
        tally.halves.append(split_half(counts, num_unparsable=vote.num_unparsable))
        if vote.answer is not None:
            self._recent_majorities.append(vote.answer)
            if verdict.keep:
                self._label_ratios.append(vote.majority_ratio)
        if not verdict.keep:
            self._books.refuse(verdict.reason, group.instruction, tally)
        self._books.write(
            type="group",
            id=group.id,
            step=group.step,
            instruction=group.instruction,
            origin=group.rollouts.task.origin,
            answers=dict(vote.counts),
            num_unparsable=vote.num_unparsable,
            majority_answer=vote.answer,
            majority_ratio=vote.majority_ratio,
            gold=group.rollouts.task.gold,
            label_right=group.label_right,
            keep=verdict.keep,
            reason=verdict.reason,
        )
