"""The charts of what became of proposals and groups: the funnel, refusals and majority ratios."""

from collections import Counter
from collections.abc import Sequence

from serl_trl.common.reasons import REASONS
from serl_trl.report.blocks import Block, Cell, Chart, Paragraph, Table, quoted, written
from serl_trl.report.charts import area_chart, bar_chart, heat_chart
from serl_trl.report.curves import band_of, sparks
from serl_trl.report.funnel import funnel
from serl_trl.report.sentences import percent
from serl_trl.runs.reader import Run, steps_in_buckets

_NUM_LAYERS = 5
NUM_BINS = 10
_MAX_REASONS = 40  # a filter of the user's own may give each refusal a reason of its own


def funnel_section(run: Run) -> list[Block]:
    """Return the way from proposals to trained groups, and what was refused on it and when."""
    proposals, groups = run.ledger.proposals, run.ledger.groups
    if not len(proposals) and not len(groups):
        return [Paragraph("Nothing was proposed or rolled out.", "note")]
    reasons: list[tuple[Cell, ...]] = [
        (kind, written(reason), f"{n:,}", REASONS.get(reason, "a filter of the user's own"))
        for kind, rows in (("proposal", proposals), ("group", groups))
        for reason, n in rows.reasons().most_common()
    ]
    blocks: list[Block] = [_funnel_chart(run)]
    if reasons:
        blocks.append(_refusal_chart(run))
    if len(groups):
        blocks.append(_ratio_chart(run))
    if reasons:
        headers = ("what", "reason", "refused", "meaning")
        blocks.append(Table(headers, tuple(reasons[:_MAX_REASONS])))
    return blocks


def _funnel_chart(run: Run) -> Chart:
    stages = funnel(run)
    described = ", ".join(f"{stage.name} {stage.count:,}" for stage in stages)
    bars = [(stage.name, float(stage.count), f"{stage.count:,}") for stage in stages]
    rows = tuple((stage.name, f"{stage.count:,}", stage.why) for stage in stages)
    return Chart(
        bar_chart(bars, description=f"Funnel: {described}."),
        "Funnel",
        "How many proposals became groups that were trained on.",
        Table(("stage", "count", "why the others are gone"), rows),
        wide=True,
    )


def _refusal_chart(run: Run) -> Chart:
    kinds = [rows for rows in (run.ledger.proposals, run.ledger.groups) if len(rows)]
    num_steps = max(run.num_steps, 1)
    spans = [steps_in_buckets(rows.steps, num_steps, 40) for rows in kinds]
    # Both kinds have the same spans when their last steps are the same; the shorter one decides.
    count = min(map(len, spans))
    counted = [
        Counter(
            rows.reason(row) for rows, parts in zip(kinds, spans, strict=True) for row in parts[i]
        )
        for i in range(count)
    ]
    totals = run.ledger.proposals.reasons() + run.ledger.groups.reasons()
    names = [name for name, _ in totals.most_common(_NUM_LAYERS)]
    width = num_steps / count
    # Per step, so that runs of different lengths compare.
    layers = [(name, [bucket[name] / width for bucket in counted]) for name in names]
    if len(totals) > len(names):
        # The empty reason is that of what was kept.
        rest = [bucket.total() - sum(bucket[name] for name in ["", *names]) for bucket in counted]
        layers.append(("others", [number / width for number in rest]))
    steps = [(i + 0.5) * width for i in range(count)]
    listed = ", ".join(f"{quoted(name)} {totals[name]:,}" for name in names)
    courses = tuple((written(name), sparks(values)) for name, values in layers)
    return Chart(
        area_chart(steps, layers, description=f"Refusals by reason: {listed}.", unit="per step"),
        "Refusals by reason",
        "Of proposals and of groups.",
        Table(("reason", "course"), courses),
    )


def _ratio_chart(run: Run) -> Chart:
    groups, num_steps = run.ledger.groups, max(run.num_steps, 1)
    spans = steps_in_buckets(groups.steps, num_steps, 24)
    columns = [
        [n / max(1, len(span)) for n in ratio_bins([groups.ratios[row] for row in span])]
        for span in spans
    ]
    # In Markdown three columns stand for the picture.
    third = max(1, len(columns) // 3)
    parts = (columns[:third], columns[third:-third] or columns[:1], columns[-third:])
    rows = []
    for j in reversed(range(NUM_BINS)):
        shares = [sum(column[j] for column in part) / len(part) for part in parts]
        rows.append((bin_name(j), *map(percent, shares)))
    band = band_of(run)
    svg = heat_chart(
        columns,
        num_steps=num_steps,
        description="Histogram of the majority ratios of all groups over the steps.",
        bounds=band or (),
    )
    return Chart(
        svg,
        "Majority ratios over time",
        "The darker, the more groups." + (" Dotted: the difficulty band." if band else ""),
        Table(("majority ratio", "first third", "middle", "last third"), tuple(rows)),
    )


def ratio_bins(ratios: Sequence[float]) -> list[int]:
    """Count `ratios` in `NUM_BINS` bins of [0, 1]; the upper end of a bin belongs to it.

    So 0.8 lies in 0.7 to 0.8, as it does in the difficulty band.
    """
    # What floating point puts just above an end belongs below it, too.
    bins = Counter(min(max(int(ratio * NUM_BINS - 1e-9), 0), NUM_BINS - 1) for ratio in ratios)
    return [bins[j] for j in range(NUM_BINS)]


def bin_name(number: int) -> str:
    """Return the name of a bin, as in `0.7 to 0.8`."""
    return f"{number / NUM_BINS:.1f} to {(number + 1) / NUM_BINS:.1f}"
