"""The advantages of a generation batch, for the kinds that TRL does not name.

TRL computes the advantages of "grpo" itself. The other kinds replace them here, after TRL, so that
its own code stays whole. Rewards are gathered over all processes before: a group, and a batch, are
normalised as one, however their rows lie.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from serl_trl.train.advantages import (
    EPS,
    by_role,
    leave_one_out,
    minus_group_mean,
    normalise,
    normalise_tokens,
    returns_with_kl,
    token_moments,
)
from serl_trl.train.host import Host, inside, own_rows


class BatchAdvantages:
    """Replaces the advantages in the output of each generation batch of a `trainer`."""

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer
        # The weighted sum for each row of all processes; NaN where no function spoke.
        self.rewards = torch.empty(0)

    def note_rewards(self, rewards: torch.Tensor) -> None:
        """Keep the weighted sum of `rewards`, of shape (rows of all processes, functions)."""
        weighted = rewards * inside(self._trainer).reward_weights.to(rewards.device)
        # `nansum` makes 0 of a row of which no function spoke, and 0 is a reward like any other.
        unscored = torch.isnan(rewards).all(dim=1)
        self.rewards = weighted.nansum(dim=1).masked_fill(unscored, torch.nan)

    def replace(
        self, output: dict[str, Any], roles: Sequence[str], weights: Sequence[float] = ()
    ) -> None:
        """Replace TRL's advantages by those of `args.advantage`; "grpo" is TRL's own.

        `roles` has the role of each row of all processes; empty where TRL made the batch. `weights`
        are factors of the advantages of these rows; empty where no labeller weighs.
        """
        trainer, rewards = self._trainer, self.rewards
        kind = trainer.args.advantage
        mine = own_rows(trainer, len(output["advantages"]))
        if kind == "reinforce_pp":
            output["advantages"] = self._token_advantages(rewards[mine], output, roles)
        elif shape := self._shape_of(kind, len(set(roles)) > 1):
            output["advantages"] = by_role(shape, rewards, roles)[mine]
        elif not weights:
            return
        found = output["advantages"]
        if weights:
            # After every normalisation, which would take a common factor out again.
            factors = torch.tensor(weights[mine], dtype=found.dtype, device=found.device)
            found = output["advantages"] = found * factors.view(-1, *[1] * (found.ndim - 1))
        # TRL logs one number for each completion: of several that of its first token, which all of
        # the KL follows.
        firsts = found if found.ndim == 1 else found[:, 0]
        shaped = trainer.accelerator.gather(firsts.contiguous())
        log: Any = inside(trainer)._logs["advantages"]
        # TRL has logged its own values of these rows. The log is bounded, and may hold fewer of
        # them.
        for _ in range(min(len(log), len(shaped))):
            log.pop()
        log.extend(shaped.tolist())

    def sampling_logps(self, output: dict[str, Any]) -> torch.Tensor:
        """Return the log-probs of the completions under the weights that TRL takes the ratio to."""
        # TRL computes them only where the weights may have moved since, or an engine has sampled.
        if "old_per_token_logps" in output:
            return output["old_per_token_logps"]
        trainer = self._trainer
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with torch.no_grad():
            logps, _, _ = inside(trainer)._get_per_token_logps_and_entropies(
                trainer.model,
                ids,
                mask,
                output["completion_ids"].size(1),
                batch_size=trainer.args.per_device_train_batch_size,
            )
        return logps

    def _shape_of(
        self, kind: str, several_roles: bool
    ) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Return how rewards become advantages; `None`: as TRL has done it."""
        size = self._trainer.args.num_generations
        subtract = {"rloo": leave_one_out, "reinforce_pp_baseline": minus_group_mean}.get(kind)
        if subtract is not None:
            return lambda rewards: normalise(subtract(rewards, size), ~rewards.isnan())
        # TRL's "batch" takes one spread over all rows, whatever they were asked.
        if several_roles and inside(self._trainer).scale_rewards == "batch":
            return lambda rewards: (
                minus_group_mean(rewards, size) / (rewards[~rewards.isnan()].std() + EPS)
            )
        return None

    def _token_advantages(
        self, rewards: torch.Tensor, output: dict[str, Any], roles: Sequence[str]
    ) -> torch.Tensor:
        """REINFORCE++: the KL folded into the return, normalised over the tokens of each role."""
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        kl = torch.zeros_like(mask, dtype=torch.float32)
        if "ref_per_token_logps" in output:
            kl = self.sampling_logps(output) - output["ref_per_token_logps"]
        args, accelerator = self._trainer.args, self._trainer.accelerator
        returns = returns_with_kl(torch.nan_to_num(rewards, nan=0.0), kl, mask, beta=args.beta)
        # Every process knows the roles of all rows, so all reduce as many moments.
        # Where TRL made the batch no role is named, and all rows are of one.
        own = list(roles[own_rows(self._trainer, len(mask))]) or [""] * len(mask)
        rows = [
            torch.tensor([each == role for each in own], device=mask.device)
            for role in sorted(set(roles)) or [""]
        ]
        sums = torch.stack([(kl * mask).sum().double(), mask.sum().double()])
        moments = [token_moments(returns[each], mask[each]) for each in rows]
        # In one reduction: three moments for each role, then the two sums of the logged KL.
        found = accelerator.reduce(torch.cat([*moments, sums]), reduction="sum")
        log = inside(self._trainer)._metrics["train"]["serl/kl_in_return"]
        log.append((found[-2] / found[-1].clamp(min=1)).item())
        advantages = torch.zeros_like(returns)
        for place, each in enumerate(rows):
            own = found[3 * place : 3 * place + 3]
            normal = normalise_tokens(returns[each], mask[each], own)
            advantages[each] = normal.to(advantages.dtype)
        return advantages.to(torch.float32)
