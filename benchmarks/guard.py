"""Does a run stop before it gets worse? Alarms over finished runs, and runs that are made to fail.

Finished runs are replayed: their folders are read, and every alarm is asked at every step. What
collapses and what does not is said by pass@1 on held-out problems, which no alarm sees. A run of a
sandbox that had no sentinel set is given one: each of its checkpoints answers the seeds, which is
kept in `--work_dir`. Then runs that collapse are trained with the guard on, kept and resumed as in
`study.py`.

    python -m benchmarks.guard --replay runs/hard runs/study --json benchmarks/results/guard.json
    python -m benchmarks.guard --settings easy_fast,hard_no_band --seeds 1,2,3 --jobs 2
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.study import ROOT, Arm, as_table, complete, made_on, run_all, write
from serl_trl import sandbox
from serl_trl.answers.equality import extract_answer, known_labels
from serl_trl.common.files import read_lines
from serl_trl.common.text import count_of
from serl_trl.measure.alarms import ALARMS, About, History, may_stop, readings
from serl_trl.measure.sentinel import VOTES, Sentinel
from serl_trl.propose.prompts import rollout_messages
from serl_trl.runs.reader import Run, number_in, read_run
from serl_trl.train.checkpoint import list_checkpoints, step_of

SUPPORT = "serl/sentinel/support_ratio"
EVERY = 20  # steps between two checks, as by default
HEALTHY = ("domain", "setting", "seed", "steps", "alarms", "stops", "enough")
FALLEN = 0.1
"""A run collapsed where pass@1 ends so far below its best, or below that of an untrained guess."""

# Without the gate on questions, which holds some of these up.
FAST = ("--learning_rate", "3e-4", "--save_steps", "5", "--max_steps", "60", "--validity", "off")
SETTINGS = (
    Arm("easy_fast", "the easy sandbox at six times its rate", (sandbox.EASY, *FAST)),
    Arm(
        "hard_no_band",
        "the hard sandbox at six times its rate, without the band",
        (sandbox.HARD, *FAST, "--use_band", "false"),
    ),
)
LONG = Arm("long", "the easy sandbox, 200 steps", (sandbox.EASY, "--max_steps", "200"))


def main() -> None:
    """Replay what is there, train what is missing, and write both."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--replay", type=Path, nargs="*", default=[], help="folders of runs")
    parser.add_argument(
        "--collapsed", default="", help="pattern of folders of replayed runs that collapsed"
    )
    parser.add_argument("--settings", default="", help="of: easy_fast, hard_no_band, long")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--work_dir", type=Path, default=ROOT / "runs" / "guard")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    named = filter(None, options.settings.split(","))
    arms = [each for name in named for each in (*SETTINGS, LONG) if each.name == name]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    trained = run_all(arms, seeds, partial(train, options), jobs=options.jobs)
    looked = Looked(options.work_dir / "sentinel.json")
    found = [replay(run, options.collapsed, looked) for run in finished(options.replay)]
    long = trained.pop(LONG.name, [])
    summary = {
        "collapsing": [each for runs in trained.values() for each in runs],
        "healthy": [{key: each[key] for key in HEALTHY} for each in found if not each["collapsed"]],
        "replayed_collapsing": [
            {key: value for key, value in each.items() if key not in ("worst", "collapsed")}
            for each in found
            if each["collapsed"]
        ],
        "long": [
            {"seed": each["seed"], "best": each["best"], "final": each["final"]} for each in long
        ],
        "roc": roc(found),
        "thresholds": thresholds(found),
        **made_on(),
    }
    write(summary, as_markdown(summary), options)


def train(options: argparse.Namespace, arm: Arm, seed: int) -> dict[str, Any]:
    """Return how one run with the guard ended; make it if it is not there yet."""
    folder = options.work_dir.absolute() / f"{arm.name}-seed{seed}"
    config, *flags = arm.flags
    command = ["demo", "--config", config, *flags, "--seed", str(seed), "--resume", "auto"]
    command += ["--probe_steps", "5", "--probe_samples", "8", "--output_dir", str(folder)]
    report = complete(command, folder)
    run, ended = read_run(folder), report["ended"] or {}
    probed = run.series("serl/probe/pass@1")
    peak_step, peak = max(probed, key=lambda point: point[1])
    maj = run.series("serl/probe/maj@8")
    return {
        "setting": arm.name,
        "seed": seed,
        "peak_step": int(peak_step),
        "peak": peak,
        "stopped_step": ended.get("step"),
        "alarm": ended.get("alarm"),
        "restored": ended.get("restored"),
        "restored_pass@1": report["after"]["pass@1"],
        "best": {"pass@1": peak, "maj@16": max(value for _, value in maj)},
        "final": {name: report["after"][name] for name in ("pass@1", "maj@16")},
    }


