"""Where a final answer stands, in characters and in tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import get_kind
from serl_trl.answers.kinds.own import OwnKind
from serl_trl.answers.spans import answer_span, tokens_of


@pytest.mark.parametrize(
    ("kind", "text", "masked"),
    [
        ("math", "3 + 4 = 7, so \\boxed{7}", "3 + 4 = 7, so \\boxed{_}"),
        ("math", "\\boxed{7}, that is 7 of 17", "\\boxed{_}, that is 7 of 17"),
        ("math", "\\boxed{7} or rather \\boxed{ 12 }.", "\\boxed{7} or rather \\boxed{ _ }."),
        ("math", "\\boxed{7}. Yes, \\boxed{7}", "\\boxed{7}. Yes, \\boxed{_}"),
        ("text", "Answer: 12 apples", "Answer: _"),
        ("number", "11 and 1\n#### 111", "11 and 1\n#### _"),
        ("number(lenient=True)", "so it is 111.", "so it is _."),
        ("label(labels=['yes', 'no'])", "no, well\nAnswer: yes", "no, well\nAnswer: _"),
        # Put together from two boxes: the whole last line.
        ("math", "Well,\n\\boxed{3} and \\boxed{4}.\n", "Well,\n_\n"),
    ],
)
def test_the_span_is_the_place_that_the_kind_reads(kind, text, masked):
    begin, end = answer_span(text, get_kind(kind))
    assert f"{text[:begin]}_{text[end:]}" == masked


def test_without_an_answer_there_is_no_span():
    assert answer_span("no idea, 7 or 8", get_kind("math")) is None
    assert answer_span("", get_kind("math")) is None


def test_an_answer_that_is_everywhere_costs_a_bounded_number_of_looks():
    looks = []
    kind = OwnKind(name="own", find=lambda text: looks.append(1) or "a")
    assert answer_span("a" * 5000, kind) == (4999, 5000)
    assert len(looks) < 12


@given(st.lists(st.text(min_size=0, max_size=4), min_size=1, max_size=12), st.data())
def test_the_tokens_of_a_span_cover_it_and_no_token_beside_it(tokens, data):
    text = "".join(tokens)
    begin = data.draw(st.integers(0, max(0, len(text) - 1)))
    end = data.draw(st.integers(min(begin + 1, len(text)), len(text)))
    first, last = tokens_of((begin, end), len(tokens), lambda n: len("".join(tokens[:n])))
    before, through = len("".join(tokens[:first])), len("".join(tokens[:last]))
    assert before <= begin and through >= end
    # Without its first or last token the span would not be covered, empty tokens apart.
    if end > begin:
        assert len("".join(tokens[: first + 1])) > begin
        assert len("".join(tokens[: last - 1])) < end
