"""LoRA: the base keeps its bits, an engine gets merged weights, iterations move the reference."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM

from serl_trl.train.config import SeRLConfig
from serl_trl.train.lora import (
    find_unmergeable,
    make_reference,
    merged_weights,
    refuse_sharded_boundaries,
)
from serl_trl.train.trainer import SeRLTrainer
from serl_trl.train.vllm import prepare_engine, refuse_quantised
from tests.integration.tiny import CONTINUOUS, OPTIONS, SEEDS


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(r=4, target_modules="all-linear", **options)


def build(model: str, folder: Path, *, peft: Any = None, **options: Any) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**OPTIONS, **options})
    return SeRLTrainer(model, config, SEEDS, peft_config=peft or lora())


def base_hash(model: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.get_base_model().state_dict().items()):
        if "lora_" not in name:
            digest.update(name.encode() + value.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def adapter(model: Any, name: str) -> dict[str, torch.Tensor]:
    return {
        key.replace(f".{name}.", "."): value.detach().clone()
        for key, value in model.named_parameters()
        if f".{name}." in key
    }


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("backend", [{}, CONTINUOUS], ids=["generate", "continuous"])
def test_training_moves_the_adapter_and_no_bit_of_the_base(tiny_model, tmp_path, backend):
    trainer = build(tiny_model, tmp_path, beta=0.1, **backend)
    before, started = base_hash(trainer.model), adapter(trainer.model, "default")
    trainer.train()
    assert base_hash(trainer.model) == before
    assert not same(adapter(trainer.model, "default"), started)
    assert trainer.ref_model is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_weights_equal_a_merge_of_a_copy_and_leave_the_base_alone(
    tiny_model, tmp_path, dtype
):
    model = build(tiny_model, tmp_path).model.to(dtype)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    before = base_hash(model)
    for _ in range(50):
        merged = dict(merged_weights(model))
    assert base_hash(model) == before
    expected = model.merge_and_unload(safe_merge=True).state_dict()
    tied = {"lm_head.weight"}
    assert merged.keys() == expected.keys() - tied
    for name, weight in merged.items():
        assert weight.dtype == dtype
        torch.testing.assert_close(weight, expected[name], rtol=1e-2, atol=1e-3)


def test_merging_in_place_does_damage_the_base(tiny_model, tmp_path):
    """The defect that `merged_weights` is there for; gone from PEFT, it may go from here."""
    model = build(tiny_model, tmp_path).model.to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    before = base_hash(model)
    model.merge_adapter()
    model.unmerge_adapter()
    assert base_hash(model) != before


def test_saved_modules_are_sent_as_trained(tiny_model, tmp_path):
    config = lora(modules_to_save=["norm"])
    model = build(tiny_model, tmp_path, peft=config).model
    trained = model.get_parameter("base_model.model.model.norm.modules_to_save.default.weight")
    torch.nn.init.constant_(trained, 3.0)
    merged = dict(merged_weights(model))
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert merged.keys() == {name for name, _ in plain.named_parameters()}
    assert merged["model.norm.weight"].eq(3.0).all()
    make_reference(model)
    torch.nn.init.constant_(trained, 4.0)
    later = dict(merged_weights(model))
    assert later.keys() == merged.keys()
    assert later["model.norm.weight"].eq(4.0).all()


class _Engine:
    """What `prepare_engine` touches of TRL's engine."""

    class _dist:
        @staticmethod
        def gather_params(parameters: Any) -> Any:
            from contextlib import nullcontext

            return nullcontext()


def test_an_engine_is_given_the_merged_weights(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path)
    trainer.use_vllm, trainer.vllm_generation = True, _Engine()
    prepare_engine(trainer)
    sent = dict(trainer.vllm_generation._iter_named_params())
    wanted = dict(merged_weights(trainer.model))
    assert sent.keys() == wanted.keys()
    assert all(torch.equal(sent[name], wanted[name]) for name in sent)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"use_dora": True}, "DoraLinearVariant"), ({"lora_bias": True}, "lora_bias")],
)
def test_adapters_that_cannot_be_merged_are_refused_with_an_engine(
    tiny_model, tmp_path, options, kind
):
    if "lora_bias" in options:
        options = {**options, "target_modules": ["q_proj"]}
    config = LoraConfig(**{"r": 4, "target_modules": "all-linear", **options})
    trainer = build(tiny_model, tmp_path, peft=config)
    assert find_unmergeable(trainer.model) == [kind]
    trainer.use_vllm, trainer.vllm_generation = True, _Engine()
    with pytest.raises(ValueError, match=f"adapters with {kind}"):
        prepare_engine(trainer)


