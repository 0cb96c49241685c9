"""Every number of a run: `SeRLConfig`, TRL's `GRPOConfig` with the self-play options beside it."""

import math
import os
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import PartialState
from trl import GRPOConfig

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.quiet import own_lines_only
from serl_trl.common.secrets import redacted
from serl_trl.labels.chance import Ends, ends_of
from serl_trl.propose.languages import is_english, localised
from serl_trl.propose.prompts import PromptStyle
from serl_trl.train.config_checks import find_problems
from serl_trl.train.options import PRESETS, SelfPlayOptions


# TRL allows None for two of the numbers, which no run of ours can mean.
@dataclass(repr=False)
class SeRLConfig(SelfPlayOptions, GRPOConfig):  # ty: ignore[incompatible-mutable-override]
    """TRL's `GRPOConfig` plus the options of self-play; each field's help says unit, range, source.

    TRL's fields with another default are listed first. `max_steps` counts the whole run. Without
    it, the run has `num_selfplay_iterations` iterations of `instructions_per_iteration`.

    Raises `ValueError`, which names all bad values.
    """

    @own_lines_only()
    def __post_init__(self) -> None:
        # Before the checks of TRL and transformers, which raise at the first bad value.
        problems = find_problems({f.name: getattr(self, f.name, None) for f in fields(self)})
        if problems:
            raise ValueError(redacted("\n".join(map(str, problems))))
        if self.use_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # On the CPU transformers sets up the processes without ddp_timeout, and a hung one
            # would be waited for half an hour.
            timeout = timedelta(seconds=self.ddp_timeout)
            PartialState(cpu=True, backend=self.ddp_backend, timeout=timeout)
        if self.report_to is None:
            self.report_to = "none"  # transformers would look for a tracker called None
        super().__post_init__()
        ends = ends_of(vars(self))
        # A resumed run keeps the ends that it had where its user gave none; see `resume.py`.
        self.band_is_derived = ends.derived
        self.difficulty_low, self.difficulty_high = ends.low, ends.high
        for name, text in localised(vars(self), self.language).items():
            setattr(self, name, text)
        if self.probe_samples is None:
            self.probe_samples = self.num_generations
        if self.max_steps <= 0:
            self.max_steps = self.steps_per_iteration * self.num_selfplay_iterations
        if self.use_selfplay:
            # Its iterator has no past to skip through: its state is in the checkpoint.
            self.ignore_data_skip = True

    def __getstate__(self) -> dict[str, Any]:
        # Checkpoints hold the pickled config, and `set_push_to_hub` takes a token.
        return {**self.__dict__, "hub_token": None}

    def __repr__(self) -> str:
        # A notebook shows repr, and the dataclass would regenerate one that prints the token.
        return str(self)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "SeRLConfig":
        """Build the config of preset `name`; `overrides` win over the preset.

        Raises `ValueError` for a name that is not in `PRESETS`.
        """
        if name not in PRESETS:
            raise ValueError(f"preset={name} is unknown; choose one of {', '.join(PRESETS)}.")
        return cls(**{**PRESETS[name], **overrides})

    @property
    def private_folder(self) -> Path:
        """The part of the run's folder that `push_to_hub` skips."""
        assert self.output_dir is not None, "TRL sets a default"
        return Path(self.output_dir) / PRIVATE_FOLDER

    @property
    def band(self) -> Ends:
        """The ends of the difficulty band."""
        low, high = self.difficulty_low, self.difficulty_high
        assert low is not None and high is not None, "set when the config was made"
        return Ends(low, high)

    @property
    def prompts_per_batch(self) -> int:
        """Prompts (groups) in one generation batch, over all processes."""
        assert self.generation_batch_size is not None, "TRL derives it"
        return self.generation_batch_size // self.num_generations

    @property
    def batches_per_generation(self) -> int:
        """Micro-batches for which one generation batch is handed out again."""
        assert self.steps_per_generation is not None, "TRL derives it"
        return self.steps_per_generation * self.num_iterations

    @property
    def steps_per_iteration(self) -> int:
        """Optimizer steps of one iteration, at least 1; never more than `max_steps`."""
        batches = math.ceil(self.instructions_per_iteration / self.prompts_per_batch)
        steps = max(1, batches * self.batches_per_generation // self.gradient_accumulation_steps)
        # A run that is shorter than an iteration is one iteration.
        return min(steps, self.max_steps) if self.max_steps > 0 else steps

    @property
    def not_applied(self) -> dict[str, str]:
        """What is set and has no effect, as name=value or as a name, each with the reason."""
        names = ("proposer_presence_penalty", "proposer_stop")
        given = {} if self.use_vllm else {name: getattr(self, name) for name in names}
        shown = {name: f"{v:g}" if isinstance(v, float) else v for name, v in given.items() if v}
        found = {f"{name}={text}": "only vLLM knows it" for name, text in shown.items()}
        if self.use_transformers_continuous_batching and self.repetition_penalty != 1.0:
            name = f"repetition_penalty={self.repetition_penalty:g}"
            found[name] = "continuous batching drops it"
        unused = self.answer_instruction if self.task_template else ""
        if unused not in ("", PromptStyle.answer_instruction):
            found["answer_instruction"] = "task_template is the whole message"
        return found

    @property
    def filters_aside(self) -> dict[str, str]:
        """The filters of `proposal_filters` that step aside, each with the reason."""
        if is_english(self.language) and not self.task_template:
            return {}
        # Imported late: what they look for takes a third of a second to compile.
        from serl_trl.filters.registry import filters_aside

        of_texts = bool(self.task_template)
        return filters_aside(self.proposal_filters, language=self.language, of_texts=of_texts)

    @property
    def style(self) -> PromptStyle:
        """The prompt texts of this run."""
        return PromptStyle(**{f.name: getattr(self, f.name) for f in fields(PromptStyle)})
