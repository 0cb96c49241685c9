"""The signals that ask the model: what they ask, what it costs, and what its answers are worth."""

import random
from collections.abc import Callable, Sequence

import pytest

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote
from serl_trl.common.completion import Completion, Messages, Sampling
from serl_trl.filters.validity.asked import Asked, AskedSignal, AskingTools
from serl_trl.filters.validity.registry import ASKED_SIGNALS, find_asked
from serl_trl.filters.validity.sign import NO_SIGN, Sign
from serl_trl.labels.base import Tools
from serl_trl.propose.prompts import (
    JUDGE_QUESTIONS,
    PromptStyle,
    asked_anew,
    rollout_messages,
    with_instruction,
)
from serl_trl.sandbox import STYLE

APPLES = "Ann has 3 apples and buys 4 more. How many apples does Ann have now?"
BROKEN = "Bob has some pears and eats 2. How many pears does Bob have now?"
FORM = STYLE.answer_instruction


class Model:
    """Answers each prompt by `write`; remembers its calls."""

    def __init__(self, write: Callable[[str], str], *, truncated: bool = False) -> None:
        self.write, self.truncated = write, truncated
        self.calls: list[list[str]] = []
        self.samplings: list[Sampling | None] = []

    def __call__(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        texts = [prompt[-1]["content"] for prompt in prompts]
        self.calls.append(texts)
        self.samplings.append(sampling)
        return [Completion(self.write(text), [0], self.truncated) for text in texts]


def tools_of(model: Model, kind: str = "math") -> Tools:
    return Tools(get_kind(kind), Verifier(), model, lambda work: work(), random.Random(0), 1)


def asked(text: str, answers: Sequence[str | None] = ("7", "7", "7", "1")) -> Asked:
    return Asked(text, rollout_messages(text, STYLE), majority_vote(answers))


def signal_of(text: str) -> AskedSignal:
    return find_asked(text).make(vars(STYLE))


def takes_tools(tools: AskingTools) -> AskingTools:
    return tools


def test_the_tools_of_a_labeller_are_those_of_a_signal():
    assert takes_tools(tools_of(Model(str))).kind == get_kind("math")


def test_abstention_is_the_share_of_none_in_all_completions():
    answers = iter([r"\boxed{none}", r"\boxed{\text{None}}", r"\boxed{5}", "no box"] * 2)
    model = Model(lambda text: next(answers))

    found = signal_of("abstention(num=4)").judge([asked(APPLES), asked(BROKEN)], tools_of(model))

    assert found == [Sign(0.5, "2 of 4 none")] * 2


def test_abstention_asks_for_all_questions_in_one_call_with_the_form_that_the_model_knows():
    model = Model(lambda text: r"\boxed{5}")

    found = signal_of("abstention(num=3)").judge([asked(APPLES), asked(BROKEN)], tools_of(model))

    form = "Answer in \\boxed{}, or \\boxed{none}."
    assert model.calls == [[f"{APPLES}\n{form}"] * 3 + [f"{BROKEN}\n{form}"] * 3]
    assert found == [Sign(0.0, "0 of 3 none")] * 2
    assert model.samplings == [None]


def test_abstention_can_be_cut_short_and_what_was_cut_off_has_not_given_up():
    model = Model(lambda text: r"\boxed{none}", truncated=True)

    found = signal_of("abstention(max_tokens=20)").judge([asked(APPLES)], tools_of(model))

    assert found == [Sign(0.0, "0 of 8 none")]
    assert model.samplings == [Sampling(temperature=1.0, top_p=1.0, max_tokens=20)]


def test_none_gives_nothing_up_where_it_is_an_answer_of_the_run():
    model = Model(lambda text: r"\boxed{none}")
    kind = "label(labels=['all', 'None'])"

    assert signal_of("abstention").judge([asked(APPLES)], tools_of(model, kind)) == [NO_SIGN]
    assert model.calls == []


@pytest.mark.parametrize("name", ASKED_SIGNALS)
def test_a_signal_without_questions_asks_nothing(name):
    model = Model(str)

    assert signal_of(name).judge([], tools_of(model)) == []
    assert model.calls == []


@pytest.mark.parametrize("name", ASKED_SIGNALS)
def test_a_signal_costs_at_most_what_it_says_and_is_named_as_it_is_found(name):
    model = Model(lambda text: r"\boxed{none}")
    signal = signal_of(name)

    [sign] = signal.judge([asked(BROKEN)], tools_of(model))

    assert signal.name == name
    assert sum(map(len, model.calls)) <= signal.num_completions
    assert 0 <= sign.score <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abstention(num=0)", r"abstention\(num=0\) must be a whole number of at least 1; leave"),
        ("two_views(tries=1.5)", r"tries=1.5\) must be a whole number of at least 1"),
        ("self_judge(num=True)", r"num=True\) must be a whole number of at least 1"),
        ("abstention(max_tokens=-1)", r"max_tokens=-1\) must be a whole number of at least 0"),
        ("restatable(keep_names='no')", r"keep_names='no'\) must be True or False"),
        ("abstention(abstain_instruction='')", r"abstain_instruction=''\) must be a text"),
        ("abstention(k=3)", r"validity=abstention\(k=3\) cannot be made"),
        ("abstain", r"validity=abstain is unknown; choose one of"),
    ],
)
def test_a_wrong_signal_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        find_asked(text)


