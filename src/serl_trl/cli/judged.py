"""What `serl check` makes of the data: seeds against the filters, the band against chance."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serl_trl.answers.equality import holds_several, known_labels
from serl_trl.cli.parser import Arguments
from serl_trl.common.reasons import REASONS
from serl_trl.common.text import shortened, visible
from serl_trl.filters.registry import filter_options, find_filters
from serl_trl.filters.seeds import JudgedSeeds, judge_seeds, spread
from serl_trl.labels.chance import find_band, noise_in_band
from serl_trl.propose.sources.registry import writes_new

if TYPE_CHECKING:
    from serl_trl.train.config import SeRLConfig

# The default band of 16 votes lets up to 17 % of pure noise pass.
MAX_NOISE = 0.2

# What a filter refuses by a number, and not by what a text says.
_LENGTHS = ("length", "paper_length")
# The letters of choices: "(A)", or "A." and "A)" where a word may begin.
_LETTER = re.compile(r"\(([A-H])\)|(?<!\S)([A-H])[.)](?=\s)")
_NUM_CHARS = 60


@dataclass(frozen=True)
class Judged:
    """Lines about refused seeds, the share of noise in the band, and what to change.

    `noise` is `None` where the number of answers is not known, or no band is used. It takes every
    completion to have an answer.
    """

    refused: tuple[str, ...] = ()
    noise: float | None = None
    to_change: tuple[str, ...] = ()


def judge_data(args: Arguments, seeds: Sequence[str]) -> Judged:
    """Judge the seeds and the band of a checked config; no code of a plug-in is called."""
    config = args.config
    refused: tuple[str, ...] = ()
    to_change: list[str] = []
    if seeds and config.use_selfplay and writes_new(config.sources):
        refused, to_change = _refused(config, seeds)
    noise = None
    if config.use_selfplay and config.use_band:
        noise, found = _noise(config, seeds)
        to_change += found
    return Judged(refused, noise, tuple(to_change))


def _refused(config: "SeRLConfig", seeds: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    plugins, language = config.plugins or (), config.language
    of_texts = bool(config.task_template)
    named = find_filters(config.proposal_filters, plugins, language=language, of_texts=of_texts)
    # Too many tokens are an error of a seed, and were looked at; no filter of the user is called.
    names = [each for each in named if isinstance(each, str) and each != "tokens"]
    options = filter_options(
        min_words=config.min_words,
        max_words=config.max_words,
        several_answers=holds_several(config.answer_kind),
    )
    # A run looks at the spelling only where it finds nothing in these seeds; see `knows_words_of`.
    options["validity"] = {"spelt": False}
    judged = judge_seeds(seeds, names, options)
    if not judged.num_refused:
        return (), []
    lines = [f"{judged.num_refused} of {judged.num_judged} that were looked at", *_lines(judged)]
    often = judged.often
    if not often:
        return tuple(lines), []
    by_length = [name for name in often if name.partition("(")[0] in _LENGTHS]
    change = ["min_words or max_words"] if by_length else []
    if "language" in often and config.proposal_filters == "default":
        change.append("language (its code, such as de)")
    elif worded := set(often) - set(by_length):
        rest = ",".join(str(getattr(each, "text", each)) for each in named if each not in worded)
        texts = "task_template (for texts that ask nothing) or " if "question" in worded else ""
        change.append(f"{texts}proposal_filters: {rest}")
    why = f"proposals like {judged.num_refused} of {judged.num_judged} seeds would be refused"
    return tuple(lines), [f"{' and '.join(change)}; {why}"]


def _lines(judged: JudgedSeeds) -> list[str]:
    lines = []
    for each in judged.refusals:
        shown = " and ".join(repr(_short(text)) for text in each.examples)
        meaning = REASONS.get(each.reason, each.reason)
        lines.append(f"{each.filter} refuses {each.num} ({meaning}), such as {shown}")
    return lines


def _short(text: str) -> str:
    # Ten times what is shown: runs of blanks become one.
    return shortened(visible(" ".join(text[: 10 * _NUM_CHARS].split())), _NUM_CHARS)


def _noise(config: "SeRLConfig", seeds: Sequence[str]) -> tuple[float | None, list[str]]:
    votes, kind = config.num_generations, config.answer_kind
    known = known_labels(kind)
    labels = len(known) if known else num_choices(seeds) if _is_choice(kind) else None
    if not labels:
        return None, []
    band = config.band
    noise = noise_in_band(votes=votes, labels=labels, low=band.low, high=band.high)
    if noise <= MAX_NOISE:
        return noise, []
    better = find_band(None, None, votes=votes, labels=labels)
    why = f"{noise:.0%} of groups of {votes} random votes over {labels} answers pass the band"
    # Nothing was rolled out. A narrow band starves where few completions can be read.
    once = "once `serl try` reads an answer in nearly every completion"
    if known is None:
        return noise, [f"num_choices={labels} in answer_kind, as the seeds have; {why}"]
    if (better.low, better.high) == (band.low, band.high):
        return noise, [f"num_generations, to have more votes; {why}"]
    ends = f"difficulty_low: {better.low:g} and difficulty_high: {better.high:g}"
    return noise, [f"{ends}, {once}; {why}"]


def _is_choice(kind: str) -> bool:
    return kind.partition("(")[0] == "choice"


def num_choices(seeds: Sequence[str]) -> int | None:
    """Return how many lettered choices most seeds offer; `None` where most have no such list."""
    counts: Counter[int] = Counter()
    texts = spread(seeds)
    for text in texts:
        letters = {found[1] or found[2] for found in _LETTER.finditer(text)}
        run = next(n for n in range(9) if n == 8 or "ABCDEFGH"[n] not in letters)
        counts[run] += 1
    most, num = counts.most_common(1)[0] if counts else (0, 0)
    return most if most > 1 and num > len(texts) / 2 else None
