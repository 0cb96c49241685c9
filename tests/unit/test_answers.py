"""Extraction, the kinds of answers, and grouping, by cases."""

import subprocess
import sys
import time

import pytest

from serl_trl.answers import OwnKind
from serl_trl.answers.equality import (
    extract_answer,
    get_kind,
    group_answers,
    group_many,
    same_answer,
    same_answers,
)
from serl_trl.answers.kinds.mathematics import read
from serl_trl.answers.verifier import Verifier

# Extraction


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("so the answer is \\boxed{42}.", "42"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{1} then \\fbox{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\text{if } x = {1, {2}}}", "\\text{if } x = {1, {2}}"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\left\\{ 1 \\right.}", "\\left\\{ 1 \\right."),
        ("\\boxed {42}", "42"),
        ("\\boxed\n{ 42 }", "42"),
        ("\\boxed{x = \\boxed{5}}", "5"),
        ("\\boxed{\\fbox{5}}", "5"),
        ("**\\boxed{42}**", "42"),
        ("$$\\boxed{42}$$", "42"),
        ('{"answer": "\\\\boxed{42}"}', "42"),
        ("\\boxed{5\\ }", "5\\ "),
        ("\\boxed{12} and then \\boxed{34", "12"),
        ("\\boxed{12} I put it into \\boxed{}.", "12"),
        ("\\boxed{12} or \\boxed{ }", "12"),
        ("} } \\boxed{12} } {", "12"),
        ("{ \\boxed{12}", "12"),
        ("\\boxed{a \\\\ b}", "a \\\\ b"),
        ("\\boxed{}", None),
        ("\\boxed{12", None),
        ("\\boxed 12", None),
        ("boxed{12}", None),
        ("\\boxedanswer{12}", None),
        ("The answer is 42.", None),
        ("The answer is $42$.", None),
        ("", None),
    ],
)
def test_the_last_balanced_marker_holds_the_answer(completion, answer):
    assert extract_answer(completion) == answer


@pytest.mark.parametrize(
    "text", ["\\boxed{" * 20_000, "{" * 100_000, "\\" * 100_000, "}" * 100_000]
)
def test_extraction_takes_time_in_proportion_to_the_text(text):
    begin = time.process_time()
    assert extract_answer(text) is None
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("kind", "completion", "answer"),
    [
        ("number", "so 17.\n#### 18", "18"),
        ("number", "\\boxed{17}\n#### 18", "18"),
        ("number", "#### 18\n\\boxed{17}", "17"),
        ("number", "It is 18.", None),
        ("choice", "It must be B.\nAnswer: (B)", "(B)"),
        ("choice", "**Answer:** B", "B"),
        ("choice", "**Final answer: B**", "B"),
        ("choice", "It must be B.", None),
        ("choice", "The answer is B", None),
        ("label", "Answer: yes\nso \\boxed{no}", "no"),
        ("label", "I say yes", None),
        ("text", "Answer: the Nile", "the Nile"),
        ("json", 'Here:\n```json\n{"a": 1}\n```\n', '{"a": 1}'),
        ("json", '{"a": 1}', None),
        ("list", "Answer: 1, 2", "1, 2"),
        ("math", "Answer: 42", None),
    ],
)
def test_kinds_have_markers_of_their_own(kind, completion, answer):
    assert extract_answer(completion, kind=kind) == answer


@pytest.mark.parametrize(
    ("kind", "completion", "answer"),
    [
        ("math", "So the answer is 42.", "42"),
        ("math", "We get $x = 3$ and $y = 4$ as wanted.", "y = 4"),
        ("math", "3 apples and 4 pears make 7", "7"),
        ("math", "\\boxed{1}, so the answer is 2", "1"),
        ("math", "nothing here", None),
        ("number", "that makes $1,200 for 3", "3"),
        ("choice", "It must be (C), not B", "C"),
        ("choice", "So option B", "B"),
        ("label", "Yes or no? I say yes!", "yes"),
        ("text", "Let me see.\nThe Nile", "The Nile"),
        ("json", 'as {"a": [1, 2]} shows', '{"a": [1, 2]}'),
        ("list", "as [1, 2] and [3] show", "[3]"),
    ],
)
def test_lenient_kinds_accept_their_natural_form(kind, completion, answer):
    assert extract_answer(completion, kind=f"{kind}(lenient=True)") == answer


