"""`SeRLTrainer`: the seams between self-play and TRL's `GRPOTrainer`, and nothing else."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from serl_trl.answers.equality import extract_answer, same_answers
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion
from serl_trl.common.files import WRITTEN, JsonLines
from serl_trl.common.quiet import own_lines_only, without_unscored_rows
from serl_trl.data.python_inputs import read_probe_set, read_seed_set
from serl_trl.data.seeds import SeedSet, read_golds
from serl_trl.labels.registry import reward_name
from serl_trl.loop.proposing import JudgedProposal
from serl_trl.measure.figures import Attempts, Measurement, grade_attempts
from serl_trl.measure.trial import Trial
from serl_trl.train import looking, setup, trying
from serl_trl.train.answer_mask import mask_answers, noting_answer_kl
from serl_trl.train.batch_advantages import BatchAdvantages
from serl_trl.train.batches import GenerationBatches, SelfPlayLoader
from serl_trl.train.checkpoint import hold
from serl_trl.train.config import SeRLConfig
from serl_trl.train.guard import Guard
from serl_trl.train.iterations import Boundaries, follow_schedule, repeat_schedules
from serl_trl.train.lora import keep_quantised_base, refuse_sharded_boundaries, widen_adapter
from serl_trl.train.model_files import (
    ModelFileError,
    refuse_bad_model,
    refuse_float16,
    tokenizer_problem,
)
from serl_trl.train.needs import argument_problems
from serl_trl.train.nonfinite import NonFiniteGuard, refuse_nonfinite_weights
from serl_trl.train.policy import TrainerPolicy
from serl_trl.train.prefill import shared_prefill
from serl_trl.train.probe import MetricsFile, Probe, make_watcher, replace_progress_bars
from serl_trl.train.resume import in_first, naming_a_foreign_checkpoint
from serl_trl.train.sampling import held_autocast, note_foreign_sampling, own_sampling
from serl_trl.train.saving import Saving
from serl_trl.train.stopping import Stopping, name_lost_process
from serl_trl.train.swaps import swapped
from serl_trl.train.teachers import check_teacher, make_teacher
from serl_trl.train.unrewarded import mask_unrewarded, over_trained_rows
from serl_trl.train.vllm import check_gap, prepare_engine, refuse_quantised

logger = logging.getLogger(__name__)


# More methods than a class of this package has elsewhere: each of them is a seam of TRL's or
# transformers' trainer, or a short call of the module that does the work.
class SeRLTrainer(GRPOTrainer):
    """Train a model on its own instructions, labelled by its own majority vote.

    `seed_set` is a path, a list of instructions or rows, a `SeedSet` or a dataset with an
    instruction column (`INSTRUCTION_COLUMNS`, `CHAT_COLUMNS`) and, for gold labels, an `answer`
    column. `eval_dataset` is a probe set in one of these forms, with both columns.
    `evaluation_sets` maps names to the problems of other sets that will measure this model. Like
    the probe set, they are kept out of training (see `contamination_ngram`). `labelled_set` and
    `unlabelled_set` are the rows of the sources that need them, in a seed set's forms, the first
    with answers; rows that overlap an evaluation set are left out. The label reward of
    `args.label_reward` comes first; `reward_funcs` are added to it. The first entry of
    `args.reward_weights` weighs the label reward. The other arguments are those of `GRPOTrainer`.

    A model given by its name is checked before it is loaded: each tensor must exist, be finite and
    have its shape. This reads the files once, about a second per GB.

    Raises `ValueError` before the weights are loaded when an argument has the wrong type, a package
    is missing, a set cannot be read, the model's files are bad, or the seed set is too small for a
    request or lacks what the label reward needs. Raises `CheckpointError` when another process
    trains in the run's folder: a trainer holds that folder for as long as it lives.

    Source: SeRL, arXiv 2505.20347. Departures are listed in `docs/method.md`.
    """

    _tag_names = ["trl", "serl", "self-play", "self-instruct", "reinforcement-learning"]

    # Narrowed once: the base classes declare these as optional.
    args: SeRLConfig
    model: Any
    optimizer: Any
    ref_model: Any

    @own_lines_only()
    def __init__(  # noqa: PLR0913 - the arguments of GRPOTrainer, with a seed set
        self,
        model: Any,
        args: SeRLConfig,
        seed_set: str | Path | SeedSet | Iterable[Any],
        eval_dataset: str | Path | SeedSet | Iterable[Any] | None = None,
        processing_class: Any = None,
        reward_funcs: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        peft_config: Any = None,
        quantization_config: Any = None,
        evaluation_sets: Mapping[str, Sequence[str]] | None = None,
        labelled_set: str | Path | SeedSet | Iterable[Any] | None = None,
        unlabelled_set: str | Path | SeedSet | Iterable[Any] | None = None,
    ) -> None:
        if not isinstance(args, SeRLConfig):
            raise ValueError(
                f"args is a {type(args).__name__}; give a SeRLConfig, whose options include those "
                "of GRPOConfig."
            )
        # What is cheap to find is refused first, what reads the model's files last.
        chosen = self._read_inputs(args, seed_set, eval_dataset)
        self.row_sets = setup.read_row_sets(chosen, labelled_set, unlabelled_set)
        refuse_quantised(model, quantization_config, args)
        refuse_sharded_boundaries(model, peft_config, args)
        check_teacher(chosen.teacher, args)
        extra = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        extra = [func for func in extra if func is not None]
        given = {"has_probe": bool(self.probe_set), "rewards": chosen.labeller.rewards}
        if problems := argument_problems(args, quantization_config, len(extra), **given):
            raise ValueError("\n".join(problems))
        label = [self._label_reward(args)] if chosen.labeller.rewards else []
        if isinstance(model, str):
            refuse_bad_model(model, args)
        self._hold = in_first(lambda: hold(args.private_folder.parent))
        super().__init__(
            model=model,
            reward_funcs=label + extra,
            args=args,
            # TRL asks for a data set; self-play puts an iterator of its own in its place.
            train_dataset=setup.rows_dataset(self.seed_set.rows(), args),
            eval_dataset=setup.rows_dataset(self.probe_set, args),
            processing_class=processing_class,
            callbacks=callbacks,
            quantization_config=quantization_config,
            peft_config=peft_config,
        )
        self._prepare(chosen, evaluation_sets)

    def _read_inputs(self, args: SeRLConfig, seed_set: Any, eval_dataset: Any) -> setup.Chosen:
        """Read the sets and find what the options name, before anything is loaded."""
        chosen = setup.Chosen.read(args)
        self._kind = chosen.kind
        self.verifier = Verifier()
        self.seed_set = read_golds(read_seed_set(seed_set), chosen.kind)
        probe_set = read_probe_set(eval_dataset)
        probes = read_golds(probe_set, chosen.kind).rows() if probe_set else []
        self.probe_set = [row for row in probes if row["answer"] is not None]
        setup.refuse_missing_gold(self.seed_set, args, chosen)
        self.iteration = 1
        self.batches = GenerationBatches(self)
        self.advantages = BatchAdvantages(self)
        self._handed_on: list[Completion] | None = None
        return chosen

    def _prepare(
        self, chosen: setup.Chosen, evaluation_sets: Mapping[str, Sequence[str]] | None
    ) -> None:
        """Build the parts of self-play around the loaded model."""
        args, main = self.args, self.is_world_process_zero()
        keep_quantised_base(self.model)
        if not (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            widen_adapter(self.model)
        rows = getattr(self.model.get_input_embeddings(), "num_embeddings", None)
        if rows and (problem := tokenizer_problem(self._tokenizer, rows)):
            raise ModelFileError(problem)
        prepare_engine(self)
        note_foreign_sampling(self)
        setup.prepare_prompts(self, chosen)
        self.stopping = Stopping(self)
        self.nonfinite = NonFiniteGuard(self, most=args.max_nonfinite_steps)
        self.policy = TrainerPolicy(self)
        self.teacher = make_teacher(self, chosen.teacher)
        folder = args.private_folder
        self.written = {name: JsonLines(folder / name if main else None) for name in WRITTEN}
        self.ledger = self.written["ledger.jsonl"]
        self.saving = Saving(self)
        show, every = main and not args.disable_tqdm, args.show_steps
        self.watcher = make_watcher(show=show, every=every, samples_every=args.sample_steps)
        self.evaluation_sets = setup.all_evaluation_sets(evaluation_sets, self.probe_set)
        self.selfplay = setup.make_selfplay(self, chosen)
        setup.note_contaminated_seeds(self)
        setup.note_filters_aside(self)
        if args.use_selfplay:
            replace_progress_bars(self, self.watcher)
        self.guard = Guard(self)
        watching = (Boundaries(self), self.stopping, Probe(self), self.guard)
        for callback in (*watching, MetricsFile(self.written["metrics.jsonl"])):
            self.add_callback(callback)
        for option, reason in args.not_applied.items() if main else ():
            logger.warning("%s is not applied: %s.", option, reason)
        if main and self.accelerator.num_processes > 1:
            setup.note_long_votes(self)

    @property
    def starved(self) -> str | None:
        """The diagnosis of a run that ended because refills found nothing, else `None`."""
        return self.batches.starved

    # The data iterator.

    def get_train_dataloader(self) -> Any:
        """Generation batches made by self-play when the step asks for them; see `batches.py`."""
        if not self.args.use_selfplay:
            return super().get_train_dataloader()
        return SelfPlayLoader(
            self.stopping.interruptible(self.batches.make),
            repeats=self.args.batches_per_generation,
            length=self.args.max_steps * self.args.gradient_accumulation_steps,
            num_used=lambda: self._step,
        )

    # Handing rollouts on instead of sampling again.

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        # Evaluation, and a run without self-play, hand over rows without one and go TRL's own way.
        rolled_out = "rollout" in inputs[0]
        self._handed_on = [row["rollout"] for row in inputs] if rolled_out else None
        try:
            output = super()._generate_and_score_completions(inputs)
        finally:
            self._handed_on = None
        if rolled_out and inputs[0]["rollout"].logprobs is not None and not self.use_vllm:
            # A batch with a stale group: the ratio is taken to the policy that sampled it.
            output["old_per_token_logps"] = output["sampling_per_token_logps"]
        if rolled_out and self.use_vllm:
            check_gap(self, output, [row["fresh"] for row in inputs])
        # Nothing is learned from the advantages of an evaluation.
        if self.model.training:
            if rolled_out or self.args.advantage != "grpo":
                mask_unrewarded(self, output, self.advantages.rewards)
            if rolled_out and self.args.mask_answer:
                mask_answers(self, output, [row["rollout"] for row in inputs], self._kind)
            first = inputs[0]
            self.advantages.replace(output, first.get("roles", ()), first.get("weights", ()))
        return output

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        if self._handed_on is None:
            with own_sampling(self), held_autocast(self), shared_prefill(self):
                return super()._generate_single_turn(
                    prompt_ids, images, multimodal_fields, num_generations, has_tool_images
                )
        rollouts = self._handed_on
        logprobs = [rollout.logprobs or [] for rollout in rollouts]
        # All rows of a batch carry them or none does; see `SelfPlay.refill`.
        known = rollouts[0].logprobs is not None
        return [rollout.token_ids for rollout in rollouts], logprobs if known else None

    # Rewards, loss and gradients.

    def _label_reward(self, args: SeRLConfig) -> Callable[..., list[float | None]]:
        """The label reward for TRL: the row's own in training, by gold in evaluation."""

        def label_reward(
            completions: list[Any],
            label_reward: list[float | None] | None = None,
            gold_answer: list[str | None] | None = None,
            **_: Any,
        ) -> list[float | None]:
            if label_reward is not None:
                return list(label_reward)
            golds = gold_answer or [None] * len(completions)
            # TRL evaluates by its own generation: a batch of the probe set has gold answers and no
            # votes.
            answers = [extract_answer(each[0]["content"], kind=self._kind) for each in completions]
            pairs = list(zip(answers, golds, strict=True))
            same = same_answers(pairs, kind=self._kind, verifier=self.verifier)
            return [float(right) for right in same]

        label_reward.__name__ = reward_name(args.label_reward)
        return label_reward

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        with without_unscored_rows():
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.advantages.note_rewards(rewards)
        return rewards

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """TRL's loss; with REINFORCE++ its own KL term is off, because the return holds the KL."""
        beta = 0.0 if self.args.advantage == "reinforce_pp" else self.beta
        with swapped("trainer", self, beta=beta), noting_answer_kl(self, inputs):
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Before the guard, which must see the loss that is learned from.
        loss = over_trained_rows(loss, inputs, self.loss_type)
        if self.model.training:
            self.nonfinite.note(inputs, loss)
        return loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """TRL's step of one micro-batch; one NaN would stay in the logged loss for ever."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        return torch.nan_to_num(loss, nan=0.0, posinf=0.0, neginf=0.0)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        grad_norm = super()._get_grad_norm(model, grad_norm)
        self.nonfinite.check(grad_norm)
        return grad_norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log; what `log_completions` shows in the terminal holds no control characters."""
        texts: Any = self._logs
        for name in ("prompt", "completion") if self.log_completions else ():
            shown = [looking.visible_messages(messages) for messages in texts[name]]
            texts[name].clear()
            texts[name].extend(shown)
        super().log(logs, start_time)

    # Iterations.

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """The configured schedule over one iteration, started afresh at each boundary."""
        period = self.args.steps_per_iteration
        if not self.args.reset_schedule or period >= num_training_steps:
            return super().create_scheduler(num_training_steps, optimizer)
        scheduler = super().create_scheduler(period, optimizer)
        if not repeat_schedules(scheduler, period) and self.is_world_process_zero():
            kind = self.args.lr_scheduler_type
            logger.warning("lr_scheduler_type=%s keeps one schedule over all iterations.", kind)
        return scheduler

    # State: how it is saved and restored is in `saving.py`.

    @own_lines_only()
    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Train to the end of the run, afresh or from a checkpoint.

        `resume_from_checkpoint` is a checkpoint's folder, `True` for the newest whole one, or
        "auto" for that or else a fresh start. What the run wrote after the checkpoint is moved
        aside. Raises `CheckpointError` when the checkpoint is damaged or belongs to another
        configuration.
        """
        refuse_float16(self.model, self.args)
        found = self.saving.start(resume_from_checkpoint)
        with (
            self.stopping.listening(),
            name_lost_process(self.accelerator, self.args),
            naming_a_foreign_checkpoint(found),
        ):
            return super().train(found, trial, ignore_keys_for_eval)

    @own_lines_only()
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model; raises `NonFiniteError` when a weight is not finite."""
        save = super().save_model

        def write() -> None:
            refuse_nonfinite_weights(self.model)
            # A call by the user would also push, before a push is asked for.
            save(output_dir, _internal_call=True)

        self.saving.write_model(write)

    def _get_output_dir(self, trial: Any) -> str:
        # While a checkpoint is written, TRL's files, and its rotation, go where it is written.
        writing = self.saving.folder
        return str(writing.parent) if writing else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        write = super()._save_checkpoint
        self.saving.save(folder, lambda: write(model, trial))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        # Called after the weights are loaded, and before the loop begins.
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self.saving.load(Path(checkpoint))
        follow_schedule(self.lr_scheduler, self.optimizer)

    def _finalize_training(self, trial: Any, num_train_samples: float, start_time: float) -> Any:
        # The last figures are those of the whole run, however often it was resumed, and however
        # often the clock was set meanwhile.
        start_time = time.time() - self.saving.seconds
        with swapped("args", self.args, save_total_limit=None), self.guard.restoring():
            result = super()._finalize_training(trial, num_train_samples, start_time)
        # The best checkpoint may have been loaded, while an engine holds the weights of this step.
        self._last_loaded_step = -1
        return result

    # Sharing: what may leave the machine, and the card, are decided in `hub.py`.

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Do nothing: a repository is made when there is something to push."""

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Do nothing: TRL would upload whatever lies in the run's folder."""

    def create_model_card(
        self,
        model_name: str | None = None,
        dataset_name: str | None = None,
        tags: str | list[str] | None = None,
    ) -> None:
        """Write the card and its figures beside the model; during training, do nothing."""
        if self.is_world_process_zero() and not self.is_in_train:
            # Sharing reads run folders and stands above training; only this way up leads there.
            from serl_trl.share.hub import write_card

            self.ledger.flush()
            write_card(self.args.private_folder.parent, repo_id=self.args.hub_model_id)

    # It takes no token and does nothing in the background.
    def push_to_hub(  # ty: ignore[incompatible-method-override]
        self, commit_message: str | None = None, *, private: bool | None = None
    ) -> str | None:
        """Save the model and upload it with its card; return the address.

        Only the files that `share/published.txt` names are sent, to a private repository unless
        `private` (or `args.hub_private_repo`) is false. Returns `None` when the push failed; the
        log then says why and names the command to push later. The other processes return `None`.
        """
        from serl_trl.share.hub import push_model

        self.save_model()
        if not self.is_world_process_zero():
            return None
        self.ledger.flush()
        private = self.args.hub_private_repo is not False if private is None else private
        folder = self.args.private_folder.parent
        return push_model(
            folder, repo_id=self.args.hub_model_id, private=private, message=commit_message
        )

    # Looking without training.

    @own_lines_only()
    def propose(
        self, num: int, *, tell: Callable[[str], None] | None = None
    ) -> list[JudgedProposal]:
        """Write `num` proposals with the present weights, each with its fate.

        Pool, counters, ledger and randomness of the run stay as they were, so a second call with
        the same weights writes the same proposals. Returns fewer when `max_refill_rounds` rounds
        do not suffice. `tell` gets one plain line before and after each round.
        """
        return looking.look_at_proposals(self, num, tell or (lambda line: None))

    @own_lines_only()
    def try_out(self, *, tell: Callable[[str], None] | None = None, **extent: int) -> Trial:
        """Count what the present weights make of this data before a run: see `serl try`.

        `extent` are the fields of `Extent`, `tell` as for `propose`. `measure.rules.judge` says
        what the counts mean. Changes nothing in the run, as `propose` does.
        """
        return trying.try_out(self, trying.Extent(**extent), tell or (lambda line: None))

    def measure(self, problems: Sequence[dict[str, str]], **drawing: Any) -> Measurement:
        """Grade completions of each problem against its gold answer.

        Each of `problems` holds "instruction" and "answer". `drawing` are fields of `Drawing`;
        `num_samples` is 16 by default. The random state of the run stays as it was, so measuring
        does not change the training.
        """
        attempts = self.attempt(problems, **drawing)
        graded = grade_attempts(attempts, kind=self._kind, verifier=self.verifier)
        return Measurement(tuple(graded), looking.Drawing(**drawing).num_samples)

    @own_lines_only()
    def attempt(self, problems: Sequence[dict[str, str]], **drawing: Any) -> list[Attempts]:
        """Complete each problem as `drawing` says (see `measure`), without grading.

        The completions depend only on `problems`, the weights, the batch sizes and the seed; a vLLM
        server takes no seed. The random state of the run stays as it was.
        """
        return looking.attempt(self, problems, looking.Drawing(**drawing))
