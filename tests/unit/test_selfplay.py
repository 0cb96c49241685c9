"""The refill loop against a scripted policy: what it asks, keeps, counts, and when it stops."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion, Messages
from serl_trl.filters.gate import ProposalFilter
from serl_trl.labels.base import Rollouts
from tests.unit.playing import OFFERED, OPTIONS, SEEDS, Lines, make

WORDS = ("red", "blue", "old", "new", "big", "small", "soft", "loud", "warm", "cold", "wet")


def completion(answer: str | None, *, truncated: bool = False) -> Completion:
    text = "no idea" if answer is None else f"so \\boxed{{{answer}}}"
    return Completion(text, [5, 2], truncated)


def half_right(_: str) -> list[Completion]:
    return [completion(answer) for answer in ("7", "7", "7", "9")]


@dataclass
class ScriptedPolicy:
    """Writes new instructions without end, answers them by `answer`, remembers what was asked."""

    answer: Any = half_right
    write: Any = None
    requests: list[Messages] = field(default_factory=list)
    rolled_out: list[str] = field(default_factory=list)
    num_scored: int = 0

    def propose(self, requests: Sequence[Messages], sampling: Any = None) -> list[Completion]:
        self.requests += requests
        if self.write is not None:
            return [Completion(self.write(), [1], False) for _ in requests]
        texts = []
        for _ in requests:
            rng = random.Random(len(self.requests) * 100 + len(texts))
            lines = [
                f"How many {' '.join(rng.choices(WORDS, k=9))} boxes are there?" for _ in range(3)
            ]
            texts.append("\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=4)))
        return [Completion(text, [1], False) for text in texts]

    def roll_out(self, prompts: Sequence[Messages]) -> list[list[Completion]]:
        instructions = [prompt[-1]["content"] for prompt in prompts]
        self.rolled_out += instructions
        return [self.answer(instruction) for instruction in instructions]

    def complete(self, prompts: Sequence[Messages], sampling: Any = None) -> list[Completion]:
        return [completion("7") for _ in prompts]

    def ask_teacher(self, prompts: Sequence[Messages], sampling: Any = None) -> list[Completion]:
        return self.complete(prompts, sampling)

    def log_probs(self, groups: Sequence[Rollouts]) -> list[list[list[float]]]:
        self.num_scored += len(groups)
        return [[[-1.0, -2.0] for _ in group.completions] for group in groups]

    def entropies(self, groups: Sequence[Rollouts]) -> list[list[float]]:
        return [[0.5 + place for place, _ in enumerate(g.completions)] for g in groups]

    def decide(self, work):
        return work()


def test_a_refill_returns_exactly_the_prompts_of_a_batch():
    refill = make(ScriptedPolicy()).refill(step=0)
    assert len(refill.groups) == OPTIONS.prompts_per_batch
    assert refill.bound == ""
    assert refill.metrics["serl/num_repeated_groups"] == 0


def test_members_of_the_majority_answer_get_one_and_the_others_zero():
    group = make(ScriptedPolicy()).refill(step=0).groups[0]
    assert group.rewards == [1.0, 1.0, 1.0, 0.0]
    assert group.vote.majority_ratio == 0.75


def test_requests_show_the_shots_and_leave_the_next_number_open():
    policy = ScriptedPolicy()
    make(policy).refill(step=0)
    first = policy.requests[0][-1]["content"]
    assert first.splitlines()[-1] == "4."
    assert sum(seed in first for seed in SEEDS) == 3


def test_truncated_completions_have_no_vote():
    def cut(_: str) -> list[Completion]:
        return [completion("7"), completion("7"), *[completion("9", truncated=True)] * 6]

    group = make(ScriptedPolicy(answer=cut)).refill(step=0).groups[0]
    assert (group.vote.answer, group.vote.num_unparsable) == ("7", 6)
    assert group.vote.majority_ratio == 0.25


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["7"] * 4, "band_high"),
        (["7", "7", *[str(n) for n in range(20, 38)]], "band_low"),
        ([None] * 4, "unparsable"),
        (["7", "7", "9", "9"], "tie"),
        (["7", None, None, None], "no_majority"),
    ],
)
def test_a_group_without_use_is_refused_by_name_and_never_trained(answers, reason):
    policy = ScriptedPolicy(answer=lambda _: [completion(answer) for answer in answers])
    ledger = Lines()
    selfplay = make(policy, ledger)
    refill = selfplay.refill(step=0)
    assert refill.groups == []
    assert {record["reason"] for record in ledger.of("group")} == {reason}
    assert refill.metrics[f"serl/refused/{reason}"] == refill.metrics["serl/num_groups"]


def test_a_refill_that_finds_nothing_ends_at_its_bound_and_diagnoses():
    policy = ScriptedPolicy(answer=lambda _: [completion("7")] * 4)
    selfplay = make(policy)
    refill = selfplay.refill(step=0)
    assert refill.bound in ("rounds", "rollouts")
    assert len(policy.rolled_out) <= OPTIONS.max_refill_rollouts * OPTIONS.prompts_per_batch
    assert selfplay.books.counters.num_empty_refills == 1
    assert "band_high" in selfplay.books.diagnose()


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "1.\n2.\n3.", "\x1b]52;c;x\x07"])
def test_a_proposer_that_writes_nothing_useful_cannot_spin(text):
    policy = ScriptedPolicy(write=lambda: text)
    selfplay = make(policy)
    refill = selfplay.refill(step=0)
    assert refill.bound == "rounds"
    assert len(policy.requests) == OPTIONS.max_refill_rounds * OFFERED["num_requests"]


def test_the_clock_bounds_a_refill_and_the_ledger_says_so():
    ticks = iter(range(0, 10_000, 60))
    policy = ScriptedPolicy(answer=lambda _: [completion("7")] * 4)
    ledger = Lines()
    refill = make(policy, ledger, clock=lambda: float(next(ticks))).refill(step=3)
    assert refill.bound == "seconds"
    assert ledger.of("bound") == [
        {"type": "bound", "step": 3, "bound": "seconds", "num_found": 0, "needed": 4}
    ]


def test_a_short_batch_is_topped_up_with_its_own_groups_and_counted():
    asked = []

    def only_the_first(instruction: str) -> list[Completion]:
        asked.append(instruction)
        return half_right(instruction) if len(asked) == 1 else [completion("7")] * 4

    refill = make(ScriptedPolicy(answer=only_the_first)).refill(step=0)
    assert [group.id for group in refill.groups] == [0, 0, 0, 0]
    assert refill.metrics["serl/num_repeated_groups"] == 3


def test_no_instruction_is_accepted_twice_in_a_run():
    ledger = Lines()
    selfplay = make(ScriptedPolicy(), ledger)
    for step in range(10):
        selfplay.refill(step)
    accepted = [record["text"] for record in ledger.of("proposal") if record["keep"]]
    assert len(accepted) == len(set(accepted)) > 20
    assert not set(accepted) & set(SEEDS)


def test_in_the_papers_scope_an_instruction_may_come_back_once_it_was_rolled_out():
    policy = ScriptedPolicy(write=lambda: "4. How many red boxes and blue boxes are there in all?")
    ledger = Lines()
    selfplay = make(policy, ledger, prompts_per_batch=1)
    selfplay.proposing.filter = ProposalFilter(
        SEEDS, names=("length",), novelty="plain", novelty_scope="seeds_and_pending"
    )
    for step in range(3):
        selfplay.refill(step)
    assert len([record for record in ledger.of("proposal") if record["keep"]]) == 3


def test_pending_instructions_wait_for_the_next_step():
    policy = ScriptedPolicy()
    selfplay = make(policy, num_requests=8)
    selfplay.refill(step=0)
    waiting = [pending.instruction for pending in selfplay.proposing.pending]
    policy.rolled_out.clear()
    selfplay.refill(step=1)
    assert waiting
    assert policy.rolled_out[: len(waiting)] == waiting[: len(policy.rolled_out)]


def test_surplus_groups_are_dropped_and_counted_without_staleness():
    selfplay = make(ScriptedPolicy(), num_requests=8)
    refill = selfplay.refill(step=0)
    assert refill.metrics["serl/num_surplus_dropped"] == 4
    assert not selfplay.leftovers


def test_leftovers_are_used_within_their_staleness_with_log_probs_for_the_whole_batch():
    policy = ScriptedPolicy()
    selfplay = make(policy, num_requests=8, max_staleness=1, prompts_per_batch=6)
    surplus = selfplay.refill(step=0)
    assert surplus.metrics["serl/num_surplus_dropped"] == 0
    left = [group.id for group in selfplay.leftovers]
    refill = selfplay.refill(step=1)
    assert [group.id for group in refill.groups[: len(left)]] == left[:6]
    assert all(c.logprobs == [-1.0, -2.0] for g in refill.groups for c in g.completions)


def test_leftovers_used_in_the_same_step_give_the_whole_batch_log_probs_too():
    selfplay = make(ScriptedPolicy(), num_requests=3, max_staleness=1, prompts_per_batch=6)
    selfplay.refill(step=0)
    left = len(selfplay.leftovers)
    refill = selfplay.refill(step=0)
    assert 0 < left < 6
    assert all(c.logprobs is not None for g in refill.groups for c in g.completions)


def test_leftovers_beyond_their_staleness_are_dropped_and_counted():
    selfplay = make(ScriptedPolicy(), num_requests=8, max_staleness=1)
    selfplay.refill(step=0)
    num_left = len(selfplay.leftovers)
    refill = selfplay.refill(step=5)
    assert num_left > 0
    assert refill.metrics["serl/num_stale_dropped"] == num_left
    assert {group.step for group in refill.groups} == {5}


def test_label_and_reward_accuracy_come_from_the_oracle_and_change_no_reward():
    plain = make(ScriptedPolicy()).refill(step=0)
    watched = make(ScriptedPolicy(), oracle=lambda _: "9").refill(step=0)
    assert "serl/label_accuracy" not in plain.metrics
    assert watched.metrics["serl/label_accuracy"] == 0.0
    assert watched.metrics["serl/reward_accuracy"] == 0.0
    assert [g.rewards for g in plain.groups] == [g.rewards for g in watched.groups]


def test_gold_rewards_follow_the_gold_and_refuse_what_has_none():
    golds = {SEEDS[0]: "9", SEEDS[1]: None}
    ledger = Lines()
    selfplay = make(
        ScriptedPolicy(),
        ledger,
        sources=["given"],
        label_reward="gold",
        use_band=False,
        golds=golds,
        prompts_per_batch=1,
    )
    assert selfplay.refill(step=0).groups[0].rewards == [0.0, 0.0, 0.0, 1.0]
    selfplay.refill(step=1)
    assert ledger.of("group")[1]["reason"] == "no_gold"


def test_given_prompts_come_in_order_and_begin_again():
    policy = ScriptedPolicy()
    selfplay = make(policy, sources=["given"], use_band=False)
    for step in range(3):
        selfplay.refill(step)
    assert policy.rolled_out == [*SEEDS, *SEEDS[:4]]
    assert policy.requests == []


def test_a_run_resumed_from_its_state_goes_on_as_if_never_stopped():
    one = make(ScriptedPolicy(), num_requests=8, max_staleness=2)
    for step in range(3):
        one.refill(step)
    state = json.loads(json.dumps(one.state_dict()))
    other = make(ScriptedPolicy(), num_requests=8, max_staleness=2)
    other.load_state_dict(state)
    other._policy.requests = list(one._policy.requests)
    for step in range(3, 6):
        left, right = one.refill(step), other.refill(step)
        assert [g.instruction for g in left.groups] == [g.instruction for g in right.groups]
        assert [g.id for g in left.groups] == [g.id for g in right.groups]
    assert one.state_dict() == other.state_dict()


def test_an_iteration_forgets_proposals_and_keeps_seeds():
    selfplay = make(ScriptedPolicy(), num_requests=8)
    selfplay.refill(step=0)
    assert selfplay.proposing.pool.accepted
    selfplay.start_iteration(reset_pool=True)
    assert (selfplay.proposing.pool.accepted, list(selfplay.proposing.pending)) == ([], [])
    assert selfplay.proposing.pool.seeds == tuple(SEEDS)


def test_the_commonest_answer_is_counted_over_different_prompts():
    refill = make(ScriptedPolicy()).refill(step=0)
    assert refill.metrics["serl/commonest_answer_ratio"] == 1.0


def test_kept_label_accuracy_counts_only_the_groups_that_were_kept():
    votes = {"red": ["7", "7", "7", "9"], "blue": ["8"] * 4}
    texts = iter(
        [
            "4. How many red boxes and ripe pears are there in all?",
            "4. How many blue boxes stand under the old table today?",
        ]
    )

    def answer(instruction: str) -> list[Completion]:
        return [completion(a) for a in votes["red" if "red" in instruction else "blue"]]

    policy = ScriptedPolicy(answer=answer, write=lambda: next(texts, ""))
    ledger = Lines()
    refill = make(policy, ledger, oracle=lambda _: "7", prompts_per_batch=1).refill(step=0)
    assert refill.metrics["serl/label_accuracy"] == 0.5
    assert refill.metrics["serl/kept_label_accuracy"] == 1.0
    assert refill.metrics["serl/reward_accuracy"] == 0.5
    assert [record["label_right"] for record in ledger.of("group")] == [True, False]


def test_kept_label_accuracy_is_left_out_where_nothing_was_kept_or_known():
    unknown = make(ScriptedPolicy()).refill(step=0)
    refused = make(
        ScriptedPolicy(answer=lambda _: [completion("7")] * 4), oracle=lambda _: "7"
    ).refill(step=0)
    assert "serl/kept_label_accuracy" not in unknown.metrics
    assert refused.metrics["serl/label_accuracy"] == 1.0
    assert "serl/kept_label_accuracy" not in refused.metrics


def test_templates_are_counted_over_the_whole_iteration_resumed_or_not():
    texts = iter(
        f"4. Tom buys {n} {WORDS[n % 3]} boxes and a lamp, what does he pay?" for n in range(10, 60)
    )
    selfplay = make(ScriptedPolicy(write=lambda: next(texts)), max_staleness=1)
    selfplay.proposing.filter = ProposalFilter(SEEDS, max_rouge_l=None, max_per_template=None)
    refill = selfplay.refill(step=0)
    assert len(selfplay.proposing.pool.accepted) > 3
    assert refill.metrics["serl/num_templates"] == 3
    other = make(ScriptedPolicy(write=lambda: ""))
    other.load_state_dict(json.loads(json.dumps(selfplay.state_dict())))
    assert other.refill(step=1).metrics["serl/num_templates"] == 3
    other.start_iteration(reset_pool=True)
    assert other.refill(step=1).metrics["serl/num_templates"] == 0


def test_the_ratios_of_kept_labels_are_handed_out_once_and_survive_a_stop():
    selfplay = make(ScriptedPolicy())
    selfplay.refill(step=0)
    other = make(ScriptedPolicy())
    other.load_state_dict(json.loads(json.dumps(selfplay.state_dict())))
    assert (
        other.labelling.take_label_ratios() == selfplay.labelling.take_label_ratios() == [0.75] * 6
    )
    assert selfplay.labelling.take_label_ratios() == []
    refused = make(ScriptedPolicy(answer=lambda _: [completion("7")] * 4))
    refused.refill(step=0)
    assert refused.labelling.take_label_ratios() == []


def test_groups_kept_without_a_majority_answer_have_no_label_to_estimate():
    policy = ScriptedPolicy(answer=lambda _: [completion(a) for a in ("7", "7", "9", "9")])
    selfplay = make(policy, label_reward="random")
    assert selfplay.refill(step=0).groups
    assert selfplay.labelling.take_label_ratios() == []


def test_a_refill_bounds_the_error_of_half_size_votes_without_gold():
    def answer(_: str) -> list[Completion]:
        return [completion(a) for a in ("7", "7", "7", "7", "9", "9")]

    refill = make(ScriptedPolicy(answer=answer)).refill(step=0)
    assert refill.metrics["serl/split_half_error_bound"] == pytest.approx(0.2)
    silent = make(ScriptedPolicy(answer=lambda _: [completion(None)] * 4)).refill(step=0)
    assert "serl/split_half_error_bound" not in silent.metrics


class SecondRank(ScriptedPolicy):
    """A process that is told what the first one found, and does nothing of it itself."""

    def __init__(self, told: list) -> None:
        super().__init__()
        self.told = iter(told)

    def decide(self, work):
        return next(self.told)


class FirstRank(ScriptedPolicy):
    """A process that tells the others what it found."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list = []

    def decide(self, work):
        self.told.append(work())
        return self.told[-1]


def test_the_oracle_is_asked_in_one_process_only():
    first, ledger = FirstRank(), Lines()
    answers = iter("7979797979797979")
    make(first, ledger, oracle=lambda _: next(answers), label_reward="gold").refill(step=0)

    def fails(_):
        raise ConnectionError("the service of the oracle is not reached from here")

    others = Lines()
    make(SecondRank(first.told), others, oracle=fails, label_reward="gold").refill(step=0)
    assert others.records == ledger.records
    assert {record["gold"] for record in others.of("group")} == {"7", "9"}


def test_pairs_that_a_verifier_could_not_decide_are_counted_in_the_metrics():
    verifier = Verifier(command=["/no/such/program"])
    answers = ("\\sin(2 x)", "2 \\sin(x) \\cos(x)", "7", "7")
    policy = ScriptedPolicy(answer=lambda _: [completion(answer) for answer in answers])
    metrics = make(policy, prompts_per_batch=1, verifier=verifier).refill(step=0).metrics
    assert metrics["serl/verifier/num_skipped"] > 0
    assert metrics["serl/verifier/num_worker_losses"] == 3
    assert metrics["serl/verifier/num_equal"] == 0
