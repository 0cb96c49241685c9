"""What the numbers of a run say in plain words: did it improve, is it collapsing, what to look at.

The thresholds are rules of thumb, stated in `docs/reading_a_report.md`; nothing is decided by them.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.report_blocks import written
from serl_trl.run_files import Run, number_in
from serl_trl.texts import count_of, list_names

HIGH_AGREEMENT = 0.9
HIGH_COMMONEST = 0.25
MIN_COMMONEST_GROUPS = 32
LOW_ENTROPY = 0.25
LOW_LENGTH = 0.5
HIGH_TEMPLATE = 0.25
LABEL_DROP = 0.05
AGREEMENT_RISE = 0.02
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
    "cosine": "too similar in meaning to a known text",
    "contamination": "overlaps a problem of an evaluation set",
}


@dataclass(frozen=True)
class Improvement:
    """Whether held-out problems are solved more often, and how sure that is; see `improvement`."""

    answer: str
    certainty: str
    tone: str


@dataclass(frozen=True)
class Sign:
    """One sign of collapse: its figure at the start and at the end, and whether it shows.

    `shows` is `None` where the run did not log what is needed.
    """

    name: str
    start: str
    end: str
    shows: bool | None


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


def figures_of(run: Run) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return the measured figures: name -> "before", "after", "change" -> (mean, low, high)."""
    figures = run.evaluation.get("figures")
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name, parts in figures.items() if isinstance(figures, dict) else ():
        read = {part: _interval(parts, part) for part in ("before", "after", "change")}
        if all(each is not None for each in read.values()):
            found[str(name)] = {part: each for part, each in read.items() if each is not None}
    return found


def improvement(run: Run) -> Improvement:
    """Say whether the run improved on held-out problems, from what it measured."""
    figures = figures_of(run)
    if "pass@1" in figures:
        before, after, (change, low, high) = (
            figures["pass@1"][part] for part in ("before", "after", "change")
        )
        moved = f"pass@1 on held-out problems went from {percent(before[0])} to {percent(after[0])}"
        sure = (
            f"{points(change)}; the 95 % interval goes from {100 * low:+.1f} to {100 * high:+.1f}. "
            f"{_measured_on(run)} The interval covers which problems were asked, not what another "
            "random seed of the training would have done."
        )
        if low > 0:
            # What one sample gains, the majority or the greedy completion may lose.
            if fell := _what_fell(figures):
                return Improvement(f"In part: {moved}, but {list_names(fell)} fell.", sure, "warn")
            return Improvement(f"Yes: {moved}.", sure, "good")
        if high < 0:
            return Improvement(f"No, it got worse: {moved}.", sure, "warn")
        return Improvement(f"Not shown: {moved}, which may be chance.", sure, "warn")
    return _probe_improvement(run)


def _what_fell(figures: dict[str, dict[str, tuple[float, float, float]]]) -> list[str]:
    """Return each measure of right answers that fell by more than chance, with both values."""
    return [
        f"{name} ({percent(parts['before'][0])} to {percent(parts['after'][0])})"
        for name, parts in figures.items()
        if name.startswith(("maj@", "pass@", "greedy")) and parts["change"][2] < 0
    ]


def _measured_on(run: Run) -> str:
    problems, samples = (number_in(run.evaluation, k) for k in ("num_problems", "num_samples"))
    if problems is None or samples is None:
        return "The number of problems was not noted."
    return f"Measured on {problems:,.0f} problems with {samples:.0f} samples each."


def _probe_improvement(run: Run) -> Improvement:
    series = run.series("serl/probe/pass@1")
    if not series:
        unknown = (
            "Without problems that have known answers, nothing in this report says whether the "
            "model became better. Measure it with a probe set, or with serl eval."
        )
        return Improvement("Not known: nothing was measured.", unknown, "warn")
    if len(series) == 1:
        step, value = series[0]
        only = f"Not known: there is one measurement, {percent(value)} at step {step:.0f}."
        return Improvement(only, "One figure cannot show a change.", "warn")
    (first, old), (last, new) = series[0], series[-1]
    moved = (
        f"pass@1 on the probe set went from {percent(old)} at step {first:.0f} to {percent(new)} "
        f"at step {last:.0f}"
    )
    problems = number_in(run.facts, "num_probe_problems")
    if not problems:
        sure = (
            f"{points(new - old)}. No interval was measured, and the size of the probe set is not "
            "known: take small differences for noise. The untrained model was not measured."
        )
        return Improvement(f"Perhaps: {moved}." if new > old else f"No: {moved}.", sure, "")
    # A value in [0, 1] with mean p varies at most as a coin does. The two figures are of the same
    # problems, so that the interval of their difference is wider than the true one.
    spread = 1.96 * math.sqrt((old * (1 - old) + new * (1 - new)) / problems)
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


