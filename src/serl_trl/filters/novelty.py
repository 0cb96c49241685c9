"""Is this text new? Exact ROUGE-L against everything known, duplicates, template caps."""

import array
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from serl_trl.common.mathtext import digest, math_tokens, normal_form, plain_tokens, template
from serl_trl.common.verdict import Verdict
from serl_trl.filters.embeddings import CosineIndex, Encoder

Tokenize = Callable[[str], list[str]]

# A token is one code point of the string whose LCS is taken: strings are what rapidfuzz reads
# fastest. The first is set aside for tokens that no known text holds, so that they match nothing.
_UNKNOWN, _NUM_CODES = chr(0), 0x10FFFF

_SLACK = 1e-9  # bounds and scores round differently; far below the step between two scores
# How many texts the first two rounds of a search score. Few texts share most of their words with a
# candidate, so that the third round, which takes all that may still win, finds hardly any.
_LIKELIEST = (32, 512)

# Other order, other length, repeated tokens, nothing in common: where two scorers would part.
_PAIRS = (
    ("Tom has 3 red apples and buys 4.", "Tom buys 4 apples; he has 3 red ones."),
    ("a a b a c", "b a a c a a"),
    ("Find x if x + 3 = 7.", "Find x if x - 3 = 7."),
    ("How many primes are there?", "一 %"),
)


class Nearest(NamedTuple):
    """The known text most like a candidate, and the ROUGE-L F1 between them, in [0, 1]."""

    score: float
    text: str


def check_scores(tokenize: Tokenize) -> None:
    """Compare the index with `rouge_score`'s own scorer on a few pairs; `tokenize` feeds both.

    The paper's rule is what `rouge_score` computes. That scorer takes milliseconds for a pair; the
    index takes microseconds, through other libraries. Without this check a release of them that
    rounds or counts differently would change which proposals are refused, unnoticed.

    Raises `AssertionError`, with the versions, when a score differs in any bit.
    """
    # Loads nltk, which takes longer than all else in this package: not before a filter is built.
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=tokenize))
    for known, text in _PAIRS:
        index = RougeLIndex(tokenize=tokenize)
        index.add(known)
        found, wanted = index.nearest(text), scorer.score(known, text)["rougeL"].fmeasure
        if found is None or found.score != wanted:
            libraries = ("rouge-score", "rapidfuzz", "numpy")
            versions = ", ".join(f"{name} {version(name)}" for name in libraries)
            raise AssertionError(
                f"ROUGE-L of {known!r} and {text!r} is {wanted} by rouge_score and {found} by the "
                f"index, with {versions}; install the versions in constraints.txt."
            )


def _code(number: int) -> str:
    return chr(1 + number % _NUM_CODES)


class RougeLIndex:
    """Known texts, and the largest ROUGE-L F1 of a new text against all of them, exactly.

    Scores equal those of `rouge_score.RougeScorer(["rougeL"])` to the last bit when `tokenize` is
    `plain_tokens`. Not every pair is scored: how many tokens two texts share, counted for all known
    texts at once from an inverted index, bounds the score from above, and the longest common
    subsequence is taken in falling order of that bound until no bound reaches the best score.

    Exact up to 1.1 million distinct tokens; from there on two tokens may share a code.
    """

    def __init__(self, max_rouge_l: float = 0.7, *, tokenize: Tokenize = plain_tokens) -> None:
        self.max_rouge_l = max_rouge_l
        self._tokenize = tokenize
        self._texts: list[str] = []
        self._coded: list[str] = []
        self._lengths = array.array("I")
        self._numbers: dict[str, int] = {}
        # _rows[number][k]: the known texts that hold the token more than k times, ascending. Arrays
        # of C integers: lists would take many times the memory.
        self._rows: list[list[array.array]] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Make `text` known."""
        row = len(self._texts)
        seen: Counter[str] = Counter()
        coded = []
        for token in self._tokenize(text):
            number = self._numbers.setdefault(token, len(self._rows))
            if number == len(self._rows):
                self._rows.append([])
            coded.append(_code(number))
            held = self._rows[number]
            if seen[token] == len(held):
                held.append(array.array("I"))
            held[seen[token]].append(row)
            seen[token] += 1
        self._texts.append(text)
        self._coded.append("".join(coded))
        self._lengths.append(len(coded))

    def nearest(self, text: str) -> Nearest | None:
        """Return the largest ROUGE-L F1 to a known text, and that text; `None` when none is known.

        Of equally near texts it is the one added first, as in `RougeScorer.score_multi`.
        """
        return self._search(text, floor=0.0) if self._texts else None

    def is_novel(self, text: str) -> bool:
        """Tell whether all known texts score at most `max_rouge_l`; stops at the first above it."""
        found = self._search(text, floor=self.max_rouge_l, stop=True) if self._texts else None
        return found is None or found.score <= self.max_rouge_l

    def _search(self, text: str, *, floor: float, stop: bool = False) -> Nearest:
        """Find the best known text; a text that scores below `floor` may be missed.

        `stop` ends the search at the first text that scores above `floor`.
        """
        tokens = self._tokenize(text)
        numbers = [self._numbers.get(token) for token in tokens]
        query = "".join(_UNKNOWN if number is None else _code(number) for number in numbers)
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)
        bounds = self._bounds(numbers, lengths)
        best_score, best_row = 0.0, 0
        # The likeliest few first: their best score rules out nearly all of the rest.
        for size in (*_LIKELIEST, len(bounds)):
            # A text that shares nothing scores 0 and is not looked at.
            rows = np.flatnonzero(bounds >= max(best_score, floor, 2 * _SLACK) - _SLACK)
            if rows.size > size:
                rows = rows[np.argpartition(bounds[rows], rows.size - size)[-size:]]
            if rows.size == 0:
                break
            scores = self._scores(query, rows, lengths[rows], reach=max(best_score, floor))
            bounds[rows] = 0.0  # scored
            top = float(scores.max())
            if top < best_score or top == 0.0:
                continue
            first = int(rows[scores == top].min())
            best_row = first if top > best_score else min(first, best_row)
            best_score = top
            if stop and best_score > floor:
                break
        return Nearest(best_score, self._texts[best_row])

    def _scores(
        self, query: str, rows: np.ndarray, lengths: np.ndarray, *, reach: float
    ) -> np.ndarray:
        """Return the ROUGE-L F1 of `rows`; 0.0 for what cannot reach the score `reach`."""
        # What the shortest text must have in common; below it the subsequence is not worked out.
        cutoff = math.ceil(reach * (int(lengths.min()) + len(query)) / 2 - _SLACK)
        common = process.cdist(
            [query],
            [self._coded[row] for row in rows.tolist()],
            scorer=LCSseq.similarity,
            score_cutoff=cutoff,
            dtype=np.int32,
        )[0]
        precision = common / len(query)
        # A text without tokens shares none with any other.
        recall = common / np.maximum(lengths, 1)
        # By the operations of `rouge_score` in their order, so that no bit differs.
        total = precision + recall
        nothing = np.zeros(len(rows))
        return np.divide(2 * precision * recall, total, out=nothing, where=total > 0)

    def _bounds(self, numbers: Sequence[int | None], lengths: np.ndarray) -> np.ndarray:
        """Bound each known text's score: no common subsequence is longer than what is shared."""
        holding = []
        for number, count in Counter(numbers).items():
            if number is not None:
                holding += self._rows[number][:count]
        if not holding:
            return np.zeros(len(lengths))
        views = [np.frombuffer(rows, dtype=np.uint32) for rows in holding]
        shared = np.bincount(np.concatenate(views), minlength=len(lengths))
        return 2 * shared / (lengths + float(len(numbers)))


