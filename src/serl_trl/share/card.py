"""The cards of a model and of its self-written instructions: complete, true, harmless to read."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from serl_trl.common.folder import Folder
from serl_trl.common.markdown import code, table
from serl_trl.common.secrets import redacted, secret_in
from serl_trl.propose.prompts import PromptStyle, rollout_messages
from serl_trl.runs.facts import RunFacts, without_home_paths
from serl_trl.runs.reader import Run
from serl_trl.share import card_parts as parts
from serl_trl.share.dataset import COLUMNS, tally
from serl_trl.share.figures import draw_curves

TAGS = ("serl", "trl", "grpo", "self-play", "self-instruct", "reinforcement-learning")
DATASET_TAGS = ("serl", "synthetic", "self-instruct")
FIGURES = "figures"


def write_model_card(
    folder: Path,
    run: Run,
    facts: RunFacts,
    *,
    repo_id: str | None,
    measured: Mapping[str, Any] | None = None,
    checkpoint: int | None = None,
    secrets: Collection[str] = (),
) -> list[str]:
    """Write README.md and its figures to `folder`; `repo_id` is where it is going to lie.

    `measured` is a comparison with another model, as `serl eval --compare` writes it.
    `checkpoint` is the step of the weights when they are not the final ones; `run` ends there.
    Returns what `write_card_text` does.
    """
    figures = draw_curves(run, folder / FIGURES)
    text = model_card(
        run,
        facts,
        repo_id=repo_id,
        figures=figures,
        measured=measured or {},
        checkpoint=checkpoint,
    )
    return write_card_text(folder, text, secrets)


def write_card_text(folder: Path, text: str, secrets: Collection[str]) -> list[str]:
    """Write a card as README.md, without one of `secrets`, what looks like one, and home paths.

    Returns what kind of secret was left out, if any was.
    """
    kind = secret_in(text, secrets)
    Folder(folder).write("README.md", without_home_paths(redacted(text, secrets)))
    return [f"{kind}, from the card README.md"] if kind else []


def model_card(
    run: Run,
    facts: RunFacts,
    *,
    repo_id: str | None,
    figures: Mapping[str, str],
    measured: Mapping[str, Any],
    checkpoint: int | None = None,
) -> str:
    """Return the card of the model; `figures` maps file names to what they show.

    `measured` and `checkpoint` are those of `write_model_card`.
    """
    from huggingface_hub import ModelCardData

    tallies = tally(run.ledger)
    name = repo_id or run.name
    data = ModelCardData(
        base_model=facts.base,
        library_name="peft" if facts.adapter else "transformers",
        license=facts.base_license,
        datasets=_on_hub(facts.seed_source),
        pipeline_tag="text-generation",
        tags=list(TAGS),
    )
    if facts.base:
        data["base_model_relation"] = "adapter" if facts.adapter else "finetune"
    kind = "An adapter for" if facts.adapter else "A model trained from"
    images = "\n\n".join(f"![{what}]({FIGURES}/{file})" for file, what in figures.items())
    adapter_note = (
        f"\n\nThe adapter was trained against the unmodified base {parts.base_text(facts)}; with "
        "other base weights it is another model."
        if facts.adapter
        else ""
    )
    sections = {
        "": f"""{kind} {parts.base_text(facts)} with SeRL ([arXiv 2505.20347]({parts.PAPER})). \
{parts.method(run)} Made with [TRL](https://github.com/huggingface/trl).\
{_cut_note("The weights are", checkpoint)}{adapter_note}""",
        "Use": _usage(name, run, facts),
        "Evaluation": parts.evaluation(run, facts, measured),
        "What the vote cannot know, and other limits": parts.limits(run),
        "Training": f"""\
- Seed set: {parts.seeds_text(facts)}
- Compute: {parts.compute(run, facts)}.
- Started: {code(facts.started)}, run {code(facts.run_id)}.
- Versions: {parts.versions(facts)}.

{parts.recipe(facts)}""",
        "From proposals to training": parts.funnel(tallies),
        "Curves": images or "No curves were drawn for this card.",
        "Contamination": parts.contamination(facts, tallies, run),
        "Instructions that it wrote": parts.examples(
            tallies.examples["accepted"], "It wrote none that passed the filters."
        ),
        "Licence": parts.license_text(facts),
        "Citation": parts.CITATION,
    }
    return _document(data.to_yaml(), name, sections)


def dataset_card(
    run: Run,
    facts: RunFacts,
    *,
    repo_id: str | None,
    counts: Mapping[str, int],
    checkpoint: int | None = None,
) -> str:
    """Return the card of the self-written instructions; `counts` are the rows of each split.

    `checkpoint` is the step at which `run` was cut, if it was.
    """
    from huggingface_hub import DatasetCardData

    tallies = tally(run.ledger)
    name = repo_id or f"{run.name}-instructions"
    data = DatasetCardData(
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated"],
        language=parts.languages(run),
        source_datasets=_on_hub(facts.seed_source),
        task_categories=["text-generation"],
        size_categories=[_size_category(sum(counts.values()))],
        tags=list(DATASET_TAGS),
    )
    rows = [(code(split), f"{number:,}") for split, number in counts.items()]
    sections = {
        "": f"""Instructions that a language model ({parts.base_text(facts)}) wrote for itself \
during self-play training by SeRL ([arXiv 2505.20347]({parts.PAPER})), each with its fate.\
{_cut_note("They are", checkpoint)}

{table(("split", "rows"), rows)}""",
        "Warnings": f"""\
- **No answer in here was checked by anyone.** `majority_answer` is the commonest answer of the same
  model. It can be wrong, and the instruction can have no answer at all.
- Everything is machine-written. It can be false, repetitive, unsafe or offensive, it can repeat
  what the base model was trained on, and it was not searched for personal data.
- The split `refused` holds what the filters kept out of training, each with its reason. It is
  there to study filters; most of its texts can be withheld, see Contamination.
- The texts were written from a seed set that is not part of this data set, and stay close to it.
- Terms of the base model on the use of its outputs may apply. {parts.license_text(facts)}
  No licence was chosen for this data set itself.

To have something removed, open a discussion on this page.""",
        "Read it": f"""\
```python
from datasets import load_dataset

instructions = load_dataset("{address_of(name)}", split="accepted")
kept = instructions.filter(lambda row: row["kept"])
```""",
        "Columns": table(
            ("column", "meaning"), [(code(column), what) for column, what in COLUMNS.items()]
        ),
        "Where it comes from": f"""\
- Seed set: {parts.seeds_text(facts)}
- Run {code(facts.run_id)}, started {code(facts.started)}; {parts.compute(run, facts)}.
- Versions: {parts.versions(facts)}.

{parts.recipe(facts)}""",
        "From proposals to training": parts.funnel(tallies),
        "Agreement": parts.agreement(tallies) + "\n\n" + parts.agreement_warning(run),
        "Contamination": parts.contamination(facts, tallies, run)
        + " Withheld (column `withheld`) are the texts of proposals that overlap or may copy a "
        "seed, and of all that a filter refused before they were compared with the seeds by "
        "ROUGE-L: nobody knows whether they are copies.",
        "Examples": "Accepted:\n\n"
        + parts.examples(tallies.examples["accepted"], "none")
        + "\n\nRefused:\n\n"
        + parts.examples(tallies.examples["refused"], "none"),
        "Citation": parts.CITATION,
    }
    return _document(data.to_yaml(), name, sections)


def _document(metadata: str, name: str, sections: Mapping[str, str]) -> str:
    texts = [f"## {title}\n\n{text}" if title else text for title, text in sections.items()]
    body = "\n\n".join(texts)
    return f"---\n{metadata.strip()}\n---\n\n# {_heading(name)}\n\n{body}\n"


def _heading(name: str) -> str:
    return code(name.split("/")[-1])


def address_of(name: str) -> str:
    """Return the name of a repository as code quotes it; an owner not known yet is `OWNER`."""
    quotable = "".join(c for c in name if c.isalnum() or c in "/._- ")
    return quotable if "/" in quotable else f"OWNER/{quotable}"


def _cut_note(what: str, checkpoint: int | None) -> str:
    if checkpoint is None:
        return ""
    return (
        f"\n\n{what} those of the checkpoint after step {checkpoint:,}, not of the whole run; all "
        "counts and figures below end there."
    )


def _on_hub(source: str | None) -> list[str] | None:
    return [source] if source and "/" in source else None


def _usage(name: str, run: Run, facts: RunFacts) -> str:
    named = {f.name: run.config[f.name] for f in fields(PromptStyle) if f.name in run.config}
    asked = "If 3 pens cost 6 coins, what do 5 pens cost?"
    messages = json.dumps(rollout_messages(asked, PromptStyle(**named)))
    if not facts.adapter:
        return f"""\
```python
from transformers import pipeline

generator = pipeline("text-generation", model="{address_of(name)}")
messages = {messages}
print(generator(messages, return_full_text=False)[0]["generated_text"])
```

These are the messages of training, around another instruction."""
    base = facts.base or "the folder of the base model"
    revision = f', revision="{facts.base_revision}"' if facts.base and facts.base_revision else ""
    return f"""\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}"{revision})
model = PeftModel.from_pretrained(base, "{address_of(name)}")
messages = {messages}
```

These are the messages of training, around another instruction."""


def _size_category(rows: int) -> str:
    bounds: Sequence[tuple[int, str]] = (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    )
    return next((name for bound, name in bounds if rows < bound), "1M<n<10M")
