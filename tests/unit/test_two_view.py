"""The label of two views: by hand, and how both views reach votes, ledger and batches."""

import json
import random
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote
from serl_trl.common.completion import Completion
from serl_trl.labels.base import Rollouts, Tools
from serl_trl.labels.two_view import TwoView
from serl_trl.loop.groups import Group
from serl_trl.propose.sources.base import Task
from tests.unit.playing import Lines, make

OTHER = [{"role": "user", "content": "the same in other words"}]


def judged(first, second, view=OTHER):
    answers = [*first, *second]
    completions = tuple(Completion(str(answer), [1], False, None) for answer in answers)
    vote, wrong = majority_vote(answers), (False,) * len(answers)
    group = Rollouts(Task("a"), [], completions, vote, wrong, view=view)
    tools = Tools(
        get_kind("math"), Verifier(), lambda *_: [], lambda work: work(), random.Random(0), 0
    )
    (found,) = TwoView().label([group], tools)
    return found


def test_the_label_is_the_answer_with_the_highest_harmonic_share_by_hand():
    # 1: p0 = 6/8, p1 = 1/8, 2 p0 p1 / (p0 + p1) = 3/14. 2: p0 = 2/8, p1 = 4/8, so 1/3. The vote on
    # all would take 1, with 7 of 16 against 6.
    found = judged("11111122", "12222333")
    assert (found.label, found.verdict.keep) == ("2", True)
    assert found.rewards == (0.0,) * 6 + (1.0,) * 2 + (0.0,) + (1.0,) * 4 + (0.0,) * 3
    assert found.agreement == 6 / 16
    assert found.metrics["view_margin"] == pytest.approx(1 / 3 - 3 / 14)
    assert (found.metrics["restated"], found.metrics["view_agreement"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("1111", "2222", "views_differ"),
        ("1122", "1122", "tie"),
        ([None] * 4, [None] * 4, "unparsable"),
    ],
)
def test_a_group_without_a_label_is_refused_by_what_is_in_its_way(first, second, reason):
    found = judged(first, second)
    assert (found.verdict.keep, found.verdict.reason, found.label) == (False, reason, None)
    assert set(found.rewards) == {0.0}


def test_views_of_one_majority_agree():
    assert judged("1112", "1123").metrics["view_agreement"] == 1.0
    assert judged("1112", "1122").metrics["view_agreement"] == 0.0


def test_a_group_without_a_restatement_is_judged_by_its_vote():
    found = judged("1112", "3333", view=None)
    assert found.label == "3" and found.agreement == 0.5
    assert found.metrics == {"restated": 0.0}


@given(st.lists(st.sampled_from("123"), min_size=2, max_size=8), st.randoms())
def test_the_order_inside_a_view_changes_no_label(answers, rnd):
    half = len(answers) - len(answers) // 2
    first, second = answers[:half], answers[half:]
    other = judged(rnd.sample(first, len(first)), rnd.sample(second, len(second)))
    one = judged(first, second)
    assert (one.label, one.agreement, one.metrics) == (other.label, other.agreement, other.metrics)


class Restating:
    """Restates half of the instructions; solves the wordings of its own by 2, the others by 1."""

    def __init__(self) -> None:
        self.turn = -1

    def propose(self, requests, sampling=None):
        return [Completion("", [1], False, None) for _ in requests]

    def roll_out(self, prompts):
        return [self.complete([prompt] * 4) for prompt in prompts]

    def complete(self, prompts, sampling=None):
        return [self._one(prompt[-1]["content"]) for prompt in prompts]

    def _one(self, content):
        text, _, order = content.partition("\n")
        if "other words" in order:
            same = "sum of 1" not in text
            text = text.replace("What is", "Find out what is") if same else "How much is 99?"
            return Completion(text, [1], False, None)
        self.turn += 1
        answer = (self.turn % 2) + ("Find out" in text)
        return Completion(f"\\boxed{{{answer + 1}}}", [len(text)], False, None)

    def decide(self, work):
        return work()


def test_half_of_a_group_answers_the_restatement_and_each_row_knows_its_own_prompt():
    ledger, policy = Lines(), Restating()
    play = make(
        policy, ledger, sources=["given"], labeller=TwoView(), oracle=lambda _: "2", use_band=False
    )
    refill = play.refill(0)
    assert refill.groups
    group = next(group for group in refill.groups if group.rollouts.view)
    texts = [prompt[-1]["content"] for prompt in group.rollouts.prompts]
    assert texts[:2] == [group.instruction] * 2
    assert texts[2:] == [group.instruction.replace("What is", "Find out what is")] * 2
    # Each completion was drawn from the prompt that its row is trained with.
    assert [c.token_ids[0] for c in group.completions] == [len(text) for text in texts]
    assert 0 < refill.metrics["serl/label/restated"] < 1
    single = [line for line in ledger.of("group") if "sum of 1 " in line["instruction"]]
    assert len(single) == 1 and len(ledger.of("group")) > 1


def test_a_group_with_two_views_survives_a_checkpoint():
    play = make(Restating(), sources=["given"], labeller=TwoView(), max_staleness=1, use_band=False)
    groups = [group for group in play.refill(0).groups if group.rollouts.view]
    for group in groups:
        assert Group.from_state(json.loads(json.dumps(asdict(group)))) == group


def test_label_accuracy_is_about_the_label_of_the_views():
    # 1: 2 of 2 and 0 of 2 is in one view alone; 2 is in both, and the vote on all is a tie.
    class Fixed(Restating):
        def _one(self, content):
            found = super()._one(content)
            if "boxed" not in found.text:
                return found
            return Completion(f"\\boxed{{{'1222'[self.turn % 4]}}}", [1], False, None)

    ledger = Lines()
    play = make(
        Fixed(), ledger, sources=["given"], labeller=TwoView(), oracle=lambda _: "2", use_band=False
    )
    play.refill(0)
    assert {line["label_right"] for line in ledger.of("group")} == {True}
