"""Alarms: what the figures of a run say of its collapse, as pure functions of its history.

A history is the rows of `metrics.jsonl` in the order of their steps, so that a run that trains and
one that is over are judged by the same code. The thresholds follow from runs that collapsed and
runs that did not: `benchmarks/guard.py` replays them and writes how well each alarm tells them
apart. Which figures move first, and why agreement alone shows nothing: SRT, arXiv 2505.21444.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from statistics import fmean

Rows = Sequence[Mapping[str, float]]

_SUPPORT = "serl/sentinel/support_ratio"
_FLOOR = "serl/sentinel/support_floor"
# What counts the groups that agree too much to teach anything.
_TOO_EASY = ("serl/refused/band_high", "serl/refused/pilot_high")
_PROBE = "serl/probe/pass@1"

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
    figure in words. `guessed` marks a limit that no finished run has taught: its source's, or ours.
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
    guessed: bool = False


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
        limit = "limit (a guess: no finished run has taught it)" if self.alarm.guessed else "limit"
        said = f"{self.alarm.what} is {self.value:.3g}, {side} the {limit} of {self.threshold:.3g}"
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
        _PROBE,
        "pass@1 on the probe set",
        _probe_fall,
        above=False,
        window=1,
        acts=True,
        checks=2,
        of_best=True,
    ),
    # The proxy leaves what it stands for ("Survive or Collapse", arXiv 2605.22217).
    Alarm(
        "probe_gap",
        "serl/probe/reward_gap",
        "what the vote rewards on the probe set beyond what gold would",
        lambda baseline, about: max(0.25, baseline + 0.1),
        window=1,
    ),
    Alarm(
        "moved",
        "serl/sentinel/moved_ratio",
        "the share of the sentinel set whose commonest answer changed since the last check",
        # Its first value is left out: then a model learns most, and undecided seeds are decided.
        lambda baseline, about: 0.25,
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
        guessed=True,
    ),
    # Where a model learns answers in place of solutions (OM-GRPO, arXiv 2608.03119).
    Alarm(
        "answer_kl",
        "serl/answer_kl_ratio",
        "the divergence on final answers over that on the rest",
        lambda baseline, about: 3 * max(1.0, baseline),
        guessed=True,
    ),
    Alarm(
        "distinct_answers",
        "serl/distinct_answer_ratio",
        "the share of different answers among the first groups of a batch",
        lambda baseline, about: 0.6 * baseline,
        above=False,
    ),
    # Variety within a group goes before accuracy (EVOL-RL, arXiv 2509.15194).
    Alarm(
        "alike",
        "serl/completion_similarity",
        "the likeness of two completions of one group",
        # A healthy run of the easy sandbox, whose solutions are short and alike, reached 0.94.
        lambda baseline, about: max(0.98, (1 + baseline) / 2),
        guessed=True,
    ),
    Alarm(
        "repetition",
        "serl/repetition_ratio",
        "the share of a completion that repeats it",
        lambda baseline, about: max(0.3, 3 * baseline),
        guessed=True,
    ),
)
"""All alarms. Those of the sentinel set and of one answer act; the others rose in healthy runs too,
or came later."""

METRICS = frozenset(
    {alarm.metric for alarm in ALARMS} | {_FLOOR, "step", "serl/num_groups", *_TOO_EASY}
)
"""What of a row the alarms read."""


class _Follower:
    """Reads one alarm row by row; `latest` is its last reading, `None` before it had a baseline."""

    def __init__(self, alarm: Alarm, about: About) -> None:
        self.alarm, self._about = alarm, about
        self.latest: Reading | None = None
        self._start: list[float] = []
        self._recent: deque[float] = deque(maxlen=alarm.window)
        self._best, self._groups = -inf, 0.0

    def take(self, row: Mapping[str, float]) -> Reading | None:
        """Read a row; `None` where it holds nothing new for this alarm, or a baseline's part."""
        alarm = self.alarm
        self._groups += row.get("serl/num_groups", 0)
        if alarm.metric not in row or (alarm.needs_groups and self._groups < MIN_GROUPS):
            return None
        step, value = int(row["step"]), row[alarm.metric]
        self._recent.append(value)
        first = not self._start
        # A run that logs seldom begins with its first value.
        begins = first or (step <= START_STEPS and not alarm.fixed)
        if begins:
            self._start.append(value)
        reading = None if begins and not alarm.fixed else self._read(step, row)
        self._best = max(self._best, value)
        return reading

    def _read(self, step: int, row: Mapping[str, float]) -> Reading:
        alarm, before = self.alarm, self.latest
        now, baseline = fmean(self._recent), self._best if alarm.of_best else fmean(self._start)
        limit = min(alarm.limit(baseline, self._about), row.get(alarm.cap, inf))
        rings = now > limit if alarm.above else now < limit
        since, num = (before.since, before.num_rings) if before else (None, 0)
        if not rings:
            since, num, clean = None, 0, step
        else:
            since, num = step if since is None else since, num + 1
            clean = before.clean if before else since - 1
        self.latest = Reading(alarm, step, now, baseline, limit, rings, since, num, clean)
        return self.latest


