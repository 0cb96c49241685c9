"""The trained model as proposer and solver, over all processes and whatever backend generates."""

import copy
import functools
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list, gather_object, is_peft_model
from transformers import GenerationConfig
from trl.trainer.utils import pad

from serl_trl.labels.groups import Completion, Group
from serl_trl.propose.prompts import Messages, rollout_messages
from serl_trl.train.host import Host, inside

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

CPU_PIECE = 64
"""Most rows of one call to `generate` on a CPU. More gain nothing there, and every row of a call
waits for its longest: 64 rows alike in length took 18 % less time than 256 in any order."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy.

    `presence_penalty` and `stop` (texts that end a completion) reach vLLM only.
    """

    temperature: float
    top_p: float
    max_tokens: int
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()


class TrainerPolicy:
    """Generates and scores with the present weights of a `SeRLTrainer`.

    Work is split over the processes in contiguous slices and gathered, so that every process
    returns the same whole result in the order of what it was given.
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
        self._warned_of_length = False

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
        """Complete each conversation once.

        One that leaves no room for a completion of the longest kind is never shown to a backend:
        it gets an empty, truncated completion, which has no vote. An engine would end the run at
        it, and transformers would go on beyond the positions that the model knows.
        """
        if not prompts:
            return []
        trainer = self._trainer
        prompt_ids, _, _ = inside(trainer)._tokenize_prompts(list(prompts))
        room = sampling.max_tokens if sampling else trainer.args.max_completion_length
        fits = [self._context is None or len(ids) + room <= self._context for ids in prompt_ids]
        if not (all(fits) or self._warned_of_length) and trainer.is_world_process_zero():
            self._warned_of_length = True
            logger.warning(
                "%d of %d prompts leave no room for %d tokens in the model's context of %s; they "
                "are not completed, now and later in this run.",
                fits.count(False),
                len(fits),
                room,
                self._context,
            )
        shown = [ids for ids, fit in zip(prompt_ids, fits, strict=True) if fit]
        if not shown:
            return [self._nothing() for _ in prompts]
        with swapped_sampling(trainer, sampling), kept_precision(trainer):
            work = self._generating(room, stops=bool(sampling and sampling.stop))
            completions = iter(self._over_processes(shown, work, len, self._most_at_once()))
        return [next(completions) if fit else self._nothing() for fit in fits]

    def log_probs(self, groups: Sequence[Group]) -> list[list[list[float]]]:
        """Score the tokens of every completion of `groups` under the present weights."""
        rows = [
            (rollout_messages(group.instruction, self._trainer.args.style), completion.token_ids)
            for group in groups
            for completion in group.completions
        ]
        scores = self._over_processes(rows, self._score, _num_tokens, self._own_batch())
        sizes = [len(group.completions) for group in groups]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return [scores[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def count_request_tokens(self, messages: Messages) -> int:
        """Count the tokens of a request in the chat template."""
        prompt_ids, _, _ = inside(self._trainer)._tokenize_prompts([messages])
        return len(prompt_ids[0])

    def decide(self, work: Callable[[], T]) -> T:
        """Do `work` in the main process and return its result in all."""
        accelerator = self._trainer.accelerator
        result = [work() if accelerator.is_main_process else None]
        return broadcast_object_list(result)[0]

    def _nothing(self) -> Completion:
        # With a token, because TRL's bookkeeping fails on none.
        end = inside(self._trainer).eos_token_ids[0]
        return Completion("", [end], True, [0.0] if self._trainer.use_vllm else None)

    def _generating(
        self, most_tokens: int, *, stops: bool
    ) -> Callable[[Sequence[list[int]]], list[Completion]]:
        """Return `_generate`, for which a text that ended early at a stop is not truncated."""

        def generate(prompt_ids: Sequence[list[int]]) -> list[Completion]:
            done = self._generate(prompt_ids)
            if not stops:
                return done
            return [
                c if len(c.token_ids) >= most_tokens else replace(c, truncated=False) for c in done
            ]

        return generate

    def _generate(self, prompt_ids: Sequence[list[int]]) -> list[Completion]:
        trainer = self._trainer
        ids, logprobs = inside(trainer)._generate_single_turn(list(prompt_ids), None, {}, 1)
        if len(ids) != len(prompt_ids):
            raise RuntimeError(
                f"the backend completed {len(ids)} of {len(prompt_ids)} prompts; its own error "
                "stands above."
            )
        # An engine may return nothing at all, on which TRL's bookkeeping would fail.
        ids = [row or [inside(trainer).eos_token_ids[0]] for row in ids]
        texts = inside(trainer)._tokenizer.batch_decode(ids, skip_special_tokens=True)
        ends = {*inside(trainer).eos_token_ids, inside(trainer)._tokenizer.pad_token_id}
        return [
            Completion(text, row, row[-1] not in ends, None if logprobs is None else logprobs[i])
            for i, (text, row) in enumerate(zip(texts, ids, strict=True))
        ]

    def _score(self, rows: Sequence[tuple[Messages, list[int]]]) -> list[list[float]]:
        trainer = self._trainer
        prompt_ids, _, _ = inside(trainer)._tokenize_prompts([prompt for prompt, _ in rows])
        device = trainer.accelerator.device
        padding = inside(trainer)._tokenizer.pad_token_id
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
            logps, _, _ = inside(trainer)._get_per_token_logps_and_entropies(
                trainer.model,
                joined(prompts, completions, padding),
                joined(*ones, 0),
                max(len(ids) for ids in completions),
                batch_size=trainer.args.per_device_train_batch_size,
            )
        return [row[: len(ids)].tolist() for row, ids in zip(logps, completions, strict=True)]

    def _own_batch(self) -> int:
        """Return how many rows of a generation batch this process would generate under TRL."""
        args = self._trainer.args
        return max(1, args.generation_batch_size // self._trainer.accelerator.num_processes)

    def _most_at_once(self) -> int | None:
        """Return the most rows of one call to the backend; `None`: it has a queue of its own."""
        trainer = self._trainer
        if trainer.use_vllm or inside(trainer).use_transformers_continuous_batching:
            return None
        most = self._own_batch()
        return min(most, CPU_PIECE) if trainer.accelerator.device.type == "cpu" else most

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
        share = -(-len(items) // world)
        padded = [*items, *[items[-1]] * (share * world - len(items))]
        mine = padded[accelerator.process_index * share :][:share]
        results: dict[int, R] = {}
        for piece in pieces([length(item) for item in mine], most or share):
            results |= zip(piece, work([mine[i] for i in piece]), strict=True)
        local = [results[i] for i in range(share)]
        return (gather_object(local) if world > 1 else local)[: len(items)]


def pieces(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Cut the row numbers of `lengths` into pieces of at most `most` rows that are alike in length.

    What fits one piece keeps its order, so that a batch is generated as TRL generates it.
    """
    order = list(range(len(lengths)))
    if len(order) > most:
        order.sort(key=lengths.__getitem__)
    return [order[i : i + most] for i in range(0, len(order), most)]


