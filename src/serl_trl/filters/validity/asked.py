"""The seam of the signals that ask the model about a question once its votes are counted.

Unlike the free signals these cost completions, so each says how many; see `registry.py` for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote
from serl_trl.common.completion import Complete, Completion, Messages, Sampling
from serl_trl.common.plugin import shown
from serl_trl.filters.validity.sign import Sign


@dataclass(frozen=True)
class Asked:
    """One question after its vote: `messages` is the exact prompt whose completions voted."""

    instruction: str
    messages: Messages
    vote: Vote


class AskingTools(Protocol):
    """What a signal may use; a labeller's tools fit."""

    @property
    def complete(self) -> Complete:
        """Asks the model."""
        ...

    @property
    def kind(self) -> AnswerKind:
        """Finds and compares answers."""
        ...

    @property
    def verifier(self) -> Verifier:
        """Compares those pairs that the kind leaves open."""
        ...


class AskedSignal(Protocol):
    """Asks the model about questions; every process calls it with the same ones."""

    @property
    def name(self) -> str:
        """The name under which the gate reads its scores."""
        ...

    @property
    def num_completions(self) -> int:
        """The most completions that one question costs beside its votes."""
        ...

    def judge(self, questions: Sequence[Asked], tools: AskingTools) -> list[Sign]:
        """Return how likely each question is broken, in order; `NO_SIGN` where nothing is known.

        Each stage is one call of `tools.complete`, whatever the number of questions.
        """
        ...


def complete_each(
    complete: Complete, prompts: Sequence[Messages], num: int, *, max_tokens: int = 0
) -> list[list[Completion]]:
    """Complete each prompt `num` times in one call; returns the completions by prompt.

    They are drawn as the run draws its rollouts, or, with `max_tokens` above 0, at temperature 1
    and cut off there.
    """
    if not prompts:
        return []
    sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=max_tokens) if max_tokens else None
    found = complete([prompt for prompt in prompts for _ in range(num)], sampling)
    return [found[start : start + num] for start in range(0, len(found), num)]


def check_options(signal: Any) -> None:
    """Raise `ValueError` for an option of a signal that is not of its default's kind.

    A number must be whole and at least 1, or at least 0 where 0 is the default; a text not empty.
    """
    for each in fields(signal):
        value, default = getattr(signal, each.name), each.default
        takes = "True or False" if isinstance(default, bool) else "a text"
        fits = type(value) is type(default) and value != ""
        if type(default) is int:
            takes = f"a whole number of at least {min(1, default)}"
            fits = fits and value >= min(1, default)
        if not fits:
            raise ValueError(
                f"validity={signal.name}({each.name}={shown(repr(value))}) must be {takes}; leave "
                "it out for the default."
            )
