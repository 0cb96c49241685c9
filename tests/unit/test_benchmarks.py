"""Benchmarks: every row becomes the problem it means, or is named; no network."""

import json
import re
from pathlib import Path

import pytest

from serl_trl.answers.equality import get_kind
from serl_trl.common.completion import Completion
from serl_trl.data.tables import SeedSetError
from serl_trl.measure import benchmarks
from serl_trl.measure.benchmarks import BENCHMARKS, check_benchmarks, load_benchmark
from serl_trl.measure.figures import Attempts, Measurement, grade_attempts

ROOT = Path(__file__).parents[2]
LETTERED = "\n\nA) 1\nB) 2\nC) 3\nD) 4\n\nGive the letter of the right option as the final answer."

# A row as the Hub has it, and the instruction and gold it must become.
ROWS = [
    ("math_500", {"problem": "1+1?", "answer": "2", "solution": "..."}, "1+1?", "2"),
    (
        "math_hard",
        {"problem": "1+1?", "solution": "\\boxed{1}, no: \\boxed{\\frac{4}{2}}"},
        "1+1?",
        "\\frac{4}{2}",
    ),
    ("gsm8k", {"question": "How much?", "answer": "2*600=1200\n#### 1,200"}, "How much?", "1200"),
    (
        "asdiv",
        {"body": "Tom has 9 apples.", "question": "How many?", "answer": "9 (apples)"},
        "Tom has 9 apples. How many?",
        "9",
    ),
    (
        "svamp",
        {"Body": "Tom has 9 apples", "Question": "How many?", "Answer": "9.0"},
        "Tom has 9 apples. How many?",
        "9.0",
    ),
    ("mawps", {"question": "How many?", "result": "1_200", "chain": ""}, "How many?", "1200"),
    ("college_math", {"problem": "1+1?", "answer": "$2$"}, "1+1?", "$2$"),
    (
        "tabmwp",
        {
            "table_title": "Sales",
            "table": "Mon | 3\nTue | 5",
            "question": "Which day?",
            "choices": ["Mon", "Tue"],
            "answer": "Tue",
        },
        "Table: Sales\nMon | 3\nTue | 5\nWhich day?\nChoose from: Mon; Tue",
        "Tue",
    ),
    ("minerva", {"question": "How far?", "answer": "1.5e3"}, "How far?", "1.5e3"),
    ("olympiad_bench", {"question": "x?", "final_answer": ["1", "-1"]}, "x?", "1, -1"),
    ("amc", {"question": "x?", "answer": 27.0}, "x?", "27.0"),
    ("aime", {"problem": "x?", "answer": "204"}, "x?", "204"),
    (
        "mmlu_pro",
        {"question": "x?", "options": ["1", "2", "3", "4"], "answer": "C", "answer_index": 2},
        "x?" + LETTERED,
        "C",
    ),
    (
        "mmlu_stem",
        {"question": "x?", "choices": ["1", "2", "3", "4"], "answer": 3},
        "x?" + LETTERED,
        "D",
    ),
    (
        "medqa",
        {
            "question": "x?",
            "options": {"D": "4", "A": "1", "B": "2", "C": "3"},
            "answer_idx": "B",
            "answer": "2",
        },
        "x?" + LETTERED,
        "B",
    ),
    ("gpqa", {"question": "x?", "options": ["1", "2", "3", "4"], "answer": "A"}, None, "A"),
    ("sandbox", {"instruction": "1+1?", "answer": "2", "kind": "sum"}, "1+1?", "2"),
    ("sandbox_hard", {"instruction": "1+1?", "answer": "2", "kind": "sum"}, "1+1?", "2"),
]


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("name", "row", "instruction", "gold"), ROWS)
def test_a_row_as_the_hub_has_it_becomes_its_problem(tmp_path, name, row, instruction, gold):
    file = write(tmp_path / "rows.jsonl", [row])
    (problem,) = load_benchmark(name, file=file).problems
    assert problem.gold == gold
    assert instruction in (None, problem.instruction)
    assert get_kind(BENCHMARKS[name].kind).canonical(problem.gold) is not None


def test_every_benchmark_has_a_row_here():
    assert {name for name, *_ in ROWS} == set(BENCHMARKS)


