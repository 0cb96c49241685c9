"""The strict threshold from runs that asked: part "calibrate" of the study of validity.

The model is fitted on questions of runs without a gate. Those that reach the signals in a run with
one are others, more of them broken, so the threshold of the fit keeps too many of these.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.study import as_table
from serl_trl.common.files import read_lines
from serl_trl.filters.validity import gate

# The signals that the runs asked, and the share of the kept that should be valid.
ASKED, PRECISION = {"abstention", "restatable"}, 0.9
SHIPPED = Path(gate.__file__).with_suffix(".json")


def calibrate(options: argparse.Namespace) -> dict[str, Any]:
    """Write the least threshold that keeps 90 % valid ones of the groups that were asked about."""
    rows = [
        row
        for name, path in options.ledgers
        for row in read_lines(path)
        if name == "hard" and "num_asked" in row.get("detail", {})
    ]
    chances = [row["detail"]["p_valid"] for row in rows]
    valid = [row["gold"] is not None for row in rows]
    least = gate.threshold_for(chances, valid, precision=PRECISION)
    models = json.loads(SHIPPED.read_text("utf-8"))
    for model in models:
        if model["weights"].keys() >= ASKED:
            model["strict"] = least
    SHIPPED.write_text(json.dumps(models, indent=1) + "\n", "utf-8")
    kept = [row for row, chance in zip(rows, chances, strict=True) if chance >= least]
    return {
        "groups": len(rows),
        "valid": fmean(valid),
        "threshold": least,
        "kept": len(kept) / len(rows),
        "kept_valid": fmean(row["gold"] is not None for row in kept),
        "kept_right": fmean(bool(row["label_right"]) for row in kept),
        "of_the_valid": sum(row["gold"] is not None for row in kept) / sum(valid),
    }


def calibrate_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown."""
    head = ["groups asked about", "valid", "threshold", "kept", "valid of the kept"]
    cells = [f"{found['groups']:,}"]
    cells += [f"{found[name]:.3f}" for name in ("valid", "threshold", "kept", "kept_valid")]
    more = {"kept_right": "label right of the kept", "of_the_valid": "kept of the valid"}
    cells += [f"{found[name]:.3f}" for name in more]
    return as_table([[*head, *more.values()], cells])
