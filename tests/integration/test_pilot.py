"""Pilot votes in real runs: trained on two processes, resumed, and switched off by the rule."""

import pytest

from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.test_own_parts import whole_and_resumed
from tests.integration.tiny import OPTIONS, SEEDS

PILOTED = {
    "label_reward": "vote",
    "sources": ["few_shot"],
    "use_band": True,
    "num_generations": 8,
    "pilot_votes": 4,
    "pilot_chance": 0.2,
    "max_steps": 2,
    # Room for one whole problem of a list.
    "proposer_max_tokens": 128,
}


@pytest.mark.slow
def test_a_piloted_run_on_two_processes_resumes_as_if_never_stopped(tmp_path):
    expected, found = whole_and_resumed(tmp_path, **PILOTED)

    assert found == expected
    groups = [line for line in expected["ledger"] if line["type"] == "group"]
    sizes = {
        (line["reason"].startswith("pilot"), sum(line["answers"].values()) + line["num_unparsable"])
        for line in groups
    }
    assert sizes == {(True, 4), (False, 8)}
    assert not any(line["keep"] for line in groups if line["reason"].startswith("pilot"))


@pytest.mark.parametrize(
    ("changes", "piloted"),
    [
        ({}, True),
        ({"label_reward": "soft_vote"}, True),
        ({"label_reward": "wide_vote(votes=8)"}, False),
        ({"label_reward": "two_view"}, False),
        ({"use_band": False}, False),
        ({"pilot_votes": 0}, False),
    ],
)
def test_a_run_pilots_only_where_a_band_goes_by_the_votes_of_the_group(
    tiny_model, tmp_path, changes, piloted
):
    values = {**OPTIONS, "use_band": True, "pilot_votes": 2, **changes}
    trainer = SeRLTrainer(tiny_model, SeRLConfig(output_dir=str(tmp_path), **values), SEEDS)
    assert (trainer.selfplay.piloting is not None) == piloted


def test_a_pilot_of_all_votes_is_refused():
    with pytest.raises(ValueError, match="pilot_votes=4 must be below num_generations=4; lower it"):
        SeRLConfig(output_dir="unused", **{**OPTIONS, "num_generations": 4, "pilot_votes": 4})


def test_the_papers_preset_has_no_pilot():
    assert SeRLConfig.from_preset("paper", output_dir="unused", bf16=False).pilot_votes == 0
