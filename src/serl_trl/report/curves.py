"""The charts of a report: curves of the metrics, time, refusals, majority ratios, the funnel."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serl_trl.report.blocks import Block, Cell, Chart, Paragraph, Table, one_line, written
from serl_trl.report.charts import Line, area_chart, bar_chart, heat_chart, line_chart
from serl_trl.report.findings import REASONS, funnel, gold_known, labels_of, percent
from serl_trl.runs.reader import Run, number_in, steps_in_buckets

_NUM_LAYERS = 5
_SPARKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


@dataclass(frozen=True)
class Curve:
    """One chart of the metrics: its title, what it means, its lines as (metric, label)."""

    title: str
    meaning: str
    lines: tuple[tuple[str, str], ...]
    unit: str = ""
    percent: bool = False


GOLD = "Labels compared with gold"
CURVES = (
    Curve(
        "Agreement",
        "Majority ratio: share of the commonest answer of a group. It is not accuracy.",
        (("serl/majority_ratio", "before band"), ("serl/kept_majority_ratio", "after band")),
        percent=True,
    ),
    Curve(
        GOLD,
        "Share of right ones: labels of all groups rolled out, labels of the kept ones, and "
        "rewards (completions of all groups whose reward is the one that gold would give). Groups "
        "without a known gold or a majority answer are not in it",
        (
            ("serl/label_accuracy", "all labels"),
            ("serl/kept_label_accuracy", "kept labels"),
            ("serl/reward_accuracy", "rewards"),
        ),
        percent=True,
    ),
    Curve(
        "Kept labels, estimated",
        "Share of right ones among the latest kept groups, gold or not, going by how right the "
        "probe set's labels are at the same agreement; with the ends of its 95 % interval.",
        (
            ("serl/kept_label_accuracy_estimate", "estimate"),
            ("serl/kept_label_accuracy_low", "low"),
            ("serl/kept_label_accuracy_high", "high"),
        ),
        percent=True,
    ),
    Curve(
        "Probe set",
        "Held-out problems with known answers. The line begins at the first probe, not at the "
        "untrained model.",
        (
            ("serl/probe/pass@1", "pass@1"),
            ("serl/probe/maj@*", "majority"),
            ("serl/probe/pass@*", "any right"),
        ),
        percent=True,
    ),
    Curve(
        "The commonest answer",
        "Share of one majority answer among the last 256 groups. A rise is the sign of collapse.",
        (("serl/commonest_answer_ratio", "share"),),
        percent=True,
    ),
    Curve(
        "Kept",
        "Groups kept of those rolled out, and proposals accepted of those written.",
        (("serl/kept_ratio", "groups"), ("serl/accepted_ratio", "proposals")),
        percent=True,
    ),
    Curve(
        "Entropy",
        "How varied the tokens are that the model writes; near 0 it always writes the same.",
        (("entropy", "entropy"),),
        unit="nats per token",
    ),
    Curve(
        "Length",
        "Mean length of a completion.",
        (("completions/mean_length", "length"),),
        unit="tokens",
    ),
    Curve(
        "Completions without a vote",
        "No final answer could be read, or the text was cut off.",
        (("serl/unparsable_ratio", "no vote"), ("serl/truncated_ratio", "cut off")),
        percent=True,
    ),
    Curve(
        "Similarity",
        "Largest ROUGE-L of a proposal to anything known, and share of the commonest template.",
        (("serl/similarity", "ROUGE-L"), ("serl/top_template_ratio", "template")),
        percent=True,
    ),
    Curve(
        "Pool",
        "Seeds plus accepted proposals.",
        (("serl/pool_size", "pool"),),
        unit="instructions",
    ),
)
PARTS = (
    ("serl/time/propose_s", "propose"),
    ("serl/time/rollout_s", "roll out"),
    ("serl/time/own_s", "filter, vote"),
    ("step_time", "update"),
)


def curves_section(runs: Sequence[Run]) -> list[Block]:
    """Return the curves of the metrics; two runs share each chart."""
    blocks: list[Block] = []
    for curve in CURVES:
        lines = _lines(runs, curve)
        if not lines:
            continue
        rows = tuple(_course(line, percentage=curve.percent) for line in lines)
        description = "; ".join(f"{row[0]} from {row[1]} to {row[2]}" for row in rows)
        bounds: Sequence[float] = ()
        meaning = curve.meaning
        if curve.title == "Agreement":
            bounds, dotted = _bands(runs)
            meaning += dotted
        elif curve.title == GOLD:
            meaning += f": {'; '.join(_whose(runs, gold_known))}."
        svg = line_chart(
            lines,
            description=f"{curve.title}: {description}.",
            percent=curve.percent,
            unit=curve.unit,
            bounds=bounds,
        )
        table = Table(("line", "first", "last", "lowest", "highest", "course"), rows)
        blocks.append(Chart(svg, curve.title, meaning, table))
    return blocks or [Paragraph("No metrics were logged, so there are no curves.", "note")]


def _lines(runs: Sequence[Run], curve: Curve) -> list[Line]:
    """Return the lines of a chart; a run's label leads where there are two, and B is dashed."""
    lines = []
    for number, run in enumerate(runs):
        for colour, (key, label) in enumerate(curve.lines):
            found = run.series(_matching(run, key))
            if not found:
                continue
            letter = "AB"[number]
            several = len(curve.lines) > 1
            name = label if len(runs) == 1 else f"{letter} {label}" if several else letter
            lines.append(Line(name, found, colour if several else number, dashed=number == 1))
    return lines