# Canonical forms


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("1,234.50", "\\frac{2469}{2}"),
        ("50\\%", "\\frac{1}{2}"),
        ("\\frac{1}{1+\\sqrt{2}}", "\\sqrt{2} - 1"),
        ("\\sqrt{12}", "2 \\cdot \\sqrt{3}"),
        ("3, 1, 2", "\\{1, 2, 3\\}"),
        ("y = 3 - 2x", "-2 \\cdot x + 3"),
        ("x \\ge 3", "[3, \\infty)"),
        ("-2x < 6", "(-3, \\infty)"),
        ("1 < 3 - x \\le 5", "[-2, 2)"),
        ("\\text{Evelyn}", "\\text{evelyn}"),
        ("3:30 p.m.", "\\text{3:30 pm}"),
        ("\\sum_{k=1}^n k", "\\sum _ { k = 1 } ^ n k"),
    ],
)
def test_math_has_one_spelling_for_a_value(answer, form):
    assert get_kind("math").canonical(answer) == form


def test_a_long_answer_is_kept_as_it_is():
    long = "x + " * 400 + "1"
    assert same_answer(long, long.replace(" ", "  "))
    assert not same_answer(long, long + "1")


@pytest.mark.parametrize(
    ("kind", "answer", "form"),
    [
        ("number", "$1,200", "1200"),
        ("number", "x = 5 cm", "5"),
        ("number", "two", None),
        ("number", "x + 1", None),
        ("number", "2i", None),
        ("number", "1, 2", None),
        ("choice", "(b)", "B"),
        ("choice", "Z. 26 options", "Z"),
        ("choice", "A, C and E", "A, C, E"),
        ("choice", "ECA", "A, C, E"),
        ("choice", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", ", ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
        ("choice", "A car", None),
        ("choice", "AA", None),
        ("choice", "None of them", None),
        ("choice", "42", None),
        ("label", "Correct!", "yes"),
        ("label", "No, it is not", "no"),
        ("label", "not yes", None),
        ("label(labels='true_false')", "YES", "true"),
        ("label(labels={'up': ('rise', 'rises'), 'down': ('fall',)})", "Rises.", "up"),
        ("text", "  The  Nile. ", "nile"),
        ("json", '{"b": 1.50, "a": null}', '{".a":null,".b":{"":"1.5"}}'),
        ("json", "[1, 2", None),
        ("json", "NaN", None),
        ("json", "[" * 100_000, None),
        ("json", "1" * 10_000, '{"":"' + "1" * 10_000 + '"}'),
        ("json", "1e99999999999999999999", None),
        ("list", "[1/2, Red]", '["\\\\frac{1}{2}", "\\\\text{red}"]'),
        ("list", "- red\n- green", '["\\\\text{red}", "\\\\text{green}"]'),
        ("set", "{b, a, b}", '["a", "b"]'),
    ],
)
def test_other_kinds_have_one_spelling_too(kind, answer, form):
    assert get_kind(kind).canonical(answer) == form


def test_numbers_are_equal_within_their_tolerance():
    assert same_answer("3.33", "10/3", kind="number(rel_tol=0.01)")
    assert not same_answer("3.33", "10/3", kind="number")
    assert same_answer("0.001", "0.0011", kind="number(abs_tol=0.001)")
    assert not same_answer("1000000", "1000001", kind="number(rel_tol=0.1)"), "integers are exact"


def test_words_are_equal_from_an_f1_on():
    left, right = "the longest river is the Nile", "the Nile is the longest river in Africa"
    assert same_answer(left, right, kind="text(min_f1=0.8)")
    assert not same_answer(left, right, kind="text(min_f1=0.9)")
    assert not same_answer(left, right, kind="text")


def test_forms_with_different_symbols_need_no_worker():
    with Verifier(batch_s=600) as verifier:
        pairs = [
            ("\\sin x", "\\sin y"),
            ("\\sin^2 x + \\cos^2 x", "1"),
            ("\\sin x", "\\cos x"),
            ("(\\sin x, 1)", "(\\sin x, 2)"),
            ("\\{1, \\sin x\\}", "\\{2, \\sin x\\}"),
            ("2^{100}", "2^{100}+1"),
            ("\\sin 1", "0.8415"),
        ]
        assert not any(same_answers(pairs, verifier=verifier))
        assert verifier.stats()["worker_starts"] == 0


@pytest.mark.parametrize("answer", ["x:30", ".5:30", "(1):30", "2x:15:30", "(7-3):10=20:50"])
def test_what_is_no_time_of_day_is_read_all_the_same(answer):
    assert group_answers([answer, answer, "12:30"]) == [0, 0, 1]


def test_repeated_answers_are_parsed_once():
    read.cache_clear()
    group_many([["\\frac{1}{2}", "0.5"]] * 50)
    assert read.cache_info().misses == 2


# Grouping


def test_classes_are_numbered_by_size_then_form():
    answers = ["7", None, "1/2", "0.5", "3", "50\\%", "3.0"]
    assert group_answers(answers) == [2, None, 0, 0, 1, 0, 1]


def test_what_is_no_answer_of_the_kind_has_no_class():
    assert group_answers(["5", "five", None, "5.0"], kind="number") == [0, None, None, 0]
    assert not same_answer("five", "five", kind="number")


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        # What leaves a unit or a name out joins the largest class that says one.
        (["5", "5 minutes", "5 minutes", "5 hours"], [0, 0, 0, 1]),
        (["5", "5", "5 minutes", "5 hours"], [0, 0, 2, 1]),
        (["5", "5 minutes", "\\$5", "5 minutes"], [0, 0, 1, 0]),
        (["20", "20^\\circ", "20^\\circ\\text{C}"], [0, 0, 0]),
        (["45, 2", "k=45, n=2", "k=2, n=45", "k=45, n=2"], [0, 0, 1, 0]),
        (["(1,2)", "x=1, y=2", "a=1, b=2", "a=1, b=2"], [0, 1, 0, 0]),
        # What changes the meaning is never left out.
        (["5", "5 below zero", "5 above zero"], [0, 2, 1]),
    ],
)
def test_an_answer_without_a_unit_stands_for_one_unit_only(answers, classes):
    assert group_answers(answers) == classes
    backwards = group_answers(answers[::-1])
    assert backwards == classes[::-1]


