"""What the teacher of a run takes in memory; see `serl_trl.train.teachers`."""

from collections.abc import Mapping
from typing import Any

from serl_trl.common.completion import REFERENCE
from serl_trl.labels.base import AVERAGE
from serl_trl.train.beside import teacher_of_run


def teacher_bytes(values: Mapping[str, Any], *, trained: int, own: float, computed: int) -> float:
    """Return the bytes of the teacher of a run, on each GPU.

    `trained` counts what is trained, `own` is the bytes of the run's model, `computed` those of a
    number as it is computed with. `teacher_parameters` of `values` counts a named model's.
    """
    teacher = teacher_of_run(values)
    if teacher is None:
        return 0.0
    if teacher.model == AVERAGE:
        # Held in float32.
        return 4.0 * trained
    if teacher.model == REFERENCE:
        # The KL reference, or the base under the adapter, is there already.
        return 0.0 if values["beta"] or values["use_peft"] else own
    return float(values.get("teacher_parameters", 0) * computed)
