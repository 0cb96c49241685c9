"""What a line of a proposer's output is: a word to the reader, a title, the start of a solution.

The words are in `lines.yaml`.
"""

import re

from serl_trl.common.vocabulary import load_patterns
from serl_trl.common.words import MAY_ASK

WORDS = load_patterns(__file__)
# A longer line is a sentence.
_MAX_TITLE_WORDS = 8


def is_chat(line: str) -> bool:
    """Tell whether a line speaks to the reader of the list."""
    return any(WORDS[kind].match(line) for kind in ("greeting", "closing")) or introduces(line)


def introduces(line: str) -> bool:
    """Tell whether a line tells what kind of list this is, and asks nothing."""
    return WORDS["introduction"].match(line) is not None and MAY_ASK.search(line) is None


def speaks_between(line: str, *, apart: bool, ends: bool) -> bool:
    """Tell whether a line speaks to the reader again, and is not a line of the item.

    `apart` says that a blank line precedes it, `ends` that it is the last and the item has asked.
    """
    if WORDS["greeting"].match(line):
        return apart or WORDS["about problems"].search(line) is not None
    if apart and introduces(line):
        return True
    # "These problems cover ..." ends a list even without a blank line.
    alone = apart or (ends and WORDS["these"].match(line) is not None)
    return alone and WORDS["remark"].match(line) is not None and MAY_ASK.search(line) is None


def is_heading(line: str) -> bool:
    """Tell whether a line is a heading of Markdown: "## Problems"."""
    return WORDS["heading"].match(line) is not None


def is_title(line: str) -> bool:
    """Tell whether a line is a few words that ask nothing."""
    bare = line.strip().strip("*_#:} ")  # "}" closes \textbf and \section
    words = bare.split()
    return 0 < len(words) <= _MAX_TITLE_WORDS and bare[-1:].isalnum() and not MAY_ASK.search(bare)


def is_bold_title(line: str) -> bool:
    """Tell whether a line is a title and nothing but emphasis: "**Geometry**"."""
    return WORDS["title"].match(line) is not None and is_title(line)


def without_preamble(lines: list[str]) -> list[str]:
    """Drop the leading lines that greet, announce the list, or head it."""
    for place, line in enumerate(lines):
        if line.strip() and not (is_heading(line) or is_chat(line) or is_bold_title(line)):
            return lines[place:]
    return []


def without_title(lines: list[str], *, is_headed: bool) -> list[str]:
    """Drop a first line that only names the item, when the item follows."""
    named = is_title(lines[0]) if is_headed else is_bold_title(lines[0])
    return lines[1:] if named and any(line.strip() for line in lines[1:]) else lines


def begins_solution(found: re.Match[str] | None, *, asked: bool = False) -> bool:
    """Tell whether a line begins a solution: "Answer:", "**Solution**", "Step 1:" and the like.

    Behind a line that has asked (`asked`), weaker words count as well: before it the steps of an
    algorithm may be the problem.
    """
    if found is None or (found["weak"] and not asked):
        return False
    return found["end"] in (":", "=", "：") or not (found["label"] or found["weak"])[0].islower()


def is_label(line: str) -> bool:
    """Tell whether `line` holds nothing but "Solution:" or the like."""
    found = WORDS["solution"].match(line)
    return begins_solution(found) and not line[found.end() if found else 0 :].strip(" *_")
