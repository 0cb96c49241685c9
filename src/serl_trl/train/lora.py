"""LoRA without touching the base: merged weights for an engine, and the KL reference."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import is_peft_model
from peft import PeftModel
from peft.tuners.lora import LoraLayer, ParamWrapper

from serl_trl.train.swaps import replaced

# The adapter that TRL takes as KL reference where there is one, instead of the bare base.
REFERENCE = "ref"


def merged_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights of a PEFT model with its active adapter merged, named as in its base.

    Each merged tensor is a new one, summed in float32 and rounded once to the base's dtype. Merging
    in place and subtracting again, as PEFT does, leaves a rounding error in the base every time.
    """
    layers = {
        _base_name(f"{name}.weight"): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    # Modules that are trained whole, beside the adapter, such as a norm or the embedding.
    saved = f".modules_to_save.{model.active_adapter}."
    for full_name, parameter in model.named_parameters():
        # The adapter's own matrices, and what a module trained whole was before.
        if model.prefix in full_name or "original_module." in full_name:
            continue
        if ".modules_to_save." in full_name and saved not in full_name:
            # Those of the reference.
            continue
        name = _base_name(full_name.replace(saved, "."))
        yield name, _merged(layers[name], parameter) if name in layers else parameter.data


def find_unmergeable(model: Any) -> list[str]:
    """Return the kinds of adapter in `model` that `merged_weights` cannot merge."""
    config = model.peft_config[model.active_adapter]
    kinds = {str(config.peft_type.value)} - {"LORA"}
    for module in model.modules():
        # Experts of a mixture: PEFT adapts their parameter, not a layer around it.
        if isinstance(module, ParamWrapper):
            kinds.add("target_parameters")
        elif isinstance(module, LoraLayer):
            kinds |= {type(variant).__name__ for variant in module.lora_variant.values()}
            kinds |= {"lora_bias"} if any(module.lora_bias.values()) else set()
    return sorted(kinds)


def make_reference(model: Any) -> None:
    """Make the present adapter the KL reference: a frozen copy beside it, named `REFERENCE`.

    The adapter itself trains on, and the base keeps its bits, quantised or not.
    """
    assert is_peft_model(model), "a full model has a reference model of its own"
    active = model.active_adapter
    if REFERENCE not in model.peft_config:
        model.add_adapter(REFERENCE, model.peft_config[active])
    for name, parameter in model.named_parameters():
        # Copied in place, also where the reference exists: it moves with each iteration.
        if f".{active}." in name:
            copy = model.get_parameter(name.replace(f".{active}.", f".{REFERENCE}."))
            copy.data.copy_(parameter.data)


def refuse_sharded_boundaries(model: Any, peft_config: Any, args: Any) -> None:
    """Raise `ValueError` for a run whose iterations `make_reference` could not begin.

    Under ZeRO-3 and FSDP a process holds parts of the adapter, which cannot be copied one by one.
    Looks at `args` and the environment of `accelerate launch`: nothing is loaded yet.
    """
    plugin = args.deepspeed_plugin
    sharded = {
        "ZeRO-3": plugin is not None and plugin.zero_stage == 3,
        "FSDP": bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true",
    }
    adapted = peft_config is not None or isinstance(model, PeftModel)
    moves = args.beta and args.reset_reference and args.max_steps > args.steps_per_iteration
    for name in (name for name, used in sharded.items() if used and adapted and moves):
        raise ValueError(
            f"reset_reference=True with LoRA and {name} is refused: a new iteration copies the "
            "adapter, and each process holds only a part of it; use ZeRO-2, beta=0, or "
            "reset_reference=False."
        )


def keep_quantised_base(model: Any) -> None:
    """Keep bitsandbytes from rewriting 4-bit weights for a CPU; on a GPU it does not try to."""
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            replaced("layer", module, support_avx512bf16_for_cpu=False)


def widen_adapter(model: Any) -> None:
    """Hold the matrices of an adapter over a quantised base in float32, as those over any other.

    TRL makes them bfloat16, whose neighbouring numbers lie further apart than most of Adam's steps
    at usual learning rates are long: such steps move nothing. Call it before the optimizer is made,
    and not under DeepSpeed or FSDP, which want one type in all weights.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".lora_" in name:
            parameter.data = parameter.data.float()


def _merged(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    total = weight.detach().float()
    for adapter in layer.active_adapters:
        # PEFT keeps the matrices of an embedding apart.
        if adapter in layer.lora_A or adapter in layer.lora_embedding_A:
            total = total + layer.get_delta_weight(adapter).detach().float()
    return total.to(weight.dtype)


def _base_name(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer", "")
