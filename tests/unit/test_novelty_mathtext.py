"""Mathematical tokens, normal forms, templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.common.mathtext import digest, math_tokens, normal_form, template


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Solve x + 3 = 7.", ["solve", "x", "+", "3", "=", "7"]),
        ("$\\Delta \\neq \\delta$", ["\\Delta", "\\ne", "\\delta"]),
        ("costs 1,234.50 dollars", ["costs", "1234.50", "dollars"]),
        ("f(1, 2)", ["f", "1", "2"]),
        ("the set {1,200,3}", ["the", "set", "1", "200", "3"]),
        ("x² − y³", ["x", "^", "2", "-", "y", "^", "3"]),
        (
            "3 × 4 · 5 * 6 \\cdot 7",
            ["3", "\\times", "4", "\\times", "5", "\\times", "6", "\\times", "7"],
        ),
        ("f'(x) of Ann's", ["f", "'", "x", "of", "ann", "s"]),
        ("\\left( \\dfrac{1}{2} \\right)", ["\\frac", "1", "2"]),
        ("5! and |−3| ≤ 4", ["5", "!", "and", "|", "-", "3", "|", "\\le", "4"]),
        ("α + β", ["α", "+", "β"]),
        ("", []),
    ],
)
def test_operators_and_commands_are_tokens(text, tokens):
    assert math_tokens(text) == tokens


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is  $x^{2}$?", "what is x^2"),
        ("Find $\\dfrac{1}{2}$ of 1,000.", "find \\frac{1}{2} of 1000"),
        ("Is 3 ≤ 4?", "Is $3 \\leq 4$?"),
        ("It costs 5 – 3.", "It costs 5 - 3."),
    ],
)
def test_spelling_does_not_make_a_new_text(left, right):
    assert normal_form(left) == normal_form(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x + 3 = 7", "x - 3 = 7"),
        ("(2 + 3) * 4", "2 + 3 * 4"),
        ("\\frac{a+b}{c}", "\\frac{a}{b+c}"),
        ("x^{2+y}", "x^2+y"),
        ("f'(x)", "f(x)"),
        ("5!", "5"),
        ("3.5", "35"),
        ("\\Delta", "\\delta"),
        ("x^2", "x 2"),
        ("1 < 2", "1 > 2"),
    ],
)
def test_other_mathematics_is_another_text(left, right):
    assert normal_form(left) != normal_form(right)


def test_texts_that_differ_in_numbers_share_a_template():
    assert (
        template("Tom has 3 pens.")
        == template("Tom has 1,250 pens.")
        == template("Tom has two pens.")
    )
    assert template("the mean of 3, 4, 5") == template("the mean of 3, 4, 5, 6")
    assert template("3 + 4") != template("3 - 4")
    assert template("Tom has 3 pens") != template("Ann has 3 pens")


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_has_tokens_a_normal_form_a_template_and_a_digest(text):
    assert all(math_tokens(text))
    wide = text.replace(" ", " \n ")
    assert normal_form(f" {wide} ") == normal_form(text)
    template(text)
    assert len(digest(text)) == 16


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=2))
def test_the_number_itself_never_changes_the_template(numbers):
    left, right = (template(f"What is {number} times $x^2$?") for number in numbers)
    assert left == right
