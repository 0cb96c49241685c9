"""The trained model as proposer and solver, over all processes and whatever backend generates."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list, gather_object
from trl.trainer.utils import pad

from serl_trl.common.completion import Completion, Messages, Sampling
from serl_trl.labels.base import Rollouts
from serl_trl.propose.prompts import rollout_messages
from serl_trl.train.host import Host, inside, own_rows
from serl_trl.train.sampling import kept_precision, swapped_sampling

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# Most rows of one call to `generate` on a CPU. More gain nothing there, and every row of a call
# waits for its longest: 64 rows alike in length took 18 % less time than 256 in any order.
CPU_PIECE = 64


class TrainerPolicy:
    """Generates and scores with the present weights of a `SeRLTrainer`.

    Work is split over the processes in contiguous slices and gathered, so that every process
    returns the same whole result in the order of what it was given: a vote never sees half a group.
    """

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer
        args = trainer.args
        self._proposer = Sampling(
            temperature=args.proposer_temperature,
            top_p=args.proposer_top_p,
            max_tokens=args.proposer_max_tokens,
            presence_penalty=args.proposer_presence_penalty,
            stop=tuple(args.proposer_stop or ()),
        )
        self._context = context_tokens(trainer)
        # The same prompts may come again at each step, and are told of once.
        self._warned_of_length = False

    def propose(
        self, requests: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Answer each request once; `None` takes the proposer's sampling values."""
        return self.complete(requests, sampling or self._proposer)

    def roll_out(self, prompts: Sequence[Messages]) -> list[list[Completion]]:
        """Complete each prompt `num_generations` times, with TRL's own sampling values."""
        return _in_groups(self, prompts, self._trainer.args.num_generations)

    def sample(
        self, instructions: Sequence[str], num_samples: int, sampling: Sampling | None = None
    ) -> list[list[Completion]]:
        """Complete each instruction `num_samples` times; `None` keeps TRL's sampling values."""
        style = self._trainer.args.style
        prompts = [rollout_messages(instruction, style) for instruction in instructions]
        return _in_groups(self, prompts, num_samples, sampling)

    def complete(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each conversation once; `None` keeps TRL's sampling values.

        A prompt that leaves no room for the longest completion is not shown to the backend: it gets
        an empty, truncated completion, which has no vote. An engine would end the run at it, and
        transformers would continue beyond the positions that the model knows.
        """
        if not prompts:
            return []
        trainer = self._trainer
        prompt_ids, _, _ = inside(trainer)._tokenize_prompts(list(prompts))
        with swapped_sampling(trainer, sampling), kept_precision(trainer):
            return self.complete_ids(prompt_ids, sampling, self._generate, self._context)

    def ask_teacher(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each conversation once with the teacher of the labeller."""
        return inside(self._trainer).teacher.complete(prompts, sampling) if prompts else []

    def complete_ids(
        self,
        prompt_ids: Sequence[list[int]],
        sampling: Sampling | None,
        generate: Callable[[Sequence[list[int]]], list[Completion]],
        context: int | None,
    ) -> list[Completion]:
        """Have `generate` complete what fits into `context` tokens, over all processes."""
        trainer = self._trainer
        room = sampling.max_tokens if sampling else trainer.args.max_completion_length
        fits = [context is None or len(ids) + room <= context for ids in prompt_ids]
        self._warn_of_length(fits, room, context)
        shown = [ids for ids, fit in zip(prompt_ids, fits, strict=True) if fit]
        if not shown:
            return [_nothing(trainer) for _ in prompt_ids]
        found = self._over_processes(shown, generate, len, _most_at_once(trainer))
        if sampling and sampling.stop:
            # A text that ended early ended by itself, at a stop.
            found = [replace(c, truncated=c.truncated and len(c.token_ids) >= room) for c in found]
        completions = iter(found)
        return [next(completions) if fit else _nothing(trainer) for fit in fits]

    def log_probs(self, groups: Sequence[Rollouts]) -> list[list[list[float]]]:
        """Score the tokens of every completion of `groups` under the present weights."""
        return _of_tokens(self, groups, self._score)

    def entropies(self, groups: Sequence[Rollouts]) -> list[list[float]]:
        """Return the mean token entropy of every completion under the present weights, in nats."""
        # The forward pass that scores has them; they are of the whole vocabulary.
        found = _of_tokens(self, groups, partial(self._score, entropies=True))
        return [[fmean(values) for values in group] for group in found]

    def count_request_tokens(self, messages: Messages) -> int:
        """Count the tokens of a request in the chat template."""
        prompt_ids, _, _ = inside(self._trainer)._tokenize_prompts([messages])
        return len(prompt_ids[0])

    def decide(self, work: Callable[[], T]) -> T:
        """Do `work` in the main process and return its result in all."""
        result = [work() if self._trainer.accelerator.is_main_process else None]
        return broadcast_object_list(result)[0]

    def _warn_of_length(self, fits: list[bool], room: int, context: int | None) -> None:
        if all(fits) or self._warned_of_length or not self._trainer.is_world_process_zero():
            return
        self._warned_of_length = True
        logger.warning(
            "%d of %d prompts leave no room for %d tokens in the model's context of %s; they are "
            "not completed, now and later in this run.",
            fits.count(False),
            len(fits),
            room,
            context,
        )

    def _generate(self, prompt_ids: Sequence[list[int]]) -> list[Completion]:
        trainer = self._trainer
        # One completion a prompt: a prompt stands in the list once for each of its completions.
        ids, logprobs = inside(trainer)._generate_single_turn(list(prompt_ids), None, {}, 1)
        if len(ids) != len(prompt_ids):
            raise RuntimeError(
                f"the backend completed {len(ids)} of {len(prompt_ids)} prompts; its own error "
                "stands above."
            )
        # An engine may return nothing at all, on which TRL's bookkeeping would fail.
        ids = [row or [inside(trainer).eos_token_ids[0]] for row in ids]
        tokenizer = inside(trainer)._tokenizer
        ends = {*inside(trainer).eos_token_ids, tokenizer.pad_token_id}
        return as_completions(ids, tokenizer, ends, logprobs)

    def _score(
        self, rows: Sequence[tuple[Messages, list[int]]], *, entropies: bool = False
    ) -> list[list[float]]:
        trainer = self._trainer
        prompt_ids, _, _ = inside(trainer)._tokenize_prompts([prompt for prompt, _ in rows])
        # On the CPU: only the padded whole is copied to the device.
        prompts = [torch.tensor(ids) for ids in prompt_ids]
        completions = [torch.tensor(ids) for _, ids in rows]

        def joined(left: list[torch.Tensor], right: list[torch.Tensor], fill: int) -> torch.Tensor:
            # The sides that TRL pads, which puts the end of each prompt beside its completion.
            halves = (
                pad(left, padding_value=fill, padding_side="left"),
                pad(right, padding_value=fill, padding_side="right"),
            )
            return torch.cat(halves, dim=1).to(trainer.accelerator.device)

        ones = [[torch.ones_like(ids) for ids in half] for half in (prompts, completions)]
        with torch.no_grad():
            logps, spread, _ = inside(trainer)._get_per_token_logps_and_entropies(
                trainer.model,
                joined(prompts, completions, inside(trainer)._tokenizer.pad_token_id),
                joined(*ones, 0),
                max(len(ids) for ids in completions),
                batch_size=trainer.args.per_device_train_batch_size,
                compute_entropy=entropies,
            )
        values = spread if entropies else logps
        return [row[: len(ids)].tolist() for row, ids in zip(values, completions, strict=True)]

    def _over_processes(
        self,
        items: Sequence[T],
        work: Callable[[Sequence[T]], list[R]],
        length: Callable[[T], int],
        most: int | None,
    ) -> list[R]:
        """Apply `work` to this process's slice of `items` and gather all slices in order.

        Slices are padded to equal length, because a backend may run collectives for each call, and
        handed to `work` in pieces of at most `most` items.
        """
        self._trainer.stopping.heed()
        accelerator = self._trainer.accelerator
        world = accelerator.num_processes
        # Rounded up.
        share = -(-len(items) // world)
        padded = [*items, *[items[-1]] * (share * world - len(items))]
        mine = padded[own_rows(self._trainer, share)]
        results: dict[int, R] = {}
        for piece in pieces([length(item) for item in mine], most or share):
            results |= zip(piece, work([mine[i] for i in piece]), strict=True)
        local = [results[i] for i in range(share)]
        return (gather_object(local) if world > 1 else local)[: len(items)]


def _nothing(trainer: Host) -> Completion:
    # With a token, because TRL's bookkeeping fails on none.
    end = inside(trainer).eos_token_ids[0]
    return Completion("", [end], True, [0.0] if trainer.use_vllm else None)


def _most_at_once(trainer: Host) -> int | None:
    """Return the most rows of one call to the backend; `None`: it has a queue of its own."""
    if trainer.use_vllm or inside(trainer).use_transformers_continuous_batching:
        return None
    most = _own_batch(trainer)
    return min(most, CPU_PIECE) if trainer.accelerator.device.type == "cpu" else most


def as_completions(
    rows: Sequence[list[int]],
    tokenizer: Any,
    ends: Collection[int],
    logprobs: Sequence[list[float]] | None = None,
) -> list[Completion]:
    """Return sampled tokens as completions; what does not end in one of `ends` was cut off.

    TRL tells it so, too: transformers fills a row that ended early with padding.
    """
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [
        Completion(text, row, row[-1] not in ends, None if logprobs is None else logprobs[i])
        for i, (text, row) in enumerate(zip(texts, rows, strict=True))
    ]


def _own_batch(trainer: Host) -> int:
    """Return how many rows of a generation batch this process would generate under TRL."""
    return max(1, trainer.args.generation_batch_size // trainer.accelerator.num_processes)


def _of_tokens(
    policy: TrainerPolicy, groups: Sequence[Rollouts], work: Callable[[Any], list[list[float]]]
) -> list[list[list[float]]]:
    """Apply `work` to prompt and tokens of every completion, over all processes."""
    rows = [
        (prompt, each.token_ids)
        for group in groups
        for prompt, each in zip(group.prompts, group.completions, strict=True)
    ]
    most = _own_batch(policy._trainer)
    found = iter(policy._over_processes(rows, work, lambda row: len(row[1]), most))
    return [[next(found) for _ in group.completions] for group in groups]


def _in_groups(
    policy: TrainerPolicy, prompts: Sequence[Messages], num: int, sampling: Sampling | None = None
) -> list[list[Completion]]:
    flat = policy.complete([prompt for prompt in prompts for _ in range(num)], sampling)
    return [flat[i : i + num] for i in range(0, len(flat), num)]


def pieces(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Cut the row numbers of `lengths` into pieces of at most `most` rows that are alike in length.

    What fits one piece keeps its order, so that a batch is generated as TRL generates it.
    """
    order = list(range(len(lengths)))
    # Alike in length, because every row of a piece waits for its longest.
    if len(order) > most:
        order.sort(key=lengths.__getitem__)
    return [order[i : i + most] for i in range(0, len(order), most)]


def context_tokens(trainer: Host) -> int | None:
    """Return the longest sequence of prompt and completion, or `None` when it is unknown."""
    limits = [getattr(trainer.model.config.get_text_config(), "max_position_embeddings", None)]
    if trainer.use_vllm:
        limits.append(trainer.args.vllm_max_model_length)
    return min((limit for limit in limits if limit), default=None)
