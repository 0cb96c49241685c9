"""Memory, tokens and time of a run, estimated from its options and the sizes of its model.

The formulae, with an example worked by hand, are in `docs/small_gpu.md`.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.common.text import visible
from serl_trl.plan.asked import sampled_per_trained
from serl_trl.plan.shapes import PUBLISHED, ModelShape
from serl_trl.plan.teacher import teacher_bytes
from serl_trl.propose.sources.registry import writes_new

GIB = 2**30
SHARDINGS = ("none", "zero2", "zero3", "fsdp2")

# The whole memory of known GPUs, in GiB, as torch reports it.
GPUS: Mapping[str, float] = PUBLISHED["gpus"]

# A larger share of a GPU's memory is tight: the formulae may err by a quarter.
TIGHT = 0.8
# CUDA context, kernels, allocator fragments.
OVERHEAD_BYTES = 1.5 * GIB
# What vLLM takes beside weights and cache for its largest batch, and what it keeps asleep.
ENGINE_BYTES = 1.0 * GIB
ENGINE_WIDTH = 2.0  # bytes of a weight in the engine
# Chat template, system message and answer line around an instruction.
TEMPLATE_TOKENS = 96
# The default of DeepSpeed: parameters in one reduce bucket, and gathered at once by ZeRO-3.
_BUCKET, _MAX_LIVE = 5e8, 1e9
_DEFAULT_TARGETS = ("q_proj", "v_proj")
# A change that saves less is not worth naming.
_WORTH = GIB / 64
# Optimizers with another number of states per parameter than Adam's two.
_STATES = {"sgd": 0, "adafactor": 0, "lion": 1, "rmsprop": 1, "adagrad": 1}


@dataclass(frozen=True)
class Layout:
    """How many GPUs train, and how their states are divided: one of `SHARDINGS`."""

    num_gpus: int = 1
    sharding: str = "none"

    @property
    def share(self) -> int:
        """GPUs over which weights are divided."""
        return self.num_gpus if self.sharding in ("zero3", "fsdp2") else 1


@dataclass(frozen=True)
class Memory:
    """Bytes per GPU by part. `engine` is vLLM's reservation: its weights and its KV cache.

    Gradients and activations live while the weights are updated, the KV cache and `sampling` (the
    first pass over the prompts, and the logits) while completions are sampled by transformers.
    """

    weights: float
    optimizer: float
    reference: float
    gradients: float
    activations: float
    kv_cache: float
    sampling: float
    engine: float
    engine_sleeps: bool
    overhead: float = OVERHEAD_BYTES

    @property
    def sampling_peak(self) -> float:
        """Bytes in use at once while completions are sampled."""
        return self._resident + self.kv_cache + self.sampling + self.engine

    @property
    def updating_peak(self) -> float:
        """Bytes in use at once in the backward pass."""
        # Asleep it keeps its context and its captured graphs.
        engine = min(self.engine, ENGINE_BYTES) if self.engine_sleeps else self.engine
        return self._resident + self.gradients + self.activations + engine

    @property
    def peak(self) -> float:
        """The larger of both peaks."""
        return max(self.sampling_peak, self.updating_peak)

    @property
    def _resident(self) -> float:
        return self.weights + self.optimizer + self.reference + self.overhead


@dataclass(frozen=True)
class Step:
    """Work of one optimizer step over all GPUs; token counts are upper limits."""

    rollouts: int
    prompts: int
    trained_tokens: int
    sampled_tokens: int


@dataclass(frozen=True)
class Knob:
    """A change of options, and the peak in bytes with it and with the changes before it."""

    changes: Mapping[str, Any]
    peak: float


def gpu_bytes(name: str) -> float:
    """Return the memory of a GPU of `GPUS` or of a size such as 24gb, in bytes.

    Raises `ValueError` for any other name.
    """
    # People write "A100-80GB", "a100 80gb" and "24 GB".
    key = name.lower().replace("_", "-").replace(" ", "")
    if key in GPUS:
        return GPUS[key] * GIB
    # Bounded digits: the text is the user's, and 24gb is meant.
    size = re.fullmatch(r"(\d{1,4}(?:\.\d)?)gb", key)
    if size and float(size[1]) > 0:
        return float(size[1]) * 1e9
    raise ValueError(
        f"gpu={visible(name)} is unknown; give a size such as 24gb, or one of {', '.join(GPUS)}."
    )


def estimate_memory(
    values: Mapping[str, Any], shape: ModelShape, layout: Layout, *, gpu: float | None
) -> Memory:
    """Estimate the memory per GPU of a run with the options `values`.

    `gpu` is the memory of one GPU in bytes; with vLLM in the same process it sets what the engine
    reserves, and `None` stands for the least the engine can work with.
    """
    trained = trained_parameters(values, shape)
    return Memory(
        weights=_weights(values, shape, layout, trained),
        optimizer=_optimizer(values, layout, trained),
        reference=_reference(values, shape, layout, trained),
        gradients=_gradients(values, layout, trained),
        activations=_activations(values, shape, layout, trained),
        kv_cache=0.0 if values["use_vllm"] else rows_at_once(values) * _cache_row(values, shape),
        sampling=_sampling(values, shape, layout, trained),
        engine=_engine(values, shape, gpu),
        engine_sleeps=bool(values["vllm_enable_sleep_mode"]),
    )


def trained_parameters(values: Mapping[str, Any], shape: ModelShape) -> int:
    """Count what the optimizer moves: all parameters, or those of the adapter."""
    if not values["use_peft"]:
        return shape.num_parameters
    layers = shape.linear_layers
    targets = values["lora_target_modules"] or _DEFAULT_TARGETS
    # The head is left out, as PEFT leaves it out of all-linear.
    if targets in ("all-linear", ["all-linear"]):
        targets = tuple(layers)
    sides = [sum(layers[name]) for name in targets if name in layers]
    return shape.num_layers * values["lora_r"] * sum(sides)


def rows_at_once(values: Mapping[str, Any]) -> int:
    """Return how many completions one GPU samples at once."""
    return values["per_device_train_batch_size"] * passes_per_generation(values)


def passes_per_generation(values: Mapping[str, Any]) -> int:
    """Return for how many passes one generation batch is made, per process."""
    return values["steps_per_generation"] or values["gradient_accumulation_steps"]


def engine_rows(values: Mapping[str, Any], shape: ModelShape, *, gpu: float) -> int:
    """Return how many completions of full length vLLM's cache holds at once in this process."""
    cache = _engine(values, shape, gpu) - ENGINE_WIDTH * shape.num_parameters - ENGINE_BYTES
    return max(0, int(cache / _cache_row(values, shape)))


