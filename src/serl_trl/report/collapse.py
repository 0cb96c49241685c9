"""Is a run collapsing? The signs of it, with what they compare and when they show.

A model that is rewarded for agreeing with itself can learn to agree on anything. The limits are
rules of thumb, which the report states; nothing is decided by them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serl_trl.report.blocks import quoted
from serl_trl.report.figures import (
    Measured,
    by_chance,
    commonest_answer,
    first_and_last,
    measured_of,
    probe_ends,
)
from serl_trl.report.sentences import percent, say
from serl_trl.report.warnings import MIN_COMMONEST_GROUPS, high_commonest
from serl_trl.runs.reader import Run, number_in

# A fall smaller than this is not worth a warning even where chance does not explain it.
LABEL_DROP = 0.05
AGREEMENT_RISE = 0.02
UNKNOWN = "\u2013"
_HELD_OUT = "Held-out problems go wrong"


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


@dataclass(frozen=True)
class Curve:
    """A sign that the end of one metric shows, by reaching `limit` or by falling far.

    With `of_first` it shows below that share of the first value, else at or above the limit.
    """

    name: str
    metric: str
    write: Callable[[float], str]
    what: str
    limit: float
    of_first: bool = False


AGREEMENT = Curve(
    "All completions agree", "serl/majority_ratio", percent, "Majority ratio of all groups", 0.9
)
CURVES = (
    Curve(
        "Entropy falls to nothing",
        "entropy",
        "{:.3f}".format,
        "Entropy, nats per token",
        0.25,
        of_first=True,
    ),
    Curve(
        "Completions shrink",
        "completions/mean_length",
        "{:.1f}".format,
        "Tokens of a completion",
        0.5,
        of_first=True,
    ),
    Curve(
        "Proposals are all alike",
        "serl/top_template_ratio",
        percent,
        "Share of the commonest template (text without its numbers) among the last 256 accepted",
        0.25,
    ),
)


def collapse(run: Run) -> tuple[str, str]:
    """Return the answer to "is it collapsing?" and its tone."""
    known = [sign for sign in signs_of_collapse(run) if sign.shows is not None]
    shown = [sign for sign in known if sign.shows]
    if not known:
        return "Not known: the run logged none of the figures that would show it.", "warn"
    if not shown:
        return f"No sign of it: none of the {len(known)} signs that could be checked shows.", "good"
    names = "; ".join(sign.name[0].lower() + sign.name[1:] for sign in shown)
    return f"Look closely: {len(shown)} of {len(known)} signs show: {names}.", "warn"


def signs_of_collapse(run: Run) -> list[Sign]:
    """Return the signs of collapse, each with its figures at the start and at the end."""
    groups = run.ledger.groups
    kept = [groups.rights[row] for row in groups.kept()]
    return [
        _one_answer(run),
        _by_curve(run, AGREEMENT),
        _worse_labels(run, "More agreement, worse labels", "all", list(groups.rights)),
        _worse_labels(run, "More agreement, worse kept labels", "kept", kept),
        *(_by_curve(run, curve) for curve in CURVES),
        _held_out(run),
    ]


def _one_answer(run: Run) -> Sign:
    before, found = run.series("serl/commonest_answer_ratio"), commonest_answer(run)
    # Of a few groups one answer may win by chance, so the sign is unknown then.
    known = found and found[2] >= MIN_COMMONEST_GROUPS
    limit = high_commonest(run)
    return Sign(
        "One answer wins everywhere",
        percent(before[0][1]) if before else UNKNOWN,
        percent(found[1]) if found else UNKNOWN,
        found[1] >= limit if found and known else None,
        say("sign_of_one_answer", limit=limit, groups=MIN_COMMONEST_GROUPS),
    )


def _by_curve(run: Run, curve: Curve) -> Sign:
    rule = say("sign_of_curve", what=curve.what, limit=curve.limit, of_first=curve.of_first)
    # Means over a fifth of the run, since single steps are noise.
    ends = first_and_last(run.series(curve.metric))
    if ends is None:
        return Sign(curve.name, UNKNOWN, UNKNOWN, None, rule)
    first, last = ends
    shows = last < curve.limit * first if curve.of_first else last >= curve.limit
    return Sign(curve.name, curve.write(first), curve.write(last), shows, rule)


def _worse_labels(run: Run, name: str, which: str, rights: Sequence[int]) -> Sign:
    """Compare the labels of the first and of the last third of the groups with a known gold."""
    rule = say("sign_of_labels", which=which, drop=LABEL_DROP, rise=AGREEMENT_RISE)
    known = [right for right in rights if right >= 0]
    # Thirds: the middle of a run says nothing of a trend, and the ends need groups enough.
    size = len(known) // 3
    if not size:
        return Sign(name, UNKNOWN, UNKNOWN, None, rule)
    then, now = sum(known[:size]) / size, sum(known[-size:]) / size
    # Two standard errors of the difference of two shares.
    chance = 2 * math.sqrt((then * (1 - then) + now * (1 - now)) / size)
    shows = None
    if agreement := first_and_last(run.series(AGREEMENT.metric)):
        # Labels that get worse while agreement rises: the model agrees on what is wrong.
        fell = then - now > max(LABEL_DROP, chance)
        shows = fell and agreement[1] - agreement[0] > AGREEMENT_RISE
    return Sign(name, percent(then), percent(now), shows, rule)


def _held_out(run: Run) -> Sign:
    """Look for a fall of any measure of right answers; the one that fell most is shown."""
    measured = [each for each in measured_of(run) if "pass@1" in each.figures]
    return _by_measurement(measured) if measured else _by_probe(run)


def _by_measurement(measured: Sequence[Measured]) -> Sign:
    fallen = [
        (each.change[0], name, problems.problems, each)
        for problems in measured
        for name, each in problems.fallen.items()
    ]
    first = (0.0, "pass@1", measured[0].problems, measured[0].figures["pass@1"])
    _, name, problems, shown = min(fallen or [first], key=lambda found: found[0])
    figure, fell = quoted(name), bool(fallen)
    rule = say("sign_of_measurement", figure=figure, problems=problems, fell=fell)
    return Sign(_HELD_OUT, percent(shown.before[0]), percent(shown.after[0]), fell, rule)


def _by_probe(run: Run) -> Sign:
    size = number_in(run.facts, "num_probe_problems")
    drop = 0.0 if size else LABEL_DROP
    ends = probe_ends(run)
    if "pass@1" not in ends:
        rule = say("sign_of_probe", figure="pass@1", fell=False, drop=drop)
        return Sign(_HELD_OUT, UNKNOWN, UNKNOWN, None, rule)
    fallen = [
        (new - old, name)
        for name, ((_, old), (_, new)) in ends.items()
        if old - new > (by_chance(old, new, size) if size else LABEL_DROP)
    ]
    name = min(fallen)[1] if fallen else "pass@1"
    (_, old), (_, new) = ends[name]
    rule = say("sign_of_probe", figure=quoted(name), fell=bool(fallen), drop=drop)
    return Sign(_HELD_OUT, percent(old), percent(new), bool(fallen), rule)
