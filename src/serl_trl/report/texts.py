"""The texts of a report: instructions accepted and refused, groups with their votes, a lineage."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from serl_trl.common.reasons import REASONS
from serl_trl.common.text import count_of
from serl_trl.report.blocks import (
    Block,
    Cell,
    Excerpt,
    Excerpts,
    Paragraph,
    Table,
    Written,
    quoted,
    written,
)
from serl_trl.report.sentences import percent, say
from serl_trl.report.words import DETAILS
from serl_trl.runs.reader import Run, number_in

T = TypeVar("T")

# Enough to see what the model writes, and few enough to be read.
NUM_TEXTS = 20
NUM_GROUPS = 5
NUM_CONTAMINATED = 10
NUM_BROKEN = 10
NUM_ANSWERS = 10
MAX_ANCESTORS = 5
# A ledger can hold millions of records; a page needs no more of them than this.
_MAX_COUNTED = 20_000
_MAX_SEARCHED = 400


def contamination_section(run: Run) -> list[Block]:
    """Return what overlapped an evaluation set, counted by set and listed."""
    proposals, seeds = run.ledger.proposals, run.ledger.num_seed_overlaps
    blocks: list[Block] = []
    if seeds:
        blocks.append(Paragraph(f"{count_of(seeds, 'seed')} overlap an evaluation set.", "warn"))
    rows = [row for row in proposals.refused() if proposals.reason(row) == "contamination"]
    if not rows:
        text = "No proposal was refused for overlapping an evaluation set."
        return [*blocks, Paragraph(text, "note")]
    sets: Counter[str] = Counter()
    items = []
    for row in rows[:_MAX_COUNTED]:
        record = _proposal(run, row)
        # A stranger's ledger may name anything, and as many sets as it likes; twenty are shown.
        sets[str(_mapping(record, "detail").get("evaluation_set", "unnamed"))[:120]] += 1
        if len(items) < NUM_CONTAMINATED:
            items.append(_proposal_excerpt(record))
    text = say("contaminated", number=len(rows), shown=len(items))
    counted = tuple((written(name), f"{n:,}") for name, n in sets.most_common(20))
    table = Table(("evaluation set", "refused"), counted)
    return [*blocks, Paragraph(text), table, Excerpts(tuple(items))]


def validity_section(run: Run) -> list[Block]:
    """Return what was refused as a broken question: by which signal, and ten examples."""
    ledger = run.ledger
    places = [
        (rows.places[row], excerpt)
        for rows, excerpt in (
            (ledger.proposals, _proposal_excerpt),
            (ledger.groups, lambda record: _group_excerpt(run, record)),
        )
        for row in rows.refused()
        if rows.reason(row) == "validity"
    ]
    if not places:
        return [Paragraph("No question was refused as broken.", "note")]
    signals = Counter(
        str(_mapping(ledger.read(place), "detail").get("signal", "unnamed"))[:40]
        for place, _ in _spread(places, _MAX_SEARCHED)
    )
    shown = _spread(places, NUM_BROKEN)
    text = say("broken", number=len(places), looked_at=signals.total(), shown=len(shown))
    counted = tuple((written(name), f"{n:,}") for name, n in signals.most_common(20))
    examples = tuple(excerpt(ledger.read(place)) for place, excerpt in shown)
    return [Paragraph(text), Table(("signal that decided", "refused"), counted), Excerpts(examples)]


def accepted_section(run: Run) -> list[Block]:
    """Return twenty accepted instructions, spread over the run."""
    kept = run.ledger.proposals.kept()
    if not kept:
        return [Paragraph("No instruction was accepted.", "note")]
    rows = _spread(kept, NUM_TEXTS)
    return _listed(run, rows, f"{len(rows)} of {len(kept):,}, spread evenly over the run.")


def refused_section(run: Run) -> list[Block]:
    """Return twenty refused instructions with the reasons, each reason at least once."""
    proposals = run.ledger.proposals
    refused = proposals.refused()
    if not refused:
        return [Paragraph("No instruction was refused.", "note")]
    by_reason: defaultdict[str, list[int]] = defaultdict(list)
    for row in refused:
        by_reason[proposals.reason(row)].append(row)
    # One of each reason first, the commonest ones leading; then evenly from all.
    alike = sorted(by_reason.values(), key=lambda rows: (-len(rows), proposals.reason(rows[0])))
    rows = [each[len(each) // 2] for each in alike][:NUM_TEXTS]
    rest = sorted(set(refused) - set(rows))
    rows = sorted(rows + _spread(rest, NUM_TEXTS - len(rows)))
    title = f"{len(rows)} of {len(refused):,}: at least one of each reason, the rest spread evenly."
    return _listed(run, rows, title)


def _listed(run: Run, rows: Sequence[int], title: str) -> list[Block]:
    items = tuple(_proposal_excerpt(_proposal(run, row)) for row in rows)
    return [Paragraph(title, "note"), Excerpts(items)]


def _spread(rows: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of `rows`, evenly spread."""
    if len(rows) <= count:
        return list(rows)
    return [rows[len(rows) * i // count] for i in range(count)]


def _proposal(run: Run, row: int) -> dict[str, Any]:
    return run.ledger.read(run.ledger.proposals.places[row])


def _proposal_excerpt(record: dict[str, Any]) -> Excerpt:
    """Return a proposal with its fate; the numbers and texts of its detail stand below it."""
    step, reason = record.get("step"), quoted(str(record.get("reason") or ""))
    notes = [f"Step {step}."] if isinstance(step, int) else []
    if not record.get("keep"):
        meaning = REASONS.get(reason)
        notes.append(f"Refused ({reason}): {meaning}." if meaning else f"Refused ({reason}).")
    found, related = _detail(record)
    return Excerpt(written(record.get("text", "")), (" ".join([*notes, *found]),), related)


def _detail(record: dict[str, Any]) -> tuple[list[str], tuple[tuple[str, Written], ...]]:
    """Return the numbers of a record's detail as notes, and its texts."""
    notes: list[str] = []
    related: list[tuple[str, Written]] = []
    detail = _mapping(record, "detail")
    # A filter of the user's own may note anything, and as much of it as it likes.
    for key, value in list(detail.items())[:8]:
        name = DETAILS.get(key, quoted(key)[:40].replace("_", " "))
        if isinstance(value, bool | int | float):
            notes.append(f"{name}: {number_in(detail, key) or 0:.3g}.")
        # The nearest text is of interest only where it is the reason.
        elif value is not None and not (key == "nearest" and record.get("keep")):
            related.append((f"{name}:", written(value, max_chars=300)))
    return notes, tuple(related)


def _mapping(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def groups_section(run: Run) -> list[Block]:
    """Return five groups with their votes."""
    groups = run.ledger.groups
    if not len(groups):
        return [Paragraph("No group was rolled out.", "note")]
    blocks: list[Block] = []
    for row in _chosen_groups(run):
        record = run.ledger.read(groups.places[row])
        blocks += [_group_excerpt(run, record), _votes(record)]
    return blocks


def _chosen_groups(run: Run) -> list[int]:
    """Return five groups that show what happens: kept ones, a wrong label, common refusals."""
    groups = run.ledger.groups
    kept = groups.kept()
    # A wrong label that was trained on is what a reader learns most from.
    wrong = [row for row in kept if groups.rights[row] == 0]
    chosen = _spread(kept, 2) + _spread(wrong, 1)
    for reason, _ in groups.reasons().most_common(2):
        rows = [row for row in groups.refused() if groups.reason(row) == reason]
        chosen.append(rows[len(rows) // 2])
    chosen += _spread(range(len(groups)), NUM_GROUPS * 2)
    return sorted(list(dict.fromkeys(chosen))[:NUM_GROUPS])


def _group_excerpt(run: Run, record: dict[str, Any]) -> Excerpt:
    reason, gold = quoted(str(record.get("reason") or "")), record.get("gold")
    fate = f"Not used ({reason}): {REASONS.get(reason, reason)}."
    if record.get("keep"):
        fate = "Kept for training."
    ratio = percent(number_in(record, "majority_ratio") or 0.0)
    notes = [f"Step {quoted(str(record.get('step')))}. {fate} Majority ratio {ratio}."]
    right = record.get("label_right")
    if gold is not None and right is not None:
        notes.append("The label is right." if right else "The label is wrong.")
    elif gold is None and run.config.get("gold_oracle"):
        notes.append("The solver (gold_oracle) has no exact answer for it.")
    known = (("Gold answer, for comparison:", written(gold, max_chars=120)),) if gold else ()
    found, related = _detail(record)
    return Excerpt(written(record.get("instruction", "")), (*notes, *found), (*known, *related))


def _votes(record: dict[str, Any]) -> Table:
    votes = Counter(
        {
            str(answer): int(n)
            for answer, n in sorted(_mapping(record, "answers").items())
            if isinstance(n, int) and n >= 0
        }
    )
    unparsable = int(number_in(record, "num_unparsable") or 0)
    size = max(votes.total() + unparsable, 1)
    rows: list[tuple[Cell, ...]] = []
    for answer, n in votes.most_common(NUM_ANSWERS):
        won = "majority answer" if answer == record.get("majority_answer") else ""
        rows.append((written(answer, max_chars=120), f"{n:,}", percent(n / size), won))
    if len(votes) > NUM_ANSWERS:
        rest = votes.total() - sum(n for _, n in votes.most_common(NUM_ANSWERS))
        others = f"{len(votes) - NUM_ANSWERS} other answers"
        rows.append((others, f"{rest:,}", percent(rest / size), ""))
    if unparsable:
        rows.append(("no final answer", f"{unparsable:,}", percent(unparsable / size), "no vote"))
    return Table(("answer", "votes", "share", ""), tuple(rows))


def lineage_section(run: Run) -> list[Block]:
    """Follow one trained instruction back through the examples it was written after."""
    groups = run.ledger.groups
    trained = [
        (group, row)
        for group in reversed(groups.kept()[-_MAX_SEARCHED:])
        if (row := run.proposal_row(groups.proposals[group])) is not None
    ]
    if not trained:
        return [Paragraph("No instruction that was proposed has been kept for training.", "note")]
    # One that came after an instruction of the model's own shows more than one after seeds alone.
    group, row = next((each for each in trained if _own_examples(run, each[1])), trained[0])
    items = []
    label = f"Kept for training at step {groups.steps[group]}, as group {groups.ids[group]}."
    # Proposals only come after earlier ones, so this ends; it is cut to what is read.
    for _ in range(MAX_ANCESTORS):
        text = written(_proposal(run, row).get("text", ""))
        items.append(Excerpt(text, (label, quoted(_written_after(run, row)))))
        own = _own_examples(run, row)
        if not own:
            break
        row = own[0]
        label = "One of the examples that the one above was written after."
    explained = "From the trained instruction back to what it was written after:"
    return [Paragraph(explained, "note"), Excerpts(tuple(items))]


def _written_after(run: Run, row: int) -> str:
    proposals, shots = run.ledger.proposals, _shots(run, row)
    seeds = [shot[5:] for shot in shots if shot.startswith("seed:")]
    identity, step = proposals.ids[row], proposals.steps[row]
    return say("written_after", proposal=identity, step=step, examples=len(shots), seeds=seeds)


def _own_examples(run: Run, row: int) -> list[int]:
    """Return the rows of the proposals among the examples that a proposal was written after."""
    found = [run.shot_row(row, shot) for shot in _shots(run, row)]
    return [each for each in found if each is not None]


def _shots(run: Run, row: int) -> list[str]:
    shots = _proposal(run, row).get("shots")
    # Bounded, since a ledger may be somebody else's.
    return [str(shot)[:40] for shot in shots[:100]] if isinstance(shots, list) else []
