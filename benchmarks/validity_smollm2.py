"""What filters and gate keep of the proposals of SmolLM2-135M-Instruct, which people judged.

    serl init --seed_set FILE --output arithmetic.yaml --machine cpu --model_name_or_path MODEL
    serl propose --config arithmetic.yaml -n 9999 --num_requests 8 --max_refill_rounds 5 \\
        --proposer_max_tokens 128 --bf16 true --output arithmetic.jsonl
    python -m benchmarks.validity --parts smollm2 --written arithmetic=arithmetic.jsonl \\
        reviews=RUN/_serl/ledger.jsonl --vote_by arithmetic.yaml

FILE holds the seeds of the easy sandbox; RUN is one of `benchmarks.real`, whose first step has the
proposals of the untrained model. Each new row of `--judged` waits there for a judgement: valid (the
question has one answer), broken (it has none, or cannot be understood) or copy (of a seed, but for
a word or two). Rows keep their judgement by the hash of their text. The seeds of the reviews are
somebody else's, so that the text of whatever may hold one is left out. Without `--written` the rows
are counted as they are.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.study import ROOT, as_table
from serl_trl.common.files import read_lines

JUDGED = ("valid", "broken", "copy")
OWN_SEEDS = ("arithmetic",)
# A text that is nearer to a seed, by ROUGE-L, may hold a clause of it.
MAX_ROUGE_L = 0.45
NUM_REQUESTS = 40
NUM_VOTES = 8

Row = dict[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the part "smollm2" takes."""
    home = ROOT / "benchmarks/results/validity_smollm2.jsonl"
    parser.add_argument("--judged", type=Path, default=home, help="of smollm2: rows by hand")
    parser.add_argument(
        "--written", type=_file_of, nargs="+", help="of smollm2: new rows, DOMAIN=FILE"
    )
    parser.add_argument(
        "--vote_by", type=Path, help="of smollm2: a config that votes on arithmetic, 8 votes each"
    )


def _file_of(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not DOMAIN=FILE with a file there")
    return name, Path(path)


def smollm2(options: argparse.Namespace) -> dict[str, Any]:
    """Return how many proposals of each judgement the filters and the gate keep."""
    rows = list(read_lines(options.judged)) if options.judged.is_file() else []
    if options.written:
        known = {row["sha256"]: row["judged"] for row in rows}
        rows = [row for name, file in options.written for row in read_written(name, file, known)]
        if options.vote_by:
            note_votes(options.vote_by, [row for row in rows if row["domain"] == "arithmetic"])
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        options.judged.write_text("".join(lines), encoding="utf-8")
    return {
        name: counts([row for row in rows if row["domain"] == name])
        for name in dict.fromkeys(row["domain"] for row in rows)
    }


def read_written(domain: str, file: Path, known: dict[str, str]) -> list[Row]:
    """Return the proposals of the first 40 requests that gave any, with what is known of each."""
    lines = [row for row in read_lines(file) if not row.get("step")]
    found = [row for row in lines if row.get("type", "proposal") == "proposal"]
    votes = {row["instruction"]: row for row in lines if row.get("type") == "group"}
    # A request is known by its examples.
    first = [*dict.fromkeys(tuple(row["shots"]) for row in found)][:NUM_REQUESTS]
    rows = []
    for row in found:
        if tuple(row["shots"]) in first:
            key = hashlib.sha256(row["text"].encode()).hexdigest()[:16]
            group = votes.get(row["text"])
            fate = {"kept": row["keep"], "reason": row["reason"], "votes": None}
            if group:
                of = list(group["answers"].items())
                fate["votes"] = {"kept": group["keep"], "reason": group["reason"], "of": of}
            near = (row["detail"] or {}).get("rouge_l", 1.0) >= MAX_ROUGE_L
            hidden = domain not in OWN_SEEDS and (near or not row["keep"])
            text = None if hidden else row["text"]
            judged = known.get(key)
            rows.append({"domain": domain, "judged": judged, **fate, "sha256": key, "text": text})
    return rows


def note_votes(config: Path, rows: Sequence[Row]) -> None:
    """Roll out the rows that the filters keep, and note what band and gate make of each."""
    from serl_trl.cli.build import build_trainer
    from serl_trl.cli.command_options import TryOptions
    from serl_trl.cli.inputs import load_inputs
    from serl_trl.cli.parser import SeRLParser
    from serl_trl.loop.groups import Rolled
    from serl_trl.loop.tally import Tally
    from serl_trl.propose.prompts import rollout_messages
    from serl_trl.propose.sources.base import Task

    kept = [row for row in rows if row["kept"]]
    parser = SeRLParser(prog="serl try", extra=TryOptions)
    args = parser.parse(["--config", str(config), "--num_generations", str(NUM_VOTES)])
    trainer = build_trainer(args, load_inputs(args))
    trainer.model.eval()
    completions = trainer.policy.sample([row["text"] for row in kept], NUM_VOTES)
    tasks = [Task(row["text"], f"proposal:{place}") for place, row in enumerate(kept)]
    prompts = [rollout_messages(task.instruction, args.config.style) for task in tasks]
    labelling = trainer.selfplay.labelling
    for row, group in zip(
        kept, labelling.judge(tasks, Rolled(prompts, completions), 0, Tally()), strict=True
    ):
        verdict = group.labelled.verdict
        row["votes"] = {"kept": verdict.keep, "reason": verdict.reason, "of": group.vote.counts}


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how many of each judgement were written, passed the filters, and the votes."""
    found = {}
    for judged in JUDGED:
        own = [row for row in rows if row["judged"] == judged]
        voted = [row["votes"] for row in own if row["votes"]]
        found[judged] = {
            "written": len(own),
            "kept_by_filters": sum(row["kept"] for row in own),
            "refused": dict(Counter(row["reason"] for row in own if not row["kept"]).most_common()),
            "voted_on": len(voted),
            "kept_by_band_and_gate": sum(vote["kept"] for vote in voted),
            "votes_refused": dict(Counter(v["reason"] for v in voted if not v["kept"])),
        }
    return found


def smollm2_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown."""
    table = [["domain", "judged by hand", "written", "kept by the filters", "refused"]]
    table[0] += ["voted on", "kept after the vote", "refused then"]
    for domain, by_judgement in found.items():
        for judged, each in by_judgement.items():
            why = [_reasons(each[name]) for name in ("refused", "votes_refused")]
            row = [domain, judged, str(each["written"]), str(each["kept_by_filters"]), why[0]]
            table.append([*row, str(each["voted_on"]), str(each["kept_by_band_and_gate"]), why[1]])
    return as_table(table)


def _reasons(counted: dict[str, int]) -> str:
    return ", ".join(f"{reason} {number}" for reason, number in counted.items())
