"""The `serl` command; `usage.py` lists what it does.

Exit codes: 0 the command did what it should, 1 the disk is full, a number is not finite, or the
engine samples from other weights (earlier checkpoints are whole), 2 bad input (all problems are
printed, and nothing was trained), 3 the run stopped because no proposal or group passed any more
(the model is saved), 130 interrupted outside training or twice, 143 stopped by SIGTERM or SIGINT
(the last line names the checkpoint that --resume auto goes on from, if there is one).
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serl_trl import __version__, sandbox
from serl_trl.cli.usage import (
    COMMANDS,
    HELP,
    HELP_ALL,
    USAGE,
    own_options,
    short_help,
    takes_run_options,
)
from serl_trl.common.console import (
    FAILED,
    INTERRUPTED,
    OK,
    STARVED,
    STOPPED,
    label_of,
    report_problems,
    say,
    write_json,
    write_text,
)
from serl_trl.common.disk import DiskFullError
from serl_trl.common.errors import LogProbGapError, NonFiniteError, SeRLConfigError
from serl_trl.common.folder import FolderError
from serl_trl.common.options import option
from serl_trl.common.processes import is_main_process, leave_process_group
from serl_trl.common.startup import quick_imports
from serl_trl.common.text import count_of, near_matches, visible
from serl_trl.runs.facts import public_name
from serl_trl.runs.reader import write_evaluation
from serl_trl.train.checkpoint import (
    NEWEST_OR_NONE,
    choose,
    is_finished,
    mark_finished,
)

if TYPE_CHECKING:
    from serl_trl.cli.build import Inputs
    from serl_trl.cli.parser import Arguments
    from serl_trl.loop.selfplay import JudgedProposal
    from serl_trl.measure.figures import Measurement
    from serl_trl.train.trainer import SeRLTrainer

# Commands whose time is that of their imports.
_LOOKS_ONLY = ("check", "plan", "serve")
NUM_SAMPLES = 16
FIGURES = ("pass@1", f"maj@{NUM_SAMPLES}", f"pass@{NUM_SAMPLES}", "greedy")


@dataclass
class ProposeOptions:
    """What `serl propose` takes beside the options of a run."""

    num: int = option(20, "How many proposals.", aliases=["-n"])
    output: str | None = option(None, "Write one JSON object per proposal to this file.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's own arguments) names."""
    command, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    out = Console(quiet=not is_main_process())
    if command in ("-h", "--help", "help"):
        out.print(USAGE, markup=False, highlight=False, end="")
        return OK
    if command in ("-V", "--version"):
        say(out, f"serl-trl {__version__}")
        return OK
    if command not in COMMANDS:
        return report_problems(
            command, [f"unknown command {visible(command)!r}.{near_matches(command, COMMANDS)}"]
        )
    if not {*HELP}.isdisjoint(rest):
        _show_help(command, out, whole=not {*HELP_ALL}.isdisjoint(rest))
    try:
        with quick_imports() if command in _LOOKS_ONLY else nullcontext():
            code = _find(command)(rest, out)
    except SeRLConfigError as error:
        return report_problems(command, error.problems)
    except FolderError as error:
        return report_problems(command, [str(error)])
    except (DiskFullError, NonFiniteError, LogProbGapError) as error:
        report_problems(command, [str(error)])
        return FAILED
    except KeyboardInterrupt:
        say(Console(stderr=True, quiet=not is_main_process()), "interrupted")
        return INTERRUPTED
    if code == OK:
        leave_process_group()
    return code


def _show_help(command: str, out: Console, *, whole: bool) -> NoReturn:
    """Print the help of `command` and leave; `whole` adds the options of TRL and transformers."""
    if not takes_run_options(command):
        _find(command)(["--help"], out)
    elif whole:
        from serl_trl.cli.parser import SeRLParser

        SeRLParser(prog=f"serl {command}", extra=own_options(command)).print_help()
    else:
        out.print(short_help(command), markup=False, highlight=False, soft_wrap=True, end="")
    sys.exit(OK)


def _find(command: str) -> Callable[[Sequence[str], Console], int]:
    if command in _COMMANDS:
        return _COMMANDS[command]
    return importlib.import_module(f"serl_trl.cli.commands.{command.replace('-', '_')}").run


