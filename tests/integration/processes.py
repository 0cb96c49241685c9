"""Commands that start processes of their own, ended as a whole when they hang."""

import subprocess
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

# Far above what any of them takes on loaded cores: it finds what never ends.
HANG_S = 1200


def run_to_end(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess:
    """Run `command` and return what it said; one that hangs fails, and leaves no process behind.

    `subprocess.run` would wait on: the processes of a launcher that was killed hold its pipes.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            out, err = process.communicate(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            launcher = psutil.Process(process.pid)
            for each in (*launcher.children(recursive=True), launcher):
                each.kill()
            out, err = process.communicate()
            pytest.fail(f"{command} still ran after {HANG_S} s:\n{(out + err)[-3000:]}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)
