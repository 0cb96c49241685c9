"""The texts of a report: instructions accepted and refused, groups with their votes, a lineage."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from serl_trl.common.text import count_of
from serl_trl.report.blocks import (
    Block,
    Cell,
    Excerpt,
    Excerpts,
    Paragraph,
    Table,
    Written,
    one_line,
    written,
)
from serl_trl.report.findings import REASONS, percent
from serl_trl.runs.reader import Run, number_in

# What a filter notes of a proposal, by names that a reader knows.
DETAILS = {
    "rouge_l": "ROUGE-L to the nearest",
    "nearest": "Nearest known text",
    "cosine": "Cosine to the nearest",
    "nearest_meaning": "Nearest in meaning",
    "found": "What was found",
    "evaluation_set": "Evaluation set",
    "row": "Row",
    "shared": "Words in common",
    "num_same_template": "Known texts alike but for their numbers",
    "num_chars": "Characters",
}
NUM_TEXTS = 20
NUM_GROUPS = 5
NUM_CONTAMINATED = 10
MAX_ANCESTORS = 5
_MAX_COUNTED = 20_000


def contamination_section(run: Run) -> list[Block]:
    """Return what overlapped an evaluation set, counted by set and listed."""
    proposals = run.ledger.proposals
    rows = [row for row in proposals.refused() if proposals.reason(row) == "contamination"]
    seeds = run.ledger.num_seed_overlaps
    blocks: list[Block] = []
    if seeds:
        blocks.append(Paragraph(f"{count_of(seeds, 'seed')} overlap an evaluation set.", "warn"))
    if not rows:
        text = "No proposal was refused for overlapping an evaluation set."
        return [*blocks, Paragraph(text, "note")]
    sets: Counter[str] = Counter()
    items = []
    for row in rows[:_MAX_COUNTED]:
        record = run.ledger.read(proposals.places[row])
        detail = _mapping(record, "detail")
        sets[str(detail.get("evaluation_set", "unnamed"))[:120]] += 1
        if len(items) < NUM_CONTAMINATED:
            items.append(_proposal_excerpt(record))
    counted = tuple((written(name), f"{n:,}") for name, n in sets.most_common(20))
    return [
        *blocks,
        Paragraph(
            f"{count_of(len(rows), 'proposal')} overlapped a problem of an evaluation set and "
            f"{'was' if len(rows) == 1 else 'were'} refused, so that none of them is trained on. "
            f"Shown: {len(items)} of {len(rows):,}; the ledger has all."
        ),
        Table(("evaluation set", "refused"), counted),
        Excerpts(tuple(items)),
    ]


def accepted_section(run: Run) -> list[Block]:
    """Return twenty accepted instructions, spread over the run."""
    proposals = run.ledger.proposals
    rows = _spread(proposals.kept(), NUM_TEXTS)
    if not rows:
        return [Paragraph("No instruction was accepted.", "note")]
    title = f"{len(rows)} of {len(proposals.kept()):,}, spread evenly over the run."
    records = [run.ledger.read(proposals.places[row]) for row in rows]
    return [Paragraph(title, "note"), Excerpts(tuple(_proposal_excerpt(r) for r in records))]


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
    reasons = sorted(by_reason, key=lambda reason: (-len(by_reason[reason]), reason))
    rows = [by_reason[reason][len(by_reason[reason]) // 2] for reason in reasons][:NUM_TEXTS]
    rest = sorted(set(refused) - set(rows))
    rows = sorted(rows + _spread(rest, NUM_TEXTS - len(rows)))
    title = f"{len(rows)} of {len(refused):,}: at least one of each reason, the rest spread evenly."
    records = [run.ledger.read(proposals.places[row]) for row in rows]
    return [Paragraph(title, "note"), Excerpts(tuple(_proposal_excerpt(r) for r in records))]


def _spread(rows: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of `rows`, evenly spread."""
    if len(rows) <= count:
        return list(rows)
    return [rows[len(rows) * i // count] for i in range(count)]


def _proposal_excerpt(record: dict[str, Any]) -> Excerpt:
    """Return a proposal with its fate; the numbers and texts of its detail stand below it."""
    step = record.get("step")
    notes = [f"Step {step}." if isinstance(step, int) else ""]
    related: list[tuple[str, Written]] = []
    reason = one_line(str(record.get("reason") or ""))
    if not record.get("keep"):
        meaning = REASONS.get(reason, "")
        notes.append(f"Refused ({reason})" + (f": {meaning}." if meaning else "."))
    detail = _mapping(record, "detail")
    for key, value in list(detail.items())[:8]:
        name = DETAILS.get(key, one_line(key)[:40].replace("_", " "))
        if isinstance(value, bool | int | float):
            notes.append(f"{name}: {number_in(detail, key) or 0:.3g}.")
        elif key == "nearest" and record.get("keep"):
            continue  # of interest only where it is the reason
        elif value is not None:
            related.append((f"{name}:", written(value, max_chars=300)))
    text = written(record.get("text", ""))
    return Excerpt(text, (" ".join(note for note in notes if note),), tuple(related))


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
        blocks += _group_blocks(run, row)
    return blocks


def _chosen_groups(run: Run) -> list[int]:
    """Return five groups that show what happens: kept ones, a wrong label, common refusals."""
    groups = run.ledger.groups
    kept = groups.kept()
    wrong = [row for row in kept if groups.rights[row] == 0]
    sources = [_spread(kept, 2), _spread(wrong, 1)]
    for reason, _ in groups.reasons().most_common(2):
        rows = [row for row in groups.refused() if groups.reason(row) == reason]
        sources.append(_spread(rows[len(rows) // 2 :], 1))
    sources.append(_spread(range(len(groups)), NUM_GROUPS * 2))
    chosen = list(dict.fromkeys(row for rows in sources for row in rows))
    return sorted(chosen[:NUM_GROUPS])


def _group_blocks(run: Run, row: int) -> list[Block]:
    record = run.ledger.read(run.ledger.groups.places[row])
    votes = {
        str(answer): int(n)
        for answer, n in _mapping(record, "answers").items()
        if isinstance(n, int) and n >= 0
    }
    unparsable = int(number_in(record, "num_unparsable") or 0)
    size = sum(votes.values()) + unparsable
    majority, gold = record.get("majority_answer"), record.get("gold")
    ratio = number_in(record, "majority_ratio") or 0.0
    reason = one_line(str(record.get("reason") or ""))
    meaning = REASONS.get(reason, reason)
    fate = "Kept for training." if record.get("keep") else f"Not used ({reason}): {meaning}."
    notes = [f"Step {record.get('step')}. {fate} Majority ratio {percent(ratio)}."]
    if gold is not None:
        right = record.get("label_right")
        verdict = "" if right is None else "The label is right." if right else "The label is wrong."
        notes.append(verdict)
    elif run.config.get("gold_oracle"):
        notes.append("The solver (gold_oracle) has no exact answer for it.")
    related = [("Gold answer, for comparison:", written(gold, max_chars=120))] if gold else []
    rows: list[tuple[Cell, ...]] = [
        (
            written(answer, max_chars=120),
            f"{n:,}",
            percent(n / max(size, 1)),
            "majority answer" if answer == majority else "",
        )
        for answer, n in sorted(votes.items(), key=lambda item: (-item[1], item[0]))[:10]
    ]
    if len(votes) > 10:
        rest = sum(sorted(votes.values(), reverse=True)[10:])
        rows.append((f"{len(votes) - 10} other answers", f"{rest:,}", percent(rest / size), ""))
    if unparsable:
        share = percent(unparsable / max(size, 1))
        rows.append(("no final answer", f"{unparsable:,}", share, "no vote"))
    text = written(record.get("instruction", ""))
    notes = tuple(note for note in notes if note)
    return [
        Excerpt(text, notes, tuple(related)),
        Table(("answer", "votes", "share", ""), tuple(rows)),
    ]


def lineage_section(run: Run) -> list[Block]:
    """Follow one trained instruction back through the examples it was written after."""
    proposals, groups = run.ledger.proposals, run.ledger.groups
    trained = [
        (group, row)
        for group in reversed(groups.kept()[-400:])
        if (row := run.proposal_row(groups.proposals[group])) is not None
    ]
    if not trained:
        return [Paragraph("No instruction that was proposed has been kept for training.", "note")]
    group, row = next(
        ((g, r) for g, r in trained if _own_examples(run, r, run.ledger.read(proposals.places[r]))),
        trained[0],
    )
    items = []
    label = f"Kept for training at step {groups.steps[group]}, as group {groups.ids[group]}."
    for _ in range(MAX_ANCESTORS):
        record = run.ledger.read(proposals.places[row])
        own = _own_examples(run, row, record)
        shots = _shots(record)
        seeds = [shot[5:] for shot in shots if shot.startswith("seed:")]
        after = (
            f"Proposal {proposals.ids[row]}, written at step {proposals.steps[row]} after "
            f"{count_of(len(shots), 'example')}: "
            f"{count_of(len(seeds), 'seed')} (numbers {', '.join(seeds) or 'none'}) and "
            f"{count_of(len(shots) - len(seeds), 'instruction')} of its own."
        )
        items.append(Excerpt(written(record.get("text", "")), (label, one_line(after))))
        if not own:
            break
        row = own[0]
        label = "One of the examples that the one above was written after."
    explained = "From the trained instruction back to what it was written after:"
    return [Paragraph(explained, "note"), Excerpts(tuple(items))]


def _own_examples(run: Run, row: int, record: dict[str, Any]) -> list[int]:
    """Return the rows of the proposals among the examples that a proposal was written after."""
    found = [run.shot_row(row, shot) for shot in _shots(record)]
    return [each for each in found if each is not None]


def _shots(record: dict[str, Any]) -> list[str]:
    shots = record.get("shots")
    return [str(shot)[:40] for shot in shots[:100]] if isinstance(shots, list) else []
