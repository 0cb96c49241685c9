"""Are the labels right? Only groups with a gold answer can say so."""

from statistics import fmean

from serl_trl.labels.registry import known_labeller
from serl_trl.report.sentences import say
from serl_trl.runs.reader import Run


def label_answer(run: Run) -> str:
    """Return whether the labels that trained are right, as far as it is known."""
    if truth := known_labeller(run.config.get("label_reward")).truth:
        return truth
    # The best evidence first: gold of the very groups that trained, then of all groups that were
    # rolled out, then what the probe set lets one guess.
    if counts := labels_right(run):
        kept, solver = len(run.ledger.groups.kept()), bool(run.config.get("gold_oracle"))
        return say("labels_by_gold", right=counts[0], known=counts[1], kept=kept, solver=solver)
    if logged := run.series("serl/label_accuracy"):
        return say("labels_by_log", mean=fmean(value for _, value in logged))
    if estimate := label_estimate(run):
        _, value, low, high = estimate
        return say("labels_by_probe", value=value, low=low, high=high)
    return say("labels_unknown", probed=bool(run.series("serl/probe/label_accuracy")))


def labels_right(run: Run) -> tuple[int, int] | None:
    """Return how many majority answers are the gold answer, and of how many that is known.

    The two counts are over the groups kept for training; `None` where no gold answer is known.
    """
    groups = run.ledger.groups
    known = [groups.rights[row] for row in groups.kept() if groups.rights[row] >= 0]
    # A group without gold says nothing of the labels, so it is in neither count.
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
    groups, counts = run.ledger.groups, labels_right(run)
    return say(
        "gold_known",
        voted=sum(groups.voted),
        known=sum(right >= 0 for right in groups.rights),
        kept=len(groups.kept()),
        known_kept=counts[1] if counts else 0,
    )
