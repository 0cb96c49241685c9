"""Every number of a run: `SeRLConfig`, TRL's `GRPOConfig` with the self-play options beside it."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from accelerate import PartialState
from trl import GRPOConfig

from serl_trl.config_file import is_secret
from serl_trl.options import option
from serl_trl.prompts import PromptStyle
from serl_trl.texts import holds_secret, redacted

_STYLE = PromptStyle()

ADVANTAGES = ("grpo", "rloo", "reinforce_pp", "reinforce_pp_baseline")
LABEL_REWARDS = ("vote", "gold", "random", "none")
PROMPT_SOURCES = ("self_play", "given")
NOVELTY_RULES = ("math", "plain")
NOVELTY_SCOPES = ("pool", "seeds_and_pending")

FULL_DISK_RULES = ("stop", "continue")

PRESETS: dict[str, dict[str, Any]] = {
    # The paper's numbers and rules. Source: SeRL, arXiv 2505.20347, and its public reference code.
    "paper": {
        "advantage": "reinforce_pp",
        "learning_rate": 5e-7,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": 0.03,
        "beta": 1e-4,
        "epsilon": 0.2,
        "epsilon_high": 0.2,
        "max_grad_norm": 1.0,
        "adam_beta2": 0.95,
        "max_completion_length": 1024,
        "num_selfplay_iterations": 3,
        "proposal_filters": "paper",
        "novelty": "plain",
        "novelty_scope": "seeds_and_pending",
        "max_per_template": 0,
    },
    # The upper reference: the given prompts, rewarded by their gold answers.
    "rl_gold": {"prompt_source": "given", "label_reward": "gold", "use_band": False},
    # The given prompts without their answers, rewarded by the vote.
    "rl_vote": {"prompt_source": "given", "label_reward": "vote"},
}


@dataclass(repr=False)
class SeRLConfig(GRPOConfig):
    """TRL's `GRPOConfig` plus the options of self-play; each field's help says unit, range, source.

    A field of TRL whose default differs here is listed first. `max_steps` counts the whole run and
    wins over `instructions_per_iteration * num_selfplay_iterations`, from which it is derived when
    it is not given.

    Raises `ValueError` naming every bad value at once.
    """

    # TRL's own options, with other defaults.
    per_device_train_batch_size: int = option(
        16, "Rollouts in one forward and backward pass of one process."
    )
    gradient_accumulation_steps: int = option(
        16,
        "Passes per optimizer step. With the default batch size, one process and 16 votes a step "
        "trains on 16 prompts x 16 completions. Source: SeRL.",
    )
    # TRL allows None, which no run of ours can mean.
    num_generations: int = option(  # ty: ignore[incompatible-mutable-override]
        16, "Completions (votes) per prompt, at least 2. Source: SeRL uses 16."
    )
    max_completion_length: int = option(  # ty: ignore[incompatible-mutable-override]
        1024, "Longest completion in tokens; a longer one is cut off and has no vote. Source: SeRL."
    )
    beta: float = option(
        1e-3,
        "Weight of the KL term to the reference model; 0 loads no reference. Departs from TRL's 0.",
    )
    epsilon_high: float | None = option(
        0.28, "Upper clip range of the probability ratio. Source: DAPO, arXiv 2503.14476."
    )
    logging_steps: float = option(1, "Log every this many optimizer steps.")
    logging_nan_inf_filter: bool = option(
        False,
        "True would log an invented loss for one that is not finite; see max_nonfinite_steps.",
    )
    hub_private_repo: bool | None = option(
        True, "Make what push_to_hub creates private; only false makes it public."
    )
    # TRL also takes its own names, which mean pushes during training.
    hub_strategy: str = option(
        "end", "Only end: what is pushed is pushed once, when training is over."
    )

    # Where prompts and labels come from.
    use_selfplay: bool = option(
        True,
        "False leaves everything to TRL: its own data iterator over the seed set, no vote, no "
        "band. With label_reward none and advantage grpo it is GRPOTrainer bit for bit.",
    )
    prompt_source: str = option(
        "self_play",
        "self_play: the policy writes new instructions from the seed set. given: the rows of the "
        "seed set themselves are trained on, in order or shuffled by `shuffle_dataset`.",
        choices=PROMPT_SOURCES,
    )
    label_reward: str = option(
        "vote",
        "vote: 1 for the members of the majority answer, else 0. gold: 1 for a right answer by the "
        "gold answer. random: a fair coin, the control. none: only the given reward functions.",
        choices=LABEL_REWARDS,
    )
    answer_kind: str = option(
        "math", "Kind of the final answer, or a dotted path to your own kind; see docs/answers.md."
    )
    gold_oracle: str | None = option(
        None,
        "Dotted path of a function from instruction to its gold answer or None. Used to log label "
        "accuracy, and as the label only when label_reward is gold.",
    )

    # The proposer.
    num_requests: int = option(4, "Few-shot requests in one round, at least 1. Source: SeRL.")
    num_shots: int = option(8, "Examples shown in a request, at least 1. Source: SeRL.")
    num_pool_shots: int = option(
        2, "How many of the shots may be accepted proposals, in [0, num_shots]. Source: SeRL."
    )
    prefer_least_used_seeds: bool = option(
        False, "Draw the seeds that were shown least often first, instead of uniformly."
    )
    proposer_temperature: float = option(0.8, "Sampling temperature of proposals. Source: SeRL.")
    proposer_top_p: float = option(0.95, "Nucleus of proposals, in (0, 1]. Source: SeRL.")
    proposer_presence_penalty: float = option(
        2.0, "Presence penalty of proposals, in [-2, 2]; vLLM only. Source: SeRL."
    )
    proposer_max_tokens: int = option(1024, "Longest answer to a request, in tokens. Source: SeRL.")
    proposer_stop: list[str] | None = option(
        None, "Texts at which the answer to a request ends, such as its 21st number; vLLM only."
    )

    # The filters.
    proposal_filters: str = option(
        "default", "default, paper, or a comma-separated list of filter names and dotted paths."
    )
    min_words: int = option(4, "Fewest words of an instruction. Source: SeRL.")
    max_words: int = option(150, "Most words of an instruction. Source: SeRL.")
    max_instruction_tokens: int = option(
        512, "Most tokens of an instruction, for seeds (an error) and proposals (refused)."
    )
    max_rouge_l: float = option(
        0.7, "Refuse proposals above this ROUGE-L F1 to anything known, in (0, 1]. Source: SeRL."
    )
    novelty: str = option(
        "math",
        "math: also exact duplicates, operators and number-masked templates. plain: ROUGE-L alone.",
        choices=NOVELTY_RULES,
    )
    novelty_scope: str = option(
        "pool",
        "pool: everything ever accepted in the run. seeds_and_pending: the paper's, which lets a "
        "run repeat itself.",
        choices=NOVELTY_SCOPES,
    )
    max_per_template: int = option(
        3, "Most accepted instructions that are alike but for their numbers; 0 sets no cap."
    )

    embedding_model: str | None = option(
        None,
        "Path or Hub id of a sentence-transformers model (extra `embeddings`); proposals too near "
        "in meaning to a known instruction are then refused. None: off.",
    )
    max_cosine: float = option(
        0.92, "Refuse proposals above this cosine to anything known, in (0, 1]; needs the model."
    )
    contamination_ngram: int = option(
        13, "Refuse proposals that share this many tokens in a row with an evaluation problem."
    )
    max_contamination_rouge_l: float = option(
        0.7,
        "Refuse proposals above this ROUGE-L F1 to a problem of the probe set or of another named "
        "evaluation set, in (0, 1]; 1 leaves it to n-grams and copies.",
    )

    # The vote, the band, the refill.
    use_band: bool = option(True, "Keep only groups inside the difficulty band.")
    difficulty_low: float = option(
        0.2, "Lower end of the kept majority ratios, included, in [0, 1]. Source: SeRL."
    )
    difficulty_high: float = option(
        0.8, "Upper end of the kept majority ratios, included, in [0, 1]. Source: SeRL."
    )
    max_staleness: int = option(
        0,
        "Optimizer steps for which a kept group that found no place may wait; 0 drops it. Above 0 "
        "the log-probs of the sampling policy are stored and used in the ratio.",
    )
    max_refill_rounds: int = option(
        16, "Most propose-and-roll-out rounds for one generation batch, at least 1."
    )
    max_refill_rollouts: int = option(
        8, "Most prompts rolled out for one generation batch, as a multiple of its prompts."
    )
    max_refill_s: float = option(
        3600.0,
        "Most seconds for one generation batch. A decision by the clock is written to the ledger.",
    )
    max_empty_refills: int = option(
        5, "Refills in a row that find no group at all before the run stops with a diagnosis."
    )

    max_rollouts: int = option(
        0,
        "Most completions sampled for groups in the whole run, whose last step is the one made of "
        "them; 0 sets no bound. The learning-rate schedule still follows max_steps.",
    )

    # The update.
    advantage: str = option(
        "rloo",
        "grpo, rloo, reinforce_pp (KL in the return, normalised over the batch) or "
        "reinforce_pp_baseline; see docs/method.md.",
        choices=ADVANTAGES,
    )

    warn_logprob_gap: float = option(
        0.05,
        "With vLLM: warn when the log-probs of engine and trainer differ by more than this, in "
        "nats per token, mean over a generation batch. Rounding in bfloat16 explains about 0.01.",
    )
    max_logprob_gap: float = option(
        0.3, "With vLLM: stop the run before it learns from a batch with a larger gap than this."
    )

    max_nonfinite_steps: int = option(
        3,
        "Steps with a NaN or infinite loss or gradient that are skipped, their batch written to "
        "_serl/nonfinite, before the next one stops the run. Counted from the last start.",
    )

    # Iterations.
    instructions_per_iteration: int = option(
        2000, "Instructions trained on in one iteration. Source: SeRL."
    )
    num_selfplay_iterations: int = option(1, "Iterations in the run. Source: SeRL uses 3.")
    reset_optimizer: bool = option(True, "Start an iteration with a fresh optimizer.")
    reset_schedule: bool = option(True, "Start an iteration with a fresh learning-rate schedule.")
    reset_reference: bool = option(True, "Start an iteration with its policy as KL reference.")
    reset_pool: bool = option(True, "Start an iteration with an empty proposal pool.")

    # Prompt texts.
    domain: str = option(_STYLE.domain, "What the proposer teaches; fills {domain} in the texts.")
    proposer_system: str = option(_STYLE.proposer_system, "System message of a request.")
    proposer_request: str = option(_STYLE.proposer_request, "Line before the numbered list.")
    rollout_system: str = option(
        _STYLE.rollout_system, "System message of a rollout; may be empty."
    )
    answer_instruction: str = option(
        _STYLE.answer_instruction, "Line after the instruction that fixes the answer's format."
    )

    # Saving and resuming.
    allow_changes: bool = option(
        False,
        "Resume although options or the number of processes differ from the checkpoint's. The "
        "rollouts of a half-used generation batch are then dropped.",
    )
    on_full_disk: str = option(
        "stop",
        "What to do when a checkpoint finds no room: stop the run, or continue it without that "
        "checkpoint. Earlier checkpoints stay whole either way.",
        choices=FULL_DISK_RULES,
    )

    # Watching.
    probe_steps: int = option(
        0, "Measure the probe set every this many steps; 0 measures nothing during training."
    )
    probe_samples: int | None = option(
        None,
        "Completions per problem of the probe set; not set: num_generations. With another number "
        "the label accuracy of kept groups is not estimated.",
    )
    sample_steps: int = option(
        0,
        "Show some proposals with their fate and one group with its votes every this many steps; 0 "
        "never does.",
    )
    show_steps: int = option(
        0, "Print the run's table every this many steps; 0 follows logging_steps."
    )

    def __post_init__(self) -> None:
        problems = find_problems({f.name: getattr(self, f.name, None) for f in fields(self)})
        if problems:
            raise ValueError(redacted("\n".join(problems)))
        if self.use_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # On the CPU transformers sets up the processes without ddp_timeout, and a hung one
            # would be waited for half an hour.
            timeout = timedelta(seconds=self.ddp_timeout)
            PartialState(cpu=True, backend=self.ddp_backend, timeout=timeout)
        super().__post_init__()
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
        """Build the config of preset `name`, in which `overrides` win.

        Raises `ValueError` for a name that is none of `PRESETS`.
        """
        if name not in PRESETS:
            raise ValueError(f"preset={name} is unknown; choose one of {', '.join(PRESETS)}.")
        return cls(**{**PRESETS[name], **overrides})

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
        return min(steps, self.max_steps) if self.max_steps > 0 else steps

    @property
    def not_applied(self) -> list[str]:
        """What is set and has no effect, as name=value: only vLLM knows it, and is not used."""
        names = ("proposer_presence_penalty", "proposer_stop")
        given = {} if self.use_vllm else {name: getattr(self, name) for name in names}
        shown = {name: f"{v:g}" if isinstance(v, float) else v for name, v in given.items() if v}
        return [f"{name}={text}" for name, text in shown.items()]

    @property
    def style(self) -> PromptStyle:
        """The prompt texts of this run."""
        return PromptStyle(**{f.name: getattr(self, f.name) for f in fields(PromptStyle)})


def find_problems(values: Mapping[str, Any]) -> list[str]:
    """Return one line per bad value or combination; empty when the run may start.

    Works on raw values, before anything is built from them, so that all problems are named at once.
    """
    values = {name: _parsed(value) for name, value in values.items()}
    problems = [
        f"{name} holds {what}, and options are saved with the run; log in with `hf auth login`, or "
        "set a variable such as HF_TOKEN in the shell."
        for name, value in values.items()
        if name != "hub_token" and (what := _secret_in(value))
    ]
    problems += out_of_range(values, _RANGES)
    for name, choices in _CHOICES.items():
        value = values.get(name)
        if value is not None and value not in choices:
            problems.append(
                f"{name}={value} is unknown; choose one of {', '.join(map(str, choices))}."
            )
    return problems + _bad_combinations(values)


def out_of_range(
    values: Mapping[str, Any], ranges: Mapping[str, tuple[float, float, str]]
) -> list[str]:
    """Return one line per number outside its range, each of which is (low, high, hint)."""
    problems = []
    for name, (low, high, hint) in ranges.items():
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not low <= value <= high:
            upper = "" if high == math.inf else f" and at most {high:g}"
            problems.append(f"{name}={value:g} must be at least {low:g}{upper}; {hint}.")
    return problems


_PROMPT_TEXTS = ("domain", "proposer_system", "proposer_request", "rollout_system")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _bad_texts(values: Mapping[str, Any]) -> list[str]:
    """Return one line per prompt text with a control character: "\\b" of YAML's double quotes."""
    return [
        f"{name} holds the control character {found.group()!r}; between double quotes of YAML a "
        "backslash is written twice, between single quotes once."
        for name in (*_PROMPT_TEXTS, "answer_instruction")
        if isinstance(text := values.get(name), str) and (found := _CONTROL.search(text))
    ]


