"""Labellers and sources: those of the package by hand, and others behind the same seams."""

import ast
import json
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import serl_trl
from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.ballots import count_ballots
from serl_trl.labels.band import Band
from serl_trl.labels.base import NEEDS, PROVIDED, Labelled, Labeller, Rollouts, Tools
from serl_trl.labels.gold import Gold
from serl_trl.labels.none import NoLabel
from serl_trl.labels.random import Coin
from serl_trl.labels.registry import LABELLERS, find_labeller, known_labeller, reward_name
from serl_trl.labels.vote import MajorityVote
from serl_trl.loop.labelling import LabellerError
from serl_trl.loop.proposing import Stream
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.base import GroupResult, Task, TaskSource
from serl_trl.propose.sources.given import Given
from serl_trl.propose.sources.registry import SOURCES, find_sources, writes_new
from tests.unit.playing import OPTIONS, SEEDS, Lines, make
from tests.unit.test_selfplay import ScriptedPolicy, completion, half_right


def rollouts(*answers, gold=None):
    texts = tuple(completion(answer) for answer in answers)
    (ballot,) = count_ballots([texts], [gold], kind="math", verifier=Verifier())
    return Rollouts(Task("How many?", gold=gold), [], texts, ballot.vote, tuple(ballot.right))


def judge(labeller, *groups, seed=0):
    policy = ScriptedPolicy()
    kind = get_kind("math")
    rng = random.Random(seed)
    tools = Tools(kind, Verifier(), policy.complete, policy.decide, rng, step=0)
    return labeller.label(groups, tools)


def test_a_vote_rewards_the_majority_and_says_what_hinders_one():
    found = judge(
        MajorityVote(),
        rollouts("7", "7", "9"),
        rollouts("7", "9"),
        rollouts("7", "7", "9", "9"),
        rollouts(None, None),
    )
    assert found[0] == Labelled((1.0, 1.0, 0.0), KEEP, 2 / 3, "7")
    assert [each.verdict.reason for each in found[1:]] == ["tie", "tie", "unparsable"]
    (alone,) = judge(MajorityVote(), rollouts("7", None))
    assert (alone.verdict.reason, alone.agreement) == ("no_majority", 0.5)


def test_gold_rewards_right_answers_and_refuses_a_group_without_gold():
    known, unknown = judge(Gold(), rollouts("7", "9", "9", gold="7"), rollouts("7", "7"))
    assert known == Labelled((1.0, 0.0, 0.0), KEEP, 2 / 3, "7")
    assert unknown.verdict == Verdict(False, "no_gold")


def test_the_coin_draws_once_per_completion_from_the_runs_randomness():
    rng = random.Random(3)
    expected = tuple(float(rng.random() < 0.5) for _ in range(4))
    (found,) = judge(Coin(), rollouts("7", "7", "9", None), seed=3)
    assert found.rewards == expected and found.verdict.keep


def test_no_label_keeps_all_and_rewards_nothing():
    (found,) = judge(NoLabel(), rollouts("7", None))
    assert (found.rewards, found.verdict, found.label) == ((None, None), KEEP, None)


def test_the_band_refuses_by_agreement_what_its_labeller_kept():
    easy, kept, hard, tied = (
        rollouts(*["7"] * 9, "9"),
        rollouts("7", "7", "9", None),
        rollouts("7", "7", *map(str, range(20, 38))),
        rollouts("7", "7", "9", "9"),
    )
    found = judge(Band(MajorityVote(), 0.2, 0.8), easy, kept, hard, tied)
    assert [each.verdict.reason for each in found] == ["band_high", "", "band_low", "tie"]


def test_a_labeller_is_named_like_an_answer_kind():
    assert find_labeller("vote").found is MajorityVote
    assert {known_labeller(name) for name in LABELLERS} == set(LABELLERS.values())
    assert known_labeller("my_module.Half(share=1)") is Labeller
    assert reward_name("my_module.Half(share=0.25)") == "Half_reward"
    with pytest.raises(
        ValueError,
        match=r"label_reward=votes is unknown; choose one of .*gold, .*Did you mean .vote",
    ):
        find_labeller("votes")
    with pytest.raises(ValueError, match="cannot be made"):
        find_labeller("vote(power=2)")


