"""The estimates of `plan.py`, against cases worked by hand and against what must hold."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.plan import shapes
from serl_trl.plan.asked import sampled_per_trained
from serl_trl.plan.estimate import (
    ENGINE_BYTES,
    GIB,
    OVERHEAD_BYTES,
    Layout,
    count_steps,
    engine_rows,
    estimate_memory,
    estimate_step,
    find_knobs,
    find_notes,
    gpu_bytes,
    passes_per_generation,
    rows_at_once,
    trained_parameters,
)
from serl_trl.plan.shapes import SHAPES, ModelShape, count_parameters

QWEN = SHAPES["Qwen/Qwen2.5-0.5B-Instruct"]
# One block, whose numbers can be followed by hand.
SMALL = ModelShape("llama", 1, 8, 2, 1, 4, 16, 10, True, 64, 0)
SMALL = replace(SMALL, num_parameters=count_parameters(SMALL))
VALUES = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "steps_per_generation": None,
    "num_generations": 4,
    "label_reward": "vote",
    "num_iterations": 1,
    "max_instruction_tokens": 4,
    "max_completion_length": 100,
    "max_steps": -1,
    "instructions_per_iteration": 10,
    "num_selfplay_iterations": 3,
    "num_requests": 2,
    "proposer_max_tokens": 50,
    "sources": ["few_shot"],
    "use_selfplay": True,
    "use_band": True,
    "pilot_votes": 0,
    "pilot_chance": 0.05,
    "difficulty_low": None,
    "difficulty_high": None,
    "answer_kind": "math",
    "learning_rate": 1e-6,
    "dtype": "float32",
    "model_init_kwargs": None,
    "bf16": None,
    "fp16": False,
    "beta": 1e-3,
    "optim": "adamw_torch_fused",
    "gradient_checkpointing": True,
    "use_peft": False,
    "lora_r": 16,
    "lora_target_modules": None,
    "load_in_4bit": False,
    "load_in_8bit": False,
    "use_bnb_nested_quant": False,
    "use_vllm": False,
    "vllm_mode": "colocate",
    "vllm_enable_sleep_mode": False,
    "vllm_gpu_memory_utilization": 0.3,
}
ONE = Layout()


def memory(shape: ModelShape = SMALL, layout: Layout = ONE, gpu: float | None = None, **options):
    return estimate_memory({**VALUES, **options}, shape, layout, gpu=gpu)


# Parameters.


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
    ],
)
def test_parameters_are_those_that_the_models_are_published_with(name, published):
    assert SHAPES[name].num_parameters == published


def test_parameters_of_a_small_model_are_counted_as_by_hand():
    # q 8x8, k 8x4, v 8x4, o 8x8, three of 8x16, two norms of 8; one norm, 10 embeddings of 8.
    assert count_parameters(SMALL) == 64 + 32 + 32 + 64 + 3 * 128 + 16 + 8 + 80 == 680
    assert count_parameters(replace(SMALL, tied_embeddings=False)) == 760


def test_adapters_are_counted_by_the_sides_of_what_they_target():
    adapter = {**VALUES, "use_peft": True, "lora_r": 2}
    # By default queries 8 + 8 and values 8 + 4.
    assert trained_parameters(adapter, SMALL) == 2 * (16 + 12)
    everything = {**adapter, "lora_target_modules": ["all-linear"]}
    assert trained_parameters(everything, SMALL) == 2 * (16 + 12 + 12 + 16 + 3 * 24)


# Memory.


def test_one_gpu_in_float32_is_as_worked_by_hand():
    found = memory()

    assert found.weights == found.reference == found.gradients == 4 * 680
    assert found.optimizer == 8 * 680
    # 8 rows of 4 + 96 + 100 tokens; keys and values of 1 block, 1 head of 4, 2 bytes.
    assert found.kv_cache == 8 * 200 * 2 * 4 * 2
    # Prompts of 100 tokens beat 3 x 8 x 10 logits of 4 bytes; autocast's copies of 680 weights.
    assert found.sampling == 8 * 100 * 2 * (2 * 8 + 3 * 16) + 2 * 680
    tokens = 2 * 200
    block = tokens * (2 * (16 + 8 + 16 + 64) + 64 + 64)
    head = 4 * tokens * 8 + 4 * 10 * 8
    assert found.activations == tokens * 4 * 8 + block + tokens * 2 * 32 + head + 2 * 680
    resident = 16 * 680 + OVERHEAD_BYTES
    assert found.sampling_peak == resident + found.kv_cache + found.sampling
    assert found.updating_peak == resident + found.gradients + found.activations
    assert found.peak == max(found.sampling_peak, found.updating_peak)


def test_sharding_divides_what_it_says():
    plain = memory(QWEN, Layout(8))
    zero2 = memory(QWEN, Layout(8, "zero2"))
    zero3 = memory(QWEN, Layout(8, "zero3"))
    fsdp2 = memory(QWEN, Layout(8, "fsdp2"))
    count = QWEN.num_parameters

    assert plain.gradients == 8 * count
    assert zero2.weights == zero2.reference == 2 * count
    assert zero3.weights == zero3.reference == 2 * count / 8
    # Both send gradients in two buckets, here of all there are.
    assert zero2.gradients == zero3.gradients == 2 * count / 8 + 2 * 2 * count
    assert zero2.optimizer == zero3.optimizer == 12 * count / 8
    assert fsdp2.weights == fsdp2.gradients == 4 * count / 8
    assert fsdp2.optimizer == 8 * count / 8


def test_four_bits_hold_all_but_the_embeddings():
    found = memory(use_peft=True, load_in_4bit=True, dtype="bfloat16", lora_r=2)

    # The adapter's 56 are float32.
    assert found.weights == 600 * (0.5 + 4 / 64) + 80 * 2 + 56 * 4
    assert found.optimizer == 2 * 4 * 56
    assert found.reference == 0


def test_no_kl_term_needs_no_reference():
    assert memory(beta=0.0).reference == 0


def test_a_teacher_is_an_average_in_float32_the_first_weights_or_a_model_of_its_own():
    plain = {"dtype": "bfloat16", "beta": 0.0}
    assert memory(label_reward="teacher_vote", **plain).reference == 4 * 680
    adapter = {**plain, "use_peft": True, "lora_r": 2}
    assert memory(label_reward="teacher_vote", **adapter).reference == 4 * 56
    first = "teacher_vote(teacher='reference')"
    assert memory(label_reward=first, **plain).reference == 2 * 680
    assert memory(label_reward=first, **adapter).reference == 0
    # The KL reference serves both.
    assert memory(label_reward=first, dtype="bfloat16").reference == 2 * 680
    other = {"label_reward": "judge(teacher='a/b')", "teacher_parameters": 1000}
    assert memory(**other, **plain).reference == 2 * 1000


def test_vllm_takes_its_share_and_the_kv_cache_with_it():
    gpu = 24e9
    found = memory(QWEN, gpu=gpu, use_vllm=True)
    asleep = memory(QWEN, gpu=gpu, use_vllm=True, vllm_enable_sleep_mode=True)

    assert found.engine == 0.3 * gpu
    assert found.kv_cache == found.sampling == 0
    assert found.updating_peak - asleep.updating_peak == pytest.approx(0.3 * gpu - ENGINE_BYTES)
    assert memory(QWEN, gpu=gpu, use_vllm=True, vllm_mode="server").engine == 0
    row = 200 * 2 * 24 * 2 * 64 * 2
    free = 0.3 * gpu - 2 * QWEN.num_parameters - ENGINE_BYTES
    assert engine_rows({**VALUES, "use_vllm": True}, QWEN, gpu=gpu) == int(free / row)


@pytest.mark.parametrize(
    ("sharding", "options", "collected"),
    [
        ("zero3", {}, False),
        ("zero3", {"use_peft": True}, True),
        ("fsdp2", {}, True),
        ("fsdp2", {"beta": 0.0}, False),
        ("fsdp2", {"use_peft": True}, False),
    ],
)
def test_beside_an_engine_a_sharded_model_may_be_collected_whole(sharding, options, collected):
    found = memory(QWEN, Layout(8, sharding), gpu=24e9, use_vllm=True, **options)
    assert found.sampling == (2 * QWEN.num_parameters if collected else 0)


@given(
    st.sampled_from(list(SHAPES)),
    st.sampled_from(["none", "zero2", "zero3", "fsdp2"]),
    st.integers(1, 64),
    st.booleans(),
)
def test_more_rows_never_take_less_and_a_missing_reference_never_more(name, sharding, batch, lora):
    layout = Layout(8, sharding)
    options = {"use_peft": lora, "per_device_train_batch_size": batch}
    found = memory(SHAPES[name], layout, **options)

    more = memory(SHAPES[name], layout, **{**options, "per_device_train_batch_size": batch + 1})
    assert more.peak > found.peak
    assert memory(SHAPES[name], layout, **options, beta=0.0).peak <= found.peak
    assert all(value >= 0 for value in vars(found).values())


# Work.


def test_a_step_is_counted_as_by_hand():
    step = estimate_step(VALUES, Layout(2), kept_ratio=0.5)

    assert (step.rollouts, step.prompts) == (16, 4)
    assert step.trained_tokens == 16 * 200
    # Twice the kept rollouts, and one round of two requests.
    assert step.sampled_tokens == 16 * 100 * 2 + 2 * 50
    # Of 12 votes a group has 4 of its own.
    wide = estimate_step({**VALUES, "label_reward": "wide_vote(votes=12)"}, Layout(2), kept_ratio=1)
    assert wide.sampled_tokens == 16 * 100 * 3 + 2 * 50


def test_sampled_per_trained_counts_pilots_only_where_they_end_groups():
    piloted = {**VALUES, "num_generations": 16, "pilot_votes": 6}

    def per_trained(**changes):
        return sampled_per_trained({**piloted, **changes}, kept_ratio=0.5)

    # Six of 16 of every group, the rest of the half that is kept and of 0.4 of the other half.
    expected = (6 / 16 + 10 / 16 * (0.5 + 0.5 * 0.4)) / 0.5
    assert per_trained() == pytest.approx(expected)
    assert per_trained(pilot_votes=0) == 2
    # Six votes of one mind still land below 15 of 16 too often.
    assert per_trained(difficulty_high=0.9375) == 2
    assert per_trained(label_reward="wide_vote(votes=32)") == 4
    assert per_trained(use_band=False) == 1


def test_steps_are_those_of_the_instructions_or_the_ones_named():
    # 10 instructions in batches of 4 prompts are 3 steps, three times.
    assert count_steps(VALUES, Layout(2)) == 9
    assert count_steps({**VALUES, "max_steps": 7}, Layout(2)) == 7


# Advice.


def test_knobs_lower_the_peak_one_by_one_until_it_fits():
    values = {**VALUES, "per_device_train_batch_size": 16, "max_completion_length": 2048}
    gpu = gpu_bytes("12gb")
    before = estimate_memory(values, QWEN, ONE, gpu=gpu).peak

    knobs = find_knobs(values, QWEN, ONE, gpu=gpu)

    peaks = [knob.peak for knob in knobs]
    assert peaks == sorted(peaks, reverse=True)
    assert before > max(peaks) > gpu >= peaks[-1]
    assert knobs[0].changes == {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}
    changed = values
    for knob in knobs:
        changed = {**changed, **knob.changes}
    assert estimate_memory(changed, QWEN, ONE, gpu=gpu).peak == peaks[-1]
    assert find_knobs(changed, QWEN, ONE, gpu=gpu) == []


def test_on_several_gpus_sharding_comes_first():
    large = SHAPES["Qwen/Qwen2.5-7B-Instruct"]
    knobs = find_knobs(VALUES, large, Layout(8), gpu=gpu_bytes("24gb"))

    assert [knob.changes for knob in knobs[:2]] == [{"sharding": "zero2"}, {"sharding": "zero3"}]


@given(st.integers(1, 16), st.integers(1, 64), st.sampled_from([2, 4, 8, 16]))
def test_knobs_keep_whole_groups_and_the_step(batch, passes, votes):
    values = {**VALUES, "per_device_train_batch_size": batch * votes}
    values |= {"gradient_accumulation_steps": passes, "num_generations": votes}
    rollouts = batch * votes * passes

    for knob in find_knobs(values, QWEN, ONE, gpu=1e9):
        values = {**values, **knob.changes}
        assert rows_at_once(values) % votes == 0
        assert values["gradient_accumulation_steps"] % passes_per_generation(values) == 0
        size = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"]
        assert size == rollouts


@pytest.mark.parametrize(
    ("options", "layout", "words"),
    [
        ({"dtype": "bfloat16"}, ONE, "rounded away"),
        ({"use_vllm": True, "vllm_gpu_memory_utilization": 0.05}, ONE, "no room"),
        ({"use_vllm": True, "vllm_mode": "server"}, ONE, "GPUs of its own"),
        ({"use_peft": True, "load_in_4bit": True}, ONE, "computes in float32"),
        ({"use_peft": True, "lora_target_modules": ["w1"]}, ONE, "w1 is not counted"),
    ],
)
def test_notes_say_what_memory_does_not(options, layout, words):
    assert words in " ".join(find_notes({**VALUES, **options}, QWEN, layout, gpu=24e9))


def test_weights_with_a_float32_copy_raise_no_note():
    assert not find_notes(VALUES, QWEN, ONE, gpu=24e9)
    assert not find_notes({**VALUES, "dtype": "bfloat16"}, QWEN, Layout(8, "zero2"), gpu=24e9)


def test_gpus_are_named_by_model_or_by_size():
    assert gpu_bytes("24gb") == gpu_bytes("24GB") == 24e9
    assert gpu_bytes("A100-80GB") == 79.2 * GIB
    for name in ("", "gb", "0gb", "24", "b1000", "1e9gb"):
        with pytest.raises(ValueError, match="is unknown; give a size such as 24gb"):
            gpu_bytes(name)


class TextConfig:
    """As much of a model's config as counting the stored parameters asks for."""

    quantization_config = None

    def get_text_config(self):
        return self


@pytest.mark.parametrize(
    "index",
    [
        '{"weight_map": {"a": "../../../../etc/passwd"}}',
        '{"weight_map": {"a": 5}}',
        "[" * 100_000,
        "no JSON",
    ],
)
def test_parameters_are_counted_in_no_file_that_a_strangers_index_names(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert shapes._stored_parameters(TextConfig(), tmp_path) is None


def test_parameters_are_not_counted_in_a_pipe_or_in_a_damaged_file(tmp_path):
    os.mkfifo(tmp_path / "model-00001-of-00001.safetensors")
    assert shapes._stored_parameters(TextConfig(), tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    assert shapes._stored_parameters(TextConfig(), tmp_path) is None
