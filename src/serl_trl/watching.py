"""What a person sees while a run goes on: a bar that says what is waited for, a table, a file."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.utils import is_in_notebook

from serl_trl.ledger import JsonLines

if TYPE_CHECKING:
    from serl_trl.trainer import SeRLTrainer

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
ROWS_PER_HEADING = 20


class Watcher(TrainerCallback):
    """A progress bar over the steps, whose text says what is being waited for, and a table.

    `every` prints a row every so many steps; 0 prints one whenever metrics are logged.
    """

    def __init__(self, *, show: bool, every: int = 0) -> None:
        self._show = show
        self._every = every
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: Any = None
        self._num_rows = 0

    def waiting_for(self, part: str, kept: int = 0, needed: int = 0) -> None:
        """Show that the run waits for `part`, with `kept` of `kept + needed` groups found."""
        if self._progress is not None:
            text = f"{part} {kept}/{kept + needed} groups" if needed else part
            self._progress.update(self._task, description=text)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the bar."""
        if not self._show:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
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
        due = self._every == 0 or state.global_step % self._every == 0
        if not self._show or not due or not logs or "serl/num_groups" not in logs:
            return
        values = {**logs, "step": state.global_step}
        cells = [
            (f.format(values[key]) if values.get(key) is not None else "").rjust(max(6, len(name)))
            for name, key, f in COLUMNS
        ]
        if self._num_rows % ROWS_PER_HEADING == 0:
            names = [name.rjust(max(6, len(name))) for name, _, _ in COLUMNS]
            self._console.print(
                "  ".join(names) + "  refused", style="bold", markup=False, soft_wrap=True
            )
        prefix = "serl/refused/"
        refused = {key.removeprefix(prefix): n for key, n in logs.items() if key.startswith(prefix)}
        most = sorted(refused.items(), key=lambda item: -item[1])[:3]
        reasons = ", ".join(f"{reason} {count:.0f}" for reason, count in most)
        row = "  ".join(cells) + "  " + reasons
        self._console.print(row, markup=False, highlight=False, soft_wrap=True)
        self._num_rows += 1

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


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

    def __init__(self, trainer: "SeRLTrainer") -> None:
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure, and hand the figures to the next log."""
        trainer = self._trainer
        if not args.probe_steps or not trainer.probe_set or state.global_step % args.probe_steps:
            return
        trainer.watcher.waiting_for("measuring the probe set")
        measured = trainer.measure(trainer.probe_set, num_samples=args.probe_samples, greedy=False)
        for name, value in measured.summary().items():
            trainer._metrics["train"][f"serl/probe/{name}"].append(value)


def replace_progress_bars(trainer: "SeRLTrainer", watcher: Watcher) -> None:
    """Put `watcher` in the place of transformers' bar, which knows only the loss.

    In a notebook its own table stays, and so does the bar where the user switched tables off.
    """
    if is_in_notebook():
        return
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(watcher)
