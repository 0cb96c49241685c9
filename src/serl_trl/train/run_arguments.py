"""What a run reads and writes, as options beside those of self-play."""

from dataclasses import dataclass
from math import inf as INF

from serl_trl.common.options import option
from serl_trl.train.options import PRESETS


@dataclass
class RunArguments:
    """What a run reads and writes, beside the numbers of `SeRLConfig` and TRL's `ModelConfig`."""

    preset: str | None = option(
        None, "Named set of values below the config file and the flags.", choices=tuple(PRESETS)
    )
    seed_set: str | None = option(
        None,
        "Instructions to start from: a .jsonl, .json, .csv, .parquet or .txt file, a dataset on "
        "the Hub, `sandbox` or `sandbox_hard`.",
    )
    seed_split: str = option("train", "Split of a seed set on the Hub, such as train[:500].")
    seed_config: str | None = option(None, "Configuration of a seed set on the Hub.")
    instruction_column: str | None = option(
        None,
        "Column of the instructions; by default the first of problem, question, instruction, "
        "prompt and text.",
    )
    answer_column: str | None = option(
        None, "Column of the gold answers, by default `answer` if there is one. Not trained on."
    )
    max_bad_rows: int = option(
        0, "How many unusable rows of a set to pass over.", (0, INF), "0 accepts none"
    )
    labelled_set: list[str] | None = option(
        None,
        "One or several files (or Hub datasets, or `sandbox`) of instructions with gold answers, "
        "for the source labelled and for anchors; columns as in the seed set.",
    )
    unlabelled_set: list[str] | None = option(
        None,
        "The same, without answers, for the source unlabelled; answers that are there only count "
        "label accuracy.",
    )
    probe_set: str | None = option(
        None,
        "Problems with answers to measure during training: as seed_set, with an answer column.",
    )
    probe_split: str = option("test", "Split of a probe set on the Hub.")
    probe_config: str | None = option(None, "Configuration of a probe set on the Hub.")
    probe_column: str | None = option(None, "Column of the probe set's instructions.")
    probe_answer_column: str | None = option(None, "Column of the probe set's answers.")
    evaluation_sets: list[str] | None = option(
        None,
        "Files, benchmark names or Hub ids of other problems that the model will be measured on; "
        "like the probe set, nothing that overlaps them is trained on.",
    )
    reward_funcs: list[str] | None = option(
        None,
        "Dotted paths of reward functions in `plugins`, or names of TRL's such as accuracy_reward, "
        "weighted by reward_weights.",
    )
    resume: str | None = option(
        None,
        "Checkpoint to go on from: auto (the newest whole one, else a fresh start), true (the "
        "newest whole one, which must exist) or a folder. The same as resume_from_checkpoint.",
    )
    overwrite: bool = option(
        False, "Move a run that is in output_dir aside, to a numbered folder beside it."
    )
    json: str | None = option(
        None, "Write the command's numbers to this file, as JSON; - is standard output."
    )
