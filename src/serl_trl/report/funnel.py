"""The way from proposals to trained groups: what was trained on, and what was refused and why."""

import math
from collections import Counter
from dataclasses import dataclass

from serl_trl.common.reasons import REASONS
from serl_trl.labels.registry import meaning_of
from serl_trl.propose.sources.registry import writes_new
from serl_trl.report.blocks import quoted
from serl_trl.report.sentences import say
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
    gated = "validity" in groups.reasons()
    lost = ["lie outside the difficulty band"] if run.config.get("use_band", True) else []
    lost += ["ask what is probably broken"] if gated else []
    why = f"the others {' or '.join(lost)}" if lost else ""
    stages = [
        Stage("rolled out", len(groups)),
        Stage("with a majority", sum(groups.voted), "the others have no majority answer"),
        Stage("kept", len(groups.kept()), why),
    ]
    # A run that trains on its seeds alone has no first stages.
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
    # One step can need several generation batches, and at least one.
    refills = max(1, math.ceil(accumulation / per_generation))
    places = refills * int(batch // votes)
    groups = run.ledger.groups
    # Groups kept at an earlier step can wait for a place; the ledger says where they found one.
    found = Counter(groups.steps[row] for row in groups.kept()) + run.ledger.leftovers_used
    return sum(min(count, places) for count in found.values())


def what_trained(run: Run) -> str:
    """Return one or two sentences on what the model was trained on."""
    trained = num_trained(run)
    return say(
        "trained",
        groups=len(run.ledger.groups.kept()) if trained is None else trained,
        steps=run.num_steps,
        wrote=writes_new(run.config.get("sources")) and len(run.ledger.proposals) > 0,
        seeds=number_in(run.facts, "num_seeds"),
        votes=number_in(run.config, "num_generations"),
        label=meaning_of(run.config),
    )


def what_refused(run: Run) -> str:
    """Return which proposals and groups were refused and why, and what was sampled in vain."""
    parts = []
    kinds = (
        ("proposal", "refused", run.ledger.proposals),
        ("group", "not kept", run.ledger.groups),
    )
    for noun, fate, rows in kinds:
        if all_rows := len(rows):
            reasons = rows.reasons()
            most = [(REASONS.get(name, quoted(name)), n) for name, n in reasons.most_common(2)]
            refused = reasons.total()
            parts.append(
                say("refused", number=refused, all=all_rows, noun=noun, fate=fate, reasons=most)
            )
    trained, kept = num_trained(run), len(run.ledger.groups.kept())
    if trained is not None and kept > trained:
        parts.append(say("without_place", trained=trained, kept=kept))
    if sampled := [each for _, each in run.series("serl/sampled_per_trained")]:
        parts.append(say("sampled", each=sum(sampled) / len(sampled)))
    return " ".join(parts) or "Nothing was proposed or rolled out."
