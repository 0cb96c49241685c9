"""Rollouts become groups: counted and voted on, judged by the labeller, written down."""

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import same_answers
from serl_trl.answers.golds import gold_text, read_gold
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion, Messages, Sampling
from serl_trl.common.verdict import Verdict
from serl_trl.labels.ballots import Ballot, count_ballots
from serl_trl.labels.base import (
    POLICY,
    TEACHER,
    Ask,
    Labelled,
    Labeller,
    Rollouts,
    Tools,
    Wrapper,
    wrapped,
)
from serl_trl.loop.books import Books, plain
from serl_trl.loop.diversity import pair_similarity, repetition_ratio
from serl_trl.loop.groups import Group, Rolled, scored, with_entropies
from serl_trl.loop.label_trust import split_half
from serl_trl.loop.seams import Policy
from serl_trl.loop.tally import Tally
from serl_trl.propose.sources.base import Task

# Groups over which the share of the commonest answer, and the label accuracy's estimate, go.
RECENT_GROUPS = 256


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

    def judge(self, tasks: Sequence[Task], rolled: Rolled, step: int, tally: Tally) -> list[Group]:
        """Return the group of each task, kept or not, in order."""
        texts = rolled.completions
        # In one process: an oracle, or a verifier's deadline, could decide otherwise in another.
        golds, ballots, outcomes = self._policy.decide(lambda: self._count(tasks, texts))
        tally.outcomes.update(outcomes)
        rollouts = _rollouts(tasks, rolled, golds, ballots)
        # The labeller never sees what a pilot has ended: it would judge part of a group.
        whole = [group for row, group in enumerate(rollouts) if row not in rolled.ended]
        found = iter(self._label(whole, step, tally) if whole else [])
        labelled = [
            _ended(group, rolled.ended[row]) if row in rolled.ended else next(found)
            for row, group in enumerate(rollouts)
        ]
        rights = self._labels_right(rollouts, labelled)
        groups = [
            self._group(*each, step=step, tally=tally)
            for each in zip(rollouts, labelled, rights, strict=True)
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
            "labeller": {
                "kind": _kinds(self.labeller),
                "state": plain(self.labeller.state_dict()),
            },
            "recent_majorities": list(self._recent_majorities),
            "label_ratios": list(self._label_ratios),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly from what `state_dict` returned."""
        # A run that continues with another labeller (`allow_changes`) starts that one afresh.
        if state["labeller"]["kind"] == _kinds(self.labeller):
            self.labeller.load_state_dict(state["labeller"]["state"])
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
        gold: object = self.golds.get(task.instruction) if task.gold is None else task.gold
        if gold is None and self.oracle:
            gold = self.oracle(task.instruction)
        # A gold answer that cannot be read is none: no completion could ever be right.
        return None if read_gold(gold, self._kind) is None else gold_text(gold)

    @property
    def _name(self) -> str:
        """The class of the labeller, inside what wraps it."""
        return type(wrapped(self.labeller)[-1]).__qualname__

    def _label(self, rollouts: Sequence[Rollouts], step: int, tally: Tally) -> list[Labelled]:
        policy, shown = self._policy, rollouts
        if "log_probs" in self.labeller.needs:
            # For the labeller alone: in a batch they would stand for those of an engine.
            with tally.time("rollout"):
                log_probs = policy.log_probs(rollouts)
            shown = [scored(*pair) for pair in zip(rollouts, log_probs, strict=True)]
        if "entropy" in self.labeller.needs:
            with tally.time("rollout"):
                entropies = policy.entropies(rollouts)
            shown = [with_entropies(*pair) for pair in zip(shown, entropies, strict=True)]
        ask, decide = _asking(self, tally), policy.decide
        tools = Tools(self._kind, self._verifier, ask, decide, self._rng, step)
        found = self.labeller.label(shown, tools)
        # All processes have judged alike, unless a labeller went by clock or chance of its own.
        labelled = policy.decide(lambda: found)
        if len(labelled) != len(rollouts):
            raise LabellerError(
                f"a labeller returned {len(labelled)} results for {len(rollouts)} groups; give one "
                "for each."
            )
        return [self._checked(*pair) for pair in zip(labelled, rollouts, strict=True)]

    def _checked(self, labelled: Labelled, group: Rollouts) -> Labelled:
        """Return a result in plain numbers; it goes into rewards, ledger and checkpoints."""
        name, expected = self._name, len(group.completions)
        if len(labelled.rewards) != expected:
            raise LabellerError(
                f"{name} returned {len(labelled.rewards)} rewards for a group of {expected} "
                "completions; give one reward, or None, for each."
            )
        rewards = tuple(None if each is None else float(each) for each in labelled.rewards)
        weights = tuple(map(float, labelled.weights))
        if len(weights) not in (0, expected):
            raise LabellerError(
                f"{name} returned {len(weights)} weights for a group of {expected} completions; "
                "give one for each, or none at all."
            )
        metrics = {str(key): float(value) for key, value in labelled.metrics.items()}
        agreement = float(labelled.agreement)
        given = [each for each in rewards if each is not None]
        numbers = [agreement, *metrics.values(), *given, *weights]
        if not all(map(math.isfinite, numbers)):
            raise LabellerError(
                f"{name} returned a reward, weight, agreement or metric that is not finite; give "
                "None as the reward of a completion that says nothing."
            )
        return replace(
            labelled, rewards=rewards, agreement=agreement, metrics=metrics, weights=weights
        )

    def _labels_right(
        self, rollouts: Sequence[Rollouts], labelled: Sequence[Labelled]
    ) -> list[bool | None]:
        """Say of each label whether it is the gold answer; `None`: one of the two is missing.

        Where there is no label, or it was read off the gold answer, the majority answer counts.
        """
        of_gold = "gold" in self.labeller.needs
        labels = [
            group.vote.answer if of_gold or group.task.by_gold or each.label is None else each.label
            for group, each in zip(rollouts, labelled, strict=True)
        ]
        # Labels of other votes than the group's own are compared with gold here.
        open_pairs = {
            (label, str(group.task.gold))
            for group, label in zip(rollouts, labels, strict=True)
            if label not in (None, group.vote.answer) and group.task.gold is not None
        }
        pairs = sorted((str(label), gold) for label, gold in open_pairs)
        compared = self._policy.decide(lambda: self._same(pairs)) if pairs else []
        equal = dict(zip(pairs, compared, strict=True))
        found: list[bool | None] = []
        for group, label in zip(rollouts, labels, strict=True):
            gold, vote = group.task.gold, group.vote
            if gold is None or label is None:
                found.append(None)
            # The members of the majority are all right, or all wrong.
            elif label == vote.answer:
                found.append(group.right[vote.rewards.index(1.0)])
            else:
                found.append(equal[label, str(gold)])
        return found

    def _same(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        golds = [(label, read_gold(gold, self._kind)) for label, gold in pairs]
        return same_answers(golds, kind=self._kind, verifier=self._verifier)

    def _group(
        self,
        rollouts: Rollouts,
        labelled: Labelled,
        label_right: bool | None,
        *,
        step: int,
        tally: Tally,
    ) -> Group:
        vote, texts, counters = rollouts.vote, rollouts.completions, self._books.counters
        if rollouts.task.gold is not None and vote.answer is not None:
            tally.reward_hits += [
                (reward > 0) == hit
                for reward, hit in zip(vote.rewards, rollouts.right, strict=True)
            ]
        group = Group(counters.num_groups, step, rollouts, labelled, label_right)
        counters.num_groups += 1
        counters.num_rollouts += len(texts)
        tally.counts["completions"] += len(texts)
        tally.counts["unparsable"] += vote.num_unparsable
        tally.counts["truncated"] += sum(c.truncated for c in texts)
        return group

    def _note(self, group: Group, tally: Tally) -> None:
        """Count a group, and write it down."""
        vote, labelled, task = group.vote, group.labelled, group.rollouts.task
        verdict = labelled.verdict
        tally.note_group(labelled, vote, group.label_right)
        tally.of_source[task.source].note(labelled, vote, group.label_right)
        counts = tuple(votes for _, votes in vote.counts)
        tally.halves.append(split_half(counts, num_unparsable=vote.num_unparsable))
        # Two stand for all: completions of one prompt come in no order.
        first, second = (each.token_ids for each in group.completions[:2])
        tally.likenesses.append(pair_similarity(first, second))
        tally.repetitions.append(repetition_ratio(first))
        if vote.answer is not None:
            self._recent_majorities.append(vote.answer)
            # The estimate is about votes that train, so only their ratios are kept.
            if verdict.keep and not task.by_gold:
                self._label_ratios.append(vote.majority_ratio)
        if not verdict.keep:
            self._books.refuse(verdict.reason, group.instruction, tally)
        self._books.write(
            type="group",
            id=group.id,
            step=group.step,
            instruction=group.instruction,
            origin=task.origin,
            source=task.source,
            answers=dict(vote.counts),
            num_unparsable=vote.num_unparsable,
            majority_answer=vote.answer,
            majority_ratio=vote.majority_ratio,
            gold=task.gold,
            label_right=group.label_right,
            keep=verdict.keep,
            reason=verdict.reason,
            # Only where another vote than the group's own has made the label.
            **({} if labelled.label in (None, vote.answer) else {"label": labelled.label}),
            **({} if task.inherited is None else {"inherited": task.inherited}),
            detail=dict(verdict.detail or {}),
        )


def _rollouts(
    tasks: Sequence[Task], rolled: Rolled, golds: Sequence[str | None], ballots: Sequence[Ballot]
) -> list[Rollouts]:
    views = rolled.views or [None] * len(tasks)
    rows = zip(tasks, rolled.prompts, rolled.completions, views, golds, ballots, strict=True)
    return [
        Rollouts(
            task=replace(task, gold=gold),
            messages=prompt,
            completions=tuple(texts),
            vote=ballot.vote,
            right=tuple(ballot.right),
            view=view,
        )
        for task, prompt, texts, view, gold, ballot in rows
    ]


def _ended(group: Rollouts, verdict: Verdict) -> Labelled:
    """Return a group that its pilot votes ended, with what these agree on."""
    nothing = (None,) * len(group.completions)
    return Labelled(nothing, verdict, group.vote.majority_ratio, group.vote.answer)


def _kinds(labeller: Labeller) -> list[str]:
    """Return the classes of a labeller that have a state of their own to save."""
    kinds = [type(each) for each in wrapped(labeller)]
    # A wrapper that hands through the state of what it wraps adds nothing to it.
    return [kind.__qualname__ for kind in kinds if kind.state_dict is not Wrapper.state_dict]


def _asking(labelling: Labelling, tally: Tally) -> Ask:
    """Return what a labeller asks with; its questions cost what any rollout costs."""
    policy, needs = labelling._policy, labelling.labeller.needs

    def ask(
        prompts: Sequence[Messages], sampling: Sampling | None = None, *, model: str = POLICY
    ) -> list[Completion]:
        if model == TEACHER and TEACHER not in needs:
            raise LabellerError(f'{labelling._name} asks its teacher; name "teacher" in its needs.')
        complete = policy.ask_teacher if model == TEACHER else policy.complete
        labelling._books.counters.num_rollouts += len(prompts)
        tally.counts["labeller_rollouts"] += len(prompts)
        with tally.time("rollout"):
            return complete(prompts, sampling)

    return ask
