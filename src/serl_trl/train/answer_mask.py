"""No gradient on the final answer: it decides the reward, and is not itself made likelier.

A model that is rewarded for its own answers can raise its reward by preferring an answer whatever
the question; the tokens that would have to change for this are left out of the loss. Source:
OM-GRPO, arXiv 2608.03119, with the reward of `soft_vote`.
"""

from collections.abc import Sequence
from typing import Any

import torch

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.spans import answer_span, tokens_of
from serl_trl.common.completion import Completion
from serl_trl.train.host import Host, inside
from serl_trl.train.unrewarded import leave_out


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
    metrics = inside(trainer)._metrics["train"]
    metrics["serl/masked_answer_ratio"].append(float(1 - after / before.clamp(min=1)))


def _answer_tokens(trainer: Host, rollout: Completion, kind: AnswerKind) -> tuple[int, int]:
    span = None if rollout.truncated else answer_span(rollout.text, kind)
    if span is None:
        return 0, 0
    tokenizer, ids = inside(trainer)._tokenizer, rollout.token_ids

    def chars_of(num: int) -> int:
        # As the policy decoded the text that the span was found in.
        return len(tokenizer.decode(ids[:num], skip_special_tokens=True))

    return tokens_of(span, len(ids), chars_of)
