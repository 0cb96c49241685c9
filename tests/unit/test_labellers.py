"""The labellers beyond the plain vote: each by a case computed by hand, then what all keep."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion
from serl_trl.common.verdict import KEEP
from serl_trl.labels.asymmetric_vote import AsymmetricVote
from serl_trl.labels.base import Labelled, Tools
from serl_trl.labels.certainty import Certainty
from serl_trl.labels.dual import Dual, hide_number
from serl_trl.labels.judge import Judge
from serl_trl.labels.margin_vote import MarginVote
from serl_trl.labels.novelty_vote import NoveltyVote
from serl_trl.labels.paraphrase_vote import ParaphraseVote
from serl_trl.labels.registry import LABELLERS, extra_rollouts, find_labeller
from serl_trl.labels.soft_vote import SoftVote
from serl_trl.labels.teacher_vote import TeacherVote
from serl_trl.labels.verified_vote import VerifiedVote
from serl_trl.labels.weighted_vote import WeightedVote
from serl_trl.labels.wide_vote import WideVote
from serl_trl.loop.labelling import LabellerError
from serl_trl.train.config_checks import find_problems
from tests.unit.playing import OPTIONS, Lines, make
from tests.unit.test_seams import judge, rollouts
from tests.unit.test_selfplay import ScriptedPolicy

# Of votes alone; the others of the registry have tests of their own.
OF_VOTES = [SoftVote, WeightedVote, AsymmetricVote, NoveltyVote, MarginVote]
ANSWERS = st.lists(st.none() | st.sampled_from(["1", "2", "3"]), min_size=2, max_size=9)


def unsure(group, *entropies):
    """Give the completions of a group their entropies."""
    pairs = zip(group.completions, entropies, strict=True)
    return replace(group, completions=tuple(replace(c, entropy=e) for c, e in pairs))


def saying(group, *texts):
    """Give the completions of a group other texts."""
    return replace(group, completions=tuple(Completion(text, [5], False) for text in texts))


def test_a_soft_vote_rewards_each_answer_with_its_share_of_all_completions():
    (found,) = judge(SoftVote(), rollouts("7", "7", "7", "9", "9", "8", None, None))
    assert found.rewards == (3 / 8, 3 / 8, 3 / 8, 2 / 8, 2 / 8, 1 / 8, 0.0, 0.0)
    assert (found.label, found.agreement, found.verdict.keep) == ("7", 3 / 8, True)


def test_a_soft_vote_keeps_ties_and_refuses_by_its_gate_and_what_nobody_shares():
    tie, weak, alone, unread = (
        rollouts("7", "7", "9", "9"),
        rollouts("7", "7", "9", "8", "5"),
        rollouts("7", "9", "8"),
        rollouts(None, None),
    )
    found = judge(SoftVote(gate=0.5), tie, weak, alone, unread)
    assert [each.verdict.reason for each in found] == [
        "",
        "no_consensus",
        "no_majority",
        "unparsable",
    ]
    assert (found[0].rewards, found[0].label) == ((0.5,) * 4, None)


def test_a_sure_majority_gets_one_and_what_is_rare_and_doubtful_minus_one():
    # Shares of 10: 7 has .6, 9 has .2, 8 and 5 have .1 each, of which only 5 is in more doubt than
    # the mean entropy of (8 x 1 + 0 + 4) / 10 = 1.2.
    group = unsure(rollouts(*["7"] * 6, "9", "9", "8", "5"), *[1.0] * 8, 0.0, 4.0)
    (found,) = judge(MarginVote(), group)
    assert found.rewards == (*[1.0] * 6, 0.0, 0.0, 0.0, -1.0)
    assert (found.label, found.verdict.keep) == ("7", True)
    assert found.metrics == {"positive": 1.0, "num_wrong_classes": 1.0}


def test_without_a_clear_lead_only_what_is_surely_wrong_trains():
    # 4 of 10 against 3 of 10: the lead of .1 is not above .125. No answer is wrong in any case.
    group = unsure(rollouts(*["7"] * 4, *["9"] * 3, "8", "5", None), *[1.0] * 7, 0.0, 1.0, 1.0)
    (found,) = judge(MarginVote(), group)
    assert found.rewards == (*[0.0] * 7, 0.0, -1.0, -1.0)
    assert (found.label, found.metrics["positive"]) == (None, 0.0)
    (nothing,) = judge(MarginVote(), unsure(rollouts("7", "7", "9", "9"), 1.0, 1.0, 1.0, 1.0))
    assert nothing.verdict.reason == "no_signal"
    # One class alone is sure however small the demanded lead, but all rewards are equal.
    (unanimous,) = judge(MarginVote(), unsure(rollouts("7", "7"), 1.0, 1.0))
    assert (unanimous.label, unanimous.verdict.reason) == ("7", "no_signal")


def test_weights_of_answers_follow_the_published_function():
    (found,) = judge(WeightedVote(sigma=0.5), rollouts("7", "7", "7", "9", None))
    # g(.6) = exp(-.16 / .5), g(.2) = exp(-.64 / .5).
    large, small = math.exp(-0.32), math.exp(-1.28)
    assert found.rewards == pytest.approx(
        [large / (large + small)] * 3 + [small / (large + small), 0.0]
    )


def test_what_agrees_counts_by_the_majority_ratio_and_what_disagrees_in_full():
    (found,) = judge(AsymmetricVote(), rollouts("7", "7", "7", "9", None))
    assert found.rewards == (1.0, 1.0, 1.0, 0.0, 0.0)
    assert found.weights == (0.6, 0.6, 0.6, 1.0, 1.0)


def test_novelty_orders_the_majority_and_never_crosses_it():
    group = rollouts("7", "7", "7", "9", None)
    # The first two say the same; the third shares no word with anybody.
    told = saying(group, "a b", "a b", "c d", "e", "f")
    (found,) = judge(NoveltyVote(), told)
    # Raw novelty: 1 - (1 + 0) / 2 / 2 - 1 / 2 = .25 twice, and 1 for the third.
    assert found.rewards == pytest.approx((0.5, 0.5, 1.0, -0.5, -1.0))
    # All alike: the middle. The single member of the other side keeps the upper end.
    (alike,) = judge(NoveltyVote(), saying(group, "a", "a", "a", "a", "a"))
    assert alike.rewards == pytest.approx((0.75, 0.75, 0.75, -0.5, -1.0))
    (others,) = judge(NoveltyVote(), saying(rollouts("7", "7", "8", "9"), "a", "a", "b", "b"))
    assert others.rewards == pytest.approx((0.75, 0.75, -0.75, -0.75))


def test_novelty_asks_an_encoder_where_one_is_named():
    labeller = NoveltyVote("some-model")
    labeller._encode = lambda texts: [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    (found,) = judge(labeller, saying(rollouts("7", "7", "7"), "a", "b", "c"))
    assert found.rewards == pytest.approx((0.5, 0.5, 1.0))


def test_certainty_is_minus_the_entropy_and_no_answer_costs_seven():
    (found,) = judge(Certainty(), unsure(rollouts("7", "9", None), 0.5, 2.0, 0.1))
    assert found.rewards == (-0.5, -2.0, -7.0)
    assert (found.label, found.verdict.keep) == (None, True)


@pytest.mark.parametrize("labeller", OF_VOTES)
@given(answers=ANSWERS, data=st.data())
def test_rewards_go_with_the_completions_in_whatever_order_these_come(labeller, answers, data):
    order = data.draw(st.permutations(range(len(answers))))
    (found,) = judge(labeller(), unsure(rollouts(*answers), *[1.0] * len(answers)))
    (moved,) = judge(
        labeller(), unsure(rollouts(*(answers[i] for i in order)), *[1.0] * len(answers))
    )
    assert moved.rewards == pytest.approx([found.rewards[i] for i in order])
    assert moved.verdict == found.verdict and len(moved.weights) == len(found.weights)


@pytest.mark.parametrize("labeller", OF_VOTES)
@given(answers=ANSWERS)
def test_no_answer_of_a_kept_group_is_worth_more_than_the_largest_class_and_none_at_all_least(
    labeller, answers
):
    group = unsure(rollouts(*answers), *[1.0] * len(answers))
    (found,) = judge(labeller(), group)
    pairs = list(zip(found.rewards, group.vote.classes, strict=True))
    best = [reward for reward, own in pairs if own == 0]
    kept = found.verdict.keep
    assert all(reward <= max(best) + 1e-9 for reward, _ in pairs if kept)
    assert all(reward == min(found.rewards) for reward, own in pairs if own is None)


def test_entropies_are_asked_for_where_a_labeller_needs_them_and_stay_out_of_the_batch():
    policy, asked = ScriptedPolicy(), []
    entropies = policy.entropies
    policy.entropies = lambda groups: asked.extend(groups) or entropies(groups)
    make(policy).refill(step=0)
    assert not asked
    refill = make(policy, label_reward="certainty").refill(step=0)
    assert len(asked) == refill.metrics["serl/num_groups"]
    assert refill.groups[0].rewards == [-0.5, -1.5, -2.5, -3.5]
    assert all(c.entropy is None for group in refill.groups for c in group.completions)


def test_the_ledger_names_why_a_labeller_refused():
    ledger = Lines()
    make(ScriptedPolicy(), ledger, label_reward="soft_vote(gate=0.9)").refill(step=0)
    assert {record["reason"] for record in ledger.of("group")} == {"no_consensus"}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("soft_vote(gate=1.5)", "label_reward gives gate=1.5, which must lie in [0, 1]."),
        ("margin_vote(rare=-1)", "label_reward gives rare=-1, which must lie in [0, 1]."),
        (
            "teacher_vote(teacher=5)",
            'label_reward gives teacher=5, which must be "ema", "reference" or a model.',
        ),
        ("weighted_vote(sigma=0)", "label_reward gives sigma=0, which must lie in [0.05, 10]."),
    ],
)
def test_an_option_without_meaning_is_refused_before_anything_is_loaded(named, said):
    assert [str(each) for each in find_problems({"label_reward": named})] == [said]


def test_a_labeller_of_another_type_of_option_is_refused_in_a_sentence():
    (problem,) = find_problems({"label_reward": "soft_vote(gate='half')"})
    assert "label_reward=soft_vote(gate='half') cannot be made" in str(problem)


def test_each_labeller_is_a_file_of_its_own():
    homes = {labeller.__module__ for labeller in LABELLERS.values()}
    assert len(homes) == len(LABELLERS)


class Answering(ScriptedPolicy):
    """Answers whatever a labeller asks beside the groups in turn, and remembers the questions."""

    def __init__(self, *texts, **named):
        super().__init__(**named)
        self.texts, self.asked, self.models = list(texts), [], set()

    def complete(self, prompts, sampling=None, *, model="policy"):
        self.models.add(model)
        start = len(self.asked)
        self.asked += prompts
        found = [self.texts[n % len(self.texts)] for n in range(start, len(self.asked))]
        return [Completion(text, [5, 2], False) for text in found]


def judged(labeller, group, *texts):
    """Judge one group, with `texts` as the answers to what the labeller asks."""
    policy = Answering(*texts)
    policy.models = labeller.__dict__.setdefault("models", set())
    tools = Tools(get_kind("math"), Verifier(), policy.complete, policy.decide, random.Random(), 0)
    (found,) = labeller.label([group], tools)
    return found, policy.asked


def test_the_label_of_a_wide_vote_comes_from_all_votes_and_the_rewards_go_to_the_groups_own():
    group = rollouts("7", "7", "9", None)
    found, asked = judged(WideVote(votes=8), group, *["\\boxed{9}"] * 4)
    # Of eight votes 9 has five, and of the group's four one.
    assert found == Labelled((0.0, 0.0, 1.0, 0.0), KEEP, 5 / 8, "9")
    assert asked == [group.messages] * 4
    enough, asked = judged(WideVote(votes=4), group, "\\boxed{9}")
    assert (enough.label, asked) == ("7", [])


def test_rollouts_of_a_labeller_count_and_its_own_label_is_what_is_compared_with_gold():
    policy, ledger = Answering("\\boxed{9}"), Lines()
    selfplay = make(policy, ledger, label_reward="wide_vote(votes=8)", oracle=lambda _: "9")
    refill = selfplay.refill(step=0)
    groups = ledger.of("group")
    # The group's own vote is 3 x 7 and 1 x 9; four more votes for 9 decide.
    assert {(g["majority_answer"], g["label"], g["label_right"]) for g in groups} == {
        ("7", "9", True)
    }
    assert refill.metrics["serl/num_labeller_rollouts"] == 4 * len(groups)
    assert refill.metrics["serl/num_rollouts"] == 8 * len(groups)
    assert extra_rollouts("wide_vote(votes=8)", 4) == 4
    assert refill.metrics["serl/label_accuracy"] == 1.0
    assert refill.groups[0].rewards == [0.0, 0.0, 0.0, 1.0]


def test_a_gold_label_leaves_the_accuracy_of_the_majority_as_it_was():
    ledger = Lines()
    make(ScriptedPolicy(), ledger, label_reward="gold", oracle=lambda _: "9").refill(step=0)
    assert {g["label_right"] for g in ledger.of("group")} == {False}


QUESTION = "How many apples have Ann and Bob if Ann has 3 apples and Bob has 4 apples?"
OTHER = "Ann has 3 apples and Bob has 4 of them. How many are there in all?"


def test_a_paraphrase_labels_the_question():
    group = rollouts("7", "9", "9", None)
    group = replace(
        group,
        task=replace(group.task, instruction=QUESTION),
        messages=[{"role": "user", "content": f"{QUESTION}\nBox it."}],
    )
    votes = ["\\boxed{7}", "\\boxed{7}", "\\boxed{9}", "no"]
    found, asked = judged(ParaphraseVote(votes=4), group, OTHER, *votes)
    assert (found.rewards, found.label, found.agreement) == ((1.0, 0.0, 0.0, 0.0), "7", 0.5)
    assert [each[-1]["content"] for each in asked[1:]] == [f"{OTHER}\nBox it."] * 4
    own = find_labeller("paraphrase_vote(votes=4)").make({"restate_instruction": "Anew!"})
    _, asked = judged(own, group, OTHER, *votes)
    assert asked[0][-1]["content"] == f"{QUESTION}\nAnew!"
    lost, asked = judged(ParaphraseVote(votes=4), group, "What is 5 and 6?")
    assert (lost.verdict.reason, len(asked)) == ("no_paraphrase", 1)
    renamed = OTHER.replace("Ann", "Eve")
    strict, _ = judged(ParaphraseVote(votes=4), group, renamed, *votes)
    loose, _ = judged(ParaphraseVote(votes=4, keep_names=False), group, renamed, *votes)
    assert (strict.verdict.reason, loose.label) == ("no_paraphrase", "7")
    split, _ = judged(ParaphraseVote(votes=2), group, OTHER, "\\boxed{7}", "\\boxed{9}")
    assert split.verdict.reason == "tie"


def test_a_teacher_labels_by_its_own_vote():
    group = rollouts("7", "9", "9", None)
    votes = ["\\boxed{7}", "\\boxed{7}", "\\boxed{9}", "no"]
    found, asked = judged(teacher := TeacherVote(votes=4), group, *votes)
    assert found == Labelled((1.0, 0.0, 0.0, 0.0), KEEP, 0.5, "7", {"label_reached": 1.0})
    assert (asked, teacher.models) == ([group.messages] * 4, {"teacher"})
    split, _ = judged(TeacherVote(votes=2), group, "\\boxed{7}", "\\boxed{9}")
    assert (split.rewards, split.verdict.reason) == ((0.0,) * 4, "tie")
    far, _ = judged(TeacherVote(votes=2), group, "\\boxed{5}")
    assert (far.rewards, far.label, far.metrics) == ((0.0,) * 4, "5", {"label_reached": 0.0})


def test_the_average_keeps_more_of_itself_along_a_cosine():
    teacher = TeacherVote().teacher
    kept = [teacher.keep(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    # .9999 - .0099 * (1 + cos(pi / 4)) / 2 at a quarter of the way.
    assert kept == pytest.approx([0.99, 0.99144983, 0.99495, 0.9999], abs=1e-8)


def test_a_judge_may_be_the_teacher():
    own, frozen = Judge(), Judge(teacher="reference")
    for judge_ in (own, frozen):
        judged(judge_, rollouts("7", "9"), "\\boxed{9}")
    assert (own.models, own.needs) == ({"policy"}, {"second_view"})
    assert (frozen.models, frozen.needs, frozen.teacher.model) == (
        {"teacher"},
        {"teacher"},
        "reference",
    )


def test_a_labeller_that_asks_a_teacher_without_needing_one_is_told_so():
    labeller = TeacherVote()
    labeller.needs = frozenset()
    with pytest.raises(LabellerError, match='TeacherVote asks its teacher; name "teacher" in its'):
        make(ScriptedPolicy(), labeller=labeller).refill(step=0)


def test_a_teacher_is_refused_where_no_other_weights_can_stand_in(monkeypatch):
    options = {"label_reward": "teacher_vote", "use_vllm": True, "deepspeed": "zero3.json"}
    said = [str(each) for each in find_problems(options)]
    assert said == [
        "use_vllm=True with a labeller or gate that asks a teacher (ema) is refused: the engine "
        "holds the trained weights alone; leave it out, or use another label_reward or validity.",
        "deepspeed: a teacher (ema) is refused with it, because it divides the weights or lays "
        "them together, so that no others can stand in for them; train on one GPU or with DDP.",
    ]
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    judge_ = {"label_reward": "judge(teacher='reference')"}
    assert [str(each)[:30] for each in find_problems(judge_)] == ["fsdp: a teacher (reference) is"]
    assert find_problems({"label_reward": "judge"}) == []


def test_an_answer_is_worth_the_share_of_tries_that_regain_a_hidden_number():
    group = rollouts("7", "7", "9", None)
    group = replace(group, task=replace(group.task, instruction="Ann has 3.5 l and drinks some."))
    replies = ["\\boxed{3.5}", "\\boxed{7/2}", "so \\boxed{4}", "3.5", "\\boxed{1}"]
    found, asked = judged(Dual(tries=4), group, *replies, *["\\boxed{2}"] * 3)
    # Two of four tries for 7, none for 9.
    assert (found.rewards, found.verdict.keep, found.label) == ((0.5, 0.5, 0.0, 0.0), True, None)
    assert found.metrics == {"regained_ratio": 0.25}
    shown = "Question: Ann has X l and drinks some.\nAnswer: "
    ends = [f"{shown}{answer}" for answer in "77779999"]
    assert [each[-1]["content"][-len(ends[0]) :] for each in asked] == ends
    bare = replace(group, task=replace(group.task, instruction="How many has Ann?"))
    none, asked = judged(Dual(), bare, "\\boxed{3}")
    assert (none.verdict.reason, none.rewards, asked) == ("no_number", (0.0,) * 4, [])


@given(st.text(alphabet="1234., aXé٣½", max_size=60), st.randoms())
def test_the_hidden_number_put_back_gives_the_question_again(question, rng):
    hidden = hide_number(question, rng)
    if hidden.number is None:
        assert hidden.question == question
    else:
        # One of the X is the hidden number; the others were there before.
        places = [place for place, sign in enumerate(hidden.question) if sign == "X"]
        put_back = [
            f"{hidden.question[:at]}{hidden.number}{hidden.question[at + 1 :]}" for at in places
        ]
        assert question in put_back


def test_a_vote_is_kept_if_more_than_half_of_its_checks_confirm_it():
    group = rollouts("7", "7", "9")
    yes, no = "\\boxed{yes}", "It is not. \\boxed{no}"
    found, asked = judged(VerifiedVote(checks=4), group, yes, yes, yes, no)
    assert (found.rewards, found.verdict.keep) == ((1.0, 1.0, 0.0), True)
    assert found.metrics == {"confirmed_ratio": 0.75}
    assert all("\\boxed{7}" in each[-1]["content"] for each in asked) and len(asked) == 4
    half, _ = judged(VerifiedVote(checks=4), group, yes, yes, no, "who knows")
    assert half.verdict.reason == "unverified"
    tie, asked = judged(VerifiedVote(checks=4), rollouts("7", "9"), yes)
    assert (tie.verdict.reason, asked) == ("tie", [])


def test_the_judges_marks_are_shares_of_its_scale_and_what_cannot_be_read_is_nothing():
    group = rollouts("7", "7", "9", "8", None)
    found, asked = judged(Judge(scale=10), group, "\\boxed{9}", "\\boxed{11}", "good", "\\boxed{2}")
    assert found.rewards == (0.9, 0.0, 0.0, 0.2, 0.0)
    assert found.metrics == {"marked_ratio": 0.4}
    # None was asked for the completion without an answer.
    assert len(asked) == 4 and "to 10 (" in asked[0][-1]["content"]
    alike, _ = judged(Judge(), group, "\\boxed{5}")
    assert alike.verdict.keep  # the one without an answer has 0
    none, _ = judged(Judge(), group, "no mark")
    assert none.verdict.reason == "no_signal"


@given(st.text())
def test_whatever_the_model_writes_a_mark_lies_in_the_scale(text):
    found, _ = judged(Judge(), rollouts("7", "9"), f"\\boxed{{{text}}}", text)
    assert all(0 <= reward <= 1 for reward in found.rewards)


@pytest.mark.parametrize("name", LABELLERS)
def test_no_labeller_asks_for_more_than_it_says(name):
    policy = Answering("\\boxed{7}")
    refill = make(policy, label_reward=name, oracle=lambda _: "7").refill(step=0)
    most = extra_rollouts(name, OPTIONS.num_generations) * refill.metrics["serl/num_groups"]
    assert len(policy.asked) <= most
    assert refill.metrics["serl/num_labeller_rollouts"] == len(policy.asked)


def test_of_a_labeller_of_somebody_else_nothing_is_known():
    assert extra_rollouts("my_package.Mine(votes=9)", 4) == 0
