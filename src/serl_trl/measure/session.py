"""Measuring a model on benchmarks, chunk by chunk into a folder, so that it can be resumed.

An evaluation of a large model takes hours. What was measured must survive an interruption, and must
never be mixed with results of another model or of other settings: each line carries the fingerprint
of all that it depends on.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from serl_trl.common.console import progress_bar
from serl_trl.common.files import JsonLines, open_lines
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.records import ANY, RecordError, check_shape, optional, parse_json
from serl_trl.common.text import one_line, shortened, visible
from serl_trl.measure.benchmarks import ProblemSet, load_benchmark
from serl_trl.measure.figures import Attempts, Graded, Measurement, grade_attempts
from serl_trl.measure.rows import Problem
from serl_trl.propose.prompts import rollout_messages


class Measurable(Protocol):
    """What a trainer must have so that its model can be measured."""

    args: Any
    model: Any
    state: Any
    policy: Any
    processing_class: Any
    verifier: Any
    attempt: Callable[..., list[Attempts]]
    is_world_process_zero: Callable[[], bool]


SUMMARY = "summary.json"
_MAX_SUMMARY = 50_000_000  # bytes: the settings of each benchmark hold whole prompts
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
# Problems between two writes: little is lost, and a batch of completions is full.
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


def evaluate_benchmarks(  # noqa: PLR0913 - public, each with a default
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
    completed `num_samples` times and once greedily, `chunk_size` problems at a time. A chunk's
    samples depend only on the settings, so an interrupted evaluation, called again, ends with the
    same result. `model` names the measured model; by default its name and training step.

    Raises `ValueError` for a number out of range, and when `output_dir` holds results of other
    settings.
    """
    sets = [load_benchmark(each) if isinstance(each, str) else each for each in benchmarks]
    folder = Path(output_dir)
    problems = check_numbers(num_samples=num_samples, ks=ks, chunk_size=chunk_size)
    given: dict[str, Any] = {
        "model": model or _identity(trainer),
        "num_samples": num_samples,
        "chunk_size": chunk_size,
    }
    settings = {
        each.name: settings_of(trainer.args, trainer.processing_class, each, **given)
        for each in sets
    }
    # The main process alone looks: the others may be on a machine that does not see the folder.
    problems += trainer.policy.decide(lambda: check_folder(folder, settings))
    if problems:
        raise ValueError("\n".join(problems))
    runs = [_Run(trainer, each, folder, settings[each.name], tuple(ks)) for each in sets]
    return {run.problem_set.name: run.finish() for run in runs}


