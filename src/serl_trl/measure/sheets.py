"""A comparison as text: the same tables and sentences for Markdown and for a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serl_trl.common import markdown
from serl_trl.common.intervals import Interval
from serl_trl.common.text import count_of, visible
from serl_trl.measure.comparison import LOWER_WINS, Comparison
from serl_trl.measure.several import Several
from serl_trl.measure.transitions import TRANSITIONS, counted

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Sheet:
    """What was compared on one benchmark; of each table the first row is its head."""

    title: str
    tables: tuple[Rows, ...]
    notes: tuple[str, ...]


def sheet_of(each: Comparison) -> Sheet:
    """Return the sheet of one benchmark on two sides."""
    heads = ("figure", "base", "trained", "difference, 95 % paired", "wins", "losses", "ties")
    rows = [
        [label(d.figure), f"{d.base:.3f}", f"{d.trained:.3f}", shown(d.difference)]
        + [str(number) for number in (d.wins, d.losses, d.ties)]
        for d in each.differences
    ]
    counts = counted(each.transitions)
    fates = [["problems", *TRANSITIONS], ["trained", *_with_shares(counts, each.num_problems)]]
    notes = [
        f"McNemar on {name}: right only in base {found.only_base}, only in trained "
        f"{found.only_trained}, exact p = {found.p_value:.3g}."
        for name, found in (("greedy", each.greedy), ("majority", each.majority))
        if found
    ]
    vote = each.beyond_vote
    notes.append(
        f"The base's maj@{each.num_samples}, a vote without training: {vote['before'].mean:.3f}. "
        f"The trained model's pass@1: {vote['after'].mean:.3f}, a difference of "
        f"{shown(vote['change'])}."
    )
    title = f"{each.benchmark}, {each.num_problems} problems"
    return Sheet(title, ([heads, *rows], fates), (*notes, *_settings(each.other_settings)))


def sheet_of_several(each: Several, names: Sequence[str]) -> Sheet:
    """Return the sheet of one benchmark of several runs, which `names` tells apart."""
    labels = [f"run {number}" for number in range(1, len(names) + 1)]
    heads = ("figure", "base", *labels, "mean difference, 95 % over problems", "over runs")
    rows = [
        [label(spread.figure), f"{spread.base:.3f}", *(f"{mean:.3f}" for mean in spread.trained)]
        + [shown(spread.difference), spread.over_runs.bounds(sign="+")]
        for spread in (*each.spreads, each.beyond_vote)
    ]
    fates = [["problems", *TRANSITIONS]]
    for name, run in zip(labels, each.runs, strict=True):
        fates.append([name, *_with_shares(counted(run.transitions), each.num_problems)])
    notes = [f"{name}: {_plain(shown)}." for name, shown in zip(labels, names, strict=True)]
    notes.append(f"Every run lost {count_of(each.num_always_lost, 'problem')}.")
    notes.append(
        "The first interval covers which problems were asked (clustered by problem over the runs), "
        "the second which seed trained (Student's t). Trust the wider one."
    )
    others = dict.fromkeys(line for run in each.runs for line in run.other_settings)
    title = f"{each.benchmark}, {each.num_problems} problems"
    return Sheet(title, ([heads, *rows], fates), (*notes, *_settings(list(others))))


def _with_shares(counts: Mapping[str, int], num_problems: int) -> list[str]:
    return [f"{n} ({n / max(num_problems, 1):.1%})" for n in counts.values()]


def _settings(others: Sequence[str]) -> list[str]:
    if not others:
        return []
    return [f"Measured under other settings (base / trained): {_plain('; '.join(others))}."]


def as_markdown(base: str, trained: str, sheets: Sequence[Sheet]) -> str:
    """Return sheets as Markdown; `trained` names the run, or all of them."""
    parts = [f"# {_plain(trained)} against {_plain(base)}"]
    for sheet in sheets:
        parts.append(f"## {sheet.title}")
        parts += [markdown.table(head, rows) for head, *rows in sheet.tables]
        parts += sheet.notes
    return "\n\n".join(parts) + "\n"


def label(figure: str) -> str:
    """Return a figure's name as it stands in a table, with what wins where that is the lower."""
    return f"{figure} (lower wins)" if figure in LOWER_WINS else figure


def shown(interval: Interval) -> str:
    """Return a difference with its interval, each with its sign."""
    return f"{interval.mean:+.3f} {interval.bounds(sign='+')}"


def _plain(text: str) -> str:
    """Return `text` on one line, without what Markdown or HTML would read as markup."""
    return " ".join("".join(c if c not in "|<>`*#" else " " for c in visible(text)).split())
