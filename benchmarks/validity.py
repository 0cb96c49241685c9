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
answers is learnt from the seeds' own. "replay" asks what the gate would have done in runs that its
model was not fitted on, and `--fit` writes that model, fitted on all of the hard sandbox. "arms"
trains with and without the gate; runs that `benchmarks.hard` has finished are read from
`--hard_dir`:

    python -m benchmarks.validity --parts arms --work_dir runs/validity --hard_dir runs/hard

"asked" measures the signals that ask the model, and what they cost (`validity_asked.py`), and
"smollm2" what is kept of proposals that were judged by hand (`validity_smollm2.py`). "easy" asks
what the shipped gate would have kept in runs of the easy sandbox, on which it was not fitted.
"calibrate" sets the strict threshold where signals ask, from runs of the arm "gate":

    python -m benchmarks.validity --parts calibrate --ledgers hard=RUN/_serl/ledger.jsonl ...
"""

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import validity_arms, validity_asked, validity_calibrate, validity_smollm2
from benchmarks.study import as_table, auc, made_on
from serl_trl.common.files import read_lines
from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.registry import default_filters
from serl_trl.filters.validity import gate
from serl_trl.filters.validity.answer_domain import AnswerDomain
from serl_trl.filters.validity.gate import (
    AGAINST,
    CAREFUL,
    FEATURES,
    STRICT,
    features_of,
    fit,
    threshold_for,
)
from serl_trl.filters.validity.sign import Sign
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
FREE = ("text", "domain")  # signs that a gate reads beside the votes
LOW, HIGH, UNANIMOUS = 0.2, 0.8, 0.95  # ends of the band; the last is short of 16 of 16

# The sandboxes' models do not know its form, so its weight would be 0 for all models.
UNFITTED = ("self_judge",)

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
    doubts = {"all": [doubt(row["question"]).score for row in rows]}
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
    run: Path

    def is_split(self, most: float = 1.0) -> bool:
        """Whether the gate could judge it: more than one answer, and a majority of at most this."""
        majority = self.features["majority"]
        return self.features["margin"] > 0 and LOW <= majority <= most and majority < 1


def read_groups(ledger: Path, domain: AnswerDomain) -> list[Group]:
    """Return the groups of a run in order; a question may stand in several."""
    found = [row for row in read_lines(ledger) if row.get("type") == "group"]
    return [
        Group(
            features_of(
                text=doubt(row["instruction"]).score,
                domain=domain.sign(row["majority_answer"] or ""),
                shape=shape_of(list(row["answers"].values()), row["num_unparsable"]),
            ),
            solve(row["instruction"]) is not None,
            ("early", "middle", "late")[3 * place // len(found)],
            ledger,
        )
        for place, row in enumerate(found)
    ]


def signals(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the signals that come free with the votes, and the model of them all."""
    groups, found = read_ledgers(options), {}
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
    return found


def read_ledgers(options: argparse.Namespace) -> dict[str, list[Group]]:
    """Return the groups of the ledgers that the options name, by sandbox."""
    domain = AnswerDomain().learn(problem.answer for problem in seed_problems())
    groups: dict[str, list[Group]] = {}
    for name, path in options.ledgers:
        groups.setdefault(name, []).extend(read_groups(path, domain))
    return groups


def crossed(groups: Sequence[Group]) -> list[float]:
    """Return the chances by models of the other half: of the odd groups for the even, and back."""
    chances = [0.0] * len(groups)
    for half in (0, 1):
        model = fitted(groups[1 - half :: 2])
        chances[half::2] = [model.p_valid(group.features) for group in groups[half::2]]
    return chances


def fitted(groups: Sequence[Group]) -> gate.ValidityModel:
    """Return the model that suits these groups, out of which it uses those the gate may judge."""
    split = [group for group in groups if group.is_split()]
    return fit([group.features for group in split], [group.valid for group in split])


