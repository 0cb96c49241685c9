"""Pilot votes: which groups they end, that no other label changes, and what a refill counts."""

import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote
from serl_trl.labels.band import in_band
from serl_trl.labels.pilot import Pilot, fits_pilot, landing
from serl_trl.labels.registry import LABELLERS, find_labeller
from serl_trl.loop.pilots import Piloting
from serl_trl.measure.alarms import About, History
from tests.unit.playing import Lines, make
from tests.unit.test_selfplay import ScriptedPolicy, completion

BAND = {"low": 0.2, "high": 0.8}
SIZES = st.integers(2, 24)


def pilot(votes: int = 6, size: int = 16, chance: float = 0.05, **band: float) -> Pilot:
    return Pilot(votes, size, **{**BAND, **band}, chance=chance)


def test_the_chance_of_a_unanimous_pilot_is_the_beta_binomial_worked_by_hand():
    # One vote of two has the answer. Of one further vote the chance to have it is
    # (1 + 1/2) / (2 + 1), so 2 of 3 (inside) and 1 of 3 (one vote is no majority) are alike.
    found = landing(1, votes=2, size=3, low=0.5, high=0.8)
    assert (found.below, found.inside, found.above) == pytest.approx((0.5, 0.5, 0.0))
    # Both of two have it: the third has it with (2 + 1/2) / 3, and 3 of 3 lie above the band.
    found = landing(2, votes=2, size=3, low=0.5, high=0.8)
    assert (found.below, found.inside, found.above) == pytest.approx((0.0, 1 / 6, 5 / 6))


def test_a_chance_is_that_of_counting_all_ways_under_a_share_drawn_from_the_posterior():
    rng, hits, draws = random.Random(0), 0, 20_000
    for _ in range(draws):
        share = rng.betavariate(5.5, 1.5)
        hits += 4 <= 5 + sum(rng.random() < share for _ in range(10)) <= 12
    assert landing(5, votes=6, size=16, **BAND).inside == pytest.approx(hits / draws, abs=0.015)


@given(SIZES, st.data())
def test_chances_lie_in_the_unit_interval_and_add_up_to_one(size, data):
    votes = data.draw(st.integers(1, size - 1))
    top = data.draw(st.integers(0, votes))
    low, high = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    found = landing(top, votes=votes, size=size, low=low, high=high)
    assert all(-1e-9 <= each <= 1 + 1e-9 for each in vars(found).values())
    assert found.below + found.inside + found.above == pytest.approx(1)


@given(SIZES, st.data())
def test_more_agreement_never_makes_less_likely_to_end_above_the_band(size, data):
    votes = data.draw(st.integers(1, size - 1))
    rows = [landing(top, votes=votes, size=size, **BAND) for top in range(votes + 1)]
    above, below = [row.above for row in rows], [row.below for row in rows]
    assert all(a <= b + 1e-9 for a, b in pairwise(above))
    assert all(a >= b - 1e-9 for a, b in pairwise(below))


@given(SIZES, st.floats(0, 1), st.data())
def test_a_wider_band_is_never_harder_to_land_in(size, low, data):
    votes = data.draw(st.integers(1, size - 1))
    top = data.draw(st.integers(0, votes))
    high = data.draw(st.floats(low, 1))
    wider = data.draw(st.floats(high, 1))
    narrow, wide = (
        landing(top, votes=votes, size=size, low=low, high=each).inside for each in (high, wider)
    )
    assert narrow <= wide + 1e-9


@given(
    st.lists(st.none() | st.sampled_from("abcd"), min_size=2, max_size=24),
    st.floats(0, 1),
    st.floats(0, 1),
    st.data(),
)
def test_the_exact_rule_ends_no_group_that_all_votes_would_put_into_the_band(
    answers, one, other, data
):
    low, high = min(one, other), max(one, other)
    votes = data.draw(st.integers(1, len(answers) - 1))
    first, whole = (majority_vote(some, kind="text") for some in (answers[:votes], answers))
    ended = not pilot(votes, len(answers), 0.0, low=low, high=high).judge(first).keep
    kept = whole.answer is not None and in_band(whole.majority_ratio, low=low, high=high)
    assert not (ended and kept)


def test_the_exact_rule_ends_what_is_above_or_below_whatever_comes():
    exact = pilot(14, 16, 0.0)
    verdicts = [
        exact.judge(majority_vote(list(answers), kind="text")).reason
        for answers in ("a" * 13 + "b", "a" * 12 + "bb", "abcdefghijklmn", "aabcdefghijklm")
    ]
    assert verdicts == ["pilot_high", "", "pilot_low", ""]


