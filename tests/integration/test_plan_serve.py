"""`serl plan` and `serl serve`: what they print, what they refuse, and the server's command."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from serl_trl.cli.commands.serve import host_warning
from serl_trl.cli.entry import main

BASE = {"model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct", "seed_set": "sandbox"}
ZERO3 = Path(__file__).parents[2] / "configs" / "accelerate" / "zero3.yaml"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(**values) -> str:
    Path("run.yaml").write_text(yaml.safe_dump({**BASE, **values}))
    return "run.yaml"


def plan(*flags: str, **values) -> dict:
    assert main(["plan", "--config", config(**values), "--json", "out.json", *flags]) == 0
    return json.loads(Path("out.json").read_text())


# Plan.


def test_a_plan_says_whether_it_fits_and_what_to_turn(capsys):
    found = plan("--gpu", "12gb")

    assert found["fits"] is False
    assert found["knobs"][-1]["fits"]
    printed = capsys.readouterr().out
    assert "no: 19.3 of 11.2 GiB of 12gb" in printed
    assert "GiB, fits\n" in printed
    found = plan("--gpu", "24gb")
    assert (found["fits"], found["verdict"]) == (True, "tight")
    assert "tight: 19.3 of 22.4 GiB of 24gb; the estimate may err by a quarter" in (
        capsys.readouterr().out
    )
    assert plan("--gpu", "40gb")["verdict"] == "yes"


def test_a_plan_names_the_price_of_signals_that_ask_the_model(capsys):
    free = plan("--gpu", "24gb", "--validity", "careful")
    asking = plan("--gpu", "24gb", "--validity", "abstention(num=4)")

    assert (free["asked_per_question"], asking["asked_per_question"]) == (0, 4)
    assert asking["asked_per_step"] == 4 * asking["prompts_per_step"]
    more = asking["max_sampled_tokens_per_step"] - free["max_sampled_tokens_per_step"]
    assert more == asking["asked_per_step"] * 1024
    assert "asks 4 completions about each question that is kept" in capsys.readouterr().out


def test_without_a_gpu_the_verdict_is_unknown(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    assert plan()["fits"] is None
    assert "unknown: no GPU was found; name one with --gpu 24gb" in capsys.readouterr().out


def test_a_plan_takes_gpus_and_sharding_from_the_accelerate_config():
    found = plan("--accelerate_config", str(ZERO3))
    assert (found["num_gpus"], found["sharding"]) == (8, "zero3")
    assert found["rollouts_per_step"] == 8 * 256

    assert plan("--accelerate_config", str(ZERO3), "--num_gpus", "2")["num_gpus"] == 2


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        (
            {"deepspeed_config": {"zero_stage": 3, "offload_optimizer_device": "cpu"}},
            ["offload_optimizer_device: what is moved to the CPU"],
        ),
        ({"fsdp_config": {"fsdp_offload_params": True}}, ["fsdp_offload_params: what is moved"]),
        ({"deepspeed_config": {"deepspeed_config_file": "x"}}, ["deepspeed_config_file: is not"]),
        ({"deepspeed_config": {"zero_stage": 2, "offload_param_device": "none"}}, []),
    ],
)
def test_a_plan_says_what_of_the_accelerate_config_it_does_not_count(launch, words):
    base = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "NO", "num_processes": 2}
    Path("launch.yaml").write_text(yaml.safe_dump({**base, **launch}))

    found = plan("--accelerate_config", "launch.yaml")["skipped"]

    moved = [line for line in found if "CPU" in line or "deepspeed" in line]
    assert [line.startswith(start) for line, start in zip(moved, words, strict=True)] == (
        [True] * len(words)
    )


def test_time_follows_from_the_tokens_per_second(capsys):
    speeds = ("--tokens_per_s", "1000", "--update_tokens_per_s", "2000")
    found = plan(*speeds, "--validity", "careful")

    sampling, updating = found["step_s"]["sampling"], found["step_s"]["updating"]
    assert sampling == found["max_sampled_tokens_per_step"] / 1000
    assert updating == found["max_trained_tokens_per_step"] / 2000
    assert found["run_h"] == pytest.approx((sampling + updating) * found["num_steps"] / 3600)
    assert "sampling 541 s, updating 209 s" in capsys.readouterr().out
    plan()
    assert "unknown: give --tokens_per_s" in capsys.readouterr().out


def test_a_folder_is_planned_by_its_own_config(tiny_model):
    found = plan(model_name_or_path=tiny_model)

    assert found["num_parameters"] == 300 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 32
    assert plan(model_name_or_path="sandbox")["num_parameters"] > 1e6


def test_what_needs_the_hub_is_named():
    found = plan(seed_set="nobody/no-such-set", probe_set="sandbox")

    assert [line.split(":")[0] for line in found["skipped"]] == ["tokenizer", "seed_set"]


@pytest.mark.parametrize(
    ("flags", "values", "message"),
    [
        (["--gpu", "big"], {}, "gpu=big is unknown; give a size such as 24gb"),
        (["--num_gpus", "0"], {}, "num_gpus=0 must be at least 1"),
        (["--kept_ratio", "0"], {}, "kept_ratio=0 must be at least 0.001 and at most 1"),
        (["--accelerate_config", "x.yaml"], {}, "accelerate_config=x.yaml cannot be read"),
        (["--num_gpus", "3"], {"gradient_accumulation_steps": 1, "num_generations": 32},
         "16 x gradient_accumulation_steps=1 x 3 process(es) = 48 rollouts"),
        ([], {"model_name_or_path": "nobody/no-such-model"}, "Sizes that need no Hub: Qwen/"),
        ([], {"load_in_4bit": True}, "QLoRA needs use_peft: true"),
    ],
)  # fmt: skip
def test_plans_of_nothing_are_refused(flags, values, message, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    assert main(["plan", "--config", config(**values), *flags]) == 2
    assert message in capsys.readouterr().err


# Serve.


def served(*flags: str, **values) -> list[str]:
    argv = ["--config", config(**values), "--dry_run", "true", "--json", "out.json", *flags]
    assert main(["serve", *argv]) == 0
    return json.loads(Path("out.json").read_text())["command"]


def test_the_server_gets_what_the_run_needs(capsys):
    command = served(
        use_vllm=True,
        vllm_mode="server",
        dtype="bfloat16",
        vllm_max_model_length=4096,
        vllm_tensor_parallel_size=2,
        vllm_server_port=8123,
        model_revision="abc",
    )
    given = dict(pairwise(command))

    assert given["serve"] == BASE["model_name_or_path"]
    assert given["--host"] == "127.0.0.1"
    assert given["--port"] == "8123"
    assert given["--revision"] == "abc"
    assert given["--dtype"] == "bfloat16"
    assert given["--max-model-len"] == "4096"
    assert given["--tensor-parallel-size"] == "2"
    assert given["--logprobs-mode"] == "processed_logprobs"
    assert "--trust-remote-code" not in command
    printed = capsys.readouterr().out
    assert printed.startswith("VLLM_SERVER_DEV_MODE=1 vllm serve Qwen/Qwen2.5-0.5B-Instruct ")
    assert "will not ask" not in printed


def test_flags_of_the_server_beat_the_config():
    command = served("--port", "9000", "--gpu_memory_utilization", "0.5", vllm_server_port=8123)
    given = dict(pairwise(command))

    assert (given["--port"], given["--gpu-memory-utilization"]) == ("9000", "0.5")
    assert given["--dtype"] == "auto"
    by_url = served(vllm_server_base_url="http://127.0.0.1:8200")
    assert dict(pairwise(by_url))["--port"] == "8200"


def test_a_run_that_would_not_ask_the_server_is_warned_of(capsys):
    served()

    assert "the run will not ask this server" in capsys.readouterr().out


def test_any_address_but_the_loopback_is_warned_of(capsys):
    served("--host", "0.0.0.0")

    assert "replace its weights; there is no password" in capsys.readouterr().out
    assert not host_warning("127.0.0.1")
    assert not host_warning("localhost")
    assert not host_warning("::1")
    assert host_warning("gpu-node-3")


def test_without_vllm_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    assert main(["serve", "--config", config()]) == 2
    assert "pip install 'serl-trl[vllm]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "0"], "port=0 must be at least 1 and at most 65535"),
        (
            ["--gpu_memory_utilization", "1.5"],
            "gpu_memory_utilization=1.5 must be at least 0.01 and at most 1",
        ),
    ],
)
def test_numbers_of_the_server_are_checked(flags, message, capsys):
    assert main(["serve", "--config", config(), "--dry_run", "true", *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://a:99999", "http://[bad"])
def test_an_address_that_is_none_is_named(capsys, url):
    assert main(["serve", "--config", config(vllm_server_base_url=url), "--dry_run"]) == 2
    assert "is not an address" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["{", "!!python/object/apply:os.system [true]", "num_processes: x\ndeepspeed_config: [1]"],
)
def test_a_damaged_file_of_accelerate_is_one_sentence(capsys, tmp_path, text):
    file = tmp_path / "launch.yaml"
    file.write_text(text)
    assert main(["plan", "--config", config(), "--accelerate_config", str(file)]) == 2
    said = capsys.readouterr().err
    assert "accelerate_config=" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_dir", "a\0b"),
        ("output_dir", "x" * 5000),
        ("resume", "x" * 300),
        ("model_name_or_path", "x" * 6000),
    ],
)
def test_a_text_that_is_no_path_is_one_sentence(capsys, name, value):
    assert main(["check", "--config", config(**{name: value})]) == 2
    said = capsys.readouterr().err
    assert name in said and "Traceback" not in said
