"""ROUGE-L as `rouge_score` computes it, duplicates, templates; all exact."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from serl_trl.common.mathtext import math_tokens, plain_tokens
from serl_trl.filters.novelty import Nearest, NoveltyRule, RougeLIndex, check_scores
from serl_trl.sandbox.domain import seed_problems

FILES = ("asdiv", "gsm8k", "math_500", "math_seeds_500")

SCORER = RougeScorer(["rougeL"])


def reference(known: str, text: str) -> float:
    return SCORER.score(known, text)["rougeL"].fmeasure


def make_index(texts, max_rouge_l=0.7):
    index = RougeLIndex(max_rouge_l)
    for text in texts:
        index.add(text)
    return index


def public(problems) -> list[str]:
    rows = [row for name in FILES for row in problems(name)]
    return [row.get("problem") or row["question"] for row in rows]


def mutate(text: str, rng: random.Random) -> str:
    """Return `text` with some words changed, so that pairs lie around any threshold."""
    words = text.split()
    for _ in range(rng.randrange(len(words) + 1)):
        place = rng.randrange(len(words))
        action = rng.randrange(4)
        if action == 0:
            words[place] = str(rng.randrange(100))
        elif action == 1:
            words.insert(place, rng.choice(words))
        elif action == 2 and len(words) > 1:
            del words[place]
        else:
            other = rng.randrange(len(words))
            words[place], words[other] = words[other], words[place]
    return " ".join(words)


def compare(known: list[str], candidates: list[str], thresholds=(0.3, 0.5, 0.7, 0.9)) -> int:
    """Check every decision and maximum against the reference; return how many pairs that were."""
    index = make_index(known)
    for text in candidates:
        scores = [reference(other, text) for other in known]
        found = index.nearest(text)
        assert found.score == pytest.approx(max(scores), abs=1e-9)
        assert reference(found.text, text) == pytest.approx(max(scores), abs=1e-9)
        assert found.text == known[scores.index(max(scores))]
        for threshold in (*thresholds, max(scores)):
            index.max_rouge_l = threshold
            assert index.is_novel(text) == (max(scores) <= threshold)
    return len(known) * len(candidates)


def test_a_score_computed_by_hand():
    index = make_index(["Tom has three red apples"])
    # Common subsequence: tom has apples; 3 of 5 and 3 of 4 tokens.
    found = index.nearest("Tom has green apples")
    assert found == (2 * 0.75 * 0.6 / (0.75 + 0.6), "Tom has three red apples")


def test_an_empty_index_knows_nothing():
    index = RougeLIndex()
    assert (len(index), index.nearest("x"), index.is_novel("x")) == (0, None, True)


def test_texts_without_tokens_are_like_nothing():
    index = make_index(["", "计算", "one two"])
    assert index.nearest("计算").score == 0.0
    assert index.nearest("...") == (0.0, "")
    assert index.is_novel("计算")


def test_of_equally_near_texts_the_first_is_returned():
    index = make_index(["a b c d", "x a b c d", "d a b c", "a b c d"])
    assert index.nearest("a b c d").text == "a b c d"
    assert index.nearest("a b c e").text == "a b c d"


def test_a_score_at_the_threshold_is_novel():
    index = make_index(["a b c d e f g x y z"], max_rouge_l=0.7)
    assert index.nearest("a b c d e f g u v w").score == 0.7
    assert index.is_novel("a b c d e f g u v w")
    assert not index.is_novel("a b c d e f g u v z")


def test_operators_are_nothing_to_the_plain_rule():
    assert make_index(["x + 3 = 7"]).nearest("x - 3 = 7").score == 1.0


def test_many_repeated_tokens_are_counted_as_often_as_they_stand():
    assert compare(["a " * 400, "a " * 3 + "b " * 300], ["a " * 350 + "b", "b a " * 200, "a"]) == 6


def test_lengths_of_every_kind_among_many_texts_hide_no_maximum():
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefgh", k=rng.randrange(1, 30))) for _ in range(400)]
    compare(texts[:380], texts[380:])


TOKENS = st.sampled_from(
    ["a", "b", "c", "d", "2", "3", "The", "the", "+", "x_1", "é", "\u212a", "\ud800"]
)
TEXTS = st.lists(TOKENS, max_size=14).map(" ".join) | st.text(max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8), TEXTS)
@example(["a b"], "")
def test_decisions_and_maxima_equal_the_reference(known, text):
    compare(known, [text])


@given(TEXTS)
def test_plain_tokens_are_the_references_tokens(text):
    assert plain_tokens(text) == SCORER._tokenizer.tokenize(text)


@pytest.mark.parametrize("tokenize", [plain_tokens, math_tokens])
def test_an_index_that_scores_otherwise_than_the_reference_is_not_used(tokenize, monkeypatch):
    check_scores(tokenize)
    monkeypatch.setattr(RougeLIndex, "nearest", lambda index, text: Nearest(0.5, text))
    with pytest.raises(AssertionError, match=r"rouge-score \d.*, rapidfuzz \d.*, numpy \d"):
        check_scores(tokenize)
    with pytest.raises(AssertionError, match="by rouge_score and"):
        make_rule(["one two three"])


def compare_samples(texts: list[str]) -> None:
    rng = random.Random(0)
    short = [text for text in texts if len(text) < 300]
    known = rng.sample(short, 60)
    candidates = [mutate(rng.choice(known), rng) for _ in range(25)] + rng.sample(short, 15)
    compare(known, candidates)


def test_sampled_problems_decide_as_the_reference(problems):
    compare_samples(public(problems))


def test_problems_of_ours_decide_as_the_reference(problems):
    compare_samples(
        [row["problem"] for row in problems("own")] + [p.instruction for p in seed_problems()]
    )


@pytest.mark.slow
def test_two_hundred_thousand_pairs_decide_as_the_reference(problems):
    rng = random.Random(1)
    problems = [text for text in public(problems) if len(text) < 400]
    num_pairs = 0
    while num_pairs < 200_000:
        known = rng.sample(problems, 1000)
        candidates = [mutate(rng.choice(known), rng) for _ in range(15)] + rng.sample(problems, 10)
        num_pairs += compare(known, candidates)


# The default rule -----------------------------------------------------------------------------


def make_rule(texts=(), **changes):
    options = {"kind": "math", "max_rouge_l": None, "max_per_template": None, **changes}
    rule = NoveltyRule(**options)
    rule.add(list(texts))
    return rule


def test_the_default_tells_operators_apart_and_the_plain_rule_does_not():
    known = "Solve the equation x + 3 = 7 for the unknown x"
    other = "Solve the equation x - 3 = 7 for the unknown x"
    assert make_rule([known], kind="plain", max_rouge_l=0.95).judge(other).reason == "rouge_l"
    assert make_rule([known], kind="math", max_rouge_l=0.95).judge(other).keep


def test_each_refusal_has_its_own_reason():
    known = "What is 3 + 4 in $\\frac{1}{2}$ of  cases?"
    rule = make_rule([known], max_rouge_l=0.8, max_per_template=1)
    assert rule.judge(known).reason == "duplicate"
    assert rule.judge("what is 3+4 in $\\dfrac{1}2$ of cases").reason == "normalised_duplicate"
    assert rule.judge("What is 3 + 5 in $\\frac{1}{2}$ of cases?").reason == "template"
    assert rule.judge("What is 3 - 4 in $\\frac{1}{2}$ of some cases?").reason == "rouge_l"
    assert rule.judge("How many primes lie between 10 and 20?").keep


def test_a_template_may_be_used_as_often_as_allowed():
    rule = make_rule(["Compute 1 + 2."], max_per_template=3)
    for number in range(2, 4):
        text = f"Compute {number} + 9."
        assert rule.judge(text).keep
        rule.add([text])
    verdict = rule.judge("Compute 77 + 8.")
    assert (verdict.reason, verdict.detail) == ("template", {"num_same_template": 3})
    assert rule.judge("Compute 77 - 8.").keep


def test_a_cap_of_zero_or_none_is_no_cap():
    texts = [f"Compute {number} + 2." for number in range(9)]
    for cap in (None, 0):
        assert make_rule(texts, max_per_template=cap).judge("Compute 88 + 2.").keep


def test_a_verdict_names_the_nearest_text_and_its_score():
    rule = make_rule(["one two three", "one two four"], max_rouge_l=0.9)
    assert rule.judge("one two four five").detail == {"nearest": "one two four", "rouge_l": 6 / 7}
    assert make_rule().judge("anything").detail is None


def test_the_plain_rule_has_no_other_reason_than_its_score():
    rule = make_rule(["one two three"], kind="plain", max_rouge_l=0.7, max_per_template=1)
    assert rule.judge("one two three").reason == "rouge_l"
    assert make_rule(["计算 3"], kind="plain", max_rouge_l=0.7).judge("计算 4").keep


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="novelty=fancy is unknown"):
        make_rule(kind="fancy")


def test_clear_forgets_everything():
    rule = make_rule(["Compute 1 + 2."], max_rouge_l=0.1, max_per_template=1)
    rule.clear()
    assert rule.judge("Compute 1 + 2.").keep


@given(
    st.lists(st.text(max_size=20), max_size=5),
    st.text(alphabet=st.characters(exclude_categories=[])),
)
def test_no_text_makes_the_rule_raise_and_what_was_added_is_known(known, text):
    rule = make_rule(known, max_rouge_l=0.7, max_per_template=3)
    rule.judge(text)
    rule.add([text])
    assert rule.judge(text).reason == "duplicate"