def test_what_this_version_does_not_compute_cannot_be_needed(monkeypatch):
    assert PROVIDED < NEEDS
    for need, said in (("judge", "not computed by this version"), ("luck", "is unknown")):
        monkeypatch.setattr(MajorityVote, "needs", frozenset({need}))
        with pytest.raises(ValueError, match=f"label_reward=vote needs {need}, which .*{said}"):
            find_labeller("vote")


class Scored(Labeller):
    """Needs log-probs, and remembers what it was given and how often it was asked."""

    needs = frozenset({"log_probs"})

    def __init__(self):
        self.seen, self.asked = [], 0

    def label(self, groups, tools):
        self.asked += 1
        self.seen += [completion.logprobs for group in groups for completion in group.completions]
        rewards = (1.0, None, 0.0, None)
        return [Labelled(rewards, KEEP, 0.5, metrics={"asked": self.asked}) for _ in groups]

    def state_dict(self):
        return {"asked": self.asked}

    def load_state_dict(self, state):
        self.asked = state["asked"]


def test_only_what_a_labeller_needs_is_computed_for_it():
    plain, asking = ScriptedPolicy(), ScriptedPolicy()
    make(plain).refill(step=0)
    labeller = Scored()
    refill = make(asking, labeller=labeller).refill(step=0)
    assert plain.num_scored == 0
    assert asking.num_scored == refill.metrics["serl/num_groups"]
    assert set(map(tuple, labeller.seen)) == {(-1.0, -2.0)}
    assert refill.groups[0].rewards == [1.0, None, 0.0, None]
    assert refill.metrics["serl/label/asked"] == 1.0


def test_a_labellers_state_is_part_of_the_runs():
    one, other = make(ScriptedPolicy(), labeller=Scored()), Scored()
    one.refill(step=0)
    resumed = make(ScriptedPolicy(), labeller=other)
    resumed.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.asked == one.labelling.labeller.labeller.asked > 0


class Short(Labeller):
    """Forgets a reward."""

    def label(self, groups, tools):
        return [Labelled((1.0,), KEEP, 1.0) for _ in groups]


def test_a_labeller_that_forgets_rewards_is_named():
    with pytest.raises(LabellerError, match="Short returned 1 rewards for a group of 4"):
        make(ScriptedPolicy(), labeller=Short()).refill(step=0)


class Says(Labeller):
    """Returns one result for each group, whatever it is."""

    def __init__(self, *results):
        self.results = results

    def label(self, groups, tools):
        return [self.results[0] for _ in groups[len(self.results) - 1 :]]


@pytest.mark.parametrize(
    ("labelled", "said"),
    [
        (Labelled((1.0, float("inf"), 0.0, 0.0), KEEP, 0.5), "not finite"),
        (Labelled((1.0, 0.0, 0.0, 0.0), KEEP, float("nan")), "not finite"),
        (Labelled((1.0, 0.0, 0.0, 0.0), KEEP, 0.5, metrics={"m": float("nan")}), "not finite"),
    ],
)
def test_a_labeller_that_returns_no_numbers_ends_the_run_in_every_process_alike(labelled, said):
    with pytest.raises(LabellerError, match=f"Says returned a reward.*{said}"):
        make(ScriptedPolicy(), labeller=Says(labelled)).refill(step=0)


def test_a_labeller_that_forgets_a_group_is_told():
    labelled = Labelled((1.0, 0.0, 0.0, 0.0), KEEP, 0.5)
    with pytest.raises(LabellerError, match="a labeller returned 5 results for 6 groups"):
        make(ScriptedPolicy(), labeller=Says(labelled, None)).refill(step=0)


def test_numbers_of_other_libraries_become_plain_ones_before_they_are_saved():
    found = Labelled((np.float32(1), 0, None, True), KEEP, np.float64(0.5), metrics={"m": 1})
    selfplay = make(ScriptedPolicy(), labeller=Says(found), num_requests=8, max_staleness=1)
    group = selfplay.refill(step=0).groups[0]
    assert [type(each) for each in group.rewards] == [float, float, type(None), float]
    assert json.loads(json.dumps(selfplay.state_dict()))["leftovers"]


