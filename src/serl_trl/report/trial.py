"""The page of `serl try`: will it work for mine? Built of the blocks of a report."""

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from serl_trl.common.reasons import REASONS
from serl_trl.common.text import count_of
from serl_trl.labels.band import reachable_votes
from serl_trl.labels.chance import noise_in_band
from serl_trl.measure.rules import GO, Judgement, helpful
from serl_trl.measure.trial import CUT_OFF, NO_MARKER, OTHER_FORM, Cost, Trial, Votes
from serl_trl.report.blocks import (
    Block,
    Excerpt,
    Paragraph,
    Question,
    Report,
    Table,
    quoted,
    written,
)
from serl_trl.report.sentences import say

_MAX_EXAMPLE = 160  # characters: three of each reason still fit one page
_WIDTH = 30  # signs of the longest bar

_UNREAD = {
    NO_MARKER: "no marked answer",
    CUT_OFF: "cut off at max_completion_length",
    OTHER_FORM: "what is marked is not an answer of this kind",
}


def trial_page(
    trial: Trial, judgement: Judgement, cost: Cost | None, values: Mapping[str, Any]
) -> Report:
    """Return the page: the verdict first, then what was counted; `values` are the options."""
    blocks = [
        *_verdict(judgement),
        *_answers(trial, values),
        *_votes(trial, values),
        *_known(trial),
        *_proposals(trial),
        *_cost(trial, cost),
    ]
    return Report("Will it work for mine?", _headline(judgement), tuple(blocks))


def _headline(judgement: Judgement) -> str:
    rules = f" ({judgement.findings[0].rule})" if judgement.findings else ""
    return f"Verdict: {judgement.decision}{rules}"


def _verdict(judgement: Judgement) -> Iterator[Block]:
    if judgement.decision == GO:
        yield Paragraph("No rule speaks against this run.", "good")
    for finding in judgement.findings:
        rule = finding.rule.capitalize()
        yield Paragraph(f"{rule}: {quoted(finding.because)}.", "warn")
        for change in finding.changes:
            yield Paragraph(f"  change {quoted(change)}")


def _answers(trial: Trial, values: Mapping[str, Any]) -> Iterator[Block]:
    found, kind = trial.answers, values["answer_kind"]
    counts = {"answered": found.num_answered, "all": found.num_completions}
    yield Question("Do the completions have an answer?", say("trial_answers", kind=kind, **counts))
    for reason, unread in found.unread.items():
        why = "no answer" if reason == NO_MARKER and found.lenient else _UNREAD[reason]
        note = f"{why}: {count_of(unread.count, 'completion')}, for example"
        for number, text in enumerate(unread.examples):
            yield Excerpt(
                written(_end(text), max_chars=_MAX_EXAMPLE), (note,) if not number else ()
            )
    if found.readings:
        rows = (
            (each.answer_kind, f"{each.num_read:,}", f"{each.num_majorities:,}")
            for each in found.readings
        )
        headers = ("the same completions, read with answer_kind", "read", "groups with a majority")
        yield Table(headers, tuple(rows))
        if not helpful(found, len(trial.votes.majority_ratios)):
            why = "it reads too few, or what it reads does not agree"
            yield Paragraph(f"None of these would help: {why}.")
    elif found.unread:
        yield Paragraph("No other answer_kind reads more of them.")


def _end(text: str) -> str:
    """Return the end of a completion, where an answer is expected."""
    whole = " ".join(text.split()) or "(nothing)"
    return whole if len(whole) <= _MAX_EXAMPLE else f"...{whole[3 - _MAX_EXAMPLE :].lstrip()}"


def _votes(trial: Trial, values: Mapping[str, Any]) -> Iterator[Block]:
    votes = trial.votes
    refused = [(REASONS.get(reason, reason), count) for reason, count in votes.refused.items()]
    yield Question(
        "Do they agree, and what would a run train on?",
        say(
            "trial_votes",
            kept=votes.num_kept,
            all=len(votes.majority_ratios),
            refused=refused,
            noise=_noise(votes, values),
        ),
    )
    inside: list[int] = []
    if values["use_band"]:
        low, high = values["difficulty_low"], values["difficulty_high"]
        inside = reachable_votes(votes.num_votes, low=low, high=high)
    bars = Counter(round(ratio * votes.num_votes) for ratio in votes.majority_ratios)
    rows = tuple(
        (
            f"{number} of {votes.num_votes}",
            f"{bars[number]}",
            "█" * round(_WIDTH * bars[number] / len(votes.majority_ratios)),
            "in the band" if number in inside else "",
        )
        for number in range(max(bars), min(bars) - 1, -1)
    )
    yield Table(("votes of the commonest answer", "groups", "", ""), rows)


def _noise(votes: Votes, values: Mapping[str, Any]) -> float | None:
    """Return how many groups lie in the band where what was read is drawn at random instead."""
    if not values["use_band"] or not votes.num_labels:
        return None
    band = {"low": values["difficulty_low"], "high": values["difficulty_high"]}
    size = {"votes": votes.num_votes, "labels": votes.num_labels}
    return fmean(noise_in_band(**size, **band, read=read) for read in votes.num_read)


def _known(trial: Trial) -> Iterator[Block]:
    known = trial.known
    if known is None:
        answer = "Unknown: no probe_set with answers is given, and agreement is not accuracy."
        yield Question("Would the labels be right?", answer, "note")
        return
    yield Question("Would the labels be right?", say("trial_known", known=known))


def _proposals(trial: Trial) -> Iterator[Block]:
    found, question = trial.proposals, "Does the model write new instructions?"
    if found is None:
        why = "the rollouts had decided already" if trial.stopped_early else "none was asked for"
        yield Question(question, f"Not tried: {why}.", "note")
        return
    refused = [(REASONS.get(reason, reason), count) for reason, count in found.refused.items()]
    yield Question(question, say("trial_proposals", found=found, refused=refused))
    for text in found.kept_examples:
        yield Excerpt(written(text, max_chars=_MAX_EXAMPLE), ("kept",))
    for reason, text in found.refused_examples:
        shown = written(text, max_chars=_MAX_EXAMPLE)
        yield Excerpt(shown, (f"refused: {REASONS.get(reason, reason)}",))


def _cost(trial: Trial, cost: Cost | None) -> Iterator[Block]:
    question, speed = "What would the run cost on this machine?", trial.speed.tokens_per_s
    yield Question(question, say("trial_cost", speed=speed, cost=cost))
