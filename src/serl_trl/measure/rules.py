"""May a model be trained on this data? The rules that turn the counts of a trial into a verdict.

All rules and limits stand in `RULES`, in the order in which they are tried. The limits come from
what a run needs, and from runs that learnt or failed (`benchmarks/RESULTS.md`): both sandboxes, and
SmolLM2-135M on film reviews, whose votes ended in one label for every text.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import fmean
from typing import Literal

from serl_trl.common.intervals import wilson
from serl_trl.common.text import count_of
from serl_trl.labels.chance import majority_of_noise
from serl_trl.measure.trial import CUT_OFF, NO_MARKER, OTHER_FORM, Answers, Reading, Trial, Unread

Decision = Literal["go", "change this first", "not with this model"]
# From the best to the worst: the worst finding decides.
DECISIONS: tuple[Decision, ...] = ("go", "change this first", "not with this model")
GO, CHANGE, NOT = DECISIONS


@dataclass(frozen=True)
class Finding:
    """A rule that holds: its name, what was counted, and the options to change, the best first."""

    rule: str
    decision: Decision
    because: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The decision with the findings behind it, the worst first; none: go."""

    decision: Decision
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Rule:
    """A rule by its name: `find` returns a finding where the counts pass the `limit`.

    Where a rule with `ends` holds, those after it are not tried: they would say the same again.
    With `of_votes` it is not tried where few completions have an answer, because it would judge
    the votes that are missing.
    """

    name: str
    limit: float
    find: Callable[["Rule", Trial], Finding | None]
    ends: bool = False
    of_votes: bool = False

    def found(
        self, decision: Decision, because: str, changes: Sequence[str | None] = ()
    ) -> Finding:
        """Return the finding of this rule; `None` among the changes is left out."""
        named = tuple(dict.fromkeys(change for change in changes if change))
        return Finding(self.name, decision, because, named)


def judge(trial: Trial) -> Judgement:
    """Judge what a trial counted; the same counts always give the same judgement."""
    findings = []
    few = trial.answers.answered_ratio < FEW
    for rule in RULES:
        if few and rule.of_votes:
            continue
        if finding := rule.find(rule, trial):
            findings.append(finding)
            if rule.ends:
                break
    findings.sort(key=lambda finding: -DECISIONS.index(finding.decision))
    return Judgement(findings[0].decision if findings else GO, tuple(findings))


def decides_early(answers: Answers) -> bool:
    """Whether the completions so far are sure to have too few answers; see the first rule."""
    if not answers.num_completions:
        return False
    return wilson(answers.answered_ratio, answers.num_completions)[1] < RULES[0].limit


def helpful(answers: Answers, num_groups: int) -> Reading | None:
    """Return the reading that is worth a change of `answer_kind`, if there is one.

    It has to read most completions, and to find majorities: a kind that takes the last number of
    any text reads noise too, and noise does not agree with itself.
    """
    found = (
        each
        for each in answers.readings
        if each.num_read >= _MIN_HELP * answers.num_completions
        and each.num_majorities >= _MIN_AGREEING * num_groups
    )
    return next(found, None)


FEW = 0.7  # the limit of the second rule
_MIN_HELP = 0.5  # below that most votes are still missing after the change
_MIN_AGREEING = 0.25  # of the groups; two votes of noise agree far more seldom
_MIN_PROBLEMS = 8  # with fewer known answers one problem tips the scale


def _nothing_to_vote_on(rule: Rule, trial: Trial) -> Finding | None:
    answers = trial.answers
    if not decides_early(answers):
        return None
    better = helpful(answers, len(trial.votes.majority_ratios))
    # An end that was cut off may have held the answer.
    mendable = better or answers.unread_ratio(CUT_OFF) > 1 / 2
    changes = _answer_changes(trial)
    if not mendable:
        changes.append("model_name_or_path: take a stronger one, if that does not help")
    return rule.found(CHANGE if mendable else NOT, _say_unread(answers), changes)


def _few_answers(rule: Rule, trial: Trial) -> Finding | None:
    if trial.answers.answered_ratio >= rule.limit:
        return None
    return rule.found(CHANGE, _say_unread(trial.answers), _answer_changes(trial))


def _cut_off(rule: Rule, trial: Trial) -> Finding | None:
    if trial.answers.unread_ratio(CUT_OFF) <= rule.limit:
        return None
    count = trial.answers.unread[CUT_OFF].count
    because = f"{count} of {count_of(trial.answers.num_completions, 'completion')} were cut off"
    return rule.found(CHANGE, because, ["max_completion_length: raise it"])