def test_by_default_the_usual_form_of_the_answer_stays():
    usual = rollout_messages(APPLES, PromptStyle(rollout_system="Be brief."))

    found = asked_anew(usual, APPLES, PromptStyle.abstain_instruction)

    assert found[0] == usual[0]
    assert found[1]["content"].startswith(usual[1]["content"])
    assert found[1]["content"].endswith("write \\boxed{none} instead.")


@pytest.mark.parametrize("template", ["{instruction}\nIs it kind?", 'Is "{instruction}" kind?'])
def test_a_task_template_is_kept_whole(template):
    usual = rollout_messages("Fine {film}.", PromptStyle(task_template=template))

    found = asked_anew(usual, "Fine {film}.", "{answer_instruction} Or none.")

    assert found == [{"role": "user", "content": usual[0]["content"] + " Or none."}]


def test_without_anything_behind_it_the_text_stands_on_the_next_line():
    usual = rollout_messages(APPLES, PromptStyle(answer_instruction=""))

    assert asked_anew(usual, APPLES, "{answer_instruction} Or none.") == [
        {"role": "user", "content": f"{APPLES}\nOr none."}
    ]


def test_another_instruction_takes_the_place_of_the_first_in_the_prompt():
    style = PromptStyle(rollout_system="Be brief.")

    found = with_instruction(rollout_messages(APPLES, style), APPLES, BROKEN)

    assert found == rollout_messages(BROKEN, style)


def test_two_views_score_what_the_best_answer_of_both_lacks():
    again = "There are 3 apples with Ann. She gets 4 more. How many apples is that?"
    answers = iter([r"\boxed{7}", r"\boxed{8}", r"\boxed{8}", "no box"])
    model = Model(lambda text: again if text.endswith("other words.") else next(answers))

    [found] = signal_of("two_views(num=4)").judge(
        [asked(APPLES, ["7", "7", "7", "8"])], tools_of(model)
    )

    # The case of test_views.py: .375 for 7, 1/3 for 8.
    assert found.score == pytest.approx(1 - (0.375 - 1 / 3))
    assert found.found == "7 in both, by 4%"
    assert model.calls == [[f"{APPLES}\nSay it in other words."], [f"{again}\n{FORM}"] * 4]


def test_without_a_restatement_there_is_no_sign_and_no_second_vote():
    model = Model(lambda text: "Bob has 3 apples.")

    assert signal_of("two_views").judge([asked(APPLES)], tools_of(model)) == [NO_SIGN]
    assert len(model.calls) == 1


def test_two_views_that_agree_in_all_votes_leave_no_doubt():
    again = "There are 3 apples with Ann. She gets 4 more. How many apples is that?"
    model = Model(lambda text: again if text.endswith("other words.") else r"\boxed{7}")

    [found] = signal_of("two_views").judge([asked(APPLES, ["7"] * 4)], tools_of(model))

    assert found == Sign(0.0, "7 in both, by 100%")


def test_restatable_is_the_share_of_restatements_that_lose_the_sense():
    again = "There are 3 apples with Ann. She gets 4 more. How many apples is that?"
    written = iter([again, again.replace("Ann", "Bob"), again.replace("4", "5"), ""] * 2)
    model = Model(lambda text: next(written))

    [strict] = signal_of("restatable").judge([asked(APPLES)], tools_of(model))
    [loose] = signal_of("restatable(keep_names=False)").judge([asked(APPLES)], tools_of(model))

    assert (strict, loose.score) == (Sign(0.75, "3 of 4 restatements fail"), 0.5)
    assert model.calls == [[f"{APPLES}\nSay it in other words."] * 4] * 2


def test_the_judge_asks_in_stages_and_stops_at_a_question_that_most_call_broken():
    answers = iter(["no", "no", "yes"] + ["yes", "yes", "no"] + ["yes"] * 3 + ["no", "maybe", "x"])
    model = Model(lambda text: rf"So \boxed{{{next(answers)}}}")

    found = signal_of("self_judge").judge([asked(BROKEN), asked(APPLES)], tools_of(model))

    first, second, third = JUDGE_QUESTIONS
    assert found == [Sign(2 / 3, f"67% no: {first}"), Sign(1 / 3, f"33% no: {first}")]
    assert [len(call) for call in model.calls] == [6, 3, 3]
    assert [second in model.calls[1][0], third in model.calls[2][0]] == [True, True]
    assert all(text.startswith(f"Problem:\n{APPLES}\n\n") for text in model.calls[1])


def test_a_judge_that_is_cut_off_finds_nothing():
    model = Model(lambda text: r"\boxed{no}", truncated=True)

    [found] = signal_of("self_judge").judge([asked(APPLES)], tools_of(model))

    assert found.score == 0
