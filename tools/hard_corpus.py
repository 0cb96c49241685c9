"""The corpus of the hard sandbox: habits of error, broken problems, and five prompt forms.

Three things make the easy sandbox hard. (1) In five kinds of problem the corpus takes a wrong way
more often than the right one, so that a vote on them is wrong. (2) A part of the proposals has no
valid answer; their solutions mostly leave the impossible step out, which is the same habit that
spoils valid problems: who trains on broken problems trains the habit. (3) A request goes on with
the templates it has just seen, so that variety falls unless something keeps it up.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.common.completion import Messages
from serl_trl.propose.prompts import NONE, proposer_messages, rollout_messages
from serl_trl.sandbox.domain import (
    HARD,
    KIND_BY_NAME,
    MAX_RESULT,
    SLOT,
    STYLE,
    calculate,
    draw_numbers,
    fill_slots,
    reserved_texts,
    work_out,
    write_solution,
)
from serl_trl.sandbox.faults import DISPUTES, FAULTS, UNKNOWN, fault_of, step_fault
from serl_trl.sandbox.forms import abstain_messages, answer_first_messages, restate_messages
from serl_trl.sandbox.phrasings import KINDS, Kind

ABSTAINS_WHERE_BROKEN, ABSTAINS_WHERE_VALID = 0.6, 0.03
SKIPS_WHERE_BROKEN = 0.55
_SIZES = (1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 20)


@dataclass(frozen=True)
class Habit:
    """How a kind goes wrong: shares of solutions that skip the last step, misread, or slip.

    `misread` is the sign written in place of the last step's. `slip` is the share of wrong results
    a step, in solutions that take the right way.
    """

    skip: float = 0.15
    slip: float = 0.2
    misread: str = ""
    misread_share: float = 0.0


HABITS = {
    # Here the wrong way wins the vote.
    "more_total": Habit(skip=0.62, slip=0.1),
    "rate_time": Habit(skip=0.66, slip=0.1),
    "difference": Habit(skip=0.05, slip=0.2, misread="+", misread_share=0.6),
    "age": Habit(skip=0.05, slip=0.12, misread="-", misread_share=0.64),
    "repack": Habit(skip=0.64, slip=0.15),
    # Here it does not.
    "add": Habit(skip=0.15, slip=0.35),
    "subtract": Habit(skip=0.15, slip=0.35),
    "multiply": Habit(skip=0.15, slip=0.4),
    "divide": Habit(skip=0.15, slip=0.3),
    "total_cost": Habit(skip=0.2, slip=0.2),
    "share_rest": Habit(skip=0.2, slip=0.22),
}


@dataclass(frozen=True)
class Draft:
    """A problem, sound or broken: its text, its kind, its numbers, its phrasing and its fault.

    `numbers` may be no numbers of the kind at all where the fault says so; `other` is the value
    that a contradiction puts beside the first number.
    """

    text: str
    kind: Kind
    numbers: tuple[int, ...]
    phrasing: int
    fault: str | None = None
    other: int = 0


def draw_draft(
    rng: random.Random,
    *,
    template: tuple[str, int] | None = None,
    broken: float = 0.0,
    faults: Sequence[str] = (),
) -> Draft:
    """Draw a problem outside the fixed sets, of a given kind and phrasing or of any.

    It is broken with probability `broken`, by one of `faults` or of all that its kind can have.
    """
    name, phrasing = template or (rng.choice(KINDS).name, rng.randrange(8))
    kind = KIND_BY_NAME[name]
    while True:
        fault = rng.choice(faults or _faults_of(kind)) if rng.random() < broken else None
        draft = _draft(kind, phrasing, fault, rng)
        if draft.text not in reserved_texts(HARD) and fault_of(draft.text) == fault:
            return draft


def _faults_of(kind: Kind) -> list[str]:
    """Return what can be wrong with a kind's problem such that its last step is the bad one."""
    left, sign, right, _, _ = kind.steps[-1].split()
    possible = {
        "negative": sign == "-",
        "not_whole": sign == "/",
        "missing": len({left, right} & set(kind.ranges)) == 1 or len(kind.steps) == 1,
        "contradiction": True,
    }
    return [fault for fault in FAULTS if possible[fault]]


def _draft(kind: Kind, phrasing: int, fault: str | None, rng: random.Random) -> Draft:
    text = kind.phrasings[phrasing]
    if fault in ("negative", "not_whole"):
        numbers = _draw_unfit(kind, fault, rng)
        return Draft(fill_slots(text, numbers, rng), kind, numbers, phrasing, fault)
    numbers, _ = draw_numbers(kind, rng)
    if fault == "missing":
        unknown: list[int | str] = list(numbers)
        unknown["abcd".index(_last_number(kind))] = rng.choice(UNKNOWN)
        return Draft(fill_slots(text, unknown, rng), kind, numbers, phrasing, fault)
    whole = fill_slots(text, numbers, rng)
    if fault is None:
        return Draft(whole, kind, numbers, phrasing)
    other = rng.choice([n for n in kind.ranges["a"] if n != numbers[0]])
    dispute = rng.choice(DISPUTES).replace("{e}", str(other)).replace("{a}", str(numbers[0]))
    return Draft(f"{whole} {dispute}", kind, numbers, phrasing, fault, other)


