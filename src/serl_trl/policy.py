"""The trained model as proposer and solver, over all processes and whatever backend generates."""

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list, gather_object
from trl.trainer.utils import pad

from serl_trl.groups import Completion, Group
from serl_trl.prompts import Messages, rollout_messages

if TYPE_CHECKING:
    from serl_trl.trainer import SeRLTrainer

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy; `presence_penalty` reaches vLLM only."""

    temperature: float
    top_p: float
    max_tokens: int
    presence_penalty: float = 0.0


class TrainerPolicy:
    """Generates and scores with the present weights of a `SeRLTrainer`.

    Work is split over the processes in contiguous slices and gathered, so that every process
    returns the same whole result in the order of what it was given.
    """

    def __init__(self, trainer: "SeRLTrainer") -> None:
        self._trainer = trainer
        args = trainer.args
        self._proposer = Sampling(
            temperature=args.proposer_temperature,
            top_p=args.proposer_top_p,
            max_tokens=args.proposer_max_tokens,
            presence_penalty=args.proposer_presence_penalty,
        )

    def propose(self, requests: Sequence[Messages]) -> list[Completion]:
        """Answer each request once, with the proposer's sampling values."""
        return self.complete(requests, self._proposer)

    def roll_out(self, instructions: Sequence[str]) -> list[list[Completion]]:
        """Complete each instruction `num_generations` times, with TRL's own sampling values."""
        return self.sample(instructions, self._trainer.args.num_generations)

    def sample(
        self, instructions: Sequence[str], num_samples: int, sampling: Sampling | None = None
    ) -> list[list[Completion]]:
        """Complete each instruction `num_samples` times; `None` keeps TRL's sampling values."""
        style = self._trainer.args.style
        prompts = [rollout_messages(instruction, style) for instruction in instructions]
        repeated = [prompt for prompt in prompts for _ in range(num_samples)]
        flat = self.complete(repeated, sampling)
        return [flat[i : i + num_samples] for i in range(0, len(flat), num_samples)]

    def complete(self, prompts: Sequence[Messages], sampling: Sampling | None) -> list[Completion]:
        """Complete each conversation once."""
        if not prompts:
            return []
        prompt_ids, _, _ = self._trainer._tokenize_prompts(list(prompts))
        with swapped_sampling(self._trainer, sampling):
            return self._over_processes(prompt_ids, self._generate)

    def log_probs(self, groups: Sequence[Group]) -> list[list[list[float]]]:
        """Score the tokens of every completion of `groups` under the present weights."""
        rows = [
            (rollout_messages(group.instruction, self._trainer.args.style), completion.token_ids)
            for group in groups
            for completion in group.completions
        ]
        scores = self._over_processes(rows, self._score)
        sizes = [len(group.completions) for group in groups]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return [scores[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def count_request_tokens(self, messages: Messages) -> int:
        """Count the tokens of a request in the chat template."""
        prompt_ids, _, _ = self._trainer._tokenize_prompts([messages])
        return len(prompt_ids[0])

    def decide(self, work: Callable[[], T]) -> T:
        """Do `work` in the main process and return its result in all."""
        accelerator = self._trainer.accelerator
        result = [work() if accelerator.is_main_process else None]
        return broadcast_object_list(result)[0]

    def _generate(self, prompt_ids: Sequence[list[int]]) -> list[Completion]:
        trainer = self._trainer
        ids, logprobs = trainer._generate_single_turn(list(prompt_ids), None, {}, 1)
        # An engine may return nothing at all, on which TRL's bookkeeping would fail.
        ids = [row or [trainer.eos_token_ids[0]] for row in ids]
        texts = trainer._tokenizer.batch_decode(ids, skip_special_tokens=True)
        ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
        return [
            Completion(text, row, row[-1] not in ends, None if logprobs is None else logprobs[i])
            for i, (text, row) in enumerate(zip(texts, ids, strict=True))
        ]

    def _score(self, rows: Sequence[tuple[Messages, list[int]]]) -> list[list[float]]:
        trainer = self._trainer
        prompt_ids, _, _ = trainer._tokenize_prompts([prompt for prompt, _ in rows])
        device = trainer.accelerator.device
        padding = trainer._tokenizer.pad_token_id
        prompts = [torch.tensor(ids) for ids in prompt_ids]
        completions = [torch.tensor(ids) for _, ids in rows]

        def joined(left: list[torch.Tensor], right: list[torch.Tensor], fill: int) -> torch.Tensor:
            halves = (
                pad(left, padding_value=fill, padding_side="left"),
                pad(right, padding_value=fill, padding_side="right"),
            )
            return torch.cat(halves, dim=1).to(device)

        ones = [[torch.ones_like(ids) for ids in half] for half in (prompts, completions)]
        with torch.no_grad():
            logps, _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model,
                joined(prompts, completions, padding),
                joined(*ones, 0),
                max(len(ids) for ids in completions),
                batch_size=trainer.args.per_device_train_batch_size,
            )
        return [row[: len(ids)].tolist() for row, ids in zip(logps, completions, strict=True)]

    def _over_processes(self, items: Sequence[T], work: Any) -> list[R]:
        """Apply `work` to this process's slice of `items` and gather all slices in order.

        Slices are padded to equal length, because a backend may run collectives for each call, and
        cut into pieces no larger than the batch that TRL itself would generate.
        """
        accelerator = self._trainer.accelerator
        world = accelerator.num_processes
        share = -(-len(items) // world)
        padded = [*items, *[items[-1]] * (share * world - len(items))]
        mine = padded[accelerator.process_index * share :][:share]
        most = max(1, self._trainer.args.generation_batch_size // world)
        results = [row for i in range(0, share, most) for row in work(mine[i : i + most])]
        return (gather_object(results) if world > 1 else results)[: len(items)]


@contextmanager
def swapped_sampling(trainer: "SeRLTrainer", sampling: Sampling | None) -> Generator[None]:
    """Make `sampling` hold for every backend of `trainer` inside the block; `None` changes nothing.

    TRL reads the values from three places: `generation_config`, `generation_kwargs` (which
    overrides the model's own config) and, with vLLM, the attributes of `vllm_generation`.
    """
    if sampling is None:
        yield
        return
    engine = getattr(trainer, "vllm_generation", None)
    if engine is not None:
        values: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_completion_length": sampling.max_tokens,
            "generation_kwargs": {
                **(engine.generation_kwargs or {}),
                "presence_penalty": sampling.presence_penalty,
            },
        }
        holders = [(engine, values)]
    else:
        greedy = sampling.temperature == 0
        changes: dict[str, Any] = {"do_sample": not greedy, "max_new_tokens": sampling.max_tokens}
        if greedy:
            # The defaults: transformers warns about any other value that greedy search ignores.
            changes |= {"temperature": 1.0, "top_p": 1.0, "top_k": 50, "min_p": None}
        else:
            changes |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        config = copy.deepcopy(trainer.generation_config)
        config.update(**changes)
        holder = {
            "generation_config": config,
            "generation_kwargs": {**trainer.generation_kwargs, **changes},
        }
        holders = [(trainer, holder)]
    saved = [(owner, name, getattr(owner, name)) for owner, new in holders for name in new]
    try:
        for owner, new in holders:
            for name, value in new.items():
                setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)
