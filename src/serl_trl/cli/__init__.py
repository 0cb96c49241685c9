"""The command `serl`."""

from serl_trl.cli.entry import main

__all__ = ["main"]
