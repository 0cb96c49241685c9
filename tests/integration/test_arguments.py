"""Options of a run: which source wins, and the message for every value that is wrong."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from benchmarks import hard
from serl_trl.cli import parser as arguments
from serl_trl.cli.parser import REMOVED, Arguments, SeRLConfigError, SeRLParser
from serl_trl.cli.run_problems import find_run_problems
from serl_trl.common.option_values import convert
from serl_trl.propose.prompts import PromptStyle
from serl_trl.sandbox import STYLE
from serl_trl.train.checkpoint import Facts, publish, save_state
from serl_trl.train.config import PRESETS

CONFIGS = Path(__file__).parents[2] / "configs"
BASE = {
    "model_name_or_path": "sandbox",
    "seed_set": "sandbox",
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def parse(*flags: str, text: str = "", **values) -> Arguments:
    """Parse a file `run.yaml` of BASE, `values` and literal `text`, with `flags`."""
    content = yaml.safe_dump({**BASE, **values}) + text
    Path("run.yaml").write_text(content, encoding="utf-8")
    return SeRLParser(prog="serl train").parse(["--config", "run.yaml", *flags])


def problems_of(*flags: str, text: str = "", **values) -> list[str]:
    with pytest.raises(SeRLConfigError) as caught:
        parse(*flags, text=text, **values)
    return list(caught.value.problems)


def line_of(name: str) -> int:
    lines = Path("run.yaml").read_text().splitlines()
    return next(i for i, line in enumerate(lines, start=1) if line.startswith(name))


# Which source wins.


def test_flags_beat_file_beats_preset_beats_defaults():
    # The preset `paper` sets learning_rate 5e-7, beta 1e-4, adam_beta2 0.95.
    args = parse("--learning_rate", "3e-6", learning_rate=2e-6, beta=0.5, preset="paper")

    assert args.config.learning_rate == 3e-6
    assert args.config.beta == 0.5
    assert args.config.adam_beta2 == PRESETS["paper"]["adam_beta2"] == 0.95
    assert args.config.num_shots == 8


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_chosen_by_flag_or_file(preset):
    by_flag, by_file = parse("--preset", preset), parse(preset=preset)

    for name, value in PRESETS[preset].items():
        assert getattr(by_flag.config, name) == value == getattr(by_file.config, name)


def test_a_preset_flag_beats_the_file_s_preset():
    assert parse("--preset", "rl_gold", preset="paper").config.label_reward == "gold"


@pytest.mark.parametrize("form", [["--config", "run.yaml"], ["--config=run.yaml"]])
def test_config_is_read_in_both_forms(form):
    parse(learning_rate=2e-6)

    assert SeRLParser().parse(form).config.learning_rate == 2e-6


def test_hyphens_in_flags_are_underscores():
    assert parse("--learning-rate=2e-6", "--num-shots", "4").config.num_shots == 4


def test_env_is_set_when_nothing_is_wrong(monkeypatch):
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    problems_of("--num_shots", "0", text="env: {KMP_BLOCKTIME: 1}\n")
    assert "KMP_BLOCKTIME" not in os.environ

    parse(text="env: {KMP_BLOCKTIME: 1}\n")

    assert os.environ.pop("KMP_BLOCKTIME") == "1"


def test_values_keep_their_types():
    args = parse(
        text=(
            "learning_rate: 1e-6\nwarmup_steps: 1\nscale_rewards: true\neval_strategy: no\n"
            "lora_target_modules: all-linear\nlr_scheduler_kwargs: {a: 1}\nmax_grad_norm: 2\n"
        )
    )

    assert args.config.learning_rate == 1e-6
    assert args.config.max_grad_norm == 2.0
    assert args.config.scale_rewards == "group"
    assert args.config.eval_strategy == "no"
    assert args.config.lr_scheduler_kwargs == {"a": 1}
    assert args.model.lora_target_modules == "all-linear"


def test_help_lists_options_with_defaults(capsys):
    with pytest.raises(SystemExit) as left:
        SeRLParser(prog="serl train").parse(["--help"])

    text = " ".join(capsys.readouterr().out.split())
    assert left.value.code == 0
    assert "--difficulty_low" in text
    assert "(default: 0.2)" in text
    assert "{paper,rl_gold,rl_vote,om_grpo,evol_rl}" in text


# The shipped files.


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_parses(path, tmp_path, monkeypatch):
    # They are written for a machine with a GPU, and to be started from the repository's folder.
    monkeypatch.chdir(CONFIGS.parent)
    argv = ["--config", str(path), "--output_dir", str(tmp_path / "run")]

    assert SeRLParser().parse(argv, here=False).config.max_steps > 0


@pytest.mark.parametrize("name", ["sandbox", "sandbox_hard"])
def test_a_sandbox_s_config_is_one_file_known_by_name_and_holds_its_texts(name):
    link = CONFIGS / f"{name}_cpu.yaml"
    args = SeRLParser().parse(["--config", name])

    assert os.readlink(link) == f"../src/serl_trl/sandbox/{name}_cpu.yaml"
    assert args.config.style == STYLE
    assert args.run.seed_set == args.model.model_name_or_path == name
    written = yaml.safe_load(link.read_text())
    assert {field.name for field in fields(PromptStyle)} <= written.keys()
    assert written["save_strategy"] == "steps"


@pytest.mark.parametrize("arm", hard.ARMS, ids=lambda arm: arm.name)
def test_the_flags_of_each_arm_of_the_hard_study_are_options(arm, tmp_path):
    argv = ["--config", "sandbox_hard", "--output_dir", str(tmp_path / "run"), *arm.flags]
    assert SeRLParser().parse(argv).config.max_steps == 60


# Names.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_generation: 4\n", "unknown key 'num_generation' at run.yaml:6. Did you mean 'num_generations'?"),
        ("learning-rate: 1\n", "unknown key 'learning-rate' at run.yaml:6. Did you mean 'learning_rate'?"),
        ("qqq: 1\n", "unknown key 'qqq' at run.yaml:6."),
        ("config: other.yaml\n", "unknown key 'config' at run.yaml:6."),
        ("max_prompt_length: 512\n", "key 'max_prompt_length' at run.yaml:6 was removed: TRL 1.x does not cut prompts; use max_instruction_tokens."),
        ("torch_dtype: bfloat16\n", "key 'torch_dtype' at run.yaml:6 was removed: transformers 5 calls it dtype."),
        ("wandb_api_key: abc\n", "key 'wandb_api_key' at run.yaml:6 looks like a secret"),
    ],
)  # fmt: skip
def test_unknown_keys_fail_with_a_suggestion(text, message):
    (problem,) = problems_of(text=text)

    assert problem.startswith(message)
    assert "abc" not in problem


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--temp", "1"], "unknown flag '--temp'. Did you mean 'temperature'?"),
        (["--bet=1"], "unknown flag '--bet'. Did you mean 'beta'?"),
        (["--conf", "x.yaml"], "unknown flag '--conf'. Did you mean 'config'?"),
        (["--warmup_ratio", "0.1"], "flag '--warmup_ratio' was removed: transformers 5 reads a warmup_steps below 1 as a share of the run."),
        (["--no-cuda"], "flag '--no_cuda' was removed: transformers 5 calls it use_cpu."),
        (["5e-5"], "unexpected argument '5e-5'; options are written --name value."),
    ],
)  # fmt: skip
def test_unknown_and_abbreviated_flags_fail_with_a_suggestion(flags, message):
    assert problems_of(*flags) == [message]


def test_removed_names_are_no_options_any_more():
    assert not REMOVED.keys() & SeRLParser()._options.keys()


@pytest.mark.parametrize(
    "name",
    [
        "max_prompt_length",
        "torch_dtype",
        "warmup_ratio",
        "overwrite_output_dir",
        "logging_dir",
        "evaluation_strategy",
        "no_cuda",
        "use_liger_loss",
        "save_safetensors",
        "group_by_length",
        "vllm_guided_decoding_regex",
    ],
)
def test_names_that_users_still_have_are_explained(name):
    assert f"key {name!r} at run.yaml:6 was removed: " in problems_of(text=f"{name}: 1\n")[0]


def test_a_flag_without_its_value_is_named_beside_the_file_s_problems():
    assert problems_of("--learning_rate", text="qqq: 1\n") == [
        "argument --learning_rate/--learning-rate: expected one argument.",
        "unknown key 'qqq' at run.yaml:6.",
    ]


def test_a_missing_config_is_named_with_where_it_was_looked_for(tmp_path):
    parse()
    with pytest.raises(SeRLConfigError) as caught:
        SeRLParser().parse(["--config", "runs.yaml"])

    assert caught.value.problems == (
        f"the config file runs.yaml does not exist (in {tmp_path}). Did you mean 'run.yaml'?",
    )


def test_a_key_given_twice_is_named_with_both_lines():
    assert problems_of(text="temperature: 1.0\nbeta: 0.0\ntemperature: 0.9\n") == [
        "'temperature' is given twice (run.yaml, lines 6 and 8); keep one."
    ]


# Types.


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_generations", 2.0, "expected int, got float 2.0"),
        ("max_completion_length", 2.5, "expected int, got float 2.5"),
        ("max_completion_length", True, "expected int, got bool True"),
        ("num_generations", None, "expected int, got null"),
        ("save_total_limit", "two", "expected int or null, got text 'two'"),
        ("num_generations", "16", "expected int, got text '16'"),
        ("num_generations", 10**30, f"expected int, got int {10**30}"),
        ("use_vllm", 3, "expected true or false, got int 3"),
        ("use_vllm", "yes please", "expected true or false, got text 'yes please'"),
        ("run_name", {"a": 1}, "expected text or null, got mapping {'a': 1}"),
        ("run_name", 7, "expected text or null, got int 7"),
        ("domain", ["law"], "expected text, got list ['law']"),
        ("learning_rate", "fast", "expected float, got text 'fast'"),
        ("learning_rate", True, "expected float, got bool True"),
        ("learning_rate", [1e-6], "expected float, got list [1e-06]"),
        ("reward_funcs", [1], "expected a list of text or null, got list [1]"),
        ("generation_kwargs", [1], "expected a mapping or text or null, got list [1]"),
        ("model_name_or_path", 3, "expected text or null, got int 3"),
    ],
)
def test_values_of_the_wrong_type_are_named_with_their_line(name, value, message):
    (problem,) = problems_of(**{name: value})

    assert problem == f"{name}: {message} (run.yaml:{line_of(name)})."


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_generations", "2.0"], "num_generations: expected int, got '2.0'."),
        (["--learning_rate", "fast"], "learning_rate: expected float, got 'fast'."),
        (["--use_vllm", "maybe"], "use_vllm: expected true or false, got 'maybe'."),
        (["--reward_weights", "1", "x"], "reward_weights: expected float, got 'x'."),
        (
            ["--generation_kwargs", '{"seed": 1'],
            "generation_kwargs={\"seed\": 1 is not JSON: Expecting ',' delimiter: line 1 column 11 "
            "(char 10). (--generation_kwargs)",
        ),
    ],
)
def test_flags_of_the_wrong_type_are_named(flags, message):
    assert problems_of(*flags) == [message]


def test_long_values_are_not_shown_whole():
    (problem,) = problems_of(num_shots="x" * 500)

    assert len(problem) < 150


def test_convert_accepts_what_yaml_cannot_say_better():
    assert convert("1e-6", float) == 1e-6
    assert convert(3, float) == 3.0
    assert isinstance(convert(3, float), float)
    assert convert("a", list[str] | None) == ["a"]
    assert convert(None, int | None) is None


# Ranges and choices.


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_generations", 1, "num_generations=1 must be at least 2"),
        ("learning_rate", -1.0, "learning_rate=-1 must be at least 1e-12 and at most 1; 1e-7 to 1e-5 is usual."),
        ("learning_rate", float("nan"), "learning_rate=nan must be at least"),
        ("temperature", 0, "temperature=0 must be at least 0.001 and at most 10; a vote needs differing completions; use 0.6 to 1.2."),
        ("temperature", -1, "temperature=-1 must be"),
        ("top_p", 2, "top_p=2 must be at least 0.001 and at most 1"),
        ("max_completion_length", 0, "max_completion_length=0 must be at least 1"),
        ("beta", -0.1, "beta=-0.1 must be at least 0"),
        ("epsilon", 5, "epsilon=5 must be at least 1e-06 and at most 1"),
        ("save_steps", 0, "save_steps=0 must be at least"),
        ("lora_r", 0, "lora_r=0 must be at least 1 and at most 4096"),
        ("lora_dropout", 1.5, "lora_dropout=1.5 must be at least 0 and at most 0.99"),
        ("max_steps", 0, "max_steps=0 must be at least 1; leave it out to train for instructions_per_iteration x num_selfplay_iterations."),
        ("seed", -1, "seed=-1 must be at least 0"),
        ("loss_type", "grppo", "loss_type=grppo is unknown; choose one of grpo, dr_grpo, dapo, bnpo, cispo, sapo, luspo, vespo. Did you mean 'grpo'?"),
        ("scale_rewards", "grup", "scale_rewards=grup is unknown; choose one of group, batch, none"),
        ("vllm_mode", "colocated", "vllm_mode=colocated is unknown; choose one of colocate, server. Did you mean 'colocate'?"),
        ("vllm_importance_sampling_mode", "token", "vllm_importance_sampling_mode=token is unknown; choose one of token_truncate"),
        ("dtype", "bfloat61", "dtype=bfloat61 is unknown; choose one of auto, bfloat16, float16, float32. Did you mean 'bfloat16'?"),
        ("lr_scheduler_type", "cosin", "lr_scheduler_type=cosin is unknown; choose one of linear, cosine,"),
        ("optim", "adam", "optim=adam is unknown; choose one of adamw_torch,"),
        ("preset", "papr", "preset=papr is unknown; choose one of paper, rl_gold, rl_vote, om_grpo, evol_rl. Did you mean 'paper'?"),
        ("label_reward", "votes", "label_reward=votes is unknown; choose one of asymmetric_vote, certainty, dual, gold,"),
        ("report_to", "wanbd", "report_to=wanbd is unknown; choose among none, all, azure_ml,"),
        ("report_to", ["tensorbord"], "report_to=tensorbord is unknown; choose among"),
    ],
)  # fmt: skip
def test_values_out_of_range_or_choice_are_named(name, value, message):
    problem, *others = problems_of(**{name: value})

    assert problem.startswith(message)
    assert not others or name == "num_generations"  # no band is reachable with one vote
    assert problem.endswith(f"(run.yaml:{line_of(name)})")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"difficulty_low": 0.8, "difficulty_high": 0.2}, "difficulty_low=0.8 must be below difficulty_high=0.2; the paper uses 0.2 and 0.8."),
        ({"difficulty_low": 0.5, "difficulty_high": 0.5}, "difficulty_low=0.5 must be below"),
        ({"difficulty_high": 1.5}, "difficulty_high=1.5 must be at least 0 and at most 1"),
        ({"num_generations": 4, "difficulty_low": 0.3, "difficulty_high": 0.4}, "difficulty_low=0.3 and difficulty_high=0.4 keep no group: with num_generations=4 a majority ratio is one of 2/4, 3/4, 4/4; widen the band."),
        ({"num_pool_shots": 9}, "num_pool_shots=9 must not exceed num_shots=8."),
        ({"load_in_4bit": True, "use_peft": False}, "load_in_4bit=True trains nothing by itself; QLoRA needs use_peft: true."),
        ({"load_in_4bit": True, "use_peft": True, "use_vllm": True}, "load_in_4bit=True with use_vllm=True is refused: vLLM would sample from other weights than are trained"),
        ({"use_vllm": True}, "use_vllm=True: vllm is not installed; run: pip install 'serl-trl[vllm]'."),
        ({"use_vllm": True, "generation_kwargs": {"seed": 1}}, "generation_kwargs={seed: ...} with vllm_mode=colocate makes all completions of a prompt alike"),
        ({"report_to": "wandb"}, "report_to=wandb: wandb is not installed; install it, or set report_to: none."),
        ({"trust_remote_code": True}, "trust_remote_code=True runs code from the model's repository; pin it: model_revision=main must be a commit of 40 hexadecimal digits."),
        ({"reward_weights": [1.0, 0.5]}, "reward_weights=[1.0, 0.5] has 2 of the 1 weights needed: one for the label reward"),
        ({"label_reward": "none"}, "label_reward=none needs at least one reward function; give one by reward_funcs."),
        ({"eval_strategy": "steps", "eval_steps": 1}, "eval_strategy=steps measures on a probe set, and none is given; give probe_set"),
        ({"use_liger_kernel": True}, "use_liger_kernel=True: liger_kernel is not installed; run: pip install 'liger-kernel'."),
        ({"optim": "galore_adamw"}, "optim=galore_adamw: galore_torch is not installed; run: pip install 'galore-torch'."),
        ({"hub_token": "abc"}, "hub_token must not stand in a config, which is saved with the run; log in with `hf auth login` or set HF_TOKEN."),
        ({"generation_batch_size": 256, "steps_per_generation": 4}, "generation_batch_size=256 and steps_per_generation=4 say the same thing twice"),
        ({"generation_batch_size": 40, "per_device_train_batch_size": 16}, "generation_batch_size=40 must be a multiple of 16, which holds whole groups of num_generations=16 and whole passes of 16 rollouts; use 32 or 48."),
        ({"per_device_train_batch_size": 20, "gradient_accumulation_steps": 2}, "per_device_train_batch_size=20 x gradient_accumulation_steps=2 x 1 process(es) = 40 rollouts do not make whole groups of num_generations=16; use a per_device_train_batch_size of 16 or 24."),
        ({"per_device_train_batch_size": 1, "steps_per_generation": 1}, "per_device_train_batch_size=1 x steps_per_generation=1 x 1 process(es) = 1 rollouts do not make whole groups of num_generations=16; use a per_device_train_batch_size of 16."),
        ({"seed_set": None}, "seed_set is missing; give a .jsonl, .json, .csv, .parquet or .txt file, a Hub dataset, or `sandbox`."),
        ({"seed_set": "chemistry.jsonl"}, "seed_set=chemistry.jsonl: chemistry.jsonl does not exist (looked in "),
        ({"probe_set": "run.yaml"}, "probe_set=run.yaml: run.yaml ends in none of .jsonl, .json, .csv, .parquet, .txt; convert or rename it."),
        ({"model_name_or_path": None}, "model_name_or_path is missing; give a folder, a Hub id, or `sandbox`."),
        ({"bf16": True, "use_cpu": False}, "bf16=True needs a GPU that computes in bfloat16: there is no such GPU here; for a run on the CPU set use_cpu: true and bf16: false."),
        ({"bf16": None, "use_cpu": False}, "bf16, which is on by default, needs a GPU that computes in bfloat16"),
        ({"resume_from_checkpoint": True}, "resume=true: trainer_output holds no whole checkpoint; auto starts afresh then."),
        ({"resume": "run/checkpoint-3"}, "Cannot resume run/checkpoint-3: the folder does not exist. Whole checkpoints in trainer_output: none."),
    ],
)  # fmt: skip
def test_combinations_that_cannot_work_are_named(values, message, monkeypatch):
    monkeypatch.setattr("transformers.utils.is_torch_bf16_gpu_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)

    assert any(problem.startswith(message) for problem in problems_of(**values))


def test_two_processes_count_for_the_batch(monkeypatch):
    values = {
        "per_device_train_batch_size": 12,
        "num_generations": 8,
        "gradient_accumulation_steps": 1,
    }
    assert problems_of(**values)[0].startswith("per_device_train_batch_size=12 x ")

    monkeypatch.setenv("WORLD_SIZE", "2")

    assert not find_run_problems({**BASE, **values}, given=values)


def test_several_gpus_need_a_launcher(monkeypatch):
    monkeypatch.setattr("transformers.utils.is_torch_bf16_gpu_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)

    (problem,) = map(str, find_run_problems({**BASE, "use_cpu": False}, given=()))

    assert problem.startswith("4 GPUs are visible to one process; start one process for each with")
    assert "accelerate launch --num_processes 4 train.py" in problem


@pytest.mark.parametrize(
    ("version", "fits"), [("0.21.9", 0), ("0.22.0", 1), ("0.31.2", 1), ("0.33.0", 0)]
)
def test_the_version_of_vllm_is_checked(monkeypatch, version, fits):
    monkeypatch.setattr("serl_trl.train.needs.missing_package", lambda *_: "")
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)

    problems = [*map(str, find_run_problems({**BASE, "use_vllm": True}, given=()))]

    assert (
        problems == []
        if fits
        else problems
        == [
            f"use_vllm=True: vllm {version} is installed, TRL drives 0.22 to 0.31; run: pip install "
            "'serl-trl[vllm]'."
        ]
    )


# Models and folders.


def test_a_model_that_is_no_folder_and_no_hub_id_is_named():
    Path("models/qwen").mkdir(parents=True)

    (problem,) = problems_of(model_name_or_path="./models/qven")

    assert problem.startswith(
        f"model_name_or_path=./models/qven is neither a folder (in {Path.cwd()}) nor"
    )
    assert "Did you mean 'qwen'?" in problem
    assert "holds no config.json" in problems_of(model_name_or_path="models/qwen")[0]
    assert "is neither a folder" in problems_of(model_name_or_path="a/b/c")[0]


@pytest.mark.parametrize("name", ["models/x.Q4_1.gguf", "models/rounded"])
def test_a_gguf_file_is_told_how_to_become_a_model(name):
    Path("models/rounded").mkdir(parents=True)
    Path("models/rounded/x.gguf").touch()

    (problem,) = problems_of(model_name_or_path=name)

    assert problem.startswith(f"model_name_or_path={name} ")
    assert "saves nothing that was loaded so; convert it first" in problem


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen2.5-0.5B-Instruct"])
def test_hub_ids_are_not_looked_up_by_the_parser(name):
    assert parse(model_name_or_path=name).model.model_name_or_path == name


def test_remote_code_is_accepted_when_pinned():
    pinned = {"model_name_or_path": "a/b", "model_revision": "0f" * 20}
    args = parse("--trust_remote_code", "true", **pinned)

    assert args.config.trust_remote_code


def make_run(folder: str, *steps: int) -> None:
    Path(folder, "_serl").mkdir(parents=True)
    for step in steps:
        unfinished = Path(folder, "_serl", "saving")
        save_state(unfinished, {})
        target = Path(folder, f"checkpoint-{step}")
        publish(unfinished, target, step=step, facts=Facts({}, {}, 1))


def test_a_folder_with_another_run_is_not_written_to():
    make_run("out", 9)

    (problem,) = problems_of(output_dir="out")

    assert problem == (
        "output_dir=out holds another run (_serl, checkpoint-9); resume it by "
        "--resume auto, put it aside by --overwrite true, or name another folder. "
        f"(run.yaml:{line_of('output_dir')})"
    )
    assert parse("--overwrite", "true", output_dir="out").run.overwrite
    for value in ("true", "auto", "out/checkpoint-9"):
        args = parse("--resume", value, output_dir="out")
        assert args.config.resume_from_checkpoint == value
    assert parse("--resume_from_checkpoint", "true", output_dir="out").config.output_dir == "out"


def test_a_folder_with_other_things_is_not_written_to_nor_renamed():
    Path("out").mkdir()
    assert parse(output_dir="out").config.output_dir == "out"
    Path("out/notes.txt").write_text("mine")

    for flags in ((), ("--resume", "auto")):
        (problem,) = problems_of(*flags, output_dir="out")
        assert problem.startswith("output_dir=out holds files that no run wrote (notes.txt)")
    (problem,) = problems_of("--overwrite", "true", output_dir="out")
    assert "renames only what a run or an evaluation wrote" in problem


@pytest.mark.parametrize("folder", ["/", "~", ".", ".."])
def test_no_run_takes_a_folder_that_is_everything(folder):
    for flags in ((), ("--overwrite", "true"), ("--resume", "auto")):
        problems = problems_of(*flags, output_dir=folder)
        assert "name a folder for this run alone" in problems[0] or "not renamed" in problems[0]


def test_other_processes_do_not_judge_the_folder(monkeypatch):
    make_run("out", 9)
    monkeypatch.setenv("RANK", "1")

    assert not find_run_problems({**BASE, "output_dir": "out"}, given=())


def test_resuming_and_overwriting_exclude_each_other():
    make_run("out", 9)

    (problem,) = problems_of("--overwrite", "--resume=true", output_dir="out")

    assert "exclude each other" in problem


def test_a_file_in_place_of_the_folder_is_named():
    Path("out").write_text("")

    assert problems_of(output_dir="out")[0].startswith(
        "output_dir=out: out is a file, not a folder."
    )
    assert "is a file" in problems_of(output_dir="out/deeper")[0]


# All at once.


def test_all_problems_are_named_at_once():
    found = problems_of(
        "--temp",
        "1",
        "--num_generations",
        "x",
        num_generation=4,
        torch_dtype="bfloat16",
        use_vllm=3,
        top_p=2,
        difficulty_low=0.9,
        dtype="bfloat61",
        seed_set="",
    )

    for part in (
        "unknown flag '--temp'",
        "num_generations: expected int",
        "unknown key 'num_generation'",
        "key 'torch_dtype'",
        "use_vllm: expected true or false",
        "top_p=2",
        "difficulty_low=0.9 must be below difficulty_high=0.8",
        "dtype=bfloat61",
        "seed_set is missing",
    ):
        assert sum(part in problem for problem in found) == 1, part
    assert len(found) == 9


def test_what_a_library_finds_is_a_problem_like_any_other():
    (problem,) = problems_of(log_completions_hub_repo="me/there")

    assert problem.startswith("log_completions_hub_repo is set, but log_completions is False.")


def test_nothing_secret_is_repeated():
    secret = "hf_" + "a1B2" * 8

    text = "\n".join(problems_of("--hub_token", secret, hub_token=secret, my_token=secret))

    assert secret not in text
    assert "hub_token must not stand in a config" in text


def test_no_weights_are_loaded_by_the_parser(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the parser loads a model")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)

    assert json.dumps(parse().config.to_dict())


def test_every_option_of_a_run_has_a_help_text():
    assert all(field.metadata["help"] for field in fields(arguments.RunArguments))
