"""Two processes on the CPU: whole groups, one pool, split work, one end."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.integration.processes import run_to_end

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", str(SCRIPT), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = run_to_end(command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_both_ranks_hold_the_same_pool_and_took_the_same_decisions(ranks):
    assert ranks[0]["selfplay"] == ranks[1]["selfplay"]
    assert ranks[0]["step"] == ranks[1]["step"] == 2


def test_both_ranks_end_with_the_same_weights(ranks):
    assert ranks[0]["weights"] == ranks[1]["weights"]


def test_a_loss_that_is_nan_in_one_process_skips_the_step_in_both(ranks):
    assert [rank["num_skipped"] for rank in ranks] == [1, 1]


def test_the_work_is_split_evenly(ranks):
    assert ranks[0]["generated"] == ranks[1]["generated"]


def test_a_vote_sees_whole_groups_although_a_slice_cuts_them(ranks):
    for left, right in zip(ranks[0]["batches"], ranks[1]["batches"], strict=True):
        assert left["groups"] == right["groups"]
        rewards = [reward for _, _, rewards in left["groups"] for reward in rewards]
        assert [reward for _, reward in left["local"] + right["local"]] == rewards
        # 3 groups of 8 over 2 ranks: the middle group straddles the slices.
        assert left["local"][-1][0] == right["local"][0][0]


@pytest.mark.slow
def test_accelerate_launch_with_the_shipped_config_runs_to_its_end(tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", "configs/accelerate/cpu2.yaml", "train.py"]
    command += ["--config", "configs/sandbox_cpu.yaml", "--output_dir", str(tmp_path / "run")]
    command += ["--max_steps", "1", "--per_device_train_batch_size", "16"]
    command += ["--gradient_accumulation_steps", "1", "--num_generations", "8"]
    command += ["--probe_steps", "0", "--save_strategy", "no"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = run_to_end(command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run" / "model.safetensors").is_file()
    config = (tmp_path / "run" / "_serl" / "config.yaml").read_text()
    assert "max_steps: 1" in config
