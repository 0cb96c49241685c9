"""The final answer stays out of the loss: tokens, counts, loss and KL by hand, on a tiny model."""

import pytest
import torch

from serl_trl.common.completion import Completion
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from serl_trl.train.unrewarded import TRAINED
from tests.integration.test_own_parts import first_batch
from tests.integration.tiny import OPTIONS, SEEDS

TEXTS = ("3 and 4 \\boxed{7}", "3 apples 44 \\boxed{7}", "has 3 more \\boxed{434}", "Tom has 7")
ANSWERS = ("7", "7", "434", None)


def masked(tiny_model, folder, **options):
    """Return a trainer and its first batch, whose completions say `TEXTS`."""
    values = {**OPTIONS, "max_steps": 1, "label_reward": "soft_vote", "mask_answer": True}
    # So small a rate that the weights of the batch are still there when the loss is done by hand.
    values |= {"learning_rate": 1e-12, **options}
    trainer = SeRLTrainer(tiny_model, SeRLConfig(output_dir=str(folder), **values), SEEDS)
    end = trainer._tokenizer.eos_token_id
    rollouts = [
        Completion(text, [*trainer._tokenizer(text)["input_ids"], end], False) for text in TEXTS
    ]
    trainer.policy.roll_out = lambda prompts: [list(rollouts) for _ in prompts]
    return trainer, first_batch(trainer)


def test_exactly_the_tokens_of_the_answer_are_masked_and_counted(tiny_model, tmp_path):
    trainer, batch = masked(tiny_model, tmp_path)
    answers = dict(zip(TEXTS, ANSWERS, strict=True))
    hidden = 0
    for ids, mask, kept in zip(
        batch["completion_ids"], batch["completion_mask"], batch["tool_mask"], strict=True
    ):
        text = trainer._tokenizer.decode(ids, skip_special_tokens=True)
        said = trainer._tokenizer.decode(ids[(kept == 0) & (mask == 1)])
        assert said == (answers[text] or "")
        hidden += int(((kept == 0) & (mask == 1)).sum())
    total = int(batch["completion_mask"].sum())
    assert 0 < hidden < total
    assert int(batch["num_items_in_batch"]) == total - hidden
    logged = trainer.state.log_history[0]
    assert logged["serl/masked_answer_ratio"] == pytest.approx(hidden / total)
    assert TRAINED not in batch


def test_loss_and_kl_are_those_of_the_other_tokens_by_hand(tiny_model, tmp_path):
    beta = 0.1
    trainer, batch = masked(tiny_model, tmp_path, loss_type="dapo", beta=beta, advantage="rloo")
    # Another reference, or the KL would be 0, and one that differs more at the answers.
    batch["ref_per_token_logps"] = batch["ref_per_token_logps"] + 0.3 + 0.3 * batch["answer_mask"]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    found = trainer.compute_loss(trainer.model, batch)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].size(1)
    with torch.no_grad():
        logits = trainer.model(ids, attention_mask=seen).logits[:, -width - 1 : -1]
    logps = (logits / trainer.temperature).log_softmax(-1)
    logps = logps.gather(-1, batch["completion_ids"][..., None])[..., 0]
    gap = batch["ref_per_token_logps"] - logps
    kept = (batch["completion_mask"] * batch["tool_mask"]).bool()
    # On policy the ratio is 1 at every token; the k3 estimate of the KL is exp(gap) - gap - 1.
    each = -batch["advantages"][:, None] + beta * (gap.exp() - gap - 1)
    assert float(found) == pytest.approx(float(each[kept].sum() / kept.sum()), rel=1e-4)
    logged = trainer._metrics["train"]["kl"][-1]
    kl = gap.exp() - gap - 1
    assert logged == pytest.approx(float(kl[kept].mean()), rel=1e-4)
    hidden = (batch["completion_mask"] == 1) & (batch["tool_mask"] == 0)
    ratio = trainer._metrics["train"]["serl/answer_kl_ratio"][-1]
    assert ratio == pytest.approx(float(kl[hidden].mean() / kl[kept].mean()), rel=1e-4)
    assert ratio > 3


def test_the_first_steps_have_no_ratio_because_their_kl_is_rounding(tiny_model, tmp_path):
    trainer, batch = masked(tiny_model, tmp_path, beta=0.1)

    assert "answer_mask" in batch
    assert "serl/answer_kl_ratio" not in trainer.state.log_history[0]


def test_reinforce_pp_folds_no_kl_of_the_answer_into_the_return(tiny_model, tmp_path):
    _, batch = masked(tiny_model, tmp_path, advantage="reinforce_pp", beta=0.1)
    hidden = (batch["tool_mask"] == 0) & (batch["completion_mask"] == 1)
    assert hidden.any()
    assert (batch["advantages"][hidden] == 0).all()
