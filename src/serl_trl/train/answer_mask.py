"""No gradient on the final answer: it decides the reward, and is not itself made likelier.

A model that is rewarded for its own answers can raise its reward by preferring an answer whatever
the question; the tokens that would have to change for this are left out of the loss. Source:
OM-GRPO, arXiv 2608.03119, with the reward of `soft_vote`.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.spans import answer_span, tokens_of
from serl_trl.common.completion import Completion
from serl_trl.train.host import Host, inside
from serl_trl.train.swaps import swapped
from serl_trl.train.unrewarded import leave_out

# Key of a batch: 1 at the tokens of final answers, where there is a reference to compare with.
ANSWERS = "answer_mask"
# Nats per token below which a KL is rounding, as at the first step.
MIN_KL = 1e-5


def mask_answers(
    trainer: Host, output: dict[str, Any], rollouts: Sequence[Completion], kind: AnswerKind
) -> None:
    """Leave the tokens of the final answer of each of `rollouts` out of the loss.

    They are this process's rows of `output`. A completion without an answer, or cut off, keeps all
    of its tokens.
    """
    kept = torch.ones_like(output["completion_mask"])
    for row, rollout in enumerate(rollouts):
        first, end = _answer_tokens(trainer, rollout, kind)
        kept[row, first:end] = 0
    before, after = leave_out(trainer, output, kept)
    if "ref_per_token_logps" in output:
        output[ANSWERS] = output["completion_mask"] * (1 - kept)
    metrics = inside(trainer)._metrics["train"]
    metrics["serl/masked_answer_ratio"].append(float(1 - after / before.clamp(min=1)))


@contextmanager
def noting_answer_kl(trainer: Host, batch: Mapping[str, Any]) -> Generator[None]:
    """Log the KL on final answers over that on the rest, from the scores of the loss inside.

    Nothing is computed for it but two sums: it exists only where `mask_answers` has found the
    answers, and there is a reference. A ratio that rises shows a model that learns answers in place
    of solutions.
    """
    if ANSWERS not in batch:
        yield
        return
    score, seen = inside(trainer)._get_per_token_logps_and_entropies, []

    def noting(*given: Any, **named: Any) -> Any:
        found = score(*given, **named)
        seen.append(found[0].detach())
        return found

    with swapped("trainer", trainer, _get_per_token_logps_and_entropies=noting):
        yield
    # A fused kernel computes its loss without scores.
    if not seen:
        return
    gap = batch["ref_per_token_logps"] - seen[-1]
    kl, masks = gap.exp() - gap - 1, (batch[ANSWERS], batch["completion_mask"] * batch["tool_mask"])
    sums = torch.stack([part for mask in masks for part in ((kl * mask).sum(), mask.sum())])
    answers, rest = trainer.accelerator.reduce(sums, reduction="sum").view(2, 2).double()
    ratio, floor = answers[0] / answers[1] / (rest[0] / rest[1]), MIN_KL * rest[1]
    if answers[1] > 0 and rest[0] > floor:
        inside(trainer)._metrics["train"]["serl/answer_kl_ratio"].append(float(ratio))


def _answer_tokens(trainer: Host, rollout: Completion, kind: AnswerKind) -> tuple[int, int]:
    span = None if rollout.truncated else answer_span(rollout.text, kind)
    if span is None:
        return 0, 0
    tokenizer, ids = inside(trainer)._tokenizer, rollout.token_ids

    def chars_of(num: int) -> int:
        # As the policy decoded the text that the span was found in.
        return len(tokenizer.decode(ids[:num], skip_special_tokens=True))

    return tokens_of(span, len(ids), chars_of)
