"""The rows that sources hand out: labelled ones with gold answers, and unlabelled questions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from serl_trl import sandbox
from serl_trl.answers.base import AnswerKind
from serl_trl.common.text import count_of, examples
from serl_trl.data.seeds import (
    Reading,
    SeedSet,
    SeedSetError,
    joined,
    make_seed_set,
    only_read_golds,
    read_golds,
    read_table,
)
from serl_trl.data.tables import open_table
from serl_trl.propose.sources.base import LABELLED, UNLABELLED, Rows

SANDBOX = {LABELLED: sandbox.labelled_set, UNLABELLED: sandbox.unlabelled_set}
"""What the name of a sandbox stands for in these options."""


def load_rows(
    option: str,
    sources: Sequence[str],
    *,
    column: str | None = None,
    answer_column: str | None = None,
    max_bad_rows: int = 0,
) -> SeedSet:
    """Read the rows of one or several files, folders, Hub datasets (split train) or sandboxes.

    They are read as a seed set is, and put together; rows of `LABELLED` must have answers. A
    `column` that a file does not have is looked for there as if it were not named, because the
    seed set and this file need not have the same. Raises `SeedSetError`.
    """
    sets = []
    for source in sources:
        if source in sandbox.MODEL_PATHS:
            sets.append(of_sandbox(option, source))
            continue
        table = open_table(source, split="train", config=None)
        columns = [name if name in table.columns else None for name in (column, answer_column)]
        reading = Reading(
            *columns,
            options=("instruction_column", "answer_column"),
            require_answers=option == LABELLED,
            max_bad_rows=max_bad_rows,
        )
        try:
            sets.append(read_table(table, reading))
        except SeedSetError as error:
            raise type(error)(f"{option}: {error}") from error
    return joined(sets)


def of_sandbox(option: str, name: str) -> SeedSet:
    """Return the rows that a sandbox has for an option."""
    rows = [{"instruction": row} if isinstance(row, str) else row for row in SANDBOX[option](name)]
    return make_seed_set(rows, source=f"{name} {option}")


def ready(option: str, rows: SeedSet, kind: AnswerKind, *, max_bad_rows: int = 0) -> SeedSet:
    """Return rows with final answers in the place of solutions, as `kind` reads them.

    Labelled rows whose answer cannot be read are passed over as bad rows are; unlabelled ones only
    lose it. Raises `SeedSetError` where they are too many.
    """
    if option == UNLABELLED:
        return read_golds(rows, kind)
    return only_read_golds(rows, kind, max_bad_rows=max_bad_rows, option="answer_column")


def without_twins(sets: Mapping[str, SeedSet]) -> dict[str, SeedSet]:
    """Return the sets without the unlabelled rows that are labelled, which are dropped and named.

    Voted on as well, a row could be rewarded against its own gold answer.
    """
    found = dict(sets)
    if len(found) < 2:
        return found
    rows, labelled = found[UNLABELLED], set(found[LABELLED].instructions)
    fresh = [row for row, text in enumerate(rows.instructions) if text not in labelled]
    dropped = len(rows) - len(fresh)
    if not fresh:
        raise SeedSetError(
            f"{UNLABELLED}: all {count_of(dropped, 'row')} of {rows.source} are labelled too; give "
            "others, or leave the set out."
        )
    if dropped:
        places = [f"{rows.places[row]}." for row in range(len(rows)) if row not in set(fresh)]
        said = f"dropped {count_of(dropped, 'row')} of {UNLABELLED} that are labelled too"
        rows = replace(rows, warnings=(*rows.warnings, f"{said}:\n{examples(places)}"))
    return {**found, UNLABELLED: only(rows, fresh)}


def naming_seeds(rows: SeedSet, option: str, seeds: SeedSet | None) -> SeedSet:
    """Return rows with a warning that names those which are seeds too; they stay."""
    known = frozenset(seeds.instructions if seeds else ())
    pairs = zip(rows.places, rows.instructions, strict=True)
    if not (places := [f"{place}." for place, text in pairs if text in known]):
        return rows
    said = f"{count_of(len(places), 'row')} of {option} stand in the seed set too"
    why = "as seeds they are examples, and the source given would have them voted on"
    return replace(rows, warnings=(*rows.warnings, f"{said}: {why}:\n{examples(places)}"))


def only(rows: SeedSet, numbers: Sequence[int]) -> SeedSet:
    """Return the rows of these numbers; the fingerprint stays that of what was read."""
    names = ("instructions", "answers", "places")
    parts = {name: tuple(getattr(rows, name)[number] for number in numbers) for name in names}
    return replace(rows, **parts)


def as_rows(rows: SeedSet) -> Rows:
    """Return what a source is offered: each instruction with its gold answer or `None`."""
    return tuple(zip(rows.instructions, rows.answers, strict=True))
