"""`serl eval`: a model on benchmarks, into a folder; a base and its trained models compared."""

import argparse
import gc
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serl_trl import sandbox
from serl_trl.cli.build import build_trainer, set_aside
from serl_trl.cli.command_options import EvalOptions
from serl_trl.cli.config_file import ConfigFile, read_config_file
from serl_trl.cli.inputs import Inputs, load_inputs
from serl_trl.cli.model import find_source, model_path
from serl_trl.cli.parser import Arguments, SeRLParser
from serl_trl.cli.run_problems import is_local_path
from serl_trl.cli.self_check import check_golds
from serl_trl.common.console import OK, say, write_json
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.folder import Folder
from serl_trl.common.processes import is_main_process
from serl_trl.common.text import count_of, examples, list_names, visible
from serl_trl.measure import comparison, session, several
from serl_trl.measure.benchmarks import BENCHMARKS, ProblemSet, check_benchmarks, load_benchmark
from serl_trl.measure.figures import Measurement
from serl_trl.measure.sheets import Sheet, as_markdown, sheet_of, sheet_of_several
from serl_trl.propose.prompts import rollout_messages
from serl_trl.runs.reader import COMPARISON

OUTPUT = Path("runs") / "eval"

# The trainer is built to generate: no reference model, nothing saved or pushed, and no seeds of the
# user's, of which it needs some and looks at none.
_FORCED = (
    f"--seed_set {sandbox.EASY} --use_selfplay true --sources given --label_reward vote --beta 0 "
    "--gradient_checkpointing false --max_instruction_tokens 256 --proposer_max_tokens 8 "
    "--proposer_presence_penalty 0 --push_to_hub false --report_to none --eval_strategy no "
    "--save_strategy no"
).split()


@dataclass(frozen=True)
class _Request:
    """What was asked for: `first` is what of it decides how the rest is read."""

    argv: Sequence[str]
    first: argparse.Namespace
    scratch: str

    def parse(self, model: str | None = None, *, here: bool = True) -> Arguments:
        """Parse the options; `model` takes the place of the one named there.

        With `here` false no model will be loaded, and what this machine lacks is not a problem.
        """
        names = (self.first.benchmarks or "").split(",")
        named_here = (self.first.model_name_or_path, *names)
        built_in = next((name for name in named_here if name in sandbox.CONFIG_PATHS), None)
        named = [] if model is None else ["--model_name_or_path", model]
        parser = SeRLParser(prog="serl eval", extra=EvalOptions)
        args = parser.parse(
            [*self.argv, *_FORCED, "--probe_set", "", "--output_dir", self.scratch, *named],
            # A sandbox's model and problems need the prompts it was made with.
            default_config=built_in,
            here=here,
        )
        # What a run's file may name, and this command does not read.
        # Some of it would be loaded, or asked of the Hub, for nothing.
        args.run.reward_funcs = args.run.evaluation_sets = None
        args.config.gold_oracle = args.config.reward_weights = None
        args.config.embedding_model = None
        return args


@dataclass(frozen=True)
class _Prepared:
    """An evaluation whose input was read and found good; the model is not loaded."""

    args: Arguments
    inputs: Inputs
    sets: tuple[ProblemSet, ...]
    folder: Path
    model: dict[str, Any]

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """What the figures of each benchmark depend on."""
        extra = self.args.extra
        sizes = {"num_samples": extra.num_samples, "chunk_size": extra.chunk_size}
        config, tokenizer = self.args.config, self.inputs.tokenizer
        return {
            each.name: session.settings_of(config, tokenizer, each, model=self.model, **sizes)
            for each in self.sets
        }


def run(argv: Sequence[str], out: Console) -> int:
    """Evaluate a model on benchmarks, or compare several."""
    if argv and not argv[0].startswith("-"):
        argv = ["--model_name_or_path", *argv]
    started = time.perf_counter()
    # A trainer needs a folder to write to; nothing in it is kept.
    with tempfile.TemporaryDirectory() as scratch:
        request = _Request(argv, _first_look(argv), scratch)
        if request.first.compare is not None:
            return _compare(request, out)
        if request.first.self_check is not None:
            return _check_golds(request, out)
        prepared = _prepare(request)
        measured = _evaluate(prepared, out, last=True)
    out.print(_table(measured))
    say(out, f"the results lie in {prepared.folder.absolute()}")
    report = {
        "model": prepared.model,
        "folder": str(prepared.folder),
        "seconds": time.perf_counter() - started,
        "benchmarks": {
            name: {
                "num_problems": len(each.problems),
                "figures": {figure: asdict(i) for figure, i in each.intervals().items()},
            }
            for name, each in measured.items()
        },
    }
    write_json(prepared.args.run.json, report)
    return OK


