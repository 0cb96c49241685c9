"""Every block of code in README and docs: Python runs, YAML is a config, commands can be parsed.

There is no Hub and no GPU here, so the sandbox's model stands in for one of the Hub, a run is told
to use the CPU and to keep to that model's short context, and 100 steps are one. Nothing else of a
block is changed. Of commands only what they are given is checked: they would download models,
start servers or push.
"""

import contextlib
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from datasets import Dataset
from markdown_it import MarkdownIt
from trl import GRPOConfig

from serl_trl import sandbox, trainer_from_config
from serl_trl.cli import entry as cli
from serl_trl.cli.command_options import EvalOptions, PlanOptions, ProposeOptions, ServeOptions
from serl_trl.cli.parser import SeRLParser
from serl_trl.cli.usage import COMMANDS
from serl_trl.measure.benchmarks import BENCHMARKS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODEL = str(sandbox.MODEL_PATH)
STAND_INS = {
    "Qwen/Qwen2.5-0.5B-Instruct": MODEL,
    "max_steps=100": "max_steps=1, proposer_max_tokens=128, use_cpu=True, bf16=False",
    "num_samples=16": "num_samples=1",
}
# A run of the sandbox that is over in seconds.
SMALL = {
    "output_dir": "runs/chemistry",
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "num_requests": 2,
    "difficulty_low": 0.4,
    "difficulty_high": 1.0,
    "max_completion_length": 48,
    "probe_steps": 0,
}
OPTIONS = {"propose": ProposeOptions, "plan": PlanOptions, "serve": ServeOptions}
OPTIONS["eval"] = EvalOptions


def tokens_of(path: Path) -> list[Any]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def blocks_of(path: Path) -> list[tuple[str, str]]:
    """Return language and text of each block; an indented one without `key: value` is for a shell.

    A fence without a language is a drawing.
    """
    found = []
    for token in tokens_of(path):
        if token.type == "fence":
            found.append((token.info or "drawing", token.content))
        elif token.type == "code_block":
            is_yaml = re.fullmatch(r"(\w+: \S+\n)+", token.content)
            found.append(("yaml" if is_yaml else "bash", token.content))
    return found


def code_in(language: str) -> list[Any]:
    return [
        pytest.param(text, id=f"{path.stem}-{number}")
        for path in PAGES
        for number, (found, text) in enumerate(blocks_of(path))
        if found == language
    ]


def config_file(name: str, values: dict[str, Any]) -> str:
    Path(name).write_text(yaml.safe_dump(values), encoding="utf-8")
    return name


@pytest.fixture
def readers_folder(tmp_path, monkeypatch):
    """What the pages suppose a reader has: seeds in `chemistry.jsonl` and others, and a config."""
    monkeypatch.chdir(tmp_path)
    seeds = [json.dumps({"problem": instruction}) + "\n" for instruction in sandbox.seed_set()]
    for name in ("chemistry.jsonl", "reviews.jsonl", "labelled.jsonl", "questions.jsonl"):
        Path(name).write_text("".join(seeds), encoding="utf-8")
    config_file("chemistry.yaml", yaml.safe_load(sandbox.CONFIG_PATH.read_text()) | SMALL)


def names_for(code: str) -> dict[str, Any]:
    """Return what the text around a block supposes to be there already."""
    names: dict[str, Any] = {}
    if "tokenizer" in code:
        args = {"max_steps": 1, "per_device_train_batch_size": 16, "num_generations": 16}
        names["args"] = GRPOConfig("runs/plain", use_cpu=True, bf16=False, report_to="none", **args)
        names["dataset"] = Dataset.from_dict({"prompt": sandbox.seed_set()})
        names |= {"model": MODEL, "tokenizer": sandbox.load_tokenizer()}
    if "(trainer," in code:
        names["trainer"] = trainer_from_config("chemistry.yaml", max_steps=1)
    return names


def test_every_block_has_a_language_that_is_checked_here():
    assert {language for path in PAGES for language, _ in blocks_of(path)} == {
        "python",
        "bash",
        "yaml",
        "toml",
        "drawing",
    }


@pytest.mark.parametrize("code", code_in("python"))
def test_python_runs(code, readers_folder):
    for written, here in STAND_INS.items():
        code = code.replace(written, here)
    names = names_for(code)

    exec(compile(code, "<docs>", "exec"), names)

    if trainer := names.get("trainer"):
        trainer.accelerator.free_memory()


@pytest.mark.parametrize("text", code_in("toml"))
def test_toml_is_read(text):
    assert tomllib.loads(text)


