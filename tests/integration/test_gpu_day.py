"""Every step for a GPU, tried on a CPU with tiny sizes: what works here is not found out there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_step_runs_on_a_cpu_and_its_figures_become_tables(tmp_path):
    module = [sys.executable, "-m", "benchmarks.gpu_day"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def run(*flags):
        return subprocess.run(
            [*module, *flags], cwd=ROOT, env=environment, capture_output=True, text=True
        )

    done = run("--device", "cpu", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads((tmp_path / "day.json").read_text())["steps"]
    assert list(steps) == ["tests", "speed", "study", "profile"]
    assert set(steps["speed"]["figures"]["cases"]) == {"tiny, full", "tiny, LoRA"}
    assert all("error" not in case for case in steps["speed"]["figures"]["cases"].values())
    assert steps["study"]["figures"]["arms"]["gold_given"]["num_seeds"] == 1
    assert len(steps["profile"]["figures"]["avoidable"]) >= 3

    again = run("--device", "cpu", "--out", str(tmp_path))
    assert again.stdout.count("done before") == 4
    tables = run("--json", str(tmp_path / "day.json")).stdout
    assert "| tests |" in tables and "| tiny, LoRA |" in tables and "| gold_given |" in tables
