"""The first pages of a report: the short answers, the warnings, the inputs, before and after."""

from collections.abc import Sequence
from typing import Any

from serl_trl.report_blocks import (
    Block,
    Cell,
    Chart,
    Excerpt,
    Paragraph,
    Question,
    Table,
    one_line,
    written,
)
from serl_trl.report_charts import Mark, interval_chart
from serl_trl.report_curves import CURVES
from serl_trl.report_findings import (
    collapse,
    commonest_answer,
    figures_of,
    first_and_last,
    improvement,
    label_answer,
    label_meaning,
    num_trained,
    percent,
    points,
    signs_of_collapse,
    warnings_of,
    what_refused,
    what_trained,
)
from serl_trl.run_files import Run, number_in
from serl_trl.texts import count_of

# Options that a reader asks for first; a comparison lists every option that differs.
OPTIONS = (
    "label_reward",
    "prompt_source",
    "advantage",
    "answer_kind",
    "num_generations",
    "use_band",
    "difficulty_low",
    "difficulty_high",
    "learning_rate",
    "beta",
    "temperature",
    "num_requests",
    "num_shots",
    "max_rouge_l",
    "max_completion_length",
    "max_steps",
    "seed",
)
# Where files lie and how the console looks says nothing about a difference.
_UNIMPORTANT = {"output_dir", "disable_tqdm", "run_name", "logging_dir", "show_steps", "hub_token"}


def in_short(run: Run) -> list[Block]:
    """Return the questions that a reader has first, answered."""
    found = improvement(run)
    verdict, tone = collapse(run)
    return [
        Question("Did it improve?", found.answer, found.tone),
        Question("By how much, and how sure is that?", found.certainty),
        Question("What was it trained on?", what_trained(run)),
        Question("Are the labels right?", label_answer(run)),
        Question("What was refused, and why?", what_refused(run)),
        Question("Is it collapsing?", verdict, tone),
        _finished(run),
    ]


def _finished(run: Run) -> Question:
    question = "Did it finish?"
    planned = number_in(run.config, "max_steps")
    if run.ledger.starved is not None:
        step, _ = run.ledger.starved
        answer = f"No: it found no group to train on any more and stopped at step {step}."
        return Question(question, answer, "warn")
    if run.ledger.spent is not None:
        answer = f"Yes: all planned rollouts were made, in {count_of(run.num_steps, 'step')}."
        return Question(question, answer, "good")
    if not planned or planned < 0:
        return Question(question, f"It did {count_of(run.num_steps, 'step')}.")
    if run.num_steps < planned:
        answer = f"No: {run.num_steps} of {planned:.0f} steps are there."
        return Question(question, answer, "warn")
    spent = [row["train_runtime"] for row in run.metrics if "train_runtime" in row]
    time = f", in {_duration(spent[-1])}" if spent else ""
    return Question(question, f"Yes: {count_of(run.num_steps, 'step')}{time}.", "good")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def differences(runs: Sequence[Run]) -> list[Block]:
    """Return the figures of two runs beside one another, and the options that differ."""
    first, second = runs
    rows: list[tuple[Cell, ...]] = []
    for name, one, two, change in _compared(first, second):
        rows.append((name, one, two, change))
    blocks: list[Block] = [Table(("figure", "A", "B", "B \u2212 A"), tuple(rows))]
    names = sorted(first.config.keys() | second.config.keys())
    options: list[tuple[Cell, ...]] = [
        (
            written(name, max_chars=60),
            _option(first.config.get(name)),
            _option(second.config.get(name)),
        )
        for name in names
        if name not in _UNIMPORTANT and first.config.get(name) != second.config.get(name)
    ]
    if options:
        blocks.append(Table(("option", "A", "B"), tuple(options[:60])))
    else:
        blocks.append(Paragraph("All options are the same.", "note"))
    return blocks


def _compared(first: Run, second: Run) -> list[tuple[str, str, str, str]]:
    """Return the figures of two runs beside one another: name, A, B, difference."""
    rows = []
    one, two = figures_of(first), figures_of(second)
    for name in [name for name in one if name in two]:
        if not _is_rate(name):
            continue
        old, new = one[name]["after"][0], two[name]["after"][0]
        shown = written(f"{name} after training", max_chars=60).text
        rows.append((shown, percent(old), percent(new), points(new - old)))
    wanted = [
        (key, f"{curve.title}: {label}", curve.percent)
        for curve in CURVES
        for key, label in curve.lines
        if "*" not in key
    ]
    for key, label, rate in wanted:
        ends = [first_and_last(run.series(key)) for run in (first, second)]
        if ends[0] and ends[1]:
            old, new = ends[0][1], ends[1][1]
            change = points(new - old) if rate else f"{new - old:+.3g}"
            shown = [percent(v) if rate else f"{v:.4g}" for v in (old, new)]
            rows.append((f"{label}, at the end", shown[0], shown[1], change))
    trained = [num_trained(run) for run in (first, second)]
    if trained[0] is not None and trained[1] is not None:
        rows.append(
            (
                "groups trained on",
                f"{trained[0]:,}",
                f"{trained[1]:,}",
                f"{trained[1] - trained[0]:+,}",
            )
        )
    return rows


def _option(value: Any) -> Cell:
    if value is None:
        return "none"
    return written(
        value if isinstance(value, str | int | float) else "a list or table", max_chars=160
    )


