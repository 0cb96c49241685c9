"""The gate on questions: which groups it refuses, what it learns of the seeds, and its options."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote
from serl_trl.common.completion import Completion
from serl_trl.filters.validity.choice import read_choice
from serl_trl.filters.validity.gate import ValidityModel
from serl_trl.filters.validity.sign import Sign
from serl_trl.filters.validity.text import TEXT_SIGNALS, signals_of
from serl_trl.labels.asking import Asking
from serl_trl.labels.band import Band
from serl_trl.labels.base import Rollouts, Tools
from serl_trl.labels.chance import ends_of
from serl_trl.labels.gated import gate_of
from serl_trl.labels.validity import Gate, Validity
from serl_trl.labels.vote import MajorityVote
from serl_trl.propose.sources.base import Task
from serl_trl.train.beside import teacher_of_run
from serl_trl.train.config_checks import find_problems
from serl_trl.train.options import PRESETS
from tests.unit.playing import SEEDS, Lines, make

# The chance that a question is valid is its agreement, nearly.
MODEL = ValidityModel(-4.0, {"agreement": 8.0}, usual={"agreement": 0.8}, careful=0.5, strict=0.7)
GATE = Gate((MODEL,))
TEXT = "How many pears are left of 12 when 5 are eaten?"


def group(*answers, origin="proposal:7", text=TEXT):
    completions = tuple(Completion(f"\\boxed{{{each}}}", [1], False) for each in answers)
    vote = majority_vote([each or None for each in answers])
    return Rollouts(Task(text, origin), [], completions, vote, (False,) * len(answers))


def tools(*texts):
    asked = []

    def complete(prompts, sampling=None):
        asked.extend(prompts)
        return [
            Completion(f"\\boxed{{{texts[i % len(texts)]}}}", [1], False)
            for i in range(len(prompts))
        ]

    found = Tools(get_kind("math"), Verifier(), complete, lambda work: work(), random.Random(0), 0)
    return found, asked


def gated(*asked, asks="policy", **changes):
    gate = replace(GATE, **changes)
    return Validity(Band(MajorityVote(), 0.2, 0.8), gate, Asking(asked, asks))


def reasons(gate, *groups):
    return [each.verdict.reason for each in gate.label(groups, tools("7")[0])]


def test_a_group_is_refused_where_its_question_is_probably_broken_and_the_signal_is_named():
    (refused,) = gated().label([group("7", "7", "8", "9", "1", "2", "3", "4")], tools()[0])

    assert not refused.verdict.keep
    assert refused.verdict.reason == "validity"
    assert refused.verdict.detail == {
        "p_valid": 0.1192,
        "signal": "agreement",
        "found": "25% agree",
    }
    assert refused.metrics["p_valid"] == pytest.approx(0.1192, abs=1e-4)
    assert (refused.label, refused.rewards[:3]) == ("7", (1.0, 1.0, 0.0))


def test_a_kept_group_carries_its_chance_and_what_the_band_refuses_is_not_judged():
    kept, easy = gated().label([group("7", "7", "7", "8"), group("7", "7", "7", "7")], tools()[0])

    assert (kept.verdict.keep, kept.verdict.reason) == (True, "")
    assert kept.verdict.detail == {"p_valid": 0.8808}
    assert (easy.verdict.reason, easy.verdict.detail, easy.metrics) == ("band_high", None, {})


def test_completions_without_an_answer_do_not_speak_against_a_question():
    assert reasons(gated(), group("7", "7", "", "", "", "")) == [""]


def test_a_given_instruction_is_never_refused():
    few = ("7", "7", "8", "9", "1", "2", "3", "4")

    assert reasons(gated(), group(*few, origin="seed:3"), group(*few, origin="probe")) == ["", ""]


def test_a_group_without_a_majority_answer_is_left_to_the_labeller():
    assert reasons(gated(), group("7", "8", "9", "1"), group("", "", "", "")) == [
        "tie",
        "unparsable",
    ]


def test_an_answer_unlike_those_of_the_seeds_is_refused_once_these_were_seen():
    gate = gated()
    odd = group("-7.5", "-7.5", "-7.5", "8")
    seeds = [group("12", "12", "12", str(n + 20), origin=f"seed:{n}") for n in range(20)]

    assert reasons(gate, odd) == [""]
    assert reasons(gate, *seeds, odd) == [""] * 20 + ["validity"]
    assert gate.label([odd], tools()[0])[0].verdict.detail["signal"] == "domain"


def test_the_text_counts_as_far_as_the_runs_filters_read_it():
    open_end = group("7", "7", "7", "8", text="How many of the 12 pears are left when Ann")

    assert reasons(gated(strict=True), open_end) == [""]
    assert reasons(gated(strict=True, texts=frozenset({"unfinished"})), open_end) == ["validity"]
    assert signals_of(["validity", "unfinished"]) == set(TEXT_SIGNALS)
    assert signals_of(["validity"], spelt=False) == {"stray", "quantities", "missing"}
    assert signals_of(["tokens"]) == set()


def test_the_threshold_sinks_where_it_would_refuse_more_than_one_seed_in_twenty():
    gate = gated()
    hard = [group("7", "7", "8", "9", "1", "2", "3", "4", origin=f"seed:{n}") for n in range(19)]
    gate.label(hard, tools()[0])
    assert gate.threshold == 0.5

    gate.label(hard[:1], tools()[0])

    assert gate.threshold == pytest.approx(0.1192, abs=1e-4)
    assert reasons(gate, group("7", "7", "8", "9", "1", "2", "3", "4")) == [""]


@given(st.lists(st.integers(2, 7), min_size=20, max_size=60))
def test_at_most_one_seed_in_twenty_lies_below_the_threshold(sizes):
    gate = gated()
    gate.label(
        [group(*["7"] * n, *map(str, range(10, 18 - n)), origin="seed:0") for n in sizes],
        tools()[0],
    )

    chances = [MODEL.p_valid({"agreement": each}) for each in gate.seed_agreements]
    assert sum(each < gate.threshold for each in chances) <= len(sizes) / 20


def test_seeds_are_rolled_out_once_before_the_first_group_is_judged():
    gate = replace(
        gated(), seeds=[(text, [{"role": "user", "content": text}]) for text in SEEDS[:3]]
    )
    policy, asked = tools("12", "12", "12", "5")
    one = group("7", "7", "7", "8")

    gate.label([group("7", "7", "7", "7")], policy)
    assert not asked

    gate.label([one], policy)
    gate.label([one], policy)

    assert [each[0]["content"] for each in asked] == [t for t in SEEDS[:3] for _ in range(4)]
    assert gate.domain.num == len(gate.seed_agreements) == 3


def test_a_gate_goes_on_from_its_state_as_if_it_had_not_stopped():
    gate = replace(gated(), seeds=[(SEEDS[0], [{"role": "user", "content": SEEDS[0]}])])
    policy, asked = tools("12", "12", "12", "5")
    gate.label([group("7", "7", "7", "8"), group("1", "1", "2", origin="seed:1")], policy)
    other = replace(gated(), seeds=[(SEEDS[0], [{"role": "user", "content": SEEDS[0]}])])

    other.load_state_dict(json.loads(json.dumps(gate.state_dict())))

    assert other.state_dict() == gate.state_dict()
    other.label([group("7", "7", "7", "8")], policy)
    assert len(asked) == 4


def test_a_gate_that_weighs_multiplies_what_a_kept_group_teaches_by_its_chance():
    weighing, plain = gated(weigh=True), gated()
    kept = group("7", "7", "7", "8")

    assert weighing.label([kept], tools()[0])[0].weights == pytest.approx((0.8808,) * 4, abs=1e-4)
    assert plain.label([kept], tools()[0])[0].weights == ()
    assert read_choice("weigh").weigh and read_choice("weigh").on


class Doubtful:
    """Doubts every question as much as it is told to, and notes what it was asked about."""

    name, num_completions = "doubtful", 3

    def __init__(self, score):
        self.score, self.asked = score, []

    def judge(self, questions, tools):
        self.asked += questions
        return [Sign(self.score, "so it says")] * len(questions)


def test_a_signal_that_asks_is_asked_only_about_what_would_be_kept():
    signal = Doubtful(0.1)
    gate = gated(signal)
    kept = group("7", "7", "7", "8")

    found = gate.label([kept, group("7", "7", "7", "7"), group("7", "7", *"12345")], tools()[0])

    assert [each.instruction for each in signal.asked] == [TEXT]
    assert signal.asked[0].vote == kept.vote
    assert [each.verdict.reason for each in found] == ["", "band_high", "validity"]
    assert found[0].verdict.detail == {"p_valid": 0.7927, "num_asked": 3}
    assert found[0].metrics["num_asked"] == 3
    assert found[2].metrics["num_asked"] == 0


def test_a_signal_that_costs_no_completions_is_asked_too():
    signal = Doubtful(0.9)
    signal.num_completions = 0

    (found,) = gated(signal).label([group("7", "7", "7", "8")], tools()[0])

    assert (len(signal.asked), found.verdict.reason) == (1, "validity")


def test_a_signal_that_asks_can_refuse_by_itself():
    (found,) = gated(Doubtful(0.9)).label([group("7", "7", "7", "8")], tools()[0])

    detail = {"p_valid": 0.0881, "num_asked": 3, "signal": "doubtful", "found": "so it says"}
    assert (found.verdict.reason, found.verdict.detail) == ("validity", detail)


@pytest.mark.parametrize(("score", "unused"), [(0.5, ()), (0.51, ("doubtful",))])
def test_a_signal_that_doubts_most_given_instructions_is_not_used_and_says_so(
    score, unused, caplog
):
    signal = Doubtful(score)
    seeds = [(text, [{"role": "user", "content": text}]) for text in SEEDS[:3]]
    gate = replace(gated(signal), seeds=seeds)
    kept = group("7", "7", "7", "8")

    gate.label([kept], tools("12")[0])
    (found,) = gate.label([kept], tools("12")[0])

    assert gate.asking.unused == unused
    assert [each.instruction for each in signal.asked[:3]] == SEEDS[:3]
    # A sign that no model weighs counts as none where it is not used.
    assert len(signal.asked) == 3 + 2 * (not unused)
    assert ("num_asked" in found.verdict.detail) == (not unused)
    assert found.verdict.keep == bool(unused)
    assert ("validity: doubtful doubts the given instructions (0.51" in caplog.text) == bool(unused)
    again = replace(gated(signal), seeds=seeds)
    again.load_state_dict(json.loads(json.dumps(gate.state_dict())))
    assert again.asking.unused == unused


class Telling(Doubtful):
    """Doubts only the questions whose places, over all calls, it is told."""

    def __init__(self, *places):
        super().__init__(0.0)
        self.places = places

    def judge(self, questions, tools):
        first, _ = len(self.asked), super().judge(questions, tools)
        return [Sign(float(first + i in self.places)) for i in range(len(questions))]


@pytest.mark.parametrize(
    ("telling", "unused"), [((), True), ((0, 9), True), ((0, 9, 20, 40), False)]
)
def test_a_signal_that_says_the_same_of_nearly_all_questions_is_not_asked_any_more(
    telling, unused, caplog
):
    signal = Telling(*telling)
    gate = gated(signal)
    kept = group("7", "7", "7", "8")

    for _ in range(16):
        gate.label([kept] * 4, tools()[0])
    gate.label([kept], tools()[0])

    assert gate.asking.unused == (("doubtful",) if unused else ())
    assert len(signal.asked) == 64 + (not unused)
    told = f"doubtful gives {64 - len(telling)} of 64 questions the same 0.00"
    assert (told in caplog.text) == unused


def test_half_a_window_of_scores_is_not_lost_with_the_process():
    gate = gated(Telling())
    gate.label([group("7", "7", "7", "8")] * 63, tools()[0])
    again = gated(Telling())

    again.load_state_dict(json.loads(json.dumps(gate.state_dict())))
    again.label([group("7", "7", "7", "8")], tools()[0])

    assert (gate.asking.unused, again.asking.unused) == ((), ("doubtful",))


def test_without_a_signal_the_model_and_threshold_of_the_others_hold():
    with_it = ValidityModel(-4.0, {"agreement": 8.0, "doubtful": -4.0}, careful=0.8)
    gate = gated(Doubtful(0.25), models=(MODEL, with_it))

    (found,) = gate.label([group("7", "7", "7", "8")], tools()[0])
    # Log-odds of 8 * 0.75 - 4 - 4 * 0.25 = 1.
    assert (found.verdict.keep, found.verdict.detail["p_valid"]) == (False, 0.7311)

    gate.asking.unused = ("doubtful",)
    (found,) = gate.label([group("7", "7", "7", "8")], tools()[0])
    assert (found.verdict.keep, found.verdict.detail) == (True, {"p_valid": 0.8808})


def test_the_teacher_is_asked_where_the_run_has_one():
    asked = []

    class Asking(Doubtful):
        def judge(self, questions, tools):
            tools.complete([question.messages for question in questions])
            return super().judge(questions, tools)

    def complete(prompts, sampling=None, *, model="policy"):
        asked.append(model)
        return []

    policy = replace(tools()[0], complete=complete)
    gate = gated(Asking(0.1), asks="teacher")
    gate.label([group("7", "7", "7", "8")], policy)

    assert asked == ["teacher"]
    assert "teacher" in gate.needs
    assert "teacher" not in gated(Asking(0.1)).needs


class Split:
    """Writes two texts, and answers them with 4 answers of which two agree."""

    def propose(self, requests, sampling=None):
        texts = (f"{n}. How many plums are in {n + 3} sacks of {n + 5}?" for n in range(1, 4))
        return [Completion("\n".join(texts), [1], False) for _ in requests]

    def roll_out(self, prompts):
        answers = ("7", "7", "8", "9")
        return [[Completion(f"\\boxed{{{a}}}", [1], False) for a in answers] for _ in prompts]

    def decide(self, work):
        return work()


def test_a_refusal_stands_in_ledger_and_metrics_with_the_signal_that_decided():
    ledger = Lines()
    selfplay = make(Split(), ledger, labeller=Validity(MajorityVote(), replace(GATE, strict=True)))

    refill = selfplay.refill(0)

    assert not refill.groups
    assert refill.metrics["serl/refused/validity"] == refill.metrics["serl/num_groups"] > 0
    assert refill.metrics["serl/label/p_valid"] == pytest.approx(0.5)
    record = ledger.of("group")[0]
    assert (record["keep"], record["reason"]) == (False, "validity")
    assert record["detail"] == {"p_valid": 0.5, "signal": "agreement", "found": "50% agree"}


def test_the_option_is_read_before_anything_is_loaded():
    assert read_choice("strict").strict
    assert not read_choice("careful").strict
    assert not read_choice("off").on
    assert PRESETS["paper"]["validity"] == "off"
    # A bare `off` of YAML is a truth value.
    assert not read_choice(False).on
    chosen = read_choice("strict,abstention(num=4)")
    assert (chosen.strict, chosen.num_completions) == (True, 4)
    for text in ("stict", "off, strict", "", "abstention(nmu=4)"):
        (problem,) = find_problems({"validity": text})
        assert str(problem).startswith("validity=")


@pytest.mark.parametrize(
    ("text", "votes", "asked"),
    [
        ("auto", 16, ["abstention(num=8)", "restatable(num=4,keep_names=False)"]),
        ("auto", 2, ["abstention(num=1)", "restatable(num=1,keep_names=False)"]),
        ("auto,abstention(num=2)", 8, ["abstention(num=2)", "restatable(num=2,keep_names=False)"]),
    ],
)
def test_auto_is_strict_and_asks_half_and_a_quarter_as_often_as_it_votes(text, votes, asked):
    chosen = read_choice(text, group_size=votes)

    assert (chosen.on, chosen.strict, [each.text for each in chosen.asked]) == (True, True, asked)


@pytest.mark.parametrize("validity", ["strict", "auto"])
def test_a_strict_gate_lets_the_band_reach_to_one_vote_short_of_all_unless_its_ends_are_given(
    validity,
):
    options = {"answer_kind": "math", "num_generations": 16, "validity": validity}

    assert (ends_of(options).low, ends_of(options).high) == (0.2, 15 / 16)
    assert ends_of({**options, "difficulty_low": 0.3}).high == 0.8
    assert ends_of({**options, "validity": "careful"}).high == 0.8


@pytest.mark.parametrize(
    "aside",
    [
        {"label_reward": "gold"},
        {"label_reward": "none"},
        {"task_template": "{instruction} Is it kind?"},
        {"sources": ["given"]},
        {"use_selfplay": False},
    ],
)
def test_where_the_gate_steps_aside_it_asks_nothing_and_the_band_stays(aside):
    options = {"answer_kind": "math", "num_generations": 16, "validity": "auto", "plugins": None}

    assert gate_of({**options, "label_reward": "vote"}).num_completions == 12
    assert not gate_of({**options, **aside}).on
    assert ends_of({**options, **aside}).high == 0.8


RUN = {"answer_kind": "math", "num_generations": 16, "validity": "auto", "plugins": None}


@pytest.mark.parametrize(
    ("values", "model"),
    [
        ({"label_reward": "vote"}, "reference"),
        ({"label_reward": "vote", "validity": "strict"}, None),
        ({"label_reward": "vote", "use_vllm": True}, None),
        ({"label_reward": "vote", "deepspeed": "zero2.json"}, None),
        ({"label_reward": "teacher_vote"}, "ema"),
        ({"label_reward": "gold"}, None),
        ({"label_reward": "vote", "validity": "auto,self_judge(by='./judge')"}, "./judge"),
        ({"label_reward": "vote", "validity": "self_judge"}, "reference"),
        ({"label_reward": "vote", "validity": "atuo"}, None),
    ],
)
def test_signals_ask_the_labellers_teacher_or_the_first_weights_where_a_run_can_hold_them(
    values, model, monkeypatch
):
    monkeypatch.delenv("ACCELERATE_USE_DEEPSPEED", raising=False)
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    found = teacher_of_run({**RUN, **values})

    assert (found.model if found else None) == model


def test_a_judge_that_the_run_cannot_hold_is_refused_and_not_replaced():
    named = {**RUN, "label_reward": "vote", "validity": "self_judge(by='./judge')"}

    (problem,) = find_problems({**named, "use_vllm": True})

    assert str(problem).startswith(
        "use_vllm=True with a labeller or gate that asks a teacher (./judge) is refused"
    )
