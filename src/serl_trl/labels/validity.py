"""The gate on questions: groups whose question is probably broken are not trained on.

It wraps a labeller, its band included, so that it judges only what would be trained on. The signals
and the model that weighs them are in `filters/validity`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serl_trl.answers.equality import answer_of
from serl_trl.answers.voting import Vote, vote_groups
from serl_trl.common.completion import Messages
from serl_trl.common.verdict import Verdict
from serl_trl.filters.validity.answer_domain import AnswerDomain
from serl_trl.filters.validity.asked import Asked, complete_each
from serl_trl.filters.validity.gate import Judged, ValidityModel, best_of, judge
from serl_trl.filters.validity.sign import Sign
from serl_trl.filters.validity.text import doubt
from serl_trl.filters.validity.vote_shape import shape_of
from serl_trl.labels.asking import Asking
from serl_trl.labels.band import SLACK
from serl_trl.labels.base import TEACHER, Labelled, Labeller, Rollouts, Tools, Wrapper

REASON = "validity"
# Whoever wrote these vouches for them: they are learnt from, and never refused.
_GIVEN = ("seed:", "unlabelled:", "probe")
# Enough for a property that all seeds share to count as sure as 0.94 (rule of succession).
NUM_LEARNT = 32
# At most this share of the groups of seeds may lie below the threshold, once so many are known.
_MAX_SEEDS_LOST, _MIN_SEEDS = 0.05, 20
# Under half of the votes, an answer of the vote says little of how answers look.
_AGREED = 0.5
_MAX_REMEMBERED = 256


@dataclass(frozen=True)
class Gate:
    """What a gate goes by: its models, and how much it refuses.

    Of the `models` that one holds which reads most of the signals that are asked. A group is
    refused below its threshold `careful`, or `strict`. `texts` are the signals of the question's
    text that count. With `weigh` the advantages of a group that is kept are multiplied by P(valid).
    """

    models: tuple[ValidityModel, ...]
    strict: bool = False
    texts: frozenset[str] = frozenset()
    weigh: bool = False


@dataclass
class Validity(Wrapper):
    """A labeller whose groups also stay by the chance that their question is valid.

    A group that is refused has the reason "validity"; the detail of its verdict names the signal
    that decided. Left alone are groups without a majority answer, whose reward needs none, and
    those of given instructions. What answers look like is learnt from the votes on given ones: as
    they are rolled out, and of `seeds`, instructions and their prompts, which are rolled out once,
    before the first group is judged. Then the signals of `asking`, which are asked about what
    passes without them, are tried on them, too.
    """

    gate: Gate
    asking: Asking = field(default_factory=Asking)
    seeds: Sequence[tuple[str, Messages]] = ()
    domain: AnswerDomain = field(default_factory=AnswerDomain)
    seed_agreements: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.asking.model == TEACHER:
            self.needs |= {TEACHER}

    @property
    def model(self) -> ValidityModel:
        """The model of the signals that are still asked."""
        return best_of(self.gate.models, [each.name for each in self.asking.used])

    @property
    def threshold(self) -> float:
        """The chance below which a group is refused.

        It sinks where more than 5 % of the seeds would be refused, which are valid: then the model
        was fitted on easier questions than these.
        """
        model = self.model
        usual = model.strict if self.gate.strict else model.careful
        lost = sorted(self.seed_agreements)
        if len(lost) < _MIN_SEEDS:
            return usual
        # The chance grows with the agreement.
        least = lost[int(_MAX_SEEDS_LOST * len(lost))]
        return min(usual, model.p_valid({"agreement": least}))

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group, and refuse those kept so far whose question is probably broken."""
        labelled = list(self.labeller.label(groups, tools))
        self._learn([group.vote for group in groups if _is_given(group)])
        open_to_doubt = [
            each.verdict.keep and group.vote.answer is not None and not _is_given(group)
            # Not strict: a labeller that returns too few is told so by whoever called this.
            for group, each in zip(groups, labelled, strict=False)
        ]
        if any(open_to_doubt) and self.seeds:
            self._roll_out_seeds(len(groups[0].completions), tools)
        rows = [row for row, is_open in enumerate(open_to_doubt) if is_open]
        judged = self._judge([groups[row] for row in rows], tools)
        for row, each in zip(rows, judged, strict=True):
            labelled[row] = self._gated(labelled[row], *each)
        return labelled

    def _judge(self, groups: Sequence[Rollouts], tools: Tools) -> list[tuple[Judged, int]]:
        """Judge questions, and say how many completions each cost beside its votes."""
        signs = [
            {
                "text": doubt(group.task.instruction, self.gate.texts),
                "domain": self.domain.sign(group.vote.answer or ""),
            }
            for group in groups
        ]
        judged = [self._weigh(*pair) for pair in zip((g.vote for g in groups), signs, strict=True)]
        # What the free signals refuse is not asked about: that is what makes asking cheap.
        rows = [row for row, each in enumerate(judged) if not self._refuses(each)]
        price, costs = self.asking.num_completions, [0] * len(groups)
        if rows and self.asking.used:
            questions = [Asked(g.task.instruction, g.messages, g.vote) for g in groups]
            found = self.asking.judge([questions[row] for row in rows], tools)
            for place, row in enumerate(rows):
                more = {name: each[place] for name, each in found.items()}
                judged[row] = self._weigh(groups[row].vote, {**signs[row], **more})
                costs[row] = price
        return list(zip(judged, costs, strict=True))

    def _refuses(self, judged: Judged) -> bool:
        # A threshold is the chance of some group of the study; rounding must not refuse its like.
        return judged.p_valid < self.threshold - SLACK

    def _weigh(self, vote: Vote, signs: Mapping[str, Sign]) -> Judged:
        shape = shape_of([votes for _, votes in vote.counts], vote.num_unparsable)
        return judge(self.model, shape.agreement, signs)

    def _gated(self, labelled: Labelled, judged: Judged, cost: int) -> Labelled:
        detail: dict[str, Any] = {"p_valid": round(judged.p_valid, 4)}
        if cost:
            detail["num_asked"] = cost
        refused = self._refuses(judged)
        if refused:
            detail |= {"signal": judged.signal, "found": judged.found}
        weights = labelled.weights
        if self.gate.weigh:
            weights = tuple(
                judged.p_valid * each for each in weights or (1.0,) * len(labelled.rewards)
            )
        return replace(
            labelled,
            weights=weights,
            verdict=Verdict(not refused, REASON if refused else "", detail),
            metrics={**labelled.metrics, "p_valid": judged.p_valid, "num_asked": cost},
        )

    def _roll_out_seeds(self, num: int, tools: Tools) -> None:
        """Vote on seeds, as often on each as on a group, and see which signals doubt them."""
        seeds, self.seeds = self.seeds, ()
        groups = [
            [answer_of(each, kind=tools.kind) for each in group]
            for group in complete_each(tools.complete, [prompt for _, prompt in seeds], num)
        ]
        # In one process: the verifier's deadline could decide otherwise in another.
        votes = tools.decide(lambda: vote_groups(groups, kind=tools.kind, verifier=tools.verifier))
        self._learn(votes)
        questions = [
            Asked(*seed, vote)
            for seed, vote in zip(seeds, votes, strict=True)
            if vote.answer is not None
        ]
        if questions and self.asking.used:
            self.asking.try_on_seeds(questions, tools)

    def _learn(self, votes: Sequence[Vote]) -> None:
        read = [vote for vote in votes if vote.answer is not None]
        # What all agree on is never refused, and would hide how the others fare.
        split = [vote for vote in read if vote.num_classes > 1]
        shapes = (shape_of([votes for _, votes in vote.counts]) for vote in split)
        agreements = [shape.agreement for shape in shapes]
        self.seed_agreements = [*self.seed_agreements, *agreements][-_MAX_REMEMBERED:]
        self.domain = self.domain.learn(
            vote.answer or "" for vote in read if vote.majority_ratio >= _AGREED
        )

    def state_dict(self) -> Mapping[str, Any]:
        """Return what was learnt of the seeds, and the state of the labeller."""
        return {
            "labeller": super().state_dict(),
            "domain": asdict(self.domain),
            "seed_agreements": self.seed_agreements,
            "num_seeds_left": len(self.seeds),
            "asking": self.asking.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state["labeller"])
        self.domain = AnswerDomain(**state["domain"])
        self.seed_agreements = list(state["seed_agreements"])
        self.seeds = self.seeds if state["num_seeds_left"] else ()
        self.asking.load_state_dict(state["asking"])


def steps_aside(
    labeller: Labeller | type[Labeller], task_template: str = "", *, writes: bool = True
) -> bool:
    """Return whether a run has no gate, whatever its option `validity` says.

    A gold answer vouches for each of its groups, it rewards no vote, its instructions are texts
    about which a `task_template` asks, or no source writes any (`writes`).
    """
    needs = getattr(labeller, "needs", frozenset())
    return not labeller.rewards or "gold" in needs or bool(task_template) or not writes


def _is_given(group: Rollouts) -> bool:
    return group.task.origin.startswith(_GIVEN)
