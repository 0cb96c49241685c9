"""Nothing but our own lines stands in the output of a short training on a CPU."""

import re
import subprocess
import sys

import pytest

OURS = re.compile(
    r"\d+ of \d+ seeds overlap an evaluation set .*"
    r"|\w+=\S+ is not applied: only vLLM knows it\."
    r"|  step  majority    kept .*  refused"
    r"|     \d+ +[\d.]+ .*"
    r"|the report of the run is in .*"
)
TRAIN = "from serl_trl.cli import main\nimport sys\nsys.exit(main(sys.argv[1:]))"
# The same by hand: nothing is switched for the whole process.
IN_PYTHON = """
import sys
from serl_trl import SeRLTrainer, SeRLConfig
from serl_trl.sandbox import load_model, load_tokenizer, seed_set

args = SeRLConfig(output_dir=sys.argv[1], use_cpu=True, bf16=False, report_to="none",
    per_device_train_batch_size=8, gradient_accumulation_steps=1, num_generations=4,
    num_requests=2, max_completion_length=48, proposer_max_tokens=128, max_steps=2, save_steps=1,
    validity="careful")
assert args.gradient_checkpointing
trainer = SeRLTrainer(load_model(), args, seed_set(), processing_class=load_tokenizer())
trainer.train()
trainer.save_model()
trainer.propose(1)
"""
COMMAND = """
    train --config configs/sandbox_cpu.yaml --max_steps 2 --save_steps 1 --probe_steps 0
    --per_device_train_batch_size 8 --gradient_accumulation_steps 1 --num_generations 4
    --gradient_checkpointing true --validity careful --output_dir
"""


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        (TRAIN, COMMAND, []),
        (TRAIN, COMMAND, ["--use_peft", "true", "--lora_r", "4"]),
        (IN_PYTHON, "", []),
    ],
    ids=["all weights", "LoRA", "Python"],
)
def test_every_line_of_a_short_training_is_ours(tmp_path, code, before, after, pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", code, *before.split(), str(tmp_path / "run"), *after],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = re.split(r"[\r\n]", (done.stdout + done.stderr).rstrip("\n"))
    assert [line for line in lines if not OURS.fullmatch(line)] == []
    assert any("majority" in line for line in lines)


@pytest.mark.parametrize(
    "command",
    [
        "propose --config configs/sandbox_cpu.yaml -n 2",
        "eval sandbox --benchmarks sandbox --max_problems 2 --num_samples 2 --use_cpu true "
        "--output_dir",
    ],
    ids=["propose", "eval"],
)
def test_what_only_samples_prints_no_line_of_a_library_s_to_stderr(tmp_path, command, pytestconfig):
    argv = command.split()
    argv += [str(tmp_path / "measured")] if argv[0] == "eval" else []
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, *argv],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = filter(str.strip, done.stderr.splitlines())
    assert [line for line in lines if not OURS.fullmatch(line)] == []


def test_bars_are_hidden_only_while_we_work():
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils.logging import is_progress_bar_enabled

    from serl_trl.common.quiet import own_lines_only

    before = is_progress_bar_enabled(), are_progress_bars_disabled()
    with own_lines_only(), own_lines_only():
        assert not is_progress_bar_enabled()
        assert are_progress_bars_disabled() == before[1]
    assert (is_progress_bar_enabled(), are_progress_bars_disabled()) == before
