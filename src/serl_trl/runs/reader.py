"""A run's folder as a reader finds it: config, metrics, ledger, measurements, whole or damaged.

The ledger is streamed: of each record a few numbers stay in memory. Texts are fetched by place.
"""

import json
import math
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from serl_trl.common.files import PRIVATE_FOLDER, open_lines
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.intervals import Interval
from serl_trl.common.plain_yaml import load_yaml
from serl_trl.common.processes import is_main_process
from serl_trl.common.records import ANY, fits, optional, parse_json
from serl_trl.common.text import count_of
from serl_trl.measure.alarms import Ended
from serl_trl.measure.figures import Measurement, bootstrap
from serl_trl.measure.transitions import beyond_vote, counted, transitions
from serl_trl.propose.prompts import PromptStyle
from serl_trl.runs.lines import MAX_LINE, Lines

CONFIG, METRICS, LEDGER = "config.yaml", "metrics.jsonl", "ledger.jsonl"
# Figures before and after training, as `evaluation_record` lists them.
EVALUATION = "evaluation.json"
# What `serl eval --compare` wrote; see `measure/comparison.py`.
COMPARISON = "comparison.json"
# What was trained on what; see `runs/facts.py`.
FACTS = "run.json"

# Groups with a majority answer over which the commonest one is looked for.
RECENT_ANSWERS = 256

# Bounds on what a damaged or hostile folder may make a reader hold in memory.
MAX_REASONS = 200
_MAX_ANSWER = 200
# Of alarms kept: ours are fewer, and a ledger may be anyone's.
_MAX_ALARMS = 40

# What the report and the cards read of a config, by the type that it must have.
_CONFIG_TYPES = {
    name: shape
    for shape, names in (
        (int, ("num_generations", "probe_samples")),
        (bool, ("use_selfplay", "use_band", "reset_pool")),
        (str, ("label_reward", "proposal_filters")),
        (str, tuple(item.name for item in fields(PromptStyle))),
        ((str, None), ("hub_model_id", "gold_oracle")),
        ((float, None), ("temperature", "top_p", "difficulty_low", "difficulty_high")),
        ((float, None), ("proposer_temperature", "proposer_top_p")),
        ((int, None), ("proposer_max_tokens", "max_completion_length", "top_k")),
    )
    for name in names
}
_COMPARED = {
    "base": optional(str),
    "trained": optional(str),
    "benchmarks": {
        ANY: {
            "num_problems": int,
            "differences": {ANY: {"base": float, "trained": float, "difference": dict}},
            "other_settings": optional([str]),
        }
    },
}


class Records:
    """The proposals or the groups of a ledger in columns, in their order.

    `places` are positions in the file; an empty reason means that the record was kept. Groups also
    have `ratios` (of the majority), `proposals` (the id of the proposal, -1 for a seed), `voted`
    (1 with a majority answer) and `rights` (of the majority answer: 1, 0, or -1 for unknown).

    A ledger may hold millions of records with their texts; this keeps a few dozen bytes of each.
    """

    def __init__(self) -> None:
        self.places, self.ids, self.steps = array("q"), array("q"), array("q")
        self.ratios, self.proposals = array("d"), array("q")
        self.voted, self.rights = array("b"), array("b")
        self._reasons: list[str] = []
        self._known = {"": ""}

    def __len__(self) -> int:
        return len(self.places)

    def reason(self, row: int) -> str:
        """Return why the record of that row was refused; empty when it was kept."""
        return self._reasons[row]

    def kept(self) -> list[int]:
        """Return the rows that were kept."""
        return [row for row, reason in enumerate(self._reasons) if not reason]

    def refused(self) -> list[int]:
        """Return the rows that were refused."""
        return [row for row, reason in enumerate(self._reasons) if reason]

    def reasons(self) -> Counter[str]:
        """Count the refused records by reason."""
        return Counter(filter(None, self._reasons))

    def add(self, place: int, record: Mapping[str, Any]) -> None:
        """Append one record, which lies at `place`."""
        reason = "" if record.get("keep") else str(record.get("reason") or "unnamed")[:60]
        if len(self._known) >= MAX_REASONS and reason not in self._known:
            reason = "other"
        right = record.get("label_right")
        self.places.append(place)
        self.ids.append(_whole(record.get("id"), len(self.ids)))
        self.steps.append(_whole(record.get("step"), 0))
        self.ratios.append(number_in(record, "majority_ratio") or 0.0)
        self.proposals.append(_number_of(str(record.get("origin", "")), "proposal"))
        self.voted.append(record.get("majority_answer") is not None)
        self.rights.append(-1 if right is None else bool(right))
        # The same object for equal texts.
        self._reasons.append(self._known.setdefault(reason, reason))

    def drop_from(self, step: int) -> None:
        """Drop the records of `step` and later."""
        # Steps never fall within a ledger.
        first = bisect_left(self.steps, step)
        for column in vars(self).values():
            if isinstance(column, array | list):
                del column[first:]


