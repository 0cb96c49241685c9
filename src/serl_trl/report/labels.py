"""Are the labels right? Only groups with a gold answer can say so."""

from serl_trl.common.text import count_of
from serl_trl.report.figures import percent
from serl_trl.report.words import label_meaning
from serl_trl.runs.reader import Run


def label_answer(run: Run) -> str:
    """Return whether the labels that trained are right, as far as it is known."""
    label = run.config.get("label_reward")
    if label == "gold":
        return "They are gold answers, so they are as right as those are."
    if label in ("random", "none"):
        return label_meaning(label)
    return (
        _by_gold_of_kept(run)
        or _by_logged_accuracy(run)
        or _by_probe(run)
        or _unknown(bool(run.series("serl/probe/label_accuracy")))
    )


def labels_right(run: Run) -> tuple[int, int] | None:
    """Return how many majority answers are the gold answer, and of how many that is known.

    The two counts are over the groups kept for training; `None` where no gold answer is known.
    """
    groups = run.ledger.groups
    known = [groups.rights[row] for row in groups.kept() if groups.rights[row] >= 0]
    return (sum(known), len(known)) if known else None


def label_estimate(run: Run) -> tuple[float, float, float, float] | None:
    """Return the latest estimate of the share of right labels: step, value and its interval.

    The probe set gives it, for the latest kept groups; `None` where it was not logged.
    """
    names = ("estimate", "low", "high")
    ends = [run.series(f"serl/kept_label_accuracy_{name}")[-1:] for name in names]
    if not all(ends):
        return None
    (step, value), (_, low), (_, high) = (end[0] for end in ends)
    return step, value, low, high


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


_USED = "Gold answers serve figures only, here and below; nothing was trained on them."


def _by_gold_of_kept(run: Run) -> str:
    counts = labels_right(run)
    if counts is None:
        return ""
    right, known = counts
    kept = len(run.ledger.groups.kept())
    return (
        f"Of the {kept:,} kept groups the gold answer is known for {known:,}, and "
        f"{percent(right / known)} of these labels are right.{_without_gold(run, kept - known)}"
        f" {_USED}"
    )


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


def _by_logged_accuracy(run: Run) -> str:
    values = [value for _, value in run.series("serl/label_accuracy")]
    if not values:
        return ""
    return (
        f"{percent(sum(values) / len(values))} of the majority answers whose gold answer is known "
        f"are right (mean over the steps, groups outside the band included). {_USED}"
    )


def _by_probe(run: Run) -> str:
    estimate = label_estimate(run)
    if estimate is None:
        return ""
    _, value, low, high = estimate
    return (
        "No gold answer is known for the kept groups. An estimate from the probe set, for the "
        f"latest of them: {percent(value)} of the labels are right (95 % interval "
        f"{100 * low:.0f} to {100 * high:.0f} %). It takes for granted that agreement means the "
        "same on the probe set as on the model's own problems."
    )


def _unknown(probed: bool) -> str:
    unknown = (
        "Not known: no gold answers are known for these problems. How much the completions agree "
        "does not say it."
    )
    way_out = " A probe with probe_samples equal to num_generations would estimate it."
    return unknown + (way_out if probed else "")
