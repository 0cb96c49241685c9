"""Is a run collapsing? The signs of it, with what they compare and when they show.

The thresholds are rules of thumb, which the report states; nothing is decided by them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.report.blocks import one_line
from serl_trl.report.findings import (
    HIGH_COMMONEST,
    MIN_COMMONEST_GROUPS,
    by_chance,
    commonest_answer,
    first_and_last,
    measured_of,
    percent,
    probe_ends,
    what_fell,
)
from serl_trl.runs.reader import Run, number_in

HIGH_AGREEMENT = 0.9
LOW_ENTROPY = 0.25
LOW_LENGTH = 0.5
HIGH_TEMPLATE = 0.25
LABEL_DROP = 0.05
AGREEMENT_RISE = 0.02


@dataclass(frozen=True)
class Sign:
    """One sign of collapse: its figure at the start and at the end, and whether it shows.

    `rule` says which figure that is, where its two values come from, and when the sign shows.
    `shows` is `None` where the run did not log what is needed.
    """

    name: str
    start: str
    end: str
    shows: bool | None
    rule: str


def signs_of_collapse(run: Run) -> list[Sign]:
    """Return the signs of collapse, each with its figures at the start and at the end."""
    agreement = first_and_last(run.series("serl/majority_ratio"))
    entropy = first_and_last(run.series("entropy"))
    length = first_and_last(run.series("completions/mean_length"))
    template = first_and_last(run.series("serl/top_template_ratio"))
    groups = run.ledger.groups
    found = commonest_answer(run)
    before = run.series("serl/commonest_answer_ratio")
    fifths = "Means of the first and the last fifth of the logged steps"
    return [
        Sign(
            "One answer wins everywhere",
            percent(before[0][1]) if before else "\u2013",
            percent(found[1]) if found else "\u2013",
            found[1] >= HIGH_COMMONEST if found and found[2] >= MIN_COMMONEST_GROUPS else None,
            "Share of the commonest majority answer: first value logged, and last 256 groups. "
            f"Shows at {100 * HIGH_COMMONEST:.0f} % or more of at least {MIN_COMMONEST_GROUPS} "
            "groups.",
        ),
        Sign(
            "All completions agree",
            *_cells(agreement, percent),
            agreement and agreement[1] >= HIGH_AGREEMENT,
            f"Majority ratio of all groups. {fifths}. "
            f"Shows at {100 * HIGH_AGREEMENT:.0f} % or more.",
        ),
        _label_sign("More agreement, worse labels", "all", list(groups.rights), agreement),
        _label_sign(
            "More agreement, worse kept labels",
            "kept",
            [groups.rights[row] for row in groups.kept()],
            agreement,
        ),
        Sign(
            "Entropy falls to nothing",
            *_cells(entropy, "{:.3f}".format),
            entropy and entropy[1] < LOW_ENTROPY * entropy[0],
            f"Entropy, nats per token. {fifths}. "
            f"Shows below {100 * LOW_ENTROPY:.0f} % of the first.",
        ),
        Sign(
            "Completions shrink",
            *_cells(length, "{:.1f}".format),
            length and length[1] < LOW_LENGTH * length[0],
            f"Tokens of a completion. {fifths}. Shows below {100 * LOW_LENGTH:.0f} % of the first.",
        ),
        Sign(
            "Proposals are all alike",
            *_cells(template, percent),
            template and template[1] >= HIGH_TEMPLATE,
            "Share of the commonest template (text without its numbers) among the last 256 "
            f"accepted. {fifths}. Shows at {100 * HIGH_TEMPLATE:.0f} % or more.",
        ),
        _held_out_sign(run),
    ]


def _label_sign(
    name: str, which: str, rights: Sequence[int], agreement: tuple[float, float] | None
) -> Sign:
    """Compare the labels of the first and of the last third of the groups with a known gold."""
    rule = (
        f"Share of right labels, {which} groups with a known gold: their first and last third. "
        f"Shows when it fell by more than {100 * LABEL_DROP:.0f} points and than chance explains "
        "(two standard errors), while the majority ratio of all groups rose by more than "
        f"{100 * AGREEMENT_RISE:.0f} points."
    )
    known = [right for right in rights if right >= 0]
    size = len(known) // 3
    if not size:
        return Sign(name, "\u2013", "\u2013", None, rule)
    then, now = sum(known[:size]) / size, sum(known[-size:]) / size
    chance = 2 * math.sqrt((then * (1 - then) + now * (1 - now)) / size)
    shows = None
    if agreement:
        fell = then - now > max(LABEL_DROP, chance)
        shows = fell and agreement[1] - agreement[0] > AGREEMENT_RISE
    return Sign(name, percent(then), percent(now), shows, rule)


def _held_out_sign(run: Run) -> Sign:
    """Look for a fall of any measure of right answers; the one that fell most is shown."""
    name = "Held-out problems go wrong"
    if measured := [each for each in measured_of(run) if "pass@1" in each.figures]:
        rule = (
            "before and after training. Shows when the 95 % interval of the change of a pass@k, "
            "of maj@k or of greedy lies below 0."
        )
        fallen = [
            (parts["change"][0], figure, each.problems, parts)
            for each in measured
            for figure, parts in what_fell(each).items()
        ]
        if fallen:
            _, figure, problems, parts = min(fallen, key=lambda found: found[0])
            what = f"{one_line(figure)} on {problems}, which fell most"
        else:
            parts = measured[0].figures["pass@1"]
            what = f"pass@1 on {measured[0].problems}"
        shown = (percent(parts[part][0]) for part in ("before", "after"))
        return Sign(name, *shown, bool(fallen), f"{what}; {rule}")
    size = number_in(run.facts, "num_probe_problems")
    limit = f"{100 * LABEL_DROP:.0f} points" if not size else "chance explains"
    rule = (
        "at the first and the last probe. Shows when a pass@k or maj@k of the probe set fell by "
        f"more than {limit}."
    )
    ends = probe_ends(run)
    if "pass@1" not in ends:
        return Sign(name, "\u2013", "\u2013", None, f"pass@1 {rule}")
    fell = [
        (new - old, figure)
        for figure, ((_, old), (_, new)) in ends.items()
        if old - new > (by_chance(old, new, size) if size else LABEL_DROP)
    ]
    figure = min(fell)[1] if fell else "pass@1"
    (_, old), (_, new) = ends[figure]
    which = f"{one_line(figure)}, which fell most," if fell else figure
    return Sign(name, percent(old), percent(new), bool(fell), f"{which} {rule}")


def collapse(run: Run) -> tuple[str, str]:
    """Return the answer to "is it collapsing?" and its tone."""
    signs = signs_of_collapse(run)
    known = [sign for sign in signs if sign.shows is not None]
    shown = [sign for sign in known if sign.shows]
    if not known:
        return "Not known: the run logged none of the figures that would show it.", "warn"
    if not shown:
        return f"No sign of it: none of the {len(known)} signs that could be checked shows.", "good"
    names = "; ".join(sign.name[0].lower() + sign.name[1:] for sign in shown)
    return f"Look closely: {len(shown)} of {len(known)} signs show: {names}.", "warn"


def _cells(ends: Sequence[float] | None, show: Any) -> tuple[str, str]:
    return (show(ends[0]), show(ends[1])) if ends else ("\u2013", "\u2013")