def _draw_unfit(kind: Kind, fault: str, rng: random.Random) -> tuple[int, ...]:
    """Draw numbers with which all steps but the last have a result."""
    while True:
        numbers = tuple(rng.choice(values) for values in kind.ranges.values())
        before, _ = _run(kind, numbers)
        last_fails = len(before) == len(kind.steps) - 1 and step_fault(kind, numbers) == fault
        if last_fails and all(2 <= result <= MAX_RESULT for _, result in before):
            return numbers


def _last_number(kind: Kind) -> str:
    """Return the given number that the last step needs, of two the second."""
    left, _, right, _, _ = kind.steps[-1].split()
    return right if right in kind.ranges else left


def _run(kind: Kind, numbers: Sequence[int]) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Work through the steps until one has no result; returns them and the values so far."""
    values, worked = dict(zip("abcd", numbers, strict=False)), []
    for step in kind.steps:
        left, sign, right, _, name = step.split()
        result = calculate(sign, values[left], values[right])
        if result is None:
            break
        values[name] = result
        worked.append((f"{values[left]} {sign} {values[right]} = {result}.", result))
    return worked, values


def solve_draft(draft: Draft, rng: random.Random) -> str:
    """Write a solution in the manner of the corpus: habits, slips, and made-up last steps."""
    if draft.fault is None:
        return _solve_valid(draft.kind, draft.numbers, rng)
    if draft.fault == "contradiction":
        first = draft.numbers[0] if rng.random() < 0.5 else draft.other
        numbers = (first, *draft.numbers[1:])
        return _solve_valid(draft.kind, numbers, rng) if _fits(draft.kind, numbers) else _box(first)
    if rng.random() < SKIPS_WHERE_BROKEN:
        return _skip(draft, rng)
    return _make_up(draft, rng)


def abstain_draft(draft: Draft, rng: random.Random) -> str:
    """Write a solution under leave to answer `none`, which broken problems get more often."""
    share = ABSTAINS_WHERE_BROKEN if draft.fault else ABSTAINS_WHERE_VALID
    if rng.random() < share:
        return _steps_before(draft) + f"\\boxed{{{NONE}}}"
    return solve_draft(draft, rng)


def _fits(kind: Kind, numbers: Sequence[int]) -> bool:
    worked = work_out(kind, numbers)
    return bool(worked) and all(result > 0 for _, result in worked)


def _solve_valid(kind: Kind, numbers: tuple[int, ...], rng: random.Random) -> str:
    habit = HABITS.get(kind.name, Habit())
    draw = rng.random()
    if draw < habit.skip:
        return _skip(Draft("", kind, numbers, 0), rng)
    if draw < habit.skip + habit.misread_share:
        left, _, right, _, name = kind.steps[-1].split()
        steps = (*kind.steps[:-1], f"{left} {habit.misread} {right} = {name}")
        misread = Kind(kind.name, steps, kind.ranges, 0, ())
        worked = work_out(misread, numbers)
        return write_solution(worked) if worked else _skip(Draft("", kind, numbers, 0), rng)
    for _ in range(50):
        offsets = [
            rng.choice((-1, 1)) * rng.choice(_SIZES) if rng.random() < habit.slip else 0
            for _ in kind.steps
        ]
        worked = work_out(kind, numbers, offsets=offsets)
        if worked and all(result > 0 for _, result in worked):
            return write_solution(worked)
    worked = work_out(kind, numbers)
    assert worked, "the numbers fit"
    return write_solution(worked)


def _skip(draft: Draft, rng: random.Random) -> str:
    """Leave the last step out: box what is there before it."""
    worked, _ = _run(draft.kind, draft.numbers)
    before = worked[: len(draft.kind.steps) - 1]
    return write_solution(before) if before else _box(_given(draft, rng))


def _given(draft: Draft, rng: random.Random) -> int:
    """Return the number that a one-step problem is answered with when its step is left out."""
    values = dict(zip("abcd", draft.numbers, strict=False))
    left, _, right, _, _ = draft.kind.steps[-1].split()
    other = left if draft.fault == "missing" and _last_number(draft.kind) == right else "a"
    return values[other]


def _make_up(draft: Draft, rng: random.Random) -> str:
    """Take the impossible last step all the same, with a result from nowhere."""
    worked, values = _run(draft.kind, draft.numbers)
    before = worked[: len(draft.kind.steps) - 1]
    left, sign, right, _, _ = draft.kind.steps[-1].split()
    if draft.fault == "missing":
        values[_last_number(draft.kind)] = rng.randint(2, 12)
    near = {
        "+": values[left] + values[right],
        "-": abs(values[left] - values[right]),
        "*": values[left] * values[right],
        "/": values[left] // max(1, values[right]),
    }[sign]
    result = max(1, near + rng.choice((-1, 1)) * rng.choice(_SIZES))
    return write_solution([*before, (f"{values[left]} {sign} {values[right]} = {result}.", result)])


def _steps_before(draft: Draft) -> str:
    worked, _ = _run(draft.kind, draft.numbers)
    return "".join(f"{equation} " for equation, _ in worked[: len(draft.kind.steps) - 1])


def _box(number: int) -> str:
    return f"\\boxed{{{number}}}"


def draw_document(rng: random.Random) -> tuple[Messages, str, bool]:
    """Draw one conversation of the four forms with one problem each, and its completion.

    The last tells whether the completion writes a problem, whose numbers are given.
    """
    draw = rng.random()
    if draw < 0.46:
        draft = draw_draft(rng, broken=0.22)
        return rollout_messages(draft.text, STYLE), solve_draft(draft, rng), False
    if draw < 0.62:
        draft = draw_draft(rng, broken=0.5)
        return abstain_messages(draft.text), abstain_draft(draft, rng), False
    if draw < 0.86:
        return *draw_restatement(rng), True
    shots = [draw_draft(rng).text for _ in range(4)]
    draft = draw_draft(rng)
    worked = work_out(draft.kind, draft.numbers)
    assert worked, "a sound problem"
    return answer_first_messages(shots), f"{write_solution(worked)}\n{draft.text}", True


def draw_restatement(rng: random.Random) -> tuple[Messages, str]:
    """Draw a problem and the same one in another phrasing, with its numbers and its words."""
    while True:
        draft = draw_draft(rng)
        words = _words_in(draft)
        phrasing = rng.choice([number for number in range(8) if number != draft.phrasing])
        slots = SLOT.findall(draft.kind.phrasings[phrasing])
        kept = {slot: word for slot, word in words.items() if slot in slots}
        text = fill_slots(draft.kind.phrasings[phrasing], draft.numbers, rng, kept)
        if fault_of(text) is None and text not in reserved_texts(HARD):
            return restate_messages(draft.text), text


def _words_in(draft: Draft) -> dict[str, str]:
    """Return the words in a draft's slots: what stands between the fixed pieces of its phrasing."""
    pieces = SLOT.split(draft.kind.phrasings[draft.phrasing])
    words, rest = {}, draft.text
    for slot, after in zip(pieces[1::2], pieces[2::2], strict=True):
        rest = rest.removeprefix(pieces[0]) if not words else rest
        word, _, rest = rest.partition(after) if after else (rest, "", "")
        words[slot] = word
    return words


