"""`serl push-dataset RUN`: the self-written instructions of a run to the Hub."""

from collections.abc import Sequence

from rich.console import Console

from serl_trl.cli.commands.push import push
from serl_trl.share.hub import prepare_dataset


def run(argv: Sequence[str], out: Console) -> int:
    """Push what a run wrote, accepted and refused, as a data set."""
    return push("push-dataset", argv, out, prepare_dataset)