@pytest.mark.parametrize("text", code_in("yaml"))
def test_yaml_is_a_config(text, readers_folder):
    values = yaml.safe_load(text)
    given = {"model_name_or_path": MODEL, "seed_set": "sandbox", "output_dir": "out"} | values

    read = SeRLParser().read_values(["--config", config_file("block.yaml", given)])

    assert {name: read[name] for name in values} == values
    # "\boxed" in double quotes begins with a backspace.
    texts = (str(value).replace("\n", " ") for value in values.values())
    assert all(map(str.isprintable, texts))


def commands_in(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("text", code_in("bash"))
def test_commands_can_be_parsed(text, readers_folder, capsys):
    for words in commands_in(text):
        check_command(words, capsys)


def test_commands_in_the_text_can_be_parsed(readers_folder, capsys):
    inline = [
        child.content
        for path in PAGES
        for token in tokens_of(path)
        for child in token.children or ()
        if child.type == "code_inline"
    ]
    commands = [text for text in inline if re.match("(serl|accelerate launch|make) ", text)]
    assert len(commands) > 20
    for text in commands:
        check_command(shlex.split(text), capsys)


def test_options_in_the_text_exist():
    known = SeRLParser()._options
    for path in PAGES:
        for token in tokens_of(path):
            for child in token.children or ():
                if child.type == "code_inline" and (
                    found := re.match(r"([a-z]\w*): [^ ]+$", child.content)
                ):
                    assert found[1] in known, f"{path.name}: {child.content}"


def check_command(words: list[str], capsys: Any) -> None:
    words = [word for word in words if word not in ("...", "[RUN_B]", "--help")]
    if "vllm" in words:
        return check_server(words, capsys)
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    program, *rest = words
    if program == "make":
        return check_target(rest)
    if program == "accelerate":
        return check_launch(rest[1:], capsys)
    if program == "serl":
        return check_serl(rest, capsys)
    if program == "python":
        assert (ROOT / rest[0]).is_file(), words
        return None
    # Not checked: what pip and pytest are given needs an index of packages, or a GPU.
    assert program in ("pip", "pytest"), words


def check_target(words: list[str]) -> None:
    """What `make` is given is a target, and variables that the Makefile knows."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        form = rf"^{word.split('=')[0]} \?=" if "=" in word else rf"^{word}:"
        assert re.search(form, makefile, re.M), word


def check_server(words: list[str], capsys: Any) -> None:
    """What the page shows is what `serl serve` makes of the config above it."""
    name = next(word for word in words if "/" in word)
    given = ["--model_name_or_path", name, "--seed_set", "sandbox", "--output_dir", "out"]
    given += ["--use_vllm", "true", "--vllm_mode", "server", "--vllm_tensor_parallel_size", "2"]
    assert cli.main(["serve", *given, "--dry_run", "true"]) == 0
    printed = shlex.split(capsys.readouterr().out)
    # TRL adds this one where vLLM 0.30 is installed, which the page says.
    assert [word for word in words if word not in {"--enable-scale-out"} - {*printed}] == printed


def check_launch(words: list[str], capsys: Any) -> None:
    if not words:
        return
    args = launch_command_parser().parse_args(words)
    assert args.config_file is None or (ROOT / args.config_file).is_file(), words
    if args.module:
        assert args.training_script == "serl_trl.cli"
        check_serl(args.training_script_args, capsys)
    else:
        assert (ROOT / args.training_script).is_file()
        check_serl(["train", *args.training_script_args], capsys)


def check_serl(words: list[str], capsys: Any) -> None:
    command, *rest = words
    assert command in COMMANDS, words
    if command in ("report", "watch", "push", "push-dataset") and rest:
        # There is no run here: that, and nothing about the flags, is what is wrong.
        assert cli.main(words) == 2
        assert re.search("does not exist|no run|holds no", capsys.readouterr().err), words
    elif command == "eval" and rest:
        model = [] if rest[0][:1] != "-" else [MODEL]
        rest = ["--model_name_or_path", *model, *rest, "--seed_set", "sandbox"]
        values = read_values(command, rest)
        own = {file.partition("=")[0] for file in values["benchmark_files"] or ()}
        named = values["benchmarks"] or "sandbox"
        assert set(named.split(",")) <= BENCHMARKS.keys() | own, words
    elif "--config" in rest:
        read_values(command, rest)


def read_values(command: str, words: list[str]) -> dict[str, Any]:
    """Return what a command's own parser reads; a config that is only an example has a stand-in."""
    root = Path.cwd()
    if "--accelerate_config" in words:
        assert (ROOT / words[words.index("--accelerate_config") + 1]).is_file(), words
    if "--config" in words:
        place = words.index("--config") + 1
        if (ROOT / words[place]).is_file():
            root = ROOT
        else:
            words[place] = "chemistry.yaml"
    with contextlib.chdir(root):
        return SeRLParser(extra=OPTIONS.get(command)).read_values(words)