class Growing(Labeller):
    """Hands out its own list as its state."""

    def __init__(self):
        self.seen = []

    def label(self, groups, tools):
        self.seen += [1 for _ in groups]
        return [Labelled((1.0, 0.0, 0.0, 0.0), KEEP, 0.5) for _ in groups]

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def test_what_is_looked_at_is_undone_in_labellers_that_hand_out_their_own_lists():
    labeller = Growing()
    selfplay = make(ScriptedPolicy(), labeller=labeller)
    selfplay.refill(step=0)
    before = list(labeller.seen)
    with selfplay.looking():
        selfplay.refill(step=1)
        assert len(labeller.seen) > len(before)
    assert labeller.seen == before


def test_log_probs_that_a_labeller_asked_for_stay_out_of_the_batch():
    refill = make(ScriptedPolicy(), labeller=Scored()).refill(step=0)
    assert all(c.logprobs is None for group in refill.groups for c in group.completions)


def test_a_run_may_go_on_with_other_sources_and_another_labeller_which_begin_afresh():
    one = make(ScriptedPolicy(), sources=["given", "few_shot"], labeller=Scored())
    one.refill(step=0)
    state = json.loads(json.dumps(one.state_dict()))
    fixed = Fixed("new")
    other = make(ScriptedPolicy(), sources=[Stream(fixed)])
    other.load_state_dict(state)
    assert (fixed.number, other.proposing.pool.accepted) == (0, one.proposing.pool.accepted)
    assert other.refill(step=1).groups


def test_tasks_beyond_what_was_asked_for_wait_and_no_bound_is_passed():
    class Eager(Fixed):
        def propose(self, num, *, pool, complete, rng):
            return super().propose(1000, pool=pool, complete=complete, rng=rng)

    policy, eager = ScriptedPolicy(), Eager("eager")
    selfplay = make(policy, sources=[Stream(eager)], use_band=False)
    selfplay.refill(step=0)
    assert len(policy.rolled_out) == OPTIONS.prompts_per_batch
    selfplay.refill(step=1)
    assert (eager.number, policy.rolled_out[4]) == (1000, "eager 4")


@pytest.mark.parametrize("gold", ["\\boxed{", 7, Decimal("7"), object()])
def test_a_gold_answer_of_a_source_is_read_or_is_none(gold):
    class Answered(Fixed):
        def propose(self, num, *, pool, complete, rng):
            tasks = super().propose(num, pool=pool, complete=complete, rng=rng)
            return [replace(task, gold=gold) for task in tasks]

    ledger = Lines()
    make(ScriptedPolicy(), ledger, sources=[Stream(Answered("a"))]).refill(step=0)
    known = {"7"} if gold == 7 and isinstance(gold, int) else {None}
    assert {group["gold"] for group in ledger.of("group")} == known


def test_sources_have_shares_in_any_of_three_spellings():
    found = find_sources(["few_shot: 0.75", {"given": 0.25}])
    assert [(each.source.text, each.share) for each in found] == [
        ("few_shot", 0.75),
        ("given", 0.25),
    ]
    assert [each.share for each in find_sources(["few_shot", "given"])] == [1.0, 1.0]
    assert find_sources("given(shuffle_dataset=False)")[0].share == 1.0


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (
            ["few_shots"],
            "sources=few_shots is unknown; choose one of answer_first, few_shot, given, labelled",
        ),
        (["few_shot: 0"], "sources=few_shot:  ?0 must give a share above 0"),
        (["given: much"], "must give a share above 0"),
        ([{"given": float("nan")}], "must give a share above 0"),
        ([], "leaves no source; name one of few_shot, retry, answer_first, given"),
    ],
)
def test_a_bad_source_is_named_with_the_way_out(items, said):
    with pytest.raises(ValueError, match=said):
        find_sources(items)


@pytest.mark.parametrize(
    ("items", "writes"),
    [
        (["given"], False),
        ("given: 1", False),
        (["given", "few_shot"], True),
        (["their.Source"], True),
        (None, True),
        ([["?"]], True),
        (7, True),
    ],
)
def test_whether_new_texts_are_written_can_be_asked_of_anybodys_config(items, writes):
    assert writes_new(items) is writes


def test_the_seeds_come_in_order_and_begin_again_where_they_left_off():
    pool, rng = InstructionPool(SEEDS[:3]), random.Random(0)
    one = Given(shuffle_dataset=False)

    def draw(source, num):
        return [task.origin for task in source.propose(num, pool=pool, complete=None, rng=rng)]

    assert draw(one, 4) == ["seed:0", "seed:1", "seed:2", "seed:0"]
    other = Given(shuffle_dataset=False)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert draw(one, 2) == draw(other, 2) == ["seed:1", "seed:2"]