def train(argv: Sequence[str], out: Console) -> int:
    """Train, save, push if asked; the run's folder holds the rest."""
    from serl_trl.cli.build import is_over

    args = _parse("train", argv)
    if is_over(args):
        if args.config.push_to_hub and not is_over(args, pushed=True):
            _push(args)
            return OK
        say(out, f"the run in {args.config.output_dir} is finished; nothing was changed")
        return OK
    started = time.perf_counter()
    trainer = _build(args, _load(args, out))
    if not _train(args, trainer, out):
        return STOPPED
    report = {
        "run": str(trainer.args.output_dir),
        "seconds": time.perf_counter() - started,
        "steps": trainer.state.global_step,
        "starved": trainer.starved,
        "metrics": next(reversed(trainer.state.log_history), {}),
    }
    _finish(args, trainer, report, out)
    return STARVED if trainer.starved else OK


def check(argv: Sequence[str], out: Console) -> int:
    """Run every check without loading weights, and print what the config means."""
    from serl_trl.cli.build import load_inputs
    from serl_trl.cli.describe import describe_run

    args = _parse("check", argv, here=False)
    inputs = load_inputs(args, looking=True)
    report = describe_run(args, inputs)
    options = {*vars(args.run), *vars(args.config), *vars(args.model)}
    for name, value in report.items():
        lines = (value or ["none"]) if isinstance(value, list) else [str(value)]
        for label, line in zip_longest([label_of(name, options)], lines, fillvalue=""):
            say(out, f"{label:<28}  {visible(line)}")
    found = f"nothing wrong was found, {count_of(len(inputs.skipped), 'thing')} not looked at"
    out.print(found if inputs.skipped else "nothing wrong was found", style="green")
    if args.machine:
        out.print("but this machine cannot run it, see `missing here`", style="yellow")
    write_json(args.run.json, report)
    return OK


def propose(argv: Sequence[str], out: Console) -> int:
    """Write proposals with the present weights; print and save each with its fate."""
    from serl_trl.cli.build import build_trainer, load_inputs

    with tempfile.TemporaryDirectory() as folder:
        # The trainer needs a folder, and looking must not touch the run's own.
        # No KL term: nothing is trained, and a reference would take the model's memory again.
        forced = ["--output_dir", folder, "--beta", "0", "--sync_ref_model", "false"]
        args = _parse("propose", [*argv, *forced], extra=ProposeOptions)
        inputs = load_inputs(args, to_train=False)
        trainer = build_trainer(args, inputs)
        with out.status("proposing"):
            judged = trainer.propose(args.extra.num, tell=lambda line: say(out, visible(line)))
        trainer.end()
    table = Table("", "fate", "proposal", show_lines=True)
    for number, proposal in enumerate(judged, start=1):
        verdict = proposal.verdict
        fate = Text("kept", "green") if verdict.keep else Text(visible(verdict.reason), "red")
        table.add_row(str(number), fate, Text(visible(proposal.text)))
    out.print(table)
    rows = [_proposal_row(proposal) for proposal in judged]
    refused = Counter(row["reason"] for row in rows if not row["keep"])
    report = {
        "num_proposals": len(rows),
        "num_kept": sum(row["keep"] for row in rows),
        "kept_rate": sum(row["keep"] for row in rows) / len(rows) if rows else 0.0,
        "refused": dict(refused.most_common()),
    }
    reasons = ", ".join(f"{visible(reason)} {n}" for reason, n in refused.most_common())
    say(out, f"kept {report['num_kept']} of {len(rows)}; refused: {reasons or 'none'}")
    if args.extra.output and is_main_process():
        lines = [json.dumps(row) + "\n" for row in rows]
        write_text(args.extra.output, "".join(lines))
        say(out, f"written to {args.extra.output}")
    write_json(args.run.json, {**report, "proposals": rows})
    return OK


