"""A run whose seeds are texts: trained, evaluated and resumed with the question around each."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from serl_trl.cli.entry import main
from serl_trl.common.files import read_lines
from serl_trl.train.config import SeRLConfig
from tests.integration.tiny import SAVING

# The built-in model's arithmetic, with the question taken out of the problem.
TEMPLATE = "{instruction} How many apples are there? Answer in \\boxed{}."
QUESTION = "How many apples are there?"
SEEDS = {f"Tom has {n} apples and buys {n + 3} more.": 2 * n + 3 for n in range(2, 10)}
PROBE = {f"A basket holds {n} of these, and Ann puts in one.": n + 1 for n in range(2, 6)}


@pytest.fixture
def config(tmp_path, monkeypatch) -> dict:
    """The options of a short run of texts, whose files lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, some in (("seeds", SEEDS), ("probe", PROBE)):
        rows = [json.dumps({"text": text, "answer": answer}) for text, answer in some.items()]
        Path(f"{name}.jsonl").write_text("\n".join(rows))
    return {
        **SAVING,
        "model_name_or_path": "sandbox",
        "seed_set": "seeds.jsonl",
        "probe_set": "probe.jsonl",
        "probe_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "per_device_eval_batch_size": 4,
        "sources": [{"few_shot": 0.5}, {"given": 0.5}],
        "use_band": False,
        "log_completions": True,
        "max_steps": 2,
        "output_dir": "run",
        "task_template": TEMPLATE,
        "answer_instruction": "",
    }


def run(command: str, config: dict, *flags: str) -> int:
    Path("run.yaml").write_text(yaml.safe_dump(config))
    return main([command, *(["run"] if command == "eval" else []), "--config", "run.yaml", *flags])


def test_a_run_of_texts_trains_evaluates_and_resumes_with_its_template(config, capsys):
    assert run("train", config) == 0
    ledger = read_lines(Path("run/_serl/ledger.jsonl"))
    texts = [line.get("text") or line.get("instruction") or "" for line in ledger]
    origins = {line["origin"].partition(":")[0] for line in ledger if line["type"] == "group"}
    assert origins == {"proposal", "seed"}
    assert not any("Answer in" in text for text in texts)
    seeds = [line for line in ledger if str(line.get("origin")).startswith("seed:")]
    assert {line["instruction"] for line in seeds} <= SEEDS.keys()
    files = sorted(Path("run/completions").glob("*.parquet"))
    prompts = [str(prompt) for file in files for prompt in pd.read_parquet(file)["prompt"]]
    assert prompts
    assert all(prompt.count(QUESTION) == 1 for prompt in prompts)
    assert "no_question" not in {line.get("reason") for line in ledger}

    flags = ["--benchmarks", "apples", "--benchmark_files", "apples=probe.jsonl"]
    assert run("eval", config, *flags, "--num_samples", "2", "--output_dir", "measured") == 0
    summary = json.loads(Path("measured/summary.json").read_text())["benchmarks"]["apples"]
    assert summary["settings"]["messages"][-1]["content"] == TEMPLATE.replace(
        "{instruction}", "..."
    )
    assert {
        line["instruction"] for line in read_lines(Path("measured/apples.jsonl"))
    } == PROBE.keys()

    capsys.readouterr()
    other = {**config, "task_template": TEMPLATE.replace("many", "few")}
    assert run("train", other, "--resume", "true", "--max_steps", "3") == 2
    assert "task_template" in capsys.readouterr().err


def test_a_wrong_template_ends_with_code_2_before_a_model_loads(config, capsys, monkeypatch):
    def without_weights(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", without_weights)
    for command in ("check", "train"):
        assert run(command, {**config, "task_template": "How many?"}) == 2
        assert "task_template must hold {instruction} exactly once" in capsys.readouterr().err


def test_the_proposer_is_asked_for_texts_where_nothing_else_was_chosen(tmp_path):
    made = [
        SeRLConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **options)
        for options in (
            {},
            {"task_template": TEMPLATE},
            {"task_template": TEMPLATE, "domain": "ads"},
        )
    ]
    assert [each.domain for each in made] == ["mathematics", "texts", "ads"]
    assert "teacher" in made[0].proposer_system
    assert made[1].style.fill(made[1].proposer_system).startswith("You write texts.")
    assert made[2].style.fill(made[2].proposer_request) == "A list of ads:"
    assert [list(each.not_applied) for each in made] == [["proposer_presence_penalty=2"]] * 3
    own = SeRLConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        task_template=TEMPLATE,
        proposer_system="More of these.",
        answer_instruction="Be brief.",
    )
    assert own.proposer_system == "More of these."
    assert own.not_applied["answer_instruction"] == "task_template is the whole message"
