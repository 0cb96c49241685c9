"""What training did to single problems: the five transitions, and the vote of the base."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.measure.figures import Graded, Measurement
from serl_trl.measure.transitions import (
    TRANSITIONS,
    beyond_vote,
    counted,
    majority_is_right,
    transition,
    transitions,
)


def graded(classes):
    """One problem whose right answer has class 0; `None` is a sample without an answer."""
    size = len(classes)
    return Graded("q", "7", ("x",) * size, tuple(classes), 0, (False,) * size, (3,) * size)


ONE_RIGHT, TWO_RIGHT, ALL_RIGHT = (0, 1, 1, 1), (0, 0, 1, 2), (0, 0, 0, 0)
TIED, SILENT = (0, 0, 1, 1), (None, None, None, None)


@pytest.mark.parametrize(
    ("base", "trained", "expected"),
    [
        (ONE_RIGHT, TWO_RIGHT, "learnt"),
        (TWO_RIGHT, ONE_RIGHT, "lost"),
        (TWO_RIGHT, ALL_RIGHT, "sharpened"),
        (ALL_RIGHT, TWO_RIGHT, "kept"),
        (TWO_RIGHT, TWO_RIGHT, "kept"),
        (ONE_RIGHT, ONE_RIGHT, "never"),
        # A tie for the first place is wrong, on either side.
        (TIED, TWO_RIGHT, "learnt"),
        (ALL_RIGHT, TIED, "lost"),
        (TIED, TIED, "never"),
        (SILENT, SILENT, "never"),
        # One right answer among samples without any is a majority.
        (SILENT, (0, None, None, None), "learnt"),
        # Another number of samples: the share counts, not the number.
        ((0, 0, 1), (0, 0, 0, 0, 1, 1), "kept"),
    ],
)
def test_each_transition_by_hand(base, trained, expected):
    assert transition(graded(base), graded(trained)) == expected


CLASSES = st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=8)


@given(st.lists(st.tuples(CLASSES, CLASSES), max_size=8))
def test_every_problem_makes_one_transition_and_the_counts_add_up(pairs):
    base, trained = ([graded(pair[side]) for pair in pairs] for side in (0, 1))
    found = transitions(base, trained)
    counts = counted(found)

    assert tuple(counts) == TRANSITIONS and sum(counts.values()) == len(pairs)
    # What is right before is kept, sharpened or lost; what is right after was learnt or stayed.
    stayed = counts["kept"] + counts["sharpened"]
    assert stayed + counts["lost"] == sum(map(majority_is_right, base))
    assert stayed + counts["learnt"] == sum(map(majority_is_right, trained))


@given(CLASSES, CLASSES)
def test_turned_round_learnt_is_lost_and_nothing_else_changes_sides(left, right):
    there, back = transition(graded(left), graded(right)), transition(graded(right), graded(left))

    assert (there == "learnt") == (back == "lost")
    assert (there == "never") == (back == "never")
    assert not (there == "sharpened" and back == "sharpened")


def test_the_same_model_keeps_what_it_had_and_never_the_rest():
    for classes in product((None, 0, 1), repeat=3):
        assert transition(graded(classes), graded(classes)) in ("kept", "never")


def test_one_sample_after_training_is_held_against_a_vote_before_it():
    base = Measurement((graded(ONE_RIGHT), graded(TWO_RIGHT), graded(TIED)), 4)
    trained = Measurement((graded(TWO_RIGHT), graded(ALL_RIGHT), graded(TWO_RIGHT)), 4)

    found = beyond_vote(base, trained)

    # The vote is right on one problem and half on the one that ties, as in maj@4.
    assert found["before"].mean == pytest.approx((0 + 1 + 0.5) / 3)
    assert found["after"].mean == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert found["change"].mean == pytest.approx((0.5 + 0 + 0) / 3)
    assert found["change"].low <= found["change"].mean <= found["change"].high
