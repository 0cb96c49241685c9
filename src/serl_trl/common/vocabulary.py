"""Vocabularies: YAML files of regular expressions, one alternative a line."""

import re
from collections.abc import Iterator, Sequence

from serl_trl.common import words
from serl_trl.common.plain_yaml import own_table

# Upper case, so that neither a quantifier ({1,20}) nor LaTeX (\begin\{array\}) is taken for one.
_NAME = re.compile(r"\{([A-Z_]+)\}")


# What every vocabulary may name, beside its own fragments: words in many languages, and Markdown's
# emphasis.
_SHARED = {
    "ANSWER_KEY": words.ANSWER_KEY,
    "COUNTER": words.COUNTER,
    "EMPHASIS": r"\*{1,3}|_{2,3}",
    "FOREIGN_ANSWER": words.FOREIGN_ANSWER,
    "ITEM": words.ITEM,
    "SPACED_ANSWER": words.SPACED_ANSWER,
    "START": words.START,
    "UNSPACED_ANSWER": words.UNSPACED_ANSWER,
}


def load_patterns(module: str) -> dict[str, re.Pattern[str]]:
    """Return the patterns in the YAML file beside `module`, a Python file, compiled without case.

    Each line of an entry is one alternative, and the first that fits wins. An entry in capitals is
    a fragment: `{NAME}` stands for it, or for a shared one, in the entries further down. Lines that
    begin with "# " are comments.

    All repetitions are bounded or possessive by convention: a degenerate model writes any text, and
    `tests/unit/test_growth.py` checks that reading it takes linear time.
    """
    sources = dict(_SHARED)
    for name, text in own_table(module).items():
        lines = [line for line in text.splitlines() if line and not line.startswith("# ")]
        sources[name] = _NAME.sub(lambda found: f"(?:{sources[found[1]]})", "|".join(lines))
    return {
        # Fragments are patterns only where they are put in.
        name: re.compile(source, re.IGNORECASE)
        for name, source in sources.items()
        if not name.isupper()
    }


def with_ends(marks: Sequence[re.Match[str]], end: int) -> Iterator[tuple[re.Match[str], int]]:
    """Yield each mark with the place where what it heads ends: at the next mark, or at `end`."""
    starts = [mark.start() for mark in marks] + [end]
    return zip(marks, starts[1:], strict=True)
