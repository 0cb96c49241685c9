"""`serl demo`: measure the sandbox's model, train it, measure it again, and show both."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serl_trl import sandbox
from serl_trl.cli.build import build_trainer
from serl_trl.cli.commands.train import finish, outcome, prepare, train
from serl_trl.cli.parser import SeRLParser
from serl_trl.common.console import STOPPED, report_problems, say
from serl_trl.common.text import count_of
from serl_trl.measure.figures import Measurement
from serl_trl.runs.facts import public_name
from serl_trl.runs.reader import write_evaluation

NUM_SAMPLES = 16
FIGURES = ("pass@1", f"maj@{NUM_SAMPLES}", f"pass@{NUM_SAMPLES}", "greedy")
_RESUME = ("--overwrite", "--resume", "--resume_from_checkpoint", "--resume-from-checkpoint")
_PARTS = {
    "model.safetensors": "the trained model, beside its tokenizer and its card README.md",
    "_serl/config.yaml": "every option as it was",
    "_serl/metrics.jsonl": "one line per logging step",
    "_serl/ledger.jsonl": "one line per proposal and per group, with its fate",
}


def run(argv: Sequence[str], out: Console) -> int:
    """Train the built-in sandbox on the CPU and show it before and after."""
    if not any(text.split("=")[0] in _RESUME for text in argv):
        # A second demo must not fail because of the first.
        argv = ["--overwrite", "true", *argv]
    parser = SeRLParser(prog="serl demo")
    args = parser.parse(argv, default_config=str(sandbox.CONFIG_PATH))
    if args.run.probe_set is None:
        return report_problems("demo", ["probe_set is missing; the demo measures on it."])
    started = time.perf_counter()
    inputs = prepare(args, out)
    assert inputs.probe_set is not None, "it is named, and was read"
    problems = inputs.probe_set.rows()
    trainer = build_trainer(args, inputs)

    def measure(when: str) -> Measurement:
        # One seed for both, so that the weights alone make the difference.
        with out.status(f"measuring {when} training on {len(problems)} held-out problems"):
            return trainer.measure(problems, num_samples=NUM_SAMPLES, seed=args.config.seed)

    before = measure("before")
    if not train(args, trainer, out):
        return STOPPED
    after = measure("after")
    folder = Path(str(trainer.args.output_dir))
    source = {"problem_set": public_name(inputs.probe_set.source), "temperature": 1.0}
    write_evaluation(folder, before, after, **source)
    report = {"before": _figures(before), "after": _figures(after), **outcome(trainer, started)}
    out.print(_before_after(before, after))
    say(
        out,
        f"{count_of(len(problems), 'held-out problem')}, {NUM_SAMPLES} samples each at "
        f"temperature 1 and one greedy; 95 % intervals over problems; {report['seconds']:.0f} s",
    )
    _show_folder(folder, out)
    return finish(args, trainer, report, out)


def _figures(measurement: Measurement) -> dict[str, float]:
    summary = measurement.summary()
    return {name: summary[name] for name in FIGURES}


def _before_after(before: Measurement, after: Measurement) -> Table:
    table = Table("held out", "before", "after", "change")
    earlier, later = before.intervals(), after.intervals()
    for name in FIGURES:
        old, new = earlier[name], later[name]
        cells = [Text(f"{each.mean:.3f}  {each.bounds()}") for each in (old, new)]
        table.add_row(name, *cells, f"{new.mean - old.mean:+.3f}")
    return table


def _show_folder(folder: Path, out: Console) -> None:
    say(out, f"the run lies in {folder.absolute()}")
    for name, meaning in _PARTS.items():
        if (folder / name).exists():
            say(out, f"  {name:<20} {meaning}")
