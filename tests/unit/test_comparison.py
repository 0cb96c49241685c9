"""Two evaluations side by side: paired figures, exact tests, what is written."""

import json
from math import comb

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.measure.comparison import as_record, compare, mcnemar, write_hub_results
from serl_trl.measure.figures import Measurement, grade
from serl_trl.measure.session import Evaluated
from serl_trl.measure.sheets import as_markdown, sheet_of

SETTINGS = {"problems": "abc", "num_samples": 3, "temperature": 1.0, "model": {"name": "base"}}


def evaluated(rights, *, complete=True, wrong=("8", "8", "8"), **settings):
    """One problem per entry: how many of its three samples are right; greedy if all are."""
    problems = [
        grade(
            "x?",
            "7",
            ["7"] * right + list(wrong[right:]),
            truncated=[False] * 3,
            lengths=[4] * 3,
            greedy=["7" if right == 3 else "8"],
        )
        for right in rights
    ]
    measurement = Measurement(tuple(problems), 3)
    return {"gsm8k": Evaluated("gsm8k", {**SETTINGS, **settings}, complete, measurement)}


def test_differences_are_paired_over_problems():
    (found,) = compare(evaluated([0, 1, 3, 3]), evaluated([3, 1, 3, 2]))
    figures = {each.figure: each for each in found.differences}
    gain = figures["pass@1"]
    assert gain.difference.mean == pytest.approx((3 - 1) / 3 / 4)
    assert (gain.wins, gain.losses, gain.ties) == (1, 1, 2)
    assert gain.difference.low <= gain.difference.mean <= gain.difference.high
    assert (found.greedy.only_base, found.greedy.only_trained) == (1, 1)
    assert (found.majority.only_base, found.majority.only_trained) == (0, 1)
    assert found.other_settings == ()


def test_the_same_model_differs_by_nothing():
    (found,) = compare(evaluated([0, 2, 3]), evaluated([0, 2, 3]))
    assert all(each.difference.low == each.difference.high == 0 for each in found.differences)
    assert found.greedy.p_value == found.majority.p_value == 1.0


def test_a_majority_that_ties_is_not_right():
    (found,) = compare(evaluated([1], wrong=("", "8", "9")), evaluated([2]))
    assert (found.majority.only_base, found.majority.only_trained) == (0, 1)
    (found,) = compare(evaluated([1], wrong=("", "8", "9")), evaluated([0]))
    assert (found.majority.only_base, found.majority.only_trained) == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_mcnemar_is_the_exact_binomial_test_and_symmetric(pairs):
    base, trained = [a for a, _ in pairs], [b for _, b in pairs]
    found, mirrored = mcnemar(base, trained), mcnemar(trained, base)
    assert found.p_value == mirrored.p_value
    n = found.only_base + found.only_trained
    extreme = abs(found.only_base - n / 2)
    brute = sum(comb(n, i) for i in range(n + 1) if abs(i - n / 2) >= extreme) / 2**n
    assert found.p_value == pytest.approx(brute)


def test_mcnemar_by_hand():
    found = mcnemar([True] + [False] * 9, [False] + [True] * 9)
    assert (found.only_base, found.only_trained) == (1, 9)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 1024)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"problems": "xyz"}, "problems differs (abc / xyz)"),
        ({"num_samples": 4}, "num_samples differs (3 / 4)"),
        ({"complete": False}, "the trained evaluation is not finished"),
    ],
)
def test_what_cannot_be_compared_is_named(change, reason):
    with pytest.raises(ValueError) as caught:
        compare(evaluated([1]), evaluated([1], **change))
    assert reason in str(caught.value)


def test_evaluations_without_a_common_benchmark_are_refused():
    with pytest.raises(ValueError, match="share no benchmark"):
        compare({}, evaluated([1]))


def test_other_settings_that_differ_are_named_but_not_the_model():
    (found,) = compare(evaluated([1]), evaluated([1], temperature=0.6, model={"name": "new"}))
    assert found.other_settings == ("temperature: 1.0 / 0.6",)
    assert "temperature: 1.0 / 0.6" in as_markdown("a", "b", [sheet_of(found)])


def test_fewer_unparsable_answers_are_a_win_and_the_table_says_so():
    (found,) = compare(
        evaluated([0], wrong=(None, None, None)), evaluated([0], wrong=("8", "8", "8"))
    )
    rates = {each.figure: each for each in found.differences}["unparsable_rate"]
    assert (rates.difference.mean, rates.wins, rates.losses) == (-1.0, 1, 0)
    assert "| unparsable_rate (lower wins) | 1.000 | 0.000 | -1.000 - | 1 | 0 | 0 |" in as_markdown(
        "a", "b", [sheet_of(found)]
    )


def test_the_record_is_json_and_the_markdown_a_table_without_markup_of_names():
    found = compare(evaluated([0, 1]), evaluated([3, 1]))
    record = json.loads(json.dumps(as_record("a", "b", found)))
    assert record["benchmarks"]["gsm8k"]["differences"]["pass@1"]["wins"] == 1
    text = as_markdown("a|<b>\x1b", "b", [sheet_of(each) for each in found])
    assert "| pass@1 | 0.167 | 0.667 | +0.500 [+0.000, +1.000] | 1 | 0 | 1 |" in text
    assert "| trained | 1 (50.0%) | 0 (0.0%) | 0 (0.0%) | 0 (0.0%) | 1 (50.0%) |" in text
    assert "The base's maj@3, a vote without training: 0.000. The trained model's pass@1:" in text
    assert record["benchmarks"]["gsm8k"]["transition_of_each"] == ["learnt", "never"]
    assert record["benchmarks"]["gsm8k"]["transitions"]["learnt"] == 1
    assert record["benchmarks"]["gsm8k"]["beyond_vote"]["after"]["mean"] == pytest.approx(2 / 3)
    assert "<b>" not in text
    assert "\x1b" not in text


def summary(**entry):
    return {
        "benchmarks": {
            "gsm8k": {
                "complete": True,
                "whole": True,
                "settings": {"num_samples": 16, "temperature": 1.0},
                "figures": {"pass@1": {"mean": 0.41234, "low": 0.4, "high": 0.42}},
                **entry,
            },
            "svamp": {"complete": True, "whole": True},
        }
    }


def test_results_for_the_hub_are_what_the_hub_reads(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    (path,) = write_hub_results(tmp_path)
    assert path == tmp_path / ".eval_results" / "gsm8k.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/gsm8k", "gsm8k", 41.23)
    assert len(entry.dataset_revision) == 40
    assert "16 samples at temperature 1" in entry.notes


@pytest.mark.parametrize("entry", [{"complete": False}, {"whole": False}])
def test_a_part_of_a_benchmark_gives_no_result_for_the_hub(tmp_path, entry):
    (tmp_path / "summary.json").write_text(json.dumps(summary(**entry)))
    assert write_hub_results(tmp_path) == []
