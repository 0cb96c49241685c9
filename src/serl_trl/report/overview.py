"""The first sections of a report: the short answers, the warnings, collapse, what was trained."""

from typing import Any

from serl_trl.common.text import count_of
from serl_trl.labels.registry import meaning_of
from serl_trl.report.blocks import (
    Block,
    Cell,
    Excerpt,
    Paragraph,
    Question,
    Table,
    quoted,
    written,
)
from serl_trl.report.collapse import collapse, signs_of_collapse
from serl_trl.report.differences import option_cell
from serl_trl.report.figures import commonest_answer
from serl_trl.report.funnel import what_refused, what_trained
from serl_trl.report.improvement import improvement
from serl_trl.report.labels import label_answer
from serl_trl.report.sentences import percent, say
from serl_trl.report.warnings import warnings_of
from serl_trl.report.words import GLOSSARY, OPTIONS
from serl_trl.runs.reader import Run, number_in


def in_short(run: Run) -> list[Block]:
    """Return the questions that a reader has first, answered."""
    found = improvement(run)
    verdict, tone = collapse(run)
    ended = run.ledger.ended
    # Enough learnt is an end as planned; an alarm is none.
    why = "warn" if ended and ended.collapsed else "good"
    return [
        *([Question("Why did it stop?", quoted(ended.sentence), why)] if ended else []),
        Question("Did it improve?", found.answer, found.tone),
        Question("By how much, and how sure is that?", found.certainty),
        Question("What was it trained on?", what_trained(run)),
        Question("Are the labels right?", label_answer(run)),
        Question("What was refused, and why?", what_refused(run)),
        Question("Is it collapsing?", verdict, tone),
        Question("Did it finish?", *_finished(run)),
    ]


def words_used() -> Table:
    """Return what the words mean that the first sections use."""
    return Table(("word on this page", "meaning"), tuple(GLOSSARY.items()))


def _finished(run: Run) -> tuple[str, str]:
    # -1 where the config does not say, as in TRL.
    planned, step, verdict = number_in(run.config, "max_steps") or -1, run.num_steps, "whole"
    if run.ledger.starved is not None:
        verdict, step = "starved", run.ledger.starved[0]
    elif run.ledger.spent is not None:
        verdict = "spent"
    elif run.ledger.ended is not None:
        verdict = "guarded" if run.ledger.ended.collapsed else "enough"
        step = run.ledger.ended.step
    elif planned < 0:
        verdict = "unplanned"
    elif step < planned:
        verdict = "early"
    # A run that was resumed logs its time each time it ends; the last one is of this ending.
    seconds = [value for _, value in run.series("train_runtime")][-1:]
    answer = say("finished", verdict=verdict, step=step, planned=planned, seconds=sum(seconds))
    # An ending that was not planned is a warning; one without a plan is neither good nor bad.
    tones = {"starved": "warn", "guarded": "warn", "early": "warn", "unplanned": ""}
    return answer, tones.get(verdict, "good")


def warnings_section(run: Run) -> list[Block]:
    """Return what to know before trusting the run."""
    blocks: list[Block] = [Paragraph(quoted(text), "warn") for text in warnings_of(run)]
    if not blocks:
        blocks.append(Paragraph("Nothing stands out.", "good"))
    if run.ledger.starved is not None:
        diagnosis = written(run.ledger.starved[1], max_chars=3000)
        blocks.append(Excerpt(diagnosis, ("What the run said when it stopped.",)))
    if n := run.ledger.num_resumed:
        blocks.append(Paragraph(say("resumed", times=n), "note"))
    return blocks


def inputs_section(run: Run) -> list[Block]:
    """Return what was trained on what: inputs, versions, the options asked for first."""
    config = run.config
    rows: list[tuple[Cell, ...]] = [
        (name, written(value, max_chars=500)) for name, value in _facts(run).items() if value
    ]
    if not run.facts:
        rows.append(("model and seed set", "not noted in this folder"))
    if config.get("gold_oracle"):
        oracle = written(config["gold_oracle"], max_chars=200)
        rows.append(("gold answers come from a solver (gold_oracle)", oracle))
    if config.get("task_template"):
        template = written(config["task_template"], max_chars=1000)
        rows.append(("what is asked of each text (task_template)", template))
    rows.append(("what the label is", meaning_of(config)))
    rows += [(written(name), option_cell(config[name])) for name in OPTIONS if name in config]
    return [Table(("what", "value"), tuple(rows))]


def _facts(run: Run) -> dict[str, str]:
    """Return what the run noted of its inputs, by names that a reader knows; empty for unknown."""
    facts = run.facts
    if not facts:
        return {}
    # A hostile file may hold anything: only texts and numbers are taken from it.
    texts = {key: value for key, value in facts.items() if isinstance(value, str)}
    numbers = {key: f"{n:,.0f}" for key in facts if (n := number_in(facts, key)) is not None}
    seeds = f"{numbers.get('num_seeds')} from {texts.get('seed_source', 'a local file')}"
    return {
        "base model": f"{texts.get('base', 'a local folder')} {texts.get('base_revision', '')}",
        "architecture": texts.get("architecture", ""),
        "parameters": numbers.get("num_parameters", ""),
        "what was trained": "an adapter" if facts.get("adapter") else "all weights",
        "seed set": seeds if "num_seeds" in numbers else "",
        "gold answers in the seed set": numbers.get("num_gold_seeds", "0"),
        "labelled rows": numbers.get("num_labelled", "").removeprefix("0"),
        "unlabelled rows": numbers.get("num_unlabelled", "").removeprefix("0"),
        "fingerprint of the seed set": texts.get("seed_sha256", ""),
        "probe problems": numbers.get("num_probe_problems", ""),
        "kept out of training": _listed(facts.get("evaluation_sets")),
        "versions": _listed(facts.get("versions")),
        "device": texts.get("device", ""),
    }


def _listed(names: Any) -> str:
    if not isinstance(names, dict):
        return ""
    return ", ".join(f"{name} {value}" for name, value in sorted(names.items()))


def collapse_section(run: Run) -> list[Block]:
    """Return the signs of collapse, and the commonest answer."""
    words = {True: "yes", False: "no", None: "unknown"}
    rows = tuple(
        (sign.name, words[sign.shows], sign.start, sign.end, sign.rule)
        for sign in signs_of_collapse(run)
    )
    blocks: list[Block] = [
        Paragraph(*collapse(run)),
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