def _too_easy(rule: Rule, trial: Trial) -> Finding | None:
    if trial.votes.kept_ratio >= rule.limit or _commonest_refusal(trial) != "band_high":
        return None
    easier = "seed_set: take harder instructions; those of this set leave nothing to learn"
    return rule.found(CHANGE, _say_kept(trial), [easier, "difficulty_high: raise it"])


def _no_agreement(rule: Rule, trial: Trial) -> Finding | None:
    if trial.votes.kept_ratio >= rule.limit or _commonest_refusal(trial) == "band_high":
        return None
    easier = "seed_set: take easier instructions"
    return rule.found(NOT, _say_kept(trial), ["model_name_or_path: take a stronger one", easier])


def _chance(rule: Rule, trial: Trial) -> Finding | None:
    votes = trial.votes
    if not votes.num_labels or not votes.majority_ratios:
        return None
    # A completion without an answer draws none: noise agrees less where some cannot be read.
    drawn = [read for read in votes.num_read if read]
    expected = [majority_of_noise(votes=read, labels=votes.num_labels) for read in drawn]
    of_noise = math.fsum(read * mean for read, (mean, _) in zip(drawn, expected, strict=True))
    spread = math.hypot(*(read * each for read, (_, each) in zip(drawn, expected, strict=True)))
    found = fmean(votes.majority_ratios)
    whole = votes.num_votes * len(votes.majority_ratios)
    if not spread or found > (of_noise + rule.limit * spread) / whole:
        return None
    because = (
        f"the majority ratio is {found:.2f} on average, and {of_noise / whole:.2f} where each "
        f"completion draws one of {votes.num_labels} answers at random"
    )
    return rule.found(NOT, because, ["model_name_or_path: take a stronger one"])


def _agrees_on_wrong(rule: Rule, trial: Trial) -> Finding | None:
    known = trial.known
    if known is None or known.num_problems < _MIN_PROBLEMS:
        return None
    lead = known.right_ratio - known.agreed_wrong_ratio
    if lead > rule.limit:
        return None
    because = (
        f"{known.right_ratio:.0%} of the completions are right, and {known.agreed_wrong_ratio:.0%} "
        "give the commonest wrong answer of their problem"
    )
    stronger = "model_name_or_path: take a stronger one"
    if lead <= 0:
        return rule.found(NOT, because, [stronger])
    surer = "probe_set: give more problems, to be surer of it"
    return rule.found(CHANGE, f"{because}: so small a lead is lost", [stronger, surer])


def _wrong_labels(rule: Rule, trial: Trial) -> Finding | None:
    known = trial.known
    if known is None or known.num_labels < _MIN_PROBLEMS or known.high >= rule.limit:
        return None
    because = f"of {known.num_labels} labels that would train, {known.num_right} are right"
    changes = ["difficulty_low: raise it", "model_name_or_path: take a stronger one"]
    return rule.found(NOT, because, changes)


def _nothing_proposed(rule: Rule, trial: Trial) -> Finding | None:
    proposals = trial.proposals
    if proposals is None or proposals.num_proposals > rule.limit:
        return None
    texts = "proposer_system, proposer_request: say plainly that new instructions are wanted"
    base = "prompt_style: completion, where the model is a base model without chat"
    return rule.found(CHANGE, "nothing in the model's lists is a proposal", [texts, base])


def _few_proposals(rule: Rule, trial: Trial) -> Finding | None:
    proposals = trial.proposals
    if not proposals or not proposals.num_proposals or proposals.kept_ratio >= rule.limit:
        return None
    because = f"{proposals.num_kept} of {count_of(proposals.num_proposals, 'proposal')} are kept"
    changes = [_refusal_change(reason) for reason in list(proposals.refused)[:2]]
    return rule.found(CHANGE, because, [*changes, "proposer_system: say what is wanted"])


def _copies(rule: Rule, trial: Trial) -> Finding | None:
    proposals = trial.proposals
    if not proposals or proposals.num_copies <= rule.limit * proposals.num_proposals:
        return None
    because = (
        f"{proposals.num_copies} of {count_of(proposals.num_proposals, 'proposal')} copy a seed"
    )
    changes = ["proposer_temperature: raise it", "num_shots: show fewer examples"]
    return rule.found(CHANGE, because, changes)


