"""`serl propose`: proposals of the untrained model, each with its fate."""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serl_trl.cli.build import build_trainer
from serl_trl.cli.command_options import ProposeOptions
from serl_trl.cli.inputs import load_inputs
from serl_trl.cli.parser import SeRLParser
from serl_trl.common.console import OK, say, write_json, write_text
from serl_trl.common.processes import is_main_process
from serl_trl.common.text import visible
from serl_trl.loop.proposing import JudgedProposal


def run(argv: Sequence[str], out: Console) -> int:
    """Write proposals with the present weights; print and save each with its fate."""
    with tempfile.TemporaryDirectory() as folder:
        # The trainer needs a folder, and looking must not touch the run's own.
        # No KL term: nothing is trained, and a reference would take the model's memory again.
        forced = ["--output_dir", folder, "--beta", "0", "--sync_ref_model", "false"]
        args = SeRLParser(prog="serl propose", extra=ProposeOptions).parse([*argv, *forced])
        trainer = build_trainer(args, load_inputs(args, to_train=False))
        with out.status("proposing"):
            judged = trainer.propose(args.extra.num, tell=lambda line: say(out, visible(line)))
        trainer.accelerator.end_training()
    out.print(_table(judged))
    kept = sum(each.verdict.keep for each in judged)
    refused = Counter(each.verdict.reason for each in judged if not each.verdict.keep)
    reasons = ", ".join(f"{visible(reason)} {n}" for reason, n in refused.most_common())
    say(out, f"kept {kept} of {len(judged)}; refused: {reasons or 'none'}")
    rows = [_row(each) for each in judged]
    if args.extra.output and is_main_process():
        write_text(args.extra.output, "".join(json.dumps(row) + "\n" for row in rows))
        say(out, f"written to {args.extra.output}")
    report = {
        "num_proposals": len(judged),
        "num_kept": kept,
        "kept_rate": kept / len(judged) if judged else 0.0,
        "refused": dict(refused.most_common()),
        "proposals": rows,
    }
    write_json(args.run.json, report)
    return OK


def _table(judged: Sequence[JudgedProposal]) -> Table:
    table = Table("", "fate", "proposal", show_lines=True)
    for number, proposal in enumerate(judged, start=1):
        verdict = proposal.verdict
        fate = Text("kept", "green") if verdict.keep else Text(visible(verdict.reason), "red")
        table.add_row(str(number), fate, Text(visible(proposal.text)))
    return table


def _row(proposal: JudgedProposal) -> dict[str, Any]:
    verdict = proposal.verdict
    return {
        "text": proposal.text,
        "keep": verdict.keep,
        "reason": verdict.reason,
        "detail": None if verdict.detail is None else dict(verdict.detail),
        "shots": list(proposal.shots),
    }
