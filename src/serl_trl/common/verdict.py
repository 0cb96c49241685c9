"""What every filter answers: whether a text stays, and if not, why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Whether a proposal stays; `reason` is the metric key that counts the drop.

    `detail` holds JSON values for the ledger: the nearest text and its score, the matching words,
    and so on. A kept text may have a detail, but never a reason.
    """

    keep: bool
    reason: str = ""
    detail: Mapping[str, Any] | None = None


KEEP = Verdict(True)
