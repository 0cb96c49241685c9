"""A prompt that is sampled several times is read once, and its keys and values are repeated.

transformers' `generate` repeats a prompt before it reads it, with `num_return_sequences` too; of
its backends only continuous batching, which asks for a backend of its own, shares what was read.
With short completions most of the time of a call is spent on reading.
"""

import copy
import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import GenerationMode

from serl_trl.train.host import Host, inside
from serl_trl.train.sampling import GREEDY
from serl_trl.train.swaps import swapped

# One token and nothing drawn, so that the random numbers are those of a call without sharing.
_READING = {**GREEDY, "max_new_tokens": 1, "min_new_tokens": 0}
# One row after another, each with one token after the other; a search has rows of its own.
_MODES = (GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH)
# What holds keys and values alone. Layers with a state beside them inherit `batch_select_indices`
# and leave the state as it was.
_REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)


@contextmanager
def shared_prefill(trainer: Host) -> Generator[None]:
    """Let `generate` of `trainer`'s model read equal prompts once inside the block.

    Changes no number but by the order of sums. Without effect with an engine, and where processes
    hold parts of the weights: they would have to make the same number of passes.
    """
    own = inside(trainer)
    split = own.is_fsdp_enabled or own.is_deepspeed_enabled
    if trainer.use_vllm or own.use_transformers_continuous_batching or split:
        yield
        return
    model = trainer.accelerator.unwrap_model(own.model_wrapped)
    with swapped("model", model, generate=reading_once(model)):
        yield


def reading_once(model: Any) -> Callable[..., torch.Tensor]:
    """Return `model.generate` that reads equal rows once, for models that hold keys and values.

    It takes left-padded `input_ids` and `attention_mask`, both of shape (rows, tokens), and a
    `generation_config`; with any other argument it is `model.generate`, as with rows that differ,
    and with a cache that cannot be repeated.
    """
    generate = model.generate

    @functools.wraps(generate)
    def generated(**given: Any) -> torch.Tensor:
        return generate(**given, **_read(model, generate, **given))

    return generated


def _read(model: Any, generate: Callable[..., Any], **given: Any) -> dict[str, DynamicCache]:
    """Return the cache of all rows but for their last token, by its name; empty: none is shared."""
    if given.keys() != {"input_ids", "attention_mask", "generation_config"}:
        return {}
    config: GenerationConfig = given["generation_config"]
    # By another implementation `generate` would refuse a cache that it is given.
    named = config.cache_implementation or model.generation_config.cache_implementation
    both = torch.stack((given["input_ids"], given["attention_mask"]))
    unlike, places = both.unique(dim=1, return_inverse=True)
    # The last token is left to the call that samples; a prompt of one leaves nothing to read.
    unread = (unlike[1, :, :-1].sum(dim=1) == 0).any()
    differ = len(unlike[0]) == len(places)
    if differ or unread or named or config.get_generation_mode() not in _MODES:
        return {}
    reading = copy.deepcopy(config)
    reading.update(**_READING, return_dict_in_generate=True)
    ids, mask = unlike[:, :, :-1]
    output = generate(input_ids=ids, attention_mask=mask, generation_config=reading)
    # transformers before 5.24 (?) calls it the latter.
    name = "cache" if "cache" in output else "past_key_values"
    cache = output.get(name)
    if type(cache) is not DynamicCache or not {*map(type, cache.layers)} <= {*_REPEATABLE}:
        return {}
    cache.batch_select_indices(places)
    return {name: cache}
