"""What is a secret, by its name and by its looks: it reaches no log, no card and no data set."""

import re
from collections.abc import Iterable, Mapping

_SECRET_WORDS = {"TOKEN", "KEY", "APIKEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS"}

# Secrets by how they look. Every form begins with fixed characters, and what may be long is bounded
# or taken to its end, so that a search is linear in the text, which may be a model's.
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


def is_secret(name: str) -> bool:
    """Return whether a setting of that name holds a secret: one of its words is TOKEN, KEY, ..."""
    # Whole words count: KEY is one, MONKEY is not.
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^A-Z0-9]+", name.upper()))


def secret_in(text: str, known: Iterable[str] = ()) -> str:
    """Return what kind of secret `text` holds, one of `known` or of `SECRETS`; empty for none."""
    if any(value in text for value in known):
        return KNOWN
    return next((name for name, form in SECRETS.items() if form.search(text)), "")


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """Return `text` with `***` in place of what `secret_in` finds."""
    for value in known:
        text = text.replace(value, "***")
    for form in SECRETS.values():
        text = form.sub("***", text)
    return text