def demo(argv: Sequence[str], out: Console) -> int:
    """Measure the sandbox's model, train it, measure it again, and show both."""
    taken = (
        "--overwrite",
        "--resume",
        "--resume_from_checkpoint",
        "--resume-from-checkpoint",
    )
    if not any(text.split("=")[0] in taken for text in argv):
        # A second demo must not fail because of the first.
        argv = ["--overwrite", "true", *argv]
    args = _parse("demo", argv, default_config=str(sandbox.CONFIG_PATH))
    if args.run.probe_set is None:
        return report_problems("demo", ["probe_set is missing; the demo measures on it."])
    started = time.perf_counter()
    inputs = _load(args, out)
    assert inputs.probe_set is not None, "it is named, and was read"
    problems = inputs.probe_set.rows()
    trainer = _build(args, inputs)

    def measure(when: str) -> "Measurement":
        with out.status(f"measuring {when} training on {len(problems)} held-out problems"):
            return trainer.measure(problems, num_samples=NUM_SAMPLES, seed=args.config.seed)

    before = measure("before")
    if not _train(args, trainer, out):
        return STOPPED
    after = measure("after")
    source = {"problem_set": public_name(inputs.probe_set.source), "temperature": 1.0}
    write_evaluation(Path(str(trainer.args.output_dir)), before, after, **source)
    report = {
        "before": _figures(before),
        "after": _figures(after),
        "seconds": time.perf_counter() - started,
        "run": str(trainer.args.output_dir),
        "steps": trainer.state.global_step,
        "starved": trainer.starved,
    }
    out.print(_before_after(before, after))
    say(
        out,
        f"{count_of(len(problems), 'held-out problem')}, {NUM_SAMPLES} samples each at "
        f"temperature 1 and one greedy; 95 % intervals over problems; {report['seconds']:.0f} s",
    )
    _show_folder(Path(report["run"]), out)
    _finish(args, trainer, report, out)
    return STARVED if trainer.starved else OK


