"""The private names of TRL and transformers that the trainer leans on, with their signatures.

A failure here says which seam moved; read its new body before changing the list.
"""

import inspect

import pytest
import trl
from peft.tuners import lora
from transformers import Trainer
from trl import GRPOTrainer
from trl.distributed import DistributedBackend
from trl.generation.vllm_generation import VLLMGeneration
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
    (Trainer, "init_hf_repo"): ["self", "token", "private"],
    (Trainer, "_push_from_checkpoint"): ["self", "checkpoint_folder"],
    (GRPOTrainer, "create_model_card"): ["self", "model_name", "dataset_name", "tags"],
    (Trainer, "_get_output_dir"): ["self", "trial"],
    (Trainer, "_get_grad_norm"): ["self", "model", "grad_norm"],
    (GRPOTrainer, "training_step"): ["self", "model", "inputs", "num_items_in_batch"],
    (Trainer, "_finalize_training"): ["self", "trial", "num_train_samples", "start_time"],
    (Trainer, "train"): ["self", "resume_from_checkpoint", "trial", "ignore_keys_for_eval"],
    (VLLMGeneration, "_iter_named_params"): ["self"],
    (VLLMGeneration, "sync_weights"): ["self"],
    (VLLMGeneration, "generate"): ["self", "prompts", "images", "num_generations", "profiler"],
    (DistributedBackend, "gather_params"): ["self", "params"],
    (lora.Linear, "get_delta_weight"): ["self", "adapter"],
    (SyncRefModelCallback, "sync_target_model"): ["model", "target_model", "alpha"],
}
SCORING = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"]


@pytest.mark.parametrize(("owner", "name"), SEAMS)
def test_seam_has_the_signature_it_was_written_for(owner, name):
    assert list(inspect.signature(getattr(owner, name)).parameters) == SEAMS[owner, name]


def test_scoring_takes_its_first_arguments_in_the_expected_order():
    scoring = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies)
    assert list(scoring.parameters)[: len(SCORING)] == SCORING


def test_what_the_engine_and_adapter_seams_rest_on_is_still_written_in_trl():
    generate = inspect.getsource(GRPOTrainer._generate_single_turn)
    assert "self._last_loaded_step = self.state.global_step" in generate
    assert "unwrapped_model.to(torch.bfloat16)" in generate, "kept_precision may go"
    engine = inspect.getsource(VLLMGeneration)
    assert "self.enable_sleep_mode and self._llm_weights_sleeping" in engine
    assert "self.llm.sleep(level=2)" in engine and 'wake_up(tags=["kv_cache"])' in engine
    reference = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert '"ref" if "ref" in model.peft_config else None' in reference


def test_trl_is_the_pinned_minor_version():
    assert trl.__version__.startswith("1.16."), "the seams were read in TRL 1.16"
