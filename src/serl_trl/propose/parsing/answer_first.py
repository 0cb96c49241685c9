"""The problem in what a proposer wrote behind its solution, and the answer of that solution."""

import re
from dataclasses import dataclass

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import extract_answer
from serl_trl.propose.parsing.lists import PREFIX
from serl_trl.propose.parsing.proposals import clean, parse_proposals
from serl_trl.propose.parsing.tags import without_thoughts

# To the end of its line: what stands behind an answer there belongs to the solution.
_BOX = re.compile(r"\\(?:boxed|fbox)\b[^\n]*")


@dataclass(frozen=True)
class Solved:
    """A problem and the answer, as written, that its author gave before it."""

    problem: str
    answer: str


def parse_answer_first(
    text: str,
    *,
    kind: str | AnswerKind = "math",
    truncated: bool = False,
    asking: bool = True,
) -> Solved | None:
    """Return the problem behind the first solution in `text`; `None` without answer or problem.

    The solution ends with the line of its first box, or where there is none, before a line such as
    "Problem:". Of all that follows, the first item that `parse_proposals` reads is the problem,
    which takes `truncated` and `asking`. Never raises, and its time is linear in the length.
    """
    text = without_thoughts(clean(text))
    box = _BOX.search(text)
    head = PREFIX.search(text, box.end() if box else 0)
    end = box.end() if box else head.start() if head else len(text)
    answer = extract_answer(text[:end], kind=kind)
    # Words between box and head end the solution, such as the close of its formula.
    rest = text[head.start() if head else end :]
    items = parse_proposals(rest, truncated=truncated, asking=asking)
    return Solved(items[0], answer) if items and answer is not None else None
