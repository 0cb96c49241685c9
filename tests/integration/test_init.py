"""`serl init`: flags and answers on a terminal become a config that `serl check` accepts."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serl_trl.cli.entry import main
from serl_trl.cli.starter import MACHINES, guess_kind
from serl_trl.data.seeds import make_seed_set

CHOICES = [
    f"Which number is largest, friend {n}? (A) {n} (B) {n + 1} (C) {n + 2} (D) {n - 1}"
    for n in range(12)
]
PLAIN = [f"What is {n} plus {n * n}, if Tom has {n} pens?" for n in range(12)]
GERMAN = [f"Wie viele Äpfel hat Lena, wenn sie {n} kauft und {n // 2} isst?" for n in range(12)]
REVIEWS = [f"A film of {n} long hours, which nobody in the room will forget" for n in range(12)]
# Small enough to be checked with its tokenizer.
SANDBOX = ("--machine", "cpu", "--model_name_or_path", "sandbox")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def seeds(texts: list[str], name: str = "own.jsonl", column: str = "question", **more) -> str:
    rows = [
        {column: text, **{key: row[n] for key, row in more.items()}} for n, text in enumerate(texts)
    ]
    lines = (json.dumps(row) + "\n" for row in rows)
    Path(name).write_text("".join(lines), encoding="utf-8")
    return name


def written(name: str = "own.yaml") -> dict:
    return yaml.safe_load(Path(name).read_text(encoding="utf-8"))


def init(*argv: str) -> int:
    return main(["init", *argv])


def checked(name: str = "own.yaml") -> dict:
    assert main(["check", "--config", name, "--json", "out.json"]) == 0
    return json.loads(Path("out.json").read_text())


def guessed(texts: list[str], golds: list[str] | None = None) -> str:
    pairs = zip(texts, golds or [None] * len(texts), strict=True)
    rows = [{"instruction": text, "answer": gold} for text, gold in pairs]
    return guess_kind(make_seed_set(rows, source="own"))


def test_what_is_guessed_becomes_a_config_that_check_accepts():
    assert init("--seed_set", seeds(CHOICES), *SANDBOX) == 0

    assert written()["answer_kind"] == "choice(num_choices=4)"
    assert written()["answer_instruction"].endswith("inside \\boxed{}: A / B / C / D.")
    found = checked()
    assert found["to_change"] == found["skipped"] == []
    assert found["kept_majority_ratios"] == "8/16 to 15/16"


def test_flags_say_everything_without_a_terminal():
    file = seeds(GERMAN, column="frage", note=["x"] * 12)
    argv = ("--instruction_column", "frage", "--language", "de", "--labels", "ja", "nein")

    assert init("--seed_set", file, *argv, "--domain", "Obst", *SANDBOX) == 0

    found = written()
    assert found["instruction_column"] == "frage"
    assert found["answer_kind"] == "label(labels=['ja', 'nein'])"
    assert found["domain"] == "Obst"
    assert found["answer_instruction"].endswith("in \\boxed{}: ja / nein.")
    assert checked()["to_change"] == []


def test_filters_that_would_refuse_the_seeds_are_left_out(capsys):
    assert init("--seed_set", seeds(REVIEWS), "--labels", "good", "bad", *SANDBOX) == 0

    assert "question" not in written()["proposal_filters"].split(",")
    assert "most rows ask nothing: where they are texts, --question says" in capsys.readouterr().out
    assert checked()["to_change"] == []


def test_rows_that_ask_nothing_are_asked_one_question(capsys):
    argv = ("--seed_set", seeds(REVIEWS), "--labels", "good", "bad", *SANDBOX)

    assert init(*argv, "--question", "Is this film good or bad?", "--domain", "reviews") == 0

    found = written()
    assert found["task_template"] == (
        "{instruction}\nIs this film good or bad?\nReason step by step and write the final answer "
        "inside \\boxed{}: good / bad."
    )
    assert found["proposer_request"] == "A list of {domain}:"
    assert "answer_instruction" not in found
    assert checked()["to_change"] == []
    assert init(*argv, "--question", "Is {it} good?", "--output", "other.yaml") == 2
    assert "question must hold no brace" in capsys.readouterr().err


def test_lengths_of_the_seeds_are_allowed():
    counted = " ".join(f"Then he counts {num} of them again." for num in range(60))
    long = [f"{text} {counted}" for text in PLAIN]

    assert init("--seed_set", seeds(long), *SANDBOX) == 0

    assert written()["max_words"] == max(len(text.split()) for text in long)


def test_a_file_that_exists_is_left_as_it_is(capsys):
    Path("own.yaml").write_text("mine")

    assert init("--seed_set", seeds(PLAIN), *SANDBOX) == 2

    assert Path("own.yaml").read_text() == "mine"
    assert "own.yaml exists and is left as it is; name another by --output." in (
        capsys.readouterr().err
    )
    assert init("--seed_set", "own.jsonl", *SANDBOX, "--output", "deep/other.yaml") == 0
    assert checked("deep/other.yaml")["num_seeds"] == 12


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "seed_set cannot be guessed; give --seed_set."),
        (("--seed_set", "german.jsonl"), "language cannot be guessed; give --language."),
        (("--seed_set", "german.jsonl", "--language", "Deutsch"), "is not a code such as en, de"),
        (("--seed_set", "odd.jsonl"), "give --instruction_column, one of frage, nr."),
        (("--seed_set", "none.jsonl"), "none.jsonl does not exist"),
        (("--seed_set", "plain.jsonl", "--answer_kind", "colour"), "answer_kind=colour is unknown"),
        (
            ("--seed_set", "plain.jsonl", "--labels", "a", "--answer_kind", "math"),
            "labels go with answer_kind label, not math.",
        ),
        (("--machine", "pocket"), "invalid choice: 'pocket'"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(argv, said, capsys):
    seeds(GERMAN, "german.jsonl")
    seeds(PLAIN, "plain.jsonl")
    seeds(PLAIN, "odd.jsonl", column="frage", nr=list(range(12)))

    assert init(*argv) == 2

    assert said in capsys.readouterr().err
    assert not list(Path().glob("*.yaml"))


def test_a_terminal_is_asked_what_no_flag_says():
    seeds(PLAIN, column="frage", nr=list(range(12)))
    ours, theirs = pty.openpty()
    code = "import sys; from serl_trl.cli import main; sys.exit(main(['init']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs)
    # File, column, language (the guessed one), kind, labels, domain, machine.
    os.write(ours, b"own.jsonl\nfrage\n\nlabel\nup down\nstairs\ncpu\n")

    assert process.wait(timeout=120) == 0
    os.close(theirs)
    os.close(ours)
    found = written()
    assert (found["instruction_column"], found["language"]) == ("frage", "en")
    assert found["answer_kind"] == "label(labels=['up', 'down'])"
    assert (found["domain"], found["use_cpu"]) == ("stairs", True)


def test_kinds_are_guessed_from_golds():
    assert guessed(PLAIN) == "math"
    assert guessed(PLAIN, [str(n) for n in range(12)]) == "number"
    assert guessed(PLAIN, ["Yes", "no"] * 6) == "label(labels=['no', 'yes'])"
    assert guessed(PLAIN, [f"town {chr(97 + n)}" for n in range(12)]) == "text"


@pytest.mark.parametrize("machine", [name for name in MACHINES if name != "cpu"])
def test_what_is_written_for_a_machine_fits_it(machine):
    assert init("--seed_set", seeds(PLAIN), "--machine", machine) == 0

    argv = ["plan", "--config", "own.yaml", "--gpu", machine, "--json", "plan.json"]
    assert main(argv) == 0
    assert json.loads(Path("plan.json").read_text())["verdict"] in ("yes", "tight")
