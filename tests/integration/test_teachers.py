"""Teachers that answer for a labeller: whose weights they have, and what they leave as it was."""

import pytest
import torch
from peft import LoraConfig
from transformers import TrainerCallback

from serl_trl.common.completion import Sampling
from serl_trl.sandbox import MODEL_PATH, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import CONTINUOUS, OPTIONS

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=12)
PROMPTS = [[{"role": "user", "content": text}] for text in seed_set()[:6]]


def make(folder, label_reward, *, lora=False, **options):
    named = {**OPTIONS, "label_reward": label_reward, "learning_rate": 1e-3, **options}
    named["max_completion_length"] = 32
    return SeRLTrainer(
        load_model(),
        SeRLConfig(output_dir=str(folder), **named),
        seed_set(),
        processing_class=load_tokenizer(),
        peft_config=LoraConfig(r=4, target_modules="all-linear") if lora else None,
    )


def texts(completions):
    return [(each.text, each.truncated) for each in completions]


def shaken(trainer):
    """Move what is trained far away, as many steps would."""
    torch.manual_seed(1)
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)


@pytest.mark.parametrize(
    ("label_reward", "options"),
    [
        ("teacher_vote", {}),
        ("teacher_vote", {"lora": True}),
        ("teacher_vote", CONTINUOUS),
        ("teacher_vote(teacher='reference')", {}),
        ("teacher_vote(teacher='reference')", {"beta": 0.1}),
        ("teacher_vote(teacher='reference')", {"lora": True}),
        ("teacher_vote(teacher='sandbox')", {}),
        (f"teacher_vote(teacher={str(MODEL_PATH)!r})", {"lora": True}),
    ],
)
def test_a_teacher_answers_with_its_own_weights_and_leaves_those_that_train(
    tmp_path, label_reward, options
):
    trainer = make(tmp_path, label_reward, **options)
    before = texts(trainer.policy.complete(PROMPTS, GREEDY))
    shaken(trainer)
    moved = texts(trainer.policy.complete(PROMPTS, GREEDY))
    held = {name: each.detach().clone() for name, each in trainer.model.named_parameters()}
    # Each of them is the model that the run began with.
    assert texts(trainer.policy.ask_teacher(PROMPTS, GREEDY)) == before != moved
    assert texts(trainer.policy.complete(PROMPTS, GREEDY)) == moved
    for name, each in trainer.model.named_parameters():
        assert torch.equal(each, held[name])


class Noting(TrainerCallback):
    """Keeps the trained weights of each step."""

    def __init__(self, model):
        self.model, self.steps = model, []

    def now(self):
        named = self.model.named_parameters()
        return {name: each.detach().clone() for name, each in named if each.requires_grad}

    def on_step_end(self, args, state, control, **_):
        self.steps.append(self.now())


@pytest.mark.parametrize("lora", [False, True])
def test_the_average_follows_the_weights_by_its_rates_from_where_they_began(tmp_path, lora):
    rates = "keep_start=0.8, keep_end=0.6"
    trainer = make(tmp_path, f"teacher_vote(votes=4, {rates})", lora=lora, use_band=False)
    trainer.add_callback(noting := Noting(trainer.model))
    expected = noting.now()
    trainer.train()
    # Half-way along the cosine, and at its end.
    for keep, weights in zip((0.7, 0.6), noting.steps, strict=True):
        expected = {n: keep * each + (1 - keep) * weights[n] for n, each in expected.items()}
    found = trainer.teacher._weights
    assert found.keys() == expected.keys()
    for name, each in found.items():
        torch.testing.assert_close(each, expected[name])
    assert any(not torch.equal(each, noting.steps[-1][name]) for name, each in found.items())


def test_a_teacher_that_cannot_be_read_is_refused_before_the_model_loads(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"teacher=.*empty: its config or tokenizer cannot"):
        make(tmp_path / "run", f"teacher_vote(teacher={str(tmp_path / 'empty')!r})")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).write_bytes((MODEL_PATH / name).read_bytes())
    with pytest.raises(ValueError, match=r"teacher=.*bare: has no weights; one of"):
        make(tmp_path / "run", f"teacher_vote(teacher={str(bare)!r})")
    assert not (tmp_path / "run").exists()
