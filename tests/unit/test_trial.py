"""Will it work for mine? What a trial counts, the rules that judge it, and its page."""

import io
import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from serl_trl.answers.equality import get_kind, lenient
from serl_trl.answers.voting import majority_vote
from serl_trl.common.completion import Completion
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import Labelled, Rollouts
from serl_trl.labels.chance import majority_of_noise
from serl_trl.loop.groups import Group
from serl_trl.loop.proposing import JudgedProposal
from serl_trl.measure.rules import (
    CHANGE,
    DECISIONS,
    GO,
    NOT,
    RULES,
    decides_early,
    helpful,
    judge,
)
from serl_trl.measure.trial import (
    CUT_OFF,
    NO_MARKER,
    OTHER_FORM,
    Answers,
    Known,
    Proposals,
    Reading,
    Speed,
    Trial,
    Unread,
    Votes,
    count_answers,
    count_known,
    count_proposals,
    count_votes,
)
from serl_trl.plan.estimate import Layout
from serl_trl.plan.trial_cost import asked_per_question, measured_cost
from serl_trl.propose.sources.base import Task
from serl_trl.report.render import render_html, render_markdown
from serl_trl.report.terminal import show
from serl_trl.report.trial import trial_page

SPEED = Speed(
    sampled_tokens=1000,
    sampling_s=10.0,
    scored_tokens=400,
    scoring_s=1.0,
    proposing_s=34.0,
    prompt_length=100.0,
    completion_length=50.0,
)
# A trial that nothing speaks against; each case changes what it is about.
GOOD = Trial(
    Answers(256, 250, {NO_MARKER: Unread(6, ("I do not know.",))}, ()),
    Votes(16, (0.5,) * 12 + (1.0,) * 4, (16,) * 16, 12, {"band_high": 4}),
    Known("probe set", 16, 0.7, 0.1, 12, 11, 0.65, 0.99),
    Proposals(20, 17, {"rouge_l": 3}, 1, ("How many?",), (("rouge_l", "How much?"),)),
    SPEED,
)
VALUES = {
    "answer_kind": "math",
    "use_band": True,
    "pilot_votes": 0,
    "pilot_chance": 0.05,
    "use_selfplay": True,
    "difficulty_low": 0.2,
    "difficulty_high": 0.8,
    "max_steps": 10,
    "collapse_guard": "off",
    "sentinel_steps": 20,
    "gradient_checkpointing": True,
    "beta": 0.001,
    "num_iterations": 1,
    "num_requests": 4,
    "sources": ["few_shot"],
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 4,
    "steps_per_generation": None,
    "num_generations": 16,
    "label_reward": "vote",
    "validity": "careful",
    "task_template": "",
    "plugins": None,
}


def answers(read: int, whole: int = 64, *, readings=(), **unread: int) -> Answers:
    return Answers(whole, read, {why: Unread(n, ("?",)) for why, n in unread.items()}, readings)


def rules_of(trial: Trial) -> list[str]:
    return [finding.rule for finding in judge(trial).findings]


def changes_of(trial: Trial) -> list[str]:
    return [change.partition(":")[0] for found in judge(trial).findings for change in found.changes]


def completion(text: str, *, truncated: bool = False) -> Completion:
    return Completion(text, [1, 2, 3], truncated)


# The rules.


def test_a_trial_that_nothing_speaks_against_is_a_go():
    assert judge(GOOD) == judge(replace(GOOD, known=None, proposals=None))
    assert judge(GOOD).decision == GO


