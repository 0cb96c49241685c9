"""What the numbers of a run say in plain words: did it improve, are its labels right, what to know.

The thresholds are rules of thumb, which the report states; nothing is decided by them.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.common.text import count_of, list_names
from serl_trl.report.blocks import written
from serl_trl.runs.reader import Run, number_in

HIGH_COMMONEST = 0.25
MIN_COMMONEST_GROUPS = 32
HIGH_UNPARSABLE = 0.2
HIGH_TRUNCATED = 0.1
LOW_KEPT = 0.15
LOW_ACCEPTED = 0.3

REASONS = {
    "band_low": "agreement under the difficulty band: the vote is noise",
    "band_high": "agreement over the difficulty band: too little to learn",
    "unparsable": "no completion has a final answer",
    "tie": "several answers share the first place",
    "no_majority": "the commonest answer has a single vote",
    "no_gold": "no gold answer is known",
    "length": "too short or too long",
    "tokens": "too many tokens",
    "special_token": "holds a special token of the chat template",
    "no_question": "asks nothing",
    "several_questions": "asks several things at once",
    "figure": "needs or asks for a figure, a file or a drawing",
    "program": "asks for a program",
    "answer_leak": "holds its own answer",
    "talks_to_model": "addresses the model",
    "language": "another language or script than expected",
    "paper_words": "a word of the paper's list",
    "paper_program": "asks for a program (the paper's rule)",
    "paper_start": "begins with a character the paper does not allow",
    "duplicate": "equals a known text",
    "normalised_duplicate": "equals a known text but for case and white space",
    "template": "too many known texts are alike but for their numbers",
    "rouge_l": "too similar to a known text",
    "embedding": "too similar in meaning to a known text",
    "contamination": "overlaps a problem of an evaluation set",
}


# What stopped a search, by the option that sets it.
_BOUNDS = {
    "rounds": "max_refill_rounds",
    "rollouts": "max_refill_rollouts",
    "seconds": "max_refill_s",
    "run": "max_rollouts",
}


@dataclass(frozen=True)
class Improvement:
    """Whether held-out problems are solved more often, and how sure that is; see `improvement`."""

    answer: str
    certainty: str
    tone: str


@dataclass(frozen=True)
class Measured:
    """One set of problems, measured before and after training.

    `figures` maps a name to "before", "after", "change", and each of these to (mean, low, high).
    """

    problems: str
    num_problems: float | None
    num_samples: float | None
    figures: dict[str, dict[str, tuple[float, float, float]]]


@dataclass(frozen=True)
class Stage:
    """One step of the way from proposals to trained groups; `why` says what was lost before it."""

    name: str
    count: int
    why: str = ""


def labels_of(runs: Sequence[Run]) -> list[str]:
    """Return the name of the run or, of two, each name after its letter."""
    names = [written(run.name, max_chars=60).text for run in runs]
    if len(runs) == 1:
        return names
    return [f"{letter}: {name}" for letter, name in zip("AB", names, strict=True)]


def percent(value: float) -> str:
    """Return a fraction as `31 %`, or with one digit where it is near an end."""
    digits = 1 if abs(value - round(value)) < 0.1 and value not in (0.0, 1.0) else 0
    return f"{100 * value:.{digits}f} %"


def points(value: float) -> str:
    """Return a difference of fractions as `+19.4 points`."""
    # Adding zero turns -0.0 into 0.0.
    return f"{round(100 * value, 1) + 0.0:+.1f} points"


def first_and_last(series: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the means of the first and the last fifth of a series; `None` with fewer than two."""
    values = [value for _, value in series]
    if len(values) < 2:
        return None
    part = max(1, len(values) // 5)
    return sum(values[:part]) / part, sum(values[-part:]) / part


def measured_of(run: Run) -> list[Measured]:
    """Return what was measured before and after: by `serl eval --compare`, else by the run."""
    benchmarks = run.comparison.get("benchmarks")
    if isinstance(benchmarks, dict):
        found = [_of_benchmark(name, entry) for name, entry in benchmarks.items()]
    else:
        found = [_of_run(run)]
    return [each for each in found if each.figures]


def figures_of(run: Run) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return the figures that the run measured itself; see `Measured`."""
    return _of_run(run).figures


def _of_run(run: Run) -> Measured:
    problems = "held-out problems"
    if n := run.ledger.num_seed_overlaps:
        problems += f" (but {count_of(n, 'seed')} overlap an evaluation set)"
    sizes = [number_in(run.evaluation, key) for key in ("num_problems", "num_samples")]
    return Measured(problems, *sizes, _figures_in(run.evaluation.get("figures")))


def _of_benchmark(name: str, entry: Any) -> Measured:
    entry = entry if isinstance(entry, dict) else {}
    differences = entry.get("differences")
    parts = {
        figure: {
            "before": each.get("base_interval"),
            "after": each.get("trained_interval"),
            "change": each.get("difference"),
        }
        for figure, each in (differences.items() if isinstance(differences, dict) else ())
        if isinstance(each, dict)
    }
    shown = written(name, max_chars=40).text
    return Measured(shown, number_in(entry, "num_problems"), None, _figures_in(parts))


def _figures_in(figures: Any) -> dict[str, dict[str, tuple[float, float, float]]]:
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name, parts in figures.items() if isinstance(figures, dict) else ():
        read = {part: _interval(parts, part) for part in ("before", "after", "change")}
        if all(each is not None for each in read.values()):
            found[str(name)] = {part: each for part, each in read.items() if each is not None}
    return found


def improvement(run: Run) -> Improvement:
    """Say whether the run improved on held-out problems, from what it measured."""
    found = [_improved(each) for each in measured_of(run) if "pass@1" in each.figures]
    if not found:
        return _probe_improvement(run)
    good = all(each.tone == "good" for each in found)
    chance = (
        "The interval covers which problems were asked, not what another random seed of the "
        "training would have done."
    )
    return Improvement(
        " ".join(each.answer for each in found),
        " ".join([*(each.certainty for each in found), chance]),
        "good" if good else "warn",
    )


def _improved(measured: Measured) -> Improvement:
    before, after, (change, low, high) = (
        measured.figures["pass@1"][part] for part in ("before", "after", "change")
    )
    moved = f"pass@1 on {measured.problems} went from {percent(before[0])} to {percent(after[0])}"
    sure = (
        f"{points(change)}; the 95 % interval goes from {100 * low:+.1f} to {100 * high:+.1f}. "
        f"{_measured_on(measured)}"
    )
    if low > 0:
        # What one sample gains, the majority or the greedy completion may lose.
        if fell := what_fell(measured):
            listed = [
                f"{name} ({percent(parts['before'][0])} to {percent(parts['after'][0])})"
                for name, parts in fell.items()
            ]
            return Improvement(f"In part: {moved}, but {list_names(listed)} fell.", sure, "warn")
        return Improvement(f"Yes: {moved}.", sure, "good")
    if high < 0:
        return Improvement(f"No, it got worse: {moved}.", sure, "warn")
    return Improvement(f"Not shown: {moved}, which may be chance.", sure, "warn")


def what_fell(measured: Measured) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return each measure of right answers that fell by more than chance."""
    return {
        name: parts
        for name, parts in measured.figures.items()
        if name.startswith(("maj@", "pass@", "greedy")) and parts["change"][2] < 0
    }


def _measured_on(measured: Measured) -> str:
    if measured.num_problems is None:
        return "The number of problems was not noted."
    samples = measured.num_samples
    each = "" if samples is None else f" with {samples:.0f} samples each"
    return f"Measured on {measured.num_problems:,.0f} problems{each}."


def probe_ends(run: Run) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Return the first and the last (step, value) of the probe's measures of right answers."""
    names = ["pass@1"] + sorted(
        {
            key.removeprefix("serl/probe/")
            for row in run.metrics
            for key in row
            if key.startswith(("serl/probe/maj@", "serl/probe/pass@"))
        }
        - {"pass@1"}
    )
    series = {name: run.series(f"serl/probe/{name}") for name in names}
    return {name: (found[0], found[-1]) for name, found in series.items() if len(found) > 1}


def interval_of(rate: float, num_problems: float) -> tuple[float, float, float]:
    """Return a mean over problems with a cautious 95 % interval (Wilson's).

    Values in [0, 1] with this mean vary at most as right and wrong do.
    """
    z, n = 1.96, num_problems
    spread = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    middle, scale = rate + z**2 / (2 * n), 1 + z**2 / n
    return rate, max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def by_chance(old: float, new: float, num_problems: float) -> float:
    """Return how far two means over so many problems differ by chance, cautiously.

    A value in [0, 1] with mean p varies at most as a coin does. The two figures are of the same
    problems, so that the interval of their difference is wider than the true one.
    """
    return 1.96 * math.sqrt((old * (1 - old) + new * (1 - new)) / num_problems)


def _probe_improvement(run: Run) -> Improvement:
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
    problems = number_in(run.facts, "num_probe_problems")
    if not problems:
        sure = (
            f"{points(new - old)}. No interval was measured, and the size of the probe set is not "
            "known: take small differences for noise. The untrained model was not measured."
        )
        return Improvement(f"Perhaps: {moved}." if new > old else f"No: {moved}.", sure, "")
    spread = by_chance(old, new, problems)
    sure = (
        f"{points(new - old)}, give or take {100 * spread:.1f} (a cautious 95 % bound from the "
        f"{problems:,.0f} problems of the probe set). The untrained model was not measured: the "
        "first figure is after some training."
    )
    if abs(new - old) <= spread:
        return Improvement(f"Not shown: {moved}, which may be chance.", sure, "warn")
    rose = new > old
    start = "Yes" if rose else "No, it got worse"
    return Improvement(f"{start}: {moved}.", sure, "good" if rose else "warn")


def commonest_answer(run: Run) -> tuple[str, float, int] | None:
    """Return the commonest majority answer of the latest groups, its share, and their number."""
    answers = [answer for _, answer in run.ledger.answers]
    if not answers:
        return None
    answer, votes = Counter(answers).most_common(1)[0]
    return answer, votes / len(answers), len(answers)


def warnings_of(run: Run) -> list[str]:
    """Return what a reader should know before trusting the run, in plain words."""
    found = [*_ending(run), *run.notes]
    common = commonest_answer(run)
    if common and common[1] >= HIGH_COMMONEST and common[2] >= MIN_COMMONEST_GROUPS:
        found.append(
            f"The commonest answer is the same in {percent(common[1])} of the last "
            f"{common[2]} groups, although their problems differ."
        )
    reasons = run.ledger.proposals.reasons()
    if n := reasons["contamination"]:
        found.append(
            f"{count_of(n, 'proposal')} overlapped an evaluation set and "
            f"{'was' if n == 1 else 'were'} refused; some are shown below, all are in the ledger."
        )
    if n := run.ledger.num_seed_overlaps:
        found.append(
            f"{count_of(n, 'seed')} overlap an evaluation set and stayed: what is measured on that "
            "set is not held out from them."
        )
    rates = (
        ("serl/unparsable_ratio", HIGH_UNPARSABLE, "of the completions have no vote at the end"),
        ("serl/truncated_ratio", HIGH_TRUNCATED, "of the completions are cut off at the end"),
    )
    for key, limit, words in rates:
        ends = first_and_last(run.series(key))
        if ends and ends[1] > limit:
            found.append(f"{percent(ends[1])} {words}.")
    kept = first_and_last(run.series("serl/kept_ratio"))
    if kept and kept[1] < LOW_KEPT:
        found.append(
            f"Only {percent(kept[1])} of the groups rolled out at the end are kept; the rest of "
            "the work is thrown away."
        )
    accepted = first_and_last(run.series("serl/accepted_ratio"))
    if accepted and accepted[1] < LOW_ACCEPTED:
        found.append(f"Only {percent(accepted[1])} of the proposals at the end are accepted.")
    repeated = [value for _, value in run.series("serl/num_repeated_groups")]
    if any(repeated):
        steps = sum(value > 0 for value in repeated)
        found.append(
            f"In {count_of(steps, 'logged step')} groups were repeated to fill a batch: the model "
            "was trained on fewer different problems there, and more on each of them."
        )
    if bounds := run.ledger.bounds:
        named = sorted({_BOUNDS[bound] for bound in bounds.values() if bound in _BOUNDS})
        what = f" ({list_names(named)})" if named else ""
        found.append(
            f"In {count_of(len(bounds), 'step')} the search for groups was stopped by its "
            f"bound{what} before the batch was full. Most often the problems are too easy or too "
            "hard for the model, so that too few groups are kept; the rest of the time goes into "
            "groups that train nothing."
        )
    return found


def _ending(run: Run) -> list[str]:
    planned = number_in(run.config, "max_steps")
    if run.ledger.starved is not None:
        step, _ = run.ledger.starved
        return [f"The run stopped at step {step} because it found no group to train on any more."]
    if planned and run.num_steps < planned and run.ledger.spent is None:
        return [f"The run did {run.num_steps} of {planned:.0f} steps: it stopped, or is going on."]
    return []


def funnel(run: Run) -> list[Stage]:
    """Return the way from proposals to trained groups, each stage with its count."""
    proposals, groups = run.ledger.proposals, run.ledger.groups
    stages = []
    if len(proposals):
        accepted = len(proposals.kept())
        stages.append(Stage("proposals written", len(proposals)))
        stages.append(Stage("accepted", accepted, "the others were refused by a filter"))
    rolled = "the others wait, or were left behind" if len(proposals) else ""
    stages.append(Stage("rolled out", len(groups), rolled))
    no_majority = "the others have no majority answer"
    stages.append(Stage("with a majority", sum(groups.voted), no_majority))
    why = "the others lie outside the difficulty band" if run.config.get("use_band", True) else ""
    stages.append(Stage("kept", len(groups.kept()), why))
    trained = num_trained(run)
    if trained is not None:
        stages.append(Stage("trained on", trained, "the others found no place in a batch"))
    return stages


def num_trained(run: Run) -> int | None:
    """Return how many groups were trained on, or `None` where the config does not say enough.

    A step takes no more groups than its generation batches have places.
    """
    config = run.config
    names = ("generation_batch_size", "num_generations", "gradient_accumulation_steps")
    sizes = [number_in(config, name) for name in names]
    per_generation = number_in(config, "steps_per_generation")
    if not all(sizes) or not per_generation:
        return None
    batch, votes, accumulation = (size for size in sizes if size is not None)
    refills = max(1, math.ceil(accumulation / per_generation))
    places = refills * int(batch // votes)
    groups = run.ledger.groups
    found = Counter(groups.steps[row] for row in groups.kept()) + run.ledger.leftovers_used
    return sum(min(count, places) for count in found.values())


def what_trained(run: Run) -> str:
    """Return one or two sentences on what the model was trained on."""
    trained, votes = num_trained(run), number_in(run.config, "num_generations")
    groups = len(run.ledger.groups.kept()) if trained is None else trained
    times = f", each answered {votes:.0f} times" if votes else ""
    seeds = number_in(run.facts, "num_seeds")
    source = f"{seeds:,.0f} seed problems" if seeds else "seed problems"
    if run.config.get("prompt_source") == "given" or not len(run.ledger.proposals):
        what = f"{groups:,} groups in {count_of(run.num_steps, 'step')}: {source}{times}."
    else:
        what = (
            f"{groups:,} groups in {count_of(run.num_steps, 'step')}: problems that the model "
            f"wrote itself, starting from {source}{times}."
        )
    return f"{what} {label_meaning(run.config.get('label_reward'))}"


def label_meaning(label: Any) -> str:
    """Return what the label reward is, as a sentence."""
    return {
        "vote": "The label is the answer that most completions agree on; no solution was shown.",
        "gold": "The label is the gold answer.",
        "random": "The label is a coin toss, so that nothing can be learnt from it.",
        "none": "There is no label; other reward functions decide.",
    }.get(str(label), "What the label is, the config does not say.")


def what_refused(run: Run) -> str:
    """Return which proposals and groups were refused and why, and how many kept ones trained."""
    parts = []
    kinds = (
        ("proposal", "refused", run.ledger.proposals),
        ("group", "not kept", run.ledger.groups),
    )
    for noun, fate, rows in kinds:
        reasons = rows.reasons()
        if not len(rows):
            continue
        share = reasons.total() / len(rows)
        most = "; ".join(f"{_meaning(reason)} ({n:,})" for reason, n in reasons.most_common(2))
        listed = f", most often because: {most}" if most else ""
        parts.append(
            f"{reasons.total():,} of {count_of(len(rows), noun)} ({percent(share)}) were "
            f"{fate}{listed}."
        )
    trained, kept = num_trained(run), len(run.ledger.groups.kept())
    if trained is not None and kept > trained:
        were = "was" if trained == 1 else "were"
        parts.append(
            f"Of the {kept:,} kept groups {trained:,} {were} trained on; the other "
            f"{kept - trained:,} found no place in a batch."
        )
    return " ".join(parts) or "Nothing was proposed or rolled out."


def labels_right(run: Run) -> tuple[int, int] | None:
    """Return how many majority answers are the gold answer, and of how many that is known.

    The two counts are over the groups kept for training; `None` where no gold answer is known.
    """
    groups = run.ledger.groups
    known = [groups.rights[row] for row in groups.kept() if groups.rights[row] >= 0]
    return (sum(known), len(known)) if known else None


def label_answer(run: Run) -> str:
    """Return whether the labels that trained are right, as far as it is known."""
    label = run.config.get("label_reward")
    if label == "gold":
        return "They are gold answers, so they are as right as those are."
    if label in ("random", "none"):
        return label_meaning(label)
    used = "Gold answers are only counted with, here and below; nothing was trained on them."
    if counts := labels_right(run):
        right, known = counts
        kept = len(run.ledger.groups.kept())
        return (
            f"Of the {kept:,} kept groups the gold answer is known for {known:,}, and "
            f"{percent(right / known)} of these labels are right.{_without_gold(run, kept - known)}"
            f" {used}"
        )
    if series := run.series("serl/label_accuracy"):
        mean = sum(value for _, value in series) / len(series)
        return (
            f"{percent(mean)} of the majority answers whose gold answer is known are right (mean "
            f"over the steps, groups outside the band included). {used}"
        )
    names = ("estimate", "low", "high")
    ends = [run.series(f"serl/kept_label_accuracy_{name}")[-1:] for name in names]
    if all(ends):
        mean, low, high = (end[0][1] for end in ends)
        return (
            "No gold answer is known for the kept groups. An estimate from the probe set, for the "
            f"latest of them: {percent(mean)} of the labels are right (95 % interval "
            f"{100 * low:.0f} to {100 * high:.0f} %). It takes for granted that agreement means "
            "the same on the probe set as on the model's own problems."
        )
    unknown = (
        "Not known: no gold answers are known for these problems. How much the completions agree "
        "does not say it."
    )
    if run.series("serl/probe/label_accuracy"):
        return f"{unknown} A probe with probe_samples equal to num_generations would estimate it."
    return unknown


def _without_gold(run: Run, number: int) -> str:
    """Say of the kept groups whose gold is not known that no figure holds them, and why."""
    if not number:
        return ""
    rest = f" The other {count_of(number, 'group')} {'is' if number == 1 else 'are'} not in it: "
    if run.config.get("gold_oracle"):
        return rest + (
            "the solver (gold_oracle) has no exact answer for them, as for a problem that cannot "
            "be solved, so that their labels may all be wrong."
        )
    return rest + "their labels may be right or wrong."


def gold_known(run: Run) -> str:
    """Say of how many groups the gold answer is known, all of them and the kept ones."""
    groups = run.ledger.groups
    kept = groups.kept()
    known, known_kept = (
        sum(groups.rights[row] >= 0 for row in rows) for rows in (range(len(groups)), kept)
    )
    return (
        f"of {sum(groups.voted):,} groups with a majority answer gold is known for {known:,}, of "
        f"the {len(kept):,} kept ones for {known_kept:,}"
    )


def _meaning(reason: str) -> str:
    return REASONS.get(reason, reason)


def _interval(parts: Any, part: str) -> tuple[float, float, float] | None:
    record = parts.get(part) if isinstance(parts, dict) else None
    if not isinstance(record, dict):
        return None
    values = [number_in(record, key) for key in ("mean", "low", "high")]
    found = [value for value in values if value is not None]
    return (found[0], found[1], found[2]) if len(found) == 3 else None
