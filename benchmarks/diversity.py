"""Does a long run repeat itself? Copies and templates over time, from the ledgers of sandbox runs.

serl demo --max_steps 100 --output_dir runs/long
serl demo --max_steps 100 --output_dir runs/long_paper --preset paper --beta 1e-4
python benchmarks/diversity.py runs/long runs/long_paper --results benchmarks/RESULTS.md
"""

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Any

from serl_trl.common.files import read_lines
from serl_trl.common.mathtext import normal_form
from serl_trl.loop.diversity import distinct_ratio, template_ratio
from serl_trl.sandbox import num_phrasings, seed_set

NUM_PARTS = 4


def main() -> None:
    """Print one table for all runs."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    table = as_markdown({folder.name: look(folder) for folder in options.runs})
    sys.stdout.write(table)
    if options.results:
        with options.results.open("a") as file:
            file.write(table)


def look(folder: Path) -> dict[str, Any]:
    """Return the figures of one run; the accepted instructions are cut into parts in order."""
    records = read_lines(folder / "_serl" / "ledger.jsonl")
    proposals = [record for record in records if record["type"] == "proposal"]
    accepted = [record["text"] for record in proposals if record["keep"]]
    known = {normal_form(seed) for seed in seed_set()}
    forms = [normal_form(text) for text in accepted]
    size = len(accepted) // NUM_PARTS
    parts = [accepted[i * size : (i + 1) * size] for i in range(NUM_PARTS)]
    return {
        "steps": max(record["step"] for record in proposals) + 1,
        "proposals": len(proposals),
        "accepted": len(accepted),
        "repeated": len(forms) - len(set(forms)),
        "seed_copies": sum(form in known for form in forms),
        "phrasings": [num_phrasings(part) for part in parts],
        "template_ratios": [template_ratio(part) for part in parts],
        "distinct": [distinct_ratio(part, n=2) for part in parts],
    }


def as_markdown(runs: dict[str, dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = [f"\n## Long runs, {date.today().isoformat()}\n"]
    lines += [
        "`python benchmarks/diversity.py`: accepted instructions of each run, the last three "
        "columns by quarters of them in order.\n"
    ]
    lines += [
        "| run | steps | proposals | accepted | equal to an earlier one | copies of a seed "
        "| phrasings of the domain | templates per text | distinct-2 |"
    ]
    lines += ["| --- " * 9 + "|"]
    for name, run in runs.items():
        ratios = [" ".join(f"{v:.3f}" for v in run[key]) for key in ("template_ratios", "distinct")]
        counts = [f"{run[key]:,}" for key in ("proposals", "accepted", "repeated", "seed_copies")]
        phrasings = " ".join(map(str, run["phrasings"]))
        cells = [name, str(run["steps"]), *counts, phrasings, *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
