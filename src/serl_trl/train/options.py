"""The self-play options of a run and TRL's options with other defaults; imports neither.

Separate from `SeRLConfig` so that `--help` can list them without the seconds that TRL takes.
"""

from dataclasses import dataclass
from math import inf as INF
from pathlib import Path
from typing import Any

import yaml

from serl_trl.common.options import PAPER, option
from serl_trl.propose.prompts import PromptStyle

_STYLE = PromptStyle()

FILTER_PRESETS = ("default", "paper")


PRESETS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("presets.yaml").read_text(encoding="utf-8")
)

HEADINGS = {
    "per_device_train_batch_size": "Options of TRL with another default",
    "use_selfplay": "Prompts and labels",
    "num_requests": "The proposer",
    "proposal_filters": "The filters",
    "use_band": "The vote, the band, the refill",
    "advantage": "The update",
    "instructions_per_iteration": "Iterations",
    "prompt_style": "Prompt texts",
    "allow_changes": "Saving and resuming",
    "collapse_guard": "Watching",
}
"""Titles for `--help`, each with the first option below it."""


@dataclass
class SelfPlayOptions:
    """The fields that `SeRLConfig` adds to TRL's, or gives another default."""

    # TRL's own options, with other defaults.
    per_device_train_batch_size: int = option(
        16,
        "Rollouts in one forward and backward pass of one process.",
        (1, INF),
        "it counts rollouts",
    )
    gradient_accumulation_steps: int = option(
        16,
        "Passes per optimizer step. With the default batch size, one process and 16 votes a step "
        "trains on 16 prompts x 16 completions. Source: SeRL.",
        (1, INF),
        "1 updates after every pass",
    )
    num_generations: int = option(
        16,
        "Completions (votes) per prompt.",
        (2, 4096),
        "a vote needs at least two completions; the paper uses 16",
    )
    max_completion_length: int = option(
        1024,
        "Longest completion in tokens; a longer one is cut off and has no vote.",
        (1, INF),
        "it counts tokens; the paper uses 1024",
    )
    beta: float = option(
        1e-3,
        "Weight of the KL term to the reference model. Departs from TRL's 0.",
        (0, INF),
        "0 switches the KL term off and loads no reference",
    )
    epsilon_high: float | None = option(
        0.28,
        "Upper clip range of the probability ratio. Source: DAPO, arXiv 2503.14476.",
        (1e-6, 10),
        "DAPO uses 0.28",
    )
    logging_steps: float = option(
        1, "Log every this many optimizer steps.", (1e-9, INF), "1 logs every step"
    )
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
    sources: list[str] = option(
        ["few_shot"],
        "Where instructions come from, as a list of name or `name: share`. few_shot: the policy "
        "writes new ones from the seed set. retry: the same, and it is told why its last ones were "
        "refused. answer_first: it writes a solution, then the problem "
        "of it, and a group is kept if its label is that answer. given: the rows of the seed set, "
        "in order or shuffled by `shuffle_dataset`. labelled: the rows of labelled_set, rewarded "
        "by their gold answers; labelled(weight=2) teaches twice as much. unlabelled: the rows of "
        "unlabelled_set. few_shot(anchors=5): up to 5 of the examples are labelled rows. "
        "Or a dotted path to a source in `plugins`.",
    )
    label_reward: str = option(
        "vote",
        "vote: 1 for the members of the majority answer, else 0. gold: 1 for a right answer by the "
        "gold answer. random: a fair coin, the control. none: only the given reward functions. "
        "soft_vote(gate=0.5), wide_vote(votes=32) and others: see `serl strategies`. "
        "Or a dotted path to a labeller in `plugins`, with its "
        "options: my_package.Half(share=0.25).",
    )
    mask_answer: bool = option(
        False,
        "Leave the tokens of the final answer out of the loss: the answers decide the reward, and "
        "only the way to them is trained. Of completions that are an answer and nothing else, "
        "little is left to train. Source: OM-GRPO.",
    )
    answer_kind: str = option(
        "math",
        "Kind of the final answer, or a dotted path to one in `plugins`; see docs/answers.md.",
    )
    plugins: list[str] | None = option(
        None,
        "Packages whose own answer kinds, labellers, sources, filters, oracles and rewards may be "
        "named by dotted path. Only a flag or Python names one: a config file may come from "
        "somebody else.",
    )
    gold_oracle: str | None = option(
        None,
        "Dotted path of a function from instruction to its gold answer or None. Used to log label "
        "accuracy, and as the label only when label_reward is gold.",
    )

    # The proposer.
    num_requests: int = option(4, "Few-shot requests in one round.", (1, 4096), PAPER)
    num_shots: int = option(8, "Examples shown in a request.", (1, 256), PAPER)
    num_pool_shots: int = option(
        2, "How many of the shots may be accepted proposals; at most num_shots.", (0, 256), PAPER
    )
    prefer_least_used_seeds: bool = option(
        False, "Draw the seeds that were shown least often first, instead of uniformly."
    )
    proposer_temperature: float = option(
        0.8, "Sampling temperature of proposals.", (0.001, 10), PAPER
    )
    proposer_top_p: float = option(0.95, "Nucleus of proposals.", (0.001, 1), PAPER)
    proposer_presence_penalty: float = option(
        2.0, "Presence penalty of proposals; vLLM only.", (-2, 2), PAPER
    )
    proposer_max_tokens: int = option(
        1024, "Longest answer to a request, in tokens.", (8, INF), PAPER
    )
    proposer_stop: list[str] | None = option(
        None, "Texts at which the answer to a request ends, such as its 21st number; vLLM only."
    )

    # The filters.
    proposal_filters: str = option(
        "default",
        "default, paper, or a comma-separated list of filter names and dotted paths. With "
        "task_template the first two leave out the filters that judge questions.",
    )
    min_words: int = option(4, "Fewest words of an instruction.", (1, INF), PAPER)
    max_words: int = option(
        400,
        "Most words of an instruction.",
        (1, INF),
        "the paper uses 150, which one in ten sound problems exceed",
    )
    max_instruction_tokens: int = option(
        512,
        "Most tokens of an instruction, for seeds (an error) and proposals (refused).",
        (4, INF),
        "512 leaves room for the completion",
    )
    max_rouge_l: float = option(
        0.7, "Refuse proposals above this ROUGE-L F1 to anything known.", (1e-6, 1), PAPER
    )
    novelty: str = option(
        "math",
        "math: also exact duplicates, operators and number-masked templates. plain: ROUGE-L alone.",
        choices=("math", "plain"),
    )
    novelty_scope: str = option(
        "pool",
        "pool: everything ever accepted in the run. seeds_and_pending: the paper's, which lets a "
        "run repeat itself.",
        choices=("pool", "seeds_and_pending"),
    )
    max_per_template: int = option(
        3,
        "Most accepted instructions that are alike but for their numbers.",
        (0, INF),
        "0 sets no cap",
    )

    embedding_model: str | None = option(
        None,
        "Path or Hub id of a sentence-transformers model (extra `embeddings`); proposals too near "
        "in meaning to a known instruction are then refused. None: off.",
    )
    max_cosine: float = option(
        0.92,
        "Refuse proposals above this cosine to anything known; needs the model.",
        (1e-6, 1),
        "0.85 to 0.95 is usual",
    )
    contamination_ngram: int = option(
        13,
        "Refuse proposals that share this many tokens in a row with an evaluation problem.",
        (4, 1000),
        "13 is usual",
    )
    max_contamination_rouge_l: float = option(
        0.7,
        "Refuse proposals above this ROUGE-L F1 to a problem of the probe set or of another named "
        "evaluation set.",
        (1e-6, 1),
        "1 leaves it to n-grams and copies",
    )

    # The vote, the band, the refill.
    use_band: bool = option(True, "Keep only groups inside the difficulty band.")
    difficulty_low: float | None = option(
        None,
        "Lower end of the kept majority ratios, included. Not set: 0.2, or the 95th percentile of "
        "chance where answer_kind knows the number of answers and neither end is set.",
        (0, 1),
        "the paper uses 0.2",
    )
    difficulty_high: float | None = option(
        None,
        "Upper end of the kept majority ratios, included. Not set: one vote short of all where "
        "the gate (validity) is strict; else 0.8, or halfway from the lower end by chance to 1 "
        "where that is more.",
        (0, 1),
        "the paper uses 0.8",
    )
    validity: str | bool = option(
        "auto",
        "The gate on questions of the model's own, for labels that are votes. strict: keep only "
        "what is probably valid; the band reaches to one vote short of all where its ends are not "
        "set. auto: strict, and the first weights are asked. careful: refuse what is probably "
        "broken. weigh: as careful, and a group teaches as much as its question is likely valid. "
        "off: no gate. With commas, signals that ask: abstention(num=4).",
    )
    pilot_votes: int = option(
        0,
        "Votes after which a group ends that will hardly land in the band; the others get all. "
        "Only for labellers that judge a group by its own completions.",
        (0, 4096),
        "0 gives every group all its votes; 6 or 7 of 16 save most",
    )
    pilot_chance: float = option(
        0.05,
        "A group ends after its pilot votes if its chance of landing in the band is at most this.",
        (0, 1),
        "0 ends only what cannot land there",
    )
    max_staleness: int = option(
        0,
        "Optimizer steps for which a kept group that found no place may wait. Above 0 "
        "the log-probs of the sampling policy are stored and used in the ratio.",
        (0, 1000),
        "0 drops kept groups that found no place",
    )
    max_refill_rounds: int = option(
        16,
        "Most propose-and-roll-out rounds for one generation batch.",
        (1, 100000),
        "a refill needs at least one round",
    )
    max_refill_rollouts: int = option(
        8,
        "Most prompts rolled out for one generation batch, as a multiple of its prompts.",
        (1, 10000),
        "it multiplies the prompts of a batch",
    )
    max_refill_s: float = option(
        3600.0,
        "Most seconds for one generation batch. A decision by the clock is written to the ledger.",
        (1, INF),
        "set it far above the usual refill",
    )
    max_empty_refills: int = option(
        5,
        "Refills in a row that find no group at all before the run stops with a diagnosis.",
        (1, 10000),
        "the run stops after so many",
    )

    max_rollouts: int = option(
        0,
        "Most completions sampled for groups in the whole run, whose last step is the one made of "
        "them. The learning-rate schedule still follows max_steps.",
        (0, INF),
        "0 sets no bound",
    )

    # The update.
    advantage: str = option(
        "rloo",
        "grpo, rloo, reinforce_pp (KL in the return, normalised over the batch) or "
        "reinforce_pp_baseline; see docs/method.md.",
        choices=("grpo", "rloo", "reinforce_pp", "reinforce_pp_baseline"),
    )

    warn_logprob_gap: float = option(
        0.05,
        "With vLLM: warn when the log-probs of engine and trainer differ by more than this, in "
        "nats per token, mean over a generation batch. Rounding in bfloat16 explains about 0.01.",
        (0, INF),
        "0 warns always",
    )
    max_logprob_gap: float = option(
        0.3,
        "With vLLM: stop the run before it learns from a batch with a larger gap than this.",
        (1e-9, INF),
        "engines that are in step stay far below 0.1",
    )

    max_nonfinite_steps: int = option(
        3,
        "Steps with a NaN or infinite loss or gradient that are skipped, their batch written to "
        "_serl/nonfinite, before the next one stops the run. Counted from the last start.",
        (0, 1000),
        "0 stops at the first",
    )

    # Iterations.
    instructions_per_iteration: int = option(
        2000, "Instructions trained on in one iteration.", (1, INF), PAPER
    )
    num_selfplay_iterations: int = option(
        1, "Iterations in the run.", (1, 1000), "the paper uses 3"
    )
    reset_optimizer: bool = option(True, "Start an iteration with a fresh optimizer.")
    reset_schedule: bool = option(True, "Start an iteration with a fresh learning-rate schedule.")
    reset_reference: bool = option(True, "Start an iteration with its policy as KL reference.")
    reset_pool: bool = option(True, "Start an iteration with an empty proposal pool.")

    # Prompt texts.
    prompt_style: str = option(
        "chat",
        "chat: the tokenizer's template. completion: the plain text, for base models.",
        choices=("chat", "completion"),
    )
    language: str = option(
        "en",
        "Language of the instructions, as a code such as en, de or pt-BR. For another than English "
        "the filters of the default that read English step aside, and prompt texts that are not "
        "given are in that language where this package has them (de, es, fr).",
    )
    domain: str = option(_STYLE.domain, "What the proposer teaches; fills {domain} in the texts.")
    proposer_system: str = option(_STYLE.proposer_system, "System message of a request.")
    proposer_request: str = option(_STYLE.proposer_request, "Line before the numbered list.")
    answer_first_system: str = option(
        _STYLE.answer_first_system,
        "System message of a request of the source answer_first. With task_template, {question} in "
        "it is the template.",
    )
    rollout_system: str = option(
        _STYLE.rollout_system, "System message of a rollout; may be empty."
    )
    answer_instruction: str = option(
        _STYLE.answer_instruction, "Line after the instruction that fixes the answer's format."
    )
    abstain_instruction: str = option(
        _STYLE.abstain_instruction,
        "What stands behind the instruction where the signal abstention allows the answer none; "
        "{answer_instruction} is what usually stands there.",
    )
    restate_instruction: str = option(
        _STYLE.restate_instruction,
        "Line after the instruction that asks for it in other words, for the signal two_views.",
    )
    task_template: str = option(
        _STYLE.task_template,
        "For seeds that are texts and no questions: what is asked of each, with the form of the "
        "answer, and `{instruction}` where the text stands. It takes the place of "
        "answer_instruction; proposals are texts too. Empty: instructions ask for themselves.",
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
        choices=("stop", "continue"),
    )

    # Watching.
    collapse_guard: str = option(
        "rollback",
        "What to do where alarms say that the model collapses. warn: say so. stop: halve the "
        "learning rate at the first ring, then end the run. rollback: then also go back to the "
        "last checkpoint before the alarm. off: look at nothing.",
        choices=("warn", "stop", "rollback", "off"),
    )
    sentinel_steps: int = option(
        20,
        "Answer 64 of the seeds, 4 times each, without training on them, every this many steps, "
        "and twice as often once the answers move.",
        (0, INF),
        "0 never does, and a silent collapse stays unseen",
    )
    probe_decides: bool = option(
        False,
        "Also stop where pass@1 on the probe set, which is measured from the untrained model on, "
        "falls by more than chance, and go back to its best. That set is then no test any more.",
    )
    probe_steps: int = option(
        0,
        "Measure the probe set every this many steps.",
        (0, INF),
        "0 measures nothing during training",
    )
    probe_samples: int | None = option(
        None,
        "Completions per problem of the probe set; not set: num_generations. With another number "
        "the label accuracy of kept groups is not estimated.",
        (1, 4096),
        "4 is enough to watch pass@1",
    )
    sample_steps: int = option(
        0,
        "Show some proposals with their fate and one group with its votes every this many steps.",
        (0, INF),
        "0 shows none",
    )
    show_steps: int = option(
        0, "Print the run's table every this many steps.", (0, INF), "0 follows logging_steps"
    )
