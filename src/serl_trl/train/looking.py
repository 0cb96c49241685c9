"""Looking at a model without training it: proposals and measurements that change nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.common.completion import Sampling
from serl_trl.common.text import visible
from serl_trl.loop.proposing import JudgedProposal
from serl_trl.measure.figures import Attempts
from serl_trl.train.host import Host
from serl_trl.train.state import private_randomness
from serl_trl.train.vllm import awake


@dataclass(frozen=True)
class Drawing:
    """How the completions of a measurement are drawn; `greedy` adds one greedy completion."""

    num_samples: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    greedy: bool = True
    seed: int = 0


def look_at_proposals(trainer: Host, num: int, tell: Callable[[str], None]) -> list[JudgedProposal]:
    """Write `num` proposals; see `SeRLTrainer.propose`."""
    proposing = trainer.selfplay.proposing
    if not proposing.writing:
        raise ValueError(
            f"sources={', '.join(map(str, trainer.args.sources))} writes no new instructions; add "
            "few_shot."
        )
    judged: list[JudgedProposal] = []
    args, rounds = trainer.args, trainer.args.max_refill_rounds
    # Put back at the end: whoever looks may be between two steps.
    training = trainer.model.training
    trainer.model.train()
    seed = args.seed + trainer.accelerator.process_index
    with trainer.selfplay.looking(), private_randomness(seed):
        for number in range(1, rounds + 1):
            if len(judged) >= num:
                break
            tell(
                f"round {number} of at most {rounds}: the model answers {args.num_requests} "
                f"requests, in up to {args.proposer_max_tokens} tokens each, "
                f"{len(judged)} of {num} proposals so far"
            )
            with awake(trainer):
                found = proposing.judge_proposals(trainer.state.global_step)
            tell(f"round {number}: {proposing.say_round(found)}")
            judged += found
    trainer.model.train(training)
    return judged[:num]


def attempt(trainer: Host, problems: Sequence[dict[str, str]], drawing: Drawing) -> list[Attempts]:
    """Complete each problem; see `SeRLTrainer.attempt`."""
    instructions = [problem["instruction"] for problem in problems]
    tokens, training = trainer.args.max_completion_length, trainer.model.training
    trainer.model.eval()
    # Each process has a seed of its own, or all would draw alike.
    with awake(trainer), private_randomness(drawing.seed + trainer.accelerator.process_index):
        sampling = Sampling(drawing.temperature, drawing.top_p, tokens)
        sampled = trainer.policy.sample(instructions, drawing.num_samples, sampling)
        greedy = instructions if drawing.greedy else []
        best = trainer.policy.sample(greedy, 1, Sampling(0.0, 1.0, tokens))
    trainer.model.train(training)
    return [
        Attempts(
            problem["instruction"],
            problem["answer"],
            tuple(sampled[i]),
            best[i][0] if best else None,
        )
        for i, problem in enumerate(problems)
    ]


def visible_messages(messages: Any) -> Any:
    """Return a text, or messages of texts, without control characters."""
    if isinstance(messages, dict):
        return {name: visible_messages(text) for name, text in messages.items()}
    if isinstance(messages, list):
        return [visible_messages(message) for message in messages]
    return visible(messages) if isinstance(messages, str) else messages