def replay(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the gate would have done in each hard run, fitted on the others."""
    hard = read_ledgers(options)["hard"]
    found: dict[str, Any] = {}
    for upper in (HIGH, UNANIMOUS):
        for part in ("early", "late"):
            each = [
                replayed(
                    [g for g in hard if g.run != run],
                    [g for g in hard if g.run == run],
                    part,
                    upper,
                )
                for run in dict.fromkeys(group.run for group in hard)
            ]
            means = {name: round(fmean(one[name] for one in each), 4) for name in each[0]}
            found.setdefault(f"band to {upper}", {})[part] = means
    if options.fit:
        shipped = Path(gate.__file__).with_suffix(".json")
        old = [each for each in json.loads(shipped.read_text("utf-8")) if len(each["weights"]) > 1]
        more = list(map(asdict, asked_models(options.asked))) if options.asked else old
        shipped.write_text(json.dumps([asdict(fitted(hard)), *more], indent=1) + "\n", "utf-8")
    return found


def asked_models(path: Path) -> list[gate.ValidityModel]:
    """Return a model for each set of signals that ask, fitted on the rows of the part "asked"."""
    found = [row for row in read_lines(path) if row["sandbox"] == "hard"]
    # The frozen model was asked in place of the one that trains, which a run asks.
    split = [row for row in found if row["stage"] != "frozen" and len(row["counts"]) > 1]
    seen = [
        {"agreement": shape_of(row["counts"], row["num_unparsable"]).agreement, **row["signs"]}
        for row in split
    ]
    valid = [row["gold"] is not None for row in split]
    signals = sorted(seen[0].keys() - {"agreement", *UNFITTED})
    sets = [names for size in range(len(signals)) for names in combinations(signals, size + 1)]
    return [fit(seen, valid, ["agreement", *names]) for names in sets]


def replayed(
    others: Sequence[Group], own: Sequence[Group], part: str, upper: float
) -> dict[str, float]:
    """Return what a model of the `others` makes of one part of a run, in the band up to `upper`."""
    model = fitted(others)
    banded = [group for group in own if group.part == part and group.is_split(upper)]
    chances = [model.p_valid(group.features) for group in banded]
    rest = [group for group in others if group.is_split()]
    by_others = [model.p_valid(group.features) for group in rest]
    surest = threshold_for(by_others, [group.valid for group in rest], precision=0.9)
    found = {"auc": area(banded, chances, part), "valid": fmean(g.valid for g in banded)}
    for name, least in (("careful", model.careful), ("strict", model.strict), ("at 0.9", surest)):
        kept = [g.valid for g, chance in zip(banded, chances, strict=True) if chance >= least]
        found |= {
            f"{name}, kept": len(kept) / len(banded),
            f"{name}, of the valid": sum(kept) / sum(group.valid for group in banded),
            f"{name}, valid": fmean(kept) if kept else 0.0,
        }
    return found


def replay_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown."""
    columns = [(band, part) for band in found for part in found[band]]
    rows = [["in the band from 0.2", *(f"{band[5:]}, {part}" for band, part in columns)]]
    for name in found[columns[0][0]][columns[0][1]]:
        rows.append([name, *(f"{found[band][part][name]:.3f}" for band, part in columns)])
    return [
        *as_table(rows),
        "",
        f"careful: {CAREFUL:.0%} of what is refused is broken; strict: {STRICT[-1]:.0%} of what is "
        "kept is valid, both by the other runs.",
    ]


def easy(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the shipped gate would have kept in runs of the easy sandbox."""
    model, groups = gate.best_of(gate.shipped()), read_ledgers(options)["easy"]
    chances = [
        gate.judge(
            model, each.features["agreement"], {n: Sign(each.features[n]) for n in FREE}
        ).p_valid
        for each in groups
    ]
    found = {}
    for name, most, least in (
        ("off", HIGH, 0.0),
        ("careful", HIGH, model.careful),
        ("strict", UNANIMOUS, model.strict),
    ):
        pairs = zip(groups, chances, strict=True)
        kept = [g.valid for g, chance in pairs if g.is_split(most) and chance >= least]
        found[name] = {"kept": len(kept), "kept_without_gold": round(1 - fmean(kept), 4)}
    return {"groups": len(groups), "runs": len(options.ledgers), "settings": found}


def easy_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown."""
    rows = [["validity", "groups kept", "of these without a valid answer"]]
    rows += [
        [name, f"{each['kept']:,}", percent(each["kept_without_gold"])]
        for name, each in found["settings"].items()
    ]
    return [f"{found['groups']:,} groups of {found['runs']} runs.", "", *as_table(rows)]


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
PARTS = {
    "valimath": (valimath, valimath_text),
    "signals": (signals, signals_text),
    "replay": (replay, replay_text),
    "arms": (validity_arms.arms, validity_arms.arms_text),
    "asked": (validity_asked.asked, validity_asked.asked_text),
    "smollm2": (validity_smollm2.smollm2, validity_smollm2.smollm2_text),
    "easy": (easy, easy_text),
    "calibrate": (validity_calibrate.calibrate, validity_calibrate.calibrate_text),
}
NEED_LEDGERS = {"signals", "replay", "easy", "calibrate"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["valimath"])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data")
    parser.add_argument("--json", type=Path, default=HERE / "results/validity.json")
    parser.add_argument("--results", type=Path, help="Markdown file to append to")
    parser.add_argument("--ledgers", type=ledger_of, nargs="+", help="of parts that read runs")
    parser.add_argument("--asked", type=Path, help="of --fit: rows.jsonl of the part asked")
    parser.add_argument("--fit", action="store_true", help="of replay: write the gate's model anew")
    validity_arms.add_options(parser)
    validity_asked.add_options(parser)
    validity_smollm2.add_options(parser)
    options = parser.parse_args()
    if "asked" in options.parts and not options.runs:
        parser.error("--runs is needed for --parts asked")
    if NEED_LEDGERS & {*options.parts} and not options.ledgers:
        parser.error(f"--ledgers is needed for --parts {', '.join(sorted(NEED_LEDGERS))}")
    if "replay" in options.parts and "hard" not in dict(options.ledgers):
        parser.error("--parts replay needs ledgers hard=FILE of several runs")

    whole = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
    lines = [
        f"## Validity of questions, {made_on()['date']}",
        "",
        f"`python -m benchmarks.validity --parts {' '.join(options.parts)}`.",
        "",
    ]
    for name in options.parts:
        measure, as_text = PARTS[name]
        measured = measure(options)
        # The arms stand beside their seeds and steps, and all signals in one table.
        home = "signals" if name == "asked" else name
        whole |= measured if name == "arms" else {home: {**whole.get(home, {}), **measured}}
        # After each part: the later ones may take hours.
        options.json.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
        lines += [f"### {name}", "", *as_text(measured), ""]
    print("\n".join(lines))
    if options.results:
        with options.results.open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
