"""What the kinds of this package share: where an answer stands, and that other forms differ."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.answers import markers


@dataclass(frozen=True)
class MarkedKind:
    """Takes the last of its markers; with `lenient`, what a completion without one ends in."""

    name: str
    lenient: bool = False
    finders: ClassVar[tuple[Callable[[str], markers.Found | None], ...]] = (
        markers.last_boxes,
        markers.last_answer_line,
    )
    natural_forms: ClassVar[tuple[re.Pattern[str], ...]] = ()

    def extract(self, completion: str) -> str | None:
        """Return the text of the last marker."""
        found = markers.latest(*(find(completion) for find in self.finders))
        return self.natural(completion) if found is None and self.lenient else found

    def natural(self, completion: str) -> str | None:
        """Return the last match of the first natural form that a completion has."""
        found = (markers.last_match(form, completion) for form in self.natural_forms)
        return next((text for text in found if text), None)

    def equal(self, left: str, right: str) -> bool | None:
        return False
