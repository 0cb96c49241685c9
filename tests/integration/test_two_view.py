"""Two views of a question: trained on two processes, and resumed."""

import pandas as pd
import pytest

from serl_trl.sandbox import HARD, seed_set
from tests.integration.test_own_parts import whole_and_resumed

TWO_VIEW = {
    "model_name_or_path": "sandbox_hard",
    "seed_set": "sandbox_hard",
    # The small model restates with other names.
    "label_reward": "two_view(keep_names=False)",
    "sources": ["given"],
    "max_completion_length": 64,
    "max_steps": 2,
    "log_completions": True,
}


@pytest.mark.slow
def test_two_views_train_on_two_processes_and_resume_as_if_never_stopped(tmp_path):
    expected, found = whole_and_resumed(tmp_path, **TWO_VIEW)
    assert found == expected
    assert any(line["type"] == "group" and line["keep"] for line in expected["ledger"])
    # Both prompts of a group are trained with: that of the seed, and one that is no seed.
    files = sorted((tmp_path / "whole" / "completions").glob("*.parquet"))
    prompts = [str(prompt) for file in files for prompt in pd.read_parquet(file)["prompt"]]
    restated = [each for each in prompts if not any(seed in each for seed in seed_set(HARD))]
    assert 0 < len(restated) < len(prompts)
