"""A value means the same as a flag, in YAML and in Python, for every option there is."""

import json
import warnings
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import pytest
import yaml
from trl import ModelConfig

from serl_trl.cli.parser import SeRLConfigError, SeRLParser
from serl_trl.cli.trl_rewards import trl_rewards
from serl_trl.common.option_values import alternatives, convert, item_kinds, read_words
from serl_trl.labels.trl_reward import find_reward
from serl_trl.train.config import SeRLConfig
from serl_trl.train.run_arguments import RunArguments

PARSER = SeRLParser(prog="serl")
OPTIONS = PARSER._options
BASE = {"model_name_or_path": "sandbox", "seed_set": "sandbox", "use_cpu": True, "bf16": False}
# What cannot be typical for its type alone.
TYPICAL = {
    "accelerator_config": {"split_batches": False, "dispatch_batches": None},
    "adam_beta1": 0.8,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
    "bf16": False,
    "chat_template_kwargs": {"enable_thinking": False},
    "debug": "underflow_overflow",
    "difficulty_high": 0.9,
    "difficulty_low": 0.1,
    "eval_strategy": "no",
    "generation_batch_size": 512,
    "generation_kwargs": {"num_beams": 1, "length_penalty": 0.5},
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "hub_strategy": "end",
    "importance_sampling_level": "sequence",
    "include_for_metrics": ["loss", "inputs"],
    "include_num_input_tokens_seen": "all",
    "label_reward": "gold",
    "language": "de",
    "liger_kernel_config": {"rope": True},
    "lora_target_modules": ["q_proj", "v_proj"],
    "loss_type": "dr_grpo",
    "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
    "lr_scheduler_type": "cosine",
    "model_init_kwargs": {"low_cpu_mem_usage": True},
    "num_generations": 8,
    "optim": "sgd",
    "pad_to_multiple_of": 64,
    "report_to": ["tensorboard", "trackio"],
    "resume": "auto",
    "resume_from_checkpoint": "auto",
    "reward_funcs": ["accuracy_reward"],
    "reward_weights": [1.0, 0.5],
    "save_strategy": "epoch",
    "scale_rewards": False,
    "task_template": "{instruction} Good?",
    "trackio_static_space_id": False,
    "vllm_importance_sampling_mode": "token_mask",
    "vllm_mode": "server",
}
# No text stands for an object of a class, for TRL as little.
ONLY_PYTHON = {"parallelism_config"}
# A config may be somebody else's, so what runs code is said on the command line.
ONLY_A_FLAG = {"plugins", "trust_remote_code"}


def typical(name: str) -> Any:
    if name in TYPICAL:
        return TYPICAL[name]
    option = OPTIONS[name]
    kinds = alternatives(option.hint)
    if option.choices:
        return next(each for each in option.choices if each != option.default)
    if bool in kinds:
        return not option.default
    if int in kinds:
        return option.default + 1 if isinstance(option.default, int) else 2
    if float in kinds:
        return option.default / 2 if option.default else 0.5
    if item_kinds(kinds):
        return ["one", "two"]
    return "some text"


def as_words(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(each) for each in (value if isinstance(value, list) else [value])]


def read(argv: list[str]) -> dict[str, Any]:
    """Return the values before anything is built, whether they go together or not."""
    return PARSER._read(argv, lambda *_, **__: [])[0]