def test_gpqa_shuffles_its_options_and_always_alike():
    def row(number):
        wrong = {f"Incorrect Answer {n}": f"wrong {n}" for n in (1, 2, 3)}
        return {"Question": f"Which is {number}?", "Correct Answer": "right", **wrong}

    read = BENCHMARKS["gpqa"].read
    problems = [read(row(number)) for number in range(40)]
    assert problems == [read(row(number)) for number in range(40)]
    assert {problem.gold for problem in problems} == set("ABCD")
    assert all(f"{problem.gold}) right" in problem.instruction for problem in problems)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "x?", "answer": ""}, "the gold '' is not an answer of kind math"),
        ({"question": "", "answer": "2"}, "the instruction is empty"),
        ({"question": "x?"}, "has none of the columns answer, only question"),
        ({"question": "x?", "answer": None}, "is empty in answer"),
        ({"question": "x?", "answer": float("nan")}, "holds nan where an answer is expected"),
        (
            {"question": "x?", "answer": "so it is 5 apples"},
            "the answer 'so it is 5 apples' has no #### before its last number",
        ),
        ({"query": "x?", "answer": "2"}, "has none of the columns question, problem"),
        ({"question": True, "answer": "2"}, "holds bool where a text is expected"),
    ],
)
def test_a_bad_row_is_named_with_its_reason(tmp_path, row, reason):
    good = {"question": "1+1?", "answer": "2"}
    file = write(tmp_path / "gsm.jsonl", [good, row])
    with pytest.raises(SeedSetError, match=re.escape(f"gsm.jsonl:2: {reason}")):
        load_benchmark("gsm8k", file=file)
    passed = load_benchmark("gsm8k", file=file, max_bad_rows=1)
    assert len(passed.problems) == len(passed.warnings) == 1


def test_a_solution_without_a_box_has_no_gold(tmp_path):
    file = write(tmp_path / "math.jsonl", [{"problem": "x?", "solution": "the answer is 5"}])
    with pytest.raises(SeedSetError, match=r"math.jsonl:1: the solution has no \\boxed"):
        load_benchmark("math_hard", file=file)


def test_a_benchmark_whose_bad_rows_were_passed_over_is_not_whole(monkeypatch):
    rows = [{"question": "1+1?", "answer": "#### 2"}, {"question": "x?", "answer": None}]
    monkeypatch.setattr(benchmarks, "_load_from_hub", lambda _: rows)
    assert not load_benchmark("gsm8k", max_bad_rows=1).whole
    monkeypatch.setattr(benchmarks, "_load_from_hub", lambda _: rows[:1])
    assert load_benchmark("gsm8k").whole


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        (["1", "2"], "C", "the gold 'C' names none of the options"),
        (["1", "2"], 2, "the gold 2 names none of the 2 options"),
        (["1"], "A", "has 1 option"),
        ("1 or 2", "A", "the options are str, not a list"),
        (["1", "2"], None, "is empty in answer"),
        (["1", "2"], [0], "the gold is list, not a letter or a number"),
    ],
)
def test_a_choice_without_its_right_option_is_named(tmp_path, options, answer, reason):
    file = write(
        tmp_path / "mmlu.jsonl", [{"question": "x?", "options": options, "answer": answer}]
    )
    with pytest.raises(SeedSetError, match=re.escape(reason)):
        load_benchmark("mmlu_pro", file=file)


def test_problems_keep_their_row_and_the_fingerprint_follows_them(tmp_path):
    rows = [
        {"body": "", "question": f"{n}?", "answer": a} for n, a in enumerate(["1", "2; 3", "4"])
    ]
    file = write(tmp_path / "asdiv.jsonl", rows)
    whole = load_benchmark("asdiv", file=file)
    assert [problem.row for problem in whole.problems] == [1, 3]
    first = load_benchmark("asdiv", file=file, max_problems=1)
    assert first.problems == whole.problems[:1]
    assert first.fingerprint != whole.fingerprint
    assert not first.whole


def test_unknown_benchmarks_and_missing_files_are_all_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, files = ["math500", "gsm8k"], {"gsm8k": "none.jsonl", "svamp": "s.jsonl"}
    unknown, missing, other = check_benchmarks(names, files)
    assert "benchmarks=math500 is unknown" in unknown
    assert "Did you mean 'math_500'?" in unknown
    assert "none.jsonl does not exist" in missing
    assert "svamp is not among the benchmarks" in other
    assert check_benchmarks(["sandbox"], {}) == []


def graded_golds(name, problems):
    attempts = [
        Attempts(p.instruction, p.gold, (Completion(f"So \\boxed{{{p.gold}}}.", [1], False),))
        for p in problems
    ]
    return Measurement(tuple(grade_attempts(attempts, kind=BENCHMARKS[name].kind)), 1)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("math_500", "math_500"),
        ("gsm8k", "gsm8k"),
        ("asdiv", "asdiv"),
        ("math_500", "own"),
        ("sandbox", None),
        ("sandbox_hard", None),
    ],
)
def test_every_gold_written_as_a_completion_is_graded_right(problems, name, source):
    problem_set = load_benchmark(name, file=source and str(problems.file(source)))
    assert graded_golds(name, problem_set.problems).summary()["pass@1"] == 1.0


def test_the_docs_list_every_benchmark_as_it_is():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| `\w+` \| .* \|.*\|.*\|.*\|", line)
    ]
    assert rows == [
        [
            f"`{each.name}`",
            each.title,
            " ".join(part for part in (each.hub_id, each.config, each.split) if part) or "built in",
            each.revision[:12] or "-",
            each.kind,
            each.licence,
            each.task_id or "-",
        ]
        for each in BENCHMARKS.values()
    ]
