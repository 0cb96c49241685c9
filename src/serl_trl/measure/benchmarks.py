"""The benchmarks a model is measured on: where each lies, and how a row becomes a problem."""

import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from serl_trl import sandbox
from serl_trl.answers.equality import get_kind
from serl_trl.answers.golds import read_gold
from serl_trl.common.text import count_of, examples, list_names, near_matches, one_line, visible
from serl_trl.data.seeds import INSTRUCTION_COLUMNS
from serl_trl.data.tables import HubUnreachableError, SeedSetError, file_problem, open_table

_OPTION_LINE = "Give the letter of the right option as the final answer."


@dataclass(frozen=True)
class Problem:
    """One problem of a benchmark; `row` counts from 1 in the order of its source."""

    instruction: str
    gold: str
    row: int = 0


@dataclass(frozen=True)
class ProblemSet:
    """The problems a benchmark was read as; `fingerprint` is the SHA-256 of kind and problems.

    `source` is the file or Hub dataset, `whole` says that it is all of the original on the Hub,
    `warnings` name the rows that were passed over.
    """

    name: str
    kind: str
    problems: tuple[Problem, ...]
    fingerprint: str
    source: str
    whole: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """One row of the table; `read` makes a problem of a row of the source, or passes it over.

    `revision` is a commit that independent public projects pin, or "main" where none was found.
    `task_id` is the benchmark's name in evaluation results on the Hub; `lm_eval` the task of
    lm-eval that asks the same problems and lets the model write, also without worked examples;
    `None`: there is none that we know.
    """

    name: str
    title: str
    hub_id: str
    split: str
    read: Callable[[Mapping[str, Any]], Problem | None]
    licence: str
    config: str | None = None
    revision: str = "main"
    kind: str = "math"
    task_id: str | None = None
    lm_eval: str | None = None


class _BadRowError(Exception):
    """Why a row is no problem."""


def check_benchmarks(names: Sequence[str], files: Mapping[str, str]) -> list[str]:
    """Return one text per unknown benchmark and per file that cannot be read; loads nothing."""
    problems = []
    for name in dict.fromkeys([*names, *files]):
        if name not in BENCHMARKS:
            problems.append(
                f"benchmarks={visible(name)} is unknown; choose among {list_names(BENCHMARKS)}."
                + near_matches(name, BENCHMARKS)
            )
        elif name not in names:
            problems.append(f"benchmark_files={name}=...: {name} is not among the benchmarks.")
        elif name in files:
            problem = file_problem(files[name])
            if not problem and not Path(files[name]).expanduser().exists():
                problem = f"{visible(files[name])} does not exist (looked in {Path.cwd()})."
            if problem:
                problems.append(f"benchmark_files={name}: {problem}")
    return problems


def load_benchmark(
    name: str, *, file: str | None = None, max_problems: int | None = None, max_bad_rows: int = 0
) -> ProblemSet:
    """Read a benchmark from the Hub, or from `file` in its place; the first `max_problems` of it.

    A file has the columns of the Hub dataset, or an instruction column (`INSTRUCTION_COLUMNS`),
    `answer`, and for a choice benchmark `options`; the gold answer may be in `\\boxed{}`.

    Raises `SeedSetError` naming every bad row (more than `max_bad_rows`), or why nothing was read.
    """
    benchmark = BENCHMARKS[name]
    kind = get_kind(benchmark.kind)
    source, rows = _rows(benchmark, file)
    problems: list[Problem] = []
    bad: list[str] = []
    for number, (place, row) in enumerate(rows, start=1):
        try:
            problem = benchmark.read(row)
            if problem is None:
                continue
            gold = read_gold(problem.gold, kind)
            if gold is None:
                raise _BadRowError(
                    f"the gold {problem.gold[:80]!r} is no answer of kind {kind.name}"
                )
        except _BadRowError as reason:
            bad.append(f"{place}: {reason}.")
        else:
            problems.append(replace(problem, gold=gold, row=number))
    if len(bad) > max_bad_rows:
        raise SeedSetError(
            f"{name}: {source} has {count_of(len(bad), 'bad row')}, allowed are max_bad_rows="
            f"{max_bad_rows}:\n{examples(bad)}"
        )
    if not problems:
        raise SeedSetError(f"{name}: {source} holds no problem; give at least one row.")
    taken = tuple(problems[:max_problems])
    digest = hashlib.sha256(benchmark.kind.encode())
    for problem in taken:
        digest.update(json.dumps(asdict(problem)).encode("ascii") + b"\n")
    return ProblemSet(
        name=name,
        kind=benchmark.kind,
        problems=taken,
        fingerprint=digest.hexdigest(),
        source=source,
        whole=file is None and not bad and len(taken) == len(problems),
        warnings=tuple(f"{name}: passed over {line}" for line in bad),
    )


