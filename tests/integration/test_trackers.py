"""Every metric of a run reaches the tracker under the name it has in metrics.jsonl."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serl_trl.sandbox import CONFIG_PATH

pytest.importorskip("trackio")
pytest.importorskip("tensorboard")

RUN = """
from serl_trl import trainer_from_config

trainer = trainer_from_config(
    "run.yaml", output_dir="run", max_steps=2, gradient_accumulation_steps=1, num_generations=4,
    per_device_train_batch_size=8, save_strategy="no", probe_steps=0, project="serl-test",
    probe_set="probe.jsonl", disable_tqdm=True,
)
trainer.train()
"""
READ = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage

(run,) = trackio.Api().runs("serl-test")
print(json.dumps(SQLiteStorage.get_all_metrics_for_run(run.project, run.name, run_id=run.id)))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("tracked")
    probe = {"problem": "Ann has 3 pens and finds 4. How many pens has Ann?", "answer": "7"}
    (folder / "probe.jsonl").write_text(json.dumps(probe) + "\n")
    config = CONFIG_PATH.read_text().replace("report_to: none", "report_to: [trackio, tensorboard]")
    (folder / "run.yaml").write_text(config)
    environment = {
        **os.environ,
        "TRACKIO_DIR": str(folder / "trackio"),
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, environment


def logged(folder: Path) -> set[str]:
    lines = (folder / "run" / "_serl" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {name for row in rows for name in row if name.startswith("serl/")}


def test_the_local_store_of_trackio_holds_the_metrics_of_the_run(run):
    folder, environment = run
    read = subprocess.run(
        [sys.executable, "-c", READ], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert read.returncode == 0, read.stderr[-2000:]
    names = json.loads(read.stdout.splitlines()[-1])
    assert logged(folder)
    assert {f"train/{name}" for name in logged(folder)} <= set(names)


def test_tensorboard_holds_the_metrics_of_the_run(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = run
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert {f"train/{name}" for name in logged(folder)} <= set(events.Tags()["scalars"])