# Options.


def _first_look(argv: Sequence[str]) -> argparse.Namespace:
    """Read what decides how the rest is read; it is checked with the rest.

    Raises `SeRLConfigError` when the file of options names what is only read here.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("config", "output_dir", "benchmarks", "model_name_or_path"):
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", nargs="?")
    parser.add_argument("--compare", nargs="*")
    parser.add_argument("--self_check", "--self-check", nargs="?", const="true")
    first = parser.parse_known_args(list(argv))[0]
    file = read_config_file(first.config) if first.config else ConfigFile("")
    found = [name for name in ("compare", "self_check") if name in file.values]
    problems = [
        f"{name} ({file.place_of(name)}) is not read from a file; give it as --{name}."
        for name in found
    ]
    if problems:
        raise SeRLConfigError(problems)
    # `--self_check false` is the default, said aloud.
    first.self_check = None if first.self_check == "false" else first.self_check
    return first


def _names(args: Arguments) -> list[str]:
    names = [name.strip() for name in (args.extra.benchmarks or "").split(",")]
    return list(dict.fromkeys(name for name in names if name))


def _files(args: Arguments) -> dict[str, str]:
    pairs = [text.partition("=") for text in args.extra.benchmark_files or ()]
    return {name.strip(): path for name, _, path in pairs}


def default_folder(model: str) -> Path:
    """Return where the results of `model`, a path or Hub id, go when the user does not say."""
    return OUTPUT / (re.sub(r"[^\w.-]+", "--", model).strip("-.") or "model")


# One model.


def _prepare(request: _Request, model: str | None = None) -> _Prepared:
    """Read and check all that an evaluation needs but the weights.

    Raises `SeRLConfigError` with all problems.
    """
    try:
        args = request.parse(model)
    except SeRLConfigError as error:
        raise SeRLConfigError([*error.problems, *_rest_of(request)]) from error
    sets, problems = _load_sets(args)
    try:
        inputs = load_inputs(args, to_train=False)
    except SeRLConfigError as error:
        raise SeRLConfigError([*problems, *error.problems]) from error
    problems += [text for each in sets for text in _too_long(each, args, inputs)]
    # With --compare output_dir is where the comparison goes; each model has its own folder.
    own = request.first.output_dir if model is None else None
    folder = Path(own).expanduser() if own else default_folder(str(args.model.model_name_or_path))
    prepared = _Prepared(args, inputs, tuple(sets), folder, _identity(args))
    if not args.run.overwrite:
        problems += session.check_folder(folder, prepared.settings)
    if problems:
        raise SeRLConfigError(problems)
    return prepared


def _rest_of(request: _Request) -> list[str]:
    """Return what else is wrong where the options are, if that is the fault of the model alone."""
    try:
        return _load_sets(request.parse(sandbox.EASY))[1]
    except SeRLConfigError:
        return []


def _load_sets(args: Arguments) -> tuple[list[ProblemSet], list[str]]:
    """Read the benchmarks, and return what is wrong with them and the options.

    The Hub is asked for nothing once something is wrong.
    """
    extra, names, files = args.extra, _names(args), _files(args)
    sizes = {"num_samples": extra.num_samples, "chunk_size": extra.chunk_size}
    problems = session.check_numbers(ks=extra.k or (), **sizes)
    if extra.max_problems is not None and extra.max_problems < 1:
        problems.append(f"max_problems={extra.max_problems} must be at least 1, or left out.")
    if not names:
        problems.append(f"benchmarks is missing; give some of {', '.join(BENCHMARKS)}.")
    problems += check_benchmarks(names, files)
    most = {"max_problems": extra.max_problems, "max_bad_rows": args.run.max_bad_rows}
    sets: list[ProblemSet] = []
    for name in names:
        file = files.get(name)
        # A benchmark with a problem is not read.
        known = not check_benchmarks([name], {name: file} if file else {})
        if known and (file or not problems):
            try:
                own = args.config.answer_kind
                sets.append(load_benchmark(name, file=file, own_kind=own, **most))
            # A bad file, or an answer_kind that does not exist or whose code would have to run.
            except ValueError as error:
                problems.append(str(error))
    return sets, problems


def _too_long(problem_set: ProblemSet, args: Arguments, inputs: Inputs) -> list[str]:
    """Name the problems that leave no room for a completion in the model's context."""
    if inputs.context is None:
        return []
    room = inputs.context - args.config.max_completion_length
    style, problems = args.config.style, problem_set.problems
    chats = [rollout_messages(problem.instruction, style) for problem in problems]
    long = [
        f"row {problem.row}: {length:,} tokens."
        for problem, length in zip(problems, inputs.count_prompt_tokens(chats, args), strict=True)
        if length > room
    ]
    if not long:
        return []
    return [
        f"{problem_set.name} has {count_of(len(long), 'prompt')} that with max_completion_length="
        f"{args.config.max_completion_length} exceed the model's {inputs.context} tokens; lower "
        f"it:\n{examples(long)}"
    ]