def test_math_verify_is_asked_about_whole_expressions_only():
    with Verifier(batch_s=600) as verifier:
        pairs = [
            ("\\forall n, a_n = 5", "5"),
            ("p \\to q", "q"),
            ("1, 3, 5, \\dots", "5"),
            ("x = 2 \\text{ for } n = 3", "3"),
            ("A \\cup B", "B"),
        ]
        assert not any(same_answers(pairs, verifier=verifier))
        assert verifier.stats()["worker_starts"] == 0
        # Its own reader stops where it no longer understands; that counts as not read.
        assert verifier.same([("5 \\to 6", "5"), ("\\frac{1}{2}", "0.5")]) == [False, True]


def test_many_groups_are_one_batch_for_the_worker():
    with Verifier(batch_s=600) as verifier:
        groups = [["\\sin 2x", "2\\sin x\\cos x", "5"], ["2^{n+1}", "2\\cdot 2^n"], [], [None]]
        assert group_many(groups, verifier=verifier) == [[0, 0, 1], [0, 0], [], [None]]
        stats = verifier.stats()
        assert (stats["equal"], stats["worker_starts"]) == (2, 1)


def test_pairs_are_graded_in_one_batch():
    pairs = [("1/2", "0.5"), (None, "1"), ("1", None), (None, None), ("2", "3")]
    assert same_answers(pairs) == [True, False, False, False, False]
    assert same_answers([]) == []


