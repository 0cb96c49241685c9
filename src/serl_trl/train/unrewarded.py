"""Completions without a reward: a function that returns `None` says nothing about them.

TRL gives such a row the advantage 0, but its KL term and its tokens would still count in the loss.
"""

from typing import Any

import torch

from serl_trl.train.host import Host, inside, own_rows

# Kinds of loss that TRL divides by the number of rows, those included that have no token left.
ROW_MEANS = ("grpo", "sapo", "luspo", "dr_grpo")

# Key of a batch: the share of the generation batch's rows that are trained on, where below 1.
TRAINED = "trained_share"


def mask_unrewarded(trainer: Host, output: dict[str, Any], rewards: torch.Tensor) -> None:
    """Leave rows whose reward is NaN out of the loss, and out of what it is normalised by.

    `rewards` holds one value for each row of all processes.
    """
    unscored = torch.isnan(rewards)
    if not unscored.any():
        return
    mask = output["completion_mask"]
    leave_out(trainer, output, (~unscored[own_rows(trainer, len(mask))]).to(mask)[:, None])
    output[TRAINED] = 1 - unscored.float().mean()
    inside(trainer)._metrics["train"]["serl/num_masked"].append(unscored.sum().item())


def leave_out(
    trainer: Host, output: dict[str, Any], kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Leave the tokens where `kept`, of shape (B, 1) or (B, L), is 0 out of the loss.

    Returns the tokens in the loss of all processes before and after. TRL's own way to leave tokens
    out is the mask that it keeps for answers of tools: loss, KL and entropy follow it.
    """
    mask = output["completion_mask"]
    before = output.get("tool_mask", torch.ones_like(mask))
    output["tool_mask"] = before * kept
    counts = torch.stack([(mask * before).sum(), (mask * output["tool_mask"]).sum()])
    # Reduced at once, and the second is what the losses by token are divided by.
    first, second = trainer.accelerator.reduce(counts, reduction="sum")
    output["num_items_in_batch"] = second
    return first, second


def over_trained_rows(loss: torch.Tensor, batch: dict[str, Any], loss_type: str) -> torch.Tensor:
    """Return TRL's loss; a mean over all rows becomes one over the rows that are trained on."""
    if TRAINED not in batch or loss_type not in ROW_MEANS:
        return loss
    # Where nothing is trained on, the loss is 0 and stays so.
    return loss / batch[TRAINED].clamp(min=1e-9)