@dataclass(kw_only=True)
class NoveltyRule:
    """Everything known, and whether a text is new beside it; each refusal has its own reason.

    `kind` "plain" is the paper's ROUGE-L rule alone. "math" compares mathematical tokens, and
    refuses duplicates and overused templates as well: `rouge_score` drops the operators, so that
    "x + 3 = 7" and "x - 3 = 7" are one text to it. `None` (or a cap of 0) switches a rule off.
    """

    kind: str
    max_rouge_l: float | None
    max_per_template: int | None
    encode: Encoder | None = None
    max_cosine: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("math", "plain"):
            raise ValueError(f"novelty={self.kind} is unknown; choose one of math, plain.")
        self._is_math = self.kind == "math"
        self._tokenize = math_tokens if self._is_math else plain_tokens
        check_scores(self._tokenize)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._exact: set[bytes] = set()
        self._normal: set[bytes] = set()
        self._templates: Counter[bytes] = Counter()
        self._rouge = RougeLIndex(tokenize=self._tokenize)
        self._cosine = CosineIndex(self.encode) if self.encode else None

    def add(self, texts: Sequence[str]) -> None:
        """Make `texts` known."""
        for text in texts:
            if self._is_math:
                self._exact.add(digest(text))
                self._normal.add(digest(normal_form(text)))
                self._templates[digest(template(text))] += 1
            self._rouge.add(text)
        if self._cosine is not None:
            self._cosine.add(texts)

    def judge(self, text: str) -> Verdict:
        """Refuse a duplicate, one too many of a template, and what is too like a known text.

        Every verdict that looked for it names the nearest text and its score in its detail.
        """
        if repeated := self._repeats(text):
            return repeated
        detail: dict[str, object] = {}
        nearest = self._rouge.nearest(text)
        if nearest is not None:
            detail |= {"nearest": nearest.text, "rouge_l": nearest.score}
            if self.max_rouge_l is not None and nearest.score > self.max_rouge_l:
                return Verdict(False, "rouge_l", detail)
        meant = self._cosine.nearest(text) if self._cosine is not None else None
        if meant is not None:
            detail |= {"nearest_meaning": meant[1], "cosine": meant[0]}
            if meant[0] > self.max_cosine:
                return Verdict(False, "embedding", detail)
        return Verdict(True, detail=detail or None)

    def _repeats(self, text: str) -> Verdict | None:
        """Refuse a text whose copy, normal form or template is known; "math" alone looks for them.

        Digests stand for the texts: what is known then takes no more memory the longer they are.
        """
        if not self._is_math:
            return None
        if digest(text) in self._exact:
            return Verdict(False, "duplicate")
        if digest(normal_form(text)) in self._normal:
            return Verdict(False, "normalised_duplicate")
        num_alike = self._templates[digest(template(text))]
        if self.max_per_template and num_alike >= self.max_per_template:
            return Verdict(False, "template", {"num_same_template": num_alike})
        return None