def estimate_step(values: Mapping[str, Any], layout: Layout, *, kept_ratio: float) -> Step:
    """Count the work of one optimizer step when the band keeps `kept_ratio` of the groups."""
    rollouts = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
    rollouts *= layout.num_gpus
    batches = values["gradient_accumulation_steps"] / passes_per_generation(values)
    proposes = values["use_selfplay"] and writes_new(values["sources"])
    # One round of requests for each generation batch; a refill may need more.
    proposed = values["num_requests"] * values["proposer_max_tokens"] if proposes else 0
    sampled = rollouts * values["max_completion_length"] / values["num_iterations"]
    sampled *= sampled_per_trained(values, kept_ratio=kept_ratio)
    return Step(
        rollouts=rollouts,
        prompts=rollouts // values["num_generations"],
        trained_tokens=rollouts * _row_tokens(values),
        sampled_tokens=round(sampled + batches * proposed / values["num_iterations"]),
    )


def count_steps(values: Mapping[str, Any], layout: Layout) -> int:
    """Return the optimizer steps of the whole run, as `SeRLConfig` derives them."""
    if values["max_steps"] > 0:
        return values["max_steps"]
    prompts = rows_at_once(values) * layout.num_gpus // values["num_generations"]
    batches = math.ceil(values["instructions_per_iteration"] / max(1, prompts))
    passes = batches * passes_per_generation(values) * values["num_iterations"]
    steps = max(1, passes // values["gradient_accumulation_steps"])
    return steps * values["num_selfplay_iterations"]


def find_knobs(
    values: Mapping[str, Any], shape: ModelShape, layout: Layout, *, gpu: float
) -> list[Knob]:
    """Return changes that together make the run fit, each with the peak that those so far lead to.

    What only costs time comes before what changes the method. The list ends where nothing more
    helps; it is empty when the run fits as it is.
    """
    current = dict(values)
    peak = estimate_memory(current, shape, layout, gpu=gpu).peak
    knobs: list[Knob] = []
    while peak > gpu:
        for changes in _changes(current, layout):
            changed = {**current, **changes}
            divided = Layout(layout.num_gpus, changed.pop("sharding", layout.sharding))
            after = estimate_memory(changed, shape, divided, gpu=gpu).peak
            # A change that only moves the peak from sampling to updating is tried again later.
            if after < peak - _WORTH:
                break
        else:
            return knobs
        knobs.append(Knob(changes, after))
        current, layout, peak = changed, divided, after
    return knobs


def find_notes(
    values: Mapping[str, Any], shape: ModelShape, layout: Layout, *, gpu: float | None
) -> list[str]:
    """Return what else a person should know before starting the run."""
    notes = []
    # bfloat16 has 8 bits of mantissa: an update below a 256th of a weight changes nothing.
    half = _weight_bytes(values) == 2 and not values["use_peft"] and layout.sharding == "none"
    if half and values["learning_rate"] < 1e-5:
        notes.append(
            f"dtype={values['dtype']} without ZeRO or FSDP keeps no float32 copy of the weights: "
            f"at learning_rate={values['learning_rate']:g} most updates are rounded away. Use "
            "dtype: float32, which still computes in bfloat16, or one of configs/accelerate."
        )
    if values["load_in_4bit"] and _weight_bytes(values) == 4:
        notes.append(
            "load_in_4bit=True with dtype=float32 computes in float32, which is slow, and holds "
            "the embeddings twice as wide; set dtype: bfloat16."
        )
    if values["use_vllm"] and values["vllm_mode"] == "colocate" and gpu is not None:
        rows, wanted = engine_rows(values, shape, gpu=gpu), rows_at_once(values)
        share = values["vllm_gpu_memory_utilization"]
        if rows < 1:
            notes.append(
                f"vllm_gpu_memory_utilization={share:g} leaves vLLM no room for one completion; "
                "raise it."
            )
        elif rows < wanted:
            notes.append(
                f"vLLM holds {rows} completions of full length at once, {wanted} are asked for; "
                "the others wait. A larger vllm_gpu_memory_utilization is faster."
            )
    if values["use_vllm"] and values["vllm_mode"] == "server":
        notes.append("vLLM's server needs GPUs of its own, beside the ones counted here.")
    unknown = _unknown_targets(values, shape)
    if unknown:
        notes.append(f"lora_target_modules: {', '.join(map(visible, unknown))} is not counted.")
    return notes


# Parts. Bytes per GPU.


def _weights(values: Mapping[str, Any], shape: ModelShape, layout: Layout, trained: int) -> float:
    base = _base_bytes(values, shape, layout)
    adapter = trained * _trained_bytes(values, layout) if values["use_peft"] else 0.0
    return (base + adapter) / layout.share


def _base_bytes(values: Mapping[str, Any], shape: ModelShape, layout: Layout) -> float:
    inner = shape.num_parameters - shape.embedding_parameters
    width = _stored_bytes(values, layout)
    if values["load_in_4bit"]:
        # Half a byte, and a float32 scale for each 64; nested, a byte for each and one for 256.
        scale = 1 / 64 + 4 / (64 * 256) if values["use_bnb_nested_quant"] else 4 / 64
        return inner * (0.5 + scale) + shape.embedding_parameters * width
    if values["load_in_8bit"]:
        return inner + shape.embedding_parameters * width
    return shape.num_parameters * width


def _stored_bytes(values: Mapping[str, Any], layout: Layout) -> int:
    """Bytes of one weight as it is held: ZeRO casts it, FSDP2 holds trained ones in float32."""
    if layout.sharding in ("zero2", "zero3"):
        return _compute_bytes(values)
    if layout.sharding == "fsdp2" and not values["use_peft"]:
        return 4
    return _weight_bytes(values)


def _trained_bytes(values: Mapping[str, Any], layout: Layout) -> int:
    """Bytes of one trained parameter and of its gradient; PEFT makes adapters float32."""
    if values["use_peft"] and layout.sharding not in ("zero2", "zero3"):
        quantised = values["load_in_4bit"] or values["load_in_8bit"]
        # TRL makes these bfloat16, and under FSDP they stay so: see `widen_adapter`.
        return 2 if quantised and layout.sharding == "fsdp2" else 4
    return _stored_bytes(values, layout)


def _optimizer(values: Mapping[str, Any], layout: Layout, trained: int) -> float:
    name = str(values["optim"])
    states = next((count for key, count in _STATES.items() if key in name), 2)
    if layout.sharding in ("zero2", "zero3"):
        # A float32 copy of the weights, and the states.
        return trained * (4 + 4 * states) / layout.num_gpus
    width = 1 if "8bit" in name else _trained_bytes(values, layout)
    return trained * states * width / layout.share


def _reference(values: Mapping[str, Any], shape: ModelShape, layout: Layout, trained: int) -> float:
    """The reference, with an adapter the base without it, and the teacher, which is not divided."""
    own, computed = shape.num_parameters * _weight_bytes(values), _compute_bytes(values)
    teacher = teacher_bytes(values, trained=trained, own=own, computed=computed)
    if not values["beta"] or values["use_peft"]:
        return teacher
    width = 2 if layout.sharding in ("zero2", "zero3") else _weight_bytes(values)
    return teacher + shape.num_parameters * width / layout.share


def _gradients(values: Mapping[str, Any], layout: Layout, trained: int) -> float:
    width = _trained_bytes(values, layout)
    if layout.sharding in ("zero2", "zero3"):
        # A share of the gradients, and two buckets on their way to the others.
        return trained * width / layout.num_gpus + 2 * min(trained, _BUCKET) * width
    if layout.sharding == "none" and layout.num_gpus > 1:
        # DDP sends copies of the gradients.
        return 2 * trained * width
    return trained * width / layout.share


def _activations(
    values: Mapping[str, Any], shape: ModelShape, layout: Layout, trained: int
) -> float:
    compute, stored = _compute_bytes(values), _stored_bytes(values, layout)
    # With float32 weights the sums between the blocks are float32 too.
    residual = 4 if stored == 4 and layout.sharding == "none" else compute
    tokens = values["per_device_train_batch_size"] * _row_tokens(values)
    hidden, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_heads * shape.head_size, shape.num_kv_heads * shape.head_size
    # Queries, keys, values, attention, its projection; gate, up, their product twice; both norms,
    # which compute in float32.
    kept = compute * (2 * queries + 2 * keys + 2 * hidden + 4 * inner) + 8 * hidden
    block = tokens * (kept + 2 * residual * hidden)
    # The gradients of the widest layer.
    backward = tokens * compute * 2 * inner
    if values["gradient_checkpointing"]:
        blocks = shape.num_layers * tokens * residual * hidden + block
    else:
        blocks = shape.num_layers * block
    # The head's gradient is summed in float32, and so is the gradient of what enters it.
    head = 4 * tokens * hidden + (0 if values["use_peft"] else 4 * shape.vocab_size * hidden)
    return blocks + backward + head + _casts(values, layout, trained) + _gathered(shape, layout)


def _casts(values: Mapping[str, Any], layout: Layout, trained: int) -> float:
    """Autocast keeps a copy of each trained weight that it casts, in passes without grad too."""
    stored, compute = _stored_bytes(values, layout), _compute_bytes(values)
    return 2.0 * trained if layout.sharding == "none" and stored == 4 and compute == 2 else 0.0


def _gathered(shape: ModelShape, layout: Layout) -> float:
    """Weights that sharding collects for the moment of their use, in bfloat16."""
    if layout.sharding == "zero3":
        return 2 * min(shape.num_parameters, _MAX_LIVE)
    if layout.sharding == "fsdp2":
        inner = shape.num_parameters - shape.embedding_parameters
        return 2 * (shape.embedding_parameters + 2 * inner / shape.num_layers)
    return 0.0


def _cache_row(values: Mapping[str, Any], shape: ModelShape) -> float:
    """Keys and values of one sequence of full length."""
    per_token = 2 * shape.num_layers * shape.num_kv_heads * shape.head_size
    return _row_tokens(values) * per_token * _compute_bytes(values)


def _whole_model(values: Mapping[str, Any], shape: ModelShape, layout: Layout) -> float:
    """Bytes of a model that sharding collects whole around generation, in bfloat16."""
    # ZeRO-3 generates with all of it, and merges an adapter for an engine into all of it. TRL
    # divides the reference as one piece under FSDP2, so that scoring collects all of that.
    zero3 = layout.sharding == "zero3" and (not values["use_vllm"] or values["use_peft"])
    fsdp2 = layout.sharding == "fsdp2" and values["beta"] and not values["use_peft"]
    return 2.0 * shape.num_parameters if zero3 or fsdp2 else 0.0


def _sampling(values: Mapping[str, Any], shape: ModelShape, layout: Layout, trained: int) -> float:
    whole = _whole_model(values, shape, layout)
    if values["use_vllm"]:
        return whole
    rows, compute = rows_at_once(values), _compute_bytes(values)
    prompts = rows * (_row_tokens(values) - values["max_completion_length"])
    # PEFT hands an adapter what enters it in float32, and autocast computes with a further copy.
    inner = (6 if values["use_peft"] else 3) * shape.intermediate_size
    prefill = prompts * compute * (2 * shape.hidden_size + inner)
    # Logits, their softmax, and a sorted copy. docs/small_gpu.md has what was measured.
    logits = 3 * rows * shape.vocab_size * 4
    gathered = whole or _gathered(shape, layout)
    return max(prefill, logits) + gathered + _casts(values, layout, trained)


def _engine(values: Mapping[str, Any], shape: ModelShape, gpu: float | None) -> float:
    if not values["use_vllm"] or values["vllm_mode"] != "colocate":
        return 0.0
    if gpu is not None:
        return values["vllm_gpu_memory_utilization"] * gpu
    return ENGINE_WIDTH * shape.num_parameters + ENGINE_BYTES + _cache_row(values, shape)


def _row_tokens(values: Mapping[str, Any]) -> int:
    """Tokens of the longest prompt with the longest completion."""
    prompt = values["max_instruction_tokens"] + TEMPLATE_TOKENS
    return prompt + values["max_completion_length"]


def _weight_bytes(values: Mapping[str, Any]) -> int:
    """Bytes of one weight as loaded; `auto` is taken to be bfloat16."""
    init = values["model_init_kwargs"]
    named = init.get("dtype") if isinstance(init, Mapping) else None
    return 4 if (named or values["dtype"] or "float32") == "float32" else 2


def _compute_bytes(values: Mapping[str, Any]) -> int:
    mixed = values["bf16"] or (values["bf16"] is None and not values["fp16"]) or values["fp16"]
    return 2 if mixed else _weight_bytes(values)


def _unknown_targets(values: Mapping[str, Any], shape: ModelShape) -> Sequence[str]:
    targets = values["lora_target_modules"] or ()
    if not values["use_peft"] or targets in ("all-linear", ["all-linear"]):
        return ()
    return [name for name in targets if name not in shape.linear_layers]


# Knobs.


def _changes(values: Mapping[str, Any], layout: Layout) -> Iterator[dict[str, Any]]:
    """Yield single changes that save memory, the least painful first."""
    if not values["gradient_checkpointing"]:
        yield {"gradient_checkpointing": True}
    if layout.num_gpus > 1 and layout.sharding in ("none", "zero2"):
        yield {"sharding": "zero2" if layout.sharding == "none" else "zero3"}
    yield from _sampling_changes(values, layout)
    yield from _batch_changes(values)
    yield from _method_changes(values, layout)


def _sampling_changes(values: Mapping[str, Any], layout: Layout) -> Iterator[dict[str, Any]]:
    once = passes_per_generation(values)
    if values["use_vllm"] and values["vllm_mode"] == "colocate":
        if not values["vllm_enable_sleep_mode"]:
            yield {"vllm_enable_sleep_mode": True}
        share = values["vllm_gpu_memory_utilization"]
        yield from ({"vllm_gpu_memory_utilization": less} for less in (0.3, 0.2) if less < share)
    elif not values["use_vllm"]:
        # Fewer completions at once, in more generation batches of whole groups.
        rows = values["per_device_train_batch_size"] * once * layout.num_gpus // 2
        if once % 2 == 0 and rows % values["num_generations"] == 0:
            yield {"steps_per_generation": once // 2}


def _batch_changes(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    batch, passes = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    if batch % 2:
        return
    # Smaller passes, more of them: the step stays what it is.
    smaller = {"per_device_train_batch_size": batch // 2, "gradient_accumulation_steps": passes * 2}
    if values["steps_per_generation"]:
        smaller["steps_per_generation"] = passes_per_generation(values) * 2
    yield smaller


def _method_changes(values: Mapping[str, Any], layout: Layout) -> Iterator[dict[str, Any]]:
    if values["beta"] and not values["use_peft"]:
        yield {"beta": 0.0}
    if not values["use_peft"]:
        yield {"use_peft": True, "dtype": "bfloat16", "lora_target_modules": ["all-linear"]}
    elif not values["load_in_4bit"] and not values["use_vllm"] and layout.sharding == "none":
        yield {"load_in_4bit": True}
    if values["max_completion_length"] > 512:
        yield {"max_completion_length": values["max_completion_length"] // 2}
