"""The shipped configs: what their headers say, what they mean, and two steps on tiny models."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from serl_trl.cli.build import build_trainer
from serl_trl.cli.entry import main
from serl_trl.cli.inputs import load_inputs
from serl_trl.cli.parser import SeRLParser
from serl_trl.common.files import read_lines
from serl_trl.plan.shapes import SHAPES, ModelShape, shape_of_config
from serl_trl.train.config import PRESETS

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
NAMES = [
    "chemistry_free_1gpu_24gb",
    "german_1gpu_24gb",
    "llama3.2_3b_8gpu_paper",
    "medicine_choice_1gpu_24gb",
    "qwen2.5_0.5b_1gpu_24gb",
    "qwen2.5_3b_qlora_16gb",
    "qwen2.5_7b_8gpu_paper",
    "qwen3_4b_lora_1gpu_80gb",
    "sentiment_1gpu_24gb",
]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def text_of(name: str) -> str:
    return (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")


def values_of(name: str) -> dict[str, Any]:
    return yaml.safe_load(text_of(name))


def header_of(name: str) -> str:
    lines = text_of(name).splitlines()
    header = [line for line in lines if line.startswith("#")]
    return "\n".join(header).replace("\\\n#", "")


def plan_flags(name: str) -> list[str]:
    """Return the flags of the `serl plan` line in the header."""
    (line,) = re.findall(r"serl plan (.+)", header_of(name))
    return line.split()


def hinted_flags(name: str) -> list[str]:
    """Return the flags that the header offers for vLLM, if it does."""
    return [
        flag
        for line in re.findall(r"with vLLM .*: (--.+)", header_of(name))
        for flag in line.split()
    ]


def test_all_presets_are_covered_here():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {
        *NAMES,
        "sandbox_cpu",
        "sandbox_hard_cpu",
        "sentiment_cpu",
    }


# What they say.


@pytest.mark.parametrize("name", NAMES)
def test_a_header_names_model_gpu_memory_and_what_is_reproduced(name, tmp_path):
    header = header_of(name)
    (peak,) = re.findall(r"Memory: ([\d.]+) GiB per GPU, estimated, not measured", header)

    assert main(["plan", *plan_flags(name), "--json", str(tmp_path / "plan.json")]) == 0

    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["fits"], name
    assert f"{found['peak_gib']:.1f}" == peak
    assert found["rollouts_per_step"] == 256
    assert found["notes"] == []
    assert values_of(name)["model_name_or_path"].split("/")[1] in " ".join(header.split())
    assert re.search(r"\d+ GB", header.replace("\n#", ""))
    assert "Reproduces: " in header
    assert f"--config configs/{name}.yaml" in header


@pytest.mark.parametrize("name", [name for name in NAMES if hinted_flags(name)])
def test_what_a_header_offers_fits_too(name, tmp_path):
    found = tmp_path / "plan.json"

    assert main(["plan", *plan_flags(name), *hinted_flags(name), "--json", str(found)]) == 0

    report = json.loads(found.read_text())
    assert (report["verdict"], report["notes"]) == ("yes", [])


def test_the_half_billion_model_is_offered_vllm():
    assert "--use_vllm" in hinted_flags("qwen2.5_0.5b_1gpu_24gb")


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_lists_only_what_differs(name):
    values = values_of(name)
    defaults = SeRLParser()._with_defaults(PRESETS.get(values.get("preset"), {}))

    assert not [key for key, value in values.items() if defaults[key] == value]


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_checked_offline(name, tmp_path, capsys):
    found = tmp_path / "check.json"
    argv = ["--config", f"configs/{name}.yaml", "--output_dir", str(tmp_path / "run")]

    assert main(["check", *argv, "--json", str(found)]) == 0

    report = json.loads(found.read_text())
    known = SHAPES[values_of(name)["model_name_or_path"]].context
    assert report["model_context_tokens"] == values_of(name).get("vllm_max_model_length", known)
    skipped = {line.split(":")[0] for line in report["skipped"]}
    assert "tokenizer" in skipped
    assert skipped <= {"tokenizer", "seed_set", "probe_set"}
    assert "bf16" in " ".join(report["missing_here"])
    assert "this machine cannot run it" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["chemistry_free", "german", "medicine_choice"])
def test_example_seeds_are_enough_for_a_request_and_all_different(name):
    rows = [json.loads(line) for line in (CONFIGS / "seeds" / f"{name}.jsonl").open()]
    texts = [row["question"] for row in rows]

    assert len(set(texts)) == len(texts) >= 16
    if name == "medicine_choice":
        assert all(re.search(r"\(A\) .+ \(B\) .+ \(C\) .+ \(D\) .+", text) for text in texts)


# What they do: two steps on a tiny random model of the same class.


def tiny_copy(shape: ModelShape, source: str, folder: Path) -> str:
    """Write a random model of the class of `shape` with the tokenizer of `source`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(source, folder)
    (folder / "model.safetensors").unlink()
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "head_dim": 8}
    config = AutoConfig.for_model(
        shape.model_type,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=shape.tied_embeddings,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=None,
        **sizes,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_trains_two_steps_on_a_tiny_model_of_its_class(name, tiny_model, tmp_path):
    values = values_of(name)
    shape = SHAPES[values["model_name_or_path"]]
    seeds = tmp_path / "seeds.jsonl"
    lines = [json.dumps({"problem": f"What is {i} plus {i + 3}?"}) + "\n" for i in range(16)]
    seeds.write_text("".join(lines))
    # What needs the Hub or a GPU is replaced. A random model writes no list and agrees on nothing:
    # it gets the seeds as prompts, and a coin as reward.
    small = {
        "model_name_or_path": tiny_copy(shape, tiny_model, tmp_path / "model"),
        "output_dir": str(tmp_path / "run"),
        "seed_set": str(beside if (beside := CONFIGS / values["seed_set"]).exists() else seeds),
        "seed_split": "train",
        "probe_set": None,
        "probe_steps": 0,
        "use_cpu": True,
        "bf16": False,
        "dtype": "float32",
        "load_in_4bit": False,
        "use_vllm": False,
        "sources": ["given"],
        "label_reward": "random",
        "use_band": False,
        "num_generations": 4,
        "max_steps": 2,
        "max_completion_length": 8,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 1 if "steps_per_generation" in values else None,
        "learning_rate": 1e-3,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
    }
    config = tmp_path / "run.yaml"
    content = {k: v for k, v in {**values, **small}.items() if v is not None}
    config.write_text(yaml.safe_dump(content))
    args = SeRLParser().parse(["--config", str(config)])
    trainer = build_trainer(args, load_inputs(args))
    before = {
        key: value.detach().clone()
        for key, value in trainer.model.named_parameters()
        if value.requires_grad
    }

    trainer.train()

    assert trainer.state.global_step == 2
    assert type(trainer.accelerator.unwrap_model(trainer.model)).__name__ == (
        "PeftModelForCausalLM" if values.get("use_peft") else CLASSES[shape.model_type]
    )
    after = dict(trainer.model.named_parameters())
    assert any(not value.equal(after[key]) for key, value in before.items())
    groups = list(read_lines(tmp_path / "run" / "_serl" / "ledger.jsonl"))
    assert groups
    trainer.accelerator.end_training()


CLASSES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
}


