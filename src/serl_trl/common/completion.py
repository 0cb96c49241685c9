"""What a policy wrote, and how it was drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

Messages = list[dict[str, str]]
"""A conversation, with the roles "system", "user" and "assistant"."""

REFERENCE = "reference"
"""The weights that a run began with, where a model is named that answers beside the trained one."""


@dataclass(frozen=True)
class Completion:
    """One text of the policy after a prompt.

    `truncated` says that it did not end by itself. `logprobs` holds one value per token under the
    policy that sampled it, or `None` when the backend returns none and nobody has asked. `entropy`
    is the mean entropy of its tokens under the present weights, in nats, or `None` likewise.
    """

    text: str
    token_ids: list[int]
    truncated: bool
    logprobs: list[float] | None = None
    entropy: float | None = None

    def scored(self, logprobs: list[float]) -> "Completion":
        """Return the completion with the log-probs of its tokens."""
        return replace(self, logprobs=logprobs)


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy.

    `presence_penalty` and `stop` (texts that end a completion) reach vLLM only.
    """

    temperature: float
    top_p: float
    max_tokens: int
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()


class Complete(Protocol):
    """Completes each conversation once, over all processes: every one of them must call it."""

    def __call__(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Return one completion per prompt; `sampling` `None` takes the caller's usual values."""
        ...