def finished(folders: Sequence[Path]) -> list[Run]:
    """Return the runs of twenty steps and more below `folders`, by name."""
    found = sorted(
        path.parents[1] for each in folders for path in each.glob("*/_serl/metrics.jsonl")
    )
    return [run for run in map(read_run, found) if run.num_steps >= 20]


class Looked:
    """What checkpoints answered to the seeds of their sandbox, kept in a file by their folders."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.answers = json.loads(path.read_text()) if path.is_file() else {}

    def of(self, folder: Path, name: str) -> list[list[str | None]]:
        """Return the answers of one model to each of the seeds."""
        key = f"base of {name}" if folder == sandbox.MODEL_PATHS[name] else str(folder)
        if key not in self.answers:
            self.answers[key] = answer_seeds(folder, name)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self.answers))
        return self.answers[key]

    def add_to(self, run: Run) -> None:
        """Add to the rows of a run what its checkpoints say of the sentinel set."""
        name = str(run.facts.get("seed_source")).split(" ")[0]
        if run.series(SUPPORT) or name not in sandbox.MODEL_PATHS:
            return
        folders = list_checkpoints(run.folder)
        whole = [each for each in folders if (each / "model.safetensors").is_file()]
        rows, seen = {row["step"]: row for row in run.metrics}, Sentinel()
        for each in [sandbox.MODEL_PATHS[name], *whole] if whole else []:
            step = step_of(each) or 0
            # As in a run that trains: after the rows before this step.
            before = [row for row in run.metrics if row["step"] < step]
            if not History(About(), before).sentinel_due(step, EVERY):
                continue
            votes = [Counter(filter(None, seed[:VOTES])) for seed in self.of(each, name)]
            found = seen.take(votes, num_votes=VOTES)
            row = rows.get(step, {})
            row.update({f"serl/sentinel/{figure}": value for figure, value in found.items()})


def answer_seeds(folder: Path, name: str) -> list[list[str | None]]:
    """Return the answers of a sandbox's model to each of its seeds, drawn as rollouts are."""
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = sandbox.load_tokenizer(name)
    tokenizer.padding_side = "left"
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = [
        tokenizer.apply_chat_template(
            rollout_messages(seed, sandbox.STYLE), tokenize=False, add_generation_prompt=True
        )
        for seed in sandbox.seed_set(name)
    ]
    torch.manual_seed(0)
    tokens = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    shown = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    drawing = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    with torch.no_grad():
        drawn = model.generate(**shown, **drawing, max_new_tokens=64, num_return_sequences=VOTES)[
            :, shown["input_ids"].shape[1] :
        ]
    found = [
        extract_answer(text, kind="math")
        for text in tokenizer.batch_decode(drawn, skip_special_tokens=True)
    ]
    return [found[at : at + VOTES] for at in range(0, len(found), VOTES)]


def add_from_ledger(run: Run) -> None:
    """Add to the rows of a run the figures that it did not log yet and its ledger holds."""
    rows = {int(row["step"]): row for row in run.metrics}
    labels: dict[int, list[str]] = {}
    problems = number_in(run.facts, "num_probe_problems")
    size = int(run.config["generation_batch_size"] / run.config["num_generations"])
    for record in read_lines(run.folder / "_serl" / "ledger.jsonl"):
        # A step is logged under its end.
        if record["type"] == "group" and record["majority_answer"] is not None:
            labels.setdefault(record["step"] + 1, []).append(record["majority_answer"])
        row = rows.get(record.get("step", -1), {})
        if record["type"] == "calibration" and "serl/probe/pass@1" in row and problems:
            sums = sum(each["num_labels"] * each["majority_ratio"] for each in record["bins"])
            row.setdefault("serl/probe/reward_gap", sums / problems - row["serl/probe/pass@1"])
    for step in labels.keys() & rows.keys():
        share = len(set(labels[step][:size])) / len(labels[step][:size])
        rows[step].setdefault("serl/distinct_answer_ratio", share)


