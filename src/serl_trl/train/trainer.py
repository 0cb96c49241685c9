"""`SeRLTrainer`: the seams between self-play and TRL's `GRPOTrainer`, and nothing else."""

import functools
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate.utils import is_peft_model, set_seed
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback
from trl import GRPOTrainer
from trl.trainer.callbacks import SyncRefModelCallback

from serl_trl.answers.equality import extract_answer, get_kind, same_answer
from serl_trl.answers.verifier import Verifier
from serl_trl.common.files import PRIVATE_FOLDER, WRITTEN, JsonLines
from serl_trl.common.folder import Folder
from serl_trl.common.problem import Problem
from serl_trl.common.quiet import own_lines_only
from serl_trl.common.text import visible
from serl_trl.common.tokens import count_tokens, special_tokens_of
from serl_trl.data.python_inputs import read_probe_set, read_seed_set
from serl_trl.data.seeds import SeedSet, check_seed_set, find_oracle, gold_problem, read_golds
from serl_trl.filters.embeddings import Encoder, load_encoder
from serl_trl.filters.gate import ProposalFilter, TextFilter, find_filters
from serl_trl.labels.groups import Group
from serl_trl.loop.selfplay import JudgedProposal, Options, SelfPlay
from serl_trl.measure.figures import Attempts, Measurement, grade_attempts
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.prompts import Messages, rollout_messages
from serl_trl.runs.facts import write_facts
from serl_trl.train.advantages import (
    leave_one_out,
    minus_group_mean,
    normalise,
    normalise_tokens,
    returns_with_kl,
    token_moments,
)
from serl_trl.train.checkpoint import hold
from serl_trl.train.config import SeRLConfig
from serl_trl.train.facts import gather_facts
from serl_trl.train.lora import keep_quantised_base, make_reference, refuse_sharded_boundaries
from serl_trl.train.model_files import (
    ModelFileError,
    refuse_bad_model,
    refuse_float16,
    tokenizer_problem,
)
from serl_trl.train.needs import argument_problems
from serl_trl.train.nonfinite import NonFiniteGuard, refuse_nonfinite_weights
from serl_trl.train.policy import TrainerPolicy, context_tokens
from serl_trl.train.probe import MetricsFile, Probe, make_watcher, replace_progress_bars
from serl_trl.train.resume import in_first, naming_a_foreign_checkpoint
from serl_trl.train.sampling import Sampling, note_foreign_sampling, own_sampling
from serl_trl.train.saving import Saving
from serl_trl.train.state import private_randomness
from serl_trl.train.stopping import Stopping, name_lost_process
from serl_trl.train.swaps import swapped
from serl_trl.train.template_roles import (
    COMPLETION_TEMPLATE,
    no_template_problem,
    prepare_template,
    template_warnings,
)
from serl_trl.train.vllm import awake, check_gap, prepare_engine, refuse_quantised

logger = logging.getLogger(__name__)


class SelfPlayLoader:
    """Hands out generation batches made at the moment they are asked for, each `repeats` times.

    Not prepared by Accelerate, which would fetch one batch ahead and so roll out with the weights
    of the step before. Ends when `make_batch` returns `None`. `num_used` counts the micro-batches
    of earlier iterators: one that begins inside a cycle hands out empty batches to its end, because
    TRL has the cycle's rollouts in its buffer and looks at no row.
    """

    def __init__(
        self,
        make_batch: Callable[[], list[dict[str, Any]] | None],
        *,
        repeats: int,
        length: int,
        num_used: Callable[[], int] = lambda: 0,
    ) -> None:
        self._make_batch = make_batch
        self._repeats = repeats
        self._length = length
        self._num_used = num_used

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for _ in range(-self._num_used() % self._repeats):
            yield []
        while (batch := self._make_batch()) is not None:
            for _ in range(self._repeats):
                yield batch


