"""Which proposals become instructions: quality first, then contamination, then novelty.

Filters of quality are chosen by name (`registry.py`) or handed over as functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.filters.contamination import ContaminationGuard
from serl_trl.filters.embeddings import Encoder, load_encoder
from serl_trl.filters.novelty import NoveltyRule
from serl_trl.filters.registry import (
    MAX_CHARS,
    TextFilter,
    bind_filter,
    default_filters,
    filter_options,
)

NOVELTY_SCOPES = ("pool", "seeds_and_pending")


@dataclass(frozen=True)
class FilterOptions:
    """What a `ProposalFilter` refuses.

    `max_tokens` and `count_tokens` belong together; without them "tokens" refuses nothing. `None`
    as `max_rouge_l` or `max_per_template`, or a cap of 0, switches that rule off. `several_answers`
    says that an answer may hold the answers to several parts of a question, and `spelt` that no
    seed has words which the list of words takes for misspelt. `novelty_scope` "pool" compares with
    the seeds and everything admitted; "seeds_and_pending" is the paper's: the seeds, and what was
    admitted since `forget_pending`. `embedding` is the path or id of a sentence-transformers model,
    or an `Encoder`. `contamination` maps the name of an evaluation set to its problems.
    """

    names: Sequence[str | TextFilter] = default_filters
    min_words: int = 4
    max_words: int = 400
    several_answers: bool = False
    spelt: bool = True
    max_tokens: int | None = None
    count_tokens: Callable[[str], int] | None = None
    special_tokens: Sequence[str] = ()
    max_rouge_l: float | None = 0.7
    novelty: str = "math"
    novelty_scope: str = "pool"
    max_per_template: int | None = 3
    embedding: str | Encoder | None = None
    max_cosine: float = 0.92
    contamination: Mapping[str, Sequence[str]] = field(default_factory=dict)
    contamination_ngram: int = 13
    max_contamination_rouge_l: float = 0.7

    def __post_init__(self) -> None:
        if self.novelty_scope not in NOVELTY_SCOPES:
            raise ValueError(
                f"novelty_scope={self.novelty_scope} is unknown; choose one of "
                f"{', '.join(NOVELTY_SCOPES)}."
            )

    def checks(self) -> list[TextFilter]:
        """Return the named filters with their options."""
        options = filter_options(
            min_words=self.min_words,
            max_words=self.max_words,
            several_answers=self.several_answers,
            special_tokens=self.special_tokens,
            max_tokens=self.max_tokens,
            count_tokens=self.count_tokens,
        )
        options["validity"] = {"spelt": self.spelt}
        return [
            bind_filter(each, options) if isinstance(each, str) else each for each in self.names
        ]


class ProposalFilter:
    """Judges proposals one by one, and knows every text they must differ from.

    `options` are the fields of `FilterOptions`. Raises `ValueError` for an unknown name, scope or
    novelty rule.
    """

    def __init__(self, seeds: Sequence[str] = (), **options: Any) -> None:
        chosen = FilterOptions(**options)
        self._scope = chosen.novelty_scope
        self._checks = chosen.checks()
        self._guard = ContaminationGuard(
            chosen.contamination,
            ngram=chosen.contamination_ngram,
            max_rouge_l=chosen.max_contamination_rouge_l,
        )
        embedding = chosen.embedding
        self._novelty = NoveltyRule(
            kind=chosen.novelty,
            max_rouge_l=chosen.max_rouge_l,
            max_per_template=chosen.max_per_template,
            encode=load_encoder(embedding) if isinstance(embedding, str) else embedding,
            max_cosine=chosen.max_cosine,
        )
        self.reset_to(seeds)

    def overlap(self, text: str) -> Verdict:
        """Say whether `text` overlaps an evaluation set; the seeds are looked at with it too."""
        return self._guard.judge(text) if len(self._guard) else KEEP

    def judge(self, text: str) -> Verdict:
        """Say whether `text` may become an instruction; nothing is remembered.

        The detail of a kept text names its nearest known text and their score.
        """
        if len(text) > MAX_CHARS:
            return Verdict(False, "length", {"num_chars": len(text)})
        # Novelty last: it takes the longest, and its detail tells how near a refused text came.
        for check in (*self._checks, self.overlap):
            verdict = check(text)
            if not verdict.keep:
                return verdict
        return self._novelty.judge(text)

    def admit(self, text: str) -> None:
        """Make `text` known: it was accepted and waits to be rolled out."""
        self._admitted.append(text)
        self._novelty.add([text])

    def forget_pending(self, still_waiting: Sequence[str] = ()) -> None:
        """In scope "seeds_and_pending", forget all but the seeds and `still_waiting`."""
        if self._scope == "seeds_and_pending" and self._admitted:
            self.reset_to(self._seeds)
            for text in still_waiting:
                self.admit(text)

    def reset(self) -> None:
        """Forget what was admitted: a new iteration begins."""
        self.reset_to(self._seeds)

    def reset_to(self, seeds: Sequence[str]) -> None:
        """Know `seeds` alone: the start of a run."""
        self._seeds = list(seeds)
        self._admitted: list[str] = []
        self._novelty.clear()
        self._novelty.add(self._seeds)

    def state_dict(self) -> dict:
        """Return what `load_state_dict` restores: the seeds, and what was admitted since."""
        return {"seeds": list(self._seeds), "admitted": list(self._admitted)}

    def load_state_dict(self, state: dict) -> None:
        """Know exactly what the filter knew that gave `state`; options are not part of it."""
        self.reset_to(state["seeds"])
        for text in state["admitted"]:
            # One by one, as they came: in a batch an encoder gives other last digits.
            self.admit(text)
