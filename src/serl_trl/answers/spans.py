"""Where in a completion its final answer stands, in characters and in tokens."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from serl_trl.answers.base import AnswerKind

# Places tried for an answer that stands in a text again and again: each try reads the text once.
_MAX_TRIES = 8


def answer_span(completion: str, kind: AnswerKind) -> tuple[int, int] | None:
    """Return begin and end of the final answer in a completion, or `None` without an answer.

    Of the places where the answer is written, it is the last one that the kind reads: with another
    text there, the answer is another. An answer that is put together from several places, or
    written otherwise than it stands, has the whole last line.
    """
    answer = kind.extract(completion)
    if not answer:
        return None
    last = place = completion.rfind(answer)
    for _ in range(_MAX_TRIES if last >= 0 else 0):
        # A digit makes another number, and no label or letter stays itself with one before it.
        if kind.extract(f"{completion[:place]}1{completion[place:]}") != answer:
            return place, place + len(answer)
        # Places may overlap, as those of 11 in 111.
        place = completion.rfind(answer, 0, place + len(answer) - 1)
        if place < 0:
            break
    if last >= 0:
        return last, last + len(answer)
    end = len(completion.rstrip())
    return completion.rfind("\n", 0, end) + 1, end


def tokens_of(
    span: tuple[int, int], num_tokens: int, chars_of: Callable[[int], int]
) -> tuple[int, int]:
    """Return the first token of a span of characters, and the one after its last.

    `chars_of(n)` is the length of the text of the first n tokens. A token that stands in the span
    with a part belongs to it.
    """
    counts = range(num_tokens + 1)
    # By bisection, because each length means decoding a prefix: of 1,000 tokens ten are decoded.
    first = bisect_right(counts, span[0], key=chars_of) - 1
    return max(first, 0), min(bisect_left(counts, span[1], key=chars_of), num_tokens)
