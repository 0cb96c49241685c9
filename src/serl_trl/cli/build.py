"""From checked options and inputs to a trainer, and what a run's folder says of its end."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serl_trl.cli.inputs import Inputs, load_inputs
from serl_trl.cli.model import find_source, init_kwargs, model_path
from serl_trl.cli.parser import Arguments, SeRLParser
from serl_trl.cli.run_problems import LATEST
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder
from serl_trl.common.quiet import own_lines_only
from serl_trl.common.text import one_line
from serl_trl.runs.output_folder import may_be_renamed
from serl_trl.train.checkpoint import NEWEST_OR_NONE, CheckpointError, hold, is_finished
from serl_trl.train.model_files import ModelFileError, refuse_bad_model

if TYPE_CHECKING:
    from peft import PeftConfig

    from serl_trl.train.trainer import SeRLTrainer


@own_lines_only()
def build_trainer(args: Arguments, inputs: Inputs) -> "SeRLTrainer":
    """Build the trainer, which loads the weights; a given adapter is trained further as it is.

    It is laid over the base that its configuration names, and merged into nothing.
    """
    from trl import get_peft_config, get_quantization_config

    from serl_trl.train.trainer import SeRLTrainer

    config, model, seed_set = args.config, args.model, inputs.seed_set
    assert seed_set is not None, "a run is built only when nothing was skipped"
    adapter = find_source(args).adapter
    # What the config says of loading comes last, and wins over the options of the model.
    config.model_init_kwargs = {
        "revision": model.model_revision,
        "trust_remote_code": config.trust_remote_code,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **init_kwargs(args),
    }
    try:
        return SeRLTrainer(
            model=_load_adapter(args, adapter) if adapter else model_path(args),
            args=config,
            seed_set=seed_set,
            eval_dataset=inputs.probe_set.rows() if inputs.probe_set else None,
            # The one that the checks have looked at, with its template as they left it.
            processing_class=inputs.tokenizer,
            reward_funcs=list(inputs.reward_funcs) or None,
            # A given adapter is trained itself; TRL would lay a new one over it.
            peft_config=None if adapter else get_peft_config(model),
            quantization_config=None if adapter else get_quantization_config(model),
            evaluation_sets=inputs.evaluation_sets,
            **inputs.row_sets,
        )
    except ModelFileError as error:
        raise SeRLConfigError([str(error)]) from error
    except (ValueError, ImportError) as error:
        # What TRL and transformers find out by themselves when they build a trainer.
        raise SeRLConfigError([f"{one_line(error)}."]) from error


def _load_adapter(args: Arguments, adapter: "PeftConfig") -> Any:
    """Load the base as TRL loads one, with the adapter over it, and leave nothing to load."""
    from accelerate import PartialState
    from peft import PeftModel
    from trl import get_quantization_config
    from trl.trainer.utils import create_model_from_path

    config, path, revision = args.config, model_path(args), args.model.model_revision
    options: dict[str, Any] = {**init_kwargs(args), "revision": adapter.revision}
    refuse_bad_model(path, config, revision=revision, adapter=adapter)
    # TRL takes them only with a model that it loads itself.
    config.model_init_kwargs = None
    if quantised := get_quantization_config(args.model):
        options["quantization_config"] = quantised
    # As TRL does: each process holds the whole model, and places it itself.
    if PartialState().distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        options["device_map"] = None
    base = create_model_from_path(str(adapter.base_model_name_or_path), **options)
    return PeftModel.from_pretrained(base, path, revision=revision, is_trainable=True)


def trainer_from_config(config: str | Path, **options: Any) -> "SeRLTrainer":
    """Return the trainer that `serl train --config CONFIG` would use, for a notebook or a script.

    `options` are flags of `serl train` and win over the file. The configs "sandbox" and
    "sandbox_hard" are built in. `overwrite=True` moves an earlier run in the same folder aside.

    Raises `SeRLConfigError`, which names all problems, before the weights are loaded.
    """
    argv = ["--config", str(config)]
    for name, value in options.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            argv += [f"--{name}", *map(_as_flag, values)]
    # A flag has no word for null where the word is a value: None means leaving it out of the file.
    nulls = [name for name, value in options.items() if value is None]
    args = SeRLParser(prog="serl").parse(argv, nulls=nulls)
    inputs = load_inputs(args)
    if args.run.overwrite:
        from serl_trl.train.resume import in_first

        in_first(lambda: set_aside(output_folder(args)))
    return build_trainer(args, inputs)


def _as_flag(value: Any) -> str:
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def output_folder(args: Arguments) -> Path:
    """Return the folder of the run."""
    assert args.config.output_dir is not None, "transformers names one when the user does not"
    return Path(args.config.output_dir)


def resume_from(args: Arguments) -> str | bool | None:
    """Return what `SeRLTrainer.train` takes: a checkpoint's folder, `True`, "auto" or `None`."""
    wanted = args.config.resume_from_checkpoint
    return True if wanted == LATEST else wanted


def planned_end(args: Arguments, *, pushed: bool = False) -> dict[str, int | str]:
    """Return the options that say when a run is over, and whether its model was pushed then."""
    # A run that its guard stopped may train on without one.
    options = ("max_steps", "max_rollouts", "collapse_guard")
    end = {name: getattr(args.config, name) for name in options}
    return {**end, "pushed": True} if pushed else end


def is_over(args: Arguments, *, pushed: bool = False) -> bool:
    """Return whether the newest state of the run is wanted, and that is its planned end.

    With `pushed`, its model must also have arrived on the Hub.
    """
    newest = args.config.resume_from_checkpoint in (LATEST, NEWEST_OR_NONE)
    # A run that was pushed was finished before.
    ends = [planned_end(args, pushed=arrived) for arrived in {pushed, True}]
    return newest and any(is_finished(output_folder(args), end) for end in ends)


def set_aside(folder: Path) -> Path | None:
    """Rename `folder` to the first free of folder-1, folder-2, ...; `None` when there is none.

    Raises `CheckpointError` when another process trains in it.
    """
    if not folder.exists():
        return None
    if problem := may_be_renamed(folder):
        raise CheckpointError(problem)
    # Held until it has its new name. What is no folder of a run has nothing to hold.
    _held = hold(folder) if Folder(folder).has_folder(PRIVATE_FOLDER) else None
    number = 1
    # A link that leads nowhere has the name, too.
    while os.path.lexists(target := folder.with_name(f"{folder.name}-{number}")):
        number += 1
    return folder.rename(target)