def readings(alarm: Alarm, rows: Rows, about: About) -> list[Reading]:
    """Return what an alarm read at each row that had something new for it, once it had a baseline.

    A run that trains reads the same, one row after the other: see `History`.
    """
    follower = _Follower(alarm, about)
    return [reading for row in rows if (reading := follower.take(row))]


class History:
    """The figures of a run so far. Each alarm reads each row once, when it comes.

    `probed` holds pass@1 of the probe set by the step at which it was measured.
    """

    def __init__(self, about: About, rows: Rows = ()) -> None:
        self.about = about
        self.rows: list[dict[str, float]] = []
        self.probed: dict[int, float] = {}
        self._followers = [_Follower(alarm, about) for alarm in ALARMS]
        self._support: list[float] = []
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> list[Reading]:
        """Take in the next row; return what the alarms read at it, in the order of `ALARMS`."""
        self.rows.append(dict(row))
        if _SUPPORT in row:
            self._support.append(row[_SUPPORT])
        if _PROBE in row:
            self.probed[int(row["step"])] = row[_PROBE]
        found = [follower.take(row) for follower in self._followers]
        return [each for each in found if each is not None]

    def safe_until(self) -> int | None:
        """Return the last step at which each alarm that may stop a run was silent when it read.

        A stop goes back to a checkpoint of at most this step. `None`: none of them read anything.
        """
        latest = [each.latest for each in self._followers if may_stop(each.alarm, self.about)]
        return min((each.clean for each in latest if each), default=None)

    def sentinel_due(self, step: int, every: int) -> bool:
        """Return whether the sentinel set answers at `step`, after the rows so far.

        That is every `every` steps (0: never), and twice as often once its votes begin to move.
        """
        moves = bool(self._support) and self._support[-1] < MOVING
        return every > 0 and step % (max(1, every // 2) if moves else every) == 0

    def enough_learnt(self) -> str:
        """Return why nothing more is to be learnt, or nothing.

        That is where nearly all groups leave the band on top, so that each one that trains costs
        ten, while the votes on the sentinel set stay as they are. Without that set it is unknown.
        """
        last, support = self.rows[-1]["step"] if self.rows else 0, self._support[-3:]
        if len(support) < 3 or last < TOO_EASY_STEPS or max(support) - min(support) > STILL:
            return ""
        since = last - TOO_EASY_STEPS
        recent = list(takewhile(lambda row: row["step"] > since, reversed(self.rows)))
        groups = sum(row.get("serl/num_groups", 0) for row in recent)
        easy = sum(row.get(name, 0) for row in recent for name in _TOO_EASY)
        if not groups or easy < TOO_EASY * groups:
            return ""
        return (
            f"{easy / groups:.0%} of the last {groups:.0f} groups agree more than the band allows, "
            f"and the votes on the sentinel set no longer move ({support[0]:.2f} to "
            f"{support[-1]:.2f})"
        )


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