class SeRLTrainer(GRPOTrainer):
    """Train a model on its own instructions, labelled by its own majority vote.

    `seed_set` is a path, a list of instructions or rows, a `SeedSet` or a dataset with an
    instruction column (`INSTRUCTION_COLUMNS`, `CHAT_COLUMNS`) and, for gold labels, an `answer`
    column. `eval_dataset` is a probe set of the same shapes with both columns. `evaluation_sets`
    maps names to the problems of other sets that a model of this run will be measured on: like the
    probe set they are kept out of training, see `contamination_ngram`. The label reward of
    `args.label_reward` comes first; `reward_funcs` are added to it with `args.reward_weights`
    (whose first entry weighs the label reward). The other arguments are those of `GRPOTrainer`.

    A model that is given by its name is looked at before it is loaded: each tensor must be there,
    finite and of its shape. That reads the files once, about a second per GB.

    Raises `ValueError` before the weights are loaded when an argument has the wrong type, a package
    is missing, a set cannot be read or the model's files are bad, and when the seed set is too
    small for a request or lacks what the label reward needs; `CheckpointError` when another process
    trains in the run's folder, which a trainer keeps to itself for as long as it lives.

    Source: SeRL, arXiv 2505.20347. Departures are listed in `docs/method.md`.
    """

    _tag_names = ["trl", "serl", "self-play", "self-instruct", "reinforcement-learning"]

    # Narrowed once: the base classes declare these as optional.
    args: SeRLConfig
    model: Any
    optimizer: Any
    ref_model: Any

    @own_lines_only()
    def __init__(
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
    ) -> None:
        if not isinstance(args, SeRLConfig):
            raise ValueError(
                f"args is a {type(args).__name__}; give a SeRLConfig, whose options include those "
                "of GRPOConfig."
            )
        self._read_plugins(args)
        self.verifier = Verifier()
        self.seed_set = read_golds(read_seed_set(seed_set), self._kind)
        probe_set = read_probe_set(eval_dataset)
        probes = read_golds(probe_set, self._kind).rows() if probe_set else []
        self.probe_set = [row for row in probes if row["answer"] is not None]
        _check_gold(self.seed_set, args)
        refuse_quantised(model, quantization_config, args)
        refuse_sharded_boundaries(model, peft_config, args)
        self.starved: str | None = None
        self.iteration = 1
        self._handed_on: list[Any] | None = None
        self._gathered_rewards = torch.empty(0)
        extra = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        extra = [func for func in extra if func is not None]
        has_probe = bool(self.probe_set)
        if problems := argument_problems(
            args, quantization_config, len(extra), has_probe=has_probe
        ):
            raise ValueError("\n".join(problems))
        label = [] if args.label_reward == "none" else [self._label_reward(args)]
        if isinstance(model, str):
            refuse_bad_model(model, args)
        self._hold = in_first(lambda: hold(private_folder(args).parent))
        super().__init__(
            model=model,
            reward_funcs=label + extra,
            args=args,
            train_dataset=_rows_dataset(self.seed_set.instructions, self.seed_set.answers, args),
            eval_dataset=_eval_rows(self.probe_set, args),
            processing_class=processing_class,
            callbacks=callbacks,
            quantization_config=quantization_config,
            peft_config=peft_config,
        )
        keep_quantised_base(self.model)
        rows = getattr(self.model.get_input_embeddings(), "num_embeddings", None)
        if rows and (problem := tokenizer_problem(self._tokenizer, rows)):
            raise ModelFileError(problem)
        prepare_engine(self)
        self._prepare_template()
        note_foreign_sampling(self)
        if problems := self._seed_problems():
            raise ValueError("\n".join(map(str, problems)))
        self.stopping = Stopping(self)
        self.nonfinite = NonFiniteGuard(self, most=args.max_nonfinite_steps)
        self.policy = TrainerPolicy(self)
        main = self.is_world_process_zero()
        folder = private_folder(args)
        self.written = {name: JsonLines(folder / name if main else None) for name in WRITTEN}
        self.ledger = self.written["ledger.jsonl"]
        self.saving = Saving(self)
        self.watcher = make_watcher(
            show=main and not args.disable_tqdm,
            every=args.show_steps,
            samples_every=args.sample_steps,
        )
        self.evaluation_sets = _evaluation_sets(evaluation_sets, self.probe_set)
        self.selfplay = self._make_selfplay()
        self._note_contaminated_seeds()
        if args.use_selfplay:
            replace_progress_bars(self, self.watcher)
        self.add_callback(_Boundaries(self))
        self.add_callback(self.stopping)
        self.add_callback(Probe(self))
        self.add_callback(MetricsFile(self.written["metrics.jsonl"]))
        for option in args.not_applied if main else ():
            logger.warning("%s is not applied: only vLLM knows it.", option)
        if main and self.accelerator.num_processes > 1:
            self._note_long_votes()

    def _read_plugins(self, args: SeRLConfig) -> None:
        """Make what the options name before anything is loaded."""
        plugins = args.plugins or ()
        self._kind = get_kind(args.answer_kind, plugins=plugins)
        self._oracle = find_oracle(args.gold_oracle, plugins).make() if args.gold_oracle else None
        self._own_filters = [
            each if isinstance(each, str) else each.make()
            for each in find_filters(args.proposal_filters, plugins)
        ]

    # The data iterator.

    def get_train_dataloader(self) -> Any:
        """Generation batches made by self-play when the step asks for them; see `selfplay.py`."""
        if not self.args.use_selfplay:
            return super().get_train_dataloader()
        return SelfPlayLoader(
            self.stopping.interruptible(self._make_generation_batch),
            repeats=self.args.batches_per_generation,
            length=self.args.max_steps * self.args.gradient_accumulation_steps,
            num_used=lambda: self._step,
        )

    def _make_generation_batch(self) -> list[dict[str, Any]] | None:
        """Return this process's rows of the next generation batch, or `None` to end the run."""
        if self.state.global_step >= self.state.max_steps:
            return None
        # At the first fetch after start or resume the model is still in eval mode, and TRL reads
        # from it how many completions make a group.
        self.model.train()
        for _ in range(self.args.max_empty_refills):
            if self.selfplay.rollouts_spent:
                break
            with awake(self):
                refill = self.selfplay.refill(self.state.global_step)
            self.ledger.flush()
            for name, value in refill.metrics.items():
                self._log_metric(name, value)
            if refill.groups:
                self.watcher.show_samples(
                    self.state.global_step, self.selfplay.last_proposals, refill.groups
                )
                self.watcher.waiting_for("updating")
                return self._local_rows(refill.groups)
        if self.selfplay.rollouts_spent:
            self._stop_spent()
        else:
            self._stop_starved()
        return None

    def _stop_spent(self) -> None:
        """End the run as planned: `max_rollouts` is reached."""
        record = {"step": self.state.global_step, "num_rollouts": self.selfplay.num_rollouts}
        self.ledger.write({"type": "rollouts_spent", **record})
        self.ledger.flush()
        self.control.should_training_stop = True

    def _stop_starved(self) -> None:
        self.starved = self.selfplay.diagnose()
        self.ledger.write(
            {"type": "starved", "step": self.state.global_step, "diagnosis": self.starved}
        )
        self.ledger.flush()
        logger.error("The run stops at step %d: %s", self.state.global_step, self.starved)
        self.control.should_training_stop = True

    def _local_rows(self, groups: Sequence[Group]) -> list[dict[str, Any]]:
        rows = [
            {
                "prompt": rollout_messages(group.instruction, self.args.style),
                "instruction": group.instruction,
                "majority_answer": group.vote.answer,
                "label_reward": reward,
                "rollout": completion,
                "fresh": group.step == self.state.global_step,
            }
            for group in groups
            for completion, reward in zip(group.completions, group.rewards, strict=True)
        ]
        share = len(rows) // self.accelerator.num_processes
        return rows[self.accelerator.process_index * share :][:share]

    # Handing rollouts on instead of sampling again.

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
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
        if self.model.training:
            self._shape_advantages(output)
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
            with own_sampling(self):
                return super()._generate_single_turn(
                    prompt_ids, images, multimodal_fields, num_generations, has_tool_images
                )
        rollouts = self._handed_on
        logprobs = [rollout.logprobs for rollout in rollouts]
        return [rollout.token_ids for rollout in rollouts], (
            None if logprobs[0] is None else logprobs
        )

    # Rewards and advantages.

    def _label_reward(self, args: SeRLConfig) -> Callable[..., list[float | None]]:
        """The label reward for TRL: the row's own in training, by gold in evaluation."""
        same = functools.partial(same_answer, kind=self._kind, verifier=self.verifier)

        def label_reward(
            completions: list[Any],
            label_reward: list[float] | None = None,
            gold_answer: list[str | None] | None = None,
            **_: Any,
        ) -> list[float | None]:
            if label_reward is not None:
                return list(label_reward)
            rewards: list[float | None] = []
            for completion, gold in zip(completions, gold_answer or [], strict=True):
                answer = extract_answer(completion[0]["content"], kind=self._kind)
                right = answer is not None and gold is not None and same(answer, gold)
                rewards.append(float(right))
            return rewards

        label_reward.__name__ = f"{args.label_reward}_reward"
        return label_reward

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        weighted = rewards * self.reward_weights.to(rewards.device)
        unscored = torch.isnan(rewards).all(dim=1)
        self._gathered_rewards = weighted.nansum(dim=1).masked_fill(unscored, torch.nan)
        return rewards

    def _shape_advantages(self, output: dict[str, Any]) -> None:
        """Replace TRL's advantages by those of `args.advantage`; "grpo" is TRL's own."""
        rewards, size = self._gathered_rewards, self.args.num_generations
        share = len(output["advantages"])
        mine = slice(self.accelerator.process_index * share, None)
        match self.args.advantage:
            case "rloo":
                shaped = normalise(leave_one_out(rewards, size))
            case "reinforce_pp_baseline":
                shaped = normalise(minus_group_mean(rewards, size))
            case "reinforce_pp":
                output["advantages"] = self._token_advantages(rewards[mine][:share], output)
                shaped = self.accelerator.gather(output["advantages"][:, 0].contiguous())
            case _:
                return
        if self.args.advantage != "reinforce_pp":
            output["advantages"] = shaped[mine][:share]
        log: Any = self._logs["advantages"]
        for _ in range(min(len(log), len(shaped))):
            log.pop()
        log.extend(shaped.tolist())

    def _token_advantages(self, rewards: torch.Tensor, output: dict[str, Any]) -> torch.Tensor:
        """REINFORCE++: the KL folded into the return, normalised over the batch's tokens."""
        mask = output["completion_mask"]
        kl = torch.zeros_like(mask, dtype=torch.float32)
        if "ref_per_token_logps" in output:
            kl = self._sampling_logps(output) - output["ref_per_token_logps"]
        rewards = torch.nan_to_num(rewards, nan=torch.nanmean(self._gathered_rewards).item())
        returns = returns_with_kl(rewards, kl, mask, beta=self.args.beta)
        sums = torch.stack([(kl * mask).sum().double(), mask.sum().double()])
        moments = torch.cat([token_moments(returns, mask), sums])
        moments = self.accelerator.reduce(moments, reduction="sum")
        self._metrics["train"]["serl/kl_in_return"].append((moments[3] / moments[4]).item())
        return normalise_tokens(returns, mask, moments[:3]).to(torch.float32)

    def _sampling_logps(self, output: dict[str, Any]) -> torch.Tensor:
        if "old_per_token_logps" in output:
            return output["old_per_token_logps"]
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with torch.no_grad():
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                ids,
                mask,
                output["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        return logps

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """TRL's loss; with REINFORCE++ its own KL term is off, because the return holds the KL."""
        folded = self.args.advantage == "reinforce_pp"
        with swapped("trainer", self, beta=0.0) if folded else nullcontext():
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
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
            shown = [_visible(messages) for messages in texts[name]]
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
        if isinstance(scheduler, LambdaLR):
            scheduler.lr_lambdas = [_repeating(f, period) for f in scheduler.lr_lambdas]
        elif self.is_world_process_zero():
            logger.warning(
                "lr_scheduler_type=%s keeps one schedule over all iterations.",
                self.args.lr_scheduler_type,
            )
        return scheduler

    def start_iteration(self, number: int) -> None:
        """Save the model of the iteration that ended; start iteration `number` in place."""
        self.saving.save_model(private_folder(self.args) / "iterations" / str(number - 1))
        self.iteration = number
        if self.args.reset_optimizer:
            self.optimizer.state.clear()
        if self.args.reset_reference and self.ref_model is not None:
            SyncRefModelCallback.sync_target_model(self.model, self.ref_model, 1.0)
        elif self.args.reset_reference and self.beta and is_peft_model(self.model):
            make_reference(self.model)
        self.selfplay.start_iteration(reset_pool=self.args.reset_pool)
        self.ledger.write({"type": "iteration", "step": self.state.global_step, "number": number})

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
        "auto" for that or else a fresh start. What the run wrote after it is moved aside. Raises
        `CheckpointError` when it is damaged or belongs to another configuration.
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
        """Save the model, unless a weight is not finite: that raises `NonFiniteError`."""
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
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self.saving.load(Path(checkpoint))
        if isinstance(self.lr_scheduler, LambdaLR):
            # The saved rate belongs to the saved schedule, which a longer run stretches.
            step = self.lr_scheduler.last_epoch
            factors = [schedule(step) for schedule in self.lr_scheduler.lr_lambdas]
            rates = [b * f for b, f in zip(self.lr_scheduler.base_lrs, factors, strict=True)]
            self.lr_scheduler._last_lr = rates
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def _finalize_training(self, trial: Any, num_train_samples: float, start_time: float) -> Any:
        # The last figures are those of the whole run, however often it was resumed, and however
        # often the clock was set meanwhile.
        start_time = time.time() - self.saving.seconds
        with swapped("args", self.args, save_total_limit=None):
            return super()._finalize_training(trial, num_train_samples, start_time)

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
        """Write the card and its figures beside the model; while the run trains there is none."""
        if self.is_world_process_zero() and not self.is_in_train:
            # Sharing reads run folders and stands above training; only this way up leads there.
            from serl_trl.share.hub import write_card

            self.ledger.flush()
            write_card(private_folder(self.args).parent, repo_id=self.args.hub_model_id)

    # It takes no token and does nothing in the background.
    def push_to_hub(  # ty: ignore[incompatible-method-override]
        self, commit_message: str | None = None, *, private: bool | None = None
    ) -> str | None:
        """Save the model and upload it with its card; return the address.

        Only the files of `release.ALLOWED` go, to a private repository unless `private` (or
        `args.hub_private_repo`) is false. `None` when it did not arrive: that is logged with the
        command to push later, and nothing is raised. The other processes return `None`.
        """
        from serl_trl.share.hub import push_model

        self.save_model()
        if not self.is_world_process_zero():
            return None
        self.ledger.flush()
        private = self.args.hub_private_repo is not False if private is None else private
        folder = private_folder(self.args).parent
        return push_model(
            folder, repo_id=self.args.hub_model_id, private=private, message=commit_message
        )

    # Looking without training.

    @own_lines_only()
    def propose(
        self, num: int, *, tell: Callable[[str], None] | None = None
    ) -> list[JudgedProposal]:
        """Write `num` proposals with the present weights, each with its fate.

        Changes nothing in the run: pool, counters, ledger and randomness are left as they were, so
        that a second call with the same weights writes the same. Stops after `max_refill_rounds`
        rounds, with fewer, when the policy writes too little. `tell` takes one plain line before
        and after each round.
        """
        judged: list[JudgedProposal] = []
        tell = tell or (lambda line: None)
        training, rounds = self.model.training, self.args.max_refill_rounds
        self.model.train()
        seed = self.args.seed + self.accelerator.process_index
        with self.selfplay.looking(), private_randomness(seed):
            for number in range(1, rounds + 1):
                if len(judged) >= num:
                    break
                tell(
                    f"round {number} of at most {rounds}: the model answers "
                    f"{self.args.num_requests} requests, {len(judged)} of {num} proposals so far"
                )
                with awake(self):
                    found = self.selfplay.judge_proposals(self.state.global_step)
                tell(f"round {number}: {self.selfplay.say_round(found)}")
                judged += found
        self.model.train(training)
        return judged[:num]

    def measure(
        self,
        problems: Sequence[dict[str, str]],
        *,
        num_samples: int = 16,
        temperature: float = 1.0,
        top_p: float = 1.0,
        greedy: bool = True,
        seed: int = 0,
    ) -> Measurement:
        """Grade `num_samples` completions of each problem (and a greedy one) against its gold.

        `problems` hold "instruction" and "answer". The random state of the run is left as it was,
        so that measuring more or less often changes no training.
        """
        attempts = self.attempt(
            problems,
            num_samples=num_samples,
            temperature=temperature,
            top_p=top_p,
            greedy=greedy,
            seed=seed,
        )
        graded = grade_attempts(attempts, kind=self._kind, verifier=self.verifier)
        return Measurement(tuple(graded), num_samples)

    @own_lines_only()
    def attempt(
        self,
        problems: Sequence[dict[str, str]],
        *,
        num_samples: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        greedy: bool = True,
        seed: int = 0,
    ) -> list[Attempts]:
        """Complete each problem `num_samples` times (and once greedily), graded by nobody yet.

        The completions depend on `problems`, the weights, the batch sizes and `seed` alone; the
        random state of the run is left as it was.
        """
        instructions = [problem["instruction"] for problem in problems]
        tokens = self.args.max_completion_length
        training = self.model.training
        self.model.eval()
        with awake(self), private_randomness(seed + self.accelerator.process_index):
            sampling = Sampling(temperature, top_p, tokens)
            sampled = self.policy.sample(instructions, num_samples, sampling)
            best = self.policy.sample(instructions, 1, Sampling(0.0, 1.0, tokens)) if greedy else []
        self.model.train(training)
        return [
            Attempts(
                problem["instruction"],
                problem["answer"],
                tuple(sampled[i]),
                best[i][0] if best else None,
            )
            for i, problem in enumerate(problems)
        ]

    def _prepare_template(self) -> None:
        """Make the template show all that we write, and warn of what it does beside."""
        tokenizer: Any = self._tokenizer
        kwargs: Any = self.chat_template_kwargs

        def render(messages: Messages) -> str:
            return tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **kwargs
            )

        if self.args.prompt_style == "completion":
            tokenizer.chat_template = COMPLETION_TEMPLATE
        elif not tokenizer.chat_template:
            raise ValueError(no_template_problem(visible(str(self.model.name_or_path))))
        notes = prepare_template(tokenizer, render)
        notes += template_warnings(tokenizer, render, set(self.eos_token_ids), kwargs)
        for note in notes if self.is_world_process_zero() else ():
            logger.warning("%s", note)

    def _seed_problems(self) -> list[Problem]:
        return check_seed_set(
            self.seed_set,
            num_shots=self.args.num_shots if self.args.prompt_source == "self_play" else 1,
            max_tokens=self.args.max_instruction_tokens,
            count_tokens=functools.partial(count_tokens, self._tokenizer),
            special_tokens=special_tokens_of(self._tokenizer),
        )

    def _make_selfplay(self) -> SelfPlay:
        args, seeds = self.args, self.seed_set.instructions
        values = {f.name: getattr(args, f.name) for f in fields(Options) if hasattr(args, f.name)}
        values |= {"answer_kind": self._kind, "max_request_tokens": self._request_budget()}
        options = Options(**values)
        return SelfPlay(
            options,
            pool=InstructionPool(seeds),
            proposal_filter=ProposalFilter(
                seeds,
                names=self._filters(),
                min_words=args.min_words,
                max_words=args.max_words,
                max_tokens=args.max_instruction_tokens,
                count_tokens=functools.partial(count_tokens, self._tokenizer),
                special_tokens=special_tokens_of(self._tokenizer),
                max_rouge_l=args.max_rouge_l,
                novelty=args.novelty,
                novelty_scope=args.novelty_scope,
                max_per_template=args.max_per_template or None,
                embedding=self._encoder(),
                max_cosine=args.max_cosine,
                contamination=self.evaluation_sets,
                contamination_ngram=args.contamination_ngram,
                max_contamination_rouge_l=args.max_contamination_rouge_l,
            ),
            policy=self.policy,
            verifier=self.verifier,
            ledger=self.ledger,
            rng=random.Random(args.seed),
            golds=dict(zip(seeds, self.seed_set.answers, strict=True)),
            oracle=self._oracle,
            watch=self.watcher.waiting_for,
        )

    def _filters(self) -> tuple[str | TextFilter, ...]:
        """The filters, those of the user asked in one process: they may go by clock or chance."""

        def asked_once(judge: TextFilter) -> TextFilter:
            return lambda text: self.policy.decide(lambda: judge(text))

        return tuple(
            each if isinstance(each, str) else asked_once(each) for each in self._own_filters
        )

    def _encoder(self) -> Encoder | None:
        """The embedding model, asked in one process: devices differ in the last digits."""
        if not self.args.embedding_model:
            return None
        main = self.is_world_process_zero()
        encode = load_encoder(self.args.embedding_model) if main else None
        return lambda texts: self.policy.decide(lambda: encode(texts) if encode else [])

    def _note_contaminated_seeds(self) -> None:
        """Warn of seeds that overlap an evaluation set: they are the user's, and stay."""
        verdicts = [self.selfplay.filter.overlap(seed) for seed in self.seed_set.instructions]
        rows = [row for row, verdict in enumerate(verdicts) if not verdict.keep]
        for row in rows:
            self.ledger.write({"type": "seed_overlap", "row": row, **(verdicts[row].detail or {})})
        if rows and self.is_world_process_zero():
            logger.warning(
                "%d of %d seeds overlap an evaluation set (rows %s%s); they stay in the seed set, "
                "so what is measured on that set is not held out from them.",
                len(rows),
                len(verdicts),
                ", ".join(map(str, rows[:10])),
                ", ..." if len(rows) > 10 else "",
            )

    def _note_long_votes(self) -> None:
        """Warn where the vote, for which other processes wait, may outlast what they wait."""
        args = self.args
        # A round rolls out up to four times what it needs; see `SelfPlay._round`.
        prompts = args.prompts_per_batch * min(4, args.max_refill_rollouts)
        # Votes and gold answers are two batches of the verifier.
        batches = 2 if args.gold_oracle or any(self.seed_set.answers) else 1
        longest = batches * self.verifier.longest_s(prompts * args.num_generations)
        if longest >= args.ddp_timeout:
            logger.warning(
                "ddp_timeout=%s seconds is not above the %.0f that one vote may take at worst (%d "
                "completions, all answers different and slow to compare); the other processes "
                "wait for it, so raise ddp_timeout above that.",
                args.ddp_timeout,
                longest,
                prompts * args.num_generations,
            )

    def _request_budget(self) -> int | None:
        """Tokens a request may have so that its answer fits the context; `None`: no limit."""
        context = context_tokens(self)
        if context is None:
            return None
        budget = context - self.args.proposer_max_tokens
        if budget <= 0:
            raise ValueError(
                f"proposer_max_tokens={self.args.proposer_max_tokens} leaves no room for a request "
                f"in the model's context of {context} tokens; lower it."
            )
        return budget


