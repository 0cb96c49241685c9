"""Problems written backwards: how they are read, what they inherit, what the vote makes of it."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote
from serl_trl.common.completion import Completion
from serl_trl.labels.base import Rollouts, Tools
from serl_trl.labels.gold import Gold
from serl_trl.labels.inherited import Inherited
from serl_trl.labels.vote import MajorityVote
from serl_trl.loop.groups import task_from_state
from serl_trl.propose.parsing.answer_first import Solved, parse_answer_first
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.prompts import FOR_TEXTS, PromptStyle, answer_first_messages
from serl_trl.propose.sources.answer_first import AnswerFirst
from serl_trl.propose.sources.base import Task
from tests.unit.playing import SEEDS, Lines, make

PROBLEM = "Ann has 3 red pens and buys 5 more. How many pens does she have?"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"3 + 5 = 8. \\boxed{{8}}\n{PROBLEM}", "8"),
        (f"**Solution:** 3 + 5 = 8, so \\boxed{{8}}.\n\n**Problem:** {PROBLEM}", "8"),
        (f"\\[\n\\boxed{{8}}\n\\]\n\nProblem: {PROBLEM}", "8"),
        (f"<think>Let me see.</think>Lösung: \\boxed{{8}}\nAufgabe: {PROBLEM}", "8"),
        (f"Réponse : \\boxed{{8}}\nProblème : {PROBLEM}", "8"),
        (f"Respuesta: \\boxed{{8}}\nProblema: {PROBLEM}", "8"),
        (f"\\boxed{{8}}\n{PROBLEM}\n\n10. 2 + 2 = 4. \\boxed{{4}}\nBob has 2 and 2.", "8"),
    ],
)
def test_the_problem_behind_a_solution_is_read_with_its_answer(text, answer):
    assert parse_answer_first(text) == Solved(PROBLEM, answer)


def test_a_kind_finds_the_answer_by_its_own_marker_before_the_head_of_the_problem():
    found = parse_answer_first("Answer: yes\nProblem: Is 8 even?", kind="label")
    assert found == Solved("Is 8 even?", "yes")


@pytest.mark.parametrize(
    "text",
    [
        "",
        PROBLEM,
        "3 + 5 = 8. \\boxed{8}",
        "\\boxed{}\nProblem: How many?",
        f"Problem: {PROBLEM}\nSolution: 3 + 5 = 8",
        f"Problem: {PROBLEM}\nSolution: \\boxed{{8}}",
    ],
)
def test_without_answer_or_problem_nothing_is_read(text):
    assert parse_answer_first(text) is None


def test_a_problem_that_the_token_limit_cut_off_is_not_read():
    text = "\\boxed{8}\nAnn has 3 red pens and"
    assert parse_answer_first(text, truncated=True) is None
    assert parse_answer_first(text) is not None


@given(st.text(st.sampled_from("\\boxed{}8\n Problem:1.<think>/A?")), st.booleans())
def test_whatever_a_model_writes_is_read_or_passed_over(text, truncated):
    found = parse_answer_first(text, truncated=truncated)
    assert found is None or (found.problem.strip() and found.answer is not None)


def source_of(*texts: str, **options) -> tuple[AnswerFirst, list[Task], list]:
    """Return a source, what it proposed where a model wrote `texts`, and its requests."""
    asked, given = [], iter(texts)

    def complete(prompts, sampling=None):
        asked.extend(prompts)
        return [Completion(next(given), [1], False, None) for _ in prompts]

    source = AnswerFirst(num_requests=2, num_shots=3, num_pool_shots=0, **options)
    pool = InstructionPool(SEEDS)
    return source, source.propose(1, pool=pool, complete=complete, rng=random.Random(0)), asked


def test_a_task_inherits_the_answer_and_has_no_gold():
    source, (task,), asked = source_of(f"\\boxed{{8}}\n{PROBLEM}", "nothing of use")
    assert (task.instruction, task.inherited, task.gold) == (PROBLEM, "8", None)
    assert len(task.parents) == 3 and source.unread == ("nothing of use",)
    assert all("backwards" in request[0]["content"] for request in asked)


def test_a_round_makes_a_request_for_each_task_that_is_wanted():
    asked = []

    def complete(prompts, sampling=None):
        asked.extend(prompts)
        return [Completion("", [1], False, None) for _ in prompts]

    pool = InstructionPool(SEEDS)
    AnswerFirst(num_requests=2).propose(5, pool=pool, complete=complete, rng=random.Random(0))
    assert len(asked) == 5


def test_a_request_about_texts_holds_the_question_about_them():
    style = PromptStyle(
        answer_first_system=FOR_TEXTS.answer_first_system,
        task_template="{instruction} Is it praise?",
    )
    (system, user) = answer_first_messages(["Lovely."], style)
    assert "asked:\n... Is it praise?\nFirst" in system["content"]
    assert user["content"].endswith("\n2.")
    _, tasks, _ = source_of("\\boxed{yes}\nA fine film.", "", style=style, kind=get_kind("label"))
    assert [(task.instruction, task.inherited) for task in tasks] == [("A fine film.", "yes")]


def test_a_task_survives_a_checkpoint_with_its_label_and_an_older_one_without():
    task = Task("a", "proposal:1", parents=("seed:1",), inherited="8")
    saved = json.loads(json.dumps(vars(task)))
    assert task_from_state(saved) == task
    del saved["inherited"]
    assert task_from_state(saved).inherited is None


def group_of(answers: list[str], **task) -> Rollouts:
    completions = tuple(Completion(f"\\boxed{{{a}}}", [1], False, None) for a in answers)
    right = tuple(answer == task.get("gold") for answer in answers)
    return Rollouts(Task(PROBLEM, **task), [], completions, majority_vote(answers), right)


def judged(labeller, *groups):
    tools = Tools(
        get_kind("math"), Verifier(), lambda *_: [], lambda work: work(), random.Random(0), 0
    )
    return Inherited(labeller).label(groups, tools)


def test_a_group_is_kept_only_where_the_vote_reaches_the_inherited_label():
    reached, missed, split, own = judged(
        MajorityVote(),
        group_of(["8", "8.0", "8", "7"], inherited="8"),
        group_of(["7", "7", "7", "8"], inherited="8"),
        group_of(["7", "7", "8", "8"], inherited="8"),
        group_of(["7", "7", "7", "8"]),
    )
    assert reached.verdict.keep and reached.rewards == (1.0, 1.0, 1.0, 0.0)
    assert reached.metrics == {"inherited_reached": 1.0}
    assert (missed.verdict.keep, missed.verdict.reason) == (False, "inherited")
    # What refused it first is named.
    assert split.verdict.reason == "tie" and split.metrics == {"inherited_reached": 0.0}
    assert own.verdict.keep and own.metrics == {}


def test_a_labeller_that_goes_by_gold_does_not_read_an_inherited_label():
    (found,) = judged(Gold(), group_of(["7", "7", "8", "8"], gold="7", inherited="8"))
    assert found.verdict.keep and found.rewards == (1.0, 1.0, 0.0, 0.0) and found.label == "7"


class Backwards:
    """Writes problems backwards, with a wrong answer for every second; always answers 8."""

    def __init__(self) -> None:
        self.num = 0

    def propose(self, requests, sampling=None):
        found = []
        for _ in requests:
            self.num += 1
            # Words of its own for each: nothing is refused as a copy.
            words = " ".join(f"{word}{'x' * self.num}" for word in ("red", "lot", "fen", "map"))
            label = 8 if self.num % 2 else 9
            text = f"\\boxed{{{label}}}\nHow many {words} are {self.num} and 4?"
            found.append(Completion(text, [1], False, None))
        return found

    def roll_out(self, prompts):
        texts = ["\\boxed{8}", "\\boxed{8}", "\\boxed{8}", "\\boxed{3}"]
        return [[Completion(text, [1], False, None) for text in texts] for _ in prompts]

    def decide(self, work):
        return work()


def test_an_inherited_label_is_written_down_and_counts_in_no_label_accuracy():
    ledger = Lines()
    labeller = Inherited(MajorityVote())
    play = make(Backwards(), ledger, sources=["answer_first"], labeller=labeller)
    refill = play.refill(0)
    groups = ledger.of("group")
    assert {(group["inherited"], group["keep"]) for group in groups} == {("8", True), ("9", False)}
    assert {(group["gold"], group["label_right"]) for group in groups} == {(None, None)}
    assert "serl/label_accuracy" not in refill.metrics
    assert 0 < refill.metrics["serl/label/inherited_reached"] < 1
    assert refill.metrics["serl/refused/inherited"] > 0


def test_gold_decides_label_accuracy_whatever_was_inherited():
    ledger = Lines()
    labeller = Inherited(MajorityVote())
    play = make(
        Backwards(), ledger, sources=["answer_first"], labeller=labeller, oracle=lambda _: "3"
    )
    play.refill(0)
    assert {group["label_right"] for group in ledger.of("group")} == {False}
