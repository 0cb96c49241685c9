"""A run that is pushed: what it leaves, what arrives, and that no token is in any of it."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM

from serl_trl import sandbox
from serl_trl.cli import entry as cli
from serl_trl.cli.commands import push_dataset
from serl_trl.common.files import read_lines
from serl_trl.sandbox import load_model, load_tokenizer, seed_set
from serl_trl.share.dataset import COLUMNS
from serl_trl.share.hub import prepare_dataset
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.processes import run_to_end

SMALL = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "num_requests": 2,
    "beta": 0.0,
    # What the gate asks has tests of its own.
    "validity": "careful",
    "difficulty_low": 0.3,
    "difficulty_high": 1.0,
    "max_completion_length": 48,
    "proposer_max_tokens": 128,
    "max_steps": 1,
    "save_steps": 1,
}
# Found by nobody but who looks for it.
TOKEN = "hf_canaryCanaryCanaryCanaryCanary1234"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> SeRLTrainer:
    """A trained run, with a token in every place a user could put one."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"):
            patch.setenv(name, TOKEN)
        args = SeRLConfig(output_dir=str(folder), push_to_hub=True, **SMALL)
        args.hub_token = TOKEN
        assert TOKEN not in repr(args)
        trainer = SeRLTrainer(load_model(), args, seed_set(), processing_class=load_tokenizer())
        trainer.train()
        trainer.save_model()
    (folder / "notes.txt").write_text("mine")
    return trainer


def test_a_pushed_run_leaves_no_token_and_sends_only_what_is_on_the_list(
    trained, fake_hub, tmp_path
):
    address = trained.push_to_hub("A first try")

    folder = Path(trained.args.output_dir)
    assert address == f"{fake_hub.url}/ann/mine"
    assert fake_hub.private == {"model/ann/mine": True}
    files = fake_hub.repos["model/ann/mine"]
    assert {"README.md", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert not [name for name in files if "checkpoint" in name or name.endswith((".bin", ".txt"))]
    card = files["README.md"].decode()
    assert "64 instructions" in card
    assert "| `num_generations` | `4` |" in card
    holding = [
        path for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
    assert (folder / "checkpoint-1" / "training_args.bin").is_file()
    assert holding == []
    for canary in (TOKEN, str(folder.parent), "notes.txt"):
        assert not [body for body in fake_hub.bodies if canary.encode() in body]
    # What arrived is the model.
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.config.vocab_size == trained.model.config.vocab_size


def test_the_data_set_reads_back_with_all_columns_and_counts(trained, fake_hub, tmp_path):
    from datasets import load_dataset

    folder = Path(trained.args.output_dir)
    trained.ledger.flush()
    ready = prepare_dataset(folder)
    read = load_dataset(str(ready.folder), cache_dir=str(tmp_path))

    records = read_lines(folder / "_serl" / "ledger.jsonl")
    proposals = [record for record in records if record["type"] == "proposal"]
    kept = [record["text"] for record in proposals if record["keep"]]
    assert read["accepted"]["instruction"] == kept
    assert sum(read.num_rows.values()) == len(proposals)
    assert read["accepted"].column_names == list(COLUMNS)
    groups = [record for record in records if record["type"] == "group"]
    assert sum(read["accepted"]["rolled_out"]) == len(groups)
    run_id = json.loads((folder / "_serl" / "run.json").read_text())["run_id"]
    assert read["accepted"][0]["policy_revision"] == f"{run_id}@0"
    assert push_dataset.run([str(folder)], cli.Console(quiet=True)) == 0
    assert "data/accepted-00000-of-00001.parquet" in fake_hub.repos["dataset/ann/mine-instructions"]


def test_a_push_that_fails_does_not_fail_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    content = yaml.safe_load(sandbox.CONFIG_PATH.read_text())
    more = {"output_dir": "runs/x", "probe_steps": 0, "save_strategy": "no", "push_to_hub": True}
    Path("run.yaml").write_text(yaml.safe_dump({**content, **SMALL, **more}))

    with caplog.at_level(logging.ERROR):
        assert cli.main(["train", "--config", "run.yaml", "--json", "out.json"]) == 0

    assert caplog.text.count("HF_HUB_OFFLINE is set") == 1
    assert "push it later with: serl push runs/x" in caplog.text
    assert Path("runs/x/model.safetensors").is_file()
    assert Path("runs/x/_serl/finished.json").is_file()
    card = Path("runs/x/README.md").read_text()
    assert "trained from a local folder" in card
    assert str(tmp_path) not in card
    assert "sandbox seeds" in card


def test_a_finished_run_makes_up_for_the_push_that_failed_and_then_changes_nothing(
    tmp_path, monkeypatch, capfd, request
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    content = yaml.safe_load(sandbox.CONFIG_PATH.read_text())
    more = {"output_dir": "mine", "probe_steps": 0, "save_strategy": "no", "push_to_hub": True}
    Path("run.yaml").write_text(yaml.safe_dump({**content, **SMALL, **more}))
    command = ["train", "--config", "run.yaml", "--resume", "auto"]
    assert cli.main(command) == 0
    weights = Path("mine/model.safetensors").read_bytes()
    metrics = Path("mine/_serl/metrics.jsonl").read_bytes()
    hub = request.getfixturevalue("fake_hub")

    assert cli.main(command) == 0
    assert "model.safetensors" in hub.repos["model/ann/mine"]
    num_calls = len(hub.bodies)
    first = capfd.readouterr()
    assert cli.main(command) == 0

    second = capfd.readouterr()
    assert "is finished; nothing was changed" in second.out
    assert TOKEN not in "".join((*first, *second))
    files = [path for path in Path("mine").rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert len(hub.bodies) == num_calls
    assert Path("mine/model.safetensors").read_bytes() == weights
    assert Path("mine/_serl/metrics.jsonl").read_bytes() == metrics


# It takes as long as the other process lives.
SLOW_PUSH = """
import os, sys, time
from pathlib import Path
from serl_trl.cli import entry as cli
from serl_trl.share import hub

pids = Path(__file__).parent
(pids / os.environ["RANK"]).write_text(str(os.getpid()))


def slow(*args, **options):
    other = int((pids / "1").read_text())
    while is_running(other):
        time.sleep(0.05)
    return "https://hub.example/mine"


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


hub.push_model = slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_no_process_waits_for_a_push_which_may_outlast_ddp_timeout(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW_PUSH)
    content = yaml.safe_load(sandbox.CONFIG_PATH.read_text())
    more = {"probe_steps": 0, "save_strategy": "no", "push_to_hub": True}
    more |= {"output_dir": str(tmp_path / "mine"), "use_band": False, "sources": ["given"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**content, **SMALL, **more}))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = run_to_end(
        [*start, str(script), "train", "--config", str(tmp_path / "run.yaml")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_TOKEN": TOKEN},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert "pushed to https://hub.example/mine" in done.stderr
    assert json.loads((tmp_path / "mine/_serl/finished.json").read_text())["pushed"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hub_token": TOKEN}, "hub_token must not stand"),
        ({"model_init_kwargs": {"token": TOKEN}}, "model_init_kwargs holds a token"),
        ({"hub_strategy": "checkpoint"}, "hub_strategy=checkpoint must be end"),
    ],
)
def test_what_would_be_saved_or_published_by_mistake_is_refused(tmp_path, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        SeRLConfig(output_dir=str(tmp_path), **{**SMALL, **options})

    assert TOKEN not in str(caught.value)
