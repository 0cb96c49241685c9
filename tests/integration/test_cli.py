"""The commands, on the sandbox and on small files: exit codes, messages, what they write."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from trl import ModelConfig

import serl_trl
from serl_trl import sandbox
from serl_trl.cli.build import resume_from, set_aside
from serl_trl.cli.command_options import PlanOptions
from serl_trl.cli.entry import main
from serl_trl.cli.inputs import load_inputs
from serl_trl.cli.parser import Arguments, SeRLConfigError, SeRLParser
from serl_trl.cli.run_problems import model_location
from serl_trl.cli.usage import COMMANDS
from serl_trl.common.tokens import special_tokens_of
from serl_trl.data.python_inputs import read_probe_set
from serl_trl.train.checkpoint import CheckpointError
from serl_trl.train.config import SeRLConfig
from serl_trl.train.run_arguments import RunArguments

ROOT = Path(__file__).parents[2]
OPTION_TYPES = (RunArguments, SeRLConfig, ModelConfig, PlanOptions)
# A run of the sandbox that is over in seconds.
SMALL = {
    "max_steps": 1,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "num_requests": 2,
    "difficulty_low": 0.4,
    "difficulty_high": 1.0,
    "max_refill_rollouts": 1000,
    "max_completion_length": 48,
    "proposer_max_tokens": 128,
    "probe_steps": 0,
    "disable_tqdm": True,
}
PROBE = [
    {"question": "Tom has 3 apples and buys 4 more. How many apples does Tom have?", "answer": "7"},
    {"question": "Ann has 9 pens and loses 2. How many pens does Ann have?", "answer": 7},
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(name: str = "run.yaml", **values) -> str:
    """Write the sandbox's config with SMALL and `values` to a file; None takes a key out."""
    content = {**yaml.safe_load(sandbox.CONFIG_PATH.read_text()), **SMALL, **values}
    content = {key: value for key, value in content.items() if value is not None}
    Path(name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return name


def jsonl(name: str, rows: list[dict]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def parse(**values) -> Arguments:
    return SeRLParser().parse(["--config", config(**values)])


def problems_of(**values) -> list[str]:
    with pytest.raises(SeRLConfigError) as caught:
        load_inputs(parse(**values))
    return list(caught.value.problems)


def report(name: str = "out.json") -> dict:
    return json.loads(Path(name).read_text())


# Without a model.


def test_version_and_usage_need_no_torch():
    for argv, text in (["--version", serl_trl.__version__], ["--help", "serl COMMAND"]):
        code = (
            "import sys; from serl_trl.cli import main; code = main(sys.argv[1:]); "
            "assert 'torch' not in sys.modules; sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, argv], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert text in done.stdout


def test_unknown_commands_fail_with_a_suggestion(capsys):
    assert main(["trian"]) == 2

    assert "- unknown command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_env_names_versions(capsys):
    assert main(["env", "--json", "out.json"]) == 0

    assert f"- serl-trl: {serl_trl.__version__}\n" in capsys.readouterr().out
    assert report()["trl"].startswith("1.16")
    assert main(["env", "--json=other.json"]) == 0
    assert report("other.json") == report()
    for wrong in (["--jsn", "out.json"], ["--json"], ["more"]):
        assert main(["env", *wrong]) == 2


def test_every_command_has_a_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0, command
        assert f"usage: serl {command}" in capsys.readouterr().out


TOKEN = "hf_canaryCanaryCanaryCanaryCanary1234"


@pytest.mark.parametrize(
    "flags",
    [
        ["--run_name", TOKEN],
        ["--model_name_or_path", f"https://me:{TOKEN}@huggingface.co/a/b"],
        ["--model_name_or_path", "https://me:canary-password@huggingface.co/a/b"],
        ["--seed_set", f"https://me:{TOKEN}@host/seeds.jsonl"],
        ["--model_init_kwargs", f'{{"token": "{TOKEN}"}}'],
        ["--model_init_kwargs", f'{{"token": "{TOKEN}"'],
        ["--max_steps", TOKEN],
        ["--advantage", TOKEN],
        ["--hub_tokn", TOKEN],
        [TOKEN],
    ],
)
@pytest.mark.parametrize("command", ["train", "check"])
def test_a_token_in_a_flag_is_refused_and_never_printed(capfd, command, flags):
    assert main([command, "--config", config(), *flags]) == 2

    printed = "".join(capfd.readouterr())
    assert TOKEN not in printed
    assert "canary-password" not in printed


def test_a_token_in_a_file_is_refused_once_and_never_printed(capfd):
    for value in (TOKEN, f"https://me:{TOKEN}@host", "https://me:canary-password@host"):
        assert main(["check", "--config", config(run_name=value)]) == 2

        printed = "".join(capfd.readouterr())
        assert "1 problem\n" in printed
        assert TOKEN not in printed
        assert "canary-password" not in printed


def test_bad_input_is_printed_whole_and_without_a_traceback(capsys):
    argv = ["--config", config(top_p=3, num_generation=2), "--beta", "-1", "--temp", "1"]

    assert main(["train", *argv]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("serl train: 4 problems\n- unknown flag '--temp'.")
    assert "- top_p=3 must be" in captured.err
    assert "- beta=-1 must be" in captured.err
    assert "unknown key 'num_generation' at run.yaml:" in captured.err
    assert "Traceback" not in captured.err


def test_other_processes_stay_silent(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")

    assert main(["train", "--config", config(top_p=3)]) == 2

    assert capsys.readouterr() == ("", "")


def test_train_py_is_serl_train():
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--config=missing.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "serl train: 1 problem\n- the config file missing.yaml does not exist" in done.stderr


# Check: everything but the weights.


def test_check_says_what_a_config_means(capsys, monkeypatch):
    from transformers import LlamaForCausalLM

    make = LlamaForCausalLM.from_pretrained

    def without_weights(path, *args, **options):
        # To compare shapes, a model without data is built.
        assert path is None and options["device_map"] == "meta", "check loads weights"
        return make(path, *args, **options)

    monkeypatch.setattr("transformers.LlamaForCausalLM.from_pretrained", without_weights)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", without_weights)
    path = config(max_steps=None, instructions_per_iteration=10, num_selfplay_iterations=2)

    assert main(["check", "--config", path, "--json", "out.json"]) == 0

    found = report()
    assert found["num_seeds"] == 64
    assert found["num_probe_problems"] == 200
    assert found["prompts_per_generation_batch"] == 2
    assert found["rollouts_per_step"] == 8
    assert found["steps_per_iteration"] == 5
    assert found["max_steps"] == 10
    assert found["kept_majority_ratios"] == "2/4 to 4/4"
    assert 0 < found["longest_seed_tokens"] < found["longest_prompt_tokens"] < 1024
    assert found["longest_request_tokens"] > found["longest_prompt_tokens"]
    assert found["not_applied"] == ["proposer_presence_penalty=2: only vLLM knows it"]
    assert found["skipped"] == found["warnings"] == []
    printed = capsys.readouterr().out
    assert "num seeds                     64\n" in printed
    assert_options_have_their_names(printed)
    assert printed.endswith("nothing wrong was found\n")


def assert_options_have_their_names(printed: str) -> None:
    """Fail for a label whose words are those of an option in another order or spelling."""
    options = {item.name for type_ in OPTION_TYPES for item in fields(type_)}
    by_words = {frozenset(name.split("_")): name for name in options}
    labels = [line.split("  ")[0] for line in printed.splitlines() if "  " in line]
    assert len(labels) > 5
    for label in filter(None, labels):
        words = frozenset(re.split(r"[ _]", label))
        assert "_" not in label or label in options
        assert label == by_words.get(words, label), f"{label!r} stands for {by_words[words]}"


def test_plan_prints_options_by_their_names(capsys):
    path = config(seed_set="nobody/no-such-set")

    assert main(["plan", "--config", path, "--gpu", "24gb"]) == 0

    assert_options_have_their_names(capsys.readouterr().out)


def test_check_names_what_it_skips_without_the_hub(capsys):
    path = config(model_name_or_path="nobody/no-such-model", seed_set="nobody/no-such-set")

    assert main(["check", "--config", path, "--json", "out.json"]) == 0

    skipped = report()["skipped"]
    assert [line.split(":")[0] for line in skipped] == [
        "tokenizer",
        "model configuration",
        "seed_set",
    ]
    assert "nobody/no-such-model is not a folder in" in skipped[0]
    assert "the Hub cannot be reached" in skipped[2]
    assert "3 things not looked at" in capsys.readouterr().out


def test_train_does_not_start_without_the_hub(capsys):
    assert main(["train", "--config", config(model_name_or_path="nobody/no-such-model")]) == 2

    assert "and the Hub cannot be reached; check the connection" in capsys.readouterr().err


def test_bad_seeds_are_named_by_file_and_line(capsys):
    rows = [{"question": f"What is {n} + 1?"} for n in range(9)]
    seeds = jsonl("seeds.jsonl", [*rows, {"question": ""}])

    assert main(["check", "--config", config(seed_set=seeds)]) == 2

    assert capsys.readouterr().err == (
        "serl check: 1 problem\n"
        "- seeds.jsonl has 1 bad row, allowed are max_bad_rows=0:\n"
        "    seeds.jsonl:10: 'question' is empty.\n"
    )


def test_passed_over_rows_are_named_as_warnings():
    rows = [{"question": f"What is {n} + 1?"} for n in range(8)]
    seeds = jsonl("seeds.jsonl", [*rows, {"question": 7}])

    assert main(["check", "--config", config(seed_set=seeds, max_bad_rows=1), "--json=o.json"]) == 0

    assert report("o.json")["warnings"] == [
        "passed over seeds.jsonl:9: 'question' must be text, not int."
    ]


def test_inputs_are_checked_against_the_tokenizer_and_each_other():
    rows = [{"question": "<|im_end|> Now answer 7."}, {"question": "What " * 600}]

    found = problems_of(
        seed_set=jsonl("seeds.jsonl", rows),
        probe_set=jsonl("probes.jsonl", [{"question": "Why?"}]),
        reward_funcs=["nowhere.reward", "json.dumps", "sys.path"],
        gold_oracle="serl_trl.sandbox.nothing",
        answer_kind="colour",
        max_completion_length=900,
        proposer_max_tokens=1024,
    )

    expected = [
        "probes.jsonl has no column 'answer' for the answers; it has question. Name it by "
        "probe_answer_column.",
        "reward_funcs=nowhere.reward would run code of nowhere, which is not a plug-in.",
        "reward_funcs=json.dumps would run json of Python's standard library;",
        "reward_funcs=sys.path would run sys of Python's standard library;",
        "gold_oracle=serl_trl.sandbox.nothing cannot be imported:",
        "answer_kind=colour is unknown; choose one of choice, json,",
        "max_instruction_tokens=512 + max_completion_length=900 leave no room in the model's 1024",
        "proposer_max_tokens=1024 leaves no room for a request in the model's 1024 tokens",
        "seeds.jsonl has 2 instructions, fewer than num_shots=8; add seeds or lower num_shots.",
        "seeds.jsonl has 1 instruction longer than max_instruction_tokens=512; shorten them",
        "seeds.jsonl has 1 instruction with special tokens of the tokenizer",
    ]
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)
    assert "seeds.jsonl:1: holds <|im_end|>." in found[-1]


def test_a_tokenizer_without_template_or_end_is_named(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    tokenizer.eos_token = None
    tokenizer.save_pretrained("bare")
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        Path("bare", name).write_bytes(Path(tiny_model, name).read_bytes())

    found = problems_of(model_name_or_path="./bare")

    assert found[0].startswith("the tokenizer of bare has no chat template, so no prompt can be")
    assert found[1].startswith("the tokenizer of bare has no eos_token, so no completion would end")


def test_gold_labels_need_answers():
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(9)]
    seeds = jsonl("seeds.jsonl", [*rows, {"question": "What is 9 + 9?"}])
    given = {"label_reward": "gold", "sources": ["given"], "gold_oracle": None}

    assert problems_of(seed_set=seeds, **given) == [
        "label_reward=gold needs an answer in every row; seeds.jsonl lacks 1 of 10. Name the "
        "column by answer_column."
    ]
    assert "needs gold_oracle" in problems_of(**{**given, "sources": ["few_shot"]})[0]


def test_too_few_rows_for_one_batch_are_refused_where_trl_would_train_nothing():
    rows = [{"question": "What is 1 + 1?", "answer": "2"}]

    (problem,) = problems_of(
        seed_set=jsonl("seeds.jsonl", rows),
        use_selfplay=False,
        label_reward="gold",
        gold_oracle=None,
    )

    assert problem.startswith("seeds.jsonl has 1 rows, fewer than the 2 prompts of one generation")


def test_pushing_needs_a_login(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)

    assert problems_of(push_to_hub=True) == [
        "push_to_hub=True, but nobody is logged in; run `hf auth login`, set HF_TOKEN, or set "
        "push_to_hub: false."
    ]


def test_special_tokens_include_marks_but_no_words(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens(["<think>", "[INST]", "    ", "word"])

    found = special_tokens_of(tokenizer)

    assert {"<think>", "[INST]", "<|im_start|>", "<|im_end|>", "<|pad|>"} <= set(found)
    assert not {"    ", "word"} & set(found)


# Folders.


def test_an_earlier_run_is_moved_to_the_first_free_number(tmp_path):
    assert set_aside(tmp_path / "run") is None
    for number in (1, 2):
        (tmp_path / "run" / "_serl").mkdir(parents=True)
        (tmp_path / "run" / "_serl" / "run.json").write_text('{"run_id": "a"}')
        (tmp_path / "run" / f"run{number}").touch()
        assert set_aside(tmp_path / "run") == tmp_path / f"run-{number}"
    assert (tmp_path / "run-1" / "run1").exists()
    assert (tmp_path / "run-2" / "run2").exists()


def test_only_what_a_run_or_an_evaluation_wrote_is_moved(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(CheckpointError, match="renames only what a run or an evaluation wrote"):
        set_aside(tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"


def test_both_spellings_of_resuming_mean_the_same():
    for name in ("resume", "resume_from_checkpoint"):
        assert resume_from(parse(**{name: "auto"}, output_dir="out")) == "auto"
        assert resume_from(parse(**{name: False}, output_dir="out")) is None
    with pytest.raises(SeRLConfigError, match="say the same thing twice"):
        parse(resume="auto", resume_from_checkpoint="auto")


# With a model.


def test_train_leaves_a_run_and_does_not_write_over_it(capsys):
    path = config(output_dir="out")
    assert main(["train", "--config", path, "--json", "out.json"]) == 0

    found = report()
    assert (found["run"], found["steps"], found["starved"]) == ("out", 1, None)
    assert found["seconds"] > 0
    assert "train_loss" in found["metrics"]
    assert Path("out/model.safetensors").exists()
    assert {"config.yaml", "metrics.jsonl", "ledger.jsonl", "report.html", "report.md"} <= {
        each.name for each in Path("out/_serl").iterdir()
    }
    assert "the report of the run is in" in capsys.readouterr().out
    capsys.readouterr()

    assert main(["train", "--config", path]) == 2
    assert "output_dir=out holds another run" in capsys.readouterr().err

    assert main(["train", "--config", path, "--overwrite", "true"]) == 0
    assert "the earlier run was moved to out-1" in capsys.readouterr().out
    assert Path("out-1/model.safetensors").exists()
    assert Path("out/model.safetensors").exists()


def test_a_starved_run_has_its_own_exit_code_and_saves_the_model(tiny_model, capsys):
    path = config(
        model_name_or_path=tiny_model,
        output_dir="out",
        gold_oracle=None,
        max_refill_rounds=1,
        max_empty_refills=1,
    )

    assert main(["train", "--config", path, "--json", "out.json"]) == 3

    assert report()["starved"]
    assert "the run stopped early" in capsys.readouterr().out
    assert Path("out/model.safetensors").exists()
    assert "No: it found no group to train on" in Path("out/_serl/report.md").read_text()


def test_propose_writes_each_proposal_with_its_fate(capsys):
    Path("out").mkdir()
    argv = ["--config", config(output_dir="out"), "-n", "4", "--output", "p.jsonl", "--json=o.json"]

    assert main(["propose", *argv]) == 0

    rows = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert set(rows[0]) == {"text", "keep", "reason", "detail", "shots"}
    assert all(row["keep"] == (row["reason"] == "") for row in rows)
    found = report("o.json")
    assert found["proposals"] == rows
    assert found["num_kept"] == sum(row["keep"] for row in rows)
    assert sum(found["refused"].values()) == 4 - found["num_kept"]
    assert list(Path("out").iterdir()) == []
    assert f"kept {found['num_kept']} of 4" in capsys.readouterr().out


def test_demo_shows_before_and_after_and_can_be_repeated(capsys):
    probe = jsonl("probe.jsonl", PROBE)
    argv = ["demo", "--config", config(probe_set=probe, output_dir="out"), "--json", "o.json"]

    assert main(argv) == 0

    found = report("o.json")
    for when in ("before", "after"):
        assert set(found[when]) == {"pass@1", "maj@16", "pass@16", "greedy"}
        assert all(0 <= value <= 1 for value in found[when].values())
    assert found["run"] == "out"
    assert found["seconds"] > 0
    printed = capsys.readouterr().out
    assert "held out" in printed
    assert "pass@16" in printed
    assert f"the run lies in {Path('out').absolute()}\n" in printed
    measured = json.loads(Path("out/_serl/evaluation.json").read_text())
    # A file of this machine is not named.
    assert (measured["problem_set"], measured["temperature"]) == (None, 1.0)
    figures = measured["figures"]
    assert figures["greedy"]["after"]["mean"] == found["after"]["greedy"]
    assert "Measured on 2 problems with 16 samples" in Path("out/_serl/report.html").read_text()

    assert main([*argv, "--seed", "7"]) == 0
    assert "the earlier run was moved to out-1" in capsys.readouterr().out


def test_demo_takes_the_sandbox_config_and_flags_over_it(monkeypatch):
    seen = []

    def stop(args: Arguments, **_):
        seen.append(args)
        raise SeRLConfigError(["enough"])

    monkeypatch.setattr("serl_trl.cli.commands.train.load_inputs", stop)

    assert main(["demo", "--seed", "7", "--max_steps", "3", "--output_dir", "there"]) == 2

    (args,) = seen
    assert (args.config.seed, args.config.max_steps, args.config.output_dir) == (7, 3, "there")
    assert args.model.model_name_or_path == args.run.probe_set == "sandbox"
    assert args.run.overwrite
    assert not args.config.resume_from_checkpoint


@pytest.mark.parametrize("name", [sandbox.EASY, sandbox.HARD])
def test_the_name_of_a_sandbox_stands_for_its_config_seeds_problems_and_model(name):
    args = SeRLParser().parse(["--config", name, "--output_dir", "out"])
    inputs = load_inputs(args)

    assert inputs.seed_set.instructions == tuple(sandbox.seed_set(name))
    assert inputs.probe_set.rows() == read_probe_set(name).rows()
    assert model_location(args.model.model_name_or_path) == str(sandbox.MODEL_PATHS[name])


def test_own_functions_are_found_beside_the_config():
    Path("my_own_rewards.py").write_text(
        "def short(completions, **kwargs):\n    return [0.0 for _ in completions]\n"
    )
    sys.modules.pop("my_own_rewards", None)

    file = config(reward_funcs=["my_own_rewards.short"])
    args = SeRLParser().parse(["--config", file, "--plugins", "my_own_rewards"])
    inputs = load_inputs(args)

    assert inputs.reward_funcs[0](["a", "b"]) == [0.0, 0.0]


@pytest.mark.parametrize("values", [{"loss_type": "\x1b[2J"}, {"run_name\x1b[2J": 1}])
def test_hostile_text_is_shown_without_its_control_characters(capsys, values):
    assert main(["train", "--config", config(**values)]) == 2

    printed = capsys.readouterr().err
    assert "[2J" in printed
    assert "\x1b" not in printed


@pytest.mark.slow
def test_accelerate_launch_starts_two_processes():
    path = config(output_dir="out", per_device_train_batch_size=4, ddp_backend="gloo")
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    where = ["--config_file", str(ROOT / "configs/accelerate/cpu2.yaml"), str(ROOT / "train.py")]

    done = subprocess.run(
        [*launch, *where, "--config", path, "--json", "out.json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert report()["steps"] == 1
    assert len(json.loads(Path("out/_serl/metrics.jsonl").read_text().splitlines()[0])) > 5


def test_a_notebook_names_a_folder_by_its_path_and_takes_a_set_out_of_the_file(tmp_path):
    options = {**SMALL, "output_dir": tmp_path / "run", "probe_set": None}
    trainer = serl_trl.trainer_from_config("sandbox", **options)

    assert trainer.args.output_dir == str(tmp_path / "run")
    assert trainer.probe_set == []
    with pytest.raises(SeRLConfigError, match="num_generations: expected int, got null"):
        serl_trl.trainer_from_config("sandbox", num_generations=None)
    with pytest.raises(SeRLConfigError, match="unknown option 'probe_sett'"):
        serl_trl.trainer_from_config("sandbox", probe_sett=None)
