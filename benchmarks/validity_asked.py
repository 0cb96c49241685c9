"""How well the signals that ask the model tell valid questions, and what they cost.

    python -m benchmarks.validity --parts asked --asked_dir runs/asked --runs easy=RUN hard=RUN

A run of each sandbox, where validity is exact, gives the questions with their votes: its first
groups are early, its last ones late. Every signal asks about them, early the shipped model and late
the final weights of the run; frozen is the shipped model that is asked about the late questions.
Rows are kept in `--asked_dir`, so that a measurement which was cut off continues where it stopped.
`rows.jsonl` there holds them with the features that a gate is fitted on.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.study import ROOT, as_table, auc
from serl_trl import sandbox
from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote, majority_vote, spelt_out
from serl_trl.common.completion import Completion, Messages, Sampling
from serl_trl.common.files import read_lines
from serl_trl.filters.validity.answer_domain import AnswerDomain
from serl_trl.filters.validity.asked import Asked, AskedSignal
from serl_trl.filters.validity.gate import features_of, fit
from serl_trl.filters.validity.registry import find_asked
from serl_trl.filters.validity.text import doubt
from serl_trl.filters.validity.vote_shape import shape_of
from serl_trl.labels.base import Tools
from serl_trl.propose.prompts import rollout_messages
from serl_trl.sandbox.domain import STYLE, seed_problems
from tools.measure import MAX_ANSWER_TOKENS, sample

LEDGER = "_serl/ledger.jsonl"
NAMES = {"easy": sandbox.EASY, "hard": sandbox.HARD}
# These models put names anew.
SIGNALS = (
    "abstention(num=8)",
    "restatable(num=4, keep_names=False)",
    "two_views(num=8, keep_names=False)",
)
# They know no judge's form, so that a part of the questions and one answer a stage say it all.
JUDGE = "self_judge(num=1)"
ALONE = (("abstention",), ("restatable",), ("two_views",), ("self_judge",))
TOGETHER = (
    ("margin", "abstention"),
    ("margin", "restatable"),
    ("margin", "two_views"),
    ("margin", "restatable", "two_views"),
    ("margin", "abstention", "restatable"),
    ("margin", "abstention", "restatable", "two_views"),
)
KEYS = tuple(
    f"auc_{stage}{part}" for stage in ("early", "late", "frozen") for part in ("", "_in_band")
)
LOW, HIGH = 0.2, 0.8
CHUNK = 40
SEED = 16

Row = dict[str, Any]


class Sampler:
    """Completes as a run of the sandbox does, and counts."""

    def __init__(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int
    ) -> None:
        self._model, self._tokenizer, self._seed = model, tokenizer, seed
        self.num = 0

    def __call__(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        room = sampling.max_tokens if sampling else MAX_ANSWER_TOKENS
        seed = self._seed * 1_000_003 + self.num
        found = sample(self._model, self._tokenizer, prompts, max_new_tokens=room, seed=seed)
        self.num += len(prompts)
        return [Completion(each.text, [], not each.ended) for each in found]


@dataclass(frozen=True)
class Setting:
    """The groups of one sandbox at one stage of a run, and the model that is asked about them."""

    sandbox: str
    stage: str
    weights: Path
    groups: tuple[Row, ...]
    rows: Path
    signals: tuple[str, ...] = SIGNALS

    def measured(self) -> list[Row]:
        """Return the rows that are there already."""
        return list(read_lines(self.rows)) if self.rows.exists() else []

    def measure_chunk(self) -> None:
        """Ask about the next questions, if any are left, and write their rows."""
        start = len(self.measured())
        groups = self.groups[start : start + CHUNK]
        if not groups:
            return
        model = LlamaForCausalLM.from_pretrained(self.weights, dtype=torch.float32).eval()
        tokenizer = sandbox.load_tokenizer(NAMES[self.sandbox])
        signals = self.signals if start else (*self.signals, JUDGE)
        rows = judged(groups, signals, Sampler(model, tokenizer, SEED + start))
        with self.rows.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps({"sandbox": self.sandbox, "stage": self.stage, **row}) + "\n")
        print(
            f"{self.sandbox}, {self.stage}: {start + len(rows)} of {len(self.groups)}", flush=True
        )


def settings(options: argparse.Namespace) -> list[Setting]:
    """Return the two stages of each run."""
    options.asked_dir.mkdir(parents=True, exist_ok=True)
    found = []
    for name, run in options.runs:
        lines = [row for row in read_lines(run / LEDGER) if row.get("type") == "group"]
        # A question may stand in several groups; one of them is asked about.
        groups = list({row["instruction"]: row for row in lines}.values())
        num = min(options.num_questions, len(groups) // 2)
        shipped = sandbox.MODEL_PATHS[NAMES[name]]
        for stage, weights, part, signals in (
            ("early", shipped, groups[:num], SIGNALS),
            ("late", run, groups[-num:], SIGNALS),
            ("frozen", shipped, groups[-num:], SIGNALS[:1]),
        ):
            rows = options.asked_dir / f"{name}-{run.name}-{stage}.jsonl"
            found.append(Setting(name, stage, weights, tuple(part), rows, signals))
    return found


def judged(groups: Sequence[Row], signals: Sequence[str], sampler: Sampler) -> list[Row]:
    """Return a row for each group: its truth, its vote, and what each signal says and costs."""
    texts = [group["instruction"] for group in groups]
    votes = [vote_of(group) for group in groups]
    prompts = [rollout_messages(text, STYLE) for text in texts]
    asked = [Asked(*each) for each in zip(texts, prompts, votes, strict=True)]
    rows: list[Row] = [
        {
            "question": text,
            "gold": sandbox.solve(text),
            "fault": sandbox.fault_of(text),
            "counts": [votes for _, votes in vote.counts],
            "num_unparsable": vote.num_unparsable,
            "answer": vote.answer,
            "signs": {},
            "found": {},
            "completions": {},
        }
        for text, vote in zip(texts, votes, strict=True)
    ]
    with Verifier() as verifier:
        tools = Tools(
            get_kind("math"), verifier, sampler, lambda work: work(), random.Random(SEED), 0
        )
        for text in signals:
            signal: AskedSignal = find_asked(text).make(vars(STYLE))
            before = sampler.num
            signs = signal.judge(asked, tools)
            cost = (sampler.num - before) / len(rows)
            for row, sign in zip(rows, signs, strict=True):
                row["signs"][signal.name] = sign.score
                row["found"][signal.name] = sign.found
                row["completions"][signal.name] = cost
    return rows


def vote_of(group: Row) -> Vote:
    """Return the vote of a group of a ledger."""
    return majority_vote(spelt_out(group["answers"].items(), group["num_unparsable"]))


def all_rows(options: argparse.Namespace) -> list[Row]:
    """Return the rows of all settings, after measuring what is missing."""
    found = settings(options)
    # By turns, so that what is cut off has all of them.
    for _ in range(-(-options.num_questions // CHUNK)):
        for setting in found:
            setting.measure_chunk()
    return [row for setting in found for row in setting.measured()]


def feature_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with all that a gate is fitted on: the truth and every feature."""
    domain = AnswerDomain().learn(problem.answer for problem in seed_problems())
    found = []
    for row in rows:
        shape = shape_of(row["counts"], row["num_unparsable"])
        free = features_of(
            text=doubt(row["question"]).score, domain=domain.sign(row["answer"] or ""), shape=shape
        )
        found.append(
            {
                **row,
                "valid": row["gold"] is not None,
                "in_band": LOW <= shape.majority <= HIGH,
                "features": {**free, **row["signs"]},
            }
        )
    return found


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the area under the ROC of each signal and of some together, by sandbox and stage."""
    found: dict[str, Any] = {}
    for sandbox_name in dict.fromkeys(row["sandbox"] for row in rows):
        every = [row for row in rows if row["sandbox"] == sandbox_name]
        by_stage = [row for row in every if row["stage"] != "frozen"]
        scores: dict[str, tuple[list[Row], list[float]]] = {
            "margin, same rows": (by_stage, [row["features"]["margin"] for row in by_stage]),
        }
        for names in (*ALONE, *TOGETHER):
            here = [row for row in every if row["features"].keys() >= set(names)]
            if len(names) > 1:
                scores[" + ".join(names)] = here, crossed(here, names)
                continue
            [name] = names
            # Alone, of what it says anything: without a restatement there is no second view.
            here = [row for row in here if row["found"][name]]
            scores[name] = here, [-row["features"][name] for row in here]
        for name, (here, each) in scores.items():
            cost = sum(price(by_stage, part) for part in name.split(" + "))
            found.setdefault(name, {})[sandbox_name] = {
                **areas(here, each),
                "rollouts_per_question": round(cost, 2),
            }
    return found


def areas(rows: Sequence[Row], scores: Sequence[float]) -> dict[str, float | None]:
    """Return the areas of all groups and of those in the band; `None` without both sorts."""
    found: dict[str, float | None] = {}
    for key in KEYS:
        stage = key.split("_")[1]
        seen = [
            (row["valid"], score)
            for row, score in zip(rows, scores, strict=True)
            if row["stage"] == stage and row["in_band"] >= key.endswith("in_band")
        ]
        sides = [[score for valid, score in seen if valid is side] for side in (True, False)]
        found[key] = round(auc(*sides), 4) if all(sides) else None
    return found


def price(rows: Sequence[Row], name: str) -> float:
    """Return the completions that a signal took per question; 0 for those of the vote."""
    paid = [row["completions"][name] for row in rows if name in row["completions"]]
    return fmean(paid) if paid else 0.0


def crossed(rows: Sequence[Row], names: Sequence[str]) -> list[float]:
    """Return the chances by models of the other half: of the odd rows for the even, and back."""
    chances = [0.0] * len(rows)
    for half in (0, 1):
        other = rows[1 - half :: 2]
        model = fit([row["features"] for row in other], [row["valid"] for row in other], names)
        chances[half::2] = [model.p_valid(row["features"]) for row in rows[half::2]]
    return chances


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the part "asked" takes."""
    parser.add_argument("--asked_dir", type=Path, default=ROOT / "runs/asked", help="of asked")
    parser.add_argument("--num_questions", type=int, default=200, help="of asked, a stage of a run")
    parser.add_argument(
        "--runs", type=_run_of, nargs="+", help="of asked: easy=RUN and hard=RUN, several of each"
    )


def _run_of(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if name not in NAMES or not (Path(path) / LEDGER).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not easy=RUN or hard=RUN with a ledger there")
    return name, Path(path)


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, write the rows that a gate is fitted on, and return the figures."""
    rows = feature_rows(all_rows(options))
    # The judge saw a part of the questions, and a run's own model is asked in training.
    kept = [
        {**row, "signs": {name: row["signs"][name] for name in row["signs"] if name not in JUDGE}}
        for row in rows
        if row["stage"] != "frozen"
    ]
    lines = "".join(json.dumps(row) + "\n" for row in kept)
    (options.asked_dir / "rows.jsonl").write_text(lines, encoding="utf-8")
    return summarise(rows)


def asked_text(found: dict[str, Any]) -> list[str]:
    """Return the figures as Markdown."""
    table = [["signal", "sandbox", *(key.replace("_", " ") for key in KEYS), "rollouts"]]
    for name, by_sandbox in found.items():
        for sandbox_name, each in by_sandbox.items():
            if KEYS[1] in each:
                values = ["-" if each[key] is None else f"{each[key]:.3f}" for key in KEYS]
                table.append([name, sandbox_name, *values, f"{each['rollouts_per_question']:.1f}"])
    return as_table(table)