@pytest.mark.parametrize(
    ("trial", "rule", "decision", "option"),
    [
        (replace(GOOD, answers=answers(2, no_marker=62)), "nothing to vote on", NOT, "answer_inst"),
        (replace(GOOD, answers=answers(2, cut_off=62)), "nothing to vote on", CHANGE, "max_compl"),
        (
            replace(
                GOOD,
                answers=answers(2, no_marker=62, readings=(Reading("math(lenient=True)", 60, 12),)),
            ),
            "nothing to vote on",
            CHANGE,
            "answer_kind",
        ),
        (
            replace(GOOD, answers=answers(40, other_form=24)),
            "few completions have an answer",
            CHANGE,
            "answer_instruction",
        ),
        (
            replace(GOOD, answers=answers(48, cut_off=16)),
            "completions are cut off",
            CHANGE,
            "max_completion_length",
        ),
        (
            replace(GOOD, votes=Votes(16, (1.0,) * 16, (16,) * 16, 1, {"band_high": 15})),
            "too easy",
            CHANGE,
            "seed_set",
        ),
        (
            replace(GOOD, votes=Votes(16, (0.1,) * 16, (16,) * 16, 1, {"band_low": 15})),
            "no agreement",
            NOT,
            "model_name_or_path",
        ),
        (
            replace(
                GOOD, votes=Votes(16, (0.5, 0.75) * 8, (16,) * 16, 8, {"band_low": 8}, num_labels=2)
            ),
            "no better than chance",
            NOT,
            "model_name_or_path",
        ),
        (
            replace(GOOD, known=Known("probe set", 16, 0.3, 0.3, 12, 6, 0.25, 0.75)),
            "agrees on wrong answers",
            NOT,
            "model_name_or_path",
        ),
        (
            replace(GOOD, known=Known("probe set", 16, 0.22, 0.18, 13, 7, 0.29, 0.77)),
            "agrees on wrong answers",
            CHANGE,
            "model_name_or_path",
        ),
        (
            replace(GOOD, known=Known("probe set", 16, 0.5, 0.3, 12, 1, 0.01, 0.35)),
            "labels are mostly wrong",
            NOT,
            "difficulty_low",
        ),
        (
            replace(GOOD, proposals=Proposals(0, 0, {}, 0, (), ())),
            "nothing proposed",
            CHANGE,
            "proposer_system",
        ),
        (
            replace(GOOD, proposals=Proposals(20, 1, {"rouge_l": 12, "length": 7}, 0, (), ())),
            "few proposals are kept",
            CHANGE,
            "max_rouge_l",
        ),
        (
            replace(GOOD, proposals=Proposals(20, 8, {"duplicate": 12}, 11, (), ())),
            "proposals copy the seeds",
            CHANGE,
            "proposer_temperature",
        ),
    ],
)
def test_each_rule_decides_and_names_the_option_to_change(trial, rule, decision, option):
    judgement = judge(trial)

    assert rules_of(trial) == [rule]
    assert judgement.decision == decision
    assert judgement.findings[0].because
    assert changes_of(trial)[0].startswith(option)


def test_every_rule_has_a_case():
    (cases,) = [
        mark.args[1]
        for mark in test_each_rule_decides_and_names_the_option_to_change.pytestmark
        if mark.name == "parametrize"
    ]
    assert {case[1] for case in cases} == {rule.name for rule in RULES}


def test_votes_that_agree_more_than_chance_are_no_noise():
    votes = Votes(16, (0.7, 0.75) * 8, (16,) * 16, 8, {"band_low": 8}, num_labels=2)
    assert judge(replace(GOOD, votes=votes)).decision == GO


def test_noise_draws_as_many_answers_as_can_be_read():
    # Of 16 completions 6 can be read. Of 6 random votes on two labels the majority has 3.9.
    for most, decision in ((4, NOT), (5, GO)):
        votes = Votes(16, (most / 16,) * 16, (6,) * 16, 8, {"band_low": 8}, num_labels=2)
        assert judge(replace(GOOD, votes=votes)).decision == decision
    one_each = Votes(16, (1 / 16,) * 16, (1,) * 16, 8, {"band_low": 8}, num_labels=2)
    assert judge(replace(GOOD, votes=one_each)).decision == GO


def test_a_kind_without_a_marker_is_told_of_answers():
    found = replace(answers(2, no_marker=62), lenient=True)

    (finding,) = judge(replace(GOOD, answers=found)).findings
    assert finding.because == "62 of 64 completions have no answer"
    assert finding.changes[0] == "answer_instruction: ask for the answer alone"
    assert "no answer: 62 completions, for example" in page_of(replace(GOOD, answers=found))


@pytest.mark.parametrize(("votes", "labels"), [(2, 2), (3, 2), (4, 3), (5, 4)])
def test_the_majority_of_noise_is_that_of_all_draws(votes, labels):
    ratios = [max(map(draw.count, draw)) / votes for draw in product(range(labels), repeat=votes)]
    expected = (fmean(ratios), pstdev(ratios))
    assert majority_of_noise(votes=votes, labels=labels) == pytest.approx(expected)


def test_the_worst_finding_decides_and_stands_first():
    trial = replace(
        GOOD,
        answers=answers(40, no_marker=24),
        known=Known("probe set", 16, 0.3, 0.3, 12, 6, 0.25, 0.75),
    )

    assert judge(trial).decision == NOT
    assert rules_of(trial) == ["agrees on wrong answers", "few completions have an answer"]


