"""The sections that the cards of a model and of its data set are put together from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from serl_trl.common.markdown import code, fenced, table
from serl_trl.common.text import count_of
from serl_trl.runs.facts import RunFacts, public_name
from serl_trl.runs.reader import Run, number_in
from serl_trl.share.dataset import NUM_BINS, Tallies

PAPER = "https://arxiv.org/abs/2505.20347"
CITATION = """\
```bibtex
@article{serl2025,
    title  = {{SeRL: Self-Play Reinforcement Learning for Large Language Models with Limited Data}},
    year   = 2025,
    eprint = {arXiv:2505.20347},
}
@software{vonwerra2020trl,
    title  = {{TRL: Transformers Reinforcement Learning}},
    author = {von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and Beeching, Edward and
              Thrush, Tristan and Lambert, Nathan and Huang, Shengyi and Rasul, Kashif and
              Gallou\\'edec, Quentin},
    url    = {https://github.com/huggingface/trl},
    year   = {2020}
}
```"""


def base_text(facts: RunFacts) -> str:
    """Name the base model, without a path of this machine."""
    if facts.base is None:
        what = f" ({code(facts.architecture)})" if facts.architecture else ""
        return f"a local folder{what}"
    revision = f" at revision {code(facts.base_revision)}" if facts.base_revision else ""
    return f"[{facts.base}](https://huggingface.co/{facts.base}){revision}"


def license_text(facts: RunFacts) -> str:
    """Say under which licence the weights stand, as far as it is known."""
    if facts.base_license:
        return f"The base's licence applies: {code(facts.base_license)}."
    if facts.base:
        return "The base's licence applies; it was not known when this card was written."
    return "The licence of the base applies; the base is not on the Hub and names none."


def seeds_text(facts: RunFacts) -> str:
    """Say what was given: how many instructions, with how many answers, and which."""
    if not facts.num_seeds:
        return "not recorded."
    source = code(facts.seed_source) if facts.seed_source else "a local file (not published)"
    answers = (
        f"{facts.num_gold_seeds:,} of them with gold answers"
        if facts.num_gold_seeds
        else "none with an answer"
    )
    return (
        f"{count_of(facts.num_seeds, 'instruction')} from {source}, {answers}; SHA-256 of texts "
        f"and answers {code(facts.seed_sha256)}."
    )


def recipe(facts: RunFacts) -> str:
    """Return the table of options."""
    title = "All options" if facts.all_options else "Options that differ from the defaults"
    rows = [(code(name), code(_shown(value))) for name, value in sorted(facts.options.items())]
    if not rows:
        return "All options are at their defaults."
    return f"{title}:\n\n" + table(("option", "value"), rows)


def versions(facts: RunFacts) -> str:
    """List the versions, or say that they are not known."""
    listed = ", ".join(f"{_word(name)} {code(version)}" for name, version in facts.versions.items())
    return listed or "not recorded"


def compute(run: Run, facts: RunFacts) -> str:
    """Say how long the run took on what, as far as the logs tell."""
    seconds = max((value for _, value in run.series("train_runtime")), default=0.0)
    tokens = max((value for _, value in run.series("num_tokens")), default=0.0)
    parts = [count_of(run.num_steps, "optimizer step")]
    if seconds:
        count = facts.num_processes
        processes = f"{count} processes" if count > 1 else "one process"
        hours = seconds * count / 3600
        parts.append(f"{hours:.2f} device hours ({processes} for {seconds:,.0f} s)")
    if facts.device:
        parts.append(f"on {code(facts.device)}")
    if tokens:
        parts.append(f"{tokens:,.0f} tokens in trained prompts and completions")
    return ", ".join(parts)


def method(run: Run) -> str:
    """Say in a sentence or two what the run did, from its options."""
    given = run.config.get("prompt_source") == "given" or run.config.get("use_selfplay") is False
    votes = run.config.get("num_generations", "several")
    source = (
        "The model answered the instructions of a seed set"
        if given
        else "The model wrote new instructions from a small seed set and answered each"
    )
    label = {
        "vote": "its majority answer was the label, so it was rewarded for agreeing with itself",
        "gold": "it was rewarded for gold answers, not for a vote",
        "random": "rewards were coin tosses, as a control: it was taught nothing",
        "none": "it was rewarded by other functions, not for a vote",
    }.get(str(run.config.get("label_reward", "vote")), "how it was rewarded is not recorded")
    return f"{source} {votes} times; {label}."


def languages(run: Run) -> list[str] | None:
    """Return the codes of the languages of the instructions, where a filter let only one pass."""
    names = str(run.config.get("proposal_filters", "")).split(",")
    english = names == ["default"] or "language" in [name.strip() for name in names]
    return ["en"] if english else None


def evaluation(run: Run, facts: RunFacts, measured: Mapping[str, Any]) -> str:
    """Return the figures before and after training, or say that nothing was measured."""
    found = [_compared(measured), _before_after(run), _probed(run, facts)]
    return "\n\n".join(text for text in found if text) or (
        "This model was not measured against gold answers in this run. Do so before you rely on "
        "it; agreement among its own answers says nothing about that."
    )


def _compared(measured: Mapping[str, Any]) -> str:
    """Return the table of a comparison by `serl eval --compare`."""
    benchmarks = measured.get("benchmarks")
    if not isinstance(benchmarks, Mapping):
        return ""
    rows = []
    settings = set()
    for name, entry in benchmarks.items():
        settings.update(entry.get("other_settings", ()))
        for figure, values in entry["differences"].items():
            gap = _interval(values, "difference", sign="+")
            figures = [f"{number_in(values, side) or 0.0:.3f}" for side in ("base", "trained")]
            counts = [f"{entry['num_problems']:,}", _sampling(measured, name)]
            rows.append([code(str(name)), *counts, code(str(figure)), *figures, gap])
    other = public_name(str(measured.get("base", "")))
    with_what = code(other) if other else "a model in a local folder"
    note = f"\n\nOther settings that differed: {code('; '.join(settings))}." if settings else ""
    heads = ("benchmark", "problems", "samples", "figure", "base", "this model", "difference")
    return (
        f"This model and {with_what} (base), measured by the same code (`serl eval --compare`); "
        "differences with 95 % intervals over pairs of problems; `greedy` is one answer at "
        "temperature 0.\n\n" + table(heads, rows) + note
    )


def _sampling(measured: Mapping[str, Any], name: str) -> str:
    """Say how this model was sampled on a benchmark."""
    settings = measured.get("settings", {}).get(name, {})
    samples, temperature = (number_in(settings, key) for key in ("num_samples", "temperature"))
    if samples is None or temperature is None:
        return "-"
    return f"{samples:.0f} at temperature {temperature:g}"


def _before_after(run: Run) -> str:
    """Return the table of the measurement before and after training."""
    figures = run.evaluation.get("figures")
    if not isinstance(figures, Mapping) or not figures:
        return ""
    rows = [
        [
            code(str(name)),
            _interval(values, "before"),
            _interval(values, "after"),
            _interval(values, "change", sign="+"),
        ]
        for name, values in figures.items()
        if isinstance(values, Mapping)
    ]
    problems = number_in(run.evaluation, "num_problems") or 0
    samples = number_in(run.evaluation, "num_samples") or 0
    temperature = number_in(run.evaluation, "temperature")
    heat = "a temperature not recorded" if temperature is None else f"temperature {temperature:g}"
    named = run.evaluation.get("problem_set")
    source = f"of {code(str(named))}" if named else "of a set that is not named"
    return (
        f"The base and this model, measured by the same code on the same {problems:,.0f} problems "
        f"{source}, with {samples:.0f} samples each at {heat}, `greedy` with one at temperature 0; "
        "means over problems with 95 % bootstrap intervals, the change over pairs.\n\n"
        + table(("figure", "base", "this model", "change"), rows)
    )


def _probed(run: Run, facts: RunFacts) -> str:
    """Return the first and the last measurement of the probe set during training."""
    points = run.series("serl/probe/pass@1")
    if len(points) < 2:
        return ""
    (first, before), (last, after) = points[0], points[-1]
    size = f" ({count_of(facts.num_probe_problems, 'problem')})" if facts.num_probe_problems else ""
    samples = run.config.get("probe_samples", "several")
    return (
        f"On the probe set{size}, which was not trained on, pass@1 went from {before:.3f} at step "
        f"{first:.0f} to {after:.3f} at step {last:.0f}, over {samples} samples of each problem at "
        "temperature 1."
    )


def funnel(tallies: Tallies) -> str:
    """Return how proposals became groups to train on, and what was refused why."""
    rows = [
        ("proposals written", f"{tallies.num_proposals:,}"),
        ("accepted by the filters", f"{tallies.num_accepted:,}"),
        ("answered by a group of completions", f"{tallies.num_groups:,}"),
        ("groups with a majority inside the band", f"{tallies.num_kept:,}"),
    ]
    reasons = [
        (code(reason), what, f"{number:,}")
        for what, counts in (("proposal", tallies.refused), ("group", tallies.group_refused))
        for reason, number in counts.most_common()
    ]
    tables = [table(("stage", "number"), rows)]
    if reasons:
        tables.append(table(("refused because", "what", "number"), reasons))
    return "\n\n".join(tables)


def agreement(tallies: Tallies) -> str:
    """Return the histogram of majority ratios."""
    most = max(tallies.ratios, default=0) or 1
    rows = [
        (f"{i / NUM_BINS:.1f} to {(i + 1) / NUM_BINS:.1f}", f"{n:,}", "█" * round(20 * n / most))
        for i, n in enumerate(tallies.ratios)
    ]
    return table(("majority ratio", "groups", ""), rows)


def contamination(facts: RunFacts, tallies: Tallies, run: Run) -> str:
    """Say what the instructions were compared with, and what was found."""
    if not facts.evaluation_sets:
        return (
            "No evaluation set was named in this run, so nothing was compared with one. Check the "
            "instructions against whatever you measure on."
        )
    sets = ", ".join(
        f"{code(name)} ({count_of(number, 'problem')})"
        for name, number in facts.evaluation_sets.items()
    )
    overlaps = run.ledger.num_seed_overlaps
    return (
        f"Every proposal that no filter had refused before was compared with {sets}, by shared "
        "word sequences and ROUGE-L; "
        f"{count_of(tallies.refused['contamination'], 'proposal')} overlapped and left training. "
        f"{count_of(overlaps, 'seed')} overlapped too, and stayed. Paraphrases and translations "
        "are not found this way."
    )


def examples(texts: Sequence[str], none: str) -> str:
    """Return the texts as blocks that they cannot leave."""
    return "\n\n".join(fenced(text) for text in texts) or none


def agreement_warning(run: Run) -> str:
    """Return what the vote cannot know, with what is known of the labels of kept groups."""
    return (
        "**Agreement is not accuracy.** The majority answer is what the model's own answers agree "
        "on. Where most samples make the same mistake, the mistake is the majority. "
        + _labels_right(run)
    )


def _labels_right(run: Run) -> str:
    """Say how many majority answers of kept groups are right, by gold or going by the probe set."""
    groups = run.ledger.groups
    kept = [groups.rights[row] for row in groups.kept()]
    known = [right for right in kept if right >= 0]
    if known:
        others = (
            " Of the others it is not known, and some of their problems may have no right answer."
        )
        return (
            f"{len(known):,} of {len(kept):,} kept groups have a majority answer and a known gold "
            f"answer; {sum(known) / len(known):.1%} of these majority answers are right."
            + (others if len(known) < len(kept) else "")
        )
    unknown = (
        "No gold answer is recorded for the kept groups, so how many of their majority answers are "
        "right is not known."
    )
    names = ("estimate", "low", "high")
    ends = [run.series(f"serl/kept_label_accuracy_{name}")[-1:] for name in names]
    if not all(ends):
        return unknown
    (step, value), (_, low), (_, high) = (end[0] for end in ends)
    return (
        f"{unknown} Going by the probe set, whose answers are known, it was about {value:.1%} "
        f"before step {step:.0f} (95 % interval {low:.1%} to {high:.1%})."
    )


def limits(run: Run) -> str:
    """Return what should keep a reader from trusting the model too much."""
    return f"""\
- {agreement_warning(run)}
- The method sharpens what a model already knows; it teaches no fact that it did not have.
- Topics can narrow and answers can collapse onto one another; look at the curves.
- No claim is made about other domains or languages than those of the seed set, nor about safety:
  nothing here was trained or filtered for it."""


def _word(text: str) -> str:
    """Return a name, or as code what is none: it then says nothing to Markdown."""
    return text if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,40}", text) else code(text)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _interval(values: Mapping[str, Any], part: str, *, sign: str = "") -> str:
    found = values.get(part)
    mean, low, high = (
        number_in(found, key) if isinstance(found, Mapping) else None
        for key in ("mean", "low", "high")
    )
    if mean is None:
        return "-"
    if low is None or high is None:
        return f"{mean:{sign}.3f}"
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
