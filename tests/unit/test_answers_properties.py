"""Laws of answers that hold for every text, not only for those somebody thought of."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serl_trl.answers.equality import extract_answer, get_kind, group_answers, same_answer
from serl_trl.answers.kinds.mathematics import read
from serl_trl.answers.math.algebra import UNIT_I, Value, number, same_value, symbol
from serl_trl.answers.math.forms import compare
from serl_trl.answers.math.functions import power, root
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote

ALL_KINDS = [
    *("math", "number", "choice", "label", "text", "json", "list", "set"),
    *(f"{kind}(lenient=True)" for kind in ("math", "number", "choice", "label", "text", "json")),
    *("list(lenient=True)", "text(min_f1=0.5)", "number(rel_tol=0.1)"),
]
PIECES = st.sampled_from(
    [
        *("\\boxed{", "\\fbox{", "{", "}", "\\{", "\\}", "\\", "\\\\", " ", "\n", "$", "%", "\\%"),
        *("\\frac", "\\sqrt", "\\text{", "\\left(", "\\right)", "(", ")", "[", "]", ",", ";", "."),
        *("1", "2", "12", "0.5", "1,000", "x", "y", "xyz", "e", "i", "\\pi", "\\pm", "+", "-", "/"),
        *("*", "^", "_", "=", "<", "\\le", "\\cup", "\\infty", "^\\circ", "cm", "apples", "or"),
        *("and", "Answer: ", "The answer is ", "#### ", "```json\n", "\n```", '"', ":", "!", "|"),
        *("\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\sin", "\\log_", "yes", "(B)", "\u00bd"),
        *("\u221a", "\u2212", "\u00b2", "\ud800", "\x00", "\u202e", "\U0001f600"),
    ]
)
TEXTS = st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60)
# Small answers, among them many that are equal, and some that only math-verify can compare.
ANSWERS = st.sampled_from(
    [
        *("1/2", "0.5", "50\\%", "\\frac12", "\\frac{2}{4}", "2", "x=2", "2.0", "\\sqrt{4}", "-2"),
        *("(1,2)", "1,2", "2,1", "[1,2]", "\\{1,2\\}", "x+1", "1+x", "\\frac{x^2-1}{x-1}", "yes"),
        *("2^{n+1}", "2\\cdot2^n", "\\sin 2x", "2\\sin x\\cos x", "\\sum_{k=1}^n k", "Yes", "3:2"),
        *("\\frac{n(n+1)}{2}", "\\binom{n+1}{2}", "nonsense {", "9^{9^{9^9}}", "\\pm 2", "2, -2"),
    ]
)


@pytest.fixture(scope="module")
def verifier():
    with Verifier(batch_s=600) as shared:
        yield shared


# Extraction


@pytest.mark.parametrize("kind", ALL_KINDS)
@given(TEXTS)
def test_extraction_never_raises(kind, text):
    answer = extract_answer(text, kind=kind)
    assert answer is None or (isinstance(answer, str) and answer)


@settings(max_examples=500)
@given(TEXTS)
def test_extraction_survives_boxing_again(text):
    answer = extract_answer(text)
    if answer is not None:
        assert extract_answer(f"\\boxed{{{answer}}}") == answer
        assert extract_answer(f"Earlier \\boxed{{0}}, now \\fbox{{ {answer} }}.") == answer


@given(TEXTS)
def test_what_stands_before_the_last_marker_does_not_matter(text):
    assert extract_answer(text + "\n\n\\boxed{42}") == "42"


# Equality


@pytest.mark.parametrize("kind", ALL_KINDS)
@given(left=TEXTS, right=TEXTS)
def test_canonical_forms_are_a_function_and_compare_symmetrically(kind, left, right):
    kind = get_kind(kind)
    forms = kind.canonical(left), kind.canonical(right)
    for text, form in zip((left, right), forms, strict=True):
        assert kind.canonical(text) == form
    if None not in forms:
        assert kind.equal(left, right) == kind.equal(right, left)


@settings(max_examples=150)
@given(left=ANSWERS, right=ANSWERS)
def test_equality_is_symmetric_and_reflexive(verifier, left, right):
    assert same_answer(left, right, verifier=verifier) == same_answer(
        right, left, verifier=verifier
    )
    assert same_answer(left, left, verifier=verifier)


@settings(max_examples=60)
@given(left=TEXTS, right=TEXTS)
def test_equality_of_any_text_is_symmetric(verifier, left, right):
    assert same_answer(left, right, verifier=verifier) == same_answer(
        right, left, verifier=verifier
    )


@settings(max_examples=150)
@given(st.lists(st.none() | ANSWERS, max_size=12), st.randoms(use_true_random=False))
def test_grouping_is_a_function_of_the_multiset(verifier, answers, rnd):
    order = list(range(len(answers)))
    rnd.shuffle(order)
    classes = group_answers(answers, verifier=verifier)
    shuffled = group_answers([answers[i] for i in order], verifier=verifier)
    assert shuffled == [classes[i] for i in order]
    assert sorted({index for index in classes if index is not None}) == list(
        range(len(set(classes) - {None}))
    )


@settings(max_examples=100)
@given(st.lists(st.none() | ANSWERS, min_size=1, max_size=16), st.randoms(use_true_random=False))
def test_rewards_do_not_depend_on_the_order_of_completions(verifier, answers, rnd):
    order = list(range(len(answers)))
    rnd.shuffle(order)
    vote = majority_vote(answers, verifier=verifier)
    shuffled = majority_vote([answers[i] for i in order], verifier=verifier)
    assert shuffled.rewards == [vote.rewards[i] for i in order]
    assert (shuffled.answer, shuffled.counts) == (vote.answer, vote.counts)


# Exact values


def rendered(rnd, value):
    """One of many spellings of a fraction."""
    above, below = abs(value.numerator), value.denominator
    sign = "-" if value < 0 else ""
    spellings = [
        f"{sign}\\frac{{{above}}}{{{below}}}",
        f"\\dfrac{{{sign}{above * 3}}}{{{below * 3}}}",
        f"{sign}{above}/{below}",
        f"$ {sign}{above} \\div {below} $",
        f"\\text{{{sign}{above}}}/{below} \\text{{ cm}}",
    ]
    if below == 1:
        spellings += [f"{sign}{above:,}", f"{sign}{above}.0", f"{sign}{above}^{{\\circ}}"]
    elif above > below:
        spellings.append(f"{sign}{above // below}\\frac{{{above % below}}}{{{below}}}")
    return rnd.choice(spellings)


FRACTIONS = st.fractions(min_value=-5000, max_value=5000, max_denominator=60)


@given(FRACTIONS, FRACTIONS, st.randoms(use_true_random=False))
def test_spellings_of_a_fraction_are_equal_and_those_of_others_are_not(left, right, rnd):
    a, b, c = rendered(rnd, left), rendered(rnd, left), rendered(rnd, right)
    # Not their texts: one of them may say a unit.
    assert compare(read(a), read(b))
    assert compare(read(a), read(c)) == (left == right)


VALUES = st.recursive(
    st.integers(-4, 4).map(number)
    | st.fractions(-3, 3, max_denominator=4).map(number)
    | st.sampled_from("xyn").map(symbol)
    | st.sampled_from([2, 3, 8, 12]).map(lambda n: root(number(n), 2))
    | st.just(UNIT_I),
    lambda inner: st.tuples(st.sampled_from("+-*/^"), inner, inner).map(lambda t: combined(*t)),
    max_leaves=8,
)


def combined(operator, left, right):
    try:
        match operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
        return power(left, number(abs(int(right.rational or 2)) % 4))
    except Unsettled:
        return left


@settings(max_examples=300)
@given(VALUES)
def test_the_canonical_form_of_a_canonical_form_is_itself(value):
    assert read(value.text).text == value.text


@given(VALUES, VALUES, VALUES)
def test_exact_values_obey_the_laws_of_arithmetic(a, b, c):
    try:
        assert same_value((a + b) * c, a * c + b * c)
        assert same_value(a * b, b * a)
        assert same_value(a - b, -(b - a))
        if b.num:
            assert same_value(a / b * b, a)
    except Unsettled:
        assume(False)


@given(VALUES, VALUES)
def test_equal_exactly_means_equal_nearly(a, b):
    near = [close(a.evaluate(point), b.evaluate(point)) for point in (1, 2)]
    if same_value(a, b):
        assert all(result is not False for result in near)
    elif a.exact and b.exact and None not in near:
        assert not all(near)


def close(a, b):
    if a is None or b is None:
        return None
    return abs(a - b) <= 1e-9 * max(1, abs(a), abs(b))


def test_values_compare_by_identity_only_through_same_value():
    assert isinstance(number(2), Value)
    assert same_value(number(2), number(Fraction(4, 2)))
    assert math.isclose(abs(root(number(2), 2).evaluate(1) or 0), math.sqrt(2))
