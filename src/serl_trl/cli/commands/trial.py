"""`serl try`: will it work for mine? The untrained model, tried on the data of a config."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from serl_trl.cli.build import build_trainer
from serl_trl.cli.command_options import TryOptions
from serl_trl.cli.inputs import load_inputs
from serl_trl.cli.parser import SeRLParser
from serl_trl.common.console import OK, say, write_json
from serl_trl.common.text import visible
from serl_trl.measure.rules import judge
from serl_trl.plan.estimate import Layout
from serl_trl.plan.trial_cost import measured_cost
from serl_trl.report.terminal import show
from serl_trl.report.trial import trial_page


def run(argv: Sequence[str], out: Console) -> int:
    """Try the model, say what was found and what follows; a bad verdict is no failure."""
    with tempfile.TemporaryDirectory() as folder:
        # The trainer needs a folder, and a trial must not touch the run's own.
        args = SeRLParser(prog="serl try", extra=TryOptions).parse([*argv, "--output_dir", folder])
        values, given = dict(vars(args.config)), args.extra
        # The reference would take the model's memory again, and nothing is trained.
        args.config.beta, args.config.sync_ref_model = 0.0, False
        trainer = build_trainer(args, load_inputs(args))
        with out.status("trying the model"):
            trial = trainer.try_out(
                num_seeds=given.try_seeds,
                num_votes=given.try_votes or args.config.num_generations,
                num_proposals=given.try_proposals,
                tell=lambda line: say(out, visible(line)),
            )
        layout = Layout(trainer.accelerator.num_processes)
        trainer.accelerator.end_training()
    judgement, cost = judge(trial), measured_cost(values, layout, trial)
    show(trial_page(trial, judgement, cost, values), out)
    report = {
        "verdict": judgement.decision,
        "findings": [asdict(finding) for finding in judgement.findings],
        **asdict(trial),
        "cost": cost and {**asdict(cost), "step_s": cost.step_s},
    }
    write_json(args.run.json, report)
    return OK