def in_file(values: dict[str, Any]) -> list[str]:
    Path("run.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return ["--config", "run.yaml"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - ONLY_PYTHON))
def test_a_flag_and_a_file_mean_what_python_means(name):
    value = typical(name)
    read_as = "resume_from_checkpoint" if name == "resume" else name

    flag = read([f"--{name}", *as_words(value)])
    file = flag if name in ONLY_A_FLAG else read(in_file({name: value}))

    assert repr(flag[read_as]) == repr(file[read_as]) == repr(value)
    if "_" in name:
        assert read([f"--{name.replace('_', '-')}", *as_words(value)]) == flag
    for type_ in (RunArguments, SeRLConfig, ModelConfig):
        if name in {item.name for item in fields(type_)} and name not in ("resume", "json"):
            assert built(type_, name, flag[read_as]) == built(type_, name, value)


def built(type_: Any, name: str, value: Any) -> str:
    """Return what the option is once its class is built, or why it cannot be here."""
    base = {"use_cpu": True, "bf16": False} if type_ is SeRLConfig else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return repr(getattr(type_(**{**base, name: value}), name))
        except (ValueError, ImportError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"


NULLABLE = [
    name
    for name, option in OPTIONS.items()
    if NoneType in alternatives(option.hint) and name != "report_to"
]


@pytest.mark.parametrize("name", NULLABLE)
def test_null_is_null_in_every_spelling(name):
    read_as = "resume_from_checkpoint" if name == "resume" else name
    for word in ("None", "none", "null"):
        assert read([f"--{name}", word])[read_as] is None
        assert read(in_file({name: word}))[read_as] is None
    assert read(in_file({name: None}))[read_as] is None


TRUTHS = [name for name, option in OPTIONS.items() if option.hint in (bool, bool | None)]


@pytest.mark.parametrize("name", TRUTHS)
def test_truth_values_are_read_as_trl_reads_them(name):
    for word, truth in {"True": True, "yes": True, "1": True, "false": False, "N": False}.items():
        assert read([f"--{name}", word])[name] is truth
    assert read([f"--{name}"])[name] is True
    if OPTIONS[name].default is True:
        assert read([f"--no_{name}"])[name] is False
        assert read([f"--no-{name.replace('_', '-')}"])[name] is False


MAPPINGS = [
    name
    for name, option in OPTIONS.items()
    if any(dict in (kind, get_origin(kind)) for kind in alternatives(option.hint))
]


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mapping_in_json_is_read_as_trl_reads_it(name):
    text = '{"a": "True", "b": "3", "c": "0.5", "d": {"e": "12"}, "f": "x1", "g": [1]}'
    expected = {"a": True, "b": 3, "c": 0.5, "d": {"e": 12}, "f": "x1", "g": [1]}

    assert read([f"--{name}", text])[name] == expected
    if name != "model_init_kwargs":  # which a file may not fill with anything
        assert read(in_file({name: text}))[name] == expected


@pytest.mark.parametrize(
    ("word", "scale"), [("False", "none"), ("True", "group"), ("batch", "batch")]
)
def test_scale_rewards_takes_what_trl_documents(word, scale):
    assert PARSER.parse([*in_file(BASE), "--scale_rewards", word]).config.scale_rewards == scale
    value = yaml.safe_load(word)
    assert PARSER.parse(in_file({**BASE, "scale_rewards": value})).config.scale_rewards == scale
    assert SeRLConfig(use_cpu=True, bf16=False, scale_rewards=value).scale_rewards == scale


def test_lists_take_one_item_and_whole_numbers():
    assert read(in_file({"reward_weights": [1, 0.5]}))["reward_weights"] == [1.0, 0.5]
    assert read(in_file({"reward_weights": 2}))["reward_weights"] == [2.0]
    assert read(["--report_to", "tensorboard"])["report_to"] == "tensorboard"
    assert read(["--report_to", "none"])["report_to"] == "none"
    assert read(["--report_to", "a", "b"])["report_to"] == ["a", "b"]
    assert read_words(["1", "2"], list[int] | None) == [1, 2]
    assert convert("2", list[float]) == [2.0]


def test_no_tracker_has_three_spellings():
    for value in (None, "none", []):
        assert SeRLConfig(use_cpu=True, bf16=False, report_to=value).report_to == []


def test_trl_s_rewards_have_their_names():
    known = trl_rewards()
    texts = ["\\boxed{7}", "\\boxed{8}"]
    completions = [[{"role": "assistant", "content": text}] for text in texts]

    reward = find_reward("accuracy_reward", known=known).make()
    assert reward.__name__ == "accuracy_reward"
    assert reward(completions, gold_answer=["7", "7"]) == [1.0, 0.0]
    assert reward(completions, solution=["8", "8"]) == [0.0, 1.0]
    assert reward(completions) == [None, None]
    for name in known:
        assert find_reward(name, known=known)


def test_abbreviations_stay_off():
    with pytest.raises(SeRLConfigError, match="unknown flag '--scale_reward'"):
        read(["--scale_reward", "False"])


def test_every_hint_is_known():
    """A new kind of hint in a release of TRL must be looked at."""
    known = {bool, int, float, str, NoneType, dict}
    for name in OPTIONS.keys() - ONLY_PYTHON:
        for kind in alternatives(OPTIONS[name].hint):
            inner = get_origin(kind) or kind
            assert inner in known or get_args(kind) or hasattr(kind, "__members__"), (name, kind)
