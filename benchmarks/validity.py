"""How well a gate tells questions with an answer from broken ones.

    python -m benchmarks.validity [--results benchmarks/RESULTS.md]
    python -m benchmarks.validity --parts signals --ledgers easy=RUN/_serl/ledger.jsonl hard=... \\
        [--fit]

A part is measured and merged into the JSON file; the other parts of that file stay. "valimath"
reads 1,400 machine-written problems that people judged (ValiMath of MathQ-Verify, arXiv
2505.13903). The rules were written with two thirds of them, chosen by a hash of the id, in view;
"held_back" is the last third. Times are processor time.

"signals" reads the groups in the ledgers of sandbox runs, where validity is exact, and says how
well each signal tells valid questions in the first and in the last third of a run. The domain of
answers is learnt from the seeds' own. `--fit` writes the model of the gate, fitted on the hard
sandbox.
"""

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import as_table, made_on
from serl_trl.common.files import read_lines
from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.registry import default_filters
from serl_trl.filters.validity import gate
from serl_trl.filters.validity.answer_domain import AnswerDomain
from serl_trl.filters.validity.gate import (
    AGAINST,
    FEATURES,
    features_of,
    fit,
    threshold_for,
)
from serl_trl.filters.validity.text import REFUSED_FROM, TEXT_SIGNALS, doubt
from serl_trl.filters.validity.vote_shape import shape_of
from serl_trl.sandbox.domain import seed_problems
from serl_trl.sandbox.solver import solve

HERE = Path(__file__).parent
FAULTS = ("format", "language", "illegal_condition", "contradiction", "incomplete")
# Novelty asks about other texts, and has no part in what one text is worth.
ALONE: dict[str, Any] = {"max_rouge_l": None, "max_per_template": None, "novelty": "plain"}
TEXT_FILTERS = ("unfinished", "validity")
PRECISIONS = (0.9, 0.95)

Row = dict[str, Any]
Judge = Callable[[str], bool]


def is_held_back(row: Row) -> bool:
    """Say whether a row is of the third that nobody looked at when the rules were written."""
    return int(hashlib.sha256(str(row["id"]).encode()).hexdigest(), 16) % 3 == 0


def judges() -> dict[str, Judge]:
    """Return what is compared: the defaults, with and without the signals, and these alone."""
    without = [name for name in default_filters if name not in TEXT_FILTERS]
    filters = {
        "default": ProposalFilter(several_answers=True, **ALONE),
        "without_signals": ProposalFilter(names=without, several_answers=True, **ALONE),
        "before": ProposalFilter(names=without, max_words=150, **ALONE),
        "signals_alone": ProposalFilter(names=TEXT_FILTERS, **ALONE),
    }
    return {name: lambda text, each=each: each.judge(text).keep for name, each in filters.items()}


def auc(broken: Sequence[float], valid: Sequence[float]) -> float:
    """Return the share of pairs in which the broken text has the higher score; ties count half."""
    below = np.subtract.outer(np.array(broken), np.array(valid))
    return float(((below > 0) + 0.5 * (below == 0)).mean())


def figures(rows: Sequence[Row], judge: Judge) -> dict[str, Any]:
    """Return what `judge` keeps and refuses, and how many of the refused are broken."""
    refused = [not judge(row["question"]) for row in rows]
    by_kind = Counter((row["fault"], no) for row, no in zip(rows, refused, strict=True))
    broken = sum(by_kind[fault, True] for fault in FAULTS)
    return {
        "kept_valid": share(by_kind[None, False], by_kind[None, True]),
        "refused_invalid": share(broken, sum(by_kind[fault, False] for fault in FAULTS)),
        "refused_by_fault": {
            fault: share(by_kind[fault, True], by_kind[fault, False]) for fault in FAULTS
        },
        "precision": share(broken, by_kind[None, True]),
    }


def share(part: int, rest: int) -> float | None:
    return round(part / (part + rest), 4) if part + rest else None


def scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the area under the ROC of the signals' sum, of each signal, and of each fault."""
    doubts = {"all": [doubt(row["question"]) for row in rows]}
    for name, signal in TEXT_SIGNALS.items():
        doubts[name] = [signal(row["question"]).score for row in rows]

    def area(name: str, faults: Sequence[str]) -> float:
        pairs = list(zip(rows, doubts[name], strict=True))
        broken = [score for row, score in pairs if row["fault"] in faults]
        return round(auc(broken, [score for row, score in pairs if row["valid"]]), 4)

    return {
        "auc": area("all", FAULTS),
        "auc_by_fault": {fault: area("all", [fault]) for fault in FAULTS},
        "auc_by_signal": {name: area(name, FAULTS) for name in TEXT_SIGNALS},
        "threshold": REFUSED_FROM,
    }


def valimath(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the filters that see a text alone."""
    lines = (options.data / "valimath.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    compared = judges()
    start = time.process_time()
    found = figures(rows, compared["default"])
    seconds = time.process_time() - start
    back = [row for row in rows if is_held_back(row)]
    return {
        **found,
        **scores(rows),
        "held_back": {"rows": len(back), **figures(back, compared["default"]), **scores(back)},
        "compared": {name: figures(rows, judge) for name, judge in compared.items()},
        "rows": len(rows),
        "ms_per_text": round(1000 * seconds / len(rows), 2),
    }


def valimath_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown."""
    named = {**found["compared"], "default, held back": found["held_back"]}
    head = ["filters", "valid kept", "broken refused", *FAULTS, "precision"]
    rows = [head]
    for name, each in named.items():
        values = [each["kept_valid"], each["refused_invalid"], *each["refused_by_fault"].values()]
        rows.append([name.replace("_", " "), *map(percent, [*values, each["precision"]])])
    areas = [["area under the ROC", "all faults", *FAULTS]]
    for name, each in (("all rows", found), ("held back", found["held_back"])):
        areas.append([name, *(f"{a:.3f}" for a in (each["auc"], *each["auc_by_fault"].values()))])
    signals = [["signal", *TEXT_SIGNALS], ["area", *map(str, found["auc_by_signal"].values())]]
    lines: list[str] = []
    for table in (rows, areas, signals):
        lines += [*as_table(table), ""]
    return [*lines, f"{found['ms_per_text']} ms of processor time a text, all filters together."]


@dataclass(frozen=True)
class Group:
    """One question of a sandbox with what the signals say of its votes, and whether it is valid."""

    features: dict[str, float]
    valid: bool
    part: str  # "early", "middle" or "late" in its run


def read_groups(ledger: Path, domain: AnswerDomain) -> list[Group]:
    """Return the groups of a run in order; a question may stand in several."""
    found = [row for row in read_lines(ledger) if row.get("type") == "group"]
    return [
        Group(
            features_of(
                text=doubt(row["instruction"]),
                domain=domain.sign(row["majority_answer"] or ""),
                shape=shape_of(list(row["answers"].values()), row["num_unparsable"]),
            ),
            solve(row["instruction"]) is not None,
            ("early", "middle", "late")[3 * place // len(found)],
        )
        for place, row in enumerate(found)
    ]


def signals(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the signals that come free with the votes, and the model of them all."""
    domain = AnswerDomain().learn(problem.answer for problem in seed_problems())
    groups: dict[str, list[Group]] = {}
    for name, path in options.ledgers:
        groups.setdefault(name, []).extend(read_groups(path, domain))
    found: dict[str, Any] = {}
    for sandbox, seen in groups.items():
        scored = {name: [group.features[name] for group in seen] for name in FEATURES}
        # What speaks against a question speaks for it the other way round.
        for name in AGAINST:
            scored[name] = [-score for score in scored[name]]
        scored["gate"] = crossed(seen)
        for name, each in scored.items():
            areas = {f"auc_{part}": area(seen, each, part) for part in ("early", "late")}
            found.setdefault(name, {})[sandbox] = {
                **areas,
                "rollouts_per_question": 0,
                "kept_valid_at": {str(p): kept_at(seen, each, p) for p in PRECISIONS},
            }
    if options.fit:
        hard = groups["hard"]
        model = fit([group.features for group in hard], [group.valid for group in hard])
        shipped = Path(gate.__file__).with_suffix(".json")
        shipped.write_text(json.dumps(asdict(model), indent=1) + "\n", encoding="utf-8")
    return found


def crossed(groups: Sequence[Group]) -> list[float]:
    """Return the chances by models of the other half: of the odd groups for the even, and back."""
    chances = [0.0] * len(groups)
    for half in (0, 1):
        other = groups[1 - half :: 2]
        model = fit([group.features for group in other], [group.valid for group in other])
        chances[half::2] = [model.p_valid(group.features) for group in groups[half::2]]
    return chances


def kept_at(groups: Sequence[Group], each: Sequence[float], precision: float) -> float:
    """Return the share of the valid questions kept where so many of the kept are to be valid."""
    valid = [group.valid for group in groups]
    least = threshold_for(each, valid, precision=precision)
    kept = [is_valid and score >= least for score, is_valid in zip(each, valid, strict=True)]
    return round(sum(kept) / sum(valid), 4)


def area(groups: Sequence[Group], each: Sequence[float], part: str) -> float:
    pairs = [pair for pair in zip(groups, each, strict=True) if pair[0].part == part]
    valid = [score for group, score in pairs if group.valid]
    return round(auc(valid, [score for group, score in pairs if not group.valid]), 4)


def signals_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown."""
    sandboxes = list(next(iter(found.values())))
    head = ["signal", *(f"{name}, {part}" for name in sandboxes for part in ("early", "late"))]
    rows = [[*head, *(f"{s}, kept at {p}" for s in sandboxes for p in PRECISIONS)]]
    for name, each in found.items():
        areas = [each[s][f"auc_{part}"] for s in sandboxes for part in ("early", "late")]
        kept = [each[s]["kept_valid_at"][str(p)] for s in sandboxes for p in PRECISIONS]
        rows.append([name, *(f"{value:.3f}" for value in areas), *map(percent, kept)])
    return as_table(rows)


def ledger_of(text: str) -> tuple[str, Path]:
    sandbox, _, path = text.partition("=")
    if sandbox not in ("easy", "hard") or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not easy=FILE or hard=FILE with a file there")
    return sandbox, Path(path)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


# A further part is a function of the options and a function that writes it as Markdown.
PARTS = {"valimath": (valimath, valimath_text), "signals": (signals, signals_text)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["valimath"])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data")
    parser.add_argument("--json", type=Path, default=HERE / "results/validity.json")
    parser.add_argument("--results", type=Path, help="Markdown file to append to")
    parser.add_argument("--ledgers", type=ledger_of, nargs="+", help="of the part signals")
    parser.add_argument("--fit", action="store_true", help="write the model of the gate anew")
    options = parser.parse_args()
    if "signals" in options.parts and not options.ledgers:
        parser.error("--ledgers is needed for --parts signals")
    if options.fit and "hard" not in dict(options.ledgers or ()):
        parser.error("--fit needs a ledger hard=FILE")

    whole = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
    lines = [
        f"## Validity of questions, {made_on()['date']}",
        "",
        f"`python -m benchmarks.validity --parts {' '.join(options.parts)}`.",
        "",
    ]
    for name in options.parts:
        measure, as_text = PARTS[name]
        whole[name] = measure(options)
        # After each part: the later ones may take hours.
        options.json.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
        lines += [f"### {name}", "", *as_text(whole[name]), ""]
    print("\n".join(lines))
    if options.results:
        with options.results.open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
