"""What labellers ask of a real model, and what their weights do to the advantages."""

from dataclasses import replace

import pytest
import torch

from serl_trl.common.files import read_lines
from serl_trl.common.verdict import KEEP
from serl_trl.labels.base import Labelled, Labeller
from serl_trl.labels.registry import LABELLERS
from serl_trl.sandbox import load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.test_own_parts import first_batch, whole_and_resumed
from tests.integration.tiny import OPTIONS, SAVING, SEEDS


class Weighing(Labeller):
    """Rewards the first two of four, and weighs the completions."""

    def __init__(self, *weights):
        self.weights = weights

    def label(self, groups, tools):
        return [Labelled((1.0, 1.0, 0.0, 0.0), KEEP, 0.5, weights=self.weights) for _ in groups]


def trained(tiny_model, folder, labeller, **options):
    config = SeRLConfig(output_dir=str(folder), **{**OPTIONS, "max_steps": 1, **options})
    trainer = SeRLTrainer(tiny_model, config, SEEDS)
    trainer.selfplay.labelling.labeller = labeller
    return trainer, first_batch(trainer)


@pytest.mark.parametrize("advantage", ["grpo", "rloo", "reinforce_pp"])
def test_weights_multiply_the_advantages_after_every_normalisation(tiny_model, tmp_path, advantage):
    options = {"advantage": advantage, "beta": 0.1}
    _, plain = trained(tiny_model, tmp_path / "plain", Weighing(), **options)
    trainer, weighed = trained(
        tiny_model, tmp_path / "weighed", Weighing(0.25, 0.5, 1.0, 1.0), **options
    )
    # TRL shuffles the rows of a generation batch alike in both runs.
    factors = (weighed["advantages"] / plain["advantages"]).nan_to_num(nan=1.0)
    firsts = factors if factors.ndim == 1 else factors[:, 0]
    expected = sorted([0.25, 0.5, 1.0, 1.0] * 2)
    assert sorted(firsts.tolist()) == pytest.approx(expected, rel=1e-4)
    shown = sorted(map(abs, trainer._logs["advantages"]))
    found = weighed["advantages"]
    assert shown == pytest.approx(
        sorted((found if found.ndim == 1 else found[:, 0]).abs().tolist())
    )


def test_entropies_are_the_means_over_the_tokens_under_the_present_weights(tiny_model, tmp_path):
    config = SeRLConfig(output_dir=str(tmp_path), **{**OPTIONS, "max_steps": 1})
    trainer = SeRLTrainer(tiny_model, config, SEEDS)
    rollouts = trainer.selfplay.refill(0).groups[0].rollouts
    # Of different lengths, so that some of the rows are padded.
    short = replace(rollouts.completions[0], token_ids=rollouts.completions[0].token_ids[:2])
    rollouts = replace(rollouts, completions=(short, *rollouts.completions[1:]))
    (found,) = trainer.policy.entropies([rollouts])
    (prompt,), _, _ = trainer._tokenize_prompts([rollouts.messages])
    for value, completion in zip(found, rollouts.completions, strict=True):
        ids = torch.tensor([[*prompt, *completion.token_ids]])
        with torch.no_grad():
            logits = trainer.model(ids).logits[0, len(prompt) - 1 : -1] / trainer.temperature
        by_hand = torch.distributions.Categorical(logits=logits.float()).entropy().mean()
        assert value == pytest.approx(float(by_hand), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("label_reward", ["margin_vote(consensus=0.25)", "teacher_vote(votes=4)"])
def test_a_labeller_with_needs_trains_on_two_processes_and_resumes(tmp_path, label_reward):
    options = {"label_reward": label_reward, "sources": ["few_shot"], "max_steps": 2}
    expected, found = whole_and_resumed(tmp_path, **options)
    assert found == expected


@pytest.mark.parametrize("name", sorted({*LABELLERS} - {"none"}))
def test_every_labeller_judges_what_a_real_model_writes(name, tmp_path):
    options = {**SAVING, "save_strategy": "no", "max_steps": 1, "sources": ["given"]}
    options |= {"label_reward": name, "use_band": False, "max_refill_rounds": 2}
    options["gold_oracle"] = "serl_trl.sandbox.solve"
    # A model that can neither restate nor judge finds no group; the run then says so.
    config = SeRLConfig(output_dir=str(tmp_path), max_empty_refills=1, **options)
    trainer = SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())
    asks = bool(
        {"second_view", "restatement", "teacher"} & trainer.selfplay.labelling.labeller.needs
    )
    trainer.train()
    groups = [row for row in read_lines(tmp_path / "_serl/ledger.jsonl") if row["type"] == "group"]
    assert groups
    assert trainer.state.global_step == 1 or trainer.starved
    num_own = 4 * len(groups)
    assert (trainer.selfplay.books.counters.num_rollouts > num_own) is asks
