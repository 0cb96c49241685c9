"""The private names of TRL and transformers that the trainer leans on, with their signatures.

A failure here says which seam moved; read its new body before changing the list.
"""

import inspect

import pytest
import trl
from transformers import Trainer
from trl import GRPOTrainer
from trl.trainer.callbacks import SyncRefModelCallback

SEAMS = {
    (GRPOTrainer, "get_train_dataloader"): ["self"],
    (GRPOTrainer, "_generate_and_score_completions"): ["self", "inputs"],
    (GRPOTrainer, "_generate_single_turn"): [
        "self",
        "prompt_ids",
        "images",
        "multimodal_fields",
        "num_generations",
        "has_tool_images",
    ],
    (GRPOTrainer, "_calculate_rewards"): [
        "self",
        "inputs",
        "prompts",
        "completions",
        "completion_ids_list",
    ],
    (GRPOTrainer, "_tokenize_prompts"): ["self", "prompts"],
    (GRPOTrainer, "_log_metric"): ["self", "name", "value"],
    (GRPOTrainer, "compute_loss"): [
        "self",
        "model",
        "inputs",
        "return_outputs",
        "num_items_in_batch",
    ],
    (GRPOTrainer, "_save_checkpoint"): ["self", "model", "trial"],
    (GRPOTrainer, "_load_optimizer_and_scheduler"): ["self", "checkpoint"],
    (Trainer, "create_scheduler"): ["self", "num_training_steps", "optimizer"],
    (Trainer, "save_model"): ["self", "output_dir", "_internal_call"],
    (Trainer, "_get_output_dir"): ["self", "trial"],
    (SyncRefModelCallback, "sync_target_model"): ["model", "target_model", "alpha"],
}
SCORING = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"]


@pytest.mark.parametrize(("owner", "name"), SEAMS)
def test_seam_has_the_signature_it_was_written_for(owner, name):
    assert list(inspect.signature(getattr(owner, name)).parameters) == SEAMS[owner, name]


def test_scoring_takes_its_first_arguments_in_the_expected_order():
    scoring = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies)
    assert list(scoring.parameters)[: len(SCORING)] == SCORING


def test_trl_is_the_pinned_minor_version():
    assert trl.__version__.startswith("1.16."), "the seams were read in TRL 1.16"