def _num_tokens(row: tuple[Messages, list[int]]) -> int:
    return len(row[1])


@contextmanager
def swapped_sampling(trainer: Host, sampling: Sampling | None) -> Generator[None]:
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
            # They win over the attributes in TRL, so those of the rollouts must not stay in them.
            "generation_kwargs": {
                **(engine.generation_kwargs or {}),
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_tokens,
                "presence_penalty": sampling.presence_penalty,
                "stop": list(sampling.stop),
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
        config = copy.deepcopy(inside(trainer).generation_config)
        config.update(**changes)
        holder = {
            "generation_config": config,
            "generation_kwargs": {**inside(trainer).generation_kwargs, **changes},
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


@contextmanager
def kept_precision(trainer: Host) -> Generator[None]:
    """Let continuous batching compute in the precision of the trained weights inside the block.

    TRL casts them in place to the type of `bf16` or `fp16` and never back, so that the float32
    weights that the optimizer updates would be lost at the first rollout. With the weights left
    alone, Accelerate's autocast must not stay on `forward` either: its half-precision keys and
    values would not fit the paged cache, which has the type of the weights.

    Inside the block a request that fails raises `RuntimeError` with the backend's own error;
    transformers returns it as a completion without tokens.
    """
    if not inside(trainer).use_transformers_continuous_batching:
        yield
        return
    args: Any = trainer.args
    model = trainer.accelerator.unwrap_model(inside(trainer).model_wrapped)
    changes: list[tuple[Any, str, Any]] = [(args, "bf16", False), (args, "fp16", False)]
    changes += [(model, "generate_batch", _checked(model.generate_batch))]
    # It would fetch other kernels than those that score, and they refuse float32.
    if "auto_switch_to_flash" not in (args.transformers_continuous_batching_config or {}):
        changes += [(inside(trainer).continuous_batching_config, "auto_switch_to_flash", False)]
    if "_original_forward" in vars(model):
        changes += [(model, "forward", model._original_forward)]
    saved = [(owner, name, vars(owner).get(name, _ABSENT)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in saved:
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


_ABSENT = object()


def _checked(generate_batch: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return `generate_batch` that raises where a request failed or has no token."""

    @functools.wraps(generate_batch)
    def checked(*args: Any, **kwargs: Any) -> dict[str, Any]:
        outputs = generate_batch(*args, **kwargs)
        failed = [
            output for output in outputs.values() if output.error or not output.generated_tokens
        ]
        if failed:
            raise RuntimeError(
                f"continuous batching failed on {len(failed)} of {len(outputs)} requests: "
                f"{failed[0].error or 'it returned no token and no error'}"
            )
        return outputs

    return checked


@contextmanager
def own_sampling(trainer: Host) -> Generator[None]:
    """Keep the model's `generation_config.json` from changing how `trainer` generates in the block.

    transformers fills in from it whatever TRL does not set: three completions per prompt, a ban on
    repeated words. It is saved with the model as it was.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if is_peft_model(model) else model
    saved = model.generation_config
    model.generation_config = GenerationConfig(
        **{name: getattr(saved, name, None) for name in _KEPT_IN_GENERATION}
    )
    try:
        yield
    finally:
        model.generation_config = saved


_KEPT_IN_GENERATION = ("bos_token_id", "eos_token_id", "pad_token_id", "cache_implementation")


def note_foreign_sampling(trainer: Host) -> None:
    """Say what of the model's `generation_config.json` this run does not use.

    Where transformers would refuse to save it, it is mended.
    """
    config = trainer.model.generation_config
    # Those that TRL sets, and those without effect beside them.
    known = {*getattr(trainer, "generation_kwargs", {}), *_KEPT_IN_GENERATION, *_WITHOUT_EFFECT}
    foreign = {name: value for name, value in config.to_diff_dict().items() if name not in known}
    if foreign and not trainer.use_vllm:
        named = ", ".join(f"{name}={value}" for name, value in foreign.items())
        logger.warning("generation_config.json sets %s; this run generates without.", named)
    try:
        config.validate(strict=True)
    except ValueError:
        config.do_sample = True
        logger.warning(
            "generation_config.json contradicts itself (sampling values without do_sample); it "
            "is saved with do_sample=True."
        )


_WITHOUT_EFFECT = ("max_length", "transformers_version", "_from_model_config", "do_sample")


def context_tokens(trainer: Host) -> int | None:
    """Return the longest sequence of prompt and completion, or `None` when nobody says."""
    limits = [getattr(trainer.model.config.get_text_config(), "max_position_embeddings", None)]
    if trainer.use_vllm:
        limits.append(trainer.args.vllm_max_model_length)
    return min((limit for limit in limits if limit), default=None)
