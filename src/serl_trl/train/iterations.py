"""Iterations of self-play: what starts afresh at a boundary, and what a resumed run goes by."""

import functools
from collections.abc import Callable
from typing import Any

import yaml
from accelerate.utils import is_peft_model, set_seed
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback
from trl.trainer.callbacks import SyncRefModelCallback

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder
from serl_trl.runs.facts import write_facts
from serl_trl.train.config import SeRLConfig
from serl_trl.train.facts import gather_facts
from serl_trl.train.host import Host, inside
from serl_trl.train.lora import make_reference
from serl_trl.train.swaps import replaced


class Boundaries(TrainerCallback):
    """Starts iterations, and keeps the logged epoch a function of the step, resumed or not."""

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the config, restore the loop, and seed a run that starts afresh."""
        if state.is_world_process_zero:
            write_config(args)
            write_facts(args.private_folder, gather_facts(self._trainer))
        # A resumed run goes by its present options, not by those of its checkpoint.
        state.compute_steps(args, state.max_steps)
        inside(self._trainer).saving.restore_loop()
        if state.global_step == 0:
            # TRL seeds when the trainer is built; what was drawn since must not change the run.
            set_seed(args.seed, device_specific=True)
            self._trainer.iteration = 1
        self._begin(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin the next iteration where this step was the last one of its own."""
        state.epoch = state.global_step / state.max_steps
        self._begin(args, state)

    def _begin(self, args: Any, state: Any) -> None:
        """Begin the iteration of the next step, unless it began before or the run is over."""
        number = state.global_step // args.steps_per_iteration + 1
        if state.global_step < state.max_steps and number > self._trainer.iteration:
            start_iteration(self._trainer, number)


def start_iteration(trainer: Host, number: int) -> None:
    """Save the model of the iteration that ended; start iteration `number` in place."""
    args = trainer.args
    inside(trainer).saving.save_model(args.private_folder / "iterations" / str(number - 1))
    trainer.iteration = number
    if args.reset_optimizer:
        # The moments alone: parameter groups and their rates stay.
        trainer.optimizer.state.clear()
    if args.reset_reference and trainer.ref_model is not None:
        SyncRefModelCallback.sync_target_model(trainer.model, trainer.ref_model, 1.0)
    # With an adapter the reference is the bare base, until a copy of the adapter is made.
    elif args.reset_reference and inside(trainer).beta and is_peft_model(trainer.model):
        make_reference(trainer.model)
    trainer.selfplay.start_iteration(reset_pool=args.reset_pool)
    record = {"type": "iteration", "step": trainer.state.global_step, "number": number}
    trainer.ledger.write(record)


def repeat_schedules(scheduler: Any, period: int) -> bool:
    """Make a schedule begin afresh every `period` steps; false where its kind cannot."""
    if not isinstance(scheduler, LambdaLR):
        return False
    repeated = [_repeating(schedule, period) for schedule in scheduler.lr_lambdas]
    replaced("scheduler", scheduler, lr_lambdas=repeated)
    return True


def follow_schedule(scheduler: Any, optimizer: Any) -> None:
    """Set the rate that the schedule has now: a saved one belongs to the saved run's length."""
    if not isinstance(scheduler, LambdaLR):
        return
    step = scheduler.last_epoch
    factors = [schedule(step) for schedule in scheduler.lr_lambdas]
    rates = [rate * factor for rate, factor in zip(scheduler.base_lrs, factors, strict=True)]
    replaced("scheduler", scheduler, _last_lr=rates)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def write_config(args: SeRLConfig) -> None:
    """Write the resolved config (tokens masked) to the private part of the run's folder."""
    text = yaml.safe_dump(args.to_dict(), sort_keys=True, allow_unicode=True)
    Folder(args.private_folder.parent).write(f"{PRIVATE_FOLDER}/config.yaml", text)


def _repeating(schedule: Callable[[int], float], period: int) -> Callable[[int], float]:
    @functools.wraps(schedule)
    def repeated(step: int) -> float:
        return schedule(step % period)

    return repeated
