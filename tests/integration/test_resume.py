"""A resumed run is the run that was never stopped: same weights, same ledger, same metrics."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from peft import LoraConfig
from transformers import TrainerCallback

from serl_trl.cli.build import set_aside
from serl_trl.cli.entry import main
from serl_trl.common.completion import Completion
from serl_trl.common.console import BAD_INPUT
from serl_trl.common.files import read_lines
from serl_trl.common.processes import leave_process_group
from serl_trl.labels.band import Band
from serl_trl.labels.base import wrapped
from serl_trl.sandbox import load_model, load_tokenizer, seed_set
from serl_trl.train.checkpoint import CheckpointError
from serl_trl.train.config import SeRLConfig
from serl_trl.train.must_match import FREE_OPTIONS, _as_json
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.processes import HANG_S, run_to_end
from tests.integration.tiny import SAVING

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {**SAVING, "max_steps": 4}
TIMES = ("serl/time/", "step_time", "train_runtime", "train_samples_per", "train_steps_per")


class Crash(BaseException):
    """Ends a run as a kill does: nothing in its way catches it."""


class CrashAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise Crash


def make(folder: Path, *, crash_at: int = 0, lora: bool = False, **options: Any) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**SMALL, **options})
    return SeRLTrainer(
        load_model(),
        config,
        seed_set(),
        processing_class=load_tokenizer(),
        callbacks=[CrashAt(crash_at)] if crash_at else None,
        peft_config=LoraConfig(r=4, target_modules="all-linear") if lora else None,
    )


def digest(trainer: SeRLTrainer) -> str:
    data = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    return hashlib.sha256(data).hexdigest()


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if not key.startswith(TIMES)}
        for record in records
    ]


def all_of(trainer: SeRLTrainer) -> dict[str, Any]:
    """Return everything that a resumed run must share with one that never stopped."""
    folder = Path(trainer.args.output_dir) / "_serl"
    optimizer = hashlib.sha256()
    for state in trainer.optimizer.state.values():
        for value in state.values():
            optimizer.update(str(value.tolist() if torch.is_tensor(value) else value).encode())
    return {
        "weights": digest(trainer),
        "optimizer": optimizer.hexdigest(),
        "rate": trainer.lr_scheduler.get_last_lr(),
        "random": torch.get_rng_state().tolist(),
        "selfplay": trainer.selfplay.state_dict(),
        "step": trainer._step,
        "ledger": (folder / "ledger.jsonl").read_bytes(),
        "metrics": without_times(read_lines(folder / "metrics.jsonl")),
        "history": without_times(trainer.state.log_history),
        "teacher": {
            name: each.tolist() for name, each in getattr(trainer.teacher, "_weights", {}).items()
        },
        "iterations": sorted(path.name for path in folder.glob("iterations/*")),
        "completions": [
            pandas.read_parquet(path).to_json()
            for path in sorted(Path(trainer.args.output_dir).glob("completions/*.parquet"))
        ],
    }


def crash_and_resume(folder: Path, crash_at: int, **options: Any) -> SeRLTrainer:
    with pytest.raises(Crash):
        make(folder, crash_at=crash_at, **options).train(resume_from_checkpoint="auto")
    torch.manual_seed(crash_at)  # what a new process would find
    trainer = make(folder, **options)
    trainer.train(resume_from_checkpoint="auto")
    return trainer


# The average leaves the weights behind, so that a label that it did not give would show.
_AVERAGE = {"label_reward": "teacher_vote(votes=4, keep_start=0.5)", "sources": ["given"]}

CASES = {
    "one batch a step": (3, {}),
    "an average of the weights": (3, _AVERAGE),
    "an average of the adapter": (3, {**_AVERAGE, "lora": True}),
    "two views": (3, {"label_reward": "two_view", "sources": ["given"]}),
    "several batches a step": (3, {"gradient_accumulation_steps": 2, "steps_per_generation": 1}),
    "inside a cycle": (2, {"steps_per_generation": 2, "log_completions": True}),
    "at the end of a cycle": (3, {"steps_per_generation": 2}),
    "second pass over a batch": (2, {"num_iterations": 2}),
    "inside all three": (
        4,
        {
            "max_steps": 5,
            "gradient_accumulation_steps": 2,
            "steps_per_generation": 4,
            "num_iterations": 2,
        },
    ),
    "cycles out of step": (
        3,
        {"gradient_accumulation_steps": 2, "steps_per_generation": 3, "max_steps": 5},
    ),
    "between two logs": (5, {"logging_steps": 3, "max_steps": 6}),
    "steps after the last save are done again": (4, {"save_steps": 2}),
    "before the first save": (1, {}),
    "with leftovers and a schedule": (
        3,
        {"max_staleness": 2, "num_requests": 4, "lr_scheduler_type": "cosine", "warmup_steps": 2},
    ),
    "before an iteration's end": (
        2,
        {"instructions_per_iteration": 2, "num_selfplay_iterations": 2, "beta": 0.01},
    ),
    "at an iteration's end": (
        3,
        {"instructions_per_iteration": 2, "num_selfplay_iterations": 2, "beta": 0.01},
    ),
    "after an iteration's end": (
        4,
        {
            "instructions_per_iteration": 2,
            "num_selfplay_iterations": 2,
            "beta": 0.01,
            "lr_scheduler_type": "linear",
            "steps_per_generation": 2,
            "max_steps": 5,
        },
    ),
    "a reference that follows": (
        3,
        {"beta": 0.01, "sync_ref_model": True, "ref_model_sync_steps": 1},
    ),
    "an adapter and its reference": (
        4,
        {"lora": True, "instructions_per_iteration": 2, "beta": 0.01, "max_steps": 5},
    ),
    "with a gate that asks": (3, {"validity": "auto"}),
    "adaptive entropy": (
        3,
        {"use_adaptive_entropy": True, "entropy_coef": 0.01, "gradient_accumulation_steps": 2},
    ),
}


# Each has another close to it, and takes 20 seconds.
RARE = {
    "an average of the adapter",
    "several batches a step",
    "inside a cycle",
    "cycles out of step",
    "a reference that follows",
    "at an iteration's end",
    "at the end of a cycle",
    "inside all three",
    "between two logs",
    "before the first save",
    "before an iteration's end",
    "after an iteration's end",
    "adaptive entropy",
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case in RARE else []) for case in CASES],
)
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, case):
    crash_at, options = CASES[case]
    whole = make(tmp_path / "whole", **options)
    whole.train()
    expected = all_of(whole)
    found = all_of(crash_and_resume(tmp_path / "cut", crash_at, **options))
    for part, value in expected.items():
        assert found[part] == value, part
    logged = [record["step"] for record in found["metrics"] if "loss" in record]
    assert logged == sorted(set(logged))


def ask_to_stop(trainer: SeRLTrainer, *, at_call: int) -> None:
    """Signal this process in a roll-out of step 2; in the first where `at_call` is 1."""
    work, calls = trainer.policy.roll_out, []

    def roll_out(*given: Any, **named: Any) -> Any:
        if trainer.state.global_step == 1:
            calls.append(True)
            if len(calls) == at_call:
                os.kill(os.getpid(), signal.SIGTERM)
        return work(*given, **named)

    trainer.policy.roll_out = roll_out


@pytest.mark.parametrize(
    ("per_generation", "per_step"), [(3, 2), pytest.param(6, 4, marks=pytest.mark.slow)]
)
def test_a_signal_in_a_refill_inside_a_step_ends_the_run_after_that_step(
    tmp_path, per_generation, per_step
):
    options = {
        "steps_per_generation": per_generation,
        "gradient_accumulation_steps": per_step,
        "save_strategy": "no",
        "max_steps": 3,
    }
    whole = make(tmp_path / "whole", **options)
    whole.train()
    stopped = make(tmp_path / "cut", **options)
    ask_to_stop(stopped, at_call=1)
    stopped.train()
    # The generation batch before had batches for half of step 2.
    assert [path.name for path in (tmp_path / "cut").glob("checkpoint-*")] == ["checkpoint-2"]
    resumed = make(tmp_path / "cut", **options)
    resumed.train(resume_from_checkpoint=True)
    expected, found = all_of(whole), all_of(resumed)
    for part, value in expected.items():
        assert found[part] == value, part


def test_a_refill_that_is_undone_takes_the_metrics_of_an_empty_one_before_with_it(tmp_path):
    options = {"save_strategy": "no", "max_refill_rounds": 1, "max_steps": 3}

    def make_one(name: str, *, asked: bool = False) -> SeRLTrainer:
        trainer = make(tmp_path / name, **options)
        if asked:
            ask_to_stop(trainer, at_call=2)
        work, calls = trainer.policy.roll_out, []

        def roll_out(instructions: Any) -> Any:
            groups = work(instructions)
            if trainer.state.global_step == 1:
                calls.append(True)
                if len(calls) == 1:
                    return [[Completion("none", c.token_ids, False) for c in g] for g in groups]
            return groups

        trainer.policy.roll_out = roll_out
        return trainer

    whole = make_one("whole")
    whole.train()
    stopped = make_one("cut", asked=True)
    stopped.train()
    assert stopped.state.global_step == 1
    resumed = make_one("cut")
    resumed.train(resume_from_checkpoint=True)
    expected, found = all_of(whole), all_of(resumed)
    for part, value in expected.items():
        assert found[part] == value, part


def test_a_run_that_is_made_longer_equals_one_planned_that_long(tmp_path):
    options = {"instructions_per_iteration": 2, "lr_scheduler_type": "linear", "beta": 0.01}
    whole = make(tmp_path / "whole", **options, max_steps=4)
    whole.train()
    make(tmp_path / "longer", **options, max_steps=2).train()
    longer = make(tmp_path / "longer", **options, max_steps=4)
    longer.train(resume_from_checkpoint=True)
    expected, found = all_of(whole), all_of(longer)
    for ends in (expected, found):
        # The share of the run that is done, which was another while the run was shorter.
        for record in ends["metrics"] + ends["history"]:
            del record["epoch"]
    for part, value in expected.items():
        assert found[part] == value, part


def test_a_plain_run_resumes_inside_its_first_epoch(tmp_path):
    options = {
        "use_selfplay": False,
        "label_reward": "none",
        "advantage": "grpo",
        "steps_per_generation": 2,
    }

    def brevity(completions, **_):
        return [-float(len(completion[0]["content"])) for completion in completions]

    def run(folder, crash_at=0):
        config = SeRLConfig(output_dir=str(folder), **{**SMALL, **options})
        callbacks = [CrashAt(crash_at)] if crash_at else None
        seeds = seed_set()
        return SeRLTrainer(
            load_model(),
            config,
            seeds,
            processing_class=load_tokenizer(),
            reward_funcs=brevity,
            callbacks=callbacks,
        )

    whole = run(tmp_path / "whole")
    whole.train()
    with pytest.raises(Crash):
        run(tmp_path / "cut", crash_at=4).train()
    resumed = run(tmp_path / "cut")
    resumed.train(resume_from_checkpoint="auto")
    assert digest(resumed) == digest(whole)


# What is refused, what is moved.


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    make(folder, max_steps=2, save_total_limit=5).train()
    return folder


def copy_of(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "run"))


def test_a_changed_configuration_is_refused_with_the_list_of_changes(finished, tmp_path):
    run = copy_of(finished, tmp_path)
    trainer = make(run, max_steps=3, learning_rate=2e-3, temperature=0.9, logging_steps=2)
    with pytest.raises(CheckpointError) as caught:
        trainer.train(resume_from_checkpoint="auto")
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "  learning_rate: 0.001 in the checkpoint, 0.002 now",
        "  temperature: 1.0 in the checkpoint, 0.9 now",
    ]
    assert "allow_changes=True" in lines[0]
    assert (run / "checkpoint-2").is_dir()


def test_another_adapter_or_chat_template_is_refused_with_what_differs(tmp_path):
    def build(template: str = "", **lora: Any) -> SeRLTrainer:
        tokenizer = load_tokenizer()
        tokenizer.chat_template += template
        options = {"max_steps": 2, "allow_changes": lora.pop("allow_changes", False)}
        return SeRLTrainer(
            load_model(),
            SeRLConfig(output_dir=str(tmp_path), **{**SMALL, **options}),
            seed_set(),
            processing_class=tokenizer,
            peft_config=LoraConfig(target_modules="all-linear", **lora) if lora else None,
        )

    first = build(r=4, lora_alpha=8)
    first.args.max_steps = 1
    first.train()
    del first
    for changed, said in (
        ({"r": 4, "lora_alpha": 64}, "adapter.lora_alpha: 8 in the checkpoint, 64 now"),
        ({}, "adapter: true in the checkpoint, false now"),
        ({"r": 4, "lora_alpha": 8, "template": " "}, "chat_template_sha256: "),
    ):
        with pytest.raises(CheckpointError) as caught:
            build(**changed).train(resume_from_checkpoint="auto")
        (line,) = str(caught.value).splitlines()[1:]
        assert line.strip().startswith(said)
    allowed = build(r=4, lora_alpha=64, allow_changes=True)
    allowed.train(resume_from_checkpoint="auto")
    assert allowed.state.global_step == 2


def test_the_order_of_an_adapters_modules_is_no_difference():
    dumped = [json.dumps({"a": set(names)}, default=_as_json) for names in ("xyz", "zyx")]
    assert dumped[0] == dumped[1]


def test_a_run_without_a_band_of_its_user_keeps_the_one_that_it_began_with(finished, tmp_path):
    run = copy_of(finished, tmp_path / "run")

    trainer = make(run, max_steps=3, difficulty_low=None, difficulty_high=None)
    band = next(x for x in wrapped(trainer.selfplay.labelling.labeller) if isinstance(x, Band))
    assert (band.low, band.high) == (0.2, 0.8)
    trainer.train(resume_from_checkpoint=True)

    assert (band.low, band.high) == (SMALL["difficulty_low"], SMALL["difficulty_high"])
    assert trainer.args.difficulty_low == SMALL["difficulty_low"]
    assert trainer.state.global_step == 3


def test_an_allowed_change_keeps_the_pool_and_begins_a_fresh_cycle(finished, tmp_path):
    run = copy_of(finished, tmp_path)
    trainer = make(run, max_steps=3, num_iterations=2, allow_changes=True)
    trainer.train(resume_from_checkpoint="auto")
    assert trainer.state.global_step == 3
    assert trainer._step == 1
    saved = json.loads((finished / "checkpoint-2" / "serl_state.json").read_text())
    accepted = saved["selfplay"]["proposing"]["pool"]["accepted"]
    assert accepted
    assert trainer.selfplay.proposing.pool.accepted[: len(accepted)] == accepted


def test_options_that_may_change_freely_exist():
    assert {field.name for field in fields(SeRLConfig)} >= FREE_OPTIONS


def test_other_seeds_are_refused_even_where_changes_are_allowed(finished, tmp_path):
    run = copy_of(finished, tmp_path)
    config = SeRLConfig(output_dir=str(run), **{**SMALL, "max_steps": 3}, allow_changes=True)
    trainer = SeRLTrainer(load_model(), config, seed_set()[:-1], processing_class=load_tokenizer())
    with pytest.raises(CheckpointError, match="belongs to other seeds"):
        trainer.train(resume_from_checkpoint="auto")


def test_what_only_is_shown_or_kept_may_change_freely(finished, tmp_path):
    run = copy_of(finished, tmp_path)
    trainer = make(run, max_steps=4, save_steps=2, save_total_limit=1, logging_steps=2)
    trainer.train(resume_from_checkpoint="auto")
    steps = [record["step"] for record in trainer.state.log_history]
    assert steps == [1, 2, 4, 4]
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-4"]


HOLD = """\
import pathlib, sys
from serl_trl.train.checkpoint import hold
kept = hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(finished, tmp_path, capsys):
    run = copy_of(finished, tmp_path)
    first = [sys.executable, "-c", HOLD, str(run)]
    pipe = subprocess.PIPE
    with subprocess.Popen(first, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "held\n"
        before = fingerprints(run)
        with pytest.raises(CheckpointError, match="is in use"):
            make(run, max_steps=3)
        with pytest.raises(CheckpointError, match="is in use"):
            set_aside(run)
        assert main(command(run)[3:]) == BAD_INPUT
        assert main([*command(run)[3:-4], "--overwrite", "true", *command(run)[-2:]]) == BAD_INPUT
        said = capsys.readouterr().err
        assert said.count(f"process {process.pid} on") == 2
        assert fingerprints(run) == before
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        process.stdin.close()
    assert set_aside(run) == tmp_path / "run-1"


def test_resuming_from_an_older_checkpoint_moves_the_later_ones_aside(finished, tmp_path):
    run = copy_of(finished, tmp_path)
    trainer = make(run, max_steps=2)
    trainer.train(resume_from_checkpoint=str(run / "checkpoint-1"))
    cut = run / "_serl" / "cut" / "after-step-1"
    assert {path.name for path in cut.iterdir()} == {
        "checkpoint-2",
        "ledger.jsonl",
        "metrics.jsonl",
    }
    ledger = run / "_serl" / "ledger.jsonl"
    assert ledger.read_bytes() == (finished / "_serl" / "ledger.jsonl").read_bytes()


def test_a_fresh_start_moves_an_earlier_run_aside(finished, tmp_path):
    run = copy_of(finished, tmp_path)
    make(run, max_steps=1).train()
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-1"]
    assert (run / "_serl" / "cut" / "after-step-0" / "checkpoint-2").is_dir()
    assert [r["step"] for r in read_lines(run / "_serl" / "metrics.jsonl")] == [1, 1]


def test_proposals_looked_at_before_training_leave_no_trace_in_the_ledger(tmp_path):
    ledgers = []
    for name in ("looked", "plain"):
        trainer = make(tmp_path / name, max_steps=1)
        if name == "looked":
            trainer.propose(2)
        trainer.train()
        ledgers.append(read_lines(tmp_path / name / "_serl" / "ledger.jsonl"))
    assert ledgers[0] == ledgers[1]


def test_a_fresh_start_keeps_what_its_own_trainer_wrote_and_nothing_older(tmp_path):
    with pytest.raises(Crash):
        make(tmp_path, crash_at=1).train()
    trainer = make(tmp_path, max_steps=1)
    trainer.ledger.write({"type": "note"})
    trainer.train(resume_from_checkpoint="auto")
    records = read_lines(tmp_path / "_serl" / "ledger.jsonl")
    assert [record["type"] for record in records].count("note") == 1
    ids = [record["id"] for record in records if "shots" in record]
    assert ids == list(range(len(ids)))


def test_timeouts_of_the_verifier_are_remembered(tmp_path):
    crashing = make(tmp_path, crash_at=2, max_steps=2)
    crashing.verifier.load_state_dict({"verdicts": [["a", "b", "timeout"]], "counts": {}})
    with pytest.raises(Crash):
        crashing.train()
    resumed = make(tmp_path, max_steps=2)
    resumed.train(resume_from_checkpoint="auto")
    assert ["a", "b", "timeout"] in resumed.verifier.state_dict()["verdicts"]


# Whole processes.

FLAGS = [
    *("--max_steps", "4", "--save_steps", "1", "--probe_steps", "0", "--num_generations", "4"),
    *("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1"),
    *("--max_completion_length", "32", "--proposer_max_tokens", "64", "--num_requests", "2"),
    *("--difficulty_low", "0.4", "--difficulty_high", "1.0", "--resume", "auto"),
    *("--disable_tqdm", "true"),
]


def command(folder: Path) -> list[str]:
    config = str(ROOT / "configs" / "sandbox_cpu.yaml")
    start = [sys.executable, "-m", "serl_trl.cli", "train", "--config", config]
    return [*start, *FLAGS, "--output_dir", str(folder)]


def fingerprints(folder: Path) -> dict[str, str]:
    """Return a hash of every file of a run."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_a_killed_process_goes_on_and_a_finished_one_changes_nothing(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole), env=environment, check=True, capture_output=True, timeout=HANG_S)
    process = subprocess.Popen(
        command(killed), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + HANG_S
    while not (killed / "checkpoint-2").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "_serl" / "finished.json").exists()
    subprocess.run(
        command(killed), env=environment, check=True, capture_output=True, timeout=HANG_S
    )
    for name in ("model.safetensors", "_serl/ledger.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    metrics = [without_times(read_lines(run / "_serl/metrics.jsonl")) for run in (whole, killed)]
    assert metrics[0] == metrics[1]
    before = fingerprints(killed)
    done = subprocess.run(
        command(killed), env=environment, check=True, capture_output=True, text=True, timeout=HANG_S
    )
    assert "is finished; nothing was changed" in done.stdout
    assert fingerprints(killed) == before


def launch(folder: Path, crash_at: int) -> subprocess.CompletedProcess:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    # Run as a script, this file looks for its neighbours.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return run_to_end(
        [*start, __file__, str(folder), str(crash_at)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )


# Own parts and a teacher are resumed on two processes each time.
@pytest.mark.slow
def test_two_processes_resume_as_one_does(tmp_path):
    assert launch(tmp_path / "whole", 0).returncode == 0
    assert launch(tmp_path / "cut", 3).returncode != 0
    # The newest is damaged for one process only; both must take the older one.
    (tmp_path / "cut" / "checkpoint-2" / "rng_state_1.pth").unlink()
    done = launch(tmp_path / "cut", 0)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "cut" / "_serl" / "damaged" / "checkpoint-2").is_dir()
    for rank in range(2):
        whole, cut = (
            json.loads((tmp_path / name / f"rank{rank}.json").read_text())
            for name in ("whole", "cut")
        )
        assert cut == whole


def one_of_two(folder: Path, crash_at: int) -> None:
    """Run by each of two processes: train, and write down how it ended."""
    options = {
        "ddp_backend": "gloo",
        "max_steps": 4,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 4,
    }
    trainer = make(folder, crash_at=crash_at, **options)
    trainer.train(resume_from_checkpoint="auto")
    seen = all_of(trainer)
    seen["ledger"] = hashlib.sha256(seen["ledger"]).hexdigest()
    del seen["history"]  # only the first process's is saved
    rank = trainer.accelerator.process_index
    (folder / f"rank{rank}.json").write_text(json.dumps(seen))
    trainer.accelerator.wait_for_everyone()
    leave_process_group()


if __name__ == "__main__":
    one_of_two(Path(sys.argv[1]), int(sys.argv[2]))
