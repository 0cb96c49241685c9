"""What a signal says of one text or group: how likely it is broken, and by what one sees it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sign:
    """A score in [0, 1], 1 for "surely broken", and the words or numbers that show it."""

    score: float = 0.0
    found: str = ""


NO_SIGN = Sign()


def add_up(signs: Iterable[Sign]) -> Sign:
    """Return the signs as one, as if each were an independent reason to doubt.

    The score is 1 minus the product of what each leaves; the words are those of the strongest
    sign, of equally strong ones those of the first.
    """
    signs = tuple(signs)
    strongest = max(signs, key=lambda sign: sign.score, default=NO_SIGN)
    return Sign(1 - math.prod(1 - sign.score for sign in signs), strongest.found)
