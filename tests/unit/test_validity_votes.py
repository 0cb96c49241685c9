"""Signs of a broken question in its votes, and the model that makes one chance of all signs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.filters.validity.answer_domain import AnswerDomain, properties_of
from serl_trl.filters.validity.gate import (
    FEATURES,
    ValidityModel,
    best_of,
    careful_threshold,
    features_of,
    fit,
    judge,
    shipped,
    threshold_for,
)
from serl_trl.filters.validity.sign import NO_SIGN, Sign
from serl_trl.filters.validity.vote_shape import shape_of, vote_shape

WHOLE = AnswerDomain().learn(["3", "18", "7", "42", "250", "1"] * 10)
LABELS = AnswerDomain().learn(["positive", "negative", "Positive"] * 10)
LETTERS = AnswerDomain().learn(["A", "(B)", "C", "D"] * 10)


def test_a_property_of_all_seeds_that_an_answer_lacks_is_a_sign_by_the_rule_of_succession():
    assert WHOLE.sign("-1").score == 61 / 62 - 1 / 62
    assert WHOLE.sign("-1").found in ("-1 (seeds: positive)", "-1 (seeds: not negative)")


@pytest.mark.parametrize(
    "answer", ["-1", "7.5", "15/2", "\\frac{15}{2}", "0", "12345", "3 cm", "x"]
)
def test_an_answer_unlike_those_of_the_seeds_is_a_sign(answer):
    assert WHOLE.sign(answer).score > 0.9
    assert answer in WHOLE.sign(answer).found


@pytest.mark.parametrize("answer", ["5", "999", "3.0", " 17 ", "2/1"[:1]])
def test_an_answer_like_those_of_the_seeds_is_none(answer):
    assert WHOLE.sign(answer) == NO_SIGN


def test_a_property_that_half_of_the_seeds_have_says_nothing():
    mixed = AnswerDomain().learn(["3", "-2", "0.5", "-1.5"] * 10)

    assert mixed.sign("7").score == mixed.sign("-7.25").score == 0


def test_labels_and_letters_are_learnt_where_they_repeat():
    assert LABELS.sign("NEGATIVE") == NO_SIGN
    assert LABELS.sign("mixed").found == "mixed (seeds: one of few labels)"
    assert LETTERS.sign("B") == NO_SIGN
    assert LETTERS.sign("7").score > 0.9
    assert LETTERS.sign("D", offered="ABC") == Sign(1.0, "D is not offered")
    assert WHOLE.sign("7", offered="ABC") == NO_SIGN


def test_nothing_learnt_and_no_answer_say_nothing():
    assert AnswerDomain().sign("7") == NO_SIGN
    assert WHOLE.sign("") == NO_SIGN


@given(st.lists(st.text(max_size=12)), st.lists(st.text(max_size=12)), st.text(max_size=12))
def test_a_domain_learns_in_parts_as_at_once_and_scores_lie_between_0_and_1(one, more, answer):
    apart = AnswerDomain().learn(one).learn(more)

    assert apart.have == AnswerDomain().learn([*one, *more]).have
    assert 0 <= apart.sign(answer).score <= 1


def test_the_properties_of_an_answer_by_hand():
    assert properties_of("-3") == {"number", "whole", "without a unit"}
    assert properties_of("$1,250.50") == {"number", "positive", "not negative", "without a unit"}
    assert "with a unit" in properties_of("12 \\text{ cm}") & properties_of("30\\%")
    assert properties_of("0.00") >= {"whole", "not negative"}
    assert properties_of("two") == properties_of("9" * 500) == frozenset()


def test_the_shape_of_a_vote_by_hand():
    shape = shape_of([3, 8, 1, 1], num_unparsable=3)

    assert (shape.majority, shape.runner_up, shape.margin) == (0.5, 3 / 16, 5 / 16)
    assert (shape.tail, shape.unparsable, shape.num_camps) == (2 / 16, 3 / 16, 2)


def test_two_camps_speak_for_broken_and_scatter_for_hard():
    split = vote_shape(shape_of([8, 7, 1]))
    hard = vote_shape(shape_of([6, *[1] * 10]))

    assert split.score == pytest.approx(7 / 8 * 15 / 16)
    assert split.found == "50% against 44%"
    assert hard == NO_SIGN
    assert vote_shape(shape_of([16])) == vote_shape(shape_of([])) == NO_SIGN
    assert vote_shape(shape_of([], num_unparsable=16)).score == 1


@given(st.lists(st.integers(1, 16), max_size=16), st.integers(0, 16), st.randoms())
def test_the_shape_ignores_the_order_of_the_classes_and_its_shares_add_up(sizes, unparsable, rnd):
    shape = shape_of(sizes, unparsable)

    assert shape == shape_of(rnd.sample(sizes, len(sizes)), unparsable)
    assert 0 <= vote_shape(shape).score <= 1
    assert shape.majority + shape.runner_up + shape.unparsable <= 1 + 1e-9


def rows(margin, *, num):
    shape = shape_of([round(16 * (1 + margin) / 2), round(16 * (1 - margin) / 2)])
    return [features_of(text=0.0, domain=NO_SIGN, shape=shape)] * num


def test_a_fitted_model_ranks_what_it_saw_and_keeps_the_base_rate():
    seen = [*rows(0.9, num=40), *rows(0.1, num=20), *rows(0.9, num=5), *rows(0.1, num=35)]
    valid = [True] * 60 + [False] * 40

    model = fit(seen, valid, FEATURES)

    assert model.p_valid(rows(0.9, num=1)[0]) > 0.8 > 0.45 > model.p_valid(rows(0.1, num=1)[0])
    assert math.fsum(map(model.p_valid, seen)) == pytest.approx(60, abs=1e-3)
    assert (model.num, model.num_valid, set(model.weights)) == (100, 60, set(FEATURES))


def test_a_feature_that_is_always_0_gets_no_weight():
    model = fit([*rows(0.9, num=9), *rows(0.1, num=9)], [True] * 9 + [False] * 9, FEATURES)

    assert model.weights["text"] == model.weights["domain"] == 0


def test_questions_of_one_sort_cannot_be_fitted():
    with pytest.raises(ValueError, match="num_valid=9 of 9 questions: the model needs valid and"):
        fit(rows(0.9, num=9), [True] * 9)


def test_the_chance_and_the_deciding_feature_by_hand():
    model = ValidityModel(1.0, {"margin": 2.0, "domain": -3.0}, usual={"margin": 0.9})

    assert model.p_valid({"margin": 0.5}) == pytest.approx(1 / (1 + math.exp(-2)))
    assert model.deciding({"margin": 0.4, "domain": 0.5}) == "domain"
    assert model.deciding({"margin": 0.1, "domain": 0.1}) == "margin"


def test_a_sign_that_the_model_does_not_know_multiplies_the_chance_by_what_it_leaves():
    model = ValidityModel(0.0, {"agreement": 2.0}, usual={"agreement": 0.5})
    alone = judge(model, 0.5, {"domain": NO_SIGN})
    doubted = judge(model, 0.5, {"domain": Sign(0.5, "-1")})

    assert alone.p_valid == pytest.approx(1 / (1 + math.exp(-1)))
    assert (alone.signal, alone.found) == ("agreement", "50% agree")
    assert doubted.p_valid == pytest.approx(alone.p_valid / 2)
    assert (doubted.signal, doubted.found) == ("domain", "-1")


def test_a_sign_that_the_model_was_fitted_with_counts_once():
    model = ValidityModel(0.0, {"agreement": 0.0, "asked": -4.0})

    assert judge(model, 0.5, {"asked": Sign(1.0)}).p_valid == pytest.approx(1 / (1 + math.exp(4)))
    assert judge(model, 0.5, {"asked": Sign(1.0)}).signal == "asked"


def test_a_strict_threshold_takes_the_highest_precision_that_leaves_half_of_the_valid():
    agreed, split = rows(0.9, num=40), rows(0.1, num=40)
    sure = fit([*agreed, *split], [True] * 39 + [False] * 41)
    mixed = fit([*agreed, *split], [True] * 33 + [False] * 47)
    useless = fit([*agreed, *split], [True, False] * 40)

    # 39 of 40 who agree are valid, then 33 of 40, then one half.
    assert sure.strict == sure.p_valid(agreed[0])
    assert mixed.strict == mixed.p_valid(agreed[0])
    assert useless.strict == 1.0


def test_a_threshold_keeps_as_much_as_the_precision_allows():
    chances, valid = [0.9, 0.8, 0.8, 0.6, 0.3], [True, True, False, True, False]

    assert threshold_for(chances, valid, precision=0.75) == 0.6
    assert threshold_for(chances, valid, precision=0.6) == 0.3
    assert threshold_for(chances, valid, precision=1.0) == 0.9
    assert threshold_for([0.9], [False], precision=0.5) == math.inf


def test_a_careful_threshold_refuses_as_much_as_the_precision_allows():
    chances, valid = [0.9, 0.8, 0.6, 0.3, 0.3, 0.1], [True, True, False, True, False, False]

    assert careful_threshold(chances, valid, precision=2 / 3) == 0.8
    assert careful_threshold(chances, valid, precision=1.0) == 0.3
    assert careful_threshold([0.2], [True], precision=0.9) == 0.0


@given(st.lists(st.tuples(st.floats(0.01, 1), st.booleans()), min_size=1))
def test_nine_in_ten_below_a_careful_threshold_are_broken(pairs):
    threshold = careful_threshold(*zip(*pairs, strict=True), precision=0.9)
    refused = [not is_valid for chance, is_valid in pairs if chance < threshold]

    assert sum(refused) >= 0.9 * len(refused)


def test_the_shipped_model_distrusts_a_split_vote():
    model = best_of(shipped())
    agreed, split = rows(0.9, num=1)[0], rows(0.1, num=1)[0]

    assert model.p_valid(agreed) > 0.8 > model.p_valid(split)
    assert set(model.weights) <= set(FEATURES)
    assert 0 < model.careful < model.strict < 1


@given(st.integers(2, 16), st.integers(0, 8))
def test_completions_without_an_answer_do_not_speak_against_a_question(votes, unparsable):
    assert shape_of([votes], unparsable).agreement == pytest.approx(1)
    assert shape_of([], unparsable).agreement == 0