@dataclass(frozen=True)
class _Run:
    """One benchmark on its way into the folder."""

    trainer: Measurable
    problem_set: ProblemSet
    folder: Path
    settings: Mapping[str, Any]
    ks: tuple[int, ...]

    @property
    def _file(self) -> Path:
        return _file_of(self.folder, self.problem_set.name)

    def finish(self) -> Measurement:
        """Measure what is not there yet, and return all of it in every process."""
        decide, problems = self.trainer.policy.decide, self.problem_set.problems
        size = self.settings["chunk_size"]
        # One process reads the folder, and all begin at the same problem.
        done = decide(self._begin)
        main = self.trainer.is_world_process_zero()
        # One process writes; all of them take part in sampling.
        lines = JsonLines(self._file if main else None)
        show = main and not self.trainer.args.disable_tqdm
        # On stderr, because the results go to standard output.
        with progress_bar(Console(stderr=True), show=show) as bar:
            name = f"{self.problem_set.name}: sampling and grading"
            task = bar.add_task(name, total=len(problems), completed=done)
            for start in range(done, len(problems), size):
                chunk = problems[start : start + size]
                seed = self._seed(start // size)
                attempts = self._attempt(chunk, seed)
                if main:
                    for record in self._records(chunk, attempts, seed):
                        lines.write(record)
                    lines.flush()
                bar.update(task, completed=start + len(chunk))
        lines.close()
        return decide(self._end)

    def _seed(self, number: int) -> int:
        """Return the seed of a chunk, which draws the same whatever ran before it."""
        # 28 bits, which every generator of random numbers takes as a seed.
        return int(_digest(f"{self.settings['seed']}/{self.problem_set.name}/{number}")[:7], 16)

    def _begin(self) -> int:
        """Make the folder, drop a chunk that was cut off, and return how many problems are done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes = [len(line) for line in _whole_lines(self._file)]
        size, total = self.settings["chunk_size"], len(self.problem_set.problems)
        # Whole chunks alone count: a chunk is drawn from one seed, and half of one is drawn anew.
        done = len(sizes) if len(sizes) >= total else len(sizes) // size * size
        JsonLines(self._file).cut(sum(sizes[:done]))
        self._note(done=done, figures={})
        return done

    def _attempt(self, chunk: Sequence[Problem], seed: int) -> list[Attempts]:
        return self.trainer.attempt(
            [{"instruction": problem.instruction, "answer": problem.gold} for problem in chunk],
            num_samples=self.settings["num_samples"],
            temperature=self.trainer.args.temperature,
            top_p=self.trainer.args.top_p,
            seed=seed,
        )

    def _records(
        self, chunk: Sequence[Problem], attempts: Sequence[Attempts], seed: int
    ) -> Iterator[dict[str, Any]]:
        kind, verifier = self.problem_set.kind, self.trainer.verifier
        graded = grade_attempts(attempts, kind=kind, verifier=verifier)
        drawn = {"seed": seed, "fingerprint": fingerprint_of(self.settings)}
        for problem, each, result in zip(chunk, attempts, graded, strict=True):
            yield {"row": problem.row, **_record(each, result), **drawn}

    def _end(self) -> Measurement:
        num_samples = self.settings["num_samples"]
        graded = tuple(_graded_in(self._file, num_samples, fingerprint_of(self.settings)))
        measurement = Measurement(graded, num_samples, self.ks)
        figures = {name: asdict(each) for name, each in measurement.intervals().items()}
        self._note(done=len(graded), figures=figures)
        return measurement

    def _note(self, *, done: int, figures: dict[str, Any]) -> None:
        """Write where this benchmark stands to the summary, beside the other benchmarks."""
        # Read anew: other benchmarks of the folder have been noted since.
        summary = read_summary(self.folder)
        total = len(self.problem_set.problems)
        summary["model"] = self.settings["model"]
        summary.setdefault("benchmarks", {})[self.problem_set.name] = {
            "complete": bool(figures) and done == total,
            "num_problems": total,
            "num_done": done,
            "source": self.problem_set.source,
            "whole": self.problem_set.whole,
            "fingerprint": fingerprint_of(self.settings),
            "settings": dict(self.settings),
            "figures": figures,
        }
        Folder(self.folder).write(SUMMARY, json.dumps(summary, indent=2) + "\n")


# Settings: what results depend on.


# Every option that decides what is drawn; a new one belongs here.
_OPTIONS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs")
_OPTIONS += ("max_completion_length", "seed", "generation_batch_size")


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
    # A template decides what the model reads as much as the messages do.
    template = json.dumps([tokenizer.chat_template, config.chat_template_kwargs], sort_keys=True)
    settings = {
        "model": dict(model),
        "problems": problem_set.fingerprint,
        "kind": problem_set.kind,
        "messages": rollout_messages("...", config.style),
        "chat_template": _digest(template),
        "num_samples": num_samples,
        "chunk_size": chunk_size,
        # Sampling is divided over the processes, and each draws from a seed of its own.
        "num_processes": config.world_size,
        "device": config.device.type,
        "backend": backend,
        **{name: getattr(config, name) for name in _OPTIONS},
    }
    # As they will be read back: a tuple would differ from the list that the file holds.
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
            # By the items: the summary may be older than the last of them.
            prints = {str(item.get("fingerprint")) for item in _items(_file_of(folder, name))}
            if not prints <= {fingerprint_of(wanted)}:
                there = held.get(name, {}).get("settings", {})
                changed = "; ".join(differing(there, wanted))
                problems.append(
                    f"{folder / name}.jsonl holds results of other settings (there / now: "
                    f"{changed}); {_WAY_OUT}"
                )
            # Results of two models in one folder would be compared as one.
            for other, entry in held.items():
                there = entry.get("settings", {}).get("model")
                if other not in settings and there != wanted["model"]:
                    problems.append(f"{folder} holds {other} of another model; {_WAY_OUT}")
    except (OSError, ValueError) as error:
        problems.append(f"Cannot resume {folder}: {one_line(error)}; {_WAY_OUT}")
    return list(dict.fromkeys(problems))


def _identity(trainer: Measurable) -> dict[str, Any]:
    name = getattr(trainer.model.config, "_name_or_path", "") or type(trainer.model).__name__
    return {"name": name, "step": trainer.state.global_step}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _shown(value: Any) -> str:
    return shortened(visible(json.dumps(value)), 80)


# Files.


def read_evaluation(folder: Path, *, ks: Sequence[int] = ()) -> dict[str, Evaluated]:
    """Read all benchmarks of an evaluation folder.

    Raises `ValueError` when `folder` does not hold an evaluation.
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
    # A file that lost lines still holds whole items; only their count tells.
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
            graded = _graded_of(check_shape(item, _ITEM))
        except RecordError as error:
            raise FolderError(f"{path}:{number} is not an item of serl eval: {error}.") from error
        sizes = {len(graded.classes), len(graded.truncated), len(graded.lengths)}
        if sizes != {max(num_samples, 1)}:
            raise FolderError(
                f"{path}:{number} does not hold num_samples={num_samples} answers; {_AGAIN}"
            )
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
    # The names in a summary may come from a stranger; "../x" would lead elsewhere.
    if not re.fullmatch(r"\w[\w.+ -]{0,99}", name):
        raise FolderError(
            f"{folder}: {visible(name[:80])!r} is not the name of a benchmark; names hold letters, "
            "digits and . _ - +"
        )
    return folder / f"{name}.jsonl"


def _graded_of(record: Mapping[str, Any]) -> Graded:
    """Rebuild a graded problem from its line."""
    names = [each.name for each in fields(Graded) if each.name != "greedy_right"]
    held = {name: record[name] for name in names}
    values: Any = {n: tuple(v) if isinstance(v, list) else v for n, v in held.items()}
    greedy = record["greedy"]
    return Graded(**values, greedy_right=greedy and greedy["right"])


def _record(attempts: Attempts, graded: Graded) -> dict[str, Any]:
    """Return what is written of a problem: what was graded, and the texts."""
    record, best = asdict(graded), attempts.greedy
    greedy_right = record.pop("greedy_right")
    return {
        **record,
        "completions": [completion.text for completion in attempts.samples],
        "right": [c == graded.gold_class for c in graded.classes],
        "greedy": best
        and {
            "completion": best.text,
            "right": greedy_right,
            "truncated": best.truncated,
            "length": len(best.token_ids),
        },
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
            raise FolderError(f"{path}:{number} is not an object; put the file aside.")
        yield item