def _identity(args: Arguments) -> dict[str, Any]:
    """Say which weights are measured; of a folder also which files, by size and time."""
    model, adapter = args.model, find_source(args).adapter
    identity = {
        "name": model.model_name_or_path,
        "revision": model.model_revision,
        "files": _stamp(model_path(args)),
        "dtype": model.dtype,
        "load_in_4bit": model.load_in_4bit,
        "load_in_8bit": model.load_in_8bit,
    }
    if adapter:
        base = str(adapter.base_model_name_or_path)
        identity["base"] = {"name": base, "revision": adapter.revision, "files": _stamp(base)}
    return identity


def _stamp(path: str) -> str | None:
    """Return a mark of the model files in a folder, by size and time; of a Hub id `None`."""
    if not is_local_path(path):
        return None
    # Size and time in place of the content: reading a model of 100 GB twice takes minutes.
    kept = (".safetensors", ".bin", ".json")
    files = sorted(file for file in Path(path).iterdir() if file.suffix in kept)
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]


def _evaluate(prepared: _Prepared, out: Console, *, last: bool) -> dict[str, Measurement]:
    """Load the model, measure, write; `last` also ends the process group."""
    for problem_set in prepared.sets:
        for warning in problem_set.warnings:
            out.print(Text(visible(warning), "yellow"))
    extra = prepared.args.extra
    if prepared.args.run.overwrite:
        if is_main_process() and (moved := set_aside(prepared.folder)):
            say(out, f"the earlier results were moved to {moved}")
        # No other process may write to the folder while it is being moved.
        PartialState().wait_for_everyone()
    trainer = build_trainer(prepared.args, prepared.inputs)
    measured = session.evaluate_benchmarks(
        trainer,
        prepared.sets,
        output_dir=prepared.folder,
        num_samples=extra.num_samples,
        ks=extra.k or (),
        chunk_size=extra.chunk_size,
        model=prepared.model,
    )
    if is_main_process():
        comparison.write_hub_results(prepared.folder)
    # A process that leaves while another still talks to it can abort in gloo's threads.
    trainer.accelerator.wait_for_everyone()
    if last:
        trainer.accelerator.end_training()
    del trainer
    # The next model needs the memory, and circles of a trainer are freed by the collector alone.
    gc.collect()
    return measured


def _table(measured: dict[str, Measurement]) -> Table:
    table = Table("benchmark", "problems", "figure", "mean", "95 % interval")
    for name, measurement in measured.items():
        head = [name, f"{len(measurement.problems):,}"]
        for figure, each in measurement.intervals().items():
            table.add_row(*head, figure, f"{each.mean:.3f}", Text(each.bounds()))
            head = ["", ""]
    return table


# No model.


def _check_golds(request: _Request, out: Console) -> int:
    # The sandbox's model stands in: options are read with one, and it is not loaded.
    args = request.parse(sandbox.EASY, here=False)
    names, files = _names(args) or list(BENCHMARKS), _files(args)
    if problems := check_benchmarks(names, files):
        raise SeRLConfigError(problems)
    if not is_main_process():
        return OK
    code, record = check_golds(names, files, args.config.answer_kind, out)
    write_json(args.run.json, record)
    return code


# A base and what was trained from it.


