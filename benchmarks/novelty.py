"""What a candidate costs against 1,000, 10,000 and 100,000 known instructions, beside rouge_score.

    python benchmarks/novelty.py [--json PATH] [--data FOLDER] [--sizes 1000 10000 100000]

The reference does serially what the original did in a process pool: it scores the candidate against
every known text. Both sides run in this process, on the same texts, one after the other. Times are
CPU times of the process, so that other work on the machine does not count. The known texts are made
by a second-order Markov chain over the words of the problems in FOLDER (`*.jsonl` with `problem` or
`question`), or over built-in sentences when there is no such folder. A second set holds near-copies
of four sentences, asked for more of them and for texts unlike them.
"""

import argparse
import json
import platform
import random
import statistics
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from serl_trl.filters.novelty import NoveltyRule, RougeLIndex

MAX_WORDS = 150
NAMES = ("Tom", "Ann", "Bob", "Sue", "Max", "Eva", "Jim", "Kim", "Leo", "Mia", "Ned", "Zoe")
THINGS = ("apples", "pears", "books", "coins", "pens", "cards", "shells", "stamps")
COLOURS = ("red", "blue", "green", "big", "small")
SENTENCES = (
    "On {day} {a} had {x} {colour} {things} and {b} gave {a} {y} more {things}. How many {things} "
    "does {a} have now?",
    "{a} packs {x} boxes with {y} {colour} {things} in each box, then {b} takes {z} {things} away. "
    "How many {things} are left in all?",
    "On {day} {a} and {b} share {x} {colour} {things} so that {a} has {y} more than {b}. How many "
    "{things} does {b} have?",
    "{b} sells {x} {things} at {y} coins each and {a} sells {z} {things} at {x} coins each. How "
    "many coins do {a} and {b} get in all?",
)


def near_copies(rng: random.Random) -> Iterator[str]:
    while True:
        first, second = rng.sample(NAMES, 2)
        numbers = {key: rng.randrange(2, 60) for key in "xyz"}
        yield rng.choice(SENTENCES).format(
            a=first,
            b=second,
            day=rng.choice(["Monday", "Tuesday", "Friday", "Sunday"]),
            things=rng.choice(THINGS),
            colour=rng.choice(COLOURS),
            **numbers,
        )


def varied(problems: Sequence[str], rng: random.Random) -> Iterator[str]:
    follows = defaultdict(list)
    for problem in problems:
        words = ["", "", *problem.split()[:MAX_WORDS], None]
        for left, middle, right in zip(words, words[1:], words[2:], strict=False):
            follows[left, middle].append(right)
    while True:
        left, middle, words = "", "", []
        while len(words) < MAX_WORDS and (word := rng.choice(follows[left, middle])) is not None:
            words.append(word)
            left, middle = middle, word
        yield " ".join(words)


def read_problems(folder: Path) -> list[str]:
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    return [row.get("problem") or row["question"] for row in rows]


def take(texts: Iterator[str], count: int, *, beside: Sequence[str] = ()) -> list[str]:
    """Return `count` different texts, none of them in `beside`."""
    known = dict.fromkeys(beside)
    while len(known) < count + len(beside):
        known.setdefault(next(texts))
    return list(known)[len(beside) :]


def milliseconds(judge: Callable[[str], object], candidates: Sequence[str]) -> dict[str, float]:
    times = []
    for text in candidates:
        start = time.process_time()
        judge(text)
        times.append(1000 * (time.process_time() - start))
    return {
        "mean": statistics.fmean(times),
        "median": statistics.median(times),
        "p99": sorted(times)[int(0.99 * (len(times) - 1))],
        "max": max(times),
    }


def memory_mib(known: Sequence[str]) -> float:
    """Return what the index takes beside the texts themselves."""
    tracemalloc.start()
    index = RougeLIndex(0.7)
    for text in known:
        index.add(text)
    taken = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    return taken


def measure(known: list[str], candidates: list[str], *, num_reference: int) -> dict[str, object]:
    start = time.process_time()
    index = RougeLIndex(0.7)
    for text in known:
        index.add(text)
    result: dict[str, object] = {
        "num_known": len(known),
        "num_candidates": len(candidates),
        "add_us": 1e6 * (time.process_time() - start) / len(known),
        "texts_mib": sum(len(text.encode()) for text in known) / 2**20,
        "nearest_ms": milliseconds(index.nearest, candidates),
        "is_novel_ms": milliseconds(index.is_novel, candidates),
    }
    if num_reference:
        scorer = RougeScorer(["rougeL"])
        few = candidates[:num_reference]
        start = time.process_time()
        maxima = [
            max(scorer.score(other, text)["rougeL"].fmeasure for other in known) for text in few
        ]
        result["reference_ms"] = 1000 * (time.process_time() - start) / len(few)
        result["num_reference"] = len(few)
        result["nearest_ratio"] = result["reference_ms"] / result["nearest_ms"]["mean"]
        result["is_novel_ratio"] = result["reference_ms"] / result["is_novel_ms"]["mean"]
        for text, largest in zip(few, maxima, strict=True):
            assert abs(index.nearest(text).score - largest) <= 1e-9, text
            assert index.is_novel(text) == (largest <= 0.7), text
    rule = NoveltyRule(kind="math", max_rouge_l=0.7, max_per_template=3)
    start = time.process_time()
    rule.add(known)
    result["default_rule_add_us"] = 1e6 * (time.process_time() - start) / len(known)
    result["default_rule_ms"] = milliseconds(rule.judge, candidates)
    result["memory_mib"] = memory_mib(known)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--reference", type=int, default=5, help="candidates for rouge_score")
    parser.add_argument(
        "--max-reference", type=int, default=10_000, help="largest size it is run at"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = random.Random(options.seed)
    problems = read_problems(options.data) or take(near_copies(rng), 500)
    makers = {"varied": varied(problems, rng), "near_copies": near_copies(rng)}
    result: dict[str, object] = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "seed": options.seed,
        "source": f"{len(problems)} problems",
    }
    for name, maker in makers.items():
        texts = take(maker, max(options.sizes))
        candidates = take(maker, options.candidates, beside=texts)
        if name == "near_copies":  # what is like none of them is bounded worst
            half = options.candidates // 2
            candidates[half:] = take(makers["varied"], options.candidates - half)
        rows = []
        for size in options.sizes:
            with_reference = name == "varied" and size <= options.max_reference
            row = measure(
                texts[:size], candidates, num_reference=options.reference if with_reference else 0
            )
            rows.append(row)
            print(f"{name:>11} {size:>7,}", end="")
            for key in ("nearest_ms", "is_novel_ms", "default_rule_ms"):
                print(f"  {key} {row[key]['mean']:.2f} (p99 {row[key]['p99']:.2f})", end="")
            print(f"  add {row['add_us']:.0f} us  memory {row['memory_mib']:.0f} MiB", end="")
            if with_reference:
                print(f"  rouge_score {row['reference_ms']:.0f} ms", end="")
                print(f" = {row['nearest_ratio']:.0f}x / {row['is_novel_ratio']:.0f}x", end="")
            print(flush=True)
        result[name] = rows
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
