"""Generation batches of self-play, in place of TRL's data iterator."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from accelerate.utils.memory import clear_device_cache

from serl_trl.loop.groups import Group
from serl_trl.train.host import Host, inside, own_rows
from serl_trl.train.vllm import awake

logger = logging.getLogger(__name__)


class SelfPlayLoader:
    """Hands out generation batches made at the moment they are asked for, each `repeats` times.

    Not prepared by Accelerate, which would fetch one batch ahead and so roll out with the weights
    of the step before. Ends when `make_batch` returns `None`. `num_used` counts the micro-batches
    of earlier iterators. An iterator that begins inside a cycle hands out empty batches to its end,
    because TRL has the cycle's rollouts in its buffer and looks at no row.
    """

    def __init__(
        self,
        make_batch: Callable[[], list[dict[str, Any]] | None],
        *,
        repeats: int,
        length: int,
        num_used: Callable[[], int] = lambda: 0,
    ) -> None:
        self._make_batch = make_batch
        self._repeats = repeats
        self._length = length
        self._num_used = num_used

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for _ in range(-self._num_used() % self._repeats):
            yield []
        while (batch := self._make_batch()) is not None:
            for _ in range(self._repeats):
                yield batch


class GenerationBatches:
    """Makes the rows of each generation batch by refills, and ends the run where there are none.

    `starved` is the diagnosis of a run that ended because refills found nothing, else `None`.
    """

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer
        self.starved: str | None = None

    def make(self) -> list[dict[str, Any]] | None:
        """Return this process's rows of the next generation batch, or `None` to end the run."""
        trainer, step = self._trainer, self._trainer.state.global_step
        if step >= trainer.state.max_steps:
            return None
        if inside(trainer).guard.ended:
            # A resumed run that had stopped itself, and was killed before its model was saved.
            inside(trainer).control.should_training_stop = True
            return None
        # At the first fetch after start or resume the model is still in eval mode, and TRL reads
        # from it how many completions make a group.
        trainer.model.train()
        # One refill may find nothing by chance; several in a row are worth a diagnosis.
        for _ in range(trainer.args.max_empty_refills):
            if trainer.selfplay.rollouts_spent:
                break
            with awake(trainer):
                refill = trainer.selfplay.refill(step)
            # A cache that grows by a token at a time leaves its memory in pieces, too small for
            # what the update allocates. Does nothing on a CPU.
            clear_device_cache()
            # A run that dies in the step leaves what its refill found.
            trainer.ledger.flush()
            for name, value in refill.metrics.items():
                inside(trainer)._log_metric(name, value)
            if refill.groups:
                shown = trainer.selfplay.proposing.last_proposals
                trainer.watcher.show_samples(step, shown, refill.groups)
                trainer.watcher.waiting_for("updating")
                return self._own_rows(refill.groups)
        self._end()
        return None

    def _end(self) -> None:
        """End the run: as planned where `max_rollouts` is reached, else because none was found."""
        trainer, step = self._trainer, self._trainer.state.global_step
        if trainer.selfplay.rollouts_spent:
            num_rollouts = trainer.selfplay.books.counters.num_rollouts
            record = {"type": "rollouts_spent", "step": step, "num_rollouts": num_rollouts}
        else:
            self.starved = trainer.selfplay.books.diagnose()
            record = {"type": "starved", "step": step, "diagnosis": self.starved}
            logger.error("The run stops at step %d: %s", step, self.starved)
        trainer.ledger.write(record)
        trainer.ledger.flush()
        inside(trainer).control.should_training_stop = True

    def _own_rows(self, groups: Sequence[Group]) -> list[dict[str, Any]]:
        roles = [group.rollouts.role for group in groups for _ in group.completions]
        # Of all rows, too, and only where a labeller weighs.
        weights = [
            weight
            for group in groups
            for weight in group.labelled.weights or (1.0,) * len(group.completions)
        ]
        weighed = {"weights": weights} if any(group.labelled.weights for group in groups) else {}
        rows: list[dict[str, Any]] = [
            {
                "prompt": prompt,
                "instruction": group.instruction,
                "majority_answer": group.vote.answer,
                "label_reward": reward,
                "rollout": completion,
                # A group kept from an earlier step was sampled by other weights, which the engine's
                # gap must not be measured on.
                "fresh": group.step == self._trainer.state.global_step,
                # Of all rows, of which another process may have some: one list for the batch.
                "roles": roles,
                **weighed,
            }
            for group in groups
            for prompt, completion, reward in zip(
                group.rollouts.prompts, group.completions, group.rewards, strict=True
            )
        ]
        share = len(rows) // self._trainer.accelerator.num_processes
        return rows[own_rows(self._trainer, share)]
