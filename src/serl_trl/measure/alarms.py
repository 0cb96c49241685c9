"""Alarms: what the figures of a run say of its collapse, as pure functions of its history.

A history is the rows of `metrics.jsonl` in the order of their steps, so that a run that trains and
one that is over are judged by the same code. The thresholds follow from runs that collapsed and
runs that did not: `benchmarks/guard.py` replays them and writes how well each alarm tells them
apart. Which figures move first, and why agreement alone shows nothing: SRT, arXiv 2505.21444.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

Rows = Sequence[Mapping[str, float]]

_SUPPORT = "serl/sentinel/support_ratio"
_FLOOR = "serl/sentinel/support_floor"
# What counts the groups that agree too much to teach anything.
_TOO_EASY = ("serl/refused/band_high", "serl/refused/pilot_high")

# Steps that a baseline is the mean of, and steps of which the latest value is one.
START_STEPS, WINDOW = 5, 5
# Groups over which the commonest answer must go; of fewer it may win by chance.
MIN_GROUPS = 32
# Below this support the votes of the sentinel set move more than in nearly all healthy runs, and
# the next check comes after half the time.
MOVING = 0.88
# A stop that is no alarm: the share of groups that are too easy, over how many steps, and how far
# the sentinel set may still move meanwhile.
TOO_EASY, TOO_EASY_STEPS, STILL = 0.9, 10, 0.05


@dataclass(frozen=True)
class About:
    """What the alarms must know of a run beside its figures.

    `num_labels` is how many answers its kind can give (`None`: without end), `num_probe` the size
    of its probe set. `own_labels` is false where labels come from outside the model: then it may
    change its mind for the better. `probe_decides` is the option of that name.
    """

    num_labels: int | None = None
    num_probe: int = 0
    own_labels: bool = True
    probe_decides: bool = False


Limit = Callable[[float, About], float]


@dataclass(frozen=True)
class Alarm:
    """One alarm: it rings where `metric`, over `window` values, lies beyond `limit`.

    `limit` is a function of the baseline: the mean of the run's first steps, with `of_best` (the
    probe set's) the best value so far, with `fixed` the first value, which then decides nothing.
    `above` says on which side of it the alarm rings. With `acts` the run eases at the first ring
    and stops after `checks` in a row; others only warn. `of_votes` marks what stays a warning where
    the labels are not the model's own. With `needs_groups` nothing is read before `MIN_GROUPS`
    groups. The limit is at most the value of `cap`, another metric of the same row. `what` is the
    figure in words.
    """

    name: str
    metric: str
    what: str
    limit: Limit
    above: bool = True
    window: int = WINDOW
    acts: bool = False
    checks: int = 1
    of_best: bool = False
    of_votes: bool = False
    needs_groups: bool = False
    fixed: bool = False
    cap: str = ""


@dataclass(frozen=True)
class Reading:
    """What an alarm reads at one step; `since` is the step of the first ring in a row, if any.

    `clean` is the last step before the ring at which it was silent, where it was read at all.
    """

    alarm: Alarm
    step: int
    value: float
    baseline: float
    threshold: float
    rings: bool
    since: int | None = None
    num_rings: int = 0
    clean: int = 0

    @property
    def sentence(self) -> str:
        """The reading in plain words."""
        side = "above" if self.alarm.above else "below"
        said = f"{self.alarm.what} is {self.value:.3g}, {side} the limit of {self.threshold:.3g}"
        if self.alarm.fixed:
            return said
        began = "was at best" if self.alarm.of_best else "began at"
        return f"{said}; it {began} {self.baseline:.3g}"


def _one_answer(baseline: float, about: About) -> float:
    """Return the share that one answer may win: of few answers each wins much by chance.

    Also above its own start: a set of texts may have one label nearly always.
    """
    chance = 1 / about.num_labels if about.num_labels else 0.0
    limit = chance + 0.8 * (1 - chance) if about.num_labels else 0.25
    return max(limit, min(3 * baseline, (1 + baseline) / 2))


def _probe_fall(baseline: float, about: About) -> float:
    """Return what pass@1 may fall to by chance, cautiously: a problem varies at most as a coin."""
    error = (baseline * (1 - baseline) / about.num_probe) ** 0.5 if about.num_probe else 0.05
    return baseline - 1.96 * error


ALARMS = (
    Alarm(
        "one_answer",
        "serl/commonest_answer_ratio",
        "the share of the commonest answer over different problems",
        _one_answer,
        window=1,
        acts=True,
        checks=3,
        needs_groups=True,
    ),
    Alarm(
        "sentinel_one_answer",
        "serl/sentinel/commonest_answer_ratio",
        "the share of the commonest answer over the sentinel set",
        _one_answer,
        window=1,
        acts=True,
        checks=2,
    ),
    Alarm(
        "flips",
        _SUPPORT,
        "the share of votes on the sentinel set for the answers that it had settled on",
        lambda baseline, about: 0.82,
        above=False,
        window=2,
        acts=True,
        checks=2,
        of_votes=True,
        fixed=True,
        cap=_FLOOR,
    ),
    Alarm(
        "many_flips",
        _SUPPORT,
        "the share of votes on the sentinel set for the answers that it had settled on",
        lambda baseline, about: 0.78,
        above=False,
        window=1,
        acts=True,
        of_votes=True,
        fixed=True,
        cap=_FLOOR,
    ),
    Alarm(
        "probe",
        "serl/probe/pass@1",
        "pass@1 on the probe set",
        _probe_fall,
        above=False,
        window=1,
        acts=True,
        checks=2,
        of_best=True,
    ),
    Alarm(
        "probe_gap",
        "serl/probe/calibration_error",
        "the distance between agreement and right labels on the probe set",
        lambda baseline, about: max(0.25, baseline + 0.1),
        window=1,
    ),
    Alarm(
        "agreement",
        "serl/majority_ratio",
        "the majority ratio before the band",
        lambda baseline, about: min(0.98, max(0.9, baseline + 0.25)),
    ),
    Alarm(
        "entropy",
        "entropy",
        "entropy per token",
        lambda baseline, about: 0.2 * baseline,
        above=False,
    ),
    Alarm(
        "short",
        "completions/mean_length",
        "the mean length of a completion",
        lambda baseline, about: 0.5 * baseline,
        above=False,
    ),
    Alarm(
        "long",
        "completions/mean_length",
        "the mean length of a completion",
        lambda baseline, about: 2 * baseline,
    ),
    Alarm(
        "truncated",
        "serl/truncated_ratio",
        "the share of completions cut off",
        lambda baseline, about: max(0.3, baseline + 0.1),
    ),
    Alarm(
        "unparsable",
        "serl/unparsable_ratio",
        "the share of completions without a vote",
        lambda baseline, about: max(0.3, baseline + 0.15),
    ),
    Alarm(
        "kept",
        "serl/kept_ratio",
        "the share of groups kept",
        lambda baseline, about: 0.02,
        above=False,
    ),
    Alarm(
        "similarity",
        "serl/similarity",
        "the likeness of new questions to known ones",
        lambda baseline, about: max(0.75, baseline + 0.1),
    ),
    Alarm(
        "kl",
        "kl",
        "the divergence from the reference",
        lambda baseline, about: max(0.5, 10 * baseline),
    ),
    Alarm(
        "distinct_answers",
        "serl/distinct_answer_ratio",
        "the share of different answers in a batch",
        lambda baseline, about: 0.5 * baseline,
        above=False,
    ),
)
"""All alarms. Those of the sentinel set and of one answer act; the others rose in healthy runs too,
or came later."""

METRICS = frozenset(
    {alarm.metric for alarm in ALARMS} | {_FLOOR, "step", "serl/num_groups", *_TOO_EASY}
)
"""What of a row the alarms read."""


def readings(alarm: Alarm, rows: Rows, about: About) -> list[Reading]:
    """Return what an alarm read at each row that had something new for it, once it had a baseline.

    One pass, so that a run that is over is read as fast as one more step of a run that trains.
    """
    found: list[Reading] = []
    values: list[float] = []
    start: list[float] = []
    best, groups, since, num, clean = -inf, 0.0, None, 0, 0
    for row in rows:
        groups += row.get("serl/num_groups", 0)
        if alarm.metric not in row or (alarm.needs_groups and groups < MIN_GROUPS):
            continue
        step, value = int(row["step"]), row[alarm.metric]
        values.append(value)
        # A run that logs seldom begins with its first value.
        if not alarm.fixed and (not start or step <= START_STEPS):
            start.append(value)
        else:
            baseline = values[0] if alarm.fixed else best if alarm.of_best else fmean(start)
            now = fmean(values[-alarm.window :])
            limit = min(alarm.limit(baseline, about), row.get(alarm.cap, inf))
            rings = now > limit if alarm.above else now < limit
            since, num = (step if since is None else since, num + 1) if rings else (None, 0)
            clean = clean if rings else step
            before = clean or (since or step) - 1
            found.append(Reading(alarm, step, now, baseline, limit, rings, since, num, before))
        best = max(best, value)
    return found


def read_alarms(rows: Rows, about: About) -> list[Reading]:
    """Return what the alarms read at the last row, in the order of `ALARMS`."""
    return [each for each in _latest(rows, about) if each.step == rows[-1]["step"]]


def safe_until(rows: Rows, about: About) -> int | None:
    """Return the last step at which every alarm that may stop a run was silent when it read last.

    A stop goes back to a checkpoint of at most this step. `None` where none of them read anything.
    """
    found = [each.clean for each in _latest(rows, about) if may_stop(each.alarm, about)]
    return min(found, default=None)


def _latest(rows: Rows, about: About) -> list[Reading]:
    return [found[-1] for alarm in ALARMS if (found := readings(alarm, rows, about))]


@dataclass(frozen=True)
class Ended:
    """Why and how a run ended itself.

    `action` is "stop", "rollback" (the final model is that of the checkpoint `restored`) or
    "enough" (nothing more to learn, which is no fault). `alarm` is empty then. `restored` is
    `None` where the final model is that of `step`.
    """

    step: int
    action: str
    alarm: str
    reason: str
    restored: str | None = None

    @property
    def collapsed(self) -> bool:
        """Whether an alarm ended the run."""
        return self.action != "enough"

    @property
    def sentence(self) -> str:
        """The end in one line."""
        if self.action == "enough":
            return f"the run ended at step {self.step} because enough is learnt: {self.reason}"
        model = (
            f"the final model is that of {self.restored}"
            if self.restored
            else f"the final model is that of step {self.step}"
        )
        if self.action == "rollback" and not self.restored:
            model += ", because there is no checkpoint from before the alarm"
        return f"the run stopped itself at step {self.step} ({self.alarm}): {self.reason}; {model}"


def may_stop(alarm: Alarm, about: About) -> bool:
    """Return whether an alarm, once it rang often enough, ends a run."""
    known = (about.own_labels or not alarm.of_votes) and (about.probe_decides or not alarm.of_best)
    return alarm.acts and known


def sentinel_due(step: int, every: int, rows: Rows) -> bool:
    """Return whether the sentinel set answers at `step`, after the rows before it.

    That is every `every` steps (0: never), and twice as often once its votes begin to move.
    """
    support = [row[_SUPPORT] for row in rows if _SUPPORT in row]
    moves = bool(support) and support[-1] < MOVING
    return every > 0 and step % (max(1, every // 2) if moves else every) == 0


def enough_learnt(rows: Rows) -> str:
    """Return why nothing more is to be learnt at these rows, or nothing.

    That is where nearly all groups leave the band on top, so that each one that trains costs ten,
    while the votes on the sentinel set stay as they are. Without a sentinel set it is never known.
    """
    recent = (
        [row for row in rows if row["step"] > rows[-1]["step"] - TOO_EASY_STEPS] if rows else []
    )
    groups = sum(row.get("serl/num_groups", 0) for row in recent)
    easy = sum(row.get(name, 0) for row in recent for name in _TOO_EASY)
    support = [row[_SUPPORT] for row in rows if _SUPPORT in row][-3:]
    if len(support) < 3 or rows[-1]["step"] < TOO_EASY_STEPS or easy < TOO_EASY * groups:
        return ""
    if max(support) - min(support) > STILL:
        return ""
    return (
        f"{easy / groups:.0%} of the last {groups:.0f} groups agree more than the band allows, and "
        f"the votes on the sentinel set no longer move ({support[0]:.2f} to {support[-1]:.2f})"
    )
