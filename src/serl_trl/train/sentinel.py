"""Answering the sentinel set in the middle of a training, which stays as it was."""

import random
import time
from collections import Counter
from collections.abc import Sequence

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import same_answers
from serl_trl.common.completion import Completion
from serl_trl.labels.ballots import count_ballots
from serl_trl.measure.sentinel import SIZE, VOTES, Sentinel
from serl_trl.train.host import Host, inside
from serl_trl.train.looking import Drawing, attempt


class SentinelSet:
    """The seeds that are asked again and again; `votes` is what they were answered so far."""

    def __init__(self, trainer: Host, kind: AnswerKind) -> None:
        self._trainer, self._kind = trainer, kind
        seeds = trainer.seed_set.instructions
        # By a generator of its own: the run's must not be drawn from.
        rng = random.Random(trainer.args.seed)
        rows = rng.sample(range(len(seeds)), min(SIZE, len(seeds)))
        self._seeds = [seeds[row] for row in sorted(rows)]
        self.votes = Sentinel()

    def look(self, step: int) -> None:
        """Roll out the sentinel set without training on it, and note what became of its votes."""
        trainer, args = self._trainer, self._trainer.args
        began = time.monotonic()
        trainer.watcher.waiting_for("looking at the sentinel set")
        drawing = Drawing(VOTES, args.temperature, args.top_p, greedy=False, seed=args.seed + step)
        problems = [{"instruction": seed, "answer": ""} for seed in self._seeds]
        drawn = [each.samples for each in attempt(trainer, problems, drawing)]
        # In one process: a verifier's deadline could decide otherwise in another.
        counts = trainer.policy.decide(lambda: self._count(drawn))
        found = self.votes.take(counts, num_votes=VOTES)
        trainer.ledger.write({"type": "sentinel", "step": step, "answers": counts, **found})
        trainer.ledger.flush()
        if not step:
            # Before the first step there is no log that could take them.
            return
        logged = {f"sentinel/{name}": value for name, value in found.items()}
        logged |= {"num_sentinel_rollouts": float(VOTES * len(self._seeds))}
        logged |= {"time/sentinel_s": time.monotonic() - began}
        for name, value in logged.items():
            inside(trainer)._metrics["train"][f"serl/{name}"].append(value)

    def _count(self, drawn: Sequence[Sequence[Completion]]) -> list[dict[str, int]]:
        """Count the answers of each seed, those that equal a known one under its spelling."""
        verifier = inside(self._trainer).verifier
        ballots = count_ballots(drawn, [None] * len(drawn), kind=self._kind, verifier=verifier)
        pairs = [
            (seed, answer, known)
            for seed, ballot in enumerate(ballots)
            for answer, _ in ballot.vote.counts
            for known in self.votes.known(seed)
        ]
        texts = [(answer, known) for _, answer, known in pairs]
        same = same_answers(texts, kind=self._kind, verifier=verifier)
        # The first known spelling wins: the settled answer stands before the last one.
        spelling: dict[tuple[int, str], str] = {}
        for (seed, answer, known), equal in zip(pairs, same, strict=True):
            if equal:
                spelling.setdefault((seed, answer), known)
        counted: list[dict[str, int]] = []
        for seed, ballot in enumerate(ballots):
            counter: Counter[str] = Counter()
            for answer, num in ballot.vote.counts:
                counter[spelling.get((seed, answer), answer)] += num
            counted.append(dict(counter))
        return counted
