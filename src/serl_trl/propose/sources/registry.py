"""The sources of a run by name, each with its share of the tasks."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serl_trl.common.plugin import Plugin, Role, find, is_path
from serl_trl.common.problem import Problem
from serl_trl.propose.sources.answer_first import AnswerFirst
from serl_trl.propose.sources.base import TaskSource
from serl_trl.propose.sources.few_shot import FewShot
from serl_trl.propose.sources.given import Given
from serl_trl.propose.sources.labelled import LabelledRows
from serl_trl.propose.sources.retry import Retry
from serl_trl.propose.sources.unlabelled import UnlabelledRows

SOURCES: dict[str, type[TaskSource]] = {
    "few_shot": FewShot,
    "retry": Retry,
    "answer_first": AnswerFirst,
    "given": Given,
    "labelled": LabelledRows,
    "unlabelled": UnlabelledRows,
}
"""The sources of this package. A new one is a file beside these and a row here."""

_ROLE = Role(
    option="sources",
    takes="a task source (a subclass of serl_trl.TaskSource)",
    known=SOURCES,
    methods=("propose", "observe", "observe_filtered", "state_dict", "load_state_dict"),
    makes=True,
)


@dataclass(frozen=True)
class Share:
    """A source as an option names it, and its share of the tasks, above 0 and of any sum."""

    source: Plugin
    share: float

    @property
    def name(self) -> str:
        """The source's name, without path and options."""
        return self.source.text.partition("(")[0].rpartition(".")[2]

    @property
    def needs(self) -> frozenset[str]:
        """Which sets of rows it reads; a plug-in is asked by its class alone."""
        foreign = self.source.foreign
        return frozenset(getattr(self.source.found if foreign else self.source.make(), "needs", ()))

    @property
    def writes(self) -> bool:
        """Whether the source's tasks are new texts; see `TaskSource.writes`."""
        return bool(getattr(self.source.found, "writes", True))


def find_sources(
    items: Iterable[str | Mapping[str, float]] | str, plugins: Collection[str] = ()
) -> list[Share]:
    """Return the sources that `items` name, as `name`, `name: share` or a mapping of the two.

    A name is one of `SOURCES` or the dotted path of a class in a package of `plugins`, with or
    without options in brackets. Without a share it counts 1. Calls nothing. Raises `ValueError`
    for an unknown name, a share that is not a number above 0, and for no source at all.
    """
    pairs = named_sources(items)
    if not pairs:
        raise ValueError(f"sources=[] leaves no source; name one of {', '.join(SOURCES)}.")
    return [Share(find(text, _ROLE, plugins), share) for text, share in pairs]


def writes_new(items: Any) -> bool:
    """Return whether sources write new instructions, by their names alone.

    `items` are those of `find_sources`, or anything that a stranger's run holds in their place. A
    source that is not of this package counts as one that does.
    """
    known = _known(items)
    return known is None or any(source.writes for source in known)


def rewards_by_gold(items: Any) -> bool:
    """Return whether a source of this package has its tasks rewarded by their gold answers."""
    return any(source.by_gold for source in _known(items) or ())


def _known(items: Any) -> list[type[TaskSource]] | None:
    """Return the sources of this package by name, `TaskSource` for others; `None`: no sources."""
    try:
        pairs = named_sources(items)
    except (TypeError, ValueError):
        return None
    # A stranger's plug-in is not imported to be asked.
    return [SOURCES.get(text.partition("(")[0], TaskSource) for text, _ in pairs]


def missing_sets(needed: Collection[str], given: Collection[str]) -> Iterator[Problem]:
    """Yield which sets of rows a source needs and nobody gave."""
    for option in sorted(frozenset(needed) - frozenset(given)):
        rule, way_out = "is missing, and one of sources reads it", "give a file of such rows"
        yield Problem(option, rule=rule, way_out=way_out, others=("sources",))


def needed_sets(items: Any) -> frozenset[str] | None:
    """Return the sets that sources of this package read; `None`: there are others, or no sources.

    Calls nothing of a plug-in.
    """
    try:
        if any(is_path(text) for text, _ in named_sources(items)):
            return None
        return frozenset().union(*(share.needs for share in find_sources(items)))
    except (TypeError, ValueError):
        # Refused elsewhere, with the reason.
        return None


def named_sources(items: Any) -> list[tuple[str, float]]:
    """Return each source's name and its share, as `find_sources` reads them; finds nothing."""
    listed = [items] if isinstance(items, str) else list(items)
    return [pair for item in listed for pair in _read(item)]


def _read(item: str | Mapping[str, Any]) -> list[tuple[str, float]]:
    if isinstance(item, Mapping):
        return [(str(name), _number(name, share)) for name, share in item.items()]
    if not isinstance(item, str):
        raise TypeError(f"sources={item!r} must be a name or `name: share`.")
    name, colon, share = item.rpartition(":")
    # A colon in the brackets belongs to an option's text.
    if not colon or ")" in share or "'" in share or '"' in share:
        return [(item.strip(), 1.0)]
    return [(name.strip(), _number(name, share))]


def _number(name: Any, share: Any) -> float:
    try:
        value = float(share)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(
            f"sources={name}: {share} must give a share above 0, such as few_shot: 0.75."
        )
    return value
