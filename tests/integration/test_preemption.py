"""A run that is asked to stop ends soon, whole, and goes on as if it had never stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from serl_trl.cli.entry import main
from serl_trl.common.console import STOPPED
from serl_trl.common.files import read_lines
from serl_trl.sandbox import STYLE, load_model, load_tokenizer, seed_set
from serl_trl.train.checkpoint import find_damage
from serl_trl.train.config import SeRLConfig
from serl_trl.train.stopping import SAME_REQUEST_S, SIGNALS
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.processes import HANG_S

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "max_steps": 3,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "num_generations": 8,
    "max_completion_length": 48,
    "num_requests": 2,
    "proposer_max_tokens": 160,
    "max_per_template": 0,
    "learning_rate": 1e-3,
    "beta": 0.0,
    # What the gate asks has tests of its own.
    "validity": "careful",
    **asdict(STYLE),
}

TWO: dict[str, Any] = {
    "max_steps": 20,
    "sources": "given",
    "use_band": False,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "max_completion_length": 32,
    "probe_steps": 0,
    "save_strategy": "no",
}


def make(folder: Path, **options: Any) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**SMALL, **options})
    return SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())


def weights(trainer: SeRLTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def signal_in(trainer: SeRLTrainer, where: str, *, step: int, number: int = signal.SIGTERM) -> None:
    """Signal this process once, in the middle of a refill or of an update of `step`."""
    owner, name = {
        "refill": (trainer.policy, "roll_out"),
        "last_call": (trainer.policy, "roll_out"),
        "update": (trainer, "compute_loss"),
    }[where]
    work, sent = getattr(owner, name), []

    def ask(*given: Any, **named: Any) -> Any:
        if trainer.state.global_step + 1 == step and not sent:
            sent.append(True)
            if where == "last_call":
                result = work(*given, **named)
                os.kill(os.getpid(), number)
                return result
            os.kill(os.getpid(), number)
        return work(*given, **named)

    setattr(owner, name, ask)


def lines(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "_serl" / "ledger.jsonl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, SeRLTrainer]:
    folder = tmp_path_factory.mktemp("whole")
    trainer = make(folder)
    trainer.train()
    return folder, trainer


@pytest.mark.parametrize(
    ("where", "step", "ended"),
    [("refill", 2, 1), ("update", 2, 2), ("last_call", 3, 3)],
)
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, whole, where, step, ended):
    folder, uninterrupted = whole
    trainer = make(tmp_path)
    signal_in(trainer, where, step=step)
    trainer.train()
    assert trainer.state.global_step == ended
    if ended < SMALL["max_steps"]:
        assert trainer.stopping.asked == "SIGTERM"
        assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{ended}"]
        trainer = make(tmp_path)
        trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == SMALL["max_steps"]
    assert torch.equal(weights(trainer), weights(uninterrupted))
    assert trainer.selfplay.state_dict() == uninterrupted.selfplay.state_dict()
    assert lines(tmp_path) == lines(folder)


def test_a_signal_in_the_first_refill_leaves_nothing_and_a_fresh_start_is_the_same_run(
    tmp_path, whole
):
    trainer = make(tmp_path)
    signal_in(trainer, "refill", step=1)
    trainer.train()
    assert (trainer.state.global_step, trainer.stopping.asked) == (0, "SIGTERM")
    assert not list(tmp_path.glob("checkpoint-*"))
    again = make(tmp_path)
    again.train(resume_from_checkpoint="auto")
    assert torch.equal(weights(again), weights(whole[1]))


def test_a_later_batch_of_a_step_is_finished_because_the_first_would_be_lost(tmp_path):
    trainer = make(tmp_path)
    trainer.stopping._received = signal.SIGTERM

    def make_batch() -> list[dict[str, Any]]:
        trainer.stopping.heed()
        return []

    make_one = trainer.stopping.interruptible(make_batch)
    assert [make_one(), make_one()] == [None, []]


def test_handlers_are_set_in_the_main_thread_only_and_put_back(tmp_path):
    stopping = make(tmp_path).stopping
    before = [signal.getsignal(number) for number in SIGNALS]
    with stopping.listening(), stopping.listening():
        assert [signal.getsignal(number) for number in SIGNALS] == [stopping._receive] * 2
    assert [signal.getsignal(number) for number in SIGNALS] == before
    seen = []

    def listen() -> None:
        with stopping.listening():
            seen.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == before


@pytest.fixture
def interruptible():
    """Give SIGINT Python's handler: a shell starts what runs in the background without one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_leaves_at_once_but_an_echo_of_the_first_does_not(tmp_path):
    stopping = make(tmp_path).stopping
    with stopping.listening():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        stopping._received_at -= 2 * SAME_REQUEST_S
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


