"""A trial of the untrained model: some rollouts and proposals, counted, and nothing changed."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean

from serl_trl.answers.equality import get_kind
from serl_trl.common.completion import Completion
from serl_trl.common.text import count_of
from serl_trl.loop.groups import Group, Rolled
from serl_trl.loop.tally import Tally
from serl_trl.measure.rules import NOT, decides_early, judge
from serl_trl.measure.trial import (
    Answers,
    Speed,
    Trial,
    count_answers,
    count_known,
    count_proposals,
    count_votes,
)
from serl_trl.propose.prompts import rollout_messages
from serl_trl.propose.sources.base import Task
from serl_trl.train.host import Host, inside
from serl_trl.train.looking import look_at_proposals
from serl_trl.train.state import private_randomness
from serl_trl.train.vllm import awake

# Votes of each seed between two looks at the answers, once the first looks have decided nothing:
# few, so that a model without answers is found out early.
PORTION = 4


@dataclass(frozen=True)
class Extent:
    """How much a trial samples.

    `num_seeds` seeds, and as many problems of the probe set, are rolled out `num_votes` times. With
    `num_proposals` 0 nothing is proposed.
    """

    num_seeds: int = 16
    num_votes: int = 16
    num_proposals: int = 20


def try_out(trainer: Host, extent: Extent, tell: Callable[[str], None]) -> Trial:
    """Roll out seeds, then problems with gold answers, then propose; see `SeRLTrainer.try_out`."""
    training = trainer.model.training
    trainer.model.eval()
    try:
        return _Trying(trainer, extent, tell).trial()
    finally:
        trainer.model.train(training)


class _Trying:
    """One trial on its way: what was sampled, and the seconds that each part took."""

    def __init__(self, trainer: Host, extent: Extent, tell: Callable[[str], None]) -> None:
        self._trainer, self._extent, self._tell = trainer, extent, tell
        self._kind = get_kind(trainer.args.answer_kind, plugins=trainer.args.plugins or ())
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._sampled: list[Completion] = []
        rng = random.Random(trainer.args.seed)
        seeds = list(trainer.seed_set.instructions)
        rows = rng.sample(range(len(seeds)), min(extent.num_seeds, len(seeds)))
        self._seeds = [Task(seeds[row], f"seed:{row}") for row in rows]
        problems = rng.sample(trainer.probe_set, min(extent.num_seeds, len(trainer.probe_set)))
        self._problems = [Task(row["instruction"], "probe", gold=row["answer"]) for row in problems]

    def trial(self) -> Trial:
        """Sample and count; rollouts that decide alone end it before anything is proposed."""
        trainer = self._trainer
        seed = trainer.args.seed + trainer.accelerator.process_index
        # A trial leaves no trace: neither in the ledger nor in the random numbers of the run.
        with trainer.selfplay.looking(), private_randomness(seed), awake(trainer):
            completions, answers, early = self._roll_out_seeds()
            # The seeds that were not reached come last.
            groups = self._judged(self._seeds[: len(completions)], completions)
            known = count_known(groups, "seed set")
            if self._problems and not early:
                known = count_known(self._roll_out_problems(), "probe set")
            speed = self._speed(groups)
        asked_by = "task_template" if trainer.args.task_template else "answer_instruction"
        votes = count_votes(groups, self._kind)
        found = Trial(answers, votes, known, None, speed, early, asked_by)
        if early or judge(found).decision == NOT:
            return replace(found, stopped_early=True)
        return self._with_proposals(found)

    def _roll_out_seeds(self) -> tuple[list[list[Completion]], Answers, bool]:
        """Return the completions of each seed, what is read in them, and whether they were enough.

        That is true where they are so sure to have too few answers that the others were not drawn.
        """
        groups: list[list[Completion]] = [[] for _ in self._seeds]
        total = len(self._seeds) * self._extent.num_votes
        most = self._trainer.args.max_completion_length
        self._tell(f"rolling out {count_of(total, 'completion')} of at most {most} tokens")
        early = False
        for rows, votes in _portions(len(groups), self._extent.num_votes):
            drawn = self._sample([self._seeds[row] for row in rows], votes)
            for row, more in zip(rows, drawn, strict=True):
                groups[row] += more
            answers = self._answers(groups, again=False)
            early = answers.num_completions < total and decides_early(answers)
            self._tell(
                f"rolled out {answers.num_completions} of {total}: "
                f"{answers.num_answered} have an answer"
                f"{', so few that the others are left out' if early else ''}"
            )
            if early:
                break
        return [group for group in groups if group], self._answers(groups), early

    def _roll_out_problems(self) -> list[Group]:
        completions = self._sample(self._problems, self._extent.num_votes)
        self._tell(f"rolled out {count_of(len(self._problems), 'problem')} of the probe set")
        return self._judged(self._problems, completions)

    def _sample(self, tasks: Sequence[Task], num: int) -> list[list[Completion]]:
        """Complete each task with the sampling values of training."""
        with self._timing("sampling"):
            found = self._trainer.policy.sample([task.instruction for task in tasks], num)
        self._sampled += [completion for group in found for completion in group]
        return found

    def _answers(self, groups: Sequence[Sequence[Completion]], *, again: bool = True) -> Answers:
        """Count the answers; `again` also reads them by other kinds, which only the end needs."""
        # In one process: a verifier's deadline could decide otherwise in another.
        verifier, option = inside(self._trainer).verifier, self._trainer.args.answer_kind
        return self._trainer.policy.decide(
            lambda: count_answers(
                groups, kind=self._kind, option=option, verifier=verifier, again=again
            )
        )

    def _judged(self, tasks: Sequence[Task], completions: list[list[Completion]]) -> list[Group]:
        """Judge the groups as a run would, with its labeller and its band."""
        trainer = self._trainer
        prompts = [rollout_messages(task.instruction, trainer.args.style) for task in tasks]
        labelling, step = trainer.selfplay.labelling, trainer.state.global_step
        return labelling.judge(tasks, Rolled(prompts, completions), step, Tally())

    def _speed(self, groups: Sequence[Group]) -> Speed:
        """Time one forward pass over a group, and sum up what was sampled."""
        policy = self._trainer.policy
        shown = groups[:1]
        # Only its time counts: the cost of an update is forecast as so many of these passes.
        with self._timing("scoring"):
            policy.log_probs([group.rollouts for group in shown])
        prompts = [policy.count_request_tokens(group.rollouts.messages) for group in groups]
        lengths = [len(completion.token_ids) for completion in self._sampled]
        own = [len(completion.token_ids) + prompts[0] for completion in shown[0].completions]
        return Speed(
            sampled_tokens=sum(lengths),
            sampling_s=self._seconds["sampling"],
            scored_tokens=sum(own),
            scoring_s=self._seconds["scoring"],
            proposing_s=0.0,
            prompt_length=fmean(prompts),
            completion_length=fmean(lengths),
        )

    def _with_proposals(self, found: Trial) -> Trial:
        trainer, num = self._trainer, self._extent.num_proposals
        if not num or not trainer.selfplay.proposing.writing:
            return found
        with self._timing("proposing"):
            judged = look_at_proposals(trainer, num, self._tell)
        return replace(
            found,
            proposals=count_proposals(judged, trainer.seed_set.instructions),
            speed=replace(found.speed, proposing_s=self._seconds["proposing"]),
        )

    @contextmanager
    def _timing(self, part: str) -> Generator[None]:
        started = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - started


def _portions(num_seeds: int, num_votes: int) -> Iterator[tuple[range, int]]:
    """Yield which seeds to roll out before each look and how often, each `num_votes` times in all.

    First two votes of half the seeds, which takes a slow model a minute or two: enough completions
    to see that hardly any has an answer, and enough votes to see whether other readings agree.
    """
    half, first = (num_seeds + 1) // 2, min(2, num_votes)
    yield range(half), first
    if half < num_seeds:
        yield range(half, num_seeds), first
    for done in range(first, num_votes, PORTION):
        yield range(num_seeds), min(PORTION, num_votes - done)
