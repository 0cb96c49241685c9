"""Gold answers are read alike for every kind, in files, in rows handed over, and in grading."""

import json
from fractions import Fraction

import numpy as np
import pytest

from serl_trl.answers.equality import get_kind
from serl_trl.answers.golds import gold_text, read_gold
from serl_trl.common.completion import Completion
from serl_trl.data.seeds import SeedSetError, load_seed_set, make_seed_set, read_golds
from serl_trl.labels.ballots import count_ballots
from serl_trl.measure.figures import Attempts, grade, grade_attempts


@pytest.mark.parametrize(
    ("kind", "gold", "answer"),
    [
        ("math", "Add 7 and 8.\n#### 15", "15"),
        ("math", "7 + 8 = <<7+8=15>>15 #### 1,015", "1,015"),
        ("number", "Add.\n#### -3.5", "-3.5"),
        ("choice", "It must be b.\n#### B", "B"),
        ("label", "#### yes", "yes"),
        ("text", "#### the Nile", "the Nile"),
        ("set", "#### 1, 2", "1, 2"),
        ("json", "#### [1]", "[1]"),
        ("math", "So $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("number", "\\boxed{7}", "7"),
        ("choice", "\\boxed{C}", "C"),
        ("label", "\\boxed{no}", "no"),
        ("json", '```json\n{"a": 1}\n```', '{"a": 1}'),
        ("math", 15, "15"),
        ("number", 0.5, "0.5"),
        ("number", np.int64(3), "3"),
        ("math", Fraction(1, 3), "1/3"),
        ("label", True, "true"),
        ("set", ["a", "b"], '["a", "b"]'),
        ("json", {"a": [1]}, '{"a": [1]}'),
        ("list", np.array([1, 2]), "[1, 2]"),
        ("math", " 42 ", "42"),
        ("math", "Evelyn", "Evelyn"),
        # The last number of a plain gold answer is not all of it.
        ("math(lenient=True)", "x = 3 or x = 5", "x = 3 or x = 5"),
        ("math", "\\boxed{2", None),
        ("math", "We add three and four, and then " * 4 + "get 7.", None),
        ("number", "who knows", None),
        ("choice", "#### maybe", None),
        ("math", None, None),
        ("math", "", None),
        ("math", float("nan"), None),
        ("math", object(), None),
    ],
)
def test_the_final_answer_is_read_out_of_a_gold_answer(kind, gold, answer):
    assert read_gold(gold, kind) == answer
    assert answer is None or read_gold(answer, kind) == answer


def test_a_file_and_rows_handed_over_give_the_same_golds(tmp_path):
    golds = [15, "Add.\n#### 15", "\\boxed{15}", "15", 15.0]
    rows = [{"instruction": f"{n} + 1?", "answer": gold} for n, gold in enumerate(golds)]
    file = tmp_path / "seeds.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    from_file = read_golds(load_seed_set(file), get_kind("number"))
    from_rows = read_golds(make_seed_set(rows, source="rows"), get_kind("number"))

    assert from_file.answers == from_rows.answers == ("15", "15", "15", "15", "15.0")


def test_a_set_of_golds_of_another_kind_is_refused_with_its_rows():
    rows = [{"instruction": str(n), "answer": "maybe" if n < 2 else "3"} for n in range(21)]

    with pytest.raises(
        SeedSetError, match=r"2 gold answers of 21 cannot be read as answer_kind=nu"
    ):
        read_golds(make_seed_set(rows, source="rows"), get_kind("number"))
    one = read_golds(make_seed_set(rows[1:], source="rows"), get_kind("number"))
    assert one.answers == (None, *["3"] * 19)
    assert one.warnings == (
        "took no gold answer from rows row 1: the answer 'maybe' cannot be read as kind number.",
    )


def test_rows_without_a_gold_do_not_count():
    rows = [{"instruction": str(n)} for n in range(5)]

    assert read_golds(make_seed_set(rows, source="rows"), get_kind("number")).answers == (None,) * 5


def test_grading_and_voting_read_golds_as_they_are():
    completion = Completion("so \\boxed{15}", [1], False)

    for gold in (15, "Add.\n#### 15", "\\boxed{15}"):
        assert grade_attempts([Attempts("7 + 8?", gold, (completion,))])[0].num_right == 1
        assert grade("7 + 8?", gold, ["15"], truncated=[False], lengths=[1]).gold == "15"
        assert count_ballots([[completion]], [gold], kind="math")[0].right == [True]
    with pytest.raises(ValueError, match="is not an answer of kind number"):
        grade("7 + 8?", "many", ["15"], truncated=[False], lengths=[1], kind="number")


def test_what_is_no_gold_is_said():
    with pytest.raises(ValueError, match="object is not an answer"):
        gold_text(object())
