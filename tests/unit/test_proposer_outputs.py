"""Outputs as real models print them, with the instructions they hold; one set after the other.

The first set was written before the parser, the second after it, without a look at its answers; the
third holds the styles and slips that it had missed.
"""

from pathlib import Path

import pytest

from serl_trl.propose.parsing.proposals import parse_proposals

FIXTURES = Path(__file__).parent / "fixtures"


def read_cases(name: str) -> list:
    cases = []
    for block in (FIXTURES / name).read_text("utf-8").split("=== ")[1:]:
        head, _, expected = block.partition("--- expected\n")
        title, _, text = head.partition("\n")
        truncated = text.endswith("--- truncated\n")
        text = text.removesuffix("--- truncated\n").removesuffix("\n")
        cases.append(pytest.param(text, truncated, expected.splitlines(), id=title))
    return cases


SET_A = read_cases("proposer_outputs_a.txt")
SET_B = read_cases("proposer_outputs_b.txt")
SET_C = read_cases("proposer_outputs_c.txt")


def test_each_set_has_forty_outputs():
    assert len(SET_A) >= 40
    assert len(SET_B) >= 40
    assert len(SET_C) >= 40


@pytest.mark.parametrize(("text", "truncated", "expected"), SET_A + SET_B + SET_C)
def test_the_parser_finds_exactly_the_intended_instructions(text, truncated, expected):
    assert parse_proposals(text, truncated=truncated) == expected


OPEN = "the request's open number"


@pytest.mark.parametrize("style", [OPEN, "{}. {}", "**{}.** {}", "### Problem {}\n{}"])
@pytest.mark.parametrize("name", ["own", "asdiv", "gsm8k", "math_500", "math_seeds_500"])
def test_lists_of_human_problems_are_read_back_whole(problems, name, style):
    texts = [row.get("problem") or row["question"] for row in problems(name)]
    for start in range(0, len(texts), 8):
        part = texts[start : start + 8]
        lines = [
            ("{}. {}" if style == OPEN else style).format(number, problem)
            for number, problem in enumerate(part, start=9)
        ]
        if style == OPEN:
            lines[0] = f" {part[0]}"
        expected = [" ".join(problem.split()) for problem in part]
        assert parse_proposals("\n".join(lines)) == expected