def _compare(request: _Request, out: Console) -> int:
    sides = request.first.compare
    args, folders = _measured(request, out)
    # All have measured; one process compares and writes.
    if not is_main_process():
        return OK
    try:
        held = [
            _only(each, session.read_evaluation(each, ks=args.extra.k or ()), args)
            for each in folders
        ]
        stem, record, sheets = _compared(sides, held)
    except ValueError as error:
        raise SeRLConfigError(str(error).split("\n")) from error
    own = request.first.output_dir
    target = Path(own).expanduser() if own else folders[1]
    target.mkdir(parents=True, exist_ok=True)
    files = Folder(target)
    files.write(f"{stem}.json", json.dumps(record, indent=2) + "\n")
    files.write(f"{stem}.md", as_markdown(sides[0], ", ".join(sides[1:]), sheets))
    for sheet in sheets:
        _show(sheet, out)
    say(out, f"written to {target / stem}.md and {target / stem}.json")
    for folder in folders[1:]:
        for path in comparison.write_hub_results(folder):
            say(out, f"for the model's page on the Hub: {path}")
    write_json(args.run.json, record)
    return OK


def _compared(
    sides: Sequence[str], held: Sequence[Mapping[str, session.Evaluated]]
) -> tuple[str, dict[str, Any], list[Sheet]]:
    """Return the name of the files, the record and the sheets of two sides, or of several runs."""
    base, runs = held[0], held[1:]
    if len(runs) == 1:
        found = comparison.compare(base, runs[0])
        sheets = [sheet_of(each) for each in found]
        return Path(COMPARISON).stem, comparison.as_record(sides[0], sides[1], found), sheets
    names = sides[1:]
    all_of = several.compare_several(base, dict(zip(names, runs, strict=True)))
    record = several.as_record(sides[0], names, all_of)
    # Under another name: a report and a card read the comparison of one run.
    return "comparison_of_runs", record, [sheet_of_several(each, names) for each in all_of]


def _check_sides(sides: Sequence[str]) -> None:
    if len(sides) < 2:
        raise SeRLConfigError(
            [f"--compare takes BASE and TRAINED, or BASE and several runs; it got {len(sides)}."]
        )
    if twice := [side for side in sides[1:] if sides[1:].count(side) > 1]:
        raise SeRLConfigError([f"--compare names {visible(twice[0])} twice; name each run once."])


def _measured(request: _Request, out: Console) -> tuple[Arguments, list[Path]]:
    """Return the folders of all sides, of which those that are models are evaluated first."""
    _check_sides(request.first.compare)
    prepared: dict[str, _Prepared] = {}
    problems: list[str] = []
    for side in request.first.compare:
        if not _holds_evaluation(side):
            try:
                prepared[side] = _prepare(request, side)
            except SeRLConfigError as error:
                problems += error.problems
    if problems:
        # All sides may lack the same package or benchmark.
        raise SeRLConfigError(list(dict.fromkeys(problems)))
    for number, each in enumerate(prepared.values(), start=1):
        _evaluate(each, out, last=number == len(prepared))
    args = [each.args for each in prepared.values()] or [request.parse(sandbox.EASY, here=False)]
    return args[0], [
        prepared[side].folder if side in prepared else Path(side).expanduser()
        for side in request.first.compare
    ]


def _holds_evaluation(side: str) -> bool:
    """Return whether `side` names a folder of `serl eval`; otherwise it is a model."""
    return (Path(side).expanduser() / session.SUMMARY).is_file()


def _only(
    folder: Path, held: Mapping[str, session.Evaluated], args: Arguments
) -> dict[str, session.Evaluated]:
    """Return the benchmarks that were asked for, or all where none was.

    Raises `ValueError` for one that the folder does not hold.
    """
    names = _names(args) or list(held)
    if missing := [name for name in names if name not in held]:
        raise ValueError(
            f"benchmarks={visible(','.join(missing))}: {folder} holds only {list_names(held)}; "
            "evaluate what is missing."
        )
    return {name: held[name] for name in names}


def _show(sheet: Sheet, out: Console) -> None:
    out.print(Text(sheet.title, "bold"))
    for head, *rows in sheet.tables:
        table = Table(*head)
        for row in rows:
            # As texts: the brackets of an interval are not markup.
            table.add_row(*map(Text, row))
        out.print(table)
    for note in sheet.notes:
        say(out, note)
