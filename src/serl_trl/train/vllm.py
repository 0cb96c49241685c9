"""What vLLM needs around TRL's own use of it: one sync and one wake a refill, and a watched gap."""

import logging
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import is_peft_model

from serl_trl.common.errors import LogProbGapError
from serl_trl.train.config import SeRLConfig
from serl_trl.train.host import Host, inside
from serl_trl.train.lora import find_unmergeable, merged_weights
from serl_trl.train.swaps import replaced, swapped

logger = logging.getLogger(__name__)


def refuse_quantised(model: Any, quantization_config: Any, args: SeRLConfig) -> None:
    """Raise `ValueError` for a quantised model with vLLM, before an engine is started for it."""
    quantised = quantization_config is not None or getattr(model, "is_quantized", False)
    if quantised and args.use_vllm:
        raise ValueError(
            "use_vllm=True with a quantised model is refused: vLLM would have to load the model "
            "unquantised and sample from other weights than are trained, and this was never tested "
            "on a GPU; use LoRA without quantisation, or use_transformers_continuous_batching=True."
        )


def prepare_engine(trainer: Host) -> None:
    """Make the engine of a `trainer` with an adapter take weights that are merged out of place.

    Raises `ValueError` for adapters and sharding for which that is not possible.
    """
    if not trainer.use_vllm or not is_peft_model(trainer.model):
        return
    if kinds := find_unmergeable(trainer.model):
        raise ValueError(
            f"use_vllm=True cannot send adapters with {', '.join(kinds)}: only plain LoRA is "
            "merged without touching the base; change peft_config, or set use_vllm to False."
        )
    if inside(trainer).is_fsdp_enabled:
        raise ValueError(
            "use_vllm=True with LoRA and FSDP is refused: shards can only be merged in place, "
            "which damages the base a little at every step; use DDP or DeepSpeed."
        )
    engine: Any = inside(trainer).vllm_generation

    def weights() -> Generator[tuple[str, torch.Tensor]]:
        # Under ZeRO-3 a process holds only a part of each weight.
        with engine._dist.gather_params(list(trainer.model.parameters())):
            yield from merged_weights(trainer.model)

    replaced("engine", engine, _iter_named_params=weights)


@contextmanager
def awake(trainer: Host) -> Generator[None]:
    """Keep a colocated engine awake inside the block, however often it generates."""
    engine: Any = getattr(trainer, "vllm_generation", None)
    if engine is None or engine.mode != "colocate" or not engine.enable_sleep_mode:
        yield
        return
    engine.sync_weights()
    # TRL syncs where this differs from the step, which would be once more in the block.
    inside(trainer)._last_loaded_step = trainer.state.global_step
    # The sync has woken the weights alone.
    engine.llm.wake_up(tags=["kv_cache"])
    try:
        with swapped("engine", engine, enable_sleep_mode=False):
            yield
    finally:
        # Level 2 gives the memory of the weights back, too: training needs it.
        engine.llm.sleep(level=2)
        engine._llm_weights_sleeping = True


def check_gap(trainer: Host, output: dict[str, Any], fresh: Sequence[bool]) -> None:
    """Log how far the engine's log-probs are from the trainer's; warn, and stop above the bound.

    The gap is the mean absolute difference over the tokens of the `fresh` rows of all processes:
    those that the present weights sampled. A token for which the engine gives no finite log-prob is
    left out. Where none is left, or the trainer's own is not finite, the gap is NaN, which stops
    the run. Raises `LogProbGapError` in all processes.
    """
    if "sampling_per_token_logps" not in output:
        return
    total, count, tokens, lost = _sum_differences(trainer, output, fresh)
    if not tokens:
        return
    # Not averaged over what is left: one broken log-prob in a thousand would hide in the mean.
    gap = math.nan if lost or not count else total / count
    inside(trainer)._metrics["train"]["serl/logprob_gap"].append(gap)
    args, step = trainer.args, trainer.state.global_step
    found = f"serl/logprob_gap={gap:.3g} at step {step}"
    if math.isnan(gap):
        raise LogProbGapError(
            f"{found}: {lost:.0f} of {tokens:.0f} log-probs of the trainer and "
            f"{tokens - count:.0f} of the engine are not finite; look for NaN in the weights and "
            "for other dtypes in both, see docs/backends.md."
        )
    if gap > args.max_logprob_gap:
        raise LogProbGapError(
            f"{found} is above max_logprob_gap={args.max_logprob_gap:g}: the engine does not "
            "sample from the weights that are trained; compare the dtypes and versions of both, "
            "see docs/backends.md."
        )
    if gap > args.warn_logprob_gap:
        logger.warning(
            "%s is above warn_logprob_gap=%g: engine and trainer differ more than rounding "
            "explains.",
            found,
            args.warn_logprob_gap,
        )


def _sum_differences(trainer: Host, output: dict[str, Any], fresh: Sequence[bool]) -> list[float]:
    """Return over all processes: difference, tokens with one, all tokens, those lost to ours."""
    mask = output["completion_mask"].bool()
    mask = mask & torch.tensor(fresh, device=mask.device)[:, None]
    engine, own = (
        output["sampling_per_token_logps"],
        inside(trainer).advantages.sampling_logps(output),
    )
    known = mask & engine.isfinite()
    difference = (own - engine).abs()[known].sum()
    broken = (mask & ~own.isfinite()).sum()
    # Summed before dividing, so that a process with more tokens weighs more.
    sums = torch.stack([n.double() for n in (difference, known.sum(), mask.sum(), broken)])
    return trainer.accelerator.reduce(sums, reduction="sum").tolist()
