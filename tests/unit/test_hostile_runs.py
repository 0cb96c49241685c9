"""A run folder from somebody else: nothing in it leads out, hangs, or ends in a traceback."""

import io
import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import yaml
from rich.console import Console

from serl_trl.cli.commands import push, push_dataset, report
from serl_trl.common.console import BAD_INPUT, OK
from serl_trl.common.secrets import SECRETS, redacted, secret_in
from serl_trl.measure.comparison import compare
from serl_trl.measure.session import read_evaluation
from serl_trl.runs.output_folder import may_be_renamed, output_problem
from serl_trl.share.hub import prepare_dataset, prepare_model

TOKEN = "hf_" + "Abcdefgh" * 4
FORMS = {
    "a password in an address": "postgres://ann:s3cret@db.example",
    "a Hugging Face token": TOKEN,
    "an API key (sk-...)": "sk-proj-" + "aB3_" * 8,
    "a Stripe key": "sk_live_" + "a1" * 10,
    "an AWS key": "AKIA" + "Q7" * 8,
    "a GitHub token": "ghp_" + "a1" * 15,
    "a GitLab token": "glpat-" + "a1-" * 8,
    "a Slack token": "xoxb-" + "12-" * 8,
    "a Google key": "AIza" + "b" * 35,
    "a package index's token": "npm_" + "a" * 36,
    "a signed web token (JWT)": "eyJhbGciOiJI.eyJzdWIiOiIx.abc",
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA",
}


def proposal(number: int, text: str, **more) -> dict:
    detail = {"rouge_l": 0.2, "nearest": "s"}
    record = {"type": "proposal", "id": number, "step": 0, "text": text, "shots": []}
    return {**record, "keep": True, "reason": "", "detail": detail, **more}


def group(number: int, **more) -> dict:
    record = {"type": "group", "id": number, "step": 0, "origin": f"proposal:{number}"}
    answers = {"answers": {"7": 3}, "num_unparsable": 1, "majority_answer": "7"}
    return {**record, **answers, "majority_ratio": 0.75, "keep": True, "reason": "", **more}


