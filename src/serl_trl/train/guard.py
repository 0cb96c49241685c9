"""A run that protects itself: it looks at its sentinel set, heeds its alarms, and goes back.

What rings, and where, is `measure/alarms.py`; here stands what a run does about it.
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from serl_trl.answers.equality import get_kind, known_labels
from serl_trl.labels.base import wrapped
from serl_trl.measure.alarms import (
    METRICS,
    About,
    Ended,
    History,
    Reading,
    may_stop,
)
from serl_trl.measure.sentinel import Sentinel
from serl_trl.train import checkpoint
from serl_trl.train.host import Host, inside
from serl_trl.train.probe import measure_probe
from serl_trl.train.sentinel import SentinelSet
from serl_trl.train.swaps import replaced, swapped

logger = logging.getLogger(__name__)


class Guard(TrainerCallback):
    """Watches the figures that a run logs, and eases, stops or restores it where they say so.

    `ended` is `None` while the run trains. All processes take the decision of the first one.
    """

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer
        args = trainer.args
        self._on = args.use_selfplay and args.collapse_guard != "off"
        labeller = wrapped(trainer.selfplay.labelling.labeller)[-1]
        kind = get_kind(args.answer_kind, plugins=args.plugins or ())
        labels = known_labels(kind)
        self._about = About(
            num_labels=len(labels) if labels else None,
            num_probe=len(trainer.probe_set),
            own_labels=not {"gold", "teacher"} & labeller.needs,
            probe_decides=args.probe_decides,
        )
        self.sentinel = SentinelSet(trainer, kind)
        self._forget()

    def _forget(self) -> None:
        self.history = History(self._about)
        self.sentinel.votes = Sentinel()
        self.eased = False
        self.ended: Ended | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the future, as plain JSON values."""
        return {
            "rows": list(self.history.rows),
            "sentinel": self.sentinel.votes.state_dict(),
            "eased": self.eased,
            "ended": asdict(self.ended) if self.ended else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.history = History(self._about, state["rows"])
        self.sentinel.votes = Sentinel(**state["sentinel"])
        self.eased = state["eased"]
        # Who resumes a stopped run with a guard that stops none wants it to train on.
        stops = self._on and self._trainer.args.collapse_guard != "warn"
        self.ended = Ended(**state["ended"]) if state["ended"] and stops else None

    # Looking.

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget an earlier training, and look at the untrained weights: the baseline."""
        if state.global_step == 0:
            self._forget()
            self.on_step_end(args, state, control)
            if self._on and args.probe_decides and args.probe_steps:
                # The first probe may come when pass@1 has fallen already.
                value = measure_probe(self._trainer).summary()["pass@1"]
                self.history.add({"step": 0, "serl/probe/pass@1": value})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Answer the sentinel set when it is time; its figures come with the next log."""
        every = args.sentinel_steps
        # A run that is over at its second check has nothing to save by it.
        on = self._on and every < state.max_steps
        # Also in a run that was asked to stop: it decides, and a resumed run must come to the same.
        if on and self.history.sentinel_due(state.global_step, every):
            self.sentinel.look(state.global_step)

    # Deciding.

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Read the alarms at the figures of this log, and do what they ask for."""
        # The last log of a run and its resumptions hold no figures of a refill.
        if not self._on or self.ended or "serl/num_groups" not in (logs or {}):
            return
        row = {name: float(value) for name, value in (logs or {}).items() if name in METRICS}
        # All processes read the row of the first one, and so come to the same.
        row = self._trainer.policy.decide(lambda: {**row, "step": state.global_step})
        ringing = [each for each in self.history.add(row) if each.rings]
        for reading in ringing:
            if reading.num_rings == 1:
                self._tell("warn", reading)
        if args.collapse_guard == "warn":
            return
        self._act([each for each in ringing if may_stop(each.alarm, self._about)])
        if self.ended:
            control.should_training_stop = True
            # So that a run killed from here on comes to the same end when it is resumed.
            control.should_save = args.save_strategy != "no"

    def _act(self, ringing: Sequence[Reading]) -> None:
        """Stop where an alarm rang often enough; else ease at its first ring, once."""
        step, last = self._trainer.state.global_step, self._trainer.state.max_steps
        due = [each for each in ringing if each.num_rings >= each.alarm.checks]
        if due:
            self._end(due[0], min(each.clean for each in ringing))
        elif ringing and not self.eased:
            self._ease(ringing[0])
        elif not ringing and step < last and (reason := self.history.enough_learnt()):
            self._note(Ended(step, "enough", "", reason))

    def _ease(self, reading: Reading) -> None:
        trainer = self._trainer
        self.eased = True
        scheduler = inside(trainer).lr_scheduler
        # Accelerate wraps the one of DeepSpeed.
        scheduler = getattr(scheduler, "scheduler", scheduler)
        # The schedule multiplies these; a checkpoint holds them, so that a resumed run is eased.
        if hasattr(scheduler, "base_lrs"):
            halved = [rate / 2 for rate in scheduler.base_lrs]
            replaced("scheduler", scheduler, base_lrs=halved)
        for group in trainer.optimizer.param_groups:
            group["lr"] /= 2
        self._tell("ease", reading)

    def _end(self, reading: Reading, clean: int) -> None:
        trainer, args = self._trainer, self._trainer.args
        wants = args.collapse_guard == "rollback"
        found = trainer.policy.decide(lambda: self._best_until(clean)) if wants else None
        ended = Ended(
            reading.step, args.collapse_guard, reading.alarm.name, reading.sentence, found
        )
        self._note(ended)

    def _best_until(self, clean: int) -> str | None:
        """Return the name of the last whole checkpoint up to step `clean`, `None` without one.

        Where the probe set decides, that of its best pass@1.
        """
        folder = Path(self._trainer.args.output_dir)
        steps = {
            path: checkpoint.step_of(path) or 0 for path in checkpoint.list_checkpoints(folder)
        }
        found = [path for path, step in steps.items() if step <= clean]
        if self._trainer.args.probe_decides:
            probed = self.history.probed
            # Of equally good ones the later stays last.
            found.sort(key=lambda path: probed.get(steps[path], -1.0))
        # From the best on: to look for damage reads the files.
        whole = (path.name for path in reversed(found) if not checkpoint.find_damage(path))
        return next(whole, None)

    def _note(self, ended: Ended) -> None:
        self.ended = ended
        self._trainer.ledger.write({"type": "guard", **asdict(ended)})
        self._trainer.ledger.flush()
        if self._trainer.is_world_process_zero():
            log = logger.warning if ended.action == "enough" else logger.error
            log("%s", ended.sentence)

    def _tell(self, action: str, reading: Reading) -> None:
        """Write an alarm down, and say it."""
        trainer, name = self._trainer, reading.alarm.name
        record = {"type": "guard", "step": reading.step, "action": action, "alarm": name}
        figures = {key: getattr(reading, key) for key in ("value", "baseline", "threshold")}
        trainer.ledger.write({**record, **figures, "reason": reading.sentence})
        trainer.ledger.flush()
        if trainer.is_world_process_zero():
            eased = "; the learning rate is halved" if action == "ease" else ""
            logger.warning("step %d, %s: %s%s", reading.step, name, reading.sentence, eased)

    # Going back.

    @property
    def protected(self) -> set[Path]:
        """The checkpoint that a stop would restore, or will: rotation must leave it.

        The sentinel set may next be looked at when several newer checkpoints have come.
        """
        folder = Path(self._trainer.args.output_dir)
        if self.ended:
            return {folder / self.ended.restored} if self.ended.restored else set()
        safe = self.history.safe_until() if self._on else None
        name = self._best_until(safe) if safe is not None else None
        return {folder / name} if name else set()

    @contextmanager
    def restoring(self) -> Generator[None]:
        """Let transformers' end of a training load the checkpoint that a rollback chose, if any.

        It knows how for adapters and for weights that are split over processes.
        """
        if not (self.ended and self.ended.restored):
            yield
            return
        folder = Path(self._trainer.args.output_dir) / self.ended.restored
        if problem := self._trainer.policy.decide(lambda: checkpoint.find_damage(folder)):
            raise checkpoint.CheckpointError(
                f"Cannot go back to {folder}: {problem}. The last weights are in the newest "
                "checkpoint; collapse_guard: warn with --resume auto continues from there."
            )
        with (
            swapped("args", self._trainer.args, load_best_model_at_end=True),
            swapped("state", self._trainer.state, best_model_checkpoint=str(folder)),
        ):
            yield