def test_a_quantised_model_is_refused_with_vllm(tmp_path):
    class Quantised:
        is_quantized = True

    config = SeRLConfig(output_dir=str(tmp_path), **{**OPTIONS, "use_vllm": True})
    for model, quantization in ((Quantised(), None), ("some/model", object())):
        with pytest.raises(ValueError, match="use_vllm=True with a quantised model is refused"):
            refuse_quantised(model, quantization, config)


@pytest.mark.parametrize("kwargs", [{"seed": 1}, '{"seed": 1}'], ids=["dict", "json"])
@pytest.mark.parametrize("mode", ["colocate", "server"])
def test_a_seed_is_refused_with_vllm(tmp_path, mode, kwargs):
    options = {**OPTIONS, "use_vllm": True, "vllm_mode": mode, "generation_kwargs": kwargs}
    with pytest.raises(ValueError, match="all completions of a prompt alike"):
        SeRLConfig(output_dir=str(tmp_path), **options)


def test_tensor_parallel_engines_are_refused_beside_the_training(tmp_path):
    options = {**OPTIONS, "use_vllm": True, "vllm_tensor_parallel_size": 2}
    with pytest.raises(ValueError, match=r"vllm_tensor_parallel_size=2 .* use vllm_mode: server"):
        SeRLConfig(output_dir=str(tmp_path), **options)
    SeRLConfig(output_dir=str(tmp_path), **options, vllm_mode="server")


ITERATIONS = {
    "beta": 0.1,
    "max_steps": 4,
    "num_selfplay_iterations": 2,
    "instructions_per_iteration": 4,
}


def test_the_first_iteration_is_held_to_the_base(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path, beta=0.1)
    trainer.train()
    assert set(trainer.model.peft_config) == {"default"}


def test_an_iteration_is_held_to_a_frozen_copy_of_the_adapter_it_began_with(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path, **ITERATIONS)
    base = base_hash(trainer.model)
    trainer.train()
    assert trainer.iteration == 2
    saved = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path / "_serl" / "iterations" / "1"
    )
    reference = adapter(trainer.model, "ref")
    assert same(reference, adapter(saved, "default"))
    assert not same(reference, adapter(trainer.model, "default"))
    assert base_hash(trainer.model) == base
    trained = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert trained and all(".default." in name for name in trained)


def test_a_resumed_iteration_keeps_its_reference(tiny_model, tmp_path):
    options = {**ITERATIONS, "save_strategy": "steps", "save_steps": 3}
    whole = build(tiny_model, tmp_path, **options)
    whole.train()
    again = build(tiny_model, tmp_path, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    for name in ("ref", "default"):
        assert same(adapter(again.model, name), adapter(whole.model, name))


def test_a_second_reference_replaces_the_first(tiny_model, tmp_path):
    model = build(tiny_model, tmp_path).model
    make_reference(model)
    for name, parameter in model.named_parameters():
        if ".default." in name:
            torch.nn.init.normal_(parameter)
    make_reference(model)
    assert same(adapter(model, "ref"), adapter(model, "default"))
    assert model.active_adapter == "default"
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(".default." in name for name in trained)


@pytest.mark.parametrize("sharding", ["ZeRO-3", "FSDP"])
def test_a_second_reference_is_refused_where_the_adapter_is_sharded(
    tmp_path, monkeypatch, sharding
):
    options: dict[str, Any] = {**OPTIONS, **ITERATIONS, "output_dir": str(tmp_path)}
    config = SeRLConfig(**options)
    if sharding == "FSDP":
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    else:
        config.deepspeed_plugin = SimpleNamespace(zero_stage=3)
    # Before anything is loaded: there is no such model.
    with pytest.raises(ValueError, match=f"reset_reference=True with LoRA and {sharding} is ref"):
        SeRLTrainer("nobody/no-such-model", config, SEEDS, peft_config=lora())
    refuse_sharded_boundaries("nobody/no-such-model", None, config)
    for harmless in ({"beta": 0.0}, {"reset_reference": False}, {"num_selfplay_iterations": 1}):
        other = SeRLConfig(**{**options, "max_steps": -1, **harmless})
        other.deepspeed_plugin = config.deepspeed_plugin
        refuse_sharded_boundaries("nobody/no-such-model", lora(), other)


def test_zero_2_copies_the_adapter(tmp_path):
    config = SeRLConfig(output_dir=str(tmp_path), **{**OPTIONS, **ITERATIONS, "max_steps": -1})
    config.deepspeed_plugin = SimpleNamespace(zero_stage=2)
    refuse_sharded_boundaries("nobody/no-such-model", lora(), config)
