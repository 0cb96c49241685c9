"""The first pages of a report: the short answers, the warnings, the inputs, before and after."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from serl_trl.common.text import count_of
from serl_trl.report.blocks import (
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
from serl_trl.report.charts import Mark, interval_chart
from serl_trl.report.collapse import collapse, signs_of_collapse
from serl_trl.report.curves import CURVES
from serl_trl.report.findings import (
    Measured,
    commonest_answer,
    figures_of,
    first_and_last,
    improvement,
    interval_of,
    label_answer,
    label_meaning,
    measured_of,
    num_trained,
    percent,
    points,
    probe_ends,
    warnings_of,
    what_refused,
    what_trained,
)
from serl_trl.runs.facts import is_machine_path
from serl_trl.runs.reader import Run, number_in

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
WORDS = (
    ("group", "all completions of one problem that are voted on together"),
    (
        "majority answer, majority ratio",
        "the commonest answer of a group, and its share of the group: agreement, not accuracy",
    ),
    ("label", "the answer that is rewarded; with label_reward vote it is the majority answer"),
    (
        "kept, band",
        "a group is kept to train on when its majority ratio lies in the difficulty band, between "
        "difficulty_low and difficulty_high: lower is noise, higher too easy",
    ),
    (
        "gold",
        "a right answer that is known, from the user's data or a solver (gold_oracle); unless "
        "label_reward is gold it is only counted with",
    ),
    ("held-out problems", "problems with known answers that are kept out of training"),
    ("probe set", "held-out problems that are measured during the run"),
    ("pass@1", "the chance that one completion is right"),
    ("pass@16", "the chance that at least one of 16 completions is right (or of another number)"),
    ("maj@16", "the chance that the commonest answer of 16 completions is right (likewise)"),
    ("greedy", "share of problems right when the model always takes its likeliest token"),
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


def words_used() -> Table:
    """Return what the words mean that the first pages use."""
    return Table(("word on this page", "meaning"), WORDS)


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
    blocks: list[Block] = [Paragraph(one_line(text), "warn") for text in found]
    if not found:
        blocks.append(Paragraph("Nothing stands out.", "good"))
    if run.ledger.starved is not None:
        diagnosis = written(run.ledger.starved[1], max_chars=3000)
        blocks.append(Excerpt(diagnosis, ("What the run said when it stopped.",)))
    if n := run.ledger.num_resumed:
        note = (
            f"The run was taken up again from an earlier step {count_of(n, 'time')}, and did anew "
            "what came after that step; here it is counted once."
        )
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
    if config.get("gold_oracle"):
        oracle = written(config["gold_oracle"], max_chars=200)
        rows.append(("gold answers come from a solver (gold_oracle)", oracle))
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
            ("gold answers in the seed set", golds),
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
    """Return the measured figures with their intervals, else those of the probe."""
    found = improvement(run)
    blocks: list[Block] = [Paragraph(found.answer, found.tone), Paragraph(found.certainty)]
    sides = [run.comparison.get(side) for side in ("base", "trained")]
    if all(sides):
        # The page may be mailed: of a folder only its name is told.
        names = [PurePath(str(s)).name if is_machine_path(str(s)) else str(s) for s in sides]
        base, trained = map(one_line, names)
        text = f"Measured by serl eval --compare: {base} before, {trained} after training."
        blocks.append(Paragraph(text, "note"))
    measured = measured_of(run)
    for each in measured:
        blocks += _measured_blocks(each)
    return blocks if measured else blocks + _probe_blocks(run)


def _measured_blocks(measured: Measured) -> list[Block]:
    rows: list[tuple[Cell, ...]] = []
    marks = []
    for name, parts in measured.figures.items():
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
    caption = "The dot is the figure, the bar its 95 % interval over problems."
    if any(name.endswith("_rate") for name in measured.figures):
        caption += (
            " In the table, unparsable_rate: completions without a final answer; truncated_rate: "
            "cut off; mean_length: tokens."
        )
    return _interval_blocks(one_line(measured.problems), caption, table, marks)


def _probe_blocks(run: Run) -> list[Block]:
    """Return the first and the last values of the probe, with intervals where they are known."""
    size = number_in(run.facts, "num_probe_problems")
    rows: list[tuple[Cell, ...]] = []
    marks = []
    for name, ((first, old), (last, new)) in probe_ends(run).items():
        label = written(name, max_chars=24)
        steps = f"{first:.0f} and {last:.0f}"
        if size:
            ends = [interval_of(rate, size) for rate in (old, new)]
            shown = [_rate_with_interval(end) for end in ends]
            marks.append(_mark(f"{name} first", ends[0], 5))
            marks.append(_mark(f"{name} last", ends[1], 0))
        else:
            shown = [percent(old), percent(new)]
        rows.append((label, steps, *shown, points(new - old)))
    if not rows:
        return []
    table = Table(("figure", "at steps", "first probe", "last probe", "change"), tuple(rows))
    caption = "The dot is the figure, the bar its cautious 95 % interval over problems."
    return _interval_blocks("Probe set", caption, table, marks)


def _interval_blocks(title: str, caption: str, table: Table, marks: Sequence[Mark]) -> list[Block]:
    if not marks:
        return [table]
    description = "; ".join(f"{mark.label} {percent(mark.mean)}" for mark in marks) + "."
    svg = interval_chart(marks, description=one_line(f"{title}: {description}"))
    title = title[0].upper() + title[1:]
    return [Chart(svg, title, caption, table, wide=True)]


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
        (
            sign.name,
            words[None if sign.shows is None else bool(sign.shows)],
            sign.start,
            sign.end,
            sign.rule,
        )
        for sign in signs_of_collapse(run)
    )
    blocks: list[Block] = [
        Paragraph(verdict, tone),
        Paragraph(
            "A model that is rewarded for agreeing with itself can learn to agree on anything. "
            "These are the marks of that. The limits are rules of thumb; nothing is decided by "
            "them."
        ),
        Table(("sign", "shows?", "first", "last", "what that is, and when it shows"), rows),
    ]
    if common := commonest_answer(run):
        answer, share, number = common
        note = (
            f"The commonest majority answer, which wins {percent(share)} of the last "
            f"{count_of(number, 'group')}."
        )
        blocks.append(Excerpt(written(answer, max_chars=120), (note,)))
    return blocks
