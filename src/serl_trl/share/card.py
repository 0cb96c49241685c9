"""The cards of a model and of its self-written instructions: complete, true, harmless to read.

The words stand in templates. What a run stored may be hostile, so every text of it becomes Markdown
code before a template sees it; only names that were checked (`is_hub_id`) go in as they are.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from serl_trl.common.folder import Folder
from serl_trl.common.markdown import code, fenced, table
from serl_trl.common.plain_yaml import own_table
from serl_trl.common.secrets import redacted, secret_in
from serl_trl.common.text import count_of
from serl_trl.labels.registry import known_labeller
from serl_trl.propose.prompts import PromptStyle, rollout_messages
from serl_trl.propose.sources.registry import rewards_by_gold, writes_new
from serl_trl.report.charts import Line, line_picture
from serl_trl.report.labels import label_estimate, labels_right
from serl_trl.report.refusals import bin_name, ratio_bins
from serl_trl.runs.facts import RunFacts, without_home_paths
from serl_trl.runs.reader import LedgerIndex, Records, Run
from serl_trl.share.dataset import COLUMNS, examples_of
from serl_trl.share.measured import before_and_after, compared

TAGS = ("serl", "trl", "grpo", "self-play", "self-instruct", "reinforcement-learning")
DATASET_TAGS = ("serl", "synthetic", "self-instruct")
FIGURES = "figures"
# The classes of the Hub, each with the number of rows at which the next one begins.
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_FIGURES = own_table(__file__, "figures.yaml")
_INSTRUCTION = "If 3 pens cost 6 coins, what do 5 pens cost?"
_TEXT = "Here stands a text of the same kind."


@dataclass(frozen=True)
class Subject:
    """What a card is about: a run, its facts as far as they may leave, and where it goes.

    `checkpoint` is the step of the weights when they are not the final ones; `run` ends there.
    """

    run: Run
    facts: RunFacts
    repo_id: str | None
    checkpoint: int | None = None


def write_model_card(
    folder: Path,
    subject: Subject,
    *,
    measured: Mapping[str, Any] | None = None,
    secrets: Collection[str] = (),
) -> list[str]:
    """Write README.md and its figures to `folder`; return what `write_card_text` does.

    `measured` is a comparison with another model, as `serl eval --compare` writes it.
    """
    # Drawn first, because the card names only those that exist.
    figures = draw_curves(subject.run, folder / FIGURES)
    return write_card_text(folder, model_card(subject, figures, measured or {}), secrets)


def write_card_text(folder: Path, text: str, secrets: Collection[str]) -> list[str]:
    """Write a card as README.md, without one of `secrets`, what looks like one, and home paths.

    Returns what kind of secret was left out, if any was.
    """
    # A prompt or an example may hold a key that the user wrote into a config or a seed.
    kind = secret_in(text, secrets)
    Folder(folder).write("README.md", without_home_paths(redacted(text, secrets)))
    return [f"{kind}, from the card README.md"] if kind else []


def draw_curves(run: Run, folder: Path) -> dict[str, str]:
    """Draw what was logged at two steps or more; return what each file in `folder` shows.

    What lies in `folder` from earlier is replaced.
    """
    drawn, inside = {}, Folder(folder.parent)
    for file, figure in _FIGURES.items():
        series = {label: run.series(metric) for metric, label in figure["lines"].items()}
        # One point is no curve.
        logged = [(label, points) for label, points in series.items() if len(points) > 1]
        lines = [Line(*each, colour) for colour, each in enumerate(logged)]
        if lines:
            inside.write(f"{folder.name}/{file}", line_picture(lines))
            drawn[file] = figure["shows"]
        else:
            inside.remove(f"{folder.name}/{file}")
    return drawn


def model_card(subject: Subject, figures: Mapping[str, str], measured: Mapping[str, Any]) -> str:
    """Return the card of the model; `figures` maps file names to what they show."""
    from huggingface_hub import ModelCard, ModelCardData

    run, facts = subject.run, subject.facts
    data = ModelCardData(
        base_model=facts.base,
        library_name="peft" if facts.adapter else "transformers",
        license=facts.base_license,
        datasets=_on_hub(facts.seed_source),
        pipeline_tag="text-generation",
        tags=list(TAGS),
    )
    # Without it the Hub guesses from the files how a model stands to its base.
    if facts.base:
        data["base_model_relation"] = "adapter" if facts.adapter else "finetune"
    probed = run.series("serl/probe/pass@1")
    words: dict[str, Any] = {
        "written": writes_new(run.config.get("sources", ["few_shot"]))
        and run.config.get("use_selfplay") is not False,
        "votes": run.config.get("num_generations", "several"),
        "rewarded": known_labeller(run.config.get("label_reward", "vote")).rewarded,
        "by_gold": rewards_by_gold(run.config.get("sources")),
        "base_revision": facts.base_revision,
        "messages": _messages(run),
        "compared": compared(measured),
        "measured": before_and_after(run.evaluation),
        "probed": (probed[0], probed[-1]) if len(probed) > 1 else None,
        "probe_samples": run.config.get("probe_samples", "several"),
        "figures": figures,
        "ended": code(run.ledger.ended.sentence, max_chars=1000) if run.ledger.ended else "",
    }
    words |= _common_words(subject, subject.repo_id or run.name)
    return f"{ModelCard.from_template(data, template_str=_template('model_card'), **words)}\n"


def dataset_card(subject: Subject, counts: Mapping[str, int]) -> str:
    """Return the card of the self-written instructions; `counts` are the rows of each split."""
    from huggingface_hub import DatasetCard, DatasetCardData

    rows = sum(counts.values())
    data = DatasetCardData(
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated"],
        language=_languages(subject.run),
        source_datasets=_on_hub(subject.facts.seed_source),
        task_categories=["text-generation"],
        size_categories=[next((name for bound, name in _SIZES if rows < bound), "10M<n<100M")],
        tags=list(DATASET_TAGS),
    )
    words: dict[str, Any] = {
        "splits": table(("split", "rows"), [(code(name), f"{n:,}") for name, n in counts.items()]),
        "columns": table(
            ("column", "meaning"), [(code(name), each.meaning) for name, each in COLUMNS.items()]
        ),
    }
    words |= _common_words(subject, subject.repo_id or f"{subject.run.name}-instructions")
    return f"{DatasetCard.from_template(data, template_str=_template('dataset_card'), **words)}\n"


def _template(name: str) -> str:
    folder = files("serl_trl.share")
    # In one text, since the Hub's library gives a template no place to include another from.
    parts = (folder.joinpath(f"{each}.jinja").read_text("utf-8") for each in ("parts", name))
    return "".join(parts)


def _common_words(subject: Subject, name: str) -> dict[str, Any]:
    """Return what the templates say of both cards; texts are Markdown, the rest is numbers."""
    run, facts = subject.run, subject.facts
    examples = examples_of(run.ledger)
    options = [
        (code(k), code(v if isinstance(v, str) else repr(v)))
        for k, v in facts.options.items()
        # It stands in a block of its own.
        if k != "task_template"
    ]
    template = run.config.get("task_template")
    return {
        "heading": code(name.split("/")[-1]),
        "address": address_of(name),
        "base": facts.base,
        "checkpoint": subject.checkpoint,
        "facts": {name: _as_code(value) for name, value in asdict(facts).items()},
        "versions": ", ".join(f"{_word(k)} {code(v)}" for k, v in facts.versions.items()),
        "asked": fenced(template) if template else "",
        "options": table(("option", "value"), sorted(options)) if options else "",
        "num_steps": run.num_steps,
        "seconds": _most(run, "train_runtime"),
        "tokens": _most(run, "num_tokens"),
        "funnel": _funnel(run.ledger),
        "agreement": _agreement(run.ledger.groups),
        "num_kept": len(run.ledger.groups.kept()),
        "labels": labels_right(run),
        "estimate": label_estimate(run),
        "num_contaminated": run.ledger.proposals.reasons()["contamination"],
        "num_seed_overlaps": run.ledger.num_seed_overlaps,
        "accepted": "\n\n".join(map(fenced, examples["accepted"])),
        "refused": "\n\n".join(map(fenced, examples["refused"])),
        "count_of": count_of,
    }


def _as_code(value: Any) -> Any:
    """Return `value` with every text in it as Markdown code; what is empty stays empty."""
    if isinstance(value, dict):
        return {code(str(key)): _as_code(each) for key, each in value.items()}
    return code(value) if isinstance(value, str) and value else value


def _word(text: str) -> str:
    """Return a name, or as code what is none: it then says nothing to Markdown."""
    return text if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,40}", text) else code(text)


def _most(run: Run, metric: str) -> float:
    # Totals only grow, also over a resumption: the largest is that of the whole run.
    return max((value for _, value in run.series(metric)), default=0.0)


def _languages(run: Run) -> list[str] | None:
    """Return the codes of the languages of the instructions, where a filter let only one pass."""
    names = str(run.config.get("proposal_filters", "")).split(",")
    english = names == ["default"] or "language" in [name.strip() for name in names]
    return ["en"] if english else None


def _on_hub(source: str | None) -> list[str] | None:
    return [source] if source and "/" in source else None


def address_of(name: str) -> str:
    """Return the name of a repository as code quotes it; an owner not known yet is `OWNER`."""
    # It stands between quotation marks in Python that readers copy.
    quotable = "".join(c for c in name if c.isalnum() or c in "/._- ")
    return quotable if "/" in quotable else f"OWNER/{quotable}"


def _messages(run: Run) -> str:
    """Return the messages of a rollout as JSON: one line of ASCII, whatever the config holds."""
    # A text that the config lacks is the default of this version.
    named = {f.name: run.config[f.name] for f in fields(PromptStyle) if f.name in run.config}
    style = PromptStyle(**named)
    return json.dumps(rollout_messages(_TEXT if style.task_template else _INSTRUCTION, style))


def _funnel(ledger: LedgerIndex) -> str:
    """Return how proposals became groups to train on, and what was refused why."""
    proposals, groups = ledger.proposals, ledger.groups
    stages = {
        "proposals written": len(proposals),
        "accepted by the filters": len(proposals.kept()),
        "answered by a group of completions": len(groups),
        "groups with a majority inside band and gate": len(groups.kept()),
    }
    found = table(("stage", "number"), [(name, f"{n:,}") for name, n in stages.items()])
    reasons = [
        (code(reason), what, f"{number:,}")
        for what, rows in (("proposal", proposals), ("group", groups))
        for reason, number in rows.reasons().most_common()
    ]
    if not reasons:
        return found
    return f"{found}\n\n{table(('refused because', 'what', 'number'), reasons)}"


def _agreement(groups: Records) -> str:
    """Return the histogram of majority ratios."""
    bins = ratio_bins(groups.ratios)
    most = max(*bins, 1)
    rows = [(bin_name(i), f"{n:,}", "█" * round(20 * n / most)) for i, n in enumerate(bins)]
    return table(("majority ratio", "groups", ""), rows)