def signs_of_collapse(run: Run) -> list[Sign]:
    """Return the signs of collapse, each with its figures at the start and at the end."""
    agreement = first_and_last(run.series("serl/majority_ratio"))
    labels = _labels_then_and_now(run)
    entropy = first_and_last(run.series("entropy"))
    length = first_and_last(run.series("completions/mean_length"))
    template = first_and_last(run.series("serl/top_template_ratio"))
    found = commonest_answer(run)
    before = run.series("serl/commonest_answer_ratio")
    return [
        Sign(
            "One answer wins everywhere",
            percent(before[0][1]) if before else "\u2013",
            percent(found[1]) if found else "\u2013",
            found[1] >= HIGH_COMMONEST if found and found[2] >= MIN_COMMONEST_GROUPS else None,
        ),
        Sign(
            "All completions agree",
            *_cells(agreement, percent),
            agreement and agreement[1] >= HIGH_AGREEMENT,
        ),
        Sign(
            "More agreement, worse labels",
            *_cells(labels, percent),
            None
            if not labels or not agreement
            else labels[0] - labels[1] > max(LABEL_DROP, labels[2])
            and agreement[1] - agreement[0] > AGREEMENT_RISE,
        ),
        Sign(
            "Entropy falls to nothing",
            *_cells(entropy, "{:.3f}".format),
            entropy and entropy[1] < LOW_ENTROPY * entropy[0],
        ),
        Sign(
            "Completions shrink (tokens)",
            *_cells(length, "{:.1f}".format),
            length and length[1] < LOW_LENGTH * length[0],
        ),
        Sign(
            "Proposals are all alike",
            *_cells(template, percent),
            template and template[1] >= HIGH_TEMPLATE,
        ),
        _held_out_sign(run),
    ]


def _labels_then_and_now(run: Run) -> tuple[float, float, float] | None:
    """Return the label accuracy of the first and the last third of the groups where it is known.

    The third number is how much two such shares differ by chance (two standard errors).
    """
    known = [right for right in run.ledger.groups.rights if right >= 0]
    size = len(known) // 3
    if not size:
        return None
    then, now = sum(known[:size]) / size, sum(known[-size:]) / size
    return then, now, 2 * math.sqrt((then * (1 - then) + now * (1 - now)) / size)


def _held_out_sign(run: Run) -> Sign:
    name = "Held-out problems go wrong"
    figures = figures_of(run).get("pass@1")
    if figures is not None:
        before, after, change = (figures[part] for part in ("before", "after", "change"))
        return Sign(name, percent(before[0]), percent(after[0]), change[2] < 0)
    series = run.series("serl/probe/pass@1")
    if len(series) < 2:
        return Sign(name, "\u2013", "\u2013", None)
    old, new = series[0][1], series[-1][1]
    return Sign(name, percent(old), percent(new), new < old - LABEL_DROP)


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
        found.append(f"In {count_of(steps, 'logged step')} groups were repeated to fill a batch.")
    if n := len(run.ledger.bounds):
        found.append(f"In {count_of(n, 'step')} the search for groups was stopped by its bound.")
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
    """Return which proposals and groups were refused and why, in a few sentences."""
    parts = []
    kinds = (
        ("proposal", "refused", run.ledger.proposals),
        ("group", "not trained on", run.ledger.groups),
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
        return (
            f"{percent(right / known)} of the {known:,} labels whose gold answer is known are "
            f"right. {used}"
        )
    if series := run.series("serl/label_accuracy"):
        mean = sum(value for _, value in series) / len(series)
        return (
            f"{percent(mean)} of the majority answers whose gold answer is known are right (mean "
            f"over the steps, groups outside the band included). {used}"
        )
    names = ("", "_low", "_high")
    ends = [run.series(f"serl/kept_label_accuracy_estimate{name}")[-1:] for name in names]
    if all(ends):
        mean, low, high = (end[0][1] for end in ends)
        return (
            f"No gold answers are known for these problems. Going by the probe set about "
            f"{percent(mean)} of the labels are right (95 % interval {100 * low:.0f} to "
            f"{100 * high:.0f})."
        )
    return (
        "Not known: no gold answers are known for these problems. How much the completions agree "
        "does not say it."
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


def _cells(ends: Sequence[float] | None, show: Any) -> tuple[str, str]:
    return (show(ends[0]), show(ends[1])) if ends else ("\u2013", "\u2013")