def make_run(folder: Path, texts=("What is 1 + 1?", "What is 2 + 2?"), **config) -> Path:
    private = folder / "_serl"
    private.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    config = {"num_generations": 4, "temperature": 1.0, "domain": "sums", **config}
    (private / "config.yaml").write_text(yaml.safe_dump(config))
    facts = {"run_id": "run1", "started": "2026", "num_seeds": 3, "versions": {"trl": "1"}}
    (private / "run.json").write_text(json.dumps({**facts, "options": {"learning_rate": 0.1}}))
    rows = [{"step": n, "serl/majority_ratio": n / 4, "train_runtime": 9.0} for n in (1, 2)]
    (private / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = [
        each(n) for n in range(len(texts)) for each in (lambda n: proposal(n, texts[n]), group)
    ]
    (private / "ledger.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    (private / "finished.json").write_text('{"max_steps": 2}')
    figures = {"pass@1": {"before": {"mean": 0.5}, "after": {"mean": 0.6}, "change": {"mean": 0.1}}}
    (private / "evaluation.json").write_text(json.dumps({"num_problems": 3, "figures": figures}))
    return folder


def make_evaluation(folder: Path) -> Path:
    folder.mkdir()
    item = {"instruction": "x?", "gold": "7", "answers": ["7", None], "classes": [0, None]}
    item |= {"gold_class": 0, "truncated": [False, True], "lengths": [3, 4], "fingerprint": "f"}
    item["greedy"] = {"right": True}
    (folder / "gsm8k.jsonl").write_text(json.dumps(item) + "\n")
    settings = {"model": {"name": "a/b"}, "problems": "p", "num_samples": 2, "temperature": 1.0}
    entry = {"complete": True, "num_problems": 1, "fingerprint": "f", "settings": settings}
    (folder / "summary.json").write_text(json.dumps({"benchmarks": {"gsm8k": entry}}))
    return folder


def run(command, *argv: str) -> int:
    return command.run(list(argv), Console(file=io.StringIO(), width=200))


def run_all(folder: Path) -> list[int]:
    return [
        run(report, str(folder)),
        run(push, str(folder), "--dry_run"),
        run(push_dataset, str(folder), "--dry_run"),
    ]


# Secrets.


def test_every_form_is_known_and_told_by_name():
    assert set(FORMS) == set(SECRETS)
    for name, text in FORMS.items():
        assert secret_in(f"see {text} there") == name
        assert text not in redacted(f"see {text} there")
    for text in (
        "risk-adjusted-return-on-capital-and",
        "task-oriented",
        "https://a.example/b:c",
        "",
    ):
        assert not secret_in(text)


@pytest.mark.parametrize("name", FORMS)
def test_a_row_with_a_secret_is_withheld_and_named(tmp_path, name, capsys):
    folder = make_run(tmp_path / "run", texts=("fine?", f"How many? {FORMS[name]}", "also fine?"))
    out = Console(file=io.StringIO(), width=200)

    assert push_dataset.run([str(folder), "--dry_run"], out) == OK

    said = out.file.getvalue()
    assert f"withheld: {name}, from row 2 of accepted (proposal:1)" in said
    ready = next((folder / "_serl" / "upload").iterdir())
    rows = parquet.read_table(ready / "data").to_pylist()
    assert [row["instruction"] for row in rows] == ["fine?", None, "also fine?"]
    assert rows[1]["withheld"] == f"holds {name}"
    for text in (said, str(rows), (ready / "README.md").read_text()):
        assert FORMS[name] not in text


def test_what_this_shell_knows_is_found_in_answers_too(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "no-form-at-all-42")
    folder = make_run(tmp_path / "run", texts=("a?",))
    lines = [proposal(0, "a?"), group(0, answers={"no-form-at-all-42": 3})]
    (folder / "_serl" / "ledger.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))

    ready = prepare_dataset(folder)

    (row,) = parquet.read_table(ready.folder / "data").to_pylist()
    assert (row["instruction"], row["answers"], row["majority_answer"]) == (None, [], None)
    assert len(ready.withheld) == 1


def test_cards_hold_no_secret_no_home_and_no_option_that_is_none(tmp_path):
    leaks = {"domain": FORMS["an API key (sk-...)"], "proposer_request": "as in /home/xanthe/x.txt"}
    folder = make_run(
        tmp_path / "run", **leaks, password="hunter22", rollout_system="C:\\Users\\xanthe"
    )
    (folder / "_serl" / "run.json").unlink()

    for ready in (prepare_model(folder), prepare_dataset(folder)):
        card = (ready.folder / "README.md").read_text()
        assert "`temperature`" in card
        for leak in (leaks["domain"], "xanthe", "password", "hunter22"):
            assert leak not in card
    assert any("from the card" in text for text in prepare_model(folder).withheld)


NASTY = "a\n# Heading\n<img src=x onerror=alert(1)>\x1b[31m\u202e"


def test_cards_escape_what_the_facts_say(tmp_path):
    folder = make_run(tmp_path / "run")
    texts = ("base", "base_revision", "base_license", "architecture", "seed_source", "device")
    facts = dict.fromkeys((*texts, "started", "run_id", "seed_sha256"), NASTY)
    facts |= {"versions": {NASTY: NASTY}, "evaluation_sets": {NASTY: 3}, "adapter": True}
    (folder / "_serl" / "run.json").write_text(json.dumps({**facts, "options": {NASTY: NASTY}}))

    for ready in (prepare_model(folder), prepare_dataset(folder)):
        card = (ready.folder / "README.md").read_text()
        assert not set(card) & {"\x1b", "\u202e"}
        assert "\n# Heading" not in card
        outside = "".join(card.replace("``", "").split("`")[::2])
        assert "<img" not in outside
        assert "a local folder" in card or "A local" in card


# Links and what leads out.


LINKED = [f"_serl/{name}" for name in ("upload", "cut", "report.html", "report.md", "config.yaml")]
LINKED += [f"_serl/{name}" for name in ("run.json", "ledger.jsonl", "metrics.jsonl")]
LINKED += ["_serl", "_serl/evaluation.json", "README.md", "figures"]
LINKED += ["model.safetensors", "config.json", "tokenizer.json"]


@pytest.mark.parametrize("target", ["folder", "file"])
@pytest.mark.parametrize(
    "name",
    LINKED,
)
def test_no_link_reaches_a_file_of_the_user(tmp_path, name, target, capsys):
    folder = make_run(tmp_path / "run")
    victim = tmp_path / "victim"
    for kind in ("model", "dataset", "model-x"):
        (victim / kind).mkdir(parents=True)
        (victim / kind / "private").write_text("canary: private\n")
    (victim / "file").write_text("canary: private\n")
    before = sorted((p, p.read_bytes()) for p in victim.rglob("*") if p.is_file())
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(victim if target == "folder" else victim / "file")

    assert set(run_all(folder)) <= {OK, BAD_INPUT}

    assert sorted((p, p.read_bytes()) for p in victim.rglob("*") if p.is_file()) == before
    for made in folder.rglob("*"):
        if made.is_file() and not made.is_symlink() and victim not in made.resolve().parents:
            assert b"canary" not in made.read_bytes()
    assert "Traceback" not in capsys.readouterr().err


def test_a_pipe_in_the_place_of_a_report_is_replaced(tmp_path):
    folder = make_run(tmp_path / "run")
    os.mkfifo(folder / "_serl" / "report.html")
    assert run(report, str(folder)) == OK
    assert (folder / "_serl" / "report.html").read_text().startswith("<!")


def test_two_pushes_at_once_do_not_share_a_folder(tmp_path):
    folder = make_run(tmp_path / "run")
    first = prepare_model(folder)
    second = prepare_model(folder)
    assert first.folder != second.folder
    assert (first.folder / "README.md").is_file()
    left = first.folder
    del first, second
    prepare_model(folder)
    assert not left.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a/b", "C:x", "", "\0"])
def test_a_benchmark_is_no_path(tmp_path, name):
    folder = make_evaluation(tmp_path / "eval")
    summary = json.loads((folder / "summary.json").read_text())
    summary["benchmarks"] = {name: summary["benchmarks"]["gsm8k"]}
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="is not the name of a benchmark"):
        read_evaluation(folder)


# Damage.


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "list": lambda content: b"[]\n",
    "deep": lambda content: b"[" * 200_000 + b"\n",
    "deep but whole": lambda content: b"[" * 500 + b"]" * 500 + b"\n",
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "huge number": lambda content: content.replace(b"1", b"9" * 400),
    "NaN": lambda content: content.replace(b"1", b"NaN").replace(b"2", b"-Infinity"),
    "no digits": lambda content: b"9" * 5000 + b"\n",
    "bomb": lambda content: b"".join(
        b"%c: &%c [%s]\n" % (97 + n, 97 + n, b", ".join([b"*%c" % (96 + n)] * 9 if n else [b"x"]))
        for n in range(20)
    ),
}


def damaged(folder: Path, name: str) -> list[bytes | None]:
    content = (folder / name).read_bytes()
    return [damage(content) for damage in DAMAGES.values()] + wrong_types(content)


def wrong_types(content: bytes) -> list[bytes]:
    """The first record with each of its values, two levels deep, of each other type."""
    try:
        record, _, rest = (
            content.partition(b"\n") if content.count(b"\n") > 1 else (content, 0, b"")
        )
        value = json.loads(record)
    except ValueError:
        value, rest = yaml.safe_load(content), b""
    found = []
    for other in (None, -1, "text", [[["x"]]], {"a": [None]}):
        for key in value:
            found.append(json.dumps({**value, key: other}).encode() + b"\n" + rest)
            if isinstance(value[key], dict):
                for inner in value[key]:
                    changed = {**value, key: {**value[key], inner: other}}
                    found.append(json.dumps(changed).encode() + b"\n" + rest)
    return found


# All of them take two minutes: SERL_FUZZ=1 pytest tests/unit/test_hostile_runs.py
FULL = bool(os.environ.get("SERL_FUZZ"))
RUN_FILES = ["config.yaml", "run.json", "metrics.jsonl", "ledger.jsonl", "evaluation.json"]


@pytest.mark.parametrize(
    "name", [*(f"_serl/{name}" for name in RUN_FILES), "config.json", "tokenizer.json"]
)
def test_no_damage_of_a_run_ends_in_a_traceback(tmp_path, name, monkeypatch):
    monkeypatch.setattr("serl_trl.share.card.draw_curves", lambda run, folder: {})
    folder = make_run(tmp_path / "run")
    # A part of them each time, the same ones in every run.
    for content in damaged(folder, name)[:: 1 if FULL else 4]:
        (folder / name).write_bytes(content)
        assert set(run_all(folder)) <= {OK, BAD_INPUT}


@pytest.mark.parametrize("name", ["summary.json", "gsm8k.jsonl"])
def test_no_damage_of_an_evaluation_ends_in_anything_but_a_sentence(tmp_path, name):
    folder, other = make_evaluation(tmp_path / "eval"), make_evaluation(tmp_path / "other")
    sides = [read_evaluation(other), read_evaluation(other)]
    assert compare(*sides)
    for content in damaged(folder, name):
        (folder / name).write_bytes(content)
        try:
            compare(read_evaluation(folder), sides[0])
        except ValueError as error:
            assert "\n" not in str(error).strip() and len(str(error)) < 600


# Where a run may write.


def test_a_run_takes_an_empty_folder_or_one_of_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not output_problem(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    ours = make_run(tmp_path / "ours")
    assert not output_problem(tmp_path / "empty") and not output_problem(ours)
    assert not may_be_renamed(ours) and not may_be_renamed(make_evaluation(tmp_path / "eval"))
    mine = tmp_path / "mine"
    (mine / "_serl").mkdir(parents=True)
    (mine / "README.md").write_text("mine")
    (mine / "_serl" / "run.json").write_text("{}")
    assert "no run wrote (README.md)" in output_problem(mine)
    assert "is neither" in may_be_renamed(mine)
    (ours / "config.json").unlink()
    (ours / "config.json").symlink_to(mine / "README.md")
    assert "links where a run writes files (config.json)" in output_problem(ours)


def test_no_run_takes_everything(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for folder in ("/", "~", ".", "..", str(tmp_path), str(tmp_path.parent)):
        assert "name a folder for this run alone" in output_problem(Path(folder))
        assert "is not renamed" in may_be_renamed(Path(folder))
