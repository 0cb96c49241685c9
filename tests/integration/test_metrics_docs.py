"""`docs/metrics.md` and what runs log are the same list."""

import re
from pathlib import Path

import pytest

from serl_trl.measure import sentinel
from serl_trl.sandbox import heldout, load_model, load_tokenizer, seed_set, solve
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
WILDCARD = re.compile(r"(@|refused/).*$")


def documented() -> set[str]:
    return set(re.findall(r"^\| `(serl/[^`]+)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE))


def generalised(key: str) -> str:
    """The row of the docs that describes `key`."""
    if key == "serl/probe/pass@1":
        return key
    # The name of a source is the run's.
    key = re.sub(r"^serl/source/[^/]+/", "serl/source/*/", key)
    return WILDCARD.sub(r"\1*", key)


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> set[str]:
    config = SeRLConfig(
        output_dir=str(tmp_path_factory.mktemp("run")),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        max_steps=2,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        num_generations=8,
        max_completion_length=64,
        proposer_max_tokens=200,
        max_per_template=0,
        validity="careful",
        advantage="reinforce_pp",
        beta=0.01,
        gold_oracle="serl_trl.sandbox.solve",
        sources=["few_shot", "labelled"],
        probe_steps=1,
        sentinel_steps=1,
        probe_samples=8,
    )
    assert solve is not None
    with pytest.MonkeyPatch.context() as patch:
        # Two steps are too few for the sandbox's model to settle on more.
        patch.setattr(sentinel, "MIN_SETTLED", 1)
        return _keys(config)


def _keys(config: SeRLConfig) -> set[str]:
    trainer = SeRLTrainer(
        load_model(),
        config,
        seed_set(),
        eval_dataset=heldout()[:4],
        labelled_set="sandbox",
        processing_class=load_tokenizer(),
    )
    trainer.train()
    keys = {key for entry in trainer.state.log_history for key in entry}
    return {generalised(key) for key in keys if key.startswith("serl/")}


def test_every_logged_metric_is_documented(logged):
    assert logged <= documented()


def test_every_documented_metric_is_logged(logged):
    assert documented() <= logged
