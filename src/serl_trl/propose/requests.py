"""Few-shot requests to the policy, and the instructions in what it writes back."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.propose.pool import InstructionPool, Shots
from serl_trl.propose.prompts import Messages, PromptStyle, proposer_messages

__all__ = ["ProposerRequest", "build_requests", "parse_proposals"]


@dataclass(frozen=True)
class ProposerRequest:
    """One conversation that asks for new instructions, and the examples it shows."""

    messages: Messages
    shots: Shots


def build_requests(
    pool: InstructionPool,
    rng: random.Random,
    *,
    num_requests: int,
    num_shots: int,
    num_pool_shots: int,
    style: PromptStyle,
    max_prompt_tokens: int | None = None,
    count_tokens: Callable[[Messages], int] | None = None,
    prefer_least_used: bool = False,
) -> list[ProposerRequest]:
    """Draw shots and write `num_requests` requests, each within `max_prompt_tokens`.

    A request that is too long loses its longest shots, never its end. Shots that are shown are
    counted in `pool`.

    Raises:
        ValueError: even a request without shots is too long.
    """
    requests = []
    for _ in range(num_requests):
        shots = pool.draw_shots(
            rng,
            num_shots=num_shots,
            num_pool_shots=num_pool_shots,
            prefer_least_used=prefer_least_used,
        )
        messages = proposer_messages(shots.texts, style)
        while (
            max_prompt_tokens is not None
            and count_tokens is not None
            and count_tokens(messages) > max_prompt_tokens
        ):
            if not shots.texts:
                raise ValueError(
                    f"max_prompt_tokens={max_prompt_tokens} cannot hold the proposer's request "
                    "even without a shot; raise it, or shorten the proposer's texts."
                )
            shots = _without_longest(shots)
            messages = proposer_messages(shots.texts, style)
        pool.mark_shown(shots)
        requests.append(ProposerRequest(messages, shots))
    return requests


def _without_longest(shots: Shots) -> Shots:
    out = max(range(len(shots.texts)), key=lambda place: len(shots.texts[place]))
    keep = [place for place in range(len(shots.texts)) if place != out]
    return Shots(
        tuple(shots.texts[place] for place in keep), tuple(shots.origins[place] for place in keep)
    )