class _Boundaries(TrainerCallback):
    """Starts iterations, and keeps the logged epoch a function of the step, resumed or not."""

    def __init__(self, trainer: SeRLTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            write_config(args)
            write_facts(private_folder(args), gather_facts(self._trainer))
        # A resumed run goes by its present options, not by those of its checkpoint.
        state.compute_steps(args, state.max_steps)
        self._trainer.saving.restore_loop()
        if state.global_step == 0:
            # TRL seeds when the trainer is built; what was drawn since must not change the run.
            set_seed(args.seed, device_specific=True)
            self._trainer.iteration = 1
        self._begin_iteration(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.epoch = state.global_step / state.max_steps
        self._begin_iteration(args, state)

    def _begin_iteration(self, args: Any, state: Any) -> None:
        """Begin the iteration of the next step, unless it began before or the run is over."""
        number = state.global_step // args.steps_per_iteration + 1
        if state.global_step < state.max_steps and number > self._trainer.iteration:
            self._trainer.start_iteration(number)


def private_folder(args: SeRLConfig) -> Path:
    """Return the part of the run's folder that `push_to_hub` skips."""
    assert args.output_dir is not None, "TRL sets a default"
    return Path(args.output_dir) / PRIVATE_FOLDER


def write_config(args: SeRLConfig) -> None:
    """Write the resolved config (tokens masked) to the private part of the run's folder."""
    text = yaml.safe_dump(args.to_dict(), sort_keys=True, allow_unicode=True)
    Folder(private_folder(args).parent).write(f"{PRIVATE_FOLDER}/config.yaml", text)


def _check_gold(seeds: SeedSet, args: SeRLConfig) -> None:
    if args.label_reward != "gold" or args.gold_oracle:
        return
    proposes = args.use_selfplay and args.prompt_source == "self_play"
    if problem := gold_problem(seeds, proposes=proposes):
        raise ValueError(str(problem))


def _rows_dataset(
    instructions: Sequence[str], golds: Sequence[str | None], args: SeRLConfig
) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [rollout_messages(text, args.style) for text in instructions],
            "instruction": list(instructions),
            "gold_answer": list(golds),
        }
    )


def _eval_rows(problems: Sequence[dict[str, Any]], args: SeRLConfig) -> Dataset | None:
    if not problems:
        return None
    return _rows_dataset(
        [problem["instruction"] for problem in problems],
        [problem["answer"] for problem in problems],
        args,
    )


def _evaluation_sets(
    named: Mapping[str, Sequence[str]] | None, probe_set: Sequence[dict[str, Any]]
) -> dict[str, list[str]]:
    """All problems that must not be trained on, by the name of their set."""
    sets = {name: list(problems) for name, problems in (named or {}).items()}
    if probe_set:
        sets["probe_set"] = [problem["instruction"] for problem in probe_set]
    return sets


def _visible(messages: Any) -> Any:
    """Return a text, or messages of texts, without control characters."""
    if isinstance(messages, dict):
        return {name: _visible(text) for name, text in messages.items()}
    if isinstance(messages, list):
        return [_visible(message) for message in messages]
    return visible(messages) if isinstance(messages, str) else messages


def _repeating(schedule: Callable[[int], float], period: int) -> Callable[[int], float]:
    @functools.wraps(schedule)
    def repeated(step: int) -> float:
        return schedule(step % period)

    return repeated
