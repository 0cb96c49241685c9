"""The way from proposals to trained groups: what was trained on, and what was refused and why."""

import math
from collections import Counter
from dataclasses import dataclass

from serl_trl.common.text import count_of
from serl_trl.report.figures import percent
from serl_trl.report.words import REASONS, label_meaning
from serl_trl.runs.reader import Run, number_in


@dataclass(frozen=True)
class Stage:
    """One step of the way; `why` says what was lost before it."""

    name: str
    count: int
    why: str = ""


def funnel(run: Run) -> list[Stage]:
    """Return the way from proposals to trained groups, each stage with its count."""
    proposals, groups = run.ledger.proposals, run.ledger.groups
    band = "the others lie outside the difficulty band" if run.config.get("use_band", True) else ""
    stages = [
        Stage("rolled out", len(groups)),
        Stage("with a majority", sum(groups.voted), "the others have no majority answer"),
        Stage("kept", len(groups.kept()), band),
    ]
    if len(proposals):
        stages[:1] = [
            Stage("proposals written", len(proposals)),
            Stage("accepted", len(proposals.kept()), "the others were refused by a filter"),
            Stage("rolled out", len(groups), "the others wait, or were left behind"),
        ]
    trained = num_trained(run)
    if trained is not None:
        stages.append(Stage("trained on", trained, "the others found no place in a batch"))
    return stages


def num_trained(run: Run) -> int | None:
    """Return how many groups were trained on, or `None` where the config does not say enough.

    A step takes no more groups than its generation batches have places.
    """
    names = ("generation_batch_size", "num_generations", "gradient_accumulation_steps")
    batch, votes, accumulation = (number_in(run.config, name) for name in names)
    per_generation = number_in(run.config, "steps_per_generation")
    if not (batch and votes and accumulation and per_generation):
        return None
    refills = max(1, math.ceil(accumulation / per_generation))
    places = refills * int(batch // votes)
    groups = run.ledger.groups
    found = Counter(groups.steps[row] for row in groups.kept()) + run.ledger.leftovers_used
    return sum(min(count, places) for count in found.values())


def what_trained(run: Run) -> str:
    """Return one or two sentences on what the model was trained on."""
    trained, votes = num_trained(run), number_in(run.config, "num_generations")
    groups = len(run.ledger.groups.kept()) if trained is None else trained
    seeds = number_in(run.facts, "num_seeds")
    source = f"{seeds:,.0f} seed problems" if seeds else "seed problems"
    if run.config.get("prompt_source") != "given" and len(run.ledger.proposals):
        source = f"problems that the model wrote itself, starting from {source}"
    times = f", each answered {votes:.0f} times" if votes else ""
    return (
        f"{groups:,} groups in {count_of(run.num_steps, 'step')}: {source}{times}. "
        f"{label_meaning(run.config.get('label_reward'))}"
    )


def what_refused(run: Run) -> str:
    """Return which proposals and groups were refused and why, and how many kept ones trained."""
    parts = []
    kinds = (
        ("proposal", "refused", run.ledger.proposals),
        ("group", "not kept", run.ledger.groups),
    )
    for noun, fate, rows in kinds:
        if not len(rows):
            continue
        reasons = rows.reasons()
        most = "; ".join(f"{REASONS.get(name, name)} ({n:,})" for name, n in reasons.most_common(2))
        listed = f", most often because: {most}" if most else ""
        share = percent(reasons.total() / len(rows))
        parts.append(
            f"{reasons.total():,} of {count_of(len(rows), noun)} ({share}) were {fate}{listed}."
        )
    trained, kept = num_trained(run), len(run.ledger.groups.kept())
    if trained is not None and kept > trained:
        parts.append(
            f"Of the {kept:,} kept groups {trained:,} {'was' if trained == 1 else 'were'} trained "
            f"on; the other {kept - trained:,} found no place in a batch."
        )
    return " ".join(parts) or "Nothing was proposed or rolled out."