@dataclass
class LedgerIndex:
    """What a ledger holds: columns of proposals and groups, and the few other records as they are.

    `iterations` pairs the step at which an iteration began with the number of proposals before it;
    `answers` are the latest majority answers with their steps; `spent` is the step at which the run
    ended because its `max_rollouts` were made; `alarms` holds of each
    alarm that rang the step and the sentence of its latest ring; `ended` says why a run stopped
    itself; `num_resumed` counts how often work was redone.
    """

    path: Path
    proposals: Records = field(default_factory=Records)
    groups: Records = field(default_factory=Records)
    leftovers_used: Counter[int] = field(default_factory=Counter)
    bounds: dict[int, str] = field(default_factory=dict)
    iterations: list[tuple[int, int]] = field(default_factory=list)
    answers: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=RECENT_ANSWERS))
    starved: tuple[int, str] | None = None
    alarms: dict[str, tuple[int, str]] = field(default_factory=dict)
    ended: Ended | None = None
    spent: int | None = None
    num_seed_overlaps: int = 0
    num_resumed: int = 0

    def read(self, place: int) -> dict[str, Any]:
        """Return the record at `place`, which one of the columns named."""
        with open_lines(self.path) as file:
            file.seek(place)
            return parse_json(file.readline(MAX_LINE))

    def add(self, place: int, record: dict[str, Any]) -> None:
        """Take in one record, which lies at `place`."""
        kind, step = record.get("type"), _whole(record.get("step"), 0)
        if kind == "proposal":
            self.proposals.add(place, record)
        elif kind == "group":
            self.groups.add(place, record)
            # A run that stopped itself was resumed without its guard.
            self.ended = None
            if isinstance(answer := record.get("majority_answer"), str):
                self.answers.append((step, answer[:_MAX_ANSWER]))
        else:
            self._note(kind, step, record)

    def _note(self, kind: Any, step: int, record: dict[str, Any]) -> None:
        match kind:
            case "leftover":
                self.leftovers_used[step] += bool(record.get("used"))
            case "bound":
                self.bounds[step] = str(record.get("bound", ""))[:60]
            case "iteration":
                self.iterations.append((step, len(self.proposals)))
            case "starved":
                self.starved = (step, str(record.get("diagnosis", ""))[:4000])
            case "rollouts_spent":
                self.spent = step
            case "guard":
                self.ended = _ended(step, record)
                self._note_alarm(step, record)
            case "seed_overlap":
                self.num_seed_overlaps += 1

    def _note_alarm(self, step: int, record: dict[str, Any]) -> None:
        name, reason = (str(record.get(key, "")) for key in ("alarm", "reason"))
        if name and len(self.alarms) < _MAX_ALARMS:
            self.alarms[name[:40]] = (step, reason[:400])