def _bad_combinations(values: Mapping[str, Any]) -> list[str]:
    problems = _bad_texts(values)
    low, high = values.get("difficulty_low"), values.get("difficulty_high")
    votes = values.get("num_generations")
    if low is not None and high is not None and low >= high:
        problems.append(
            f"difficulty_low={low} must be below difficulty_high={high}; the paper uses 0.2 "
            "and 0.8."
        )
    elif low is not None and high is not None and votes and values.get("use_band", True):
        reachable = [f"{k}/{votes}" for k in range(2, votes + 1)]
        if not any(low - 1e-9 <= k / votes <= high + 1e-9 for k in range(2, votes + 1)):
            problems.append(
                f"difficulty_low={low} and difficulty_high={high} keep no group: with "
                f"num_generations={votes} a majority ratio is one of {', '.join(reachable)}; "
                "widen the band."
            )
    shots, pool_shots = values.get("num_shots"), values.get("num_pool_shots")
    if shots is not None and pool_shots is not None and pool_shots > shots:
        problems.append(f"num_pool_shots={pool_shots} must not exceed num_shots={shots}.")
    fewest, most = values.get("min_words"), values.get("max_words")
    if fewest is not None and most is not None and fewest > most:
        problems.append(f"min_words={fewest} must not exceed max_words={most}.")
    if values.get("advantage") == "reinforce_pp" and values.get(
        "multi_objective_aggregation"
    ) not in (
        None,
        "sum_then_normalize",
    ):
        problems.append("multi_objective_aggregation must be sum_then_normalize with reinforce_pp.")
    most = values.get("max_rollouts")
    if most and votes and most < votes:
        problems.append(
            f"max_rollouts={most} is less than one group of num_generations={votes}; raise it, or "
            "set it to 0 for no bound."
        )
    if values.get("use_selfplay") is False and values.get("label_reward") in ("vote", "random"):
        problems.append(
            f"label_reward={values['label_reward']} needs use_selfplay; set label_reward to gold "
            "or none."
        )
    strategy = values.get("hub_strategy", "end")
    if getattr(strategy, "value", strategy) != "end":
        problems.append(
            f"hub_strategy={getattr(strategy, 'value', strategy)} must be end; checkpoints hold "
            "what is not meant for others. `serl push RUN` pushes at any time."
        )
    kwargs = values.get("generation_kwargs")
    if values.get("use_vllm") and isinstance(kwargs, Mapping) and "seed" in kwargs:
        problems.append(
            f"generation_kwargs={{seed: ...}} with vllm_mode={values.get('vllm_mode')} makes all "
            "completions of a prompt alike, so that no vote can differ; leave the seed out."
        )
    parts = values.get("vllm_tensor_parallel_size")
    colocated = values.get("use_vllm") and values.get("vllm_mode") == "colocate"
    if colocated and isinstance(parts, int) and parts > 1:
        problems.append(
            f"vllm_tensor_parallel_size={parts} with vllm_mode=colocate is refused: the processes "
            "of one engine must draw the same tokens, and training gives each its own random "
            "state; leave it at 1, or use vllm_mode: server."
        )
    if values.get("hub_token"):
        problems.append(
            "hub_token must not stand in a config, which is saved with the run; log in with `hf "
            "auth login` or set HF_TOKEN."
        )
    return problems