def _matching(run: Run, key: str) -> str:
    """Return the logged metric that `key` names; `*` stands for a number above 1."""
    if not key.endswith("*"):
        return key
    stem = key[:-1]
    names = {name for row in run.metrics for name in row if name.startswith(stem)}
    numbers = sorted(int(n[len(stem) :]) for n in names if n[len(stem) :].isdigit())
    wanted = [number for number in numbers if number > 1]
    return f"{stem}{wanted[-1]}" if wanted else key


def _whose(runs: Sequence[Run], say: Callable[[Run], str]) -> list[str]:
    """Return what `say` says of each run, after its letter where there are two."""
    if len(runs) == 1:
        return [say(runs[0])]
    return [f"{letter}: {say(run)}" for letter, run in zip("AB", runs, strict=True)]


def _bands(runs: Sequence[Run]) -> tuple[list[float], str]:
    """Return the ends of the difficulty bands of all runs, and a sentence that names them."""
    bands = [_band(run) for run in runs]
    if not any(bands):
        return [], ""
    ends = sorted({end for band in bands for end in band or ()})
    if len(set(bands)) == 1:
        return ends, f" Dotted: the difficulty band, {_band_text(runs[0])}."
    return ends, f" Dotted: the difficulty bands, {'; '.join(_whose(runs, _band_text))}."


def _band_text(run: Run) -> str:
    band = _band(run)
    return f"{percent(band[0])} to {percent(band[1])}" if band else "none"


def _band(run: Run) -> tuple[float, float] | None:
    config = run.config
    low, high = number_in(config, "difficulty_low"), number_in(config, "difficulty_high")
    if low is None or high is None or not config.get("use_band", True):
        return None
    return low, high


def _course(line: Line, *, percentage: bool) -> tuple[Cell, ...]:
    values = [value for _, value in line.points]
    shown = [
        percent(value) if percentage else f"{value:.4g}"
        for value in (values[0], values[-1], min(values), max(values))
    ]
    return (line.label, *shown, _sparks(values))


def _sparks(values: Sequence[float], width: int = 20) -> str:
    """Draw values as a row of little bars, at most `width`, from the lowest to the highest."""
    step = max(1.0, len(values) / width)
    picked = [values[int(i * step)] for i in range(min(width, len(values)))]
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join(_SPARKS[int((value - low) / span * (len(_SPARKS) - 1))] for value in picked)


