"""Teachers: who answers for a labeller beside the trained model, and what a run keeps of them.

An average and the first weights are tensors that stand in for those of the trained model while it
generates, so every backend of transformers takes them. A named model has a tokenizer of its own and
is loaded when it is first asked.
"""

import copy
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, TrainerCallback
from trl.trainer.utils import use_adapter

from serl_trl.common.completion import REFERENCE, Completion, Messages, Sampling
from serl_trl.labels.base import AVERAGE, Teacher
from serl_trl.sandbox import MODEL_PATHS
from serl_trl.train import lora
from serl_trl.train.beside import teacher_problems
from serl_trl.train.host import Host, inside
from serl_trl.train.model_files import refuse_bad_teacher
from serl_trl.train.policy import as_completions
from serl_trl.train.sampling import swapped_sampling
from serl_trl.train.state import refusing_other_fields
from serl_trl.train.swaps import swapped

TEACHER_FILE = "serl_teacher.pt"


class NoTeacher(TrainerCallback):
    """What a run has whose labeller asks nobody; the teachers below extend it."""

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer

    def complete(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each conversation once, as `TrainerPolicy.complete` does."""
        raise AssertionError("a labeller without a teacher asks the policy")

    def save(self, folder: Path) -> None:
        """Write what only this run knows of the teacher into a checkpoint."""

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint that `save` wrote to, after its weights were loaded."""


class Average(NoTeacher):
    """The moving average of what is trained: all weights, or those of the adapter.

    It begins with the weights of the run's start and is held in float32: in bfloat16 a step of one
    in ten thousand is rounded away. Every process has the same one, as it has the same weights.
    """

    def __init__(self, trainer: Host, teacher: Teacher) -> None:
        super().__init__(trainer)
        self._teacher = teacher
        self._weights: dict[str, torch.Tensor] = {}
        self._begin()

    def _begin(self) -> None:
        trained = _trained(self._trainer.model)
        self._weights = {name: each.float().clone() for name, each in trained.items()}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move towards the weights of this step."""
        share = 1 - self._teacher.keep(state.global_step / state.max_steps)
        for name, each in _trained(self._trainer.model).items():
            self._weights[name].lerp_(each.float(), share)

    def complete(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each conversation once with the average in place of the weights."""
        with standing_in(self._trainer.model, self._weights):
            return self._trainer.policy.complete(prompts, sampling)

    def save(self, folder: Path) -> None:
        """Write the average."""
        if self._trainer.is_world_process_zero():
            torch.save(self._weights, folder / TEACHER_FILE)

    def load(self, folder: Path) -> None:
        """Read the average; a run that now has one for the first time begins it here."""
        file = folder / TEACHER_FILE
        if not file.is_file():
            return self._begin()
        saved = torch.load(file, map_location="cpu", weights_only=True)
        with refusing_other_fields(folder, TEACHER_FILE):
            for name, each in self._weights.items():
                each.copy_(saved[name])


class First(NoTeacher):
    """The KL reference where there is one, else the weights that the run began with."""

    def __init__(self, trainer: Host) -> None:
        super().__init__(trainer)
        self._adapted = is_peft_model(trainer.model)
        held = self._adapted or trainer.ref_model is not None
        # Now: a resumed run loads the weights of its checkpoint later. Not on the GPU, where they
        # would take up room while they are not asked.
        trained = {} if held else _trained(trainer.model)
        self._weights = {name: each.to("cpu", copy=True) for name, each in trained.items()}

    def complete(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each conversation once; with an adapter by what TRL's KL term compares with."""
        trainer = self._trainer
        if self._adapted:
            own = lora.REFERENCE in trainer.model.peft_config
            weights = use_adapter(trainer.model, lora.REFERENCE if own else None)
        elif trainer.ref_model is not None:
            # Not kept: with `sync_ref_model` and `reset_reference` it moves.
            reference = trainer.accelerator.unwrap_model(trainer.ref_model)
            weights = standing_in(trainer.model, dict(reference.named_parameters()))
        else:
            weights = standing_in(trainer.model, self._weights)
        with weights:
            return trainer.policy.complete(prompts, sampling)


class Named(NoTeacher):
    """Another model, whose own tokenizer and template read the prompts; it is never trained."""

    def __init__(self, trainer: Host, name: str) -> None:
        super().__init__(trainer)
        self._name = MODEL_PATHS.get(name, name)

    @cached_property
    def _tokenizer(self) -> Any:
        sides = {"padding_side": "left", "truncation_side": "left"}
        tokenizer: Any = AutoTokenizer.from_pretrained(self._name, trust_remote_code=False, **sides)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        # A base model has none; it is then asked by the run's own, as the trained one is.
        own = inside(self._trainer)._tokenizer.chat_template
        tokenizer.chat_template = tokenizer.chat_template or own
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        # All that autocast would compute in: nothing is updated.
        dtype = torch.bfloat16 if self._trainer.args.bf16 else torch.float32
        model = AutoModelForCausalLM.from_pretrained(
            self._name, dtype=dtype, trust_remote_code=False
        )
        ends = model.generation_config.eos_token_id or self._tokenizer.eos_token_id
        # Its file would fill in what the run's sampling leaves out.
        model.generation_config = GenerationConfig(
            eos_token_id=ends, pad_token_id=self._tokenizer.pad_token_id
        )
        return model.to(self._trainer.accelerator.device).eval()

    def complete(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each conversation once; the tokens are those of the model's own tokenizer."""
        ids = self._tokenizer.apply_chat_template(
            list(prompts), add_generation_prompt=True, return_dict=True
        )["input_ids"]
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        with swapped_sampling(self._trainer, sampling):
            return self._trainer.policy.complete_ids(ids, sampling, self._generate, context)

    @torch.no_grad()
    def _generate(self, ids: Sequence[list[int]]) -> list[Completion]:
        model, tokenizer = self._model, self._tokenizer
        shown = tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt").to(model.device)
        config = copy.deepcopy(inside(self._trainer).generation_config)
        own = model.generation_config
        config.update(eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)
        found = model.generate(**shown, generation_config=config)
        rows = found[:, shown["input_ids"].shape[1] :].tolist()
        ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
        return as_completions(rows, tokenizer, {*ends, own.pad_token_id})


def check_teacher(teacher: Teacher | None, args: Any) -> None:
    """Raise `ValueError` where a run cannot hold its teacher, before it loads."""
    if problems := list(teacher_problems(teacher, vars(args))):
        raise ValueError("\n".join(map(str, problems)))
    if teacher and teacher.named:
        refuse_bad_teacher(teacher.model)


def make_teacher(trainer: Host, teacher: Teacher | None) -> NoTeacher:
    """Return what answers as a teacher, which follows the run from now on."""
    if teacher is None:
        return NoTeacher(trainer)
    if teacher.model == AVERAGE:
        average = Average(trainer, teacher)
        inside(trainer).add_callback(average)
        return average
    return First(trainer) if teacher.model == REFERENCE else Named(trainer, teacher.model)


@contextmanager
def standing_in(model: Any, weights: Mapping[str, torch.Tensor]) -> Generator[None]:
    """Let the parameters of `model` that `weights` names hold those values inside the block.

    No number is copied where the types agree, and what the optimizer holds stays the same object.
    """
    with ExitStack() as stack:
        for name, parameter in model.named_parameters():
            if name in weights:
                data = weights[name].detach().to(parameter.device, parameter.dtype)
                stack.enter_context(swapped("parameter", parameter, data=data))
        yield


def _trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
