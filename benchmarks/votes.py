"""Time of a vote: this package against a pairwise math-verify vote, on the same groups in one run.

The pairwise vote parses each of the 16 completions once and calls `math_verify.verify` for all 240
ordered pairs, as the reference code of SeRL does (arXiv 2505.20347). Usage:

    python benchmarks/votes.py [--groups 40] [--seed 0] [--json PATH]
"""

import argparse
import json
import logging
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from serl_trl.answers.equality import extract_answer, group_many
from serl_trl.answers.kinds.mathematics import read
from serl_trl.answers.verifier import Verifier

GROUP_SIZE = 16

# Values as models write them. Each inner list holds spellings of one value, each outer list values
# that completions of one prompt may disagree on.
EXPRESSIONS = [
    [[r"\frac{3}{4}", "0.75", r"\dfrac{3}{4}", "3/4"], [r"\frac{4}{3}"], ["0.8", r"\frac45"],
     [r"\frac{1}{4}", "0.25"], ["1"], [r"\frac{5}{8}"], ["0.7"], [r"\frac{3}{5}", "0.6"]],
    [[r"2\sqrt{3}", r"\sqrt{12}", r"2 \sqrt{3} \text{ cm}"], [r"\sqrt{3}"], [r"3\sqrt{2}"],
     [r"\frac{2}{\sqrt{3}}", r"\frac{2\sqrt{3}}{3}"], ["12"], [r"4\sqrt{3}"], ["6"], [r"\sqrt{6}"]],
    [[r"25\pi", r"25 \pi \text{ cm}^2", r"25 \cdot \pi"], [r"5\pi"], [r"50\pi"], ["78.5"],
     [r"\frac{25\pi}{2}", r"12.5\pi"], [r"100\pi"], ["25"], [r"10\pi"]],
    [["x^2+2x+1", "(x+1)^2", "1 + 2x + x^2"], ["x^2+1"], ["x^2-2x+1", "(x-1)^2"], ["x^2+2x"],
     ["2x+1"], ["x^2+x+1"], ["(x+2)^2"], ["x^2+2x-1"]],
    [["(3, 4]", r"\left(3,4\right]"], ["[3, 4]"], ["(3, 4)"], ["[3,4)"], [r"(3, \infty)"],
     [r"(-\infty, 4]"], ["(2,4]"], [r"(3,5]"]],
    [["-2, 1", "1, -2", r"\{-2, 1\}", r"x = -2 \text{ or } x = 1"], ["2, -1"], ["1"], ["-2"],
     ["-1, 2, 3"], [r"1, 2"], [r"-2, -1"], ["0, 1"]],
    [["90", r"90^\circ", r"90 \text{ degrees}"], ["45", r"45^\circ"], ["180"], ["60"],
     [r"30^\circ"], ["120"], ["72"], ["100"]],
    [[r"\begin{pmatrix} 1 \\ -2 \end{pmatrix}", r"\begin{bmatrix} 1 \\ -2 \end{bmatrix}"],
     [r"\begin{pmatrix} -1 \\ 2 \end{pmatrix}"], [r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"],
     [r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"], [r"\begin{pmatrix} 0 \\ 2 \end{pmatrix}"],
     [r"\begin{pmatrix} 1 \\ 0 \end{pmatrix}"], [r"\begin{pmatrix} 3 \\ 2 \end{pmatrix}"],
     [r"\begin{pmatrix} 1 \\ -3 \end{pmatrix}"]],
    [["3+4i", "4i + 3"], ["3-4i"], ["4+3i"], ["5"], ["-3+4i"], ["7i"], ["3+5i"], ["2+4i"]],
    [["y = 2x + 3", "y=3+2x"], ["y = 2x - 3"], ["y = 3x + 2"], ["y = -2x + 3"], ["y = 2x"],
     ["y = x + 3"], ["y = 2x + 4"], [r"y = \frac{x}{2} + 3"]],
    # Only math-verify sees that these are equal.
    [[r"2\sin x\cos x", r"\sin 2x", r"\sin(2x)"], [r"\cos 2x"], [r"2\sin x"], [r"\sin^2 x"],
     [r"\cos x"], [r"2\cos x"], [r"\tan x"], [r"\sin x"]],
    [[r"1+\sqrt{2}", r"\sqrt{3+2\sqrt{2}}"], [r"\sqrt{2}"], [r"\sqrt{5}"], [r"2+\sqrt{2}"],
     [r"1-\sqrt{2}"], ["3"], [r"\sqrt{3}"], [r"2\sqrt{2}"]],
    [[r"2^{n+1}", r"2 \cdot 2^n"], [r"2^n"], [r"2n"], [r"n^2"], [r"2^{n-1}"], [r"2^{n}+1"],
     [r"2^{n+2}"], [r"4^n"]],
]  # fmt: skip

Groups = list[list[str]]
Classes = list[list[int]]


def number_groups(rng: random.Random, count: int) -> tuple[Groups, Classes]:
    """Plain numbers, as on grade-school problems."""
    families = []
    for _ in range(count):
        values = rng.sample(range(1, 5000), 8)
        families.append([[str(value), f"{value}.0", f"{value:,}"] for value in values])
    return drawn(rng, families)


def expression_groups(rng: random.Random, count: int) -> tuple[Groups, Classes]:
    """What competition problems are answered with, in the spellings of models."""
    return drawn(rng, [EXPRESSIONS[index % len(EXPRESSIONS)] for index in range(count)])


def drawn(rng: random.Random, families: Sequence[list[list[str]]]) -> tuple[Groups, Classes]:
    """Draw 16 completions with 1 to 8 distinct values from each family."""
    groups, classes = [], []
    for number, family in enumerate(families):
        values = range(1 + number % 8)
        weights = [2.0**-value for value in values]
        picks = [*values, *rng.choices(values, weights, k=GROUP_SIZE - len(values))]
        rng.shuffle(picks)
        answers = [rng.choice(family[pick]) for pick in picks]
        groups.append([f"Some steps, and so the answer is $\\boxed{{{a}}}$." for a in answers])
        classes.append(picks)
    return groups, classes


def ours(groups: Groups, verifier: Verifier) -> Classes:
    """Extract and group as a training step does."""
    answers = [[extract_answer(completion) for completion in group] for group in groups]
    return [
        [-1 if c is None else c for c in group] for group in group_many(answers, verifier=verifier)
    ]


def pairwise(groups: Groups) -> Classes:
    """Compare all ordered pairs by math-verify; linked completions are one class."""
    from math_verify import parse, verify

    result = []
    for group in groups:
        parsed = [parse(completion) for completion in group]
        leader = list(range(len(group)))
        for i, left in enumerate(parsed):
            for j, right in enumerate(parsed):
                if i != j and verify(left, right):
                    low, high = sorted((leader[i], leader[j]))
                    leader = [low if each == high else each for each in leader]
        result.append(leader)
    return result


def partition(classes: Sequence[int]) -> set[frozenset[int]]:
    """Classes as sets of positions, whatever their numbers."""
    return {
        frozenset(i for i, each in enumerate(classes) if each == index) for index in set(classes)
    }


def timed(function: Callable[[], Classes]) -> tuple[Classes, float]:
    begin = time.perf_counter()
    return function(), time.perf_counter() - begin


def compared(groups: Groups, truth: Classes) -> dict[str, object]:
    """Time both on the same groups, ours with nothing remembered, and count who is right."""
    with Verifier() as verifier:
        # The worker runs all through training; its start is no part of a vote.
        verifier.same([("\\sin(a)", "\\cos(a)")])
        read.cache_clear()
        found, our_s = timed(lambda: ours(groups, verifier))
        _, again_s = timed(lambda: ours(groups, verifier))
        stats = verifier.stats()
    theirs, their_s = timed(lambda: pairwise(groups))
    right = [partition(a) == partition(b) for a, b in zip(found, truth, strict=True)]
    baseline = [partition(a) == partition(b) for a, b in zip(theirs, truth, strict=True)]
    both = list(zip(right, baseline, strict=True))
    return {
        "groups": len(groups),
        "ours_ms_per_group": 1000 * our_s / len(groups),
        "ours_again_ms_per_group": 1000 * again_s / len(groups),
        "pairwise_ms_per_group": 1000 * their_s / len(groups),
        "ratio": their_s / our_s,
        "both_right": both.count((True, True)),
        "only_ours_right": both.count((True, False)),
        "only_pairwise_right": both.count((False, True)),
        "neither_right": both.count((False, False)),
        "pairs_for_math_verify": stats["equal"] + stats["unequal"] - 1,
        "timeouts": stats["timeout"] + stats["deadline"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--groups", type=int, default=40, help="groups of each sort")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results there, too")
    args = parser.parse_args()
    logging.disable(logging.WARNING)

    import math_verify  # noqa: F401 - loading it is no part of the pairwise vote's time

    results: dict[str, object] = {"seed": args.seed, "python": platform.python_version()}
    for name, make in (("numbers", number_groups), ("expressions", expression_groups)):
        groups, truth = make(random.Random(args.seed), args.groups)
        results[name] = compared(groups, truth)
    text = json.dumps(results, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
