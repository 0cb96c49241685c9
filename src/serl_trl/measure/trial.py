"""What a trial of the untrained model counts, as plain numbers; `rules.py` judges them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import answer_of, get_kind, known_labels, lenient
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import vote_groups
from serl_trl.common.completion import Completion
from serl_trl.common.intervals import wilson
from serl_trl.common.mathtext import normal_form
from serl_trl.loop.groups import Group
from serl_trl.loop.proposing import JudgedProposal

NUM_EXAMPLES = 3

# Why a completion has no answer: the kind finds none in it, it did not end by itself, or what the
# kind finds is not an answer of this kind.
NO_MARKER, CUT_OFF, OTHER_FORM = "no_marker", "cut_off", "other_form"

# Not list and set: whatever a marker holds is a list of one item.
_OTHERS = ("math", "number", "choice", "label", "text", "json")


@dataclass(frozen=True)
class Unread:
    """How many completions have no answer for one reason, and at most three of them."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What another `answer_kind` would make of the same completions.

    `num_read` counts those with an answer, `num_majorities` the groups with a majority answer.
    """

    answer_kind: str
    num_read: int
    num_majorities: int


@dataclass(frozen=True)
class Answers:
    """How many completions have an answer, why the others have none, and who would read more.

    `lenient` says that the kind needs no marker.
    """

    num_completions: int
    num_answered: int
    unread: Mapping[str, Unread]
    readings: tuple[Reading, ...]
    lenient: bool = False

    @property
    def answered_ratio(self) -> float:
        """The share of the completions that have an answer."""
        return self.num_answered / max(1, self.num_completions)

    def unread_ratio(self, reason: str) -> float:
        """The share of the completions without an answer for `reason`."""
        found = self.unread.get(reason)
        return found.count / max(1, self.num_completions) if found else 0.0


@dataclass(frozen=True)
class Votes:
    """The votes on the seeds: majority ratios, how many groups stay, why the others do not.

    `num_read` is how many of the `num_votes` completions of each group have an answer, `num_labels`
    how many answers the kind knows, or `None` where they have no end.
    """

    num_votes: int
    majority_ratios: tuple[float, ...]
    num_read: tuple[int, ...]
    num_kept: int
    refused: Mapping[str, int]
    num_labels: int | None = None

    @property
    def kept_ratio(self) -> float:
        """The share of the groups that a run would train on."""
        return self.num_kept / max(1, len(self.majority_ratios))


@dataclass(frozen=True)
class Known:
    """What gold answers say; `source` names the problems, each of which had the same votes.

    `right_ratio` is pass@1. `agreed_wrong_ratio` is the mean share of the commonest wrong answer
    of each problem. Of the groups kept, `num_labels` have a majority answer and `num_right` of
    these are right; [`low`, `high`] is the 95 % Wilson interval of that share, [0, 1] for none.
    """

    source: str
    num_problems: int
    right_ratio: float
    agreed_wrong_ratio: float
    num_labels: int
    num_right: int
    low: float
    high: float


@dataclass(frozen=True)
class Proposals:
    """What became of the proposals; `num_copies` equal a seed but for case, blanks and signs."""

    num_proposals: int
    num_kept: int
    refused: Mapping[str, int]
    num_copies: int
    kept_examples: tuple[str, ...]
    refused_examples: tuple[tuple[str, str], ...]

    @property
    def kept_ratio(self) -> float:
        """The share of the proposals that the filters keep."""
        return self.num_kept / max(1, self.num_proposals)


@dataclass(frozen=True)
class Speed:
    """What was sampled and scored over all processes, in tokens and seconds.

    A scored token went through one forward pass with its prompt. Lengths are means, in tokens.
    """

    sampled_tokens: int
    sampling_s: float
    scored_tokens: int
    scoring_s: float
    proposing_s: float
    prompt_length: float
    completion_length: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens sampled in a second."""
        return self.sampled_tokens / max(self.sampling_s, 1e-9)


@dataclass(frozen=True)
class Cost:
    """What a step takes on this machine, in seconds; `None`: nothing was measured to tell.

    `asking_s` goes to signals that ask the model whether a question is valid, `watching_s`, on
    average, to the sentinel set.
    """

    num_steps: int
    proposing_s: float | None
    sampling_s: float
    updating_s: float
    asking_s: float = 0.0
    watching_s: float = 0.0

    @property
    def step_s(self) -> float:
        """The seconds of a step, as far as they are known."""
        known = self.sampling_s + self.asking_s + self.watching_s + self.updating_s
        return (self.proposing_s or 0.0) + known


@dataclass(frozen=True)
class Trial:
    """All that a trial counted.

    `known` is `None` without gold answers, `proposals` where none were asked for or the rollouts
    had decided already (`stopped_early`). `asked_by` is the option whose text asks for an answer.
    """

    answers: Answers
    votes: Votes
    known: Known | None
    proposals: Proposals | None
    speed: Speed
    stopped_early: bool = False
    asked_by: str = "answer_instruction"