class Pair:
    """A run of two processes that are started, and signalled, one by one."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.run = folder / "run"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "serl_trl.cli", "train"]
        command += ["--config", str(ROOT / "configs" / "sandbox_cpu.yaml")]
        for name, value in {**TWO, **options, "output_dir": self.run}.items():
            command += [f"--{name}", str(value)]
        self.started = time.monotonic()
        self.ranks, self.files = [], []
        for rank in range(2):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
            environment = os.environ | {name: str(value) for name, value in place.items()}
            self.files.append(folder / f"rank{rank}.txt")
            with self.files[-1].open("w") as file:
                self.ranks.append(
                    subprocess.Popen(
                        command,
                        cwd=Path(__file__).parent,
                        env=environment,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )

    def wait_for_step(self) -> None:
        """Return when the first step is logged."""
        metrics = self.run / "_serl" / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_text()):
            assert time.monotonic() - self.started < HANG_S, self.said(0) + self.said(1)
            assert self.ranks[0].poll() is None, self.said(0)
            time.sleep(0.05)

    def wait(self, rank: int, seconds: float) -> int:
        """Return the exit code of a process that ends within `seconds`."""
        return self.ranks[rank].wait(timeout=seconds)

    def said(self, rank: int) -> str:
        return self.files[rank].read_text()

    def end(self) -> None:
        for process in self.ranks:
            process.kill()
            process.wait()


@pytest.fixture
def pair(tmp_path):
    pairs = []

    def start(**options: Any) -> Pair:
        pairs.append(Pair(tmp_path, **options))
        return pairs[-1]

    yield start
    for each in pairs:
        each.end()


def test_the_last_word_of_a_stopped_run_knows_when_nothing_can_be_gone_on_from(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    options = {**TWO, "output_dir": tmp_path / "run", "reward_funcs": "failing_rewards.asks"}
    options["plugins"] = "failing_rewards"
    command = ["train", "--config", str(ROOT / "configs" / "sandbox_cpu.yaml")]
    for name, value in {**options, "save_only_model": True}.items():
        command += [f"--{name}", str(value)]
    assert main(command) == STOPPED
    assert capsys.readouterr().out.strip().splitlines()[-1] == (
        "stopped by SIGTERM after step 1 of 20; there is no checkpoint to resume from, so --resume "
        "auto starts afresh"
    )


@pytest.mark.parametrize(
    "signalled",
    [[1], pytest.param([1, 0], marks=pytest.mark.slow)],
    ids=["one", "both_a_second_apart"],
)
def test_signals_stop_both_processes_with_one_whole_checkpoint(pair, signalled):
    run = pair(max_steps=500)
    run.wait_for_step()
    for number, rank in enumerate(signalled):
        time.sleep(number)
        run.ranks[rank].send_signal(signal.SIGTERM)
    codes = {run.wait(rank, 60) for rank in range(2)}
    # The second signal of two may find a process that has already said goodbye.
    assert codes <= {STOPPED, -signal.SIGTERM}, run.said(0) + run.said(1)
    (checkpoint,) = run.run.glob("checkpoint-*")
    assert find_damage(checkpoint) == ""
    step = checkpoint.name.removeprefix("checkpoint-")
    last = run.said(0).strip().splitlines()[-1]
    assert last == (
        f"stopped by SIGTERM after step {step} of 500; the same command with --resume auto resumes "
        f"from checkpoint-{step}"
    )


@pytest.mark.parametrize(
    ("reward", "says_why", "code"),
    [("raises", True, 1), pytest.param("exits", False, 9, marks=pytest.mark.slow)],
)
def test_a_process_that_fails_takes_the_other_with_it(pair, reward, says_why, code):
    run = pair(
        reward_funcs=f"failing_rewards.{reward}", plugins="failing_rewards", ddp_timeout=HANG_S
    )
    assert run.wait(1, HANG_S) == code
    assert run.wait(0, HANG_S / 2) not in (0, None)
    # One that only exits says nothing; that it did stands in the other's output.
    assert ("the reward service is gone" in run.said(1)) == says_why
    assert ("Traceback" in run.said(1)) == says_why
    assert re.search(r"Process 0 of 2 waited for another one in \w+\. That one ended", run.said(0))
    # The words for a connection that broke are gloo's, and it has several.
    assert re.search("(closed|reset) by peer|remote worker", run.said(0))


@pytest.mark.slow
def test_a_process_that_hangs_is_given_up_after_ddp_timeout(pair):
    run = pair(reward_funcs="failing_rewards.hangs", plugins="failing_rewards", ddp_timeout=10)
    assert run.wait(0, HANG_S) not in (0, None)
    assert run.ranks[1].poll() is None
    assert "Timed out waiting 10000ms" in run.said(0)
    assert re.search(
        r"Process 0 of 2 waited for another one in \w+\. .* it hangs or lags by more than "
        r"ddp_timeout=10 s: while it still runs, `py-spy dump",
        run.said(0),
    )