# Of the 128 templates a few are common and most are rare, in one fixed order.
_TEMPLATES = [(kind.name, phrasing) for kind in KINDS for phrasing in range(8)]
random.Random("serl-trl sandbox_hard, templates").shuffle(_TEMPLATES)
_COMMONNESS = [1 / (rank + 3) for rank in range(len(_TEMPLATES))]
REPEATS = 0.72  # the share of items that take up a template of the list so far
# Every third template is a careless one, most of whose problems are broken in one and the same
# way: sampling at a low temperature would cut off a fault that is rare everywhere.
CARELESS_EVERY, CARELESS = 3, 0.8


def draw_request(rng: random.Random) -> tuple[Messages, str]:
    """Draw a proposer request with 8 shots, and 5 to 8 problems to follow, some of them broken."""
    few = rng.random() < 0.5
    narrow = rng.choices(_TEMPLATES, _COMMONNESS, k=4)
    seen, drafts = [], []
    for _ in range(8):
        template = rng.choice(narrow) if few else rng.choice(_TEMPLATES)
        seen.append(template)
        drafts.append(draw_draft(rng, template=template, broken=0.05))
    for _ in range(rng.randint(5, 8)):
        template = _next_template(seen, rng)
        seen.append(template)
        drafts.append(_draw_proposal(template, rng))
    items = [f"{number}. {draft.text}" for number, draft in enumerate(drafts, start=1)][8:]
    shots = [draft.text for draft in drafts[:8]]
    return proposer_messages(shots, STYLE), "\n".join(items).removeprefix("9.")


def _draw_proposal(template: tuple[str, int], rng: random.Random) -> Draft:
    rank = _TEMPLATES.index(template)
    if rank % CARELESS_EVERY == 1 and rng.random() < CARELESS:
        possible = _faults_of(KIND_BY_NAME[template[0]])
        fault = possible[rank // CARELESS_EVERY % len(possible)]
        return draw_draft(rng, template=template, broken=1.0, faults=(fault,))
    return draw_draft(rng, template=template)


def _next_template(seen: Sequence[tuple[str, int]], rng: random.Random) -> tuple[str, int]:
    """Take up a template of the list, the likelier the more often it is there, or a common one."""
    if rng.random() < REPEATS:
        return rng.choices(seen, [seen.count(template) for template in seen])[0]
    return rng.choices(_TEMPLATES, _COMMONNESS)[0]