def replay(run: Run, collapsed: str, looked: Looked) -> dict[str, Any]:
    """Return what the alarms would have said of a finished run, and when it was at its best."""
    looked.add_to(run)
    add_from_ledger(run)
    kind = str(run.config.get("answer_kind", "math"))
    labels = known_labels(kind)
    about = About(
        num_labels=len(labels) if labels else None,
        num_probe=int(number_in(run.facts, "num_probe_problems") or 0),
        own_labels=run.config.get("label_reward") != "gold",
    )
    read = {alarm.name: readings(alarm, run.metrics, about) for alarm in ALARMS}
    rang = {name: [each.step for each in found if each.rings] for name, found in read.items()}
    stops = [
        each.step
        for found in read.values()
        for each in found
        if each.rings and may_stop(each.alarm, about) and each.num_rings >= each.alarm.checks
    ]
    probed = run.series("serl/probe/pass@1")
    peak_step, peak = max(probed, key=lambda point: point[1], default=(0, 0.0))
    name, _, seed = run.name.rpartition("-seed")
    fell = bool(probed) and peak - probed[-1][1] > FALLEN
    history = History(about)
    ends = (
        row["step"]
        for row in run.metrics
        if history.add(row) is not None
        if history.enough_learnt()
    )
    domain = str(run.facts.get("seed_source")).split(" ")[0]
    return {
        "domain": domain if domain in sandbox.MODEL_PATHS else "own",
        "setting": name or run.name,
        "seed": int(seed) if seed.isdecimal() else None,
        "steps": run.num_steps,
        "alarms": {name: steps[0] for name, steps in rang.items() if steps},
        "stops": min(stops, default=None),
        "enough": next(ends, None),
        "peak_step": int(peak_step),
        "peak": peak,
        "collapsed": fell or bool(collapsed and re.search(collapsed, str(run.folder))),
        "worst": {name: worst(found) for name, found in read.items() if found},
    }


def worst(found: Sequence[Any]) -> float:
    """Return how far a run's readings went beyond the threshold, as a share of it."""
    return max(
        (each.value - each.threshold) * (1 if each.alarm.above else -1) / max(each.threshold, 1e-9)
        for each in found
    )


def roc(found: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return for each alarm how often a collapsed run read worse than a healthy one (the AUC)."""
    return {alarm.name: auc(*split(found, alarm.name)) for alarm in ALARMS}


def split(found: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Return an alarm's worst values of the runs that collapsed, and of those that did not."""
    sides: tuple[list[float], list[float]] = ([], [])
    for each in found:
        if name in each["worst"]:
            sides[not each["collapsed"]].append(each["worst"][name])
    return sides


def auc(bad: Sequence[float], good: Sequence[float]) -> float | None:
    """Return the share of pairs in the right order, ties half; `None` where a side is empty."""
    pairs = [(b > g) + 0.5 * (b == g) for b in bad for g in good]
    return sum(pairs) / len(pairs) if pairs else None


def thresholds(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | int]]:
    """Return for each alarm how many runs rang and what the worst healthy run read."""
    table = {}
    for alarm in ALARMS:
        bad, good = split(found, alarm.name)
        if not good:
            continue
        rang = [each["collapsed"] for each in found if alarm.name in each["alarms"]]
        table[alarm.name] = {
            "worst_healthy": max(good),
            "rang_collapsed": sum(rang),
            "of_collapsed": len(bad),
            "rang_healthy": len(rang) - sum(rang),
            "of_healthy": len(good),
        }
    return table


def as_markdown(summary: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = [
        f"\n## The guard, {summary['date']}\n",
        f"`python -m benchmarks.guard`, {summary['machine']}.",
    ]
    bad, good = summary["replayed_collapsing"], summary["healthy"]
    lines += [
        f"{count_of(len(bad), 'run')} that collapsed and {count_of(len(good), 'run')} that did "
        "not, replayed; AUC over the worst value of each run.\n"
    ]
    rows = [
        [
            "alarm",
            "acts",
            "AUC",
            "rang in collapsed",
            "rang in healthy",
            "worst healthy, beyond the threshold",
        ]
    ]
    for alarm in ALARMS:
        seen = summary["thresholds"].get(alarm.name)
        if seen:
            area = summary["roc"][alarm.name]
            cells = ["yes" if alarm.acts else "no", "" if area is None else f"{area:.2f}"]
            cells += [
                f"{seen[f'rang_{side}']} of {seen[f'of_{side}']}"
                for side in ("collapsed", "healthy")
            ]
            rows.append([alarm.name, *cells, f"{seen['worst_healthy']:+.0%}"])
    lines += as_table(rows)
    if summary["collapsing"]:
        head = ["setting", "seed", "peak_step", "peak", "stopped_step", "alarm", "restored"]
        head += ["restored_pass@1"]
        lines += [
            "",
            *as_table(
                [head, *([json.dumps(each[k]) for k in head] for each in summary["collapsing"])]
            ),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
