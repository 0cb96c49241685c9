"""Self-play on recorded completions: run by `test_policy.py` alone, and as a script by two."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serl_trl.common.completion import Completion, Sampling
from serl_trl.common.processes import leave_process_group
from serl_trl.sandbox import STYLE, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer

ROWS = 24
# A gate that rolls seeds out and asks the model.
ASKING = "auto"


def make_trainer(folder: Path, *, num_processes: int, validity: str = "careful") -> SeRLTrainer:
    """A short run of three groups of eight a step, whatever the number of processes."""
    config = SeRLConfig(
        output_dir=str(folder),
        use_cpu=True,
        ddp_backend="gloo" if num_processes > 1 else None,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        max_steps=2,
        per_device_train_batch_size=ROWS // num_processes,
        gradient_accumulation_steps=1,
        num_generations=8,
        max_completion_length=64,
        num_requests=3,
        proposer_max_tokens=200,
        max_per_template=0,
        learning_rate=5e-5,
        beta=0.0,
        gold_oracle="serl_trl.sandbox.solve",
        validity=validity,
        **asdict(STYLE),
    )
    return SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())


def record(trainer: SeRLTrainer) -> list[list[dict[str, Any]]]:
    """Return a list to which each call of the policy adds its completions."""
    calls: list[list[dict[str, Any]]] = []
    complete = trainer.policy.complete

    def recorded(prompts: Sequence[Any], sampling: Sampling | None) -> list[Completion]:
        done = complete(prompts, sampling)
        calls.append([asdict(completion) for completion in done])
        return done

    trainer.policy.complete = recorded
    return calls


def replay(trainer: SeRLTrainer, calls: list[list[dict[str, Any]]]) -> None:
    """Let the policy answer from `calls`, split over the processes and gathered as ever."""
    waiting = iter(calls)

    def replayed(prompts: Sequence[Any], sampling: Sampling | None) -> list[Completion]:
        call = next(waiting)
        assert len(call) == len(prompts), "another number of prompts than was recorded"

        def answer(rows: Sequence[int]) -> list[Completion]:
            return [Completion(**call[row]) for row in rows]

        return trainer.policy._over_processes(range(len(call)), answer, lambda row: row % 5, 16)

    trainer.policy.complete = replayed


def decisions(folder: Path, trainer: SeRLTrainer) -> dict[str, Any]:
    """What a run decided: its ledger and the whole state of self-play, as JSON values."""
    lines = (folder / "_serl" / "ledger.jsonl").read_text().splitlines()
    state = {"ledger": [json.loads(line) for line in lines], "state": trainer.selfplay.state_dict()}
    return json.loads(json.dumps(state))


def main(recorded: Path, folder: Path) -> None:
    """Replay a recording in this process, one of two."""
    trainer = make_trainer(folder, num_processes=2, validity=ASKING)
    replay(trainer, json.loads(recorded.read_text()))
    trainer.train()
    if trainer.is_world_process_zero():
        (folder / "decisions.json").write_text(json.dumps(decisions(folder, trainer)))
    leave_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