def times_section(runs: Sequence[Run]) -> list[Block]:
    """Return one chart per run of the seconds that the parts of a step take."""
    blocks: list[Block] = []
    for label, run in zip(labels_of(runs), runs, strict=True):
        rows = [row for row in run.metrics if all(key in row for key, _ in PARTS)]
        if not rows:
            continue
        size = -(-len(rows) // 80)
        spans = [rows[i : i + size] for i in range(0, len(rows), size)]
        steps = [sum(row["step"] for row in span) / len(span) for span in spans]
        layers = [
            (name, [sum(max(row[key], 0.0) for row in span) / len(span) for span in spans])
            for key, name in PARTS
        ]
        means = [(name, sum(row[key] for row in rows) / len(rows)) for key, name in PARTS]
        whole = sum(value for _, value in means) or 1.0
        listed = tuple((name, f"{v:.1f} s", percent(v / whole)) for name, v in means)
        description = "Mean seconds per step: " + ", ".join(f"{n} {v:.1f}" for n, v in means) + "."
        whose = f" ({label})" if len(runs) > 1 else ""
        svg = area_chart(steps, layers, description=f"Time{whose}. {description}", unit="seconds")
        table = Table(("part", "mean", "share"), listed)
        blocks.append(Chart(svg, f"Time{whose}", description, table))
    return blocks


def funnel_section(run: Run) -> list[Block]:
    """Return the way from proposals to trained groups, and what was refused on it and when."""
    stages = funnel(run)
    blocks: list[Block] = []
    if not len(run.ledger.proposals) and not len(run.ledger.groups):
        return [Paragraph("Nothing was proposed or rolled out.", "note")]
    bars = [(stage.name, float(stage.count), f"{stage.count:,}") for stage in stages]
    rows = tuple((stage.name, f"{stage.count:,}", stage.why) for stage in stages)
    description = ", ".join(f"{stage.name} {stage.count:,}" for stage in stages)
    blocks.append(
        Chart(
            bar_chart(bars, description=f"Funnel: {description}."),
            "Funnel",
            "How many proposals became groups that were trained on.",
            Table(("stage", "count", "why the others are gone"), rows),
            wide=True,
        )
    )
    reasons = [
        (kind, reason, n)
        for kind, rows in (("proposal", run.ledger.proposals), ("group", run.ledger.groups))
        for reason, n in rows.reasons().most_common()
    ]
    if reasons:
        listed: tuple[tuple[Cell, ...], ...] = tuple(
            (kind, written(reason), f"{n:,}", REASONS.get(reason, "a filter of the user's own"))
            for kind, reason, n in reasons[:40]
        )
        blocks.append(_refusal_chart(run))
        if len(run.ledger.groups):
            blocks.append(_ratio_chart(run))
        blocks.append(Table(("what", "reason", "refused", "meaning"), listed))
    elif len(run.ledger.groups):
        blocks.append(_ratio_chart(run))
    return blocks


def _refusal_chart(run: Run) -> Chart:
    ledger = run.ledger
    totals = ledger.proposals.reasons() + ledger.groups.reasons()
    names = [name for name, _ in totals.most_common(_NUM_LAYERS)]
    others = len(totals) > len(names)
    num_steps = max(run.num_steps, 1)
    per_kind = [
        (rows, steps_in_buckets(rows.steps, num_steps, 40))
        for rows in (ledger.proposals, ledger.groups)
        if len(rows)
    ]
    # Both kinds have the same spans when their last steps are the same; the longer one decides.
    count = min(len(spans) for _, spans in per_kind)
    counted = [
        Counter(rows.reason(row) for rows, spans in per_kind for row in spans[i])
        for i in range(count)
    ]
    width = num_steps / count
    steps = [(i + 0.5) * width for i in range(count)]
    layers = [(name, [bucket[name] / width for bucket in counted]) for name in names]
    if others:
        rest = [
            sum(n for name, n in bucket.items() if name and name not in names) / width
            for bucket in counted
        ]
        layers.append(("others", rest))
    listed = ", ".join(f"{one_line(name)} {totals[name]:,}" for name in names)
    table = Table(
        ("reason", "course"),
        tuple((written(name), _sparks(values)) for name, values in layers),
    )
    return Chart(
        area_chart(steps, layers, description=f"Refusals by reason: {listed}.", unit="per step"),
        "Refusals by reason",
        "Of proposals and of groups.",
        table,
    )


def _ratio_chart(run: Run, num_bins: int = 10) -> Chart:
    groups = run.ledger.groups
    num_steps = max(run.num_steps, 1)
    columns = []
    for span in steps_in_buckets(groups.steps, num_steps, 24):
        counts = [0] * num_bins
        for row in span:
            # The upper end belongs to a bin, as it does to the band: 0.8 lies in 0.7 to 0.8.
            counts[min(max(int(groups.ratios[row] * num_bins - 1e-9), 0), num_bins - 1)] += 1
        columns.append([n / max(1, len(span)) for n in counts])
    third = max(1, len(columns) // 3)
    names = ("first third", "middle", "last third")
    parts = (columns[:third], columns[third:-third] or columns[:1], columns[-third:])
    rows = []
    for j in reversed(range(num_bins)):
        shares = [sum(column[j] for column in part) / len(part) for part in parts]
        rows.append((f"{j / num_bins:.1f} to {(j + 1) / num_bins:.1f}", *map(percent, shares)))
    band = _band(run)
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
        Table(("majority ratio", *names), tuple(rows)),
    )