def _rows(benchmark: Benchmark, file: str | None) -> tuple[str, list[tuple[str, Mapping]]]:
    if file is not None:
        table = open_table(file, split="", config=None)
        rows = list(table.read(list(table.columns)))
        if broken := [f"{row.place}: {row.problem}." for row in rows if row.values is None]:
            raise SeedSetError(f"{benchmark.name}: bad rows:\n{examples(broken)}")
        return table.source, [(row.place, row.values or {}) for row in rows]
    if benchmark.name == "sandbox":
        return "sandbox", [(f"sandbox row {n}", row) for n, row in enumerate(sandbox.heldout(), 1)]
    source = f"{benchmark.hub_id}@{benchmark.revision} ({benchmark.split})"
    data = _load_from_hub(benchmark)
    return source, [(f"{benchmark.hub_id} row {n}", row) for n, row in enumerate(data, 1)]


def _load_from_hub(benchmark: Benchmark) -> Any:
    # Imported here: only Hub datasets need it, and the import is slow.
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        return datasets.load_dataset(
            benchmark.hub_id,
            name=benchmark.config,
            split=benchmark.split,
            revision=benchmark.revision,
        )
    except ConnectionError as error:
        raise HubUnreachableError(
            f"{benchmark.name}: the Hub cannot be reached for {benchmark.hub_id} "
            f"({one_line(error)}); give a local file: --benchmark_files {benchmark.name}=FILE."
        ) from error
    except (OSError, ValueError, DatasetsError) as error:
        raise SeedSetError(
            f"{benchmark.name}: {benchmark.hub_id} at {benchmark.revision} cannot be loaded: "
            f"{one_line(error)}. Give a local file: --benchmark_files {benchmark.name}=FILE."
        ) from error


# From rows to problems.


