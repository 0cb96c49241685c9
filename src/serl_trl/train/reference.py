"""The KL reference in checkpoints, once it differs from the model that the run began with."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from serl_trl.train.checkpoint import CheckpointError
from serl_trl.train.host import Host, inside

REFERENCE_FILE = "serl_reference.pt"


def has_moved(trainer: Host) -> bool:
    """Return whether there is a reference of its own that is not the run's first model."""
    reset = trainer.args.reset_reference and trainer.iteration > 1
    return trainer.ref_model is not None and (reset or trainer.args.sync_ref_model)


def save_reference(trainer: Host, folder: Path) -> None:
    """Save the reference if it moved; not under FSDP, where its parts are not collected."""
    if not has_moved(trainer) or inside(trainer).is_fsdp_enabled:
        return
    reference = trainer.accelerator.unwrap_model(trainer.ref_model)
    # Under ZeRO-3 every process holds a part; all collect it, one writes it.
    with _collected(trainer, reference):
        if trainer.is_world_process_zero():
            torch.save(reference.state_dict(), folder / REFERENCE_FILE)


def load_reference(trainer: Host, folder: Path) -> None:
    """Load the reference if it moved; raise `CheckpointError` where it was not saved."""
    if not has_moved(trainer):
        return
    path = folder / REFERENCE_FILE
    if not path.is_file():
        raise CheckpointError(
            f"resume={folder} lacks the KL reference of its iteration, which is not saved under "
            "FSDP; start a new run from its weights with model_name_or_path."
        )
    reference = trainer.accelerator.unwrap_model(trainer.ref_model)
    # Under ZeRO-3 what the first process loads is divided among all.
    with _collected(trainer, reference, modifier_rank=0):
        if trainer.is_world_process_zero() or not _is_divided(trainer):
            reference.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _is_divided(trainer: Host) -> bool:
    """Return whether ZeRO-3 gives every process a part of each weight."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    return plugin is not None and plugin.zero_stage == 3


def _collected(trainer: Host, model: Any, **options: Any) -> AbstractContextManager[None]:
    """Collect the parts of a model's weights inside the block where ZeRO-3 divides them."""
    if not _is_divided(trainer):
        return nullcontext()
    # accelerate's wrapper collects nothing where the model was divided after loading.
    import deepspeed  # ty: ignore[import-not-found]

    return deepspeed.zero.GatheredParameters(list(model.parameters()), **options)
