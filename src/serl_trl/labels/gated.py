"""Which gate on questions a run has, by its options alone."""

from collections.abc import Mapping
from typing import Any

from serl_trl.filters.validity.choice import NO_GATE, Choice, is_strict, read_choice
from serl_trl.labels.registry import known_labeller
from serl_trl.labels.validity import steps_aside
from serl_trl.propose.sources.registry import writes_new


def has_gate(values: Mapping[str, Any]) -> bool:
    """Return whether a run with the options `values` has a gate unless `validity` is off.

    Plug-ins are not asked. Of options that are missing the default holds.
    """
    labeller = known_labeller(values.get("label_reward", "vote"))
    writes = writes_new(values.get("sources", ["few_shot"]))
    aside = steps_aside(labeller, values.get("task_template") or "", writes=writes)
    return values.get("use_selfplay", True) and not aside


def gate_of(values: Mapping[str, Any]) -> Choice:
    """Return the gate of a run with the options `values`, which is off where it steps aside.

    Without `validity` it is off, too. Raises `ValueError` for a wrong `validity`.
    """
    plugins, votes = values.get("plugins") or (), values.get("num_generations", 16)
    chosen = read_choice(values.get("validity", False), plugins, group_size=votes)
    return chosen if has_gate(values) else NO_GATE


def widens_band(values: Mapping[str, Any]) -> bool:
    """Return whether the gate lets the band reach to one vote short of all; looks nothing up."""
    return is_strict(values.get("validity", False)) and has_gate(values)
