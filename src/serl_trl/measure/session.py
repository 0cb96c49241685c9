"""Measuring a model on benchmarks, chunk by chunk into a folder, so that it can be gone on with."""

import hashlib
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serl_trl.common.files import JsonLines, open_lines
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.records import ANY, RecordError, check_shape, optional, parse_json
from serl_trl.common.text import one_line, visible
from serl_trl.measure.benchmarks import ProblemSet, load_benchmark
from serl_trl.measure.figures import Attempts, Graded, Measurement, grade_attempts
from serl_trl.propose.prompts import rollout_messages


class Measurable(Protocol):
    """What a trainer must have so that its model can be measured."""

    args: Any
    model: Any
    state: Any
    policy: Any
    processing_class: Any
    verifier: Any

    def attempt(
        self,
        problems: Sequence[dict[str, str]],
        *,
        num_samples: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> list[Attempts]:
        """Complete each problem `num_samples` times and once greedily, graded by nobody yet."""
        ...

    def is_world_process_zero(self) -> bool:
        """Whether this process is the one that writes."""
        ...


SUMMARY = "summary.json"
_MAX_SUMMARY = 50_000_000
_BENCHMARK = {
    "complete": bool,
    "whole": optional(bool),
    "num_problems": optional(int),
    "fingerprint": optional(str),
    "settings": optional(
        {"model": optional(dict), "num_samples": int, "temperature": optional(float)}
    ),
    "figures": optional({ANY: {"mean": (float, None)}}),
}
_ITEM = {
    "instruction": str,
    "gold": str,
    "answers": [(str, None)],
    "classes": [(int, None)],
    "gold_class": int,
    "truncated": [bool],
    "lengths": [int],
    "greedy": ({"right": bool}, None),
}
CHUNK_SIZE = 64

_AGAIN = "put the folder aside and run serl eval again."
_WAY_OUT = "name another output_dir, or put the folder aside by --overwrite true."


@dataclass(frozen=True)
class Evaluated:
    """One benchmark in an evaluation folder, as its files say."""

    name: str
    settings: dict[str, Any]
    complete: bool
    measurement: Measurement


def evaluate_benchmarks(
    trainer: Measurable,
    benchmarks: Sequence[str | ProblemSet],
    *,
    output_dir: str | Path,
    num_samples: int = 16,
    ks: Sequence[int] = (),
    chunk_size: int = CHUNK_SIZE,
    model: Mapping[str, Any] | None = None,
) -> dict[str, Measurement]:
    """Measure the trainer's model on each of `benchmarks` and return the results by name.

    Prompts, sampling values, seed and backend are those of `trainer.args`. Every problem is
    completed `num_samples` times and once greedily, `chunk_size` problems at a time; what a chunk
    draws depends on the settings alone, so that an interrupted evaluation, called again, ends with
    the same result. `model` says whose results these are; by default its name and training step.

    Raises `ValueError` for a number out of range, and when `output_dir` holds results of other
    settings.
    """
    sets = [load_benchmark(each) if isinstance(each, str) else each for each in benchmarks]
    folder = Path(output_dir)
    args = trainer.args
    identity = dict(model) if model else _identity(trainer)
    settings = {
        each.name: settings_of(
            args,
            trainer.processing_class,
            each,
            model=identity,
            num_samples=num_samples,
            chunk_size=chunk_size,
        )
        for each in sets
    }
    problems = check_numbers(num_samples=num_samples, ks=ks, chunk_size=chunk_size)
    problems += trainer.policy.decide(lambda: check_folder(folder, settings))
    if problems:
        raise ValueError("\n".join(problems))
    results = {}
    for each in sets:
        run = _Run(trainer, each, folder, settings[each.name], tuple(ks))
        results[each.name] = run.finish()
    return results


class _Run:
    """One benchmark on its way into the folder."""

    def __init__(
        self,
        trainer: Measurable,
        problem_set: ProblemSet,
        folder: Path,
        settings: Mapping[str, Any],
        ks: tuple[int, ...],
    ) -> None:
        self._trainer = trainer
        self._set = problem_set
        self._folder = folder
        self._settings = settings
        self._fingerprint = fingerprint_of(settings)
        self._ks = ks
        self._file = _file_of(folder, problem_set.name)

    def finish(self) -> Measurement:
        """Measure what is not there yet, and return all of it in every process."""
        decide, problems = self._trainer.policy.decide, self._set.problems
        size = self._settings["chunk_size"]
        done = decide(self._begin)
        main = self._trainer.is_world_process_zero()
        lines = JsonLines(self._file if main else None)
        show = main and not self._trainer.args.disable_tqdm
        with _bar(self._set.name, len(problems), done, show=show) as bar:
            for start in range(done, len(problems), size):
                attempts, seed = self._attempt(start // size)
                if main:
                    for record in self._records(start, attempts, seed):
                        lines.write(record)
                    lines.flush()
                bar(start + len(attempts))
        lines.close()
        return decide(self._end)

    def _begin(self) -> int:
        """Make the folder, drop a chunk that was cut off, and return how many problems are done."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sizes = [len(line) for line in _whole_lines(self._file)]
        lines = JsonLines(self._file)
        size, total = self._settings["chunk_size"], len(self._set.problems)
        done = len(sizes) if len(sizes) >= total else len(sizes) // size * size
        lines.cut(sum(sizes[:done]))
        self._note(done=done, figures={})
        return done

    def _attempt(self, number: int) -> tuple[list[Attempts], int]:
        size = self._settings["chunk_size"]
        args = self._trainer.args
        seed = _chunk_seed(args.seed, self._set.name, number)
        rows = [
            {"instruction": problem.instruction, "answer": problem.gold}
            for problem in self._set.problems[number * size :][:size]
        ]
        attempts = self._trainer.attempt(
            rows,
            num_samples=self._settings["num_samples"],
            temperature=args.temperature,
            top_p=args.top_p,
            seed=seed,
        )
        return attempts, seed

    def _records(self, start: int, attempts: Sequence[Attempts], seed: int) -> list[dict[str, Any]]:
        graded = grade_attempts(attempts, kind=self._set.kind, verifier=self._trainer.verifier)
        problems = self._set.problems[start:]
        return [
            _record(problem.row, each, result, seed, self._fingerprint)
            for problem, each, result in zip(problems, attempts, graded, strict=False)
        ]

    def _end(self) -> Measurement:
        graded = tuple(_graded_in(self._file, self._settings["num_samples"], self._fingerprint))
        measurement = Measurement(graded, self._settings["num_samples"], self._ks)
        figures = {name: asdict(each) for name, each in measurement.intervals().items()}
        self._note(done=len(graded), figures=figures)
        return measurement

    def _note(self, *, done: int, figures: dict[str, Any]) -> None:
        """Write where this benchmark stands to the summary, beside the other benchmarks."""
        summary = read_summary(self._folder)
        total = len(self._set.problems)
        summary["model"] = self._settings["model"]
        summary.setdefault("benchmarks", {})[self._set.name] = {
            "complete": bool(figures) and done == total,
            "num_problems": total,
            "num_done": done,
            "source": self._set.source,
            "whole": self._set.whole,
            "fingerprint": self._fingerprint,
            "settings": dict(self._settings),
            "figures": figures,
        }
        Folder(self._folder).write(SUMMARY, json.dumps(summary, indent=2) + "\n")


# Settings: what results depend on.


def settings_of(
    config: Any,
    tokenizer: Any,
    problem_set: ProblemSet,
    *,
    model: Mapping[str, Any],
    num_samples: int,
    chunk_size: int,
) -> dict[str, Any]:
    """Return all that the completions and their grades depend on, as JSON values."""
    backend = "transformers"
    if config.use_vllm:
        backend = f"vllm {config.vllm_mode}"
    elif config.use_transformers_continuous_batching:
        backend = "continuous batching"
    template = json.dumps([tokenizer.chat_template, config.chat_template_kwargs], sort_keys=True)
    settings = {
        "model": dict(model),
        "problems": problem_set.fingerprint,
        "kind": problem_set.kind,
        "messages": rollout_messages("...", config.style),
        "chat_template": _digest(template),
        "num_samples": num_samples,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "min_p": config.min_p,
        "repetition_penalty": config.repetition_penalty,
        "generation_kwargs": config.generation_kwargs,
        "max_completion_length": config.max_completion_length,
        "seed": config.seed,
        "chunk_size": chunk_size,
        "generation_batch_size": config.generation_batch_size,
        "num_processes": config.world_size,
        "device": config.device.type,
        "backend": backend,
    }
    return json.loads(json.dumps(settings))


def fingerprint_of(settings: Mapping[str, Any]) -> str:
    """Return the first 16 digits of the SHA-256 of the settings."""
    return _digest(json.dumps(settings, sort_keys=True))


def differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """Return `name: left / right` for each setting that is not the same."""
    return [
        f"{name}: {_shown(left.get(name))} / {_shown(right.get(name))}"
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    ]


def check_numbers(*, num_samples: int, ks: Sequence[int], chunk_size: int) -> list[str]:
    """Return one text per number out of range."""
    problems = []
    if num_samples < 1:
        problems.append(f"num_samples={num_samples} must be at least 1; the paper uses 16.")
    elif wrong := [k for k in ks if not 1 <= k <= num_samples]:
        problems.append(
            f"k={', '.join(map(str, wrong))} must lie in [1, num_samples={num_samples}]; draw more "
            "samples or leave it out."
        )
    if chunk_size < 1:
        problems.append(f"chunk_size={chunk_size} must be at least 1; {CHUNK_SIZE} is the default.")
    return problems


def check_folder(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one text per benchmark whose results in `folder` came from other settings."""
    problems = []
    try:
        held = read_summary(folder).get("benchmarks", {})
        for name, wanted in settings.items():
            prints = {str(item.get("fingerprint")) for item in _items(_file_of(folder, name))}
            if not prints <= {fingerprint_of(wanted)}:
                there = held.get(name, {}).get("settings", {})
                changed = "; ".join(differing(there, wanted))
                problems.append(
                    f"{folder / name}.jsonl holds results of other settings (there / now: "
                    f"{changed}); {_WAY_OUT}"
                )
            for other, entry in held.items():
                there = entry.get("settings", {}).get("model")
                if other not in settings and there != wanted["model"]:
                    problems.append(f"{folder} holds {other} of another model; {_WAY_OUT}")
    except (OSError, ValueError) as error:
        problems.append(f"{folder} cannot be gone on with: {one_line(error)}; {_WAY_OUT}")
    return list(dict.fromkeys(problems))


def _identity(trainer: Measurable) -> dict[str, Any]:
    name = getattr(trainer.model.config, "_name_or_path", "") or type(trainer.model).__name__
    return {"name": name, "step": trainer.state.global_step}


def _chunk_seed(seed: int, name: str, number: int) -> int:
    """Return the seed of a chunk, the same whatever ran before it."""
    return int(_digest(f"{seed}/{name}/{number}")[:7], 16)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _shown(value: Any) -> str:
    text = visible(json.dumps(value))
    return text if len(text) <= 80 else text[:77] + "..."


# Files.


def read_evaluation(folder: Path, *, ks: Sequence[int] = ()) -> dict[str, Evaluated]:
    """Read all benchmarks of an evaluation folder.

    Raises `ValueError` when it is none.
    """
    held = read_summary(folder).get("benchmarks")
    if not held:
        raise ValueError(f"{folder} holds no {SUMMARY} of an evaluation; run serl eval first.")
    return {
        name: _read_benchmark(_file_of(folder, name), name, entry, tuple(ks))
        for name, entry in held.items()
    }


def _read_benchmark(
    path: Path, name: str, entry: Mapping[str, Any], ks: tuple[int, ...]
) -> Evaluated:
    """Read the items of a benchmark, and hold them against what the summary says of them."""
    if "settings" not in entry:
        raise FolderError(f"{path.parent / SUMMARY} names no settings of {name}; {_AGAIN}")
    settings, complete, expected = entry["settings"], entry["complete"], entry.get("num_problems")
    num_samples = settings["num_samples"]
    graded = list(_graded_in(path, num_samples, entry.get("fingerprint")))
    if complete and len(graded) != expected:
        raise ValueError(
            f"{path} holds {len(graded)} problems, {SUMMARY} says {expected}; {_AGAIN}"
        )
    return Evaluated(name, settings, complete, Measurement(tuple(graded), num_samples, ks))


def _graded_in(path: Path, num_samples: int, fingerprint: str | None) -> Iterator[Graded]:
    """Give the graded problems of a benchmark, each of `num_samples` under the same settings."""
    for number, item in enumerate(_items(path), start=1):
        if item.get("fingerprint") != fingerprint:
            raise FolderError(f"{path}:{number} is of other settings than {SUMMARY} says; {_AGAIN}")
        try:
            graded = graded_of(check_shape(item, _ITEM))
        except RecordError as error:
            raise FolderError(f"{path}:{number} is no item of serl eval: {error}.") from error
        sizes = {len(graded.classes), len(graded.truncated), len(graded.lengths)}
        if sizes != {max(num_samples, 1)}:
            raise FolderError(f"{path}:{number} has not num_samples={num_samples}; {_AGAIN}")
        yield graded


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the folder's summary, or an empty one.

    Raises `ValueError` when the file is damaged.
    """
    files = Folder(folder)
    if not files.has(SUMMARY):
        return {}
    shape = {"benchmarks": optional({ANY: _BENCHMARK})}
    try:
        return files.read_json(SUMMARY, shape, max_bytes=_MAX_SUMMARY)
    except FolderError as error:
        raise FolderError(f"{error} Put the folder aside.") from error


def _file_of(folder: Path, name: str) -> Path:
    """Return the file of a benchmark; its name is a plain one, so that it lies in the folder."""
    if not re.fullmatch(r"\w[\w.+ -]{0,99}", name):
        raise FolderError(
            f"{folder}: {visible(name[:80])!r} is no name of a benchmark; one is made of letters, "
            "digits and . _ - +"
        )
    return folder / f"{name}.jsonl"


def graded_of(record: Mapping[str, Any]) -> Graded:
    """Rebuild a graded problem from its line."""
    greedy = record["greedy"]
    return Graded(
        instruction=record["instruction"],
        gold=record["gold"],
        answers=tuple(record["answers"]),
        classes=tuple(record["classes"]),
        gold_class=record["gold_class"],
        truncated=tuple(record["truncated"]),
        lengths=tuple(record["lengths"]),
        greedy_right=greedy and greedy["right"],
    )


def _record(
    row: int, attempts: Attempts, graded: Graded, seed: int, fingerprint: str
) -> dict[str, Any]:
    best = attempts.greedy
    return {
        "row": row,
        "instruction": graded.instruction,
        "gold": graded.gold,
        "completions": [completion.text for completion in attempts.samples],
        "answers": graded.answers,
        "right": [c == graded.gold_class for c in graded.classes],
        "truncated": graded.truncated,
        "lengths": graded.lengths,
        "classes": graded.classes,
        "gold_class": graded.gold_class,
        "greedy": best
        and {
            "completion": best.text,
            "right": graded.greedy_right,
            "truncated": best.truncated,
            "length": len(best.token_ids),
        },
        "seed": seed,
        "fingerprint": fingerprint,
    }


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Give the lines of a file one by one; a last one that was cut in half is left out."""
    if Folder(path.parent).has(path.name):
        with open_lines(path) as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _items(path: Path) -> Iterator[dict[str, Any]]:
    """Give the items of a benchmark one by one: with all completions they may fill the memory."""
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            item = parse_json(line)
        except RecordError as error:
            raise FolderError(f"{path}:{number} is damaged ({error}); put it aside.") from error
        if not isinstance(item, dict):
            raise FolderError(f"{path}:{number} is no object; put the file aside.")
        yield item


@contextmanager
def _bar(name: str, total: int, done: int, *, show: bool) -> Generator[Any]:
    """Show how many of `total` problems are done, and what is waited for."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not show,
    )
    with progress:
        task = progress.add_task(f"{name}: sampling and grading", total=total, completed=done)
        yield lambda number: progress.update(task, completed=number)
