"""What each source of a run gave: groups, agreement, labels, rewards, and places in batches."""

import re

from serl_trl.report.blocks import Block, Cell, Paragraph, Table, written
from serl_trl.report.figures import first_and_last
from serl_trl.report.sentences import percent
from serl_trl.runs.reader import Run

# A run names a few; its file may be a stranger's.
_MAX_SOURCES = 20
_KEY = re.compile(r"serl/source/(\w{1,60})/num_groups")
_HEADERS = (
    "source",
    "groups",
    "kept",
    "agreement",
    "right labels",
    "reward, first and last fifth",
    "share of the batches",
    "times through its rows",
)


def sources_section(run: Run) -> list[Block]:
    """Return a row for each of several sources."""
    found = (_KEY.fullmatch(key) for row in run.metrics for key in row)
    names = list(dict.fromkeys(match[1] for match in found if match))[:_MAX_SOURCES]
    if not names:
        return [Paragraph("All tasks came from one source, whose figures stand above.", "note")]
    rows = tuple((written(name, max_chars=60), *_row(run, name)) for name in names)
    return [
        Paragraph(
            "Labels are right where the gold answer is known and the majority answer is equal to "
            "it; labelled rows are rewarded by their gold answers whatever the majority says. The "
            "reward is that of all groups rolled out, so on labelled rows it is how often the "
            "model is right on what it trains on."
        ),
        Table(_HEADERS, rows),
    ]


def _row(run: Run, name: str) -> list[Cell]:
    series = {
        key: run.series(f"serl/source/{name}/{key}")
        for key in ("num_groups", "reward", "trained_ratio", "epochs")
    }
    ends, epochs = first_and_last(series["reward"]), series["epochs"]
    trained = [value for _, value in series["trained_ratio"]]
    return [
        f"{sum(value for _, value in series['num_groups']):,.0f}",
        *(_mean(run, name, key) for key in ("kept_ratio", "majority_ratio", "label_accuracy")),
        "\u2013" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}",
        percent(sum(trained) / len(trained)) if trained else "\u2013",
        f"{epochs[-1][1]:.1f}" if epochs else "\u2013",
    ]


def _mean(run: Run, name: str, key: str) -> str:
    """Return the mean of a ratio over the groups of all steps, as a percentage."""
    start = f"serl/source/{name}"
    pairs = [
        (row[f"{start}/{key}"], row.get(f"{start}/num_groups", 0.0))
        for row in run.metrics
        if f"{start}/{key}" in row
    ]
    whole = sum(weight for _, weight in pairs)
    return percent(sum(value * n for value, n in pairs) / whole) if whole > 0 else "\u2013"
