"""Labelled and unlabelled rows beside the model's own problems: what is handed out and rewarded."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.data.python_inputs import read_rows
from serl_trl.data.rows import as_rows, load_rows, naming_seeds, ready
from serl_trl.data.seeds import SeedSetError, make_seed_set
from serl_trl.labels.band import Band
from serl_trl.labels.base import Labeller
from serl_trl.labels.by_gold import ByGold
from serl_trl.labels.pilot import Pilot
from serl_trl.labels.registry import find_labeller
from serl_trl.loop.pilots import Piloting
from serl_trl.loop.proposing import Stream
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.few_shot import FewShot
from serl_trl.propose.sources.labelled import LabelledRows
from serl_trl.propose.sources.registry import missing_sets, needed_sets, rewards_by_gold
from serl_trl.propose.sources.unlabelled import UnlabelledRows
from serl_trl.sandbox import heldout, labelled_set, seed_set, unlabelled_set
from serl_trl.train.config_checks import find_problems
from tests.unit.playing import SEEDS, Lines, make
from tests.unit.test_selfplay import ScriptedPolicy, completion

ROWS = tuple((f"How many legs have {n} old cats?", str(4 * n)) for n in range(6))
OPEN = tuple((f"How many legs have {n} new dogs?", None) for n in range(6))


def labelled(share: float = 1.0, **options) -> Stream:
    options = {"shuffle_dataset": False, "labelled_set": ROWS} | options
    return Stream(LabelledRows(**options), share, name="labelled")


def unlabelled(share: float = 1.0, **options) -> Stream:
    options = {"shuffle_dataset": False, "unlabelled_set": OPEN} | options
    return Stream(UnlabelledRows(**options), share, name="unlabelled")


def playing(answer, sources, ledger=None, *, label_reward="vote", **changes):
    """Self-play whose labeller stands in a band and, as in a run, inside what goes by gold."""
    banded = Band(find_labeller(label_reward).make(), 0.2, 0.8)
    return make(
        ScriptedPolicy(answer),
        ledger,
        sources=sources,
        labeller=ByGold(banded),
        use_band=False,
        **changes,
    )


def one_of_four_right(text: str):
    """Three agree on a wrong answer; of a labelled row one is right."""
    gold = dict(ROWS).get(text, "7")
    return [completion(each) for each in (gold, "5555", "5555", "5555")]


def test_a_labelled_row_is_rewarded_by_its_gold_answer_and_others_by_the_vote():
    ledger = Lines()
    refill = playing(one_of_four_right, [labelled(), unlabelled()], ledger).refill(0)
    rewards = {group.rollouts.task.source: group.rewards for group in refill.groups}
    assert rewards == {"labelled": [1.0, 0.0, 0.0, 0.0], "unlabelled": [0.0, 1.0, 1.0, 1.0]}
    of_rows = [record for record in ledger.of("group") if record["source"] == "labelled"]
    assert {record["label"] == record["gold"] for record in of_rows} == {True}
    # What most completions said is wrong, and label accuracy says so.
    assert {record["label_right"] for record in of_rows} == {False}


def test_a_coin_does_not_reward_labelled_rows_either():
    refill = playing(one_of_four_right, [labelled()], label_reward="random").refill(0)
    assert {tuple(group.rewards) for group in refill.groups} == {(1.0, 0.0, 0.0, 0.0)}


@pytest.mark.parametrize("right", [0, 4])
def test_a_labelled_row_that_all_or_none_get_right_teaches_nothing(right):
    def answer(text):
        answers = [dict(ROWS)[text]] * right + ["5555"] * (4 - right)
        return [completion(each) for each in answers]

    ledger = Lines()
    assert playing(answer, [labelled()], ledger).refill(0).groups == []
    assert {record["reason"] for record in ledger.of("group")} == {"no_signal"}


def test_the_band_is_not_asked_of_labelled_rows():
    def answer(text):
        return [completion(each) for each in (dict(ROWS)[text], "5", "6", "8")]

    # No two agree, so that a vote has no majority.
    assert len(playing(answer, [labelled()]).refill(0).groups) == 4


def test_pilot_votes_do_not_end_a_labelled_row_that_some_get_right():
    @dataclass
    class Late(ScriptedPolicy):
        """Is right in the last of four completions alone."""

        asked: Counter = field(default_factory=Counter)

        def complete(self, prompts, sampling=None):
            texts = [prompt[-1]["content"] for prompt in prompts]
            self.asked.update(texts)
            golds = [dict(ROWS)[text] for text in texts]
            return [completion("5" if n % 2 == 0 else gold) for n, gold in enumerate(golds)]

    policy = Late()
    play = make(policy, sources=[labelled()], labeller=ByGold(Counting()), use_band=False)
    # The pilot of one vote and the band would end every group.
    play.piloting = Piloting(Pilot(1, 4, 0.2, 0.3, 0.9), get_kind("math"), Verifier(), policy)
    assert len(play.refill(0).groups) == 4
    assert {*policy.asked.values()} == {4}


def test_weights_multiply_the_advantages_of_a_source_alone():
    sources = [labelled(weight=2), unlabelled()]
    groups = playing(one_of_four_right, sources).refill(0).groups
    weights = {group.rollouts.task.source: group.labelled.weights for group in groups}
    assert weights == {"labelled": (2.0,) * 4, "unlabelled": ()}
    halved = playing(one_of_four_right, [unlabelled(weight=0.5)]).refill(0).groups
    assert {group.labelled.weights for group in halved} == {(0.5,) * 4}


class Counting(Labeller):
    """Notes how many groups it judges, and forgets one of them."""

    def __init__(self, forgets: int = 0) -> None:
        self.forgets, self.judged = forgets, []

    def label(self, groups, tools):
        self.judged.append(len(groups))
        return find_labeller("vote").make().label(groups[self.forgets :], tools)


def test_the_labeller_judges_only_what_does_not_go_by_gold():
    labeller = Counting()
    selfplay = make(
        ScriptedPolicy(one_of_four_right),
        sources=[labelled(), unlabelled()],
        labeller=ByGold(labeller),
        use_band=False,
    )
    selfplay.refill(0)
    assert labeller.judged == [2]
    alone = Counting()
    policy = ScriptedPolicy(one_of_four_right)
    make(policy, sources=[labelled()], labeller=ByGold(alone), use_band=False).refill(0)
    assert alone.judged == []


def test_a_labeller_that_forgets_a_group_is_told_so_beside_labelled_rows_too():
    selfplay = make(
        ScriptedPolicy(one_of_four_right),
        sources=[labelled(), unlabelled()],
        labeller=ByGold(Counting(forgets=1)),
        use_band=False,
    )
    with pytest.raises(ValueError, match="returned 1 results for 4 groups"):
        selfplay.refill(0)


def test_three_sources_share_the_places_and_each_is_counted():
    sources = [labelled(0.25), unlabelled(0.25), {"few_shot": 0.5}]
    refill = playing(one_of_four_right, sources).refill(0)
    found = {
        name.removeprefix("serl/source/"): value
        for name, value in refill.metrics.items()
        if name.startswith("serl/source/")
    }
    names = ("labelled", "unlabelled", "few_shot")
    assert [found[f"{name}/num_groups"] for name in names] == [2, 2, 4]
    assert sum(found[f"{name}/trained_ratio"] for name in names) == 1.0
    assert found["labelled/reward"] == 0.25 and found["unlabelled/reward"] == 0.75
    assert found["labelled/label_accuracy"] == 0.0 and "unlabelled/label_accuracy" not in found
    assert found["labelled/epochs"] == pytest.approx(2 / 6) and "few_shot/epochs" not in found
    assert {f"{name}/{each}" for name in names for each in ("majority_ratio", "kept_ratio")} <= {
        *found
    }


def test_what_has_no_place_in_a_batch_is_not_always_of_the_last_source():
    selfplay = playing(one_of_four_right, [unlabelled(0.75), labelled(0.25)])
    trained = []
    for step in range(40):
        groups = selfplay.refill(step).groups
        trained += [group.rollouts.task.source for group in groups]
    # A quarter of 160 places; three standard deviations are 16.
    assert 24 < trained.count("labelled") < 56


def test_one_source_alone_has_no_metrics_of_its_own():
    metrics = playing(one_of_four_right, [labelled()]).refill(0).metrics
    assert not [name for name in metrics if name.startswith("serl/source/")]


def test_rows_that_were_all_handed_out_come_again_and_the_ledger_says_so():
    ledger = Lines()
    selfplay = playing(one_of_four_right, [labelled()], ledger)
    for step in range(4):
        selfplay.refill(step)
    assert [record["origin"] for record in ledger.of("group")][:8] == [
        *(f"labelled:{row}" for row in range(6)),
        "labelled:0",
        "labelled:1",
    ]
    spent = [(record["step"], record["source"]) for record in ledger.of("rows_spent")]
    assert spent == [(1, "labelled"), (2, "labelled")]


def test_mixed_sources_continue_from_their_saved_state_as_if_never_stopped():
    def begin():
        sources = [labelled(shuffle_dataset=True), unlabelled(shuffle_dataset=True), "few_shot"]
        ledger = Lines()
        return playing(one_of_four_right, sources, ledger), ledger

    one, written = begin()
    for step in range(3):
        one.refill(step)
    state = json.loads(json.dumps(one.state_dict()))
    other, again = begin()
    other.load_state_dict(state)
    other._policy.requests = list(one._policy.requests)
    start = len(written.records)
    results = [each.refill(3) for each in (one, other)]
    assert written.records[start:] == again.records
    assert results[0].groups == results[1].groups
    assert one.state_dict() == other.state_dict()


def test_fewer_rows_than_were_saved_are_handed_out_all_the_same():
    source, rng = LabelledRows(labelled_set=ROWS), random.Random(0)
    pool = InstructionPool(SEEDS)
    source.propose(1, pool=pool, complete=None, rng=rng)
    fewer = LabelledRows(labelled_set=ROWS[:2])
    fewer.load_state_dict(source.state_dict())
    tasks = fewer.propose(4, pool=pool, complete=None, rng=rng)
    assert {task.origin for task in tasks} == {"labelled:0", "labelled:1"}


# Anchors.


def drawn(source: FewShot, requests: int = 40):
    rng, pool = random.Random(0), InstructionPool(SEEDS)
    return [source.request(pool, rng).shots for _ in range(requests)]


def test_anchors_take_the_places_of_seeds_in_some_requests():
    shots = drawn(FewShot(num_shots=4, anchors=2, labelled_set=ROWS))
    numbers = [sum(origin.startswith("labelled:") for origin in each.origins) for each in shots]
    assert {*numbers} == {0, 1, 2}
    assert {len(each.texts) for each in shots} == {4}
    texts = dict(zip(shots[0].origins, shots[0].texts, strict=True))
    assert all(
        text == ROWS[int(origin.partition(":")[2])][0]
        for origin, text in texts.items()
        if origin.startswith("labelled:")
    )


def test_without_anchors_the_same_is_drawn_as_ever():
    assert drawn(FewShot(num_shots=4, labelled_set=ROWS)) == drawn(FewShot(num_shots=4))


@pytest.mark.parametrize("anchors", [-1, 1.5, True, "2"])
def test_anchors_are_a_whole_number(anchors):
    (problem,) = find_problems({"sources": [f"few_shot(anchors={anchors!r})"]})
    assert "must be a whole number of at least 0" in str(problem)


# What a config must give.


def test_sources_say_which_sets_they_need():
    assert needed_sets(["few_shot"]) == frozenset()
    assert needed_sets(["few_shot(anchors=1)"]) == {"labelled_set"}
    assert needed_sets(["labelled(weight=2)", "unlabelled"]) == {"labelled_set", "unlabelled_set"}
    # Of another package it is not known before a run is built.
    assert needed_sets(["few_shot", "their.Source"]) is None
    assert rewards_by_gold([{"labelled(weight=2)": 1}]) and not rewards_by_gold(["unlabelled"])
    assert not rewards_by_gold(7)
    assert [str(each) for each in missing_sets({"labelled_set"}, ())] == [
        "labelled_set is missing, and one of sources reads it; give a file of such rows."
    ]


@pytest.mark.parametrize("weight", [0, -1, "2", True, float("inf"), float("nan")])
def test_a_weight_is_a_number_above_0(weight):
    with pytest.raises(ValueError, match="must be a number above 0"):
        LabelledRows(weight=weight)


def test_gold_rewards_beside_no_rewards_are_refused():
    values = {"sources": ["few_shot", "labelled"], "label_reward": "none"}
    (problem,) = find_problems(values)
    assert str(problem).startswith("label_reward=none rewards no labels, and one of sources")


# Reading.


def jsonl(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_several_files_become_one_set_and_repeated_rows_are_named(tmp_path):
    one = jsonl(tmp_path / "one.jsonl", [{"problem": text, "answer": gold} for text, gold in ROWS])
    more = [{"question": "What is 2 + 2?", "answer": "4"}, {"question": ROWS[1][0], "answer": "9"}]
    two = jsonl(tmp_path / "two.jsonl", more)
    # The column of one file is not demanded of the other.
    rows = load_rows("labelled_set", [one, two], column="problem")
    assert as_rows(rows) == (*ROWS, ("What is 2 + 2?", "4"))
    assert rows.warnings == (
        f"dropped 1 row of {one}, {two} as repetitions:\n  {two}:2 repeats {one}:2.",
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "What is 1 + 1?"}], "labelled_set: .* has no column 'answer'"),
        ([{"question": "What is 1 + 1?", "answer": ""}], "labelled_set: .* has 1 bad row"),
        ([], "is empty"),
    ],
)
def test_labelled_rows_without_answers_are_refused(tmp_path, rows, said):
    file = jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(SeedSetError, match=said):
        load_rows("labelled_set", [file])


def test_answers_that_cannot_be_read_are_refused_where_they_reward_and_left_out_where_not():
    golds = make_seed_set([{"instruction": "Why?", "answer": "because it is"}], source="x")
    with pytest.raises(SeedSetError, match=r"1 answer that cannot be read.*another answer_column"):
        ready("labelled_set", golds, get_kind("number"))
    many = make_seed_set(
        [{"instruction": text, "answer": gold} for text, gold in ROWS * 4]
        + [{"instruction": "Why?", "answer": "because it is"}],
        source="x",
    )
    assert ready("unlabelled_set", many, get_kind("number")).answers[-1] is None


def test_a_question_that_is_labelled_is_not_voted_on_too():
    given = {
        "labelled_set": [{"question": text, "answer": gold} for text, gold in ROWS],
        "unlabelled_set": [ROWS[2][0], "What is 5 + 5?"],
    }
    rows = read_rows(given)["unlabelled_set"]
    assert rows.instructions == ("What is 5 + 5?",)
    assert rows.warnings == (
        "dropped 1 row of unlabelled_set that are labelled too:\n  unlabelled_set row 1.",
    )
    with pytest.raises(SeedSetError, match="all 1 row of unlabelled_set are labelled too"):
        read_rows({**given, "unlabelled_set": [ROWS[2][0]]})


def test_rows_that_are_seeds_stay_and_are_named():
    rows = make_seed_set([{"instruction": text, "answer": "1"} for text in SEEDS[:2]], source="x")
    seeds = make_seed_set([{"instruction": SEEDS[1]}], source="y")
    named = naming_seeds(rows, "labelled_set", seeds)
    assert (
        len(named) == 2 and "1 row of labelled_set stand in the seed set too" in named.warnings[0]
    )
    assert naming_seeds(rows, "labelled_set", None) == rows


@pytest.mark.parametrize("name", ["sandbox", "sandbox_hard"])
def test_a_sandbox_has_rows_of_both_kinds_apart_from_its_other_sets(name):
    texts = [row["instruction"] for row in labelled_set(name)]
    texts += unlabelled_set(name)
    assert len({*texts}) == 64 + 256
    assert not {*texts} & {*seed_set(name), *(row["instruction"] for row in heldout(name))}
