"""How TRL's backends draw tokens, changed while we generate and then as it was."""

import copy
import functools
import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from accelerate.utils import is_peft_model
from transformers import GenerationConfig

from serl_trl.common.completion import Sampling
from serl_trl.train.host import Host, inside
from serl_trl.train.swaps import replaced, swapped

logger = logging.getLogger(__name__)

# What stays of a model's generation_config.json: its tokens, and how its cache is laid out.
_KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "cache_implementation")
# What neither needs a warning: it changes no text, or nothing beside what TRL sets.
_WITHOUT_EFFECT = ("max_length", "transformers_version", "_from_model_config", "do_sample")
_WITHOUT_EFFECT += ("use_cache", "output_attentions", "output_hidden_states")

# The defaults: transformers warns about any other value that greedy search ignores.
GREEDY = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50, "min_p": None}


@contextmanager
def swapped_sampling(trainer: Host, sampling: Sampling | None) -> Generator[None]:
    """Make `sampling` hold for every backend of `trainer` inside the block; `None` changes nothing.

    TRL reads the values from three places, and each backend knows one or two; see `SWAPS`.
    """
    if sampling is None:
        yield
        return
    engine = getattr(trainer, "vllm_generation", None)
    with _in_engine(engine, sampling) if engine else _in_transformers(inside(trainer), sampling):
        yield


@contextmanager
def _in_engine(engine: Any, sampling: Sampling) -> Generator[None]:
    kwargs = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop),
    }
    with swapped(
        "engine",
        engine,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_completion_length=sampling.max_tokens,
        generation_kwargs=(engine.generation_kwargs or {}) | kwargs,
    ):
        yield


@contextmanager
def _in_transformers(trainer: Any, sampling: Sampling) -> Generator[None]:
    if sampling.temperature == 0:
        drawn: dict[str, Any] = GREEDY
    else:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
    changes = {**drawn, "max_new_tokens": sampling.max_tokens}
    # A copy, because the object is also the one that rollouts are drawn with.
    config = copy.deepcopy(trainer.generation_config)
    config.update(**changes)
    kwargs = trainer.generation_kwargs | changes
    with swapped("trainer", trainer, generation_config=config, generation_kwargs=kwargs):
        yield


@contextmanager
def kept_precision(trainer: Host) -> Generator[None]:
    """Let continuous batching compute in the precision of the trained weights inside the block.

    A request that fails raises `RuntimeError` with the backend's own error. `SWAPS` says what
    breaks without each change.
    """
    if not inside(trainer).use_transformers_continuous_batching:
        yield
        return
    args = trainer.args
    model = trainer.accelerator.unwrap_model(inside(trainer).model_wrapped)
    batching = inside(trainer).continuous_batching_config
    with ExitStack() as stack:
        stack.enter_context(swapped("args", args, bf16=False, fp16=False))
        checked = _checked(model.generate_batch)
        stack.enter_context(swapped("model", model, generate_batch=checked))
        if "auto_switch_to_flash" not in (args.transformers_continuous_batching_config or {}):
            stack.enter_context(same_kernels(model, batching))
        # Accelerate keeps the method here where it put autocast before it.
        if "_original_forward" in vars(model):
            stack.enter_context(swapped("model", model, forward=model._original_forward))
        yield


@contextmanager
def same_kernels(model: Any, batching: Any) -> Generator[None]:
    """Let continuous batching compute attention by the kernels that score."""
    if hasattr(batching, "auto_switch_to_flash"):
        with swapped("batching", batching, auto_switch_to_flash=False):
            yield
        return
    # Older releases (5.17) have no such field, and leave alone only what is named as paged.
    kernels = model.config._attn_implementation
    model.set_attn_implementation(f"paged|{kernels}")
    try:
        yield
    finally:
        model.set_attn_implementation(kernels)


@contextmanager
def held_autocast(trainer: Host) -> Generator[None]:
    """Let autocast cast each weight once in the block, where every token's pass would cast it.

    Changes no number. Decoding reads float32 weights and writes their copies again for each token
    otherwise. Without effect where the passes of `generate` have no autocast: before training, with
    an adapter, DeepSpeed or an engine. FSDP would keep all of the gathered weights' copies.
    """
    model = trainer.accelerator.unwrap_model(inside(trainer).model_wrapped)
    casts = "_original_forward" in vars(model) and not is_peft_model(model)
    # Continuous batching computes in a thread of its own, and without autocast.
    others = trainer.use_vllm or inside(trainer).use_transformers_continuous_batching
    if not casts or others or inside(trainer).is_fsdp_enabled:
        yield
        return
    with trainer.accelerator.autocast():
        yield


def _checked(generate_batch: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return `generate_batch` that raises where a request failed or has no token."""

    @functools.wraps(generate_batch)
    def checked(*args: Any, **kwargs: Any) -> dict[str, Any]:
        outputs = generate_batch(*args, **kwargs)
        failed = [each for each in outputs.values() if each.error or not each.generated_tokens]
        if failed:
            raise RuntimeError(
                f"continuous batching failed on {len(failed)} of {len(outputs)} requests: "
                f"{failed[0].error or 'it returned no token and no error'}"
            )
        return outputs

    return checked


@contextmanager
def own_sampling(trainer: Host) -> Generator[None]:
    """Keep the model's `generation_config.json` from changing how `trainer` generates in the block.

    The file itself is saved with the model as it was.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if is_peft_model(model) else model
    kept = {name: getattr(model.generation_config, name, None) for name in _KEPT}
    with swapped("model", model, generation_config=GenerationConfig(**kept)):
        yield


def note_foreign_sampling(trainer: Host) -> None:
    """Say what of the model's `generation_config.json` this run does not use.

    A file that contradicts itself is mended, because transformers would refuse to save it.
    """
    config = trainer.model.generation_config
    known = {*getattr(trainer, "generation_kwargs", {}), *_KEPT, *_WITHOUT_EFFECT}
    foreign = {name: value for name, value in config.to_diff_dict().items() if name not in known}
    if foreign and not trainer.use_vllm:
        named = ", ".join(f"{name}={value}" for name, value in foreign.items())
        logger.warning("generation_config.json sets %s; this run generates without.", named)
    try:
        config.validate(strict=True)
    except ValueError:
        replaced("generation_config", config, do_sample=True)
        logger.warning(
            "generation_config.json contradicts itself (sampling values without do_sample); it "
            "is saved with do_sample=True."
        )
