"""What keeps a run from learning from, and from saving, numbers that are NaN or infinite."""

import json
import logging
import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from safetensors import SafetensorError
from safetensors.torch import save
from torch.distributed.tensor import DTensor

from serl_trl.common.errors import NonFiniteError
from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder, FolderError
from serl_trl.train.host import Host, inside

logger = logging.getLogger(__name__)

NONFINITE_FOLDER = "nonfinite"
# A message with the names of all parameters would be longer than a screen.
_NUM_NAMES = 10


class NonFiniteGuard:
    """Skips steps whose loss or gradient is NaN or infinite, and stops after `most` of them.

    One such step would destroy all weights, and the optimizer's state with them. A skipped step
    leaves both as they were and counts as a step of the schedule. Half precision has its own
    scaler, which skips, and is left to it.
    """

    def __init__(self, trainer: Host, *, most: int) -> None:
        self._trainer = trainer
        # DeepSpeed updates inside the backward pass: its step can only be stopped after.
        deepspeed = trainer.accelerator.distributed_type == DistributedType.DEEPSPEED
        self._most = 0 if deepspeed else most
        self._watches = not trainer.args.fp16
        self._seen: list[tuple[dict[str, Any], torch.Tensor]] = []
        self.num_skipped = 0

    def note(self, inputs: dict[str, Any], loss: torch.Tensor) -> None:
        """Remember a micro-batch of the step with its loss."""
        if self._watches:
            # Held until the step, because only then is it known whether any of them was bad.
            self._seen.append((inputs, loss.detach()))

    def check(self, grad_norm: Any) -> None:
        """Look at the losses and the gradient norm of a step before the optimizer does.

        Drops the gradients of a bad step, without which an optimizer moves nothing. Raises
        `NonFiniteError` in all processes when there were too many bad steps.
        """
        if not self._watches:
            return
        seen, self._seen = self._seen, []
        accelerator = self._trainer.accelerator
        numbers = [*(float(loss) for _, loss in seen), float(grad_norm)]
        bad = float(not all(map(math.isfinite, numbers)))
        mine = torch.tensor([bad], device=accelerator.device)
        # All skip together, or the processes' weights would part ways.
        if float(accelerator.reduce(mine, reduction="sum")) > 0:
            self.num_skipped += 1
            self._report([inputs for inputs, _ in seen], numbers)
            self._trainer.optimizer.zero_grad()
        metrics = inside(self._trainer)._metrics["train"]
        metrics["serl/num_skipped_steps"].append(float(self.num_skipped))

    def _report(self, seen: list[dict[str, Any]], numbers: list[float]) -> None:
        """Write the batch down, say so, and raise when it was one too many."""
        trainer = self._trainer
        *losses, norm = numbers
        bad = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        # Where the gradient alone is bad, no micro-batch can be told from the others: the last is
        # kept.
        index = bad[0] if bad else len(seen) - 1
        facts = {
            "step": trainer.state.global_step + 1,
            "process": trainer.accelerator.process_index,
            "losses": [str(loss) for loss in losses],
            "grad_norm": str(norm),
            "micro_batch": index,
            "parameters": _name_bad(trainer.model, lambda p: p.grad),
        }
        run = Path(str(trainer.args.output_dir))
        if seen:
            _dump(run, seen[index], facts)
        text = (
            f"step {facts['step']}: a loss or gradient is not finite (losses {facts['losses']}, "
            f"gradient norm {norm}); its batch is in {run / PRIVATE_FOLDER / NONFINITE_FOLDER}."
        )
        if self.num_skipped > self._most:
            raise NonFiniteError(
                f"{text} max_nonfinite_steps={self._most} allows no further one; look at the "
                "batch, lower learning_rate, and resume the last checkpoint."
            )
        logger.error("%s The step is skipped, %d of %d.", text, self.num_skipped, self._most)


def refuse_nonfinite_weights(model: torch.nn.Module) -> None:
    """Raise `NonFiniteError` when a trained weight of `model` is NaN or infinite."""
    if names := _name_bad(model, lambda p: p if p.requires_grad else None):
        raise NonFiniteError(
            f"the weights are not saved: {', '.join(names)} hold NaN or infinity; lower "
            "learning_rate, and resume the last checkpoint."
        )


def _name_bad(model: torch.nn.Module, pick: Callable[[Any], torch.Tensor | None]) -> list[str]:
    """Return the names of the first parameters whose picked values are not all finite."""

    def is_bad(values: torch.Tensor | None) -> bool:
        # Each process looks at its own part of a sharded tensor.
        own = values.to_local() if isinstance(values, DTensor) else values
        return own is not None and not torch.isfinite(own).all()

    bad = (name for name, parameter in model.named_parameters() if is_bad(pick(parameter)))
    return list(islice(bad, _NUM_NAMES))


def _dump(run: Path, inputs: dict[str, Any], facts: dict[str, Any]) -> None:
    tensors = {k: v.detach().cpu().clone() for k, v in inputs.items() if torch.is_tensor(v)}
    name = f"step-{facts['step']}-process-{facts['process']}"
    place = f"{PRIVATE_FOLDER}/{NONFINITE_FOLDER}/{name}"
    try:
        Folder(run).write(f"{place}.safetensors", save(tensors))
        Folder(run).write(f"{place}.json", json.dumps(facts, indent=1) + "\n")
    except (OSError, FolderError, SafetensorError) as error:
        # A process that stopped here would leave the others waiting for it.
        logger.error("the batch could not be written to %s: %s", run / place, error)