def env(argv: Sequence[str], out: Console) -> int:
    """Print the versions that matter in a report."""
    parser = argparse.ArgumentParser(prog="serl env", allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--json", metavar="PATH", help="Write the versions to this file, as JSON.")
    try:
        options, unknown = parser.parse_known_args(list(argv))
    except argparse.ArgumentError:
        options, unknown = argparse.Namespace(), ["--json without a value"]
    if unknown:
        return report_problems("env", ["serl env takes only --json PATH."])
    # Imported here: it imports torch, and `--help` should take no seconds.
    from serl_trl.cli.describe import describe_environment

    report = describe_environment()
    for name, value in report.items():
        say(out, f"- {name}: {value}")
    write_json(options.json, report)
    return OK


def _parse(
    command: str,
    argv: Sequence[str],
    *,
    default_config: str | None = None,
    extra: Any = None,
    here: bool = True,
) -> "Arguments":
    from serl_trl.cli.parser import SeRLParser

    parser = SeRLParser(prog=f"serl {command}", extra=extra)
    return parser.parse(argv, default_config=default_config, here=here)


def _load(args: "Arguments", out: Console) -> "Inputs":
    """Load and check what is read, and make room for the run."""
    from serl_trl.cli.build import load_inputs, output_folder, set_aside
    from serl_trl.train.saving import in_first

    inputs = load_inputs(args)
    for read in (inputs.seed_set, inputs.probe_set):
        for warning in read.warnings if read else ():
            out.print(Text(visible(warning), "yellow"))
    # No other process may write to the folder while it is being moved.
    if args.run.overwrite and (moved := in_first(lambda: set_aside(output_folder(args)))):
        say(out, f"the earlier run was moved to {moved}")
    return inputs


def _build(args: "Arguments", inputs: "Inputs") -> "SeRLTrainer":
    from serl_trl.cli.build import build_trainer

    return build_trainer(args, inputs)


def _train(args: "Arguments", trainer: "SeRLTrainer", out: Console) -> bool:
    """Train and save the model; false when the run was asked to stop, and has left."""
    from serl_trl.cli.build import resume_from

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


def _stop(args: "Arguments", trainer: "SeRLTrainer", out: Console) -> None:
    """Leave a run that was asked to stop; the last line says how to go on.

    The model is in the checkpoint, and whoever asked may not wait for a second copy.
    """
    step, asked = trainer.state.global_step, trainer.stopping.asked
    report = {"run": str(trainer.args.output_dir), "steps": step, "stopped_by": asked}
    write_json(args.run.json, report)
    trainer.accelerator.wait_for_everyone()
    trainer.end()
    if not is_main_process():
        return
    newest = choose(Path(str(trainer.args.output_dir)), NEWEST_OR_NONE).folder
    way = (
        f"the same command with --resume auto goes on from {newest.name}"
        if newest
        else "there is no checkpoint to go on from, so --resume auto starts afresh"
    )
    say(out, f"stopped by {asked} after step {step} of {trainer.state.max_steps}; {way}")


def _finish(
    args: "Arguments", trainer: "SeRLTrainer", report: Mapping[str, Any], out: Console
) -> None:
    from serl_trl.cli.build import output_folder, planned_end

    # Last, because the card and the report show what was measured.
    trainer.create_model_card()
    _write_report(trainer, out)
    write_json(args.run.json, report)
    at_end = trainer.state.global_step >= trainer.args.max_steps
    if is_main_process() and (at_end or trainer.selfplay.rollouts_spent):
        mark_finished(output_folder(args), planned_end(args))
    # A process that leaves while another still talks to it can abort in gloo's threads.
    trainer.accelerator.wait_for_everyone()
    # Ends the trackers and the process group.
    trainer.end()
    if args.config.push_to_hub:
        # Alone: it may take longer than `ddp_timeout`, for which others would wait.
        _push(args)


def _push(args: "Arguments") -> None:
    """Send the saved model from the main process; a finished run notes that it arrived."""
    if not is_main_process():
        return
    from serl_trl.cli.build import output_folder, planned_end
    from serl_trl.share.hub import push_model

    config, folder = args.config, output_folder(args)
    private = config.hub_private_repo is not False
    if address := push_model(folder, repo_id=config.hub_model_id, private=private):
        say(Console(stderr=True), f"pushed to {address}")
        if is_finished(folder, planned_end(args)):
            mark_finished(folder, planned_end(args, pushed=True))


def _write_report(trainer: "SeRLTrainer", out: Console) -> None:
    """Write the report of the run from the main process; that it fails is only logged."""
    if is_main_process():
        from serl_trl.report.pages import report_after_training

        trainer.ledger.flush()
        for file in report_after_training(Path(str(trainer.args.output_dir))):
            say(out, f"the report of the run is in {file.absolute()}")


def _figures(measurement: "Measurement") -> dict[str, float]:
    summary = measurement.summary()
    return {name: summary[name] for name in FIGURES}


def _before_after(before: "Measurement", after: "Measurement") -> Table:
    table = Table("held out", "before", "after", "change")
    earlier, later = before.intervals(), after.intervals()
    for name in FIGURES:
        old, new = earlier[name], later[name]
        cells = [f"{i.mean:.3f}  {i.bounds()}" for i in (old, new)]
        table.add_row(name, *(Text(cell) for cell in cells), f"{new.mean - old.mean:+.3f}")
    return table


def _show_folder(folder: Path, out: Console) -> None:
    parts = {
        "model.safetensors": "the trained model, beside its tokenizer and its card README.md",
        "_serl/config.yaml": "every option as it was",
        "_serl/metrics.jsonl": "one line per logging step",
        "_serl/ledger.jsonl": "one line per proposal and per group, with its fate",
    }
    say(out, f"the run lies in {folder.absolute()}")
    for name, meaning in parts.items():
        if (folder / name).exists():
            say(out, f"  {name:<20} {meaning}")


def _proposal_row(proposal: "JudgedProposal") -> dict[str, Any]:
    verdict = proposal.verdict
    return {
        "text": proposal.text,
        "keep": verdict.keep,
        "reason": verdict.reason,
        "detail": None if verdict.detail is None else dict(verdict.detail),
        "shots": list(proposal.shots),
    }


# The other commands have a file of their own under `commands/`, imported when one is asked for.
_COMMANDS: dict[str, Callable[[Sequence[str], Console], int]] = {
    "train": train,
    "check": check,
    "propose": propose,
    "demo": demo,
    "env": env,
}


if __name__ == "__main__":
    sys.exit(main())