def warnings_section(run: Run) -> list[Block]:
    """Return what to know before trusting the run."""
    found = warnings_of(run)
    if not found:
        return [Paragraph("Nothing stands out.", "good")]
    blocks: list[Block] = [Paragraph(one_line(text), "warn") for text in found]
    if run.ledger.starved is not None:
        diagnosis = written(run.ledger.starved[1], max_chars=3000)
        blocks.append(Excerpt(diagnosis, ("What the run said when it stopped.",)))
    if n := run.ledger.num_resumed:
        note = f"The run was resumed {count_of(n, 'time')}; what it did twice is counted once."
        blocks.append(Paragraph(note, "note"))
    return blocks


def inputs_section(run: Run) -> list[Block]:
    """Return what was trained on what: inputs, versions, the options asked for first."""
    config = run.config
    rows: list[tuple[Cell, ...]] = [
        (name, written(value, max_chars=500)) for name, value in _facts(run) if value
    ]
    if not run.facts:
        rows.append(("model and seed set", "not noted in this folder"))
    rows.append(("what the label is", label_meaning(config.get("label_reward"))))
    rows += [(written(name), _option(config[name])) for name in OPTIONS if name in config]
    return [Table(("what", "value"), tuple(rows))]


def _facts(run: Run) -> list[tuple[str, str]]:
    """Return what `run_facts.py` noted, by names that a reader knows; empty where it is unknown."""
    facts = run.facts
    whole = {
        key: f"{number:,.0f}"
        for key in ("num_parameters", "num_seeds", "num_gold_seeds", "num_probe_problems")
        if (number := number_in(facts, key)) is not None
    }
    texts = {key: value for key, value in facts.items() if isinstance(value, str)}
    seeds = texts.get("seed_source", "a local file")
    versions, kept_out = facts.get("versions"), facts.get("evaluation_sets")
    golds = whole.get("num_gold_seeds", "0")
    return (
        [
            (
                "base model",
                f"{texts.get('base', 'a local folder')} {texts.get('base_revision', '')}",
            ),
            ("architecture", texts.get("architecture", "")),
            ("parameters", whole.get("num_parameters", "")),
            ("what was trained", "an adapter" if facts.get("adapter") else "all weights"),
            ("seed set", f"{whole['num_seeds']} from {seeds}" if "num_seeds" in whole else ""),
            ("seeds with a gold answer", golds),
            ("fingerprint of the seed set", texts.get("seed_sha256", "")),
            ("probe problems", whole.get("num_probe_problems", "")),
            ("kept out of training", _listed(kept_out)),
            ("versions", _listed(versions)),
            ("device", texts.get("device", "")),
        ]
        if facts
        else []
    )


def _listed(names: Any) -> str:
    if not isinstance(names, dict):
        return ""
    return ", ".join(f"{name} {value}" for name, value in sorted(names.items()))


def before_and_after(run: Run) -> list[Block]:
    """Return the measured figures with their intervals."""
    found = improvement(run)
    figures = figures_of(run)
    blocks: list[Block] = [Paragraph(found.answer, found.tone), Paragraph(found.certainty)]
    if not figures:
        return blocks
    rows: list[tuple[Cell, ...]] = []
    marks = []
    for name, parts in figures.items():
        before, after, change = (parts[part] for part in ("before", "after", "change"))
        rate = _is_rate(name)
        show = _rate_with_interval if rate else _value_with_interval
        moved = _change_with_interval if rate else _value_with_interval
        label = written(name, max_chars=24)
        rows.append((label, show(before), show(after), moved(change)))
        if rate and not name.endswith("_rate"):
            marks.append(_mark(f"{name} before", before, 5))
            marks.append(_mark(f"{name} after", after, 0))
    table = Table(("figure", "before", "after", "change"), tuple(rows))
    if not marks:
        return [*blocks, table]
    description = "; ".join(f"{mark.label} {percent(mark.mean)}" for mark in marks) + "."
    svg = interval_chart(marks, description=one_line(description))
    caption = "The dot is the figure, the bar its 95 % interval over problems."
    return [*blocks, Chart(svg, "Held-out problems", caption, table, wide=True)]


def _is_rate(name: str) -> bool:
    return "length" not in name


def _mark(label: str, interval: tuple[float, float, float], colour: int) -> Mark:
    mean, low, high = interval
    return Mark(label, low, mean, high, colour)


def _rate_with_interval(interval: tuple[float, float, float]) -> str:
    mean, low, high = interval
    return f"{percent(mean)} ({100 * low:.1f} to {100 * high:.1f})"


def _change_with_interval(interval: tuple[float, float, float]) -> str:
    mean, low, high = interval
    return f"{points(mean)} ({100 * low:+.1f} to {100 * high:+.1f})"


def _value_with_interval(interval: tuple[float, float, float]) -> str:
    # Adding zero turns -0.0 into 0.0.
    mean, low, high = (round(value, 1) + 0.0 for value in interval)
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def collapse_section(run: Run) -> list[Block]:
    """Return the signs of collapse, and the commonest answer."""
    verdict, tone = collapse(run)
    words = {True: "yes", False: "no", None: "unknown"}
    rows = tuple(
        (sign.name, words[None if sign.shows is None else bool(sign.shows)], sign.start, sign.end)
        for sign in signs_of_collapse(run)
    )
    blocks: list[Block] = [
        Paragraph(verdict, tone),
        Paragraph(
            "A model that is rewarded for agreeing with itself can learn to agree on anything. "
            "These are the marks of that: means of the first and of the last fifth of the run. A "
            "sign shows when it passes a threshold, see docs/reading_a_report.md."
        ),
        Table(("sign", "shows?", "start", "end"), rows),
    ]
    if common := commonest_answer(run):
        answer, share, number = common
        note = (
            f"The commonest majority answer, which wins {percent(share)} of the last "
            f"{count_of(number, 'group')}."
        )
        blocks.append(Excerpt(written(answer, max_chars=120), (note,)))
    return blocks