def _cell(row: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    wanted = list_names(dict.fromkeys(names))
    if empty := [name for name in names if name in row]:
        raise _BadRowError(f"is empty in {list_names(dict.fromkeys(empty))}")
    raise _BadRowError(f"has none of the columns {wanted}, only {list_names(row)}")


def _text(row: Mapping[str, Any], *names: str) -> str:
    value = _cell(row, *names)
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _BadRowError(f"holds {type(value).__name__} where a text is expected")
    if isinstance(value, float) and not math.isfinite(value):
        raise _BadRowError(f"holds {value} where an answer is expected")
    return str(value).strip()


def _instruction(row: Mapping[str, Any], *names: str) -> str:
    if text := _text(row, *names, *INSTRUCTION_COLUMNS):
        return text
    raise _BadRowError("the instruction is empty")


def _plain(
    question: str, answer: str, clean: Callable[[str], str] = str
) -> Callable[[Mapping[str, Any]], Problem]:
    """Read a row whose columns `question` and `answer` are what they say."""

    def read(row: Mapping[str, Any]) -> Problem:
        return Problem(_instruction(row, question), clean(_text(row, answer, "answer")))

    return read


def _after_hashes(answer: str) -> str:
    """Return the final answer of a GSM8K solution, which stands after `####`.

    A file may hold it boxed or as a bare number.
    """
    _, marks, last = answer.rpartition("####")
    number = last.replace(",", "").strip()
    bare = not answer or re.fullmatch(r"-?\d*\.?\d+", number)
    if not marks and not bare and get_kind("math").extract(answer) is None:
        raise _BadRowError(f"the answer {answer[-40:]!r} has no #### before its last number")
    return number


def _without_underscores(answer: str) -> str:
    """Calc-X writes 1_200 for 1,200."""
    return re.sub(r"(?<=\d)_(?=\d)", "", answer)


def _math_hard(row: Mapping[str, Any]) -> Problem:
    """The gold of a MATH row is its answer where there is one, or its solution's last box."""
    gold = _text(row, "answer", "solution")
    if row.get("answer") is None and get_kind("math").extract(gold) is None:
        raise _BadRowError("the solution has no \\boxed{} answer")
    return Problem(_instruction(row, "problem"), gold)


def _asdiv(row: Mapping[str, Any]) -> Problem | None:
    """Join body and question; rows with several answers are passed over, as is usual."""
    answer = _text(row, "answer")
    if ";" in answer:
        return None
    body, question = str(row.get("body") or "").strip(), _instruction(row, "question")
    text = question if not body or question.startswith(body) else f"{body} {question}"
    return Problem(text, re.sub(r"\s*\([^()]*\)$", "", answer))


def _svamp(row: Mapping[str, Any]) -> Problem:
    body, gold = str(row.get("Body") or "").strip(), _text(row, "Answer", "answer")
    question = _instruction(row, "Question")
    if body and not body.endswith((".", "?", "!", ",")):
        body += "."
    return Problem(f"{body} {question}".strip(), gold)


def _tabmwp(row: Mapping[str, Any]) -> Problem:
    """Put the table above the question, and the choices, where there are some, below it."""
    title, table = str(row.get("table_title") or ""), str(row.get("table") or "")
    head = [f"Table: {title}" if title else "", table, _instruction(row, "question")]
    if choices := row.get("choices"):
        head.append("Choose from: " + "; ".join(map(str, choices)))
    return Problem("\n".join(part for part in head if part), _text(row, "answer"))


def _choice(question: str, options: Sequence[str], right: str | int) -> Problem:
    """Put `options` under letters; `right` is a letter, or a number that counts from 0."""
    if not 2 <= len(options) <= len(ascii_uppercase):
        raise _BadRowError(f"has {count_of(len(options), 'option')}")
    if isinstance(right, int):
        if not 0 <= right < len(options):
            raise _BadRowError(f"the gold {right} is none of {len(options)} options")
        right = ascii_uppercase[right]
    letter = get_kind("choice").canonical(right)
    if letter is None or letter not in ascii_uppercase[: len(options)]:
        raise _BadRowError(f"the gold {right[:80]!r} is the letter of none of the options")
    lines = [f"{each}) {text}" for each, text in zip(ascii_uppercase, options, strict=False)]
    return Problem("\n".join([question, "", *lines, "", _OPTION_LINE]), letter)


def _options(row: Mapping[str, Any], *names: str) -> list[str]:
    options = _cell(row, *names)
    if isinstance(options, Mapping):
        options = [options[letter] for letter in sorted(options) if options[letter] is not None]
    if not isinstance(options, list | tuple):
        raise _BadRowError(f"the options are {type(options).__name__}, not a list")
    return [str(option).strip() for option in options]


def _listed(*answers: str) -> Callable[[Mapping[str, Any]], Problem]:
    """Read a row with a list or mapping of options; the gold is in the first of `answers`."""

    def read(row: Mapping[str, Any]) -> Problem:
        right = _cell(row, *answers)
        if not isinstance(right, str | int) or isinstance(right, bool):
            raise _BadRowError(f"the gold is {type(right).__name__}, not a letter or a number")
        return _choice(_instruction(row, "question"), _options(row, "options", "choices"), right)

    return read


def _gpqa(row: Mapping[str, Any]) -> Problem:
    """Shuffle the four options by the question itself, so that the order never changes."""
    if "Correct Answer" not in row:
        return _listed("answer")(row)
    question = _instruction(row, "Question")
    right = _text(row, "Correct Answer")
    options = [right, *(_text(row, f"Incorrect Answer {n}") for n in (1, 2, 3))]
    random.Random(question).shuffle(options)
    return _choice(question, options, options.index(right))


_TABLE = (
    Benchmark(
        name="math_500",
        title="MATH-500",
        hub_id="HuggingFaceH4/MATH-500",
        split="test",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        read=_plain("problem", "answer"),
        licence="MIT",
        lm_eval="minerva_math500",
    ),
    Benchmark(
        name="math_hard",
        title="MATH-Hard",
        hub_id="lighteval/MATH-Hard",
        split="test",
        read=_math_hard,
        licence="MIT",
        lm_eval="leaderboard_math_hard",
    ),
    Benchmark(
        name="gsm8k",
        title="GSM8K",
        hub_id="openai/gsm8k",
        config="main",
        split="test",
        revision="740312add88f781978c0658806c59bc2815b9866",
        read=_plain("question", "answer", _after_hashes),
        licence="MIT",
        task_id="gsm8k",
        lm_eval="gsm8k",
    ),
    Benchmark(
        name="asdiv",
        title="ASDiv",
        hub_id="EleutherAI/asdiv",
        split="validation",
        read=_asdiv,
        licence="CC BY-NC 4.0",
        lm_eval="asdiv_cot_llama",
    ),
    Benchmark(
        name="svamp",
        title="SVAMP",
        hub_id="ChilleD/SVAMP",
        split="test",
        revision="5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef",
        read=_svamp,
        licence="MIT",
    ),
    Benchmark(
        name="mawps",
        title="MAWPS",
        hub_id="MU-NLPC/Calc-mawps",
        split="test",
        revision="38c10053efeafd20ab6ff4e08c3ec17de26c19b7",
        read=_plain("question", "result", _without_underscores),
        licence="MIT",
    ),
    Benchmark(
        name="college_math",
        title="College Math",
        hub_id="realtreetune/college_math",
        split="test",
        read=_plain("problem", "answer"),
        licence="not stated",
    ),
    Benchmark(
        name="tabmwp",
        title="TabMWP (1,000 test problems)",
        hub_id="Arietem/tabmwp",
        split="train",
        read=_tabmwp,
        licence="CC BY-NC-SA 4.0",
    ),
    Benchmark(
        name="minerva",
        title="Minerva Math (272 problems)",
        hub_id="math-ai/minervamath",
        split="test",
        revision="ee46ddc498933b1977577953250ca5c66be64f96",
        read=_plain("question", "answer"),
        licence="not stated",
    ),
    Benchmark(
        name="olympiad_bench",
        title="OlympiadBench, English mathematics in text",
        hub_id="Hothan/OlympiadBench",
        config="OE_TO_maths_en_COMP",
        split="train",
        revision="91184b52131e7fc9455fef848035173aea8cc01a",
        read=_plain("question", "final_answer"),
        licence="Apache 2.0",
    ),
    Benchmark(
        name="amc",
        title="AMC 2023",
        hub_id="math-ai/amc23",
        split="test",
        revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
        read=_plain("question", "answer"),
        licence="not stated",
    ),
    Benchmark(
        name="aime",
        title="AIME 2024",
        hub_id="HuggingFaceH4/aime_2024",
        split="train",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        read=_plain("problem", "answer"),
        licence="not stated",
    ),
    Benchmark(
        name="mmlu_pro",
        title="MMLU-Pro",
        hub_id="TIGER-Lab/MMLU-Pro",
        split="test",
        revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
        read=_listed("answer"),
        licence="MIT",
        kind="choice",
        task_id="mmlu_pro",
        lm_eval="mmlu_pro",
    ),
    Benchmark(
        name="mmlu_stem",
        title="MMLU, STEM subjects",
        hub_id="TIGER-Lab/MMLU-STEM",
        split="test",
        read=_listed("answer"),
        licence="MIT",
        kind="choice",
    ),
    Benchmark(
        name="gpqa",
        title="GPQA Diamond (asks for a login)",
        hub_id="Idavidrein/gpqa",
        config="gpqa_diamond",
        split="train",
        read=_gpqa,
        licence="CC BY 4.0",
        kind="choice",
        task_id="diamond",
        lm_eval="gpqa_diamond_cot_zeroshot",
    ),
    Benchmark(
        name="medqa",
        title="MedQA, USMLE with four options",
        hub_id="GBaker/MedQA-USMLE-4-options",
        split="test",
        revision="0fb93dd23a7339b6dcd27e241cb9b5eca62d4d18",
        read=_listed("answer_idx", "answer"),
        licence="CC BY 4.0",
        kind="choice",
    ),
    Benchmark(
        name="sandbox",
        title="the built-in domain's held-out problems",
        hub_id="",
        split="",
        revision="",
        read=_plain("instruction", "answer"),
        licence="Apache 2.0",
    ),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _TABLE}