def _parsed(value: Any) -> Any:
    """Read the JSON of a mapping; what is none is left to whoever reads it."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _secret_in(value: Any) -> str:
    """Return what is secret in a value, at any depth, without repeating it; or nothing."""
    if isinstance(value, str):
        return "a token, or an address with a password" if holds_secret(value) else ""
    if isinstance(value, Mapping):
        named = (f"a secret ({key})" for key, item in value.items() if _is_secret_item(key, item))
        inside = (_secret_in(each) for pair in value.items() for each in pair)
        return next(filter(None, (*inside, *named)), "")
    if isinstance(value, list | tuple | set):
        return next(filter(None, map(_secret_in, value)), "")
    return ""


def _is_secret_item(key: Any, item: Any) -> bool:
    # `token: true` means the login of the machine, and a tokenizer's marks are no secrets.
    return isinstance(item, str) and is_secret(str(key)) and not _MARK.fullmatch(str(key))


_MARK = re.compile("(bos|eos|pad|unk|sep|cls|mask|image|video|audio)_token")

_RANGES: dict[str, tuple[float, float, str]] = {
    "per_device_train_batch_size": (1, math.inf, "it counts rollouts"),
    "gradient_accumulation_steps": (1, math.inf, "1 updates after every pass"),
    "num_generations": (2, 4096, "a vote needs at least two completions; the paper uses 16"),
    "max_completion_length": (1, math.inf, "it counts tokens; the paper uses 1024"),
    "temperature": (1e-3, 10, "a vote needs differing completions; use 0.6 to 1.2"),
    "top_p": (1e-3, 1, "1 keeps every token"),
    "learning_rate": (1e-12, 1, "1e-7 to 1e-5 is usual"),
    "beta": (0, math.inf, "0 switches the KL term off"),
    "epsilon": (1e-6, 1, "the paper uses 0.2"),
    "epsilon_high": (1e-6, 10, "DAPO uses 0.28"),
    "num_iterations": (1, math.inf, "1 trains on a batch once"),
    "save_steps": (1e-9, math.inf, "whole numbers count steps, fractions are of the run"),
    "logging_steps": (1e-9, math.inf, "1 logs every step"),
    "num_requests": (1, 4096, "the paper uses 4"),
    "num_shots": (1, 256, "the paper uses 8"),
    "num_pool_shots": (0, 256, "the paper uses 2"),
    "proposer_temperature": (1e-3, 10, "the paper uses 0.8"),
    "proposer_top_p": (1e-3, 1, "the paper uses 0.95"),
    "proposer_presence_penalty": (-2, 2, "the paper uses 2"),
    "proposer_max_tokens": (8, math.inf, "the paper uses 1024"),
    "min_words": (1, math.inf, "the paper uses 4"),
    "max_words": (1, math.inf, "the paper uses 150"),
    "max_instruction_tokens": (4, math.inf, "512 leaves room for the completion"),
    "max_rouge_l": (1e-6, 1, "the paper uses 0.7"),
    "max_cosine": (1e-6, 1, "0.85 to 0.95 is usual"),
    "contamination_ngram": (4, 1000, "13 is usual"),
    "max_contamination_rouge_l": (1e-6, 1, "1 leaves it to n-grams and copies"),
    "max_per_template": (0, math.inf, "0 sets no cap"),
    "difficulty_low": (0, 1, "it is a majority ratio; the paper uses 0.2"),
    "difficulty_high": (0, 1, "it is a majority ratio; the paper uses 0.8"),
    "max_staleness": (0, 1000, "0 drops kept groups that found no place"),
    "max_refill_rounds": (1, 100_000, "a refill needs at least one round"),
    "max_refill_rollouts": (1, 10_000, "it multiplies the prompts of a batch"),
    "max_refill_s": (1, math.inf, "set it far above the usual refill"),
    "max_empty_refills": (1, 10_000, "the run stops after so many"),
    "max_rollouts": (0, math.inf, "0 sets no bound"),
    "warn_logprob_gap": (0, math.inf, "0 warns always"),
    "max_logprob_gap": (1e-9, math.inf, "engines that are in step stay far below 0.1"),
    "max_nonfinite_steps": (0, 1000, "0 stops at the first"),
    "instructions_per_iteration": (1, math.inf, "the paper uses 2000"),
    "num_selfplay_iterations": (1, 1000, "the paper uses 3"),
    "probe_steps": (0, math.inf, "0 measures nothing during training"),
    "probe_samples": (1, 4096, "4 is enough to watch pass@1"),
    "sample_steps": (0, math.inf, "0 shows none"),
    "show_steps": (0, math.inf, "0 follows logging_steps"),
}

_CHOICES: dict[str, tuple[str | bool, ...]] = {
    "prompt_source": PROMPT_SOURCES,
    "label_reward": LABEL_REWARDS,
    "novelty": NOVELTY_RULES,
    "novelty_scope": NOVELTY_SCOPES,
    "on_full_disk": FULL_DISK_RULES,
    "advantage": ADVANTAGES,
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "vllm_mode": ("colocate", "server"),
    "importance_sampling_level": ("token", "sequence"),
    "vllm_importance_sampling_mode": (
        "token_truncate",
        "token_mask",
        "sequence_truncate",
        "sequence_mask",
    ),
}
