"""Completion text to answer, and which answers are equal: the one path of vote and evaluation."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from itertools import combinations
from typing import Any

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.kinds.choice import ChoiceKind
from serl_trl.answers.kinds.label import LabelKind
from serl_trl.answers.kinds.mathematics import MathKind
from serl_trl.answers.kinds.number import NumberKind
from serl_trl.answers.kinds.structured import JsonKind, ListKind
from serl_trl.answers.kinds.text import TextKind
from serl_trl.answers.verifier import Pair, Verifier
from serl_trl.common.completion import Completion
from serl_trl.common.plugin import Plugin, Role, find, is_path, split


def _set_kind(**options: Any) -> ListKind:
    return ListKind(name="set", ordered=False, **options)


KINDS: dict[str, Callable[..., AnswerKind]] = {
    "math": MathKind,
    "number": NumberKind,
    "choice": ChoiceKind,
    "label": LabelKind,
    "text": TextKind,
    "json": JsonKind,
    "list": ListKind,
    "set": _set_kind,
}

_ROLE = Role(
    option="answer_kind",
    takes="an answer kind (serl_trl.answers.AnswerKind)",
    known=KINDS,
    methods=("extract", "canonical", "equal"),
    makes=True,
)


def get_kind(kind: str | AnswerKind, *, plugins: Collection[str] = ()) -> AnswerKind:
    """Return an answer kind by name, or by the dotted path of one in a package of `plugins`.

    Options follow in brackets, as literals: `number(rel_tol=0.01)`, `math(lenient=True)`,
    `my_package.kinds.Fractions(strict=False)`. An object that is a kind comes back as it is.

    Raises `ValueError` for unknown names and options, and for a path without a kind behind it.
    """
    return _kind_by_name(kind, tuple(plugins)) if isinstance(kind, str) else kind


def find_kind(text: str, plugins: Collection[str] = ()) -> Plugin:
    """Return what `get_kind` would make, before it is made; raises `ValueError` as it does."""
    return find(text, _ROLE, plugins)


def known_labels(kind: str | AnswerKind) -> tuple[str, ...] | None:
    """Return all answers that a kind of this package can read; `None` where they have no end.

    A text that names no such kind gives `None` too, so that no code of a plug-in is imported.
    """
    return getattr(_ours(kind), "known_labels", None)


def holds_several(kind: str | AnswerKind) -> bool:
    """Say whether an answer of `kind` may hold several values, as the parts of a question have.

    A kind says so by its attribute `several_values`. A text that names no kind of this package
    gives false, so that no code of a plug-in is imported.
    """
    return bool(getattr(_ours(kind), "several_values", False))


def _ours(kind: str | AnswerKind) -> AnswerKind | None:
    """Return a kind of this package by its text, an object as it is, and `None` for other texts."""
    if not isinstance(kind, str):
        return kind
    if is_path(kind):
        return None
    try:
        return get_kind(kind)
    except ValueError:
        return None


def lenient(kind: str) -> str | None:
    """Return an option that names a kind of this package with `lenient=True` added.

    `None` for a kind of somebody else's, and for one that is lenient already.
    """
    name, options = split(kind, _ROLE)
    if name not in KINDS or (options or {}).get("lenient"):
        return None
    values = {**(options or {}), "lenient": True}
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})"


def extract_answer(completion: str, *, kind: str | AnswerKind = "math") -> str | None:
    """Return the final answer of a completion as written, or `None` when it has no vote.

    Pass the completion alone, without its prompt. Of several markers the last one counts. For a
    completion that was cut off, use `None` instead of calling this.
    """
    return get_kind(kind).extract(completion)


def answer_of(completion: Completion, *, kind: str | AnswerKind = "math") -> str | None:
    """Return the answer of what a model sampled; what was cut off has none, whatever it says."""
    return None if completion.truncated else extract_answer(completion.text, kind=kind)


def says(completion: Completion, word: str, *, kind: AnswerKind) -> bool:
    """Whether the answer that `kind` finds in a completion is `word`, in canonical form."""
    answer = answer_of(completion, kind=kind)
    return answer is not None and kind.canonical(answer) == word


def same_answer(
    left: str, right: str, *, kind: str | AnswerKind = "math", verifier: Verifier | None = None
) -> bool:
    """Whether two answers are equal; symmetric. A text that is not an answer equals nothing."""
    return same_answers([(left, right)], kind=kind, verifier=verifier)[0]


def same_answers(
    pairs: Sequence[tuple[str | None, str | None]],
    *,
    kind: str | AnswerKind = "math",
    verifier: Verifier | None = None,
) -> list[bool]:
    """Compare many pairs in one batch of the verifier, as for grading; `None` equals nothing."""
    classes = group_many(pairs, kind=kind, verifier=verifier)
    return [left is not None and left == right for left, right in classes]


def group_answers(
    answers: Sequence[str | None],
    *,
    kind: str | AnswerKind = "math",
    verifier: Verifier | None = None,
) -> list[int | None]:
    """Give each answer the index of its class; `None`, and what is not an answer, has no class.

    Class 0 is the largest; classes of one size come in the order of their canonical forms. So the
    classes depend on which answers there are, never on their order.
    """
    return group_many([answers], kind=kind, verifier=verifier)[0]


def group_many(
    groups: Iterable[Sequence[str | None]],
    *,
    kind: str | AnswerKind = "math",
    verifier: Verifier | None = None,
) -> list[list[int | None]]:
    """Group many groups at once, with one batch for the verifier; see `group_answers`.

    Without a `verifier`, a call that has pairs for math-verify starts a worker for itself alone,
    which takes about a second; who calls again and again owns a `Verifier` and passes it.
    """
    kind = get_kind(kind)
    partitions = [_Partition(kind, spelled_alike(answers, kind=kind)[0]) for answers in groups]
    # All groups in one call: its deadline is then shared, and a pair is asked once.
    pairs = sorted({pair for partition in partitions for pair in partition.open})
    # Most groups are decided without the verifier, and none is started for them.
    if not pairs:
        return [partition.classes(frozenset()) for partition in partitions]
    with Verifier() if verifier is None else nullcontext(verifier) as judge:
        verdicts = judge.same(pairs)
    equal = frozenset(pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict)
    return [partition.classes(equal) for partition in partitions]


def spelled_alike(
    answers: Sequence[str | None], gold: str | None = None, *, kind: str | AnswerKind = "math"
) -> tuple[list[str | None], str | None]:
    """Return answers and gold with the decimal commas of the group as points.

    They stay as they are unless the whole group writes so; see `math/commas.py`.
    """
    # Most groups have no comma, and reading all of them twice would cost as much as the vote.
    if not any(answer and "," in answer for answer in answers):
        return list(answers), gold
    known = getattr(get_kind(kind), "decimals", lambda answers, gold: {})(answers, gold)
    alike = [answer and known.get(answer, answer) for answer in answers]
    return alike, gold and known.get(gold, gold)


class _Partition:
    """The canonical forms of one group, which of them are equal, and which are not yet decided.

    Equality of answers is not transitive: 5 fits 5 minutes and 5 hours, and math-verify errs. So
    pairs are kept apart by how sure they are, and classes are joined from the surest down.
    """

    def __init__(self, kind: AnswerKind, answers: Sequence[str | None]) -> None:
        spelled = {answer: kind.canonical(answer) for answer in set(answers) if answer is not None}
        self.forms = [None if answer is None else spelled[answer] for answer in answers]
        self.sizes = Counter(form for form in self.forms if form is not None)
        # Equal forms are one answer; which spelling stands for them must not depend on order.
        spelling = {form: answer for answer, form in sorted(spelled.items(), reverse=True) if form}
        self.equal: list[Pair] = []
        self.loose: list[Pair] = []
        self.different: list[Pair] = []
        self.open: list[Pair] = []
        details = getattr(kind, "details", lambda answer: ())
        self.details: dict[str, tuple[str, ...]] = {}
        for pair in combinations(sorted(self.sizes), 2):
            verdict = kind.equal(spelling[pair[0]], spelling[pair[1]])
            if verdict:
                self.details |= {form: details(spelling[form]) for form in pair}
                alike = self.details[pair[0]] == self.details[pair[1]]
                (self.equal if alike else self.loose).append(pair)
            else:
                (self.open if verdict is None else self.different).append(pair)

    def classes(self, verified: frozenset[Pair]) -> list[int | None]:
        """Close equality over its chains, and number the classes.

        Where math-verify would join two forms that are known to differ, its word does not count.
        """
        extra = [pair for pair in self.open if pair in verified]
        leader = _join(self.sizes, self.equal + extra)
        torn = {leader[left] for left, right in self.different if leader[left] == leader[right]}
        # Equal by chains of which one link is math-verify's: its links go, the known ones stay.
        if torn:
            trusted = [pair for pair in extra if leader[pair[0]] not in torn]
            leader = _join(self.sizes, self.equal + trusted)
        leader = self._completed(leader)
        totals = self._totals(leader)
        ranked = sorted(totals, key=lambda form: (-totals[form], form))
        index = {form: ranked.index(leader[form]) for form in self.sizes}
        return [None if form is None else index[form] for form in self.forms]

    def _totals(self, leader: dict[str, str]) -> Counter[str]:
        totals: Counter[str] = Counter()
        for form, size in self.sizes.items():
            totals[leader[form]] += size
        return totals

    def _completed(self, leader: dict[str, str]) -> dict[str, str]:
        """Give answers that leave out a unit or a name to the class that says it.

        Where several classes say different ones, it is the largest; of equally large ones none.
        """

        def said(form: str) -> tuple[int, str]:
            return len("".join(self.details[form])), form

        fuller: dict[str, set[str]] = {}
        for pair in self.loose:
            plain, full = sorted(pair, key=said)
            fuller.setdefault(plain, set()).add(full)
        # Those that say most join first: a class that has grown may be the largest for those that
        # say less.
        for plain in sorted(fuller, key=lambda form: (-said(form)[0], form)):
            totals = self._totals(leader)
            ranked = sorted({leader[full] for full in fuller[plain]}, key=lambda c: -totals[c])
            if len(ranked) == 1 or totals[ranked[0]] > totals[ranked[1]]:
                leader = _join(self.sizes, [*leader.items(), (plain, ranked[0])])
        return leader


def _join(forms: Iterable[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """Map each form to the smallest one it is connected with."""
    leader = {form: form for form in forms}

    def find(form: str) -> str:
        while leader[form] != form:
            form = leader[form]
        return form

    for left, right in pairs:
        # The smaller form leads, so that classes do not depend on the order of the pairs.
        first, second = sorted((find(left), find(right)))
        leader[second] = first
    return {form: find(form) for form in leader}


# A kind is frozen, and every batch asks for it by its name.
@lru_cache(maxsize=128)
def _kind_by_name(text: str, plugins: tuple[str, ...]) -> AnswerKind:
    kind = find_kind(text, plugins).make()
    if not isinstance(kind, AnswerKind):
        raise _ROLE.refuse(
            text,
            f"gives {type(kind).__name__}, which lacks name, extract, canonical or equal; see "
            "serl_trl.answers.AnswerKind, or make one with OwnKind.",
        )
    return kind
