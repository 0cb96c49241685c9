"""A run's state beside TRL's own: each part listed once, for checkpoints and undone refills.

A field names its value and where in the trainer that value lives, so that nothing can be saved and
then be forgotten on resuming. The files belong to one version of this package: a checkpoint with
other fields, as another version writes it, is refused in one sentence.
"""

import functools
import json
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from serl_trl.train.checkpoint import STATE_FILE, CheckpointError, load_state
from serl_trl.train.host import Host, inside


@dataclass(frozen=True)
class RandomState:
    """The state of every generator that a backend may draw from."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    gpus: list[torch.Tensor]

    @classmethod
    def take(cls) -> Self:
        """Read it."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus)

    def put(self) -> None:
        """Put it back."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)


@contextmanager
def private_randomness(seed: int) -> Generator[None]:
    """Let `seed` alone decide what is drawn inside the block; the run's own state stays."""
    before = RandomState.take()
    torch.manual_seed(seed)
    # vLLM's newer model runner takes the seeds of its requests from NumPy.
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        before.put()


def _kept(take: Callable[[Any], Any], put: Callable[[Any, Any], None]) -> Any:
    """Return the field whose value `take` reads from the trainer and `put` puts back into it."""
    return field(metadata={"take": take, "put": put})


def _attribute(name: str, *default: Any) -> Any:
    """Return the field that lives in an attribute of the trainer, or of a part of it ("part.x")."""
    *parts, last = name.split(".")

    def owner(trainer: Any) -> Any:
        return functools.reduce(getattr, parts, trainer)

    return _kept(
        lambda trainer: getattr(owner(trainer), last, *default),
        lambda trainer, value: setattr(owner(trainer), last, value),
    )


def _part(name: str) -> Any:
    """Return the field of a part of the trainer that has a `state_dict` of its own."""
    return _kept(
        lambda trainer: getattr(trainer, name).state_dict(),
        lambda trainer, value: getattr(trainer, name).load_state_dict(value),
    )


def _lists(find: Callable[[Any], dict[str, list[Any]]]) -> Any:
    """Return the field of a mapping of lists, which stays the same object: TRL holds it too."""

    def take(trainer: Any) -> dict[str, list[Any]]:
        return {name: list(values) for name, values in find(trainer).items()}

    def put(trainer: Any, values: dict[str, list[Any]]) -> None:
        # Names that the state does not have would otherwise keep what they hold now.
        find(trainer).clear()
        find(trainer).update(values)

    return _kept(take, put)


def _take_logs(trainer: Any) -> dict[str, Any]:
    """Return what the next log shows and writes; nothing unless that was asked for."""
    # TRL fills them in any case, and they hold whole texts.
    logs = inside(trainer)._logs.items() if trainer.log_completions else ()
    nested = {name: values for name, values in logs if isinstance(values, Mapping)}
    flat = {name: list(values) for name, values in logs if name not in nested}
    return flat | {name: {k: list(v) for k, v in each.items()} for name, each in nested.items()}


def _put_logs(trainer: Any, logs: dict[str, Any]) -> None:
    for name, values in logs.items():
        if isinstance(values, Mapping):
            for key, each in values.items():
                inside(trainer)._logs[name][key].extend(each)
        else:
            inside(trainer)._logs[name].extend(values)


def _put_loss(trainer: Any, loss: float) -> None:
    # In place: the training loop holds the same tensor.
    inside(trainer)._tr_loss += loss


@dataclass(frozen=True)
class _State:
    """Values that `take` reads from a trainer and `put` puts back."""

    @classmethod
    def take(cls, trainer: Host) -> Self:
        return cls(**{each.name: each.metadata["take"](trainer) for each in fields(cls)})

    def put(self, trainer: Host) -> None:
        for each in fields(self):
            each.metadata["put"](trainer, getattr(self, each.name))


@dataclass(frozen=True)
class RunState(_State):
    """What all processes share, as JSON. `sizes` is how long each file of lines was."""

    selfplay: dict[str, Any] = _part("selfplay")
    iteration: int = _attribute("iteration")
    num_skipped: int = _attribute("nonfinite.num_skipped")
    verifier: dict[str, Any] = _part("verifier")
    guard: dict[str, Any] = _part("guard")
    sizes: dict[str, int] = _kept(
        lambda trainer: {name: lines.sync() for name, lines in trainer.written.items()},
        # The files were cut back to them before anything else was restored.
        lambda trainer, sizes: None,
    )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the state of a checkpoint; raise `CheckpointError` where it has other fields."""
        saved = load_state(folder)
        with refusing_other_fields(folder, STATE_FILE):
            return cls(**saved)


def _cut_back(trainer: Any, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        trainer.written[name].cut(size)


@dataclass(frozen=True)
class RefillState(_State):
    """What an abandoned refill must leave as it found it."""

    selfplay: dict[str, Any] = _part("selfplay")
    randomness: RandomState = _kept(lambda _: RandomState.take(), lambda _, state: state.put())
    sizes: dict[str, int] = _kept(
        lambda trainer: {name: lines.size() for name, lines in trainer.written.items()}, _cut_back
    )
    pending_metrics: dict[str, Any] = _lists(lambda trainer: inside(trainer)._pending_metrics)


@dataclass(frozen=True)
class ProcessState(_State):
    """What each process has of its own: its place in a generation cycle, sums since the last log.

    Put back when the training loop has begun, because that sets most of it to zero.
    """

    buffer: list[Any] | None = _attribute("_buffered_inputs")
    step: int = _attribute("_step")
    loss: float = _kept(lambda trainer: inside(trainer)._tr_loss.item(), _put_loss)
    total_loss: float = _attribute("_total_loss_scalar")
    last_logged: int = _attribute("_globalstep_last_logged")
    # For transformers' own figures of speed; releases before 5.18 do without it.
    initial_step: int = _attribute("_initial_global_step", 0)
    metrics: dict[str, Any] = _lists(lambda trainer: inside(trainer)._metrics["train"])
    pending_metrics: dict[str, Any] = _lists(lambda trainer: inside(trainer)._pending_metrics)
    seconds: float = _attribute("saving.seconds")
    logs: dict[str, Any] = _kept(_take_logs, _put_logs)

    @classmethod
    def read(cls, path: Path, device: torch.device) -> Self:
        """Read what `write` wrote, with the rollouts on `device`."""
        # torch knows no "cpu:0", as accelerate calls the CPU of several processes.
        place = "cpu" if device.type == "cpu" else device
        saved = torch.load(path, map_location=place, weights_only=True)
        with refusing_other_fields(path.parent, path.name):
            return cls(buffer=saved["buffer"], **json.loads(saved["sums"]))

    def write(self, path: Path) -> None:
        """Write it: the rollouts as tensors, the rest as JSON, for which users log any number."""
        sums = {name: value for name, value in vars(self).items() if name != "buffer"}
        torch.save({"buffer": self.buffer, "sums": json.dumps(sums, default=_plain)}, path)


@contextmanager
def refusing_other_fields(folder: Path, name: str) -> Generator[None]:
    """Raise a `CheckpointError` where a value of a checkpoint's file is missing, new or damaged."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"resume={folder}: its {name} is not what this version of SeRLTrainer writes "
            f"({error!r}); resume another checkpoint, or start a new run from its weights with "
            "model_name_or_path."
        ) from error


def _plain(value: Any) -> Any:
    """Turn what a user logged into JSON: a number of any library, else its text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
