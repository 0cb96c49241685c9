"""What leaves the machine: an allow-list, no path of this machine, no secret."""

import json
from pathlib import Path

import pytest

from serl_trl.common.folder import FolderError
from serl_trl.runs.facts import RunFacts, is_machine_path, public_name, without_paths
from serl_trl.share.published import (
    ReleaseError,
    check_secrets,
    find_run,
    known_secrets,
    stage_model,
    stage_results,
)


def make_run(folder: Path, *names: str) -> Path:
    (folder / "_serl").mkdir(parents=True)
    for name in names or ("model.safetensors", "config.json", "tokenizer.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def stage(folder: Path, target: Path, facts: RunFacts | None = None):
    target.mkdir(exist_ok=True)
    return stage_model(find_run(folder), target, facts or RunFacts("r"))


def test_only_what_is_on_the_list_goes(tmp_path):
    others = ("training_args.bin", "notes.txt", ".env", "model.safetensors.bak", "optimizer.pt")
    run = make_run(
        tmp_path / "run", "model.safetensors", "config.json", "chat_template.jinja", *others
    )
    (run / "completions").mkdir()
    (run / "latest").symlink_to("/etc/hostname")

    released = stage(run, tmp_path / "out")

    assert released.files == ("chat_template.jinja", "config.json", "model.safetensors")
    assert set(released.left) == {*others, "completions/", "_serl/", "latest"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(released.files)


@pytest.mark.parametrize("name", ["vocab.json", "model.safetensors", "config.json"])
def test_a_link_in_what_is_pushed_is_refused(tmp_path, name):
    run = make_run(tmp_path / "run")
    (tmp_path / "private").write_text("{}")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / "private")

    with pytest.raises(FolderError, match=f"{name} is a link"):
        stage(run, tmp_path / "out")


def test_a_checkpoint_that_is_a_link_is_refused(tmp_path):
    run = make_run(tmp_path / "run")
    other = make_run(tmp_path / "other")
    (run / "checkpoint-1").symlink_to(other)
    (other / "_serl").rmdir()

    with pytest.raises(FolderError, match="checkpoint-1 is a link"):
        find_run(run / "checkpoint-1")


def test_a_checkpoint_can_be_pushed_and_its_run_is_found(tmp_path):
    run = make_run(tmp_path / "run", "checkpoint-3/model.safetensors", "checkpoint-3/optimizer.pt")

    released = stage(run / "checkpoint-3", tmp_path / "out")

    assert released.files == ("model.safetensors",)
    found = find_run(run / "checkpoint-3")
    assert (found.name, found.checkpoint, find_run(run).checkpoint) == ("run", 3, None)
    (run / "best").mkdir()
    with pytest.raises(ReleaseError, match="or a checkpoint in it"):
        find_run(run / "best")


def test_missing_weights_are_refused_with_a_way_out(tmp_path):
    run = make_run(tmp_path / "run", "config.json", "checkpoint-9/a", "checkpoint-10/a")

    with pytest.raises(ReleaseError, match=r"holds no weights .*checkpoint-10\."):
        stage(run, tmp_path / "out")


@pytest.mark.parametrize("shard", ["model-00002-of-00002.safetensors", "../secret", "notes.txt"])
def test_every_shard_of_the_index_must_be_there(tmp_path, shard):
    run = make_run(tmp_path / "run", "model-00001-of-00002.safetensors", "notes.txt")
    (tmp_path / "secret").write_text("x")
    shards = {"a": "model-00001-of-00002.safetensors", "b": shard}
    (run / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))

    with pytest.raises(ReleaseError, match="lacks 1 of 2 weight files"):
        stage(run, tmp_path / "out")


def test_a_folder_that_no_run_wrote_is_refused(tmp_path):
    with pytest.raises(ReleaseError, match="no run wrote it"):
        find_run(tmp_path)


def test_an_adapter_names_its_base_and_revision_but_no_path(tmp_path):
    run = make_run(tmp_path / "run", "adapter_model.safetensors")
    named = {"base_model_name_or_path": str(tmp_path), "revision": None, "r": 8}
    (run / "adapter_config.json").write_text(json.dumps(named))

    stage(run, tmp_path / "out")
    local = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    stage(run, tmp_path / "hub", RunFacts("r", base="ann/base", base_revision="abc"))
    hub = json.loads((tmp_path / "hub" / "adapter_config.json").read_text())

    assert local == {"base_model_name_or_path": None, "revision": None, "r": 8}
    assert hub == {"base_model_name_or_path": "ann/base", "revision": "abc", "r": 8}


def test_settings_lose_the_paths_of_this_machine(tmp_path):
    run = make_run(tmp_path / "run")
    noted = {"_name_or_path": "/home/ann/base", "vocab_file": "/home/ann/v.txt", "dtype": "float32"}
    (run / "config.json").write_text(json.dumps(noted))

    stage(run, tmp_path / "out")

    text = (tmp_path / "out" / "config.json").read_text()
    assert "ann" not in text
    assert json.loads(text)["dtype"] == "float32"


def test_a_secret_of_this_shell_stops_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    run = make_run(tmp_path / "run")
    (run / "tokenizer.json").write_text('{"note": "0123456789abcdef"}')
    stage(run, tmp_path / "out")

    with pytest.raises(ReleaseError, match=r"tokenizer\.json holds a secret") as caught:
        check_secrets(tmp_path / "out", known_secrets(None))

    assert "0123456789abcdef" not in str(caught.value)


def write_evaluation(folder: Path, model: Path, result: str) -> Path:
    (folder / ".eval_results").mkdir(parents=True)
    entry = {"settings": {"model": {"name": str(model)}}}
    (folder / "summary.json").write_text(json.dumps({"benchmarks": {"gsm8k": entry}}))
    (folder / ".eval_results" / "gsm8k.yaml").write_text(result)
    return folder


RESULT = "- dataset: {id: openai/gsm8k, task_id: gsm8k}\n  value: 12.5\n"


def test_evaluation_results_go_along_when_they_are_of_this_model(tmp_path):
    run = make_run(tmp_path / "run")
    found = find_run(run)
    mine = write_evaluation(tmp_path / "mine", run, RESULT)
    (tmp_path / "out").mkdir()

    stage_results(mine, found, tmp_path / "out")

    assert (tmp_path / "out" / ".eval_results" / "gsm8k.yaml").read_text() == RESULT
    other = write_evaluation(tmp_path / "other", tmp_path, RESULT)
    broken = write_evaluation(tmp_path / "broken", run, "- value: 3\n")
    for folder, why in (
        (other, "not of what is pushed"),
        (broken, "not an evaluation-result file"),
    ):
        with pytest.raises(ReleaseError, match=why):
            stage_results(folder, found, tmp_path / "out")
    with pytest.raises(ReleaseError, match="was not written by serl eval"):
        stage_results(tmp_path, found, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("/home/ann/x", True),
        ("~/x", True),
        ("./x", True),
        ("C:\\x", True),
        ("file:///x", True),
        ("ann/model", False),
        ("3/4", False),
        ("arithmetic", False),
    ],
)
def test_paths_of_the_machine_are_known(text, local):
    assert is_machine_path(text) is local
    assert without_paths({"a": [text]}) == {"a": ["(a local path)" if local else text]}


def test_only_hub_ids_and_built_in_sets_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("")

    names = ("openai/gsm8k", "sandbox seeds", "seeds.jsonl", "data/mine", "/data/x", "seed_set")
    assert [public_name(name) for name in names] == ["openai/gsm8k", "sandbox seeds", *[None] * 4]
