"""What the gate on questions asks of the model beside the votes."""

from collections.abc import Mapping
from typing import Any

from serl_trl.filters.validity.choice import read_choice
from serl_trl.labels.registry import known_labeller
from serl_trl.labels.validity import steps_aside


def asked_per_question(values: Mapping[str, Any]) -> int:
    """Return the most completions that signals of `validity` ask about a question that is kept.

    0 where the gate steps aside. Plug-ins are not asked.
    """
    labeller = known_labeller(values["label_reward"])
    if not values["use_selfplay"] or steps_aside(labeller, values["task_template"]):
        return 0
    return read_choice(values["validity"], values["plugins"] or ()).num_completions
