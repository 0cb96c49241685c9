"""Did the run improve on held-out problems, and how sure is that?"""

from dataclasses import dataclass

from serl_trl.common.text import count_of, list_names
from serl_trl.report.figures import Measured, by_chance, measured_of, percent, points
from serl_trl.runs.reader import Run, number_in


@dataclass(frozen=True)
class Improvement:
    """Whether held-out problems are solved more often, and how sure that is."""

    answer: str
    certainty: str
    tone: str


def improvement(run: Run) -> Improvement:
    """Say whether the run improved, from what was measured, else from its probe."""
    found = [_improved(each) for each in measured_of(run) if "pass@1" in each.figures]
    if not found:
        return _by_probe(run)
    chance = (
        "The interval covers which problems were asked, not what another random seed of the "
        "training would have done."
    )
    return Improvement(
        " ".join(each.answer for each in found),
        " ".join([*(each.certainty for each in found), chance]),
        "good" if all(each.tone == "good" for each in found) else "warn",
    )


def _improved(measured: Measured) -> Improvement:
    pass_at_1 = measured.figures["pass@1"]
    change, low, high = pass_at_1.change
    before, after = percent(pass_at_1.before[0]), percent(pass_at_1.after[0])
    moved = f"pass@1 on {measured.problems} went from {before} to {after}"
    sure = (
        f"{points(change)}; the 95 % interval goes from {100 * low:+.1f} to {100 * high:+.1f}. "
        f"{_measured_on(measured)}"
    )
    if high < 0:
        return Improvement(f"No, it got worse: {moved}.", sure, "warn")
    if low <= 0:
        return Improvement(f"Not shown: {moved}, which may be chance.", sure, "warn")
    # What one sample gains, the majority or the greedy completion may lose.
    if fallen := measured.fallen:
        listed = [
            f"{name} ({percent(each.before[0])} to {percent(each.after[0])})"
            for name, each in fallen.items()
        ]
        return Improvement(f"In part: {moved}, but {list_names(listed)} fell.", sure, "warn")
    return Improvement(f"Yes: {moved}.", sure, "good")


def _measured_on(measured: Measured) -> str:
    if measured.num_problems is None:
        return "The number of problems was not noted."
    samples = measured.num_samples
    each = "" if samples is None else f" with {samples:.0f} samples each"
    return f"Measured on {measured.num_problems:,.0f} problems{each}."


def _by_probe(run: Run) -> Improvement:
    series = run.series("serl/probe/pass@1")
    if not series:
        unknown = (
            "Without problems that have known answers, nothing in this report says whether the "
            "model became better. Measure it by serl eval --compare BASE TRAINED and name its "
            "folder: serl report RUN --evaluation FOLDER."
        )
        return Improvement("Not known: nothing was measured.", unknown, "warn")
    if len(series) == 1:
        step, value = series[0]
        only = f"Not known: there is one measurement, {percent(value)} at step {step:.0f}."
        return Improvement(only, "One figure cannot show a change.", "warn")
    (first, old), (last, new) = series[0], series[-1]
    overlaps = run.ledger.num_seed_overlaps
    but = f" (but {count_of(overlaps, 'seed')} overlap an evaluation set)" if overlaps else ""
    moved = (
        f"pass@1 on the probe set{but} went from {percent(old)} at step {first:.0f} to "
        f"{percent(new)} at step {last:.0f}"
    )
    return _probed(moved, old, new, number_in(run.facts, "num_probe_problems"))


def _probed(moved: str, old: float, new: float, num_problems: float | None) -> Improvement:
    if not num_problems:
        sure = (
            f"{points(new - old)}. No interval was measured, and the size of the probe set is not "
            "known: take small differences for noise. The untrained model was not measured."
        )
        return Improvement(f"Perhaps: {moved}." if new > old else f"No: {moved}.", sure, "")
    spread = by_chance(old, new, num_problems)
    sure = (
        f"{points(new - old)}, give or take {100 * spread:.1f} (a cautious 95 % bound from the "
        f"{num_problems:,.0f} problems of the probe set). The untrained model was not measured: "
        "the first figure is after some training."
    )
    if abs(new - old) <= spread:
        return Improvement(f"Not shown: {moved}, which may be chance.", sure, "warn")
    if new > old:
        return Improvement(f"Yes: {moved}.", sure, "good")
    return Improvement(f"No, it got worse: {moved}.", sure, "warn")