@pytest.mark.parametrize("refused", ["band_low", "tie"])
def test_votes_are_not_judged_where_few_completions_have_an_answer(refused):
    votes = Votes(16, (0.3,) * 16, (6,) * 16, 0, {refused: 16}, num_labels=2)
    trial = replace(GOOD, answers=answers(24, cut_off=40), votes=votes)

    assert rules_of(trial) == ["few completions have an answer"]
    assert "no agreement" in rules_of(replace(trial, answers=answers(64)))


def test_nothing_to_vote_on_says_how_many_and_nothing_that_follows_from_it():
    trial = replace(
        GOOD,
        answers=answers(2, no_marker=61, cut_off=1),
        votes=Votes(4, (0.0,) * 16, (0,) * 16, 0, {"unparsable": 16}),
        proposals=None,
        stopped_early=True,
    )

    (finding,) = judge(trial).findings
    assert changes_of(trial) == ["answer_instruction", "model_name_or_path"]
    assert changes_of(replace(trial, asked_by="task_template"))[0] == "task_template"
    assert finding.because == "61 of 64 completions have no marked answer, 1 were cut off"


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_more_answers_never_make_the_verdict_worse(pair):
    read, whole = pair

    def badness(count):
        found = answers(count, whole, no_marker=whole - count)
        return DECISIONS.index(judge(replace(GOOD, answers=found)).decision)

    assert badness(min(read + 1, whole)) <= badness(read)


def test_sixteen_silent_completions_decide_and_four_do_not():
    assert decides_early(answers(0, 16, no_marker=16))
    assert not decides_early(answers(1, 16, no_marker=15))
    assert not decides_early(answers(0, 4, no_marker=4))
    assert not decides_early(answers(0, 0))
    assert decides_early(answers(2, 64, no_marker=62))


def test_a_kind_that_reads_more_helps_where_what_it_reads_agrees():
    for majorities, helps in ((0, False), (1, False), (2, True)):
        reading = Reading("math(lenient=True)", 16, majorities)
        found = answers(0, 16, no_marker=16, readings=(reading,))
        assert (helpful(found, num_groups=8) == reading) is helps


