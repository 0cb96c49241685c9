"""Wording of messages: what is safe to show, what a misspelt name probably meant, short lists."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

NUM_EXAMPLES = 5
NUM_NAMES = 20
_NEARLY_ALL = 0.75
_MAX_MARKS = 30  # combining marks in a row, as in Unicode's stream-safe format

# C0 and C1 controls but line feed and tab, and the marks that reverse the direction of text: in a
# terminal or a report they show something else than what the model reads.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# What nobody but the user may read, by how it looks. Every form begins with fixed characters, and
# what may be long is bounded or taken to its end, so that a search is linear in the text.
_PASSWORD = re.compile(r"(?<=://)[^\s/@:]{0,200}:[^\s/@]{1,500}(?=@)")
KNOWN = "a secret that is set in this shell or login"
SECRETS: Mapping[str, re.Pattern[str]] = {
    "a password in an address": _PASSWORD,
    "a Hugging Face token": re.compile(r"hf_[A-Za-z0-9]{20,}"),
    "an API key (sk-...)": re.compile(
        r"(?<![A-Za-z0-9])sk-(?:(?:proj|ant|or|svcacct|admin|live|test)-[\w-]{16,}"
        r"|[A-Za-z0-9]{20,})"
    ),
    "a Stripe key": re.compile(r"(?<![A-Za-z0-9])[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "an AWS key": re.compile(r"(?<![A-Za-z0-9])A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "a GitHub token": re.compile(r"gh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"),
    "a GitLab token": re.compile(r"glpat-[\w-]{20,}"),
    "a Slack token": re.compile(r"(?<![A-Za-z0-9])xox[a-z]-[A-Za-z0-9-]{10,}"),
    "a Google key": re.compile(r"AIza[\w-]{35}"),
    "a package index's token": re.compile(r"pypi-AgE[\w-]{40,}|npm_[A-Za-z0-9]{36}"),
    "a signed web token (JWT)": re.compile(r"eyJ[\w-]{8,200}\.eyJ[\w-]{8,}"),
    "a private key": re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[^-]{0,20}-----[\w+/=\\\s]*"
    ),
}


def secret_in(text: str, known: Iterable[str] = ()) -> str:
    """Return what kind of secret `text` holds, one of `known` or of `SECRETS`; empty for none."""
    if any(value in text for value in known):
        return KNOWN
    return next((name for name, form in SECRETS.items() if form.search(text)), "")


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


def holds_secret(text: str) -> bool:
    """Return whether `text` holds anything of `SECRETS`."""
    return bool(secret_in(text))


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """Return `text` with `***` in place of what `secret_in` finds."""
    for value in known:
        text = text.replace(value, "***")
    for form in SECRETS.values():
        text = form.sub("***", text)
    return text


def visible(text: str) -> str:
    """Return `text` with control characters replaced, safe to show in a terminal."""
    return CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode("utf-8")


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean ...?` for what in `known` is closest to `name`, or nothing.

    What `name` is the beginning of comes first: an abbreviation may have been meant.
    """
    known = sorted(known, key=lambda other: (len(other), other))
    starting = [other for other in known if name and other.startswith(name)][:3]
    if starting and len(name) >= _NEARLY_ALL * len(starting[0]):
        starting = starting[:1]
    found = starting or difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {' or '.join(repr(other) for other in found)}?" if found else ""


def list_names(names: Iterable[str]) -> str:
    """Return `names` with commas between them, at most `NUM_NAMES`, or `none`."""
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


def one_line(error: BaseException) -> str:
    """Return what `error` says, on one line and without its full stop."""
    return " ".join(str(error).split()).rstrip(".")
