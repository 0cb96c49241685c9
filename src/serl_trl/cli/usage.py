"""What `serl --help` and `serl COMMAND --help` print; imports neither torch nor TRL.

One line for an option: its first sentence. `--help_all` prints argparse's page, where the same
options stand whole, before those of TRL and transformers.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from types import MappingProxyType
from typing import Any

from serl_trl.cli.command_options import OWN_OPTIONS
from serl_trl.train.options import HEADINGS, SelfPlayOptions
from serl_trl.train.run_arguments import RunArguments

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "train": "train a model by self-play; the same as train.py under accelerate launch",
        "init": "write a commented config for your questions, by asking or by flags",
        "check": "run every check of a config without loading weights, and say what it means",
        "try": "will it work for mine? some rollouts and proposals of the untrained model, judged",
        "plan": "estimate memory, tokens and time, and what to change when it does not fit",
        "propose": "write proposals with the untrained model, each with its fate, to look at first",
        "demo": "train the built-in sandbox on the CPU and show it before and after",
        "watch": "follow a run from another terminal, reading only: serl watch RUN",
        "eval": "measure or compare models on benchmarks: serl eval MODEL --benchmarks gsm8k",
        "strategies": "list the ways to label and where tasks come from, with papers and costs",
        "serve": "start the vLLM server that a config with vllm_mode: server samples from",
        "env": "print versions, to copy into a report",
        "report": "write one page about a run, or about two side by side: serl report RUN [RUN_B]",
        "push": "send the model of a run with its card to the Hub: serl push RUN --dry_run",
        "push-dataset": "send the instructions that a run wrote, with their fates: "
        "serl push-dataset RUN",
    }
)

USAGE = f"""\
usage: serl COMMAND [--config FILE] [--option value ...]

{"".join(f"  {name:<12}  {about}{chr(10)}" for name, about in COMMANDS.items())}
serl COMMAND --help lists the options of a command. serl --version prints the version.
"""

HELP_ALL = ("--help_all", "--help-all")
HELP = ("-h", "--help", *HELP_ALL)

WIDTH = 100
_NAME_WIDTH = 30
_RUN = "Files and folders"
# Options of TRL and transformers that nearly every run sets.
_TRL = (
    "model_name_or_path",
    "output_dir",
    "dtype",
    "use_vllm",
    "use_cpu",
    "bf16",
    "use_peft",
    "learning_rate",
    "max_steps",
    "save_steps",
    "report_to",
    "push_to_hub",
    "seed",
)

# What a command reads of a run's options, where that is not all: titles, or names.
_TITLES: Mapping[str, tuple[str, ...]] = {
    "propose": (_RUN, "The proposer", "The filters", "Prompt texts"),
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "plan": ("preset", "json"),
    "serve": ("preset", "json"),
    "eval": (
        "max_completion_length",
        "rollout_system",
        "answer_instruction",
        "task_template",
        "max_bad_rows",
        "overwrite",
        "json",
    ),
}


def takes_run_options(command: str) -> bool:
    """Return whether `command` reads the options of a run, from a file and from flags."""
    return command in ("train", "check", "demo", *OWN_OPTIONS)


def run_sections() -> dict[str, list[Field[Any]]]:
    """Return the options of a run but TRL's under their titles, in the order of the config."""
    title, sections = _RUN, {_RUN: list(fields(RunArguments))}
    for item in fields(SelfPlayOptions):
        title = HEADINGS.get(item.name, title)
        sections.setdefault(title, []).append(item)
    return sections


def short_help(command: str) -> str:
    """Return the page of a command that takes the options of a run: its own options first."""
    own, about = OWN_OPTIONS.get(command), COMMANDS[command]
    sections = _sections_of(command)
    first = "MODEL --benchmarks NAME,NAME" if command == "eval" else "--config FILE"
    lines = [
        f"usage: serl {command} {first} [--option value ...]",
        f"{about[0].upper()}{about[1:]}.",
        *(_section(f"Options of serl {command}", fields(own)) if own else ()),
    ]
    for title, items in sections.items():
        lines += _section(title, items)
    # A command that reads little of a run names only the first, which say which model.
    names = ", ".join(f"--{name}" for name in (_TRL[:6] if command in _NAMES else _TRL))
    lines += textwrap.wrap(f"Of TRL and transformers, most used: {names}.", WIDTH)
    lines.append("--config FILE is a YAML file with any of the options; flags win over it.")
    # A page that leaves sections out says where they stand.
    if len(sections) < len(HEADINGS):
        lines.append("The other options of a run: serl train --help")
    lines.append(f"Every option, with its whole text: serl {command} --help_all")
    return "\n".join(lines) + "\n"


def _sections_of(command: str) -> dict[str, list[Field[Any]]]:
    sections = run_sections()
    if command in _NAMES:
        known = {item.name: item for items in sections.values() for item in items}
        return {"Of the options of a run": [known[name] for name in _NAMES[command]]}
    return {title: sections[title] for title in _TITLES.get(command, sections)}


def _section(title: str, items: Iterable[Field[Any]]) -> Iterator[str]:
    yield f"{title}:"
    yield from map(_line, items)


def _line(item: Field[Any]) -> str:
    names = ", ".join([f"--{item.name}", *item.metadata.get("aliases", ())])
    # Help texts are written for argparse, to which a single % begins a field.
    text = item.metadata["help"].replace("%%", "%").split(". ")[0].rstrip(".")
    choices = item.metadata.get("choices")
    if choices:
        text = f"one of {', '.join(choices)}"
    default = item.default
    if item.default_factory is not MISSING:
        default = ", ".join(map(str, item.default_factory()))
    elif isinstance(default, str) and not choices:
        default = None  # a prompt text; its option's help says what it is
    if default is not None:
        text = f"[{str(default).lower()}] {text}"
    room = WIDTH - _NAME_WIDTH - 2
    return f"  {names:<{_NAME_WIDTH}}{textwrap.shorten(text, room, placeholder=' ...')}"
