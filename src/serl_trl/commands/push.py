"""`serl push RUN`: the model, its card and its evaluation results to the Hub."""

from collections.abc import Sequence

from rich.console import Console

from serl_trl.hub import prepare_model
from serl_trl.pushing import push


def run(argv: Sequence[str], out: Console) -> int:
    """Push the model of a finished run (or of one of its checkpoints)."""
    return push("push", argv, out, prepare_model)
