"""`serl train`: train, save, push if asked; the run's folder holds the rest."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from serl_trl.cli.build import (
    build_trainer,
    is_over,
    output_folder,
    planned_end,
    resume_from,
    set_aside,
)
from serl_trl.cli.inputs import Inputs, load_inputs
from serl_trl.cli.parser import Arguments, SeRLParser
from serl_trl.common.console import COLLAPSED, OK, STARVED, STOPPED, say, write_json
from serl_trl.common.processes import is_main_process
from serl_trl.common.text import visible
from serl_trl.report.pages import report_after_training
from serl_trl.share.hub import push_model
from serl_trl.train.checkpoint import NEWEST_OR_NONE, choose, is_finished, mark_finished
from serl_trl.train.resume import in_first
from serl_trl.train.trainer import SeRLTrainer


def run(argv: Sequence[str], out: Console) -> int:
    """Train and save the model."""
    args = SeRLParser(prog="serl train").parse(argv)
    if is_over(args):
        if args.config.push_to_hub and not is_over(args, pushed=True):
            _push(args)
        else:
            say(out, f"the run in {args.config.output_dir} is finished; nothing was changed")
        return OK
    started = time.perf_counter()
    trainer = build_trainer(args, prepare(args, out))
    if not train(args, trainer, out):
        return STOPPED
    metrics = next(reversed(trainer.state.log_history), {})
    return finish(args, trainer, {**outcome(trainer, started), "metrics": metrics}, out)


def prepare(args: Arguments, out: Console) -> Inputs:
    """Load and check what is read, and make room for the run."""
    inputs = load_inputs(args)
    for read in (inputs.seed_set, *inputs.row_sets.values(), inputs.probe_set):
        for warning in read.warnings if read else ():
            out.print(Text(visible(warning), "yellow"))
    # No other process may write to the folder while it is being moved.
    if args.run.overwrite and (moved := in_first(lambda: set_aside(output_folder(args)))):
        say(out, f"the earlier run was moved to {moved}")
    return inputs


def train(args: Arguments, trainer: SeRLTrainer, out: Console) -> bool:
    """Train and save the model; false when the run was asked to stop, and has left."""
    # The signals of other processes may come while this one already leaves.
    with trainer.stopping.listening():
        trainer.train(resume_from_checkpoint=resume_from(args))
        if trainer.stopping.asked:
            _stop(args, trainer, out)
            return False
    trainer.save_model(trainer.args.output_dir)
    if trainer.starved:
        out.print(Text(f"the run stopped early: {visible(trainer.starved)}", "yellow"))
    return True


def outcome(trainer: SeRLTrainer, started: float) -> dict[str, Any]:
    """Return what `--json` says of every run that ended by itself."""
    return {
        "run": str(trainer.args.output_dir),
        "seconds": time.perf_counter() - started,
        "steps": trainer.state.global_step,
        "starved": trainer.starved,
        "ended": asdict(trainer.guard.ended) if trainer.guard.ended else None,
    }


def finish(args: Arguments, trainer: SeRLTrainer, report: Mapping[str, Any], out: Console) -> int:
    """Write card and report, note that the run is over, push; return the exit code."""
    # Last, because the card and the report show what was measured.
    trainer.create_model_card()
    folder, ended = output_folder(args), trainer.guard.ended
    if is_main_process():
        trainer.ledger.flush()
        for file in report_after_training(folder):
            say(out, f"the report of the run is in {file.absolute()}")
        at_end = trainer.state.global_step >= trainer.args.max_steps
        if at_end or trainer.selfplay.rollouts_spent or ended:
            mark_finished(folder, planned_end(args))
    write_json(args.run.json, report)
    # A process that leaves while another still talks to it can abort in gloo's threads.
    trainer.accelerator.wait_for_everyone()
    # Ends the trackers and the process group.
    trainer.accelerator.end_training()
    if args.config.push_to_hub:
        # Alone: it may take longer than `ddp_timeout`, for which others would wait.
        _push(args)
    if ended:
        say(out, visible(ended.sentence))
        return COLLAPSED if ended.collapsed else OK
    return STARVED if trainer.starved else OK


def _stop(args: Arguments, trainer: SeRLTrainer, out: Console) -> None:
    """Leave a run that was asked to stop; the last line says how to go on.

    The model is in the checkpoint, and whoever asked may not wait for a second copy.
    """
    step, asked = trainer.state.global_step, trainer.stopping.asked
    folder = Path(str(trainer.args.output_dir))
    write_json(args.run.json, {"run": str(folder), "steps": step, "stopped_by": asked})
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
    if not is_main_process():
        return
    newest = choose(folder, NEWEST_OR_NONE).folder
    way = (
        f"the same command with --resume auto resumes from {newest.name}"
        if newest
        else "there is no checkpoint to resume from, so --resume auto starts afresh"
    )
    say(out, f"stopped by {asked} after step {step} of {trainer.state.max_steps}; {way}")


def _push(args: Arguments) -> None:
    """Send the saved model from the main process; a finished run notes that it arrived."""
    if not is_main_process():
        return
    config, folder = args.config, output_folder(args)
    private = config.hub_private_repo is not False
    if address := push_model(folder, repo_id=config.hub_model_id, private=private):
        say(Console(stderr=True), f"pushed to {address}")
        if is_finished(folder, planned_end(args)):
            mark_finished(folder, planned_end(args, pushed=True))
