"""Reward functions that fail in the second process or ask to stop, for `test_preemption.py`."""

import os
import signal
import time
from typing import Any


def _in_second() -> bool:
    return os.environ["RANK"] == "1"


def raises(completions: list[Any], **_: Any) -> list[float]:
    """Raise in one process."""
    if _in_second():
        raise RuntimeError("the reward service is gone")
    return [0.0] * len(completions)


def exits(completions: list[Any], **_: Any) -> list[float]:
    """Leave without a word in one process."""
    if _in_second():
        os._exit(9)
    return [0.0] * len(completions)


def hangs(completions: list[Any], **_: Any) -> list[float]:
    """Never come back in one process."""
    if _in_second():
        time.sleep(600)
    return [0.0] * len(completions)


def asks(completions: list[Any], **_: Any) -> list[float]:
    """Ask this process to stop."""
    os.kill(os.getpid(), signal.SIGTERM)
    return [0.0] * len(completions)
