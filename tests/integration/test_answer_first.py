"""Problems written backwards beside others: trained on two processes, and resumed."""

import pytest

from tests.integration.test_own_parts import whole_and_resumed

BACKWARDS = {
    "model_name_or_path": "sandbox_hard",
    "seed_set": "sandbox_hard",
    "label_reward": "vote",
    "sources": [{"few_shot": 0.5}, {"answer_first": 0.5}],
    "max_steps": 2,
    # Room for one whole problem of a list.
    "proposer_max_tokens": 128,
}


@pytest.mark.slow
def test_both_kinds_of_problem_train_on_two_processes_and_resume_as_if_never_stopped(tmp_path):
    expected, found = whole_and_resumed(tmp_path, **BACKWARDS)

    assert found == expected
    groups = [line for line in expected["ledger"] if line["type"] == "group"]
    assert {"inherited" in group for group in groups} == {True, False}
    # What the vote did not reach was not trained on.
    assert all(
        group["majority_answer"] == group["inherited"]
        for group in groups
        if group["keep"] and "inherited" in group
    )
