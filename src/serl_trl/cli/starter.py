"""The config that `serl init` writes: what is guessed from the seeds, and the text of the file."""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from serl_trl.answers.equality import get_kind, holds_several, known_labels
from serl_trl.answers.golds import read_gold
from serl_trl.cli.judged import num_choices
from serl_trl.common.plain_yaml import own_table
from serl_trl.data.seeds import SeedSet
from serl_trl.filters.registry import filter_options, find_filters
from serl_trl.filters.seeds import judge_seeds
from serl_trl.propose.languages import localised
from serl_trl.propose.prompts import PLACEHOLDER, PromptStyle
from serl_trl.train.options import SelfPlayOptions

_HERE = files("serl_trl.cli")

# What to write for a machine: options with their values.
MACHINES: dict[str, dict[str, Any]] = own_table(__file__, "machines.yaml")
# The kinds of answer that are asked for; others are written into the file by hand.
KINDS = ("math", "number", "choice", "label", "text")

_MAX_LABELS = 10
_DEFAULTS = SelfPlayOptions()


@dataclass(frozen=True)
class Answered:
    """What the user said, or what was guessed.

    `column` is `None` where the reader finds it, `question` where each row asks its own.
    """

    seed_set: str
    column: str | None
    language: str
    answer_kind: str
    domain: str
    machine: str
    model: str | None = None
    question: str | None = None


def guess_kind(seeds: SeedSet) -> str:
    """Return the kind that golds and choices of the seeds look like; else mathematics."""
    golds = [answer for answer in seeds.answers if answer]
    if choices := num_choices(seeds.instructions):
        return f"choice(num_choices={choices})"
    if not golds:
        return "math"
    number = get_kind("number")
    if all(read_gold(gold, number) is not None for gold in golds):
        return "number"
    counts = Counter(gold.strip().casefold() for gold in golds)
    # Labels repeat, each three times on average; texts that are free hardly do.
    if 2 <= len(counts) <= _MAX_LABELS and len(golds) >= 3 * len(counts):
        return label_kind(sorted(counts))
    return "text" if all(len(gold.split()) <= 4 for gold in golds) else "math"


def label_kind(labels: Sequence[str]) -> str:
    """Return the answer kind of these labels."""
    return f"label(labels={list(labels)!r})"


def seems_english(seeds: Sequence[str]) -> bool:
    """Return whether the filter of languages keeps most of the seeds."""
    judged = judge_seeds(seeds, ["language"], {})
    return 2 * judged.num_refused <= judged.num_judged


def ask_nothing(seeds: Sequence[str]) -> bool:
    """Return whether most rows are texts without a question or an order."""
    judged = judge_seeds(seeds, ["question"], {})
    return 2 * judged.num_refused > judged.num_judged


def default_domain(language: str, question: str | None) -> str:
    """Return what the proposer teaches, or writes, where nobody says so."""
    return _texts(language, question)["domain"]


def config_text(answered: Answered, seeds: SeedSet, path: Path) -> str:
    """Return the YAML that stands at `path`: commented, and accepted by `serl check`."""
    settings = dict(MACHINES[answered.machine])
    if answered.model:
        settings["model_name_or_path"] = answered.model
    texts = _texts(answered.language, answered.question)
    form = _instruction(texts["answer_instruction"], answered.answer_kind)
    asked = {"answer_instruction": form}
    if answered.question:
        asked = {"task_template": f"{PLACEHOLDER}\n{answered.question}\n{form}"}
    values = {
        "name": re.sub(r"[^\w./-]", "_", str(path)),
        "machine": answered.machine,
        "settings": settings,
        "output_dir": f"runs/{path.stem}",
        "num_seeds": len(seeds),
        "seed_set": _beside(answered.seed_set, path.parent),
        "column": answered.column,
        "num_shots": min(_DEFAULTS.num_shots, len(seeds)),
        "language": answered.language,
        "answer_kind": answered.answer_kind,
        **{name: texts[name] for name in ("proposer_system", "proposer_request")},
        "domain": answered.domain,
        "asked": asked,
        "changes": _changes(seeds.instructions, answered),
    }
    # Values become JSON, which is YAML too: no text of the user can end its line.
    engine = Environment(trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    engine.filters["yaml"] = lambda value: json.dumps(value, ensure_ascii=False)
    return engine.from_string(_HERE.joinpath("starter.jinja").read_text("utf-8")).render(values)


def _texts(language: str, question: str | None) -> dict[str, str]:
    """Return the texts of prompts; the form of the answer is in the language, whatever is asked."""
    texts = asdict(PromptStyle())
    texts |= {"answer_instruction": {**texts, **localised(texts, language)}["answer_instruction"]}
    asked = {**texts, "task_template": question or ""}
    return {**texts, **localised(asked, language)}


def _instruction(text: str, kind: str) -> str:
    """Name the answers that are allowed behind the instruction, in a way that no language needs."""
    known = known_labels(kind)
    return f"{text.rstrip('.')}: {' / '.join(known)}." if known else text


def _beside(source: str, folder: Path) -> str:
    """Return a path as the config's folder sees it, where the file lies in it; else as it was."""
    here = Path(source).expanduser()
    if not here.exists():
        return source
    inside = os.path.relpath(here.absolute(), folder.absolute())
    return str(here.absolute()) if inside.startswith("..") else inside


def _changes(seeds: Sequence[str], answered: Answered) -> list[tuple[str, Any, str]]:
    """Return the options that the seeds need: name, value, and why."""
    found: list[tuple[str, Any, str]] = []
    least, most = _DEFAULTS.min_words, _DEFAULTS.max_words
    of_texts = bool(answered.question)
    named = find_filters("default", language=answered.language, of_texts=of_texts)
    names = [str(name) for name in named]
    # No tokenizer is loaded here: a config is written before any model is downloaded.
    looked = [name for name in names if name != "tokens"]
    several = holds_several(answered.answer_kind)
    options = filter_options(min_words=least, max_words=most, several_answers=several)
    judged = judge_seeds(seeds, looked, options)
    if "length" in judged.often:
        lengths = [len(text.split()) for text in seeds]
        why = "The seeds' own lengths in words; the default refuses proposals as long."
        found.append(("min_words", min(least, *lengths), why))
        found.append(("max_words", max(most, *lengths), "Likewise."))
    if aside := [name for name in judged.often if name != "length"]:
        kept = ",".join(name for name in names if name not in aside)
        why = f"Without {', '.join(aside)}, which would refuse proposals like the seeds."
        found.append(("proposal_filters", kept, why))
    return found
