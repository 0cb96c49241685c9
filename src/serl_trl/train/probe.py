"""What a person sees of a run that trains: a bar with what it waits for, a table, measurements."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.utils import is_in_notebook

from serl_trl.common.console import progress_bar
from serl_trl.common.files import JsonLines
from serl_trl.common.text import visible
from serl_trl.loop.label_trust import check_label, probe_metrics, reliability_curve, reward_gap
from serl_trl.measure.figures import Measurement
from serl_trl.train.host import Host, inside

if TYPE_CHECKING:
    from rich.progress import Progress

    from serl_trl.loop.groups import Group
    from serl_trl.loop.proposing import JudgedProposal

# Heading, metric, format of each column of the console's table; an absent metric stays blank.
COLUMNS = (
    ("step", "step", "{:.0f}"),
    ("majority", "serl/majority_ratio", "{:.2f}"),
    ("kept", "serl/kept_ratio", "{:.2f}"),
    ("accepted", "serl/accepted_ratio", "{:.2f}"),
    ("label acc", "serl/label_accuracy", "{:.2f}"),
    ("probe", "serl/probe/pass@1", "{:.3f}"),
    ("pool", "serl/pool_size", "{:.0f}"),
    ("length", "completions/mean_length", "{:.1f}"),
    ("entropy", "entropy", "{:.3f}"),
    ("propose s", "serl/time/propose_s", "{:.1f}"),
    ("roll out s", "serl/time/rollout_s", "{:.1f}"),
    ("own s", "serl/time/own_s", "{:.2f}"),
    ("update s", "step_time", "{:.1f}"),
)
# The heading comes again before it has left the screen.
ROWS_PER_HEADING = 20
MAX_NOTEBOOK_ROWS = 60
# By its name: its module imports IPython, which only a notebook is sure to have.
NOTEBOOK_CALLBACK = "NotebookProgressCallback"


class Watcher(TrainerCallback):
    """A progress bar over the steps, whose text says what is being waited for, and a table.

    transformers' own bar and table know the loss alone, which says nothing of a self-play run, and
    a step of minutes looks like a hanging one. `every` prints a row every so many steps; 0 prints
    one whenever metrics are logged. `samples_every` shows what the model wrote every so many steps;
    0 never does.
    """

    def __init__(self, *, show: bool, every: int = 0, samples_every: int = 0) -> None:
        self._show = show
        self._every = every
        self._samples_every = samples_every
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: Any = None
        self._num_rows = 0

    def waiting_for(self, part: str, kept: int = 0, needed: int = 0) -> None:
        """Show that the run waits for `part`, with `kept` of `kept + needed` groups found."""
        if self._progress is not None:
            self._progress.update(self._task, description=_waiting(part, kept, needed))

    def show_samples(
        self, step: int, proposals: Iterable["JudgedProposal"], groups: Sequence["Group"]
    ) -> None:
        """Print proposals with their fate, and the first group with its votes, when it is time."""
        if not self._show or not self._samples_every or step % self._samples_every:
            return
        lines = [
            ("kept" if p.verdict.keep else p.verdict.reason, _shortened(p.text)) for p in proposals
        ]
        for group in groups[:1]:
            votes = ", ".join(f"{_shortened(a, 24)} x {n}" for a, n in group.vote.counts[:5])
            lines += [("rolled out", _shortened(group.instruction)), ("votes", votes)]
        for label, text in lines:
            row = f"  {label:>16} | {text}"
            # Text of a model: its brackets are no markup, and a long line is not folded.
            self._console.print(row, style="dim", markup=False, highlight=False, soft_wrap=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the bar."""
        if not self._show:
            return
        # Outside a terminal it would leave an empty line.
        self._progress = progress_bar(self._console, show=self._console.is_terminal)
        self._task = self._progress.add_task(
            "starting", total=state.max_steps, completed=state.global_step
        )
        self._progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance the bar."""
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Print one row of the table, and what was refused and why."""
        if not logs or not self._is_due(state, logs):
            return
        if self._num_rows % ROWS_PER_HEADING == 0:
            heading = _aligned([*(name for name, _, _ in COLUMNS), "refused"])
            self._console.print(heading, style="bold", markup=False, soft_wrap=True)
        prefix = "serl/refused/"
        refused = {key.removeprefix(prefix): n for key, n in logs.items() if key.startswith(prefix)}
        most = sorted(refused.items(), key=lambda item: -item[1])[:3]
        reasons = ", ".join(f"{reason} {count:.0f}" for reason, count in most)
        row = _aligned([*row_values(state, logs), reasons])
        self._console.print(row, markup=False, highlight=False, soft_wrap=True)
        self._num_rows += 1

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _is_due(self, state: Any, logs: dict[str, Any]) -> bool:
        due = self._every == 0 or state.global_step % self._every == 0
        return self._show and due and "serl/num_groups" in logs


