"""Wording of messages: what is safe to show, what a misspelt name probably meant, short lists."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

# A message stays short enough to be read, whatever a file holds.
NUM_EXAMPLES = 5
NUM_NAMES = 20
_NEARLY_ALL = 0.75  # of a name was given: no other can be meant
_MAX_MARKS = 30  # combining marks in a row, as in Unicode's stream-safe format

# C0 and C1 controls but line feed and tab, and the marks that reverse the direction of text: in a
# terminal or a report they show something else than what the model reads.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# Controls, direction marks, surrogates, private and unassigned characters; joiners join letters.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SHOWN = {"\n", "\u200c", "\u200d"}
# Letters take two accents in real languages; towers of them cover the lines above.
_MAX_STACKED = 2


def compose(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Return `text` in Unicode `form`, with at most 30 combining marks in a row.

    Composition takes quadratic time in a run of marks, and no script needs runs as long.
    """
    if text.isascii():
        return text
    kept = []
    num_marks = 0
    for sign in text:
        num_marks = num_marks + 1 if unicodedata.combining(sign) else 0
        if num_marks <= _MAX_MARKS:
            kept.append(sign)
    return unicodedata.normalize(form, "".join(kept))


def visible(text: str) -> str:
    """Return `text` with control characters replaced, safe to show in a terminal."""
    return CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode("utf-8")


def harmless(text: str) -> str:
    """Return a stranger's `text` for a page: hidden characters become U+FFFD, line feeds stay.

    Of accents stacked on one letter two stay.
    """
    kept, num_marks = [], 0
    for sign in text.replace("\r\n", "\n").replace("\t", " "):
        num_marks = num_marks + 1 if unicodedata.combining(sign) else 0
        if num_marks <= _MAX_STACKED:
            hidden = sign not in _SHOWN and unicodedata.category(sign) in _HIDDEN
            kept.append("\ufffd" if hidden else sign)
    return "".join(kept)


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?` for what in `known` is closest to `name`, or nothing.

    What `name` is the beginning of comes first: an abbreviation may have been meant.
    """
    known = sorted(known, key=lambda other: (len(other), other))
    # Without any letter every name would begin with it.
    starting = [other for other in known if name and other.startswith(name)][:3]
    if starting and len(name) >= _NEARLY_ALL * len(starting[0]):
        starting = starting[:1]
    found = starting or difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {' or '.join(repr(other) for other in found)}?" if found else ""


def list_names(names: Iterable[str]) -> str:
    """Return `names` with commas between them, at most `NUM_NAMES`, or `none`."""
    # Names may be keys of somebody's JSON, of any type and with any sign.
    listed = [visible(str(name)) for name in names]
    more = f" and {len(listed) - NUM_NAMES} more" if len(listed) > NUM_NAMES else ""
    return (", ".join(listed[:NUM_NAMES]) or "none") + more


def count_of(number: int, noun: str) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def examples(lines: Sequence[str]) -> str:
    """Return the first `NUM_EXAMPLES` of `lines`, indented, and how many more there are."""
    shown = [f"  {line}" for line in lines[:NUM_EXAMPLES]]
    rest = len(lines) - len(shown)
    return "\n".join([*shown, f"  and {rest:,} more."] if rest else shown)


def shortened(text: str, most: int) -> str:
    """Return `text`, or its beginning and three dots where it has more than `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def one_line(error: BaseException) -> str:
    """Return what `error` says, on one line and without its full stop."""
    return " ".join(str(error).split()).rstrip(".")
