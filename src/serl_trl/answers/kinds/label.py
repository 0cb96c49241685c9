"""Answers out of a fixed set of labels, such as yes and no."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serl_trl.answers import markers
from serl_trl.answers.kinds.marked import MarkedKind
from serl_trl.answers.math import lexer as latex

# A label stands at the beginning; what follows a clause is an explanation.
_MAX_CHARS = 2_000
# The label may be explained behind one of these. "No.1" and "No. 1" name a number.
_CLAUSE_END = re.compile(r"\.(?!\s?\d|\w)|[,;:!](?!\w)|\s-\s|[–—]")

LABEL_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "yes_no": {"yes": ("y", "yeah", "true", "correct"), "no": ("n", "nope", "false", "incorrect")},
    "true_false": {"true": ("t", "yes", "correct"), "false": ("f", "no", "incorrect")},
    "entailment": {
        "entailment": ("entails", "entailed"),
        "neutral": ("unknown", "undetermined"),
        "contradiction": ("contradicts", "contradicted"),
    },
    "sentiment": {"positive": ("pos",), "negative": ("neg",), "neutral": ("neu",)},
}


@dataclass(frozen=True)
class LabelKind(MarkedKind):
    """One label out of a named set (`yes_no`, ...), a list, or a mapping from label to aliases.

    Its own marker beside `\\boxed{}` is a line `Answer: yes`. With `lenient`, the label named last
    in the completion counts.
    """

    name: str = "label"
    labels: str | Sequence[str] | Mapping[str, Sequence[str]] = "yes_no"
    finders = (markers.last_boxed, markers.last_answer_line)

    def __post_init__(self) -> None:
        if isinstance(self.labels, str) and self.labels not in LABEL_SETS:
            raise ValueError(
                f"labels={self.labels!r} is not a known set; choose one of {sorted(LABEL_SETS)} or "
                "give a list of labels, or a mapping from label to aliases."
            )
        names = [name for label, aliases in self._sets() for name in {label, *aliases}]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"labels: {twice} would name two labels; every alias needs one label.")

    @property
    def known_labels(self) -> tuple[str, ...]:
        """The labels, without their aliases."""
        return tuple(label for label, _ in self._sets())

    def natural(self, completion: str) -> str | None:
        # The longest first: an alias of several words may begin with another one.
        names = sorted((re.escape(name) for name in self._aliases()), key=len, reverse=True)
        named = re.compile(rf"(?<!\w)(?:{'|'.join(names)})(?!\w)")
        return markers.last_match(named, completion.casefold())

    def canonical(self, answer: str) -> str | None:
        """Return the label; `None` when the answer is not one, or explains more than it names."""
        text = latex.clean(answer[:_MAX_CHARS])
        aliases = self._aliases()
        return aliases.get(latex.words(text)) or aliases.get(
            latex.words(_CLAUSE_END.split(text, maxsplit=1)[0])
        )

    def _sets(self) -> list[tuple[str, tuple[str, ...]]]:
        given = LABEL_SETS[self.labels] if isinstance(self.labels, str) else self.labels
        labels = given if isinstance(given, Mapping) else dict.fromkeys(given, ())
        return [
            (label.casefold(), tuple(alias.casefold() for alias in aliases))
            for label, aliases in labels.items()
        ]

    def _aliases(self) -> dict[str, str]:
        return {name: label for label, aliases in self._sets() for name in (label, *aliases)}