@dataclass(frozen=True)
class Run:
    """One run's folder, read.

    `metrics` are the logged rows in the order of their steps, numbers only; `notes` say what is
    missing or damaged. `config`, `facts`, `evaluation` and `comparison` (what `serl eval --compare`
    wrote about the run's model) are empty where there is no such file.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    facts: dict[str, Any]
    evaluation: dict[str, Any]
    metrics: list[dict[str, float]]
    ledger: LedgerIndex
    notes: tuple[str, ...]
    comparison: dict[str, Any] = field(default_factory=dict)

    def series(self, key: str) -> list[tuple[float, float]]:
        """Return the (step, value) pairs of one metric; steps that did not log it are left out."""
        return [(row["step"], row[key]) for row in self.metrics if key in row]

    @property
    def num_steps(self) -> int:
        """The last step that was logged or, with no log, the last one in the ledger."""
        if self.metrics:
            return int(self.metrics[-1]["step"])
        return self.ledger.groups.steps[-1] if len(self.ledger.groups) else 0

    def proposal_row(self, identity: int) -> int | None:
        """Return the row of a proposal by its id."""
        ids = self.ledger.proposals.ids
        row = bisect_left(ids, identity)
        return row if row < len(ids) and ids[row] == identity else None

    def shot_row(self, row: int, origin: str) -> int | None:
        """Return the row of the proposal that a request showed as `origin` ("pool:12").

        `row` is the proposal written from that request; a seed has no row.
        """
        number = _number_of(origin, "pool")
        if number < 0:
            return None
        kept = self.ledger.proposals.kept()
        starts = [position for _, position in self.ledger.iterations if position <= row]
        # An iteration may begin with an empty pool, whose numbers then begin anew.
        begins = starts[-1] if starts and self.config.get("reset_pool", True) else 0
        index = bisect_left(kept, begins) + number
        return kept[index] if index < len(kept) and kept[index] < row else None


class RunReader:
    """Reads a run's folder, also while the run writes to it: each look reads only what is new.

    A file that became shorter was cut back by resuming, and all is read anew. Raises `ValueError`
    when the folder holds no run, or a link where a file should be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        inside = Folder(folder)
        if not any(inside.has(f"{PRIVATE_FOLDER}/{name}") for name in (CONFIG, METRICS, LEDGER)):
            what = "does not exist" if not folder.exists() else f"holds no {PRIVATE_FOLDER} folder"
            if inside.has_folder(PRIVATE_FOLDER):
                what = f"holds neither {CONFIG} nor {METRICS} nor {LEDGER} in {PRIVATE_FOLDER}"
            raise ValueError(
                f"run={folder} {what}; name the output_dir of a run, such as runs/sandbox."
            )
        self._begin()

    def _begin(self) -> None:
        private = self._folder / PRIVATE_FOLDER
        self._metrics, self._lines = Lines(private / METRICS), Lines(private / LEDGER)
        self._rows: dict[int, dict[str, float]] = {}
        self._ledger = LedgerIndex(private / LEDGER)

    def look(self) -> Run:
        """Return the run as it is now; what is missing or damaged becomes a note, not an error.

        The ledger is the same object in each look.
        """
        if self._metrics.was_cut() or self._lines.was_cut():
            self._begin()
        notes: list[str] = []
        inside = Folder(self._folder)

        def mapping(name: str, *, needed: bool = False) -> dict[str, Any]:
            return _read_mapping(inside, f"{PRIVATE_FOLDER}/{name}", notes, needed=needed)

        config = _known_types(mapping(CONFIG, needed=True), notes)
        metrics = self._read_metrics(notes)
        self._read_ledger(notes)
        facts, measured = mapping(FACTS), mapping(EVALUATION)
        # Resuming cuts the files back: what was done twice lies there, once per time.
        cut = inside.entries(f"{PRIVATE_FOLDER}/cut")
        # Each resumption that had something to move away left such a folder.
        self._ledger.num_resumed = sum(path.name.startswith("after-step-") for path in cut)
        name = self._folder.resolve().name
        read = (config, facts, measured, metrics, self._ledger, tuple(notes))
        return Run(name, self._folder, *read)

    def _read_metrics(self, notes: list[str]) -> list[dict[str, float]]:
        if not self._metrics.path.exists():
            notes.append(f"{METRICS} is missing: there are no curves.")
            return []
        for _, record in self._metrics.read():
            step = _whole(record.get("step"), -1)
            if step < 0:
                self._metrics.num_bad += 1
                continue
            values = {key: number_in(record, key) for key in record}
            found = {key: value for key, value in values.items() if value is not None}
            # A step is logged by several parts of the trainer, each with its own numbers.
            self._rows[step] = self._rows.get(step, {}) | found
        _note_damage(self._metrics, notes)
        if not self._rows:
            notes.append(f"{METRICS} holds no step: nothing was logged.")
        return [self._rows[step] for step in sorted(self._rows)]

    def _read_ledger(self, notes: list[str]) -> None:
        if not self._lines.path.exists():
            missing = "there are no instructions, groups or refusals"
            notes.append(f"{LEDGER} is missing: {missing}.")
            return
        for place, record in self._lines.read():
            self._ledger.add(place, record)
        _note_damage(self._lines, notes)


def read_run(folder: Path, *, evaluation: Path | None = None) -> Run:
    """Read a run's folder; what is missing or damaged becomes a note, not an error.

    `evaluation` is a folder into which `serl eval --compare` wrote. Raises `ValueError` when one
    of the folders holds nothing of the kind, or a link where a file should be.
    """
    run = RunReader(folder).look()
    return run if evaluation is None else replace(run, comparison=read_comparison(evaluation))


def evaluation_record(before: Measurement, after: Measurement) -> dict[str, Any]:
    """Return the content of `EVALUATION`: each figure before and after, and its change.

    Both measurements are of the same problems, so the interval of the change is over pairs.
    `transitions` counts what happened to them, `beyond_vote` holds pass@1 after training against
    maj@n before; see `measure/transitions.py`.
    """
    earlier, later = before.values(), after.values()
    figures = {}
    for name in earlier:
        changes = [new - old for old, new in zip(earlier[name], later[name], strict=True)]
        parts = {"before": earlier[name], "after": later[name], "change": changes}
        figures[name] = {part: asdict(bootstrap(values)) for part, values in parts.items()}
    return {
        "num_problems": len(before.problems),
        "num_samples": before.num_samples,
        "figures": figures,
        "transitions": counted(transitions(before.problems, after.problems)),
        "beyond_vote": {part: asdict(each) for part, each in beyond_vote(before, after).items()},
    }