class Stub:
    """A kind whose verdicts come from a table; what is not in it is left to the verifier."""

    name = "stub"

    def __init__(self, **verdicts):
        self.verdicts = verdicts

    def extract(self, completion):
        return completion

    def canonical(self, answer):
        return answer

    def equal(self, left, right):
        return self.verdicts.get(left + right, self.verdicts.get(right + left))


class Says(Verifier):
    """A verifier that holds the given pairs equal."""

    def __init__(self, *pairs):
        super().__init__()
        self.pairs = pairs

    def same(self, pairs):
        return ["".join(pair) in self.pairs for pair in pairs]


def test_equality_is_closed_over_chains():
    kind = Stub(ab=True, bc=True, ac=False)
    assert group_answers(["a", "b", "c"], kind=kind) == [0, 0, 0]
    assert group_answers(["c", "a"], kind=kind) == [1, 0]


def test_math_verify_cannot_join_what_is_known_to_differ():
    kind = Stub(ab=False)
    # It holds c equal to both: its word does not count for c, and still counts for d.
    verifier = Says("ac", "bc", "de")
    assert group_answers(["a", "b", "c", "d", "e"], kind=kind, verifier=verifier) == [1, 2, 3, 0, 0]
    assert group_answers(["a", "c"], kind=kind, verifier=verifier) == [0, 0]


# Kinds of one's own

OWN = Stub(ab=True)


class WithOptions(Stub):
    def __init__(self, *, size=1):
        super().__init__(ab=size > 1)
        self.size = size


def test_a_kind_may_be_an_object_or_a_dotted_path():
    def kind(name):
        return get_kind(f"{__name__}.{name}", plugins=[__name__])

    assert get_kind(OWN) is OWN
    assert kind("OWN") is OWN
    assert kind("WithOptions").size == 1
    assert kind("WithOptions(size=3)").size == 3
    assert group_answers(["a", "b"], kind=kind("OWN")) == [0, 0]


def test_a_kind_may_be_made_of_functions():
    kind = OwnKind("parity", normalise=lambda answer: str(int(answer) % 2))
    assert extract_answer("\\boxed{7}", kind=kind) == "7"
    assert group_answers(["1", "2", "3"], kind=kind) == [0, 1, 0]
    # One direction is enough: the relation is made symmetric.
    prefix = OwnKind("prefix", same=lambda left, right: left.startswith(right))
    assert same_answer("a", "ab", kind=prefix)
    assert same_answer("ab", "a", kind=prefix)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("maths", "maths is unknown; choose one of"),
        ("math(unknown=1)", "cannot be made"),
        ("math(lenient=name)", "literal values"),
        ("math(True)", "option=value"),
        ("math(", "literal values"),
        ("number(rel_tol=-1)", "must not be negative"),
        ("text(min_f1=2)", "must lie in"),
        ("label(labels='colours')", "is not a known set"),
        ("label(labels={'a': ('x',), 'b': ('x',)})", "would name two labels"),
        ("no_such_package.kind", "no_such_package, which is not a plug-in"),
        ("serl_trl.answers.nothing", "cannot be imported"),
        ("serl_trl.labels.band.in_band", "is not annotated to return such an object"),
        ("serl_trl.answers.voting.Vote", "lacks extract, canonical, equal"),
        ("builtins.dict", "of Python's standard library"),
    ],
)
def test_a_wrong_kind_is_refused_with_a_reason(kind, message):
    with pytest.raises(ValueError, match=message):
        get_kind(kind)


def test_three_lines_are_enough_for_a_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from serl_trl.answers.voting import majority_vote\n"
        "vote = majority_vote([r'\\sin 2x', r'2\\sin x\\cos x', '1', None])\n"
        "print(vote.answer, vote.majority_ratio)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "\\sin 2x 0.5\n"
    assert done.stderr == ""