RULES: tuple[Rule, ...] = (
    # The share of answers at its highest plausible value (the upper end of Wilson's interval). At
    # one in five a group of 16 has three votes: were they unanimous, the ratio would still lie
    # under the paper's band, which begins at 0.2.
    Rule("nothing to vote on", 0.2, _nothing_to_vote_on, ends=True),
    # A completion without an answer counts in the ratio. With three in ten silent a unanimous
    # group ends in the middle of the band and looks like a hard one. It can be mended: with 41 %
    # answered, gold labels taught SmolLM2 in 30 steps to answer nearly always.
    Rule("few completions have an answer", FEW, _few_answers),
    # Each costs the full length and has no vote; the update learns to be short before it learns.
    Rule("completions are cut off", 0.2, _cut_off, of_votes=True),
    # A refill rolls out max_refill_rollouts prompts for each that it needs, by default 8. Where
    # less than one in eight groups is kept, refills end before the batch is full.
    Rule("too easy", 1 / 8, _too_easy),
    Rule("no agreement", 1 / 8, _no_agreement, of_votes=True),
    # In standard errors of the mean: two are the usual level of a test. It applies where the kind
    # knows its answers, as label does.
    Rule("no better than chance", 2.0, _chance, of_votes=True),
    # A vote sharpens what is commonest. Right answers led by 0.04 (22 against 18 %) where all six
    # runs on votes collapsed, and by 0.2 (44 against 24 %) where they taught; between the two
    # nothing was measured. Of 16 problems the lead is known to about 0.1 either way, so that only
    # one below 0 is taken for the model's fault.
    Rule("agrees on wrong answers", 0.1, _agrees_on_wrong),
    # The upper end of the forecast: surely more wrong labels than right ones.
    Rule("labels are mostly wrong", 0.5, _wrong_labels),
    Rule("nothing proposed", 0, _nothing_proposed),
    # A proposal costs about as much as a completion; under one in ten a step waits for them.
    Rule("few proposals are kept", 0.1, _few_proposals),
    # The pool then is the seed set again, and the novelty filter refuses ever more of it.
    Rule("proposals copy the seeds", 0.5, _copies),
)


# Words.

# The option that decides about a reason; the others are decided by a filter of the chain.
_OPTIONS = {
    "length": "min_words, max_words",
    "paper_length": "min_words, max_words",
    "tokens": "max_instruction_tokens",
    "template": "max_per_template",
    "rouge_l": "max_rouge_l",
    "embedding": "max_cosine",
    "duplicate": "proposer_temperature",
    "normalised_duplicate": "proposer_temperature",
    "contamination": "contamination_ngram",
}


def _refusal_change(reason: str) -> str:
    option = _OPTIONS.get(reason, "proposal_filters")
    return f"{option}: decides about {reason}"


def _commonest_refusal(trial: Trial) -> str | None:
    return next(iter(trial.votes.refused), None)


def _say_kept(trial: Trial) -> str:
    votes = trial.votes
    reasons = ", ".join(f"{reason} {count}" for reason, count in votes.refused.items())
    return (
        f"{votes.num_kept} of {count_of(len(votes.majority_ratios), 'group')} would be kept "
        f"({reasons})"
    )


def _commonest_first(answers: Answers) -> list[tuple[str, Unread]]:
    return sorted(answers.unread.items(), key=lambda item: -item[1].count)


def _say_unread(answers: Answers) -> str:
    whole = count_of(answers.num_completions, "completion")
    why = {
        NO_MARKER: "have no answer" if answers.lenient else "have no marked answer",
        CUT_OFF: "were cut off",
        OTHER_FORM: "mark what is not an answer of this kind",
    }
    most = _commonest_first(answers)
    parts = [f"{unread.count} of {whole} {why[reason]}" for reason, unread in most[:1]]
    parts += [f"{unread.count} {why[reason]}" for reason, unread in most[1:]]
    return ", ".join(parts)


def _answer_changes(trial: Trial) -> list[str | None]:
    """Return what may give the completions answers, the likeliest first."""
    answers = trial.answers
    better = helpful(answers, len(trial.votes.majority_ratios))
    reread = None
    if better:
        read = f"{better.num_read} of the same {answers.num_completions} completions"
        reread = f"answer_kind: {better.answer_kind} reads {read}"
    told = {
        NO_MARKER: f"{trial.asked_by}: "
        + (
            "ask for the answer alone"
            if answers.lenient
            else "name the marker that answer_kind reads, with an example"
        ),
        CUT_OFF: "max_completion_length: raise it; a model that never stops needs another "
        "prompt_style, or is a base model",
        OTHER_FORM: f"{trial.asked_by}: say in which form the answer stands in the marker",
    }
    # What concerns a tenth of the completions decides nothing.
    large = takewhile(
        lambda item: item[1].count > answers.num_completions / 10, _commonest_first(answers)
    )
    return [reread, *(told[reason] for reason, _ in large)]
