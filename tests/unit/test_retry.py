"""The source `retry`: what its requests say of refusals, and when."""

import json
import random

import pytest

from serl_trl.common.completion import Completion
from serl_trl.common.reasons import ASKS, REASONS
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.prompts import PromptStyle
from serl_trl.propose.sources.base import GroupResult, Task
from serl_trl.propose.sources.few_shot import FewShot
from serl_trl.propose.sources.retry import Retry
from serl_trl.train.config_checks import find_problems
from tests.unit.playing import SEEDS, Lines, make
from tests.unit.test_selfplay import ScriptedPolicy

TWO_ASKED = "How many pens has Ann? How many pencils has Bob, and how many has Cy?"


def asked_of(source: FewShot) -> list[str]:
    """Return the system texts of the requests of one round."""
    asked = []

    def complete(prompts, sampling=None):
        asked.extend(prompts)
        return [Completion("", [1], False) for _ in prompts]

    source.propose(1, pool=InstructionPool(SEEDS), complete=complete, rng=random.Random(0))
    return [messages[0]["content"] for messages in asked]


def refused(*reasons: str) -> list[Verdict]:
    return [Verdict(False, reason) for reason in reasons]


def test_without_refusals_it_asks_exactly_as_few_shot_does():
    assert asked_of(Retry()) == asked_of(FewShot())
    source = Retry()
    source.observe_filtered([KEEP, KEEP])
    assert asked_of(source) == asked_of(FewShot()) and source.num_retried == 0


def test_the_next_requests_name_the_commonest_reasons_and_those_after_them_do_not():
    source = Retry(named=2, num_requests=3)
    source.observe_filtered(
        [*refused("figure", "rouge_l", "no_question", "duplicate", "no_question"), KEEP]
    )
    for text in asked_of(source):
        # Two reasons that ask for the same count together.
        assert text.endswith("refused. Each new one must be new; ask a question.")
        assert "figure" not in text
    assert source.num_retried == 3
    source.observe_filtered([KEEP])
    assert asked_of(source) == asked_of(FewShot(num_requests=3)) and source.num_retried == 0


def test_what_the_gate_on_questions_refuses_is_named_and_other_groups_are_not():
    source = Retry()
    source.observe_filtered([KEEP])
    results = [GroupResult(Task("a"), verdict, 0.5, "7") for verdict in refused("validity", "tie")]
    source.observe(results)
    assert ASKS["validity"] in asked_of(source)[0]
    assert ";" not in asked_of(source)[0].rpartition("must")[2]


def test_a_reason_that_nobody_has_words_for_is_not_named():
    source = Retry()
    source.observe_filtered(refused("contamination", "shouting{domain}"))
    assert asked_of(source) == asked_of(FewShot())


def test_a_request_that_only_the_naming_makes_too_long_names_nothing():
    def count(messages):
        return sum(len(each["content"].split()) for each in messages)

    room = max(len(text.split()) for text in asked_of(FewShot())) + 5
    source = Retry(max_request_tokens=room, count_tokens=count)
    source.observe_filtered(refused("no_question"))
    assert not any("refused" in text for text in asked_of(source)) and source.num_retried == 0


def test_a_resumed_source_names_what_the_saved_one_would_have():
    source, resumed = Retry(), Retry()
    source.observe_filtered(refused("figure", "length", "length", "program", "language"))
    resumed.load_state_dict(json.loads(json.dumps(source.state_dict())))
    assert asked_of(resumed) == asked_of(source)
    resumed.observe(())
    source.observe(())
    assert resumed.state_dict() == source.state_dict()


def test_without_a_system_text_the_naming_stands_alone():
    source = Retry(style=PromptStyle(proposer_system=""))
    source.observe_filtered(refused("no_question"))
    assert asked_of(source)[0].startswith("Some of the last ones")


def test_every_ask_belongs_to_a_reason_and_contamination_stays_untold():
    assert ASKS.keys() < REASONS.keys()
    assert "contamination" not in ASKS


def test_a_refill_names_what_its_filters_refused_and_counts_it():
    policy, ledger = ScriptedPolicy(write=lambda: f"4. {TWO_ASKED}"), Lines()
    play = make(policy, ledger, sources=["retry"], max_refill_rounds=3)
    refill = play.refill(step=0)
    [reason] = {row["reason"] for row in ledger.of("proposal")}
    asked = [request[0]["content"] for request in policy.requests]
    assert [ASKS[reason] in text for text in asked] == [False, False, True, True, True, True]
    assert refill.metrics["serl/num_retried_requests"] == 4
    assert not any(TWO_ASKED in text for text in asked)
    again = make(ScriptedPolicy(), sources=["retry"])
    again.load_state_dict(json.loads(json.dumps(play.state_dict())))
    assert again.state_dict() == play.state_dict()


@pytest.mark.parametrize("named", ["0", "2.5", "True", "'two'"])
def test_a_wrong_number_is_refused_before_a_model_loads(named):
    [problem] = find_problems({"sources": [f"retry(named={named})"]})
    assert f"named={named}" in str(problem) and "at least 1" in str(problem)
