"""The pool: what it holds, which shots it draws, and that it resumes exactly."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.propose.pool import InstructionPool, Shots

SEEDS = [f"seed text {number}" for number in range(20)]


def draw(pool, rng=None, **changes):
    options = {"num_shots": 8, "num_pool_shots": 2, **changes}
    return pool.draw_shots(rng or random.Random(0), **options)


def test_the_pool_holds_seeds_and_what_was_accepted():
    pool = InstructionPool(SEEDS)
    pool.add("a new one")
    assert len(pool) == 21
    assert pool.seeds == tuple(SEEDS)
    assert pool.accepted == ["a new one"]


def test_shots_mix_up_to_two_accepted_texts_with_seeds():
    pool = InstructionPool(SEEDS)
    assert all(origin.startswith("seed:") for origin in draw(pool).origins)
    pool.add("new 0")
    assert sum(origin.startswith("pool:") for origin in draw(pool).origins) == 1
    for number in range(1, 9):
        pool.add(f"new {number}")
    shots = draw(pool)
    assert sum(origin.startswith("pool:") for origin in shots.origins) == 2
    assert len(shots.texts) == 8


def test_origins_lead_back_to_the_texts():
    pool = InstructionPool(SEEDS)
    for number in range(5):
        pool.add(f"new {number}")
    shots = draw(pool)
    for text, origin in zip(shots.texts, shots.origins, strict=True):
        place, _, number = origin.partition(":")
        assert {"seed": pool.seeds, "pool": pool.accepted}[place][int(number)] == text


def test_a_small_pool_gives_what_it_has():
    assert draw(InstructionPool([])) == Shots((), ())
    pool = InstructionPool(["a", "b"])
    pool.add("c")
    assert sorted(draw(pool).texts) == ["a", "b", "c"]


def test_equal_seeds_are_shown_once_in_a_request():
    assert len(draw(InstructionPool(["same"] * 10)).texts) == 1


def test_a_draw_never_takes_more_than_was_asked_for():
    pool = InstructionPool(SEEDS)
    for number in range(5):
        pool.add(f"new {number}")
    assert len(draw(pool, num_shots=1, num_pool_shots=2).texts) == 1


def test_the_least_used_seeds_come_first_when_asked():
    pool, rng = InstructionPool(SEEDS), random.Random(0)
    for _ in range(5):  # 5 requests of 8 shots are two rounds through 20 seeds
        pool.mark_shown(draw(pool, rng, prefer_least_used=True))
    assert pool.state_dict()["uses"] == {f"seed:{number}": 2 for number in range(20)}


def test_uniform_draws_reach_every_seed():
    pool, rng = InstructionPool(SEEDS), random.Random(0)
    seen = {origin for _ in range(40) for origin in draw(pool, rng).origins}
    assert len(seen) == 20
    assert not pool.state_dict()["uses"]


def test_a_reset_drops_the_accepted_texts_and_keeps_the_seeds_uses():
    pool = InstructionPool(SEEDS)
    pool.add("new")
    pool.mark_shown(Shots(("new", SEEDS[0]), ("pool:0", "seed:0")))
    pool.reset()
    assert (pool.accepted, len(pool)) == ([], 20)
    assert pool.state_dict()["uses"] == {"seed:0": 1}


def test_a_state_of_other_seeds_is_refused():
    state = InstructionPool(SEEDS).state_dict()
    with pytest.raises(ValueError, match="other seeds"):
        InstructionPool(SEEDS[1:]).load_state_dict(state)


@given(
    st.lists(st.text(max_size=5), max_size=10),
    st.lists(st.text(max_size=5), max_size=10),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_a_restored_pool_goes_on_as_the_saved_one(seeds, accepted, seed, prefer):
    pool, rng = InstructionPool(seeds), random.Random(seed)
    for text in accepted:
        pool.add(text)
        pool.mark_shown(draw(pool, rng, num_shots=3, prefer_least_used=prefer))
    other = InstructionPool(seeds)
    other.load_state_dict(json.loads(json.dumps(pool.state_dict())))
    copied = random.Random()
    copied.setstate(rng.getstate())
    for _ in range(3):
        left = draw(pool, rng, num_shots=3, prefer_least_used=prefer)
        right = draw(other, copied, num_shots=3, prefer_least_used=prefer)
        assert left == right
        assert len(set(left.texts)) == len(left.texts) <= 3
        pool.mark_shown(left)
        other.mark_shown(right)
    assert pool.state_dict() == other.state_dict()
