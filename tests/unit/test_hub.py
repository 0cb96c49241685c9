"""Pushing to a Hub on this machine: what arrives, what is asked for, what happens when it fails."""

import functools
import io
import json
import logging
from pathlib import Path

import jinja2
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, constants
from rich.console import Console

from serl_trl.cli.commands import push, push_dataset
from serl_trl.common.console import BAD_INPUT, FAILED, OK
from serl_trl.runs.facts import RunFacts, read_license, write_facts
from serl_trl.share.card import COLUMNS
from serl_trl.share.hub import NotPushedError, prepare_dataset, prepare_model, push_model, upload
from serl_trl.share.published import ReleaseError

HOSTILE = [
    "<script>alert(1)</script> How many?",
    "```\n# Heading\n<img src=x onerror=alert(1)>\n[a](javascript:alert(1))\nHow many?",
    "\x1b]52;c;aGk=\x07\x1b[31mred\u202egnol How many?",
    "w" * 10_000,
]


@pytest.fixture(autouse=True)
def strict_templates(monkeypatch):
    """A name of a template that no card gives is an error here, and nothing on the Hub."""
    strict = functools.partial(jinja2.Template, undefined=jinja2.StrictUndefined)
    monkeypatch.setattr(jinja2, "Template", strict)


def make_run(folder: Path, *, facts: RunFacts | None = None, texts=tuple(HOSTILE)) -> Path:
    """A run folder as training leaves it, whose model wrote `texts`."""
    private = folder / "_serl"
    private.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "training_args.bin"):
        (folder / name).write_text("{}")
    (folder / "notes.txt").write_text("private")
    config = {"output_dir": str(folder), "num_generations": 4, "domain": "`|<b>sums</b>"}
    (private / "config.yaml").write_text(yaml.safe_dump(config))
    write_facts(private, facts or RunFacts("run1", options={"domain": config["domain"]}))
    steps = [{"step": n, "serl/majority_ratio": n / 4, "num_tokens": 9.0 * n} for n in (1, 2, 3)]
    lines = [*steps, {"step": 3, "train_runtime": 7200.0}]
    (private / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    records = [
        {"type": "proposal", "id": n, "step": n // 4, "text": text, "shots": []}
        | {"keep": n % 2 == 0, "reason": "" if n % 2 == 0 else "rouge_l"}
        | {"detail": {"rouge_l": 0.75, "nearest": "s"}}
        for n, text in enumerate([*texts, *texts])
    ]
    (private / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    return folder


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def arrived(hub, key: str) -> dict[str, bytes]:
    return hub.repos[key]


def test_the_model_arrives_in_a_private_repository(fake_hub, tmp_path):
    out = console()

    assert push.run([str(make_run(tmp_path / "mine"))], out) == OK

    files = arrived(fake_hub, "model/ann/mine")
    assert fake_hub.private["model/ann/mine"]
    assert set(files) == {
        "README.md",
        "config.json",
        "figures/agreement.png",
        "model.safetensors",
        "tokenizer.json",
    }
    shown = out.file.getvalue()
    assert "stays here: _serl/, notes.txt, training_args.bin" in shown
    assert f"pushed to {fake_hub.url}/ann/mine" in shown
    assert not list((tmp_path / "mine" / "_serl" / "upload").iterdir())


def test_the_code_in_a_card_names_the_place_where_it_arrived(fake_hub, tmp_path):
    run = str(make_run(tmp_path / "mine"))

    assert push.run([run], console()) == push_dataset.run([run], console()) == OK

    model = arrived(fake_hub, "model/ann/mine")["README.md"]
    assert b'model="ann/mine"' in model
    data_set = arrived(fake_hub, "dataset/ann/mine-instructions")["README.md"]
    assert b'load_dataset("ann/mine-instructions", split="accepted")' in data_set
    assert b"OWNER" not in model + data_set


def test_the_card_of_a_checkpoint_ends_at_its_step(tmp_path):
    run = make_run(tmp_path / "mine")
    groups = [group_of(n, step=n, right=True) for n in range(3)]
    with (run / "_serl" / "ledger.jsonl").open("a") as file:
        file.writelines(json.dumps(each) + "\n" for each in groups)
    figures = {"pass@1": {"before": {"mean": 0.5}, "after": {"mean": 0.75}}}
    content = {"num_problems": 200, "num_samples": 16, "figures": figures}
    (run / "_serl" / "evaluation.json").write_text(json.dumps(content))
    (run / "checkpoint-1").mkdir()
    (run / "checkpoint-1" / "model.safetensors").write_text("{}")

    card = (prepare_model(run / "checkpoint-1").folder / "README.md").read_text()
    of_data = (prepare_dataset(run / "checkpoint-1").folder / "README.md").read_text()

    assert "checkpoint after step 1, not of the whole run" in card
    assert "Compute: 1 optimizer step, 9 tokens" in card
    assert "| `pass@1` |" not in card
    assert "This model was not measured" in card
    assert "| proposals written | 4 |" in card
    assert "1 of 1 kept groups" in card
    assert "checkpoint after step 1, not of the whole run" in of_data
    assert "| `accepted` | 2 |" in of_data
    whole = (prepare_model(run).folder / "README.md").read_text()
    assert "checkpoint" not in whole
    assert "3 optimizer steps" in whole
    assert "| proposals written | 8 |" in whole


def test_neither_token_nor_path_nor_private_file_is_sent(fake_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "canary-of-another-service")
    run = make_run(tmp_path / "mine")

    assert push.run([str(run)], console()) == OK
    assert push_dataset.run([str(run)], console()) == OK

    sent = [*fake_hub.bodies, *(c for files in fake_hub.repos.values() for c in files.values())]
    for canary in ("hf_canary", "canary-of-another-service", str(tmp_path), "notes.txt"):
        assert not [body for body in sent if canary.encode() in body]


def test_public_must_be_said_and_a_public_repository_is_not_filled_by_accident(fake_hub, tmp_path):
    run = str(make_run(tmp_path / "mine"))
    assert push.run([run, "--public", "--repo_id", "ann/shared"], console()) == OK
    assert fake_hub.private["model/ann/shared"] is False
    before = dict(arrived(fake_hub, "model/ann/shared"))
    (tmp_path / "mine" / "config.json").write_text('{"changed": 1}')

    assert push.run([run, "--repo_id", "ann/shared"], console()) == FAILED

    assert arrived(fake_hub, "model/ann/shared") == before


def test_a_dry_run_sends_nothing_and_leaves_the_folder(fake_hub, tmp_path):
    out = console()
    run = make_run(tmp_path / "mine")

    assert push.run([str(run), "--dry-run", "--json", str(tmp_path / "out.json")], out) == OK

    assert not fake_hub.bodies
    report = json.loads((tmp_path / "out.json").read_text())
    assert Path(report["folder"]).parent == run / "_serl" / "upload"
    assert 'model="OWNER/mine"' in (Path(report["folder"]) / "README.md").read_text()
    listed = {
        p.relative_to(report["folder"]).as_posix() for p in Path(report["folder"]).rglob("*.*")
    }
    assert listed == set(report["files"])
    assert all(name in out.file.getvalue() for name in report["files"])


def test_a_dry_run_needs_no_login(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    run = str(make_run(tmp_path / "mine"))

    assert push.run([run, "--dry_run"], console()) == OK
    assert push.run([run], console()) == BAD_INPUT
    assert "nobody is logged in" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["x", "--publik"], ["/nowhere"]])
def test_bad_input_is_named(argv, capsys):
    assert push.run(argv, console()) == BAD_INPUT
    assert "serl push: 1 problem" in capsys.readouterr().err


def test_a_run_that_wrote_nothing_has_no_data_set(tmp_path):
    with pytest.raises(ReleaseError, match="holds no proposal"):
        prepare_dataset(make_run(tmp_path / "mine", texts=()))


# Failures.


def test_passing_failures_are_tried_again_with_longer_waits(fake_hub, tmp_path):
    fake_hub.failures = [409, 409]
    waits = []

    address = upload(prepare_model(make_run(tmp_path / "mine")), wait=waits.append)

    assert address == f"{fake_hub.url}/ann/mine"
    assert waits == [2.0, 4.0]
    assert "README.md" in arrived(fake_hub, "model/ann/mine")


def test_the_tries_are_bounded_and_the_folder_stays(fake_hub, tmp_path):
    fake_hub.failures = [409] * 100
    waits = []
    ready = prepare_model(make_run(tmp_path / "mine"))

    with pytest.raises(NotPushedError, match="409"):
        upload(ready, wait=waits.append)

    assert waits == [2.0, 4.0, 8.0, 16.0]
    assert (ready.folder / "README.md").is_file()


def test_a_wrong_login_is_not_tried_again(fake_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongWrongWrongWrongWrong")
    waits = []

    with pytest.raises(NotPushedError, match="401"):
        upload(prepare_model(make_run(tmp_path / "mine")), wait=waits.append)

    assert waits == []


def test_a_failed_command_says_what_was_not_pushed_and_how_to_push_later(
    fake_hub, tmp_path, monkeypatch, capsys
):
    fake_hub.failures = [403]
    run = make_run(tmp_path / "mine")

    assert push.run([str(run), "--public"], console()) == FAILED

    said = capsys.readouterr().err
    assert "not pushed to mine" in said
    assert f"push later with: serl push {run} --repo_id mine --public" in said


@pytest.mark.parametrize("trouble", ["unreachable", "offline", "no weights", "no login"])
def test_the_push_at_the_end_of_training_never_raises(
    fake_hub, tmp_path, monkeypatch, caplog, trouble
):
    run = make_run(tmp_path / "mine")
    if trouble == "unreachable":
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    if trouble == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if trouble == "no weights":
        (run / "model.safetensors").unlink()
    if trouble == "no login":
        monkeypatch.setenv("HF_TOKEN", "hf_wrongWrongWrongWrongWrong")

    with caplog.at_level(logging.WARNING):
        pushed = push_model(run, repo_id=None, private=True, wait=lambda _: None)

    assert pushed is None
    assert f"push it later with: serl push {run}" in caplog.text
    assert "hf_" not in caplog.text


# The cards.


def lines_outside_blocks(card: str) -> list[str]:
    """The lines that are read as Markdown."""
    outside, fence = [], ""
    for line in card.split("---\n", 2)[2].split("\n"):
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if not fence and len(ticks) >= 3:
            fence = ticks
        elif fence and line == fence:
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence, "a block stays open"
    return outside


def test_hostile_texts_stay_in_blocks_and_the_cards_stay_readable(tmp_path):
    run = make_run(tmp_path / "mine")
    for ready, kind in ((prepare_model(run), ModelCard), (prepare_dataset(run), DatasetCard)):
        text = (ready.folder / "README.md").read_text(encoding="utf-8")
        outside = "\n".join(lines_outside_blocks(text))

        assert "How many?" in text
        for nasty in ("<script", "<img", "javascript:", "# Heading", "www"):
            assert nasty not in outside, nasty
        assert "<b>" not in outside.replace("`` `¦<b>sums</b> ``", "")
        assert not set(text) & {"\x1b", "\x07", "\u202e"}
        assert max(map(len, text.split("\n"))) < 600
        assert len(text) < 20_000
        assert kind(text).data.tags


def test_the_model_card_is_complete_and_true(tmp_path):
    facts = RunFacts(
        "run1",
        base="ann/base",
        base_revision="abc123",
        base_license="apache-2.0",
        adapter=True,
        seed_source="ann/seeds",
        seed_sha256="5" * 64,
        num_seeds=64,
        evaluation_sets={"probe_set": 200},
        options={"learning_rate": 0.1, "output": "x|y"},
        versions={"trl": "1.16.0"},
        device="CPU",
        num_processes=2,
    )
    run = make_run(tmp_path / "mine", facts=facts)
    figures = {
        "pass@1": {"before": {"mean": 0.5, "low": 0.4, "high": 0.6}, "after": {"mean": 0.75}}
    }
    measured = {"problem_set": "ann/problems", "num_problems": 200, "num_samples": 16}
    content = {**measured, "temperature": 1.0, "figures": figures}
    (run / "_serl" / "evaluation.json").write_text(json.dumps(content))

    card = ModelCard((prepare_model(run).folder / "README.md").read_text())

    data = card.data.to_dict()
    assert (data["base_model"], data["license"]) == ("ann/base", "apache-2.0")
    assert (data["base_model_relation"], data["library_name"]) == ("adapter", "peft")
    assert data["datasets"] == ["ann/seeds"]
    for part in (
        "revision `abc123`",
        "5" * 64,
        "64 instructions from `ann/seeds`, none with an answer",
        "| `learning_rate` | `0.1` |",
        "trl `1.16.0`",
        "4.00 device hours (2 processes for 7,200 s), on `CPU`",
        "| `pass@1` | 0.500 [0.400, 0.600] | 0.750 | - |",
        "same 200 problems of `ann/problems`, with 16 samples each at temperature 1,",
        "`probe_set` (200 problems)",
        "No gold answer is recorded for the kept groups",
        "](figures/agreement.png)",
        "@article{serl2025",
    ):
        assert part in card.text, part


def group_of(number: int, *, right: bool | None, step: int = 0, keep: bool = True) -> dict:
    return {
        "type": "group",
        "id": number,
        "step": step,
        "origin": "seed:0",
        "majority_answer": "7",
        "majority_ratio": 0.5 if keep else 1.0,
        "label_right": right,
        "keep": keep,
        "reason": "" if keep else "band_high",
    }


def with_groups(run: Path, groups: list[dict], *, metrics: dict | None = None) -> str:
    """Return the model card of `run` with these groups."""
    with (run / "_serl" / "ledger.jsonl").open("a") as file:
        file.writelines(json.dumps(group) + "\n" for group in groups)
    with (run / "_serl" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, **(metrics or {})}) + "\n")
    return (prepare_model(run).folder / "README.md").read_text()


def test_the_label_accuracy_is_that_of_the_groups_that_could_train(tmp_path):
    fates = [(True, True), (False, True), (None, True), *[(True, False)] * 5]
    groups = [group_of(n, right=right, keep=keep) for n, (right, keep) in enumerate(fates)]

    card = with_groups(make_run(tmp_path / "a"), groups, metrics={"serl/label_accuracy": 0.976})

    assert (
        "2 of 3 kept groups have a majority answer and a known gold answer; 50.0% of these "
        "majority answers are right. Of the others it is not known,"
    ) in card
    assert "97.6" not in card


def test_without_gold_the_labels_are_judged_by_the_probe_set(tmp_path):
    ends = {"estimate": 0.8, "low": 0.7, "high": 0.9}
    metrics = {f"serl/kept_label_accuracy_{name}": value for name, value in ends.items()}

    card = with_groups(make_run(tmp_path / "a"), [group_of(0, right=None)], metrics=metrics)

    assert "No gold answer is recorded for the kept groups" in card
    assert "about 80.0% before step 4 (95 % interval 70.0% to 90.0%)" in card


def test_metadata_of_the_data_set_says_only_what_is_known(tmp_path):
    unknown = prepare_dataset(make_run(tmp_path / "a")).folder / "README.md"
    data = DatasetCard(unknown.read_text()).data.to_dict()
    assert not {"language", "source_datasets", "license"} & set(data)

    run = make_run(tmp_path / "b", facts=RunFacts("run1", seed_source="ann/seeds", num_seeds=3))
    (run / "_serl" / "config.yaml").write_text("proposal_filters: default\n")
    data = DatasetCard((prepare_dataset(run).folder / "README.md").read_text()).data.to_dict()
    assert (data["language"], data["source_datasets"]) == (["en"], ["ann/seeds"])


def test_a_local_base_is_called_one_and_nothing_is_said_to_be_known(tmp_path):
    card = (prepare_model(make_run(tmp_path / "mine")).folder / "README.md").read_text()

    assert "trained from a local folder" in card
    assert "was not measured against gold answers" in card
    assert "None" not in card
    assert str(tmp_path) not in card


def test_a_comparison_by_serl_eval_is_shown(tmp_path):
    run = make_run(tmp_path / "mine")
    folder = tmp_path / "eval"
    folder.mkdir()
    entry = {"settings": {"model": {"name": str(run)}, "num_samples": 8, "temperature": 0.6}}
    (folder / "summary.json").write_text(json.dumps({"benchmarks": {"gsm8k": entry}}))
    gap = {"mean": 0.25, "low": 0.125, "high": 0.375}
    found = {
        "num_problems": 1319,
        "differences": {"pass@1": {"base": 0.5, "trained": 0.75, "difference": gap}},
    }
    compared = {"base": str(tmp_path / "base"), "trained": str(run), "benchmarks": {"gsm8k": found}}
    (folder / "comparison.json").write_text(json.dumps(compared))

    card = (prepare_model(run, evaluation=folder).folder / "README.md").read_text()

    figures = "8 at temperature 0.6 | `pass@1` | 0.500 | 0.750 | +0.250 [+0.125, +0.375] |"
    assert f"| `gsm8k` | 1,319 | {figures}" in card
    assert str(tmp_path) not in card


def test_the_data_set_card_counts_and_warns(tmp_path):
    card = DatasetCard(
        (prepare_dataset(make_run(tmp_path / "mine")).folder / "README.md").read_text()
    )

    assert card.data.annotations_creators == ["machine-generated"]
    assert "| `accepted` | 4 |" in card.text
    assert "| `rouge_l` | proposal | 4 |" in card.text
    assert "No answer in here was checked by anyone" in card.text
    assert "nothing was compared" in card.text
    assert all(f"| `{column}` |" in card.text for column in COLUMNS)


@pytest.mark.parametrize(
    ("front", "found"),
    [
        ("license: mit", "mit"),
        ("license: <script>", None),
        ("license: [a, b]", None),
        ("x: [", None),
        ("language: en", None),
    ],
)
def test_licences_are_read_from_cards(front, found):
    assert read_license(f"---\n{front}\n---\n# Base\n") == found