def test_the_default_chance_ends_a_pilot_of_one_mind_and_no_other_of_six():
    ended = [not pilot().judge(majority_vote(["7"] * top + [None] * (6 - top))).keep
             for top in range(1, 7)]  # fmt: skip
    assert ended == [False] * 5 + [True]


def test_the_verdict_says_how_many_votes_it_had_and_how_likely_the_band_was():
    verdict = pilot().judge(majority_vote(["7"] * 6))
    chance = landing(6, votes=6, size=16, **BAND).inside
    assert verdict.detail == {"votes": 6, "chance": round(chance, 4)}


def test_only_labellers_that_judge_a_group_by_its_own_completions_are_piloted():
    fit = {name for name in LABELLERS if fits_pilot(find_labeller(name).make().needs)}
    asking = {"wide_vote", "two_view", "paraphrase_vote", "teacher_vote", "verified_vote"}
    assert fit == LABELLERS.keys() - asking - {"judge", "dual"}


@dataclass
class Counted(ScriptedPolicy):
    """Answers single completions of a prompt in the order of a script, and counts the calls."""

    calls: list[int] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    script: dict[str, str] = field(default_factory=dict)

    def complete(self, prompts, sampling=None):
        self.calls.append(len(prompts))
        found = []
        for prompt in prompts:
            text = prompt[-1]["content"]
            answers = self.script.setdefault(text, ("7777", "7977", "7779")[len(self.script) % 3])
            found.append(completion(answers[self.done[text]]))
            self.done[text] += 1
        return found

    def roll_out(self, prompts):
        flat = self.complete([prompt for prompt in prompts for _ in range(4)])
        return [flat[start : start + 4] for start in range(0, len(flat), 4)]


def piloted(policy, ledger, **changes):
    play = make(policy, ledger, **changes)
    play.piloting = Piloting(Pilot(2, 4, 0.2, 0.8, 0.4), get_kind("math"), Verifier(), policy)
    return play


def test_a_refill_asks_twice_in_a_round_and_ends_groups_after_their_pilot():
    policy, ledger = Counted(), Lines()
    refill = piloted(policy, ledger, prompts_per_batch=3).refill(step=0)
    groups = ledger.of("group")
    ended = [record for record in groups if record["reason"].startswith("pilot")]
    assert ended
    for record in ended:
        assert record["reason"] == "pilot_high"
        assert sum(record["answers"].values()) == 2
        assert record["detail"]["votes"] == 2
    assert len(policy.calls) == 2 * refill.metrics["serl/num_refill_rounds"]
    sampled = 2 * len(ended) + 4 * (len(groups) - len(ended))
    assert sum(policy.calls) == refill.metrics["serl/num_rollouts"] == sampled
    assert refill.metrics["serl/refused/pilot_high"] == len(ended)


def test_groups_that_go_on_have_the_verdict_and_label_of_a_run_without_pilot():
    with_pilot, without = Lines(), Lines()
    script: dict[str, str] = {}
    piloted(Counted(script=script), with_pilot, label_reward="soft_vote").refill(step=0)
    make(Counted(script=script), without, label_reward="soft_vote").refill(step=0)
    plain = {record["instruction"]: record for record in without.of("group")}
    whole = [each for each in with_pilot.of("group") if not each["reason"].startswith("pilot")]
    seen = [each for each in whole if each["instruction"] in plain]
    assert seen
    for each in seen:
        other = plain[each["instruction"]]
        names = ("answers", "majority_answer", "majority_ratio", "keep", "reason")
        assert [each[name] for name in names] == [other[name] for name in names]


def test_sampled_per_trained_counts_every_rollout_of_a_refill():
    policy = Counted()
    play = piloted(policy, Lines(), prompts_per_batch=2)
    for step in range(2):
        before = sum(policy.calls)
        metrics = play.refill(step).metrics
        trained = 2 * 4 - 4 * metrics["serl/num_repeated_groups"]
        assert metrics["serl/sampled_per_trained"] == (sum(policy.calls) - before) / trained
    nothing = make(ScriptedPolicy(answer=lambda _: [completion("7")] * 4)).refill(step=0)
    assert "serl/sampled_per_trained" not in nothing.metrics


def test_groups_ended_by_agreement_count_as_too_easy_where_a_run_has_learnt_enough():
    rows = [
        {
            "step": step,
            "serl/num_groups": 10.0,
            "serl/refused/pilot_high": 9.5,
            "serl/sentinel/support_ratio": 0.95,
        }
        for step in range(1, 31)
    ]
    assert History(About(), rows).enough_learnt().startswith("95%")
