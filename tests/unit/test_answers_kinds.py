"""Choices, labels, text, lists, sets, fenced JSON, and several boxes in one completion."""

from pathlib import Path

import pytest

from serl_trl.answers.equality import extract_answer, get_kind, same_answer
from serl_trl.answers.kinds.label import LABEL_SETS


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        ("Ｃ", "C"),
        ("（d）", "D"),
        ("【B】", "B"),
        ("7 (D)", "D"),
        ("C – 3 apples", "C"),
        ("A C E", "A, C, E"),
        ("both (A) and (D)", "A, D"),
        ("option B and option E", "B, E"),
        ("A and C only", "A, C"),
        ("(A) 3 and (E) 4", "A, E"),
        ("\\text{(B) } 12 \\text{ and (C) } 13", "B, C"),
        ("A) 3, B) 4", "A, B"),
        ("B. 12 and C. 13", "B, C"),
        ("3 (A), 4 (B)", "A, B"),
        ("(B), not (A)", "B"),
        ("B, not A", "B"),
        ("(D) rather than (A)", "D"),
        ("(B) It is not prime", "B"),
        ("(B) because (A) is wrong", "B"),
        ("(B), since (A) and (C) are wrong", "B"),
        ("(D) 5, where (x) 3", "D"),
        ("(A) is not right, (B) is", None),
        ("neither (A) nor (B)", None),
        ("f (x) = 2", None),
        ("A" + " or" * 5_000 + " 1", None),
        ("A" + " , " * 5_000 + "é", None),
    ],
)
def test_letters_are_found_wherever_they_stand(answer, letters):
    assert get_kind("choice").canonical(answer) == letters


def test_a_choice_of_one_letter_is_none_when_several_are_named():
    kind = get_kind("choice(several=False)")

    assert kind.canonical("(B) 12") == "B"
    assert kind.canonical("(B) 12 and (C) 13") is None


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("No. It is odd", "no"),
        ("No, 3 is odd", "no"),
        ("Ｙｅｓ", "yes"),
        ("No.7", None),
        ("No. 7", None),
        ("no-one", None),
    ],
)
def test_a_label_may_be_explained_but_not_continued(answer, label):
    assert get_kind("label").canonical(answer) == label


def test_a_label_may_be_one_of_its_own_aliases():
    kind = get_kind("label(labels={'Good': ['good', 'fine'], 'bad': ['bad']})")

    assert kind.canonical("GOOD") == "good"
    with pytest.raises(ValueError, match="would name two labels"):
        get_kind("label(labels={'good': ['ok'], 'bad': ['ok']})")


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("CO₂", "CO_2", True),
        ("\\mathrm{C_6H_{12}O_6}", "C₆H₁₂O₆", True),
        ("\\text{Na}_2\\text{S}", "Na2S", True),
        ("\\ce{H2SO4}", "H_2SO_4", True),
        ("Ca(OH)_2", "Ca(OH)₂", True),
        ("SO_4^{2-}", "SO₄²⁻", True),
        ("CuSO_4 \\cdot 5H_2O", "CuSO4·5H2O", True),
        ("\\text{sp}^2", "sp2", True),
        ("１２３", "123", True),
        ("well-known", "well known", True),
        ("5\\text{kg}", "5 kg", True),
        ("H_2O", "H_2O_2", False),
        ("2^3", "23", False),
        ("101_2", "1012", False),
        ("-5", "5", False),
    ],
)
def test_texts_are_equal_however_their_scripts_are_written(left, right, same):
    assert same_answer(left, right, kind="text") is same