class NotebookWatcher(Watcher):
    """The same for a notebook: transformers' live table, with our columns in place of the loss."""

    def __init__(self, *, show: bool, every: int = 0, samples_every: int = 0) -> None:
        super().__init__(show=show, every=every, samples_every=samples_every)
        self._table: Any = None
        self._step = 0

    def waiting_for(self, part: str, kept: int = 0, needed: int = 0) -> None:
        """Say behind the bar what is being waited for."""
        if self._table is not None:
            comment = _waiting(part, kept, needed)
            self._table.update(self._step, force_update=True, comment=comment)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the table."""
        # Imports IPython, which only a notebook is sure to have.
        from transformers.utils.notebook import NotebookTrainingTracker

        if self._show:
            self._table = NotebookTrainingTracker(state.max_steps, [name for name, _, _ in COLUMNS])
            self._step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance the bar."""
        self._step = state.global_step
        if self._table is not None:
            # Without force the table is drawn as often as a notebook can follow, so the last step
            # needs it.
            self._table.update(self._step, force_update=self._step == state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Add one row; the oldest of many leave, because the whole table is drawn each time."""
        if self._table is None or not logs or not self._is_due(state, logs):
            return
        rows = self._table.inner_table
        rows.append(row_values(state, logs))
        # Row 0 is the heading.
        del rows[1:-MAX_NOTEBOOK_ROWS]
        self._table.update(self._step, force_update=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the table as it is."""
        self._table = None


def row_values(state: Any, logs: dict[str, Any]) -> list[str]:
    """Return one row of the table as text, by `COLUMNS`; what was not logged is empty."""
    values = {**logs, "step": state.global_step}
    return [f.format(values[key]) if values.get(key) is not None else "" for _, key, f in COLUMNS]


def _waiting(part: str, kept: int, needed: int) -> str:
    return f"{part} {kept}/{kept + needed} groups" if needed else part


def _aligned(cells: Sequence[str]) -> str:
    """Return one line of the table; the last cell, of any length, ends it."""
    widths = [max(6, len(name)) for name, _, _ in COLUMNS]
    aligned = [cell.rjust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*aligned, cells[-1]])


def _shortened(text: str, most: int = 160) -> str:
    """Return hostile text on one line, without control characters and not too long."""
    shown = visible(" ".join(text.split()))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


class MetricsFile(TrainerCallback):
    """Writes every log of the run as one line of `metrics.jsonl`."""

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Append the logged values with their step."""
        self._lines.write({"step": state.global_step, **(logs or {})})
        self._lines.flush()


class Probe(TrainerCallback):
    """Measures the probe set every `probe_steps` steps; nothing is decided by what it finds."""

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure, and hand the figures to the next log."""
        trainer = self._trainer
        if not args.probe_steps or not trainer.probe_set or state.global_step % args.probe_steps:
            return
        if trainer.stopping.asked:
            # Whoever asked the run to stop will not wait for a measurement.
            return
        measured = measure_probe(trainer)
        summary = measured.summary()
        found = {f"probe/{name}": value for name, value in summary.items()}
        checked = [check_label(graded.classes, graded.gold_class) for graded in measured.problems]
        labels = [label for label in checked if label is not None]
        found["probe/reward_gap"] = reward_gap(checked, summary["pass@1"])
        ratios = trainer.selfplay.labelling.take_label_ratios()
        if args.probe_samples != args.num_generations:
            # 2 votes of 4 are other evidence than 8 of 16: nothing can be estimated from them.
            ratios = []
        found |= probe_metrics(labels, ratios, rng=random.Random(state.global_step))
        for name, value in found.items():
            inside(trainer)._metrics["train"][f"serl/{name}"].append(value)
        bins = [asdict(each) for each in reliability_curve(labels)]
        trainer.ledger.write({"type": "calibration", "step": state.global_step, "bins": bins})
        trainer.ledger.flush()


def measure_probe(trainer: Host) -> Measurement:
    """Measure the probe set with the present weights, sampled like the groups that train."""
    args = trainer.args
    trainer.watcher.waiting_for("measuring the probe set")
    return trainer.measure(
        trainer.probe_set,
        num_samples=args.probe_samples,
        temperature=args.temperature,
        top_p=args.top_p,
        greedy=False,
    )


def make_watcher(*, show: bool, every: int, samples_every: int) -> Watcher:
    """Return the watcher for the place this runs in: a terminal or a notebook."""
    kind = NotebookWatcher if is_in_notebook() else Watcher
    return kind(show=show, every=every, samples_every=samples_every)


def replace_progress_bars(trainer: Host, watcher: Watcher) -> None:
    """Put `watcher` in the place of transformers' bars and table, which know only the loss."""
    present = [type(callback) for callback in inside(trainer).callback_handler.callbacks]
    for kind in present:
        if kind in (ProgressCallback, PrinterCallback) or kind.__name__ == NOTEBOOK_CALLBACK:
            inside(trainer).remove_callback(kind)
    inside(trainer).add_callback(watcher)
