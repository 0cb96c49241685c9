"""Who answers in a run beside the trained model, by its options."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from serl_trl.common.plugin import shown
from serl_trl.common.problem import Problem
from serl_trl.filters.validity.choice import NO_GATE, Choice
from serl_trl.labels.base import Teacher
from serl_trl.labels.gated import gate_of
from serl_trl.labels.registry import teacher_of


def teacher_of_run(values: Mapping[str, Any]) -> Teacher | None:
    """Return the teacher of a run with the options `values`, of which `label_reward` may be wrong.

    Plug-ins are not asked.
    """
    try:
        gate = gate_of(values)
    except (ValueError, TypeError):
        # Refused elsewhere, with the reason.
        gate = NO_GATE
    return find_teacher(teacher_of(values.get("label_reward")), gate, values)


def find_teacher(own: Teacher | None, gate: Choice, values: Mapping[str, Any]) -> Teacher | None:
    """Return whom a run asks beside the policy: the teacher of its labeller, or of its gate.

    The first weights judge questions for the signals of a gate, unless one of these names another
    model. A policy that trains on answers alone slowly forgets how to, and is asked itself only
    where the first weights cannot be held.
    """
    if own or not gate.asked:
        return own
    judge = Teacher(gate.judge)
    return judge if judge.named or not any(teacher_problems(judge, values)) else None


def teacher_problems(teacher: Teacher | None, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps a run from holding its teacher (`None`: it has none)."""
    if teacher is None:
        return
    if values.get("use_vllm"):
        rule = f"with a labeller or gate that asks a teacher ({shown(teacher.model)}) is refused: "
        rule += "the engine holds the trained weights alone"
        way_out = "leave it out, or use another label_reward or validity"
        yield Problem("use_vllm", True, rule, way_out)
    accelerated = {
        "deepspeed": "ACCELERATE_USE_DEEPSPEED",
        "fsdp": "ACCELERATE_USE_FSDP",
    }
    for option, variable in accelerated.items():
        if values.get(option) or os.environ.get(variable, "").lower() == "true":
            rule = f": a teacher ({shown(teacher.model)}) is refused with it, because it divides "
            rule += "the weights or lays them together, so that no others can stand in for them"
            yield Problem(option, rule=rule, way_out="train on one GPU or with DDP")