def write_evaluation(run: Path, before: Measurement, after: Measurement, **source: Any) -> None:
    """Note two measurements of the same problems in a run's folder, for its report and card.

    `source` may name the `problem_set` and the `temperature`.
    """
    if is_main_process():
        text = json.dumps({**evaluation_record(before, after), **source}, indent=2)
        Folder(run).write(f"{PRIVATE_FOLDER}/{EVALUATION}", text + "\n")


def read_comparison(folder: Path) -> dict[str, Any]:
    """Return what `serl eval --compare` wrote into `folder`.

    Raises `FolderError` when that is nothing, or damaged.
    """
    files = Folder(folder)
    if not files.has(COMPARISON):
        raise FolderError(
            f"evaluation={folder}: {COMPARISON} is missing. Name the folder into which serl eval "
            "--compare BASE TRAINED wrote."
        )
    try:
        return files.read_json(COMPARISON, _COMPARED)
    except FolderError as error:
        raise FolderError(f"evaluation={folder}: {error} Run serl eval --compare again.") from error


def number_in(record: Mapping[str, Any], key: str) -> float | None:
    """Return `record[key]` when it is a finite number, else `None`."""
    value: Any = record.get(key)
    return float(value) if fits(value, float) else None


def interval_in(record: Any, key: str) -> Interval | None:
    """Return the interval `record[key]`; `None` where a stranger's record holds none."""
    found = record.get(key) if isinstance(record, Mapping) else None
    if not isinstance(found, Mapping) or (mean := number_in(found, "mean")) is None:
        return None
    return Interval(mean, number_in(found, "low"), number_in(found, "high"))


def steps_in_buckets(steps: array, num_steps: int, num_buckets: int) -> list[range]:
    """Split rows with sorted `steps` into at most `num_buckets` spans of equally many steps."""
    # The ledger may be a step ahead of the log.
    num_steps = max(num_steps, (steps[-1] + 1) if steps else 1)
    num_buckets = min(num_buckets, num_steps)
    edges = [math.ceil(num_steps * i / num_buckets) for i in range(num_buckets + 1)]
    ends = [bisect_right(steps, edge - 1) for edge in edges]
    return [range(ends[i], ends[i + 1]) for i in range(num_buckets)]


def _ended(step: int, record: Mapping[str, Any]) -> Ended | None:
    """Return how the run ended itself by a record of its guard; `None` where it only warned."""
    action, restored = str(record.get("action"))[:20], str(record.get("restored"))
    if action not in ("stop", "rollback", "enough"):
        return None
    texts = {key: str(record.get(key, ""))[:400] for key in ("alarm", "reason")}
    # A name that a run gave: a hostile ledger may hold anything.
    named = re.fullmatch("checkpoint-[0-9]{1,15}", restored)
    return Ended(step, action, **texts, restored=restored if named else None)


def _whole(value: Any, default: int) -> int:
    # A column of `array` takes 64 bits and raises at more.
    return value if fits(value, int) and 0 <= value < 2**62 else default


def _number_of(origin: str, kind: str) -> int:
    """Return the number of an origin such as "proposal:12", or -1 when it is of another kind."""
    # ASCII: Python counts digits of other scripts as digits too, and a run writes none.
    found = re.fullmatch(rf"{kind}:(\d{{1,15}})", origin, re.ASCII)
    return int(found[1]) if found else -1


def _read_mapping(
    folder: Folder, name: str, notes: list[str], *, needed: bool = True
) -> dict[str, Any]:
    short = name.rpartition("/")[2]
    if not folder.has(name):
        if needed:
            notes.append(f"{short} is missing.")
        return {}
    try:
        content = (
            load_yaml(folder.read_text(name)) if short == CONFIG else folder.read_json(name, Any)
        )
    except (ValueError, RecursionError):
        notes.append(f"{short} cannot be read and is left out.")
        return {}
    if not isinstance(content, dict):
        notes.append(f"{short} holds no table of names and values and is left out.")
        return {}
    return {str(key): value for key, value in content.items()}


def _known_types(config: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return `config` without the options whose value is not of their type."""
    types = _CONFIG_TYPES.items()
    wrong = [name for name, shape in types if name in config and not fits(config[name], shape)]
    notes += [f"{CONFIG} holds no value of {name}'s type, which is left out." for name in wrong]
    return {name: value for name, value in config.items() if name not in wrong}


def _note_damage(lines: Lines, notes: list[str]) -> None:
    name = lines.path.name
    if lines.num_bad:
        notes.append(
            f"{count_of(lines.num_bad, 'line')} of {name} cannot be read and are left out."
        )
    if lines.is_cut:
        notes.append(f"The last line of {name} is cut off and is left out.")