def test_the_docs_name_every_rule_with_its_limit():
    page = Path(__file__).parents[2].joinpath("docs", "own_domain.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"| {rule.name} |" in page


# The counts.


def test_completions_without_an_answer_are_counted_by_reason():
    group = [
        completion("so \\boxed{yes}"),
        completion("so \\boxed{perhaps}"),
        completion("the answer may be yes"),
        completion("so \\boxed{yes}", truncated=True),
    ]

    found = count_answers([group], kind=get_kind("label"), option="label")

    assert (found.num_completions, found.num_answered) == (4, 1)
    assert {why: unread.count for why, unread in found.unread.items()} == {
        NO_MARKER: 1,
        CUT_OFF: 1,
        OTHER_FORM: 1,
    }
    assert found.unread[NO_MARKER].examples == ("the answer may be yes",)


def test_the_same_completions_are_read_by_other_kinds():
    groups = [[completion(f"I get {n}."), completion(f"It is {n}.")] for n in (4, 5)]

    found = count_answers(groups, kind=get_kind("math"), option="math")

    assert found.num_answered == 0
    assert found.readings == (Reading("math(lenient=True)", 4, 2),)


def test_another_marker_shows_in_the_kind_that_reads_it():
    groups = [[completion("So it is.\nAnswer: B"), completion("Answer: B")]]

    found = count_answers(groups, kind=get_kind("math"), option="math")

    assert Reading("choice", 2, 1) in found.readings


def test_an_option_becomes_lenient_with_what_it_says():
    assert lenient("math") == "math(lenient=True)"
    assert lenient("number(rel_tol=0.01)") == "number(rel_tol=0.01, lenient=True)"
    assert lenient("math(lenient=True)") is None
    assert lenient("my_package.kinds.Mine") is None


def group(texts: list[str], gold: str | None, verdict: Verdict = KEEP) -> Group:
    found = [get_kind("math").extract(text) for text in texts]
    vote = majority_vote(found)
    right = tuple(answer == gold for answer in found)
    rollouts = Rollouts(Task("?", "probe", gold), [], tuple(map(completion, texts)), vote, right)
    label_right = None if gold is None or vote.answer is None else vote.answer == gold
    labelled = Labelled(tuple(vote.rewards), verdict, vote.majority_ratio)
    return Group(0, 0, rollouts, labelled, label_right)


def boxed(*numbers: int) -> list[str]:
    return [f"\\boxed{{{number}}}" for number in numbers]


def test_votes_are_those_of_the_labeller():
    groups = [group(boxed(1, 1, 1, 2), None), group(boxed(1, 1), None, Verdict(False, "band_high"))]

    votes = count_votes(groups, get_kind("math"))

    assert votes == Votes(4, (0.75, 1.0), (4, 2), 1, {"band_high": 1})
    assert votes.kept_ratio == 0.5
    assert count_votes(groups, get_kind("label")).num_labels == 2


def test_what_is_right_is_set_against_the_commonest_wrong_answer():
    groups = [
        group(boxed(1, 1, 1, 2), "1"),
        group(boxed(5, 5, 5, 2), "2"),
        group(boxed(3, 3, 3, 3), "3", Verdict(False, "band_high")),
        group(boxed(1, 1), None),
    ]

    known = count_known(groups, "probe set")

    assert known is not None
    assert (known.num_problems, known.num_labels, known.num_right) == (3, 2, 1)
    assert known.right_ratio == pytest.approx(2 / 3)
    assert known.agreed_wrong_ratio == pytest.approx(1 / 3)
    assert (known.low, known.high) == pytest.approx((0.095, 0.905), abs=1e-3)
    assert count_known(groups[3:], "seed set") is None


def test_proposals_are_counted_with_one_example_of_each_reason():
    seed = "How many apples?"
    judged = [
        JudgedProposal("how many  apples?", Verdict(False, "normalised_duplicate"), ()),
        JudgedProposal("A", Verdict(False, "length"), ()),
        JudgedProposal("B", Verdict(False, "length"), ()),
        JudgedProposal("What is 2 + 2?", KEEP, ()),
    ]

    found = count_proposals(judged, [seed])

    assert (found.num_proposals, found.num_kept, found.num_copies) == (4, 1, 1)
    assert found.refused == {"length": 2, "normalised_duplicate": 1}
    assert found.refused_examples[0] == ("length", "A")
    assert found.kept_examples == ("What is 2 + 2?",)


# The cost.


def test_the_cost_of_a_step_follows_from_what_was_measured():
    cost = measured_cost(VALUES, Layout(), GOOD)

    # 32 rollouts of 50 tokens, 3 of 4 groups kept, at 100 tokens a second.
    assert cost is not None
    assert cost.sampling_s == pytest.approx(32 * 50 / 0.75 / 100, rel=1e-3)
    # 150 tokens a row through five passes, at 400 tokens a second.
    assert cost.updating_s == pytest.approx(5 * 32 * 150 / 400)
    # Two seconds for each kept proposal, of which 2 / 0.75 are rolled out.
    assert cost.proposing_s == pytest.approx(2 * 2 / 0.75)
    assert cost.step_s == cost.sampling_s + cost.updating_s + cost.proposing_s
    assert cost.num_steps == 10
    signals = {"validity": "strict,abstention(num=3),restatable(num=1)"}
    asking = measured_cost({**VALUES, **signals}, Layout(), GOOD)
    # 4 completions of 50 tokens about each of 2 prompts, at 100 tokens a second.
    assert asking is not None
    assert asking.asking_s == pytest.approx(4 * 2 * 50 / 100)
    assert asking.step_s == pytest.approx(cost.step_s + asking.asking_s)
    guarded = measured_cost({**VALUES, "collapse_guard": "stop"}, Layout(), GOOD)
    # 256 completions of 50 tokens in 20 steps.
    assert guarded is not None
    assert guarded.watching_s == pytest.approx(256 * 50 / 20 / 100)
    assert guarded.step_s == pytest.approx(cost.step_s + guarded.watching_s)
    for aside in ({"label_reward": "gold"}, {"task_template": "{instruction} Is it praise?"}):
        assert asked_per_question({**VALUES, **signals}) == 4
        assert asked_per_question({**VALUES, **signals, **aside}) == 0


def test_the_cost_is_unknown_where_nothing_is_kept():
    nothing = replace(GOOD, votes=Votes(16, (1.0,), (16,), 0, {"band_high": 1}))
    assert measured_cost(VALUES, Layout(), nothing) is None
    silent = measured_cost(VALUES, Layout(), replace(GOOD, proposals=None))
    assert silent is not None and silent.proposing_s is None
    given_rows = {**VALUES, "sources": ["given"]}
    rows = measured_cost(given_rows, Layout(), replace(GOOD, proposals=None))
    assert rows is not None and rows.proposing_s == 0.0


# The page.


def page_of(trial: Trial) -> str:
    out = Console(file=io.StringIO(), width=100)
    report = trial_page(trial, judge(trial), measured_cost(VALUES, Layout(), trial), VALUES)
    show(report, out)
    # The same blocks make the pages of a report.
    assert render_html(report) and render_markdown(report)
    return " ".join(out.file.getvalue().split())


def test_the_page_answers_each_question_in_plain_words():
    page = page_of(GOOD)

    for sentence in (
        "Verdict: go",
        "250 of 256 completions (97.7 %) have one that answer_kind=math reads.",
        "no marked answer: 6 completions, for example I do not know.",
        "No other answer_kind reads more of them.",
        "A run would train on 12 of 16 groups (75 %). Not on 4 (agreement over the difficulty band",
        "8 of 16 12 ██████████████████████ in the band",
        "16 of 16 4",
        "70 % of the completions are right (pass@1), and 10 % agree on the commonest wrong answer.",
        "11 of 12 labels that would train are right, 91.7 %, 95 % interval 65 % to 99.0 %.",
        "The filters keep 17 of 20 proposals (85 %); 1 copy a seed. Refused: 3 (too similar",
        "The model samples 100 tokens a second. A step takes about 87 seconds: 5 seconds proposing",
        "The run of 10 steps takes about 14 minutes.",
    ):
        assert sentence in page


def test_the_page_says_what_chance_would_keep_of_as_many_answers():
    # Of 6 random votes on two labels 3 at least agree, and a band from 0.2 begins at 4 of 16.
    votes = Votes(16, (0.3125,) * 16, (6,) * 16, 16, {}, num_labels=2)

    page = page_of(replace(GOOD, votes=votes))

    # 1 less the 20 of 64 ways of three against three.
    share = "69 % of the groups would lie in the band."
    assert f"(100 %). Were the same number of answers drawn at random, {share}" in page
    assert "drawn at random" not in page_of(GOOD)


def test_broken_lines_stand_below_the_first_and_fit_the_terminal():
    trial = replace(GOOD, answers=answers(2, cut_off=62))
    out = Console(file=io.StringIO(), width=80)
    show(trial_page(trial, judge(trial), None, VALUES), out)

    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    at = next(n for n, line in enumerate(lines) if line.startswith("  change max_completion"))
    assert lines[at + 1].startswith("  prompt_style, or is a base model")


def test_other_kinds_that_would_not_help_are_called_so():
    for majorities, said in ((0, True), (16, False)):
        reading = Reading("math(lenient=True)", 60, majorities)
        page = page_of(replace(GOOD, answers=answers(2, no_marker=62, readings=(reading,))))
        assert ("None of these would help: it reads too few," in page) is said


def test_a_long_completion_is_shown_by_its_end():
    found = answers(63, no_marker=1)
    found.unread[NO_MARKER] = Unread(1, (f"{'word ' * 100}at last 7.",))

    page = page_of(replace(GOOD, answers=found))

    assert "for example ..." in page
    assert "at last 7." in page


def test_the_page_names_the_rule_and_the_option():
    trial = replace(GOOD, answers=answers(2, no_marker=62), known=None, proposals=None)
    page = page_of(replace(trial, stopped_early=True))

    assert (
        "Verdict: not with this model (nothing to vote on) "
        "Nothing to vote on: 62 of 64 completions "
        "have no marked answer. change answer_instruction: name the marker"
    ) in page
    assert "Unknown: no probe_set with answers is given" in page
    assert "Not tried: the rollouts had decided already." in page


def test_what_the_model_wrote_is_shown_on_one_line_without_markup_or_controls():
    hostile = "[bold red]\x1b[31m" + "x\n" * 500 + "[link=http://a]end"
    trial = replace(
        GOOD,
        answers=Answers(10, 8, {NO_MARKER: Unread(2, (hostile, ""))}, ()),
        proposals=Proposals(1, 0, {"[red]mine": 1}, 0, (), (("[red]mine", hostile),)),
    )
    page = page_of(trial)

    assert "\x1b" not in page
    assert "[link=http://a]end" in page
    assert "(nothing)" in page
    assert "[red]mine" in page


def test_what_json_says_is_plain_values():
    found = json.loads(json.dumps(asdict(GOOD)))

    more = {"stopped_early", "asked_by"}
    assert set(found) == {"answers", "votes", "known", "proposals", "speed", *more}
    assert set(found["answers"]) == {
        "num_completions",
        "num_answered",
        "unread",
        "readings",
        "lenient",
    }
    assert set(found["votes"]) == {
        "num_votes",
        "majority_ratios",
        "num_read",
        "num_kept",
        "refused",
        "num_labels",
    }
