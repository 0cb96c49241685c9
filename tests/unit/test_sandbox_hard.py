"""The hard sandbox: faults told exactly."""

import pytest

from serl_trl.sandbox.faults import DISPUTES, UNKNOWN, fault_of

SHARED = (
    "Ada keeps {} red apples inside the calm barn. Leo the chef gladly brings {} big ones "
    "from Rome. What is the total number?"
)
SPLIT = (
    "In May Ada gladly lines up {} big maps in {} equal rows beside the calm barn. Find the number "
    "in every row."
)
LEFT = (
    "{} wants {} of the {} red big maps that Ada gladly found on Monday. If that is agreed, "
    "how many will Rome keep?"
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (SHARED.format(3, 4), None),
        (SHARED.format(3, "some"), "missing"),
        (SHARED.format("many", 4), "missing"),
        (SHARED.format(3, "purple"), "other"),
        (SHARED.format(3, 4) + " But a list says 9, not 3.", "contradiction"),
        (SHARED.format(3, 4) + " But a list says 9, not 4.", "contradiction"),
        # It takes back a number that the problem does not have, or gives the same one again.
        (SHARED.format(3, 4) + " But a list says 9, not 5.", "other"),
        (SHARED.format(3, 4) + " But a list says 3, not 3.", "other"),
        (SPLIT.format(12, 4), None),
        (SPLIT.format(13, 4), "not_whole"),
        (SPLIT.format(13, 0), "not_whole"),
        (LEFT.format("Leo", 4, 9), None),
        (LEFT.format("Leo", 9, 4), "negative"),
        ("", "other"),
        ("How many are there?", "other"),
        ("some " * 100_000, "other"),
    ],
)
def test_the_fault_of_a_problem_is_the_first_thing_that_keeps_it_from_an_answer(text, fault):
    assert fault_of(text) == fault


def test_every_fault_is_told_in_every_wording():
    base = SHARED.format(3, 4)
    for text in DISPUTES:
        assert fault_of(f"{base} {text.format(e=8, a=3)}") == "contradiction"
    for word in UNKNOWN:
        assert fault_of(SHARED.format(word, word)) == "missing"
