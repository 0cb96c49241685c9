"""Did the run improve on held-out problems, and how sure is that?"""

from dataclasses import dataclass

from serl_trl.report.figures import Measured, by_chance, measured_of
from serl_trl.report.sentences import percent, say
from serl_trl.runs.reader import Run, number_in

# What is sure is told in a colour; a change without an interval is not.
_TONES = {"better": "good", "perhaps": "", "no": ""}


@dataclass(frozen=True)
class Improvement:
    """Whether held-out problems are solved more often, and how sure that is."""

    answer: str
    certainty: str
    tone: str = "warn"


def improvement(run: Run) -> Improvement:
    """Say whether the run improved, from what was measured, else from its probe."""
    found = [_improved(each) for each in measured_of(run) if "pass@1" in each.figures]
    if not found:
        return _by_probe(run)
    return Improvement(
        " ".join(each.answer for each in found),
        " ".join([*(each.certainty for each in found), say("interval_covers")]),
        "good" if all(each.tone == "good" for each in found) else "warn",
    )


def _improved(measured: Measured) -> Improvement:
    _, low, high = measured.figures["pass@1"].change
    # What one sample gains, the majority or the greedy completion may lose.
    fallen = [
        f"{name} ({percent(each.before[0])} to {percent(each.after[0])})"
        for name, each in measured.fallen.items()
    ]
    # The interval of pass@1 decides; a fall of another measure weakens what it says.
    verdict = "in part" if fallen else "better"
    if low <= 0:
        verdict = "worse" if high < 0 else "chance"
    moved = say("moved", measured=measured)
    return _answered(verdict, moved, say("how_sure", measured=measured), fallen)


def _by_probe(run: Run) -> Improvement:
    series = run.series("serl/probe/pass@1")
    if not series:
        return Improvement(say("not_measured"), say("how_to_measure"))
    if len(series) == 1:
        answer = say("measured_once", only=series[0])
        return Improvement(answer, "One figure cannot show a change.")
    (_, old), (_, new) = first, last = series[0], series[-1]
    problems = number_in(run.facts, "num_probe_problems")
    spread = by_chance(old, new, problems) if problems else 0.0
    if not problems:
        # Without a size there is no interval, and so nothing is claimed.
        verdict = "perhaps" if new > old else "no"
    elif abs(new - old) <= spread:
        verdict = "chance"
    else:
        verdict = "better" if new > old else "worse"
    overlaps = run.ledger.num_seed_overlaps
    moved = say("moved_on_probe", first=first, last=last, overlaps=overlaps)
    sure = say("how_sure_of_probe", change=new - old, problems=problems, spread=spread)
    return _answered(verdict, moved, sure)


def _answered(verdict: str, moved: str, sure: str, fallen: list[str] | None = None) -> Improvement:
    answer = say("improved", verdict=verdict, moved=moved, fallen=fallen)
    return Improvement(answer, sure, _TONES.get(verdict, "warn"))
