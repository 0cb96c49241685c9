"""Run by `test_two_processes.py` in each process: a short run that writes down what it saw."""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from serl_trl.common.processes import leave_process_group
from serl_trl.sandbox import STYLE, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer


def main(folder: Path) -> None:
    config = SeRLConfig(
        output_dir=str(folder / "run"),
        use_cpu=True,
        ddp_backend="gloo",
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        max_steps=2,
        per_device_train_batch_size=12,
        gradient_accumulation_steps=1,
        num_generations=8,
        max_completion_length=64,
        num_requests=3,
        proposer_max_tokens=256,
        max_per_template=0,
        learning_rate=5e-5,
        beta=0.0,
        **asdict(STYLE),
    )
    trainer = SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())
    generated, batches = [], []
    generate, local_rows = trainer.policy._generate, trainer.batches._own_rows

    def count(prompt_ids):
        generated.append(len(prompt_ids))
        return generate(prompt_ids)

    def note(groups):
        rows = local_rows(groups)
        batches.append(
            {
                "groups": [(g.id, g.vote.answer, g.rewards) for g in groups],
                "local": [(row["instruction"], row["label_reward"]) for row in rows],
            }
        )
        return rows

    trainer.policy._generate, trainer.batches._own_rows = count, note
    rank, look = trainer.accelerator.process_index, trainer.nonfinite.note

    def note_nan(inputs, loss):
        bad = rank == 1 and trainer.state.global_step == 1
        look(inputs, loss * torch.nan if bad else loss)

    trainer.nonfinite.note = note_nan
    trainer.train()
    data = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    seen = {
        "generated": generated,
        "batches": batches,
        "selfplay": trainer.selfplay.state_dict(),
        "weights": hashlib.sha256(data).hexdigest(),
        "step": trainer.state.global_step,
        "num_skipped": trainer.nonfinite.num_skipped,
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(seen))
    leave_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