@pytest.mark.parametrize(
    ("kind", "left", "right", "same"),
    [
        ("set", "(1,2),(3,4)", "(3,4), (1,2)", True),
        ("set", "{[a],[b]}", "[b],[a]", True),
        ("set", "\\{(1,2)\\}", "(1,2)", False),
        ("list", "[1,2],[3,4]", "[3,4],[1,2]", False),
        ("list", "a, b and c", "a, b, c", True),
        ("list", "2 \\text{ and } 3", "2, 3", True),
        ("list", "(1) a\n(2) b", "a; b", True),
        ("list", "2) a\n3) b", "a, b", False),
        ("list", "12,000; 3,500", "12000, 3500", True),
        ("list", "1,200", "1, 200", True),
        ("list", "１，２", "1, 2", True),
        ("list", "1.5, 2.5", "3/2, 5/2", True),
    ],
)
def test_items_are_told_from_what_surrounds_them(kind, left, right, same):
    assert same_answer(left, right, kind=kind) is same


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("```json\n[1]\n```\n```json\n[2]\n```", "[2]"),
        ("So: ```JSON\n[1]\n  ``` ok", None),
        ("So: ```JSON\n[1]\n  ```", "[1]"),
        ("```python\nx\n```\ntext\n```\n[1]\n```", "[1]"),
        ("```json\n[1]\n```\n```json\n[2]", "[1]"),
        ("```json\n```json\n[3]\n```", "[3]"),
    ],
)
def test_the_last_closed_block_of_json_counts(completion, answer):
    assert extract_answer(completion, kind="json") == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("\\boxed{2}, \\boxed{3} \\text{ and } \\boxed{5}", "2, 3, 5"),
        ("$\\boxed{2}$ or $\\boxed{3}$", "2, 3"),
        ("\\(\\boxed{2}\\), \\(\\boxed{3}\\)", "2, 3"),
        ("**\\boxed{2}**; **\\boxed{3}**", "2, 3"),
        ("\\boxed{2} \\quad \\boxed{3}", "2, 3"),
        ("The roots are \\boxed{2} and the other one is \\boxed{3}.", "2, 3"),
        ("\\boxed{(1,2)} and \\boxed{(3,4)}", "(1,2), (3,4)"),
        ("\\boxed{x=2}, \\boxed{y=3}", "x=2, y=3"),
        ("$x = \\boxed{2}$ and $y = \\boxed{3}$", "x=2, y=3"),
        ("x is \\boxed{2} and y is \\boxed{3}", "x=2, y=3"),
        ("x &= \\boxed{2} \\\\ y &= \\boxed{3}", "x=2, y=3"),
        ("AB=\\boxed{4}, CD=\\boxed{5}", "AB=4, CD=5"),
        ("\\alpha = \\boxed{2}, \\beta = \\boxed{3}", "\\alpha=2, \\beta=3"),
        ("There are \\boxed{3} boys and \\boxed{4} girls.", "(3, 4)"),
        ("\\boxed{5}, \\boxed{5}", "5"),
        ("\\boxed{\\boxed{1}, \\boxed{2}}", "1, 2"),
        ("First \\boxed{1}. Then \\boxed{2} and \\boxed{3}", "2, 3"),
        ("\\boxed{3}. So it is \\boxed{4}", "4"),
        ("\\boxed{3}\n\n\\boxed{4}", "4"),
        ("\\boxed{3}, so the final answer is \\boxed{4}", "4"),
        ("\\boxed{3}, which gives \\boxed{4}", "4"),
        ("\\boxed{3}, wait, \\boxed{4}", "4"),
        ("\\boxed{2} + 3 = \\boxed{5}", "5"),
        ("\\boxed{3}, " + "really " * 20 + "\\boxed{4}", "4"),
    ],
)
def test_boxes_that_belong_together_are_one_answer(completion, answer):
    assert extract_answer(completion) == answer


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("choice", "A, C"), ("set", "A, C"), ("text", "A, C"), ("label", "C"), ("json", "C")],
)
def test_kinds_of_one_value_take_the_last_box(kind, answer):
    assert extract_answer("\\boxed{A} and \\boxed{C}", kind=kind) == answer


def test_boxes_in_order_differ_from_boxes_in_another_order():
    left, right, mirrored = (
        extract_answer(f"\\boxed{{{a}}} boys and \\boxed{{{b}}} girls")
        for a, b in ("34", "34", "43")
    )
    assert same_answer(left, right)
    assert not same_answer(left, mirrored)


def test_the_page_lists_every_set_of_labels():
    page = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")

    for name, labels in LABEL_SETS.items():
        told = "; ".join(f"{label}: {', '.join(aliases)}" for label, aliases in labels.items())
        assert f'| "{name}" | {told} |' in page