class Fixed(TaskSource):
    """Hands out numbered tasks, and keeps what it is told of them."""

    writes = False

    def __init__(self, name):
        self.name, self.number, self.told = name, 0, []

    def propose(self, num, *, pool, complete, rng):
        self.number += num
        start = self.number - num
        return [Task(f"{self.name} {n}", f"{self.name}:{n}") for n in range(start, self.number)]

    def observe(self, results):
        self.told += results

    def state_dict(self):
        return {"number": self.number}

    def load_state_dict(self, state):
        self.number = state["number"]


def test_sources_are_asked_by_their_shares_and_told_what_became_of_their_tasks():
    often, seldom = Fixed("often"), Fixed("seldom")
    ledger = Lines()
    selfplay = make(ScriptedPolicy(), ledger, sources=[Stream(often, 3.0), Stream(seldom, 1.0)])
    for step in range(6):
        selfplay.refill(step)
    assert often.number == pytest.approx(3 * seldom.number, abs=3)
    for source in (often, seldom):
        assert [result.task.origin for result in source.told] == [
            f"{source.name}:{n}" for n in range(source.number)
        ]
    result = often.told[0]
    assert isinstance(result, GroupResult) and result.agreement == 0.75 and result.label == "7"
    resumed = make(ScriptedPolicy(), sources=[Stream(Fixed("often"), 3.0), Stream(Fixed("seldom"))])
    resumed.load_state_dict(json.loads(json.dumps(selfplay.state_dict())))
    assert resumed.proposing.streams[0].source.number == often.number
    assert resumed.state_dict() == selfplay.state_dict()


def test_tasks_of_a_source_that_writes_are_filtered_and_get_their_origin():
    class Writing(TaskSource):
        def propose(self, num, *, pool, complete, rng):
            self.unread = ("gibberish",)
            texts = ["How many red boxes and ripe pears are there in all?", SEEDS[0]]
            return [Task(text, gold="7", parents=("seed:1",)) for text in texts]

    ledger = Lines()
    selfplay = make(ScriptedPolicy(), ledger, sources=[Stream(Writing())], max_refill_rounds=1)
    refill = selfplay.refill(step=0)
    kept, refused = ledger.of("proposal")
    assert (kept["keep"], kept["shots"], refused["keep"]) == (True, ["seed:1"], False)
    assert [(g["origin"], g["gold"]) for g in ledger.of("group")] == [("proposal:0", "7")]
    assert refill.metrics["serl/num_empty_requests"] == 1


def test_rollouts_carry_the_prompt_that_was_completed():
    policy = ScriptedPolicy(answer=half_right)
    (group, *_) = make(policy).refill(step=0).groups
    assert group.rollouts.messages[-1]["content"] == group.instruction
    assert group.rollouts.role == "solver"


def test_every_labeller_and_source_says_what_it_is():
    for labeller in LABELLERS.values():
        assert labeller.meaning != Labeller.meaning and labeller.rewarded != Labeller.rewarded
    assert [name for name, source in SOURCES.items() if not source.writes] == [
        "given",
        "labelled",
        "unlabelled",
    ]


def test_what_a_labeller_may_ask_reaches_the_policy():
    class Second(Labeller):
        needs = frozenset({"second_view"})

        def label(self, groups, tools):
            views = tools.complete([group.messages for group in groups])
            assert all(isinstance(view, Completion) for view in views)
            return [Labelled((1.0, 0.0, 0.0, 0.0), KEEP, 0.5) for _ in groups]

    assert make(ScriptedPolicy(), labeller=Second()).refill(step=0).groups


def test_no_name_of_a_labeller_or_a_source_decides_anything_outside_its_file():
    # "none" is a word of many options, and "gold" is also what a labeller may need.
    names = (LABELLERS.keys() | SOURCES.keys()) - {"none", "gold"}
    package = Path(serl_trl.__file__).parent
    homes = (package / "labels", package / "propose" / "sources")
    for path in package.rglob("*.py"):
        if any(home in path.parents for home in homes):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.MatchValue):
                said = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                assert not names & said, f"{path}:{node.lineno}"
