"""Which names and texts are secrets: they reach no log, no card and no data set."""

import re

_SECRET_WORDS = {"TOKEN", "KEY", "APIKEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS"}


def is_secret(name: str) -> bool:
    """Return whether a setting of that name holds a secret: one of its words is TOKEN, KEY, ..."""
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^A-Z0-9]+", name.upper()))
