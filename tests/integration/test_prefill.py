"""A prompt is read once for all its completions, which stay as they are when each reads it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig

from serl_trl.common.completion import Sampling
from serl_trl.sandbox import MODEL_PATH, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.prefill import reading_once
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import OPTIONS, SEEDS

PAD, END = 0, 1
SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "bos_token_id": 2,
    # Large, so that what comes next depends on the prompt.
    "initializer_range": 0.3,
}
WINDOW = {"sliding_window": 8}
BOTH = ["sliding_attention", "full_attention"] * 2
REPEATED = {
    "Llama": {},
    "Qwen3": {},
    "Mistral": WINDOW,
    "Gemma2": WINDOW | {"layer_types": BOTH},
    "Gemma3Text": WINDOW | {"layer_types": BOTH},
}
# A state beside keys and values: of every second layer, and in every layer.
WITH_STATE = {
    "Lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "FalconH1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16},
}
# Longer and shorter than the window; the prompt of 9 begins with the token of padding.
LENGTHS = {3: 3, 5: 1, 9: 2, 24: 4}
SAMPLING: dict[str, Any] = {"do_sample": True, "temperature": 0.9, "top_p": 0.95, "top_k": 0}


def tiny(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES | options)
    return AutoModelForCausalLM.from_config(config).eval()


def prompts() -> dict[str, torch.Tensor]:
    """Return left-padded rows of different lengths, each as often as `LENGTHS` says."""
    random, longest = torch.Generator().manual_seed(0), max(LENGTHS)
    ids, mask = [], []
    for length, times in LENGTHS.items():
        row = torch.randint(3, SIZES["vocab_size"], (length,), generator=random)
        row[0] = PAD if length == 9 else row[0]
        ids += [torch.cat([torch.full((longest - length,), PAD), row])] * times
        mask += [torch.cat([torch.zeros(longest - length), torch.ones(length)]).long()] * times
    return {"input_ids": torch.stack(ids), "attention_mask": torch.stack(mask)}


def drawn(model: Any, generate: Any, seed: int = 1, **options: Any) -> tuple[list[list[int]], int]:
    """Return the completions of `prompts`, and how many tokens the model read for them."""
    config = GenerationConfig(
        **{"max_new_tokens": 16, "pad_token_id": PAD, "eos_token_id": END} | options
    )
    read = []
    hook = model.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        rows = generate(**prompts(), generation_config=config)
    hook.remove()
    return rows[:, max(LENGTHS) :].tolist(), sum(read)


@pytest.mark.parametrize("sampling", [{}, SAMPLING], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", REPEATED)
def test_completions_are_those_of_plain_generate_and_each_prompt_is_read_once(name, sampling):
    model = tiny(name, **REPEATED[name])
    plain, read_each = drawn(model, model.generate, **sampling)
    once, read_once = drawn(model, reading_once(model), **sampling)
    assert once == plain
    assert len({*map(tuple, plain)}) >= len(LENGTHS), "the completions must tell prompts apart"
    repeats = sum(LENGTHS.values()) - len(LENGTHS)
    assert read_each - read_once == repeats * (max(LENGTHS) - 1)


@pytest.mark.parametrize("name", WITH_STATE)
def test_a_model_with_a_state_beside_its_keys_reads_each_row_as_ever(name):
    model = tiny(name, **WITH_STATE[name])
    assert drawn(model, reading_once(model))[0] == drawn(model, model.generate)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 2},
        {"cache_implementation": "static", "disable_compile": True},
        {"cache_implementation": "dynamic"},
        {"use_cache": False},
    ],
    ids=str,
)
def test_what_needs_a_cache_of_its_own_gets_it(options):
    model = tiny("Llama")
    found = drawn(model, reading_once(model), **options)
    assert found[0] == drawn(model, model.generate, **options)[0]


def test_nothing_is_read_apart_where_rows_differ_or_hold_one_token():
    model, passes = tiny("Llama"), []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    config = GenerationConfig(max_new_tokens=1, pad_token_id=PAD, eos_token_id=END)
    for ids in ([[5, 6], [5, 7]], [[PAD, 6], [PAD, 6]]):
        rows = torch.tensor(ids)
        mask = torch.tensor([[int(token != PAD) for token in row] for row in ids])
        reading_once(model)(input_ids=rows, attention_mask=mask, generation_config=config)
    assert len(passes) == 2


def build(model: str, folder: Path, **options: Any) -> SeRLTrainer:
    return SeRLTrainer(model, SeRLConfig(output_dir=str(folder), **{**OPTIONS, **options}), SEEDS)


def test_the_policy_answers_a_prompt_alike_alone_and_many_times(tmp_path):
    trainer = build(str(MODEL_PATH), tmp_path)
    texts, greedy = seed_set()[:6], Sampling(0.0, 1.0, 24)
    alone = [each.token_ids for [each] in trainer.policy.sample(texts, 1, greedy)]
    read = []
    trainer.model.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].shape), with_kwargs=True
    )
    many = trainer.policy.sample(texts, 4, greedy)
    assert [[each.token_ids for each in group] for group in many] == [[ids] * 4 for ids in alone]
    # Pieces of 8 rows are 2 prompts.
    reading = [shape for shape in read if shape[1] > 1]
    assert [rows for rows, _ in reading] == [2, 2, 2]


@pytest.mark.parametrize("adapter", [False, True])
def test_the_same_seed_draws_the_same_with_and_without_an_adapter(tmp_path, adapter):
    from peft import LoraConfig

    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM") if adapter else None
    config = SeRLConfig(output_dir=str(tmp_path), **OPTIONS)
    trainer = SeRLTrainer(str(MODEL_PATH), config, SEEDS, peft_config=lora)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(
            [
                [c.token_ids for c in group]
                for group in trainer.policy.roll_out(
                    [[{"role": "user", "content": text}] for text in seed_set()[:2]]
                )
            ]
        )
    assert found[0] == found[1]
    assert any(len({*map(tuple, group)}) > 1 for group in found[0])
    assert "generate" not in vars(trainer.model), "put back"