# Sizes, against transformers.


@pytest.mark.parametrize("name", SHAPES)
def test_the_table_counts_what_transformers_builds(name):
    from transformers import AutoConfig

    shape = SHAPES[name]
    config = AutoConfig.for_model(
        shape.model_type,
        num_hidden_layers=shape.num_layers,
        hidden_size=shape.hidden_size,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_size,
        intermediate_size=shape.intermediate_size,
        vocab_size=shape.vocab_size,
        tie_word_embeddings=shape.tied_embeddings,
        max_position_embeddings=shape.context,
    )

    assert shape_of_config(config) == shape


def test_a_config_that_is_no_decoder_is_refused():
    from transformers import AutoConfig

    with pytest.raises(ValueError, match="model_type=resnet"):
        shape_of_config(AutoConfig.for_model("resnet"))


# Files for accelerate launch.


LAUNCHES = {
    "1gpu": ("NO", 1, None),
    "8gpu": ("MULTI_GPU", 8, None),
    "cpu2": ("MULTI_GPU", 2, None),
    "fsdp2": ("FSDP", 8, 2),
    "zero2": ("DEEPSPEED", 8, 2),
    "zero3": ("DEEPSPEED", 8, 3),
}


def test_all_launch_files_are_covered_here():
    assert {path.stem for path in (CONFIGS / "accelerate").glob("*.yaml")} == LAUNCHES.keys()


@pytest.mark.parametrize("name", LAUNCHES)
def test_accelerate_reads_its_configs(name):
    kind, processes, sharding = LAUNCHES[name]

    found = load_config_from_file(str(CONFIGS / "accelerate" / f"{name}.yaml"))

    assert (found.distributed_type, found.num_processes, found.num_machines) == (kind, processes, 1)
    assert found.mixed_precision == ("no" if name == "cpu2" else "bf16")
    assert (found.deepspeed_config or {}).get("zero_stage") == (
        sharding if kind == "DEEPSPEED" else None
    )
    assert (found.fsdp_config or {}).get("fsdp_version") == (sharding if kind == "FSDP" else None)