def count_answers(
    groups: Sequence[Sequence[Completion]],
    *,
    kind: AnswerKind,
    option: str,
    verifier: Verifier | None = None,
    again: bool = True,
) -> Answers:
    """Count what `kind`, written as `option`, reads in the completions of each seed.

    With `again` other kinds read them, too: the same one with `lenient=True`, and those that look
    for another marker. Only readings that find more than `kind` does are returned, the best first.
    """
    flat = [completion for group in groups for completion in group]
    reasons = [_why_unread(completion, kind) for completion in flat]
    unread = {
        reason: Unread(
            reasons.count(reason),
            tuple(c.text for c, why in zip(flat, reasons, strict=True) if why == reason)[
                :NUM_EXAMPLES
            ],
        )
        for reason in (NO_MARKER, CUT_OFF, OTHER_FORM)
        if reason in reasons
    }
    answered = reasons.count(None)
    found = [
        _read(groups, name, other, verifier)
        for name, other in (_other_kinds(kind, option) if again and unread else {}).items()
    ]
    more = [each for each in found if each.num_read > answered]
    more.sort(key=lambda each: (-each.num_read, -each.num_majorities))
    needs_none = bool(getattr(kind, "lenient", False))
    return Answers(len(flat), answered, unread, tuple(more), needs_none)


def _why_unread(completion: Completion, kind: AnswerKind) -> str | None:
    if completion.truncated:
        return CUT_OFF
    answer = kind.extract(completion.text)
    if answer is None:
        return NO_MARKER
    return OTHER_FORM if kind.canonical(answer) is None else None


def _other_kinds(kind: AnswerKind, option: str) -> dict[str, AnswerKind]:
    """Return the kinds that may read more, by what `answer_kind` would then say."""
    names = [lenient(option), *(name for name in _OTHERS if name != kind.name)]
    return {name: get_kind(name) for name in names if name}


def _read(
    groups: Sequence[Sequence[Completion]],
    option: str,
    kind: AnswerKind,
    verifier: Verifier | None,
) -> Reading:
    answers = [[answer_of(each, kind=kind) for each in group] for group in groups]
    votes = vote_groups(answers, kind=kind, verifier=verifier)
    read = sum(number is not None for vote in votes for number in vote.classes)
    return Reading(option, read, sum(vote.answer is not None for vote in votes))


def count_votes(groups: Sequence[Group], kind: AnswerKind) -> Votes:
    """Count the judged groups of the seeds, whose answers are of `kind`."""
    verdicts = [group.labelled.verdict for group in groups]
    refused = Counter(verdict.reason for verdict in verdicts if not verdict.keep)
    return Votes(
        num_votes=max((len(group.completions) for group in groups), default=0),
        majority_ratios=tuple(group.vote.majority_ratio for group in groups),
        num_read=tuple(len(group.completions) - group.vote.num_unparsable for group in groups),
        num_kept=sum(verdict.keep for verdict in verdicts),
        refused=dict(refused.most_common()),
        num_labels=len(known_labels(kind) or ()) or None,
    )


def count_known(groups: Sequence[Group], source: str) -> Known | None:
    """Count right and wrong in the groups that have a gold answer; `None` where none has."""
    groups = [group for group in groups if group.rollouts.task.gold is not None]
    if not groups:
        return None
    labels = [
        group.label_right
        for group in groups
        if group.labelled.verdict.keep and group.label_right is not None
    ]
    right = sum(labels)
    low, high = wilson(right / len(labels), len(labels)) if labels else (0.0, 1.0)
    return Known(
        source=source,
        num_problems=len(groups),
        right_ratio=fmean(fmean(group.rollouts.right) for group in groups),
        agreed_wrong_ratio=fmean(map(_agreed_wrong_ratio, groups)),
        num_labels=len(labels),
        num_right=right,
        low=low,
        high=high,
    )


def _agreed_wrong_ratio(group: Group) -> float:
    pairs = zip(group.vote.classes, group.rollouts.right, strict=True)
    wrong = Counter(number for number, right in pairs if number is not None and not right)
    return max(wrong.values(), default=0) / len(group.completions)


def count_proposals(judged: Sequence[JudgedProposal], seeds: Sequence[str]) -> Proposals:
    """Count the fates of proposals."""
    known = {normal_form(seed) for seed in seeds}
    refused = [(each.verdict.reason, each.text) for each in judged if not each.verdict.keep]
    reasons = Counter(reason for reason, _ in refused)
    # One example of each reason, the commonest first: three of one reason say less.
    first = dict(reversed(refused))
    return Proposals(
        num_proposals=len(judged),
        num_kept=len(judged) - len(refused),
        refused=dict(reasons.most_common()),
        num_copies=sum(normal_form(each.text) in known for each in judged),
        kept_examples=tuple(each.text for each in judged if each.verdict.keep)[:NUM_EXAMPLES],
        refused_examples=tuple(
            (reason, first[reason]) for reason, _ in reasons.most_common(NUM_EXAMPLES)
        ),
    )
