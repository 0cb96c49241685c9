"""What the parts of training see of the trainer, so that none of them needs the trainer's file.

`Host` names what is public. What TRL and transformers keep to themselves is reached by `inside`
alone, and `SEAMS` lists those names: the places where a new release can break this package. Their
signatures are tested in `tests/integration/test_trl_seams.py`.
"""

from typing import Any, Protocol

SEAMS: dict[str, str] = {
    "_buffered_inputs": "rollouts of the generation batch, saved and restored",
    "_generate_single_turn": "the one door to every backend",
    "_get_per_token_logps_and_entropies": "scores of leftovers under present weights",
    "_globalstep_last_logged": "of transformers' training loop, saved and restored",
    "_initial_global_step": "the same; absent before transformers 5.18",
    "_last_loaded_step": "the step whose weights vLLM holds",
    "_log_metric": "numbers of a refill, into TRL's next log",
    "_logs": "texts for the next log, saved and restored",
    "_metrics": "numbers for the next log, saved and restored",
    "_pending_metrics": "the same, not yet reduced",
    "_step": "micro-batches so far, which place a run within its generation batch",
    "_tokenize_prompts": "chat template and truncation as TRL applies them",
    "_tokenizer": "the tokenizer inside the processing class",
    "_total_loss_scalar": "of transformers' training loop, saved and restored",
    "_tr_loss": "the same",
}
"""Private name to what it is needed for. Public names that only one part needs go through `inside`
too, so that `Host` stays short."""


class Host(Protocol):
    """The trainer as its parts see it."""

    args: Any
    accelerator: Any
    model: Any
    ref_model: Any
    optimizer: Any
    state: Any
    use_vllm: bool
    # Of this package; what stands above is of transformers' and TRL's trainers.
    seed_set: Any
    probe_set: Any
    evaluation_sets: Any
    iteration: int
    selfplay: Any
    policy: Any
    stopping: Any
    nonfinite: Any
    written: Any
    ledger: Any
    watcher: Any
    measure: Any

    def is_world_process_zero(self) -> bool:
        """Whether this process is the one that writes."""
        ...


def own_rows(trainer: Host, share: int) -> slice:
    """Return where the `share` rows of this process lie among those of all, rank after rank."""
    start = trainer.accelerator.process_index * share
    return slice(start, start + share)


def inside(trainer: Host) -> Any:
    """Return the trainer with all that TRL gives it; private names must stand in `SEAMS`."""
    return trainer
