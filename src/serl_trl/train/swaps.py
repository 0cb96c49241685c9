"""What is changed on objects of TRL, transformers, PEFT and vLLM, for a while or for good.

These libraries read many values from attributes of long-lived objects, in the middle of their own
functions, so that no argument of ours reaches them. Such an attribute is changed by `swapped` or
`replaced` alone: a value that stayed behind would silently change every later step. `SWAPS` lists
each of them, because each is a place where a new release of a library can break this package.
Progress bars are exchanged by transformers' own method, in `replace_progress_bars`.
"""

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

SWAPS: Mapping[str, str] = {
    # While the proposer or a measurement generates. Without these it samples as rollouts do.
    "trainer.generation_config": "what transformers generates with",
    "trainer.generation_kwargs": "overrides the model's own config in generate",
    "engine.temperature": "what vLLM samples with",
    "engine.top_p": "the same",
    "engine.max_completion_length": "the same",
    "engine.generation_kwargs": "wins over the three above, so rollouts' values must leave it",
    # While anything generates without an engine.
    "model.generation_config": (
        "the file of the model fills in what TRL leaves out: three completions for a prompt, or a "
        "ban on repeated words"
    ),
    "model.generate": "reads a prompt once for each of its completions",
    # While continuous batching generates.
    "args.bf16": (
        "TRL casts the trained weights in place to the type of bf16 or fp16 and never back: the "
        "float32 weights that the optimizer updates would be lost at the first rollout"
    ),
    "args.fp16": "the same",
    "model.forward": (
        "Accelerate's autocast, which would write half-precision keys and values into a cache that "
        "has the type of the weights"
    ),
    "model.generate_batch": "returns a failed request as a completion without tokens; ours raises",
    "batching.auto_switch_to_flash": (
        "fetches other kernels than those that score, and they refuse float32"
    ),
    # While a teacher answers with the weights of the trained model replaced.
    "parameter.data": "what the parameter holds; a second model would need the memory of all",
    # While one refill calls a colocated vLLM several times.
    "engine.enable_sleep_mode": (
        "TRL lets the engine sleep after every call, which throws its weights away: proposing and "
        "rolling out would each pay for a sync"
    ),
    # While a loss is computed, and while a run ends.
    "trainer.beta": "the KL term of TRL's loss; the return of REINFORCE++ holds the KL already",
    "trainer._get_per_token_logps_and_entropies": "the scores of the loss are read beside TRL",
    "args.load_best_model_at_end": "loads the checkpoint that a rollback chose",
    "state.best_model_checkpoint": "names that checkpoint",
    "args.save_total_limit": (
        "with a limit of 1 transformers removes all but the best checkpoint, the newest too"
    ),
    # For good.
    "engine._iter_named_params": (
        "TRL merges an adapter into its base in place and subtracts it again, which rounds the "
        "base a little at every step"
    ),
    "layer.support_avx512bf16_for_cpu": (
        "bitsandbytes rewrites 4-bit weights for a CPU at their first use in eval mode and rounds "
        "their scales to bfloat16: evaluating once would change the base"
    ),
    "tokenizer.chat_template": (
        "without a system role it raises at one, or drops it silently; a base model has none"
    ),
    "scheduler.lr_lambdas": "torch knows no schedule that begins afresh with each iteration",
    "scheduler.base_lrs": "what the schedule multiplies; the guard halves it once",
    "scheduler._last_lr": "a saved rate belongs to the saved length of the run; it would be logged",
    "generation_config.do_sample": "transformers refuses to save a config that contradicts itself",
}
"""Each attribute that is changed, by what holds it, and what it does or what breaks without."""

_ABSENT = object()


@contextmanager
def swapped(holder: str, owner: Any, **values: Any) -> Generator[None]:
    """Give attributes of `owner`, which is a `holder` of `SWAPS`, other values inside the block.

    What only the class had is taken away again, so that a later change of the class shows.
    """
    before = {name: _held(owner, name) for name in values}
    replaced(holder, owner, **values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _held(owner: Any, name: str) -> Any:
    # The data of a tensor lies in no dictionary: its class reads and writes it.
    if inspect.isdatadescriptor(getattr(type(owner), name, None)):
        return getattr(owner, name)
    return vars(owner).get(name, _ABSENT)


def replaced(holder: str, owner: Any, **values: Any) -> None:
    """Give attributes of `owner`, which is a `holder` of `SWAPS`, other values for good."""
    for name, value in values.items():
        assert f"{holder}.{name}" in SWAPS, f"{holder}.{name} has no row in SWAPS"
        setattr(owner, name, value)
