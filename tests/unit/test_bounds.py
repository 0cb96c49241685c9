"""Whatever the policy writes, self-play ends within its bounds and can say why."""

import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from serl_trl.common.completion import Completion, Messages
from serl_trl.labels.base import Rollouts
from serl_trl.loop.labelling import RECENT_GROUPS
from serl_trl.loop.selfplay import SelfPlay
from tests.unit import playing
from tests.unit.playing import SEEDS, Lines

WORDS = ("red", "blue", "old", "new", "big", "small", "soft", "loud", "warm", "cold", "wet")
NUM_PROMPTS, NUM_VOTES, NUM_REQUESTS, NUM_ROUNDS, TIMES = 4, 4, 2, 5, 8


def answers(*texts: str) -> list[Completion]:
    return [Completion(text, [5, 2], False) for text in texts]


def half_right() -> list[Completion]:
    return answers(*["\\boxed{7}"] * 3, "\\boxed{9}")


def new_proposals() -> Callable[[], str]:
    numbers = itertools.count()

    def write() -> str:
        rng = random.Random(next(numbers))
        texts = [f"How many {' '.join(rng.choices(WORDS, k=9))} boxes are there?" for _ in range(3)]
        return "\n".join(f"{n}. {text}" for n, text in enumerate(texts, start=4))

    return write


@dataclass
class Script:
    """A policy whose proposals and groups come from two functions; remembers what was asked."""

    write: Callable[[], str] = field(default_factory=new_proposals)
    answer: Callable[[], list[Completion]] = half_right
    num_requests: int = 0
    num_prompts: int = 0

    def propose(self, requests: Sequence[Messages], sampling: Any = None) -> list[Completion]:
        self.num_requests += len(requests)
        return [Completion(self.write(), [1], False) for _ in requests]

    def roll_out(self, prompts: Sequence[Messages]) -> list[list[Completion]]:
        self.num_prompts += len(prompts)
        return [self.answer() for _ in prompts]

    def complete(self, prompts: Sequence[Messages], sampling: Any = None) -> list[Completion]:
        return [Completion("", [1], False) for _ in prompts]

    def log_probs(self, groups: Sequence[Rollouts]) -> list[list[list[float]]]:
        return [[[-1.0, -2.0] for _ in group.completions] for group in groups]

    def decide(self, work: Callable[[], Any]) -> Any:
        return work()


def make(policy: Script, ledger: Lines | None = None, **changes: Any) -> SelfPlay:
    bounds = {
        "max_refill_rounds": NUM_ROUNDS,
        "max_refill_rollouts": TIMES,
        "num_generations": NUM_VOTES,
        "prompts_per_batch": NUM_PROMPTS,
        "num_requests": NUM_REQUESTS,
    }
    return playing.make(policy, ledger, **(bounds | changes))


def spend(selfplay: SelfPlay) -> None:
    """Refill until the rollouts of the run are spent."""
    for step in range(50):
        if selfplay.rollouts_spent:
            return
        selfplay.refill(step)
    raise AssertionError("the rollouts of the run are never spent")


@pytest.mark.parametrize("source", ["few_shot", "given"])
@pytest.mark.parametrize("use_band", [True, False])
def test_a_run_never_samples_more_completions_than_its_bound(source, use_band):
    policy = Script()
    selfplay = make(policy, max_rollouts=50, sources=[source], use_band=use_band)
    spend(selfplay)
    assert policy.num_prompts == 12
    assert selfplay.books.counters.num_rollouts == 48


def test_the_last_refill_of_a_spent_run_is_topped_up_and_names_its_bound():
    ledger = Lines()
    selfplay = make(Script(), ledger, max_rollouts=24)
    selfplay.refill(step=0)
    refill = selfplay.refill(step=1)
    assert (refill.bound, len(refill.groups)) == ("run", NUM_PROMPTS)
    assert refill.metrics["serl/num_repeated_groups"] > 0
    assert ledger.records[-1]["bound"] == "run"


def test_rollouts_are_counted_on_after_a_resume():
    selfplay = make(Script(), max_rollouts=64)
    selfplay.refill(step=0)
    resumed = make(Script(), max_rollouts=64)
    resumed.load_state_dict(json.loads(json.dumps(selfplay.state_dict())))
    assert resumed.books.counters.num_rollouts == selfplay.books.counters.num_rollouts > 0
    spend(resumed)
    assert resumed.books.counters.num_rollouts == 64


def test_without_a_bound_rollouts_are_counted_and_never_spent():
    selfplay = make(Script())
    for step in range(5):
        logged = selfplay.refill(step).metrics["serl/num_rollouts"]
        assert logged == selfplay.books.counters.num_rollouts > 0
        assert not selfplay.rollouts_spent


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda: f"4. {SEEDS[0]}", "duplicate"),
        (lambda: "4. How many red boxes and how many blue boxes are there?", "duplicate"),
        (lambda: "", "could be read"),
        (lambda: "I would rather not.", "no_question"),
        (lambda: "\ud800\x1b]52;c;x\x07" * 50, "could be read"),
    ],
    ids=["seeds", "itself", "empty", "prose", "noise"],
)
def test_a_proposer_without_anything_new_ends_at_its_rounds_and_is_diagnosed(write, reason):
    policy = Script(write=write, answer=lambda: answers(*["\\boxed{7}"] * 4))
    selfplay = make(policy)
    for step in range(3):
        assert selfplay.refill(step).bound == "rounds"
    assert policy.num_requests == 3 * NUM_ROUNDS * NUM_REQUESTS
    assert reason in selfplay.books.diagnose()


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["\\boxed{7}"] * 4, "band_high"),
        (["I do not know"] * 4, "unparsable"),
        ([""] * 4, "unparsable"),
        (["\\boxed{" * 500] * 4, "unparsable"),
        (["\\boxed{1}", "\\boxed{2}", "\\boxed{3}", "\\boxed{4}"], "tie"),
    ],
    ids=["unanimous", "prose", "empty", "braces", "all_different"],
)
def test_a_solver_without_use_ends_at_a_bound_and_is_diagnosed(texts, reason):
    policy = Script(answer=lambda: answers(*texts))
    selfplay = make(policy)
    refill = selfplay.refill(step=0)
    assert refill.groups == []
    assert refill.bound in ("rounds", "rollouts")
    assert 0 < policy.num_prompts <= TIMES * NUM_PROMPTS
    assert f"x {reason}" in selfplay.books.diagnose()


@pytest.mark.parametrize("part", ["write", "answer"])
def test_what_the_policy_raises_is_raised_at_once_and_not_swallowed(part):
    def fail() -> Any:
        raise RuntimeError("the engine is gone")

    selfplay = make(Script(**{part: fail}))
    with pytest.raises(RuntimeError, match="the engine is gone"):
        selfplay.refill(step=0)


def test_memories_of_a_long_run_do_not_grow():
    texts = itertools.cycle([*["\\boxed{7}"] * 3, "\\boxed{9}"])
    selfplay = make(
        Script(answer=lambda: answers(*itertools.islice(texts, 4))),
        sources=["given"],
        use_band=False,
        max_staleness=1,
    )
    for step in range(2 * RECENT_GROUPS // NUM_PROMPTS):
        selfplay.refill(step)
    state = selfplay.state_dict()
    assert len(state["labelling"]["recent_majorities"]) == RECENT_GROUPS
    assert len(state["proposing"]["streams"][0]["source"]["order"]) <= len(SEEDS)
    assert state["leftovers"] == state["proposing"]["streams"][0]["pending"] == []
