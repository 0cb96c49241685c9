"""Options of a run: flags beat the YAML file, which beats the preset, which beats the defaults."""

import argparse
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    get_type_hints,
)

from trl import ModelConfig, TrlParser

from serl_trl.cli.checks import (
    LATEST,
    find_config_problems,
    find_machine_problems,
    find_run_problems,
    find_start_problems,
)
from serl_trl.cli.config_file import ConfigFile, read_config_file
from serl_trl.cli.trust import only_by_flag
from serl_trl.cli.usage import HELP_ALL, run_sections
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.option_values import (
    alternatives,
    convert,
    enum_values,
    item_kinds,
    read_json,
    read_words,
)
from serl_trl.common.secrets import is_secret, secret_in
from serl_trl.common.startup import defer_heavy_imports
from serl_trl.common.text import near_matches, one_line, visible
from serl_trl.train.options import PRESETS, RunArguments

if TYPE_CHECKING:
    from serl_trl.train.config import SeRLConfig


@dataclass(frozen=True)
class Arguments:
    """The parsed options of one command; `extra` is an instance of the command's own options.

    `machine` says what this machine lacks for the run, where that was allowed.
    """

    run: RunArguments
    config: "SeRLConfig"
    model: ModelConfig
    extra: Any = None
    machine: tuple[str, ...] = ()


class SeRLParser(TrlParser):
    """TRL's parser with every value checked: type, range, choice, spelling, and all at once."""

    def __init__(self, *, prog: str | None = None, extra: Any = None) -> None:
        # Imported here: TRL's config takes seconds, which the messages before it should not.
        defer_heavy_imports()
        from serl_trl.train.config import SeRLConfig

        self._types: list[Any] = [
            RunArguments,
            SeRLConfig,
            ModelConfig,
            *([extra] if extra else []),
        ]
        super().__init__(
            self._types,
            prog=prog,
            allow_abbrev=False,
            usage="%(prog)s --config FILE [--option value ...]",
        )
        self.add_argument("--config", metavar="FILE", help="YAML file with any of the options.")
        self.add_argument(*HELP_ALL, action="help", help="Show this page.")
        self._extra = extra
        self._options = {
            option.name: option for type_ in self._types for option in _options_of(type_)
        }
        for action in self._actions:
            _defer_checks(action)
            _allow_words(action, self._options.get(action.dest))

    def format_help(self) -> str:
        """Return the whole page: the command's own options, those of self-play, then TRL's."""
        own = list(fields(self._extra)) if self._extra else []
        sections = {"Options of this command": own, **run_sections()}
        titles = {item.name: title for title, items in sections.items() for item in items}
        last = "TRL and transformers"
        actions: dict[str, list[argparse.Action]] = {title: [] for title in [*sections, last]}
        for action in self._actions:
            actions[titles.get(action.dest, last)].append(action)
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, ())
        for title, those in actions.items():  # argparse leaves out a section that is empty
            formatter.start_section(title)
            formatter.add_arguments(those)
            formatter.end_section()
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Raise `SeRLConfigError` instead of ending the process."""
        raise SeRLConfigError([f"{message}."])

    def parse(
        self,
        argv: Sequence[str],
        *,
        default_config: str | None = None,
        here: bool = True,
        nulls: Collection[str] = (),
    ) -> Arguments:
        """Parse flags and the file named by `--config`, else `default_config`; check everything.

        `nulls` names options that are null whatever the file says, which no flag can express.
        With `here` false the run may start on another machine: what this one lacks is no problem
        but listed in `machine`, and the config is built for the CPU where there is no GPU. Sets the
        variables of the file's `env` block once nothing is wrong. Raises `SeRLConfigError` with all
        problems.
        """
        check = find_run_problems if here else _find_problems_elsewhere
        given, env = self._read(argv, check, default_config=default_config, nulls=nulls)
        machine = () if here else tuple(find_machine_problems(self._with_defaults(given)))
        os.environ.update(env)
        on_cpu = {"use_cpu": True, "bf16": False, "fp16": False} if machine else {}
        return self._build({**given, **on_cpu}, machine)

    def read_values(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the value of every option, checked as far as that needs no machine and no folder.

        Builds nothing and sets no variable. Raises `SeRLConfigError` with all problems.
        """
        return self._with_defaults(self._read(argv, find_config_problems)[0])

    def _read(
        self,
        argv: Sequence[str],
        check: Callable[..., list[str]],
        *,
        default_config: str | None = None,
        nulls: Collection[str] = (),
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Return the values that were given, and the file's `env` block."""
        path = default_config
        try:
            flags, problems = self._read_flags(argv)
            path = flags.pop("config", default_config)
        except SeRLConfigError as error:
            # The flags do not even split into names and values; the file is looked at all the same.
            flags, problems = None, list(error.problems)
            if match := re.search(r"(?:^|\0)--config[=\0]([^\0]+)", "\0".join(argv)):
                path = match[1]
        file = read_config_file(path) if path else ConfigFile("")
        problems += file.problems
        given: dict[str, Any] = {}
        origins: dict[str, str] = {}
        spoilt = self._take_file(file, given, origins, problems)
        if flags is None or (file.problems and not file.values):
            raise SeRLConfigError(problems)
        for name, value in flags.items():
            try:
                given[name], origins[name] = self._read_flag(name, value), f"--{name}"
            except TypeError as error:
                problems.append(f"{name}: {error}.")
                spoilt.add(name)
        for name in nulls:
            if name not in self._options:
                problems.append(self._unknown_name(name, f"'{name}'", "option", self._options))
                continue
            try:
                given[name] = convert(None, self._options[name].hint)
                origins[name] = f"{name}=None"
            except TypeError as error:
                problems.append(f"{name}: {error}.")
        self._take_preset(given, origins)
        problems += _take_resume(given, origins)
        problems += self._check(given, origins, spoilt, check)
        if problems:
            raise SeRLConfigError(problems)
        return given, file.env

    def _with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: option.default for name, option in self._options.items()} | dict(given)

    def _read_flags(self, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        unset = argparse.Namespace(**{action.dest: _UNSET for action in self._actions})
        parsed, unknown = self.parse_known_args(list(argv), unset)
        flags = {name: value for name, value in vars(parsed).items() if value is not _UNSET}
        return flags, list(self._unknown_flags(unknown))

    def _read_flag(self, name: str, value: Any) -> Any:
        if isinstance(value, bool):
            return value  # a flag that stands alone
        words = [value] if isinstance(value, str) else value
        return read_words(words, self._options[name].hint, name=name)

    def _unknown_flags(self, unknown: Sequence[str]) -> Iterator[str]:
        follows_flag = False
        for text in unknown:
            if text.startswith("-"):
                name = text.split("=")[0].lstrip("-").replace("-", "_")
                yield self._unknown_name(name, f"'--{name}'", "flag", [*self._options, "config"])
                follows_flag = "=" not in text
            elif not follows_flag:
                yield f"unexpected argument {visible(text)!r}; options are written --name value."

    def _unknown_name(self, name: str, shown: str, noun: str, known: Iterable[str]) -> str:
        if name in REMOVED:
            return f"{noun} {shown} was removed: {REMOVED[name]}."
        if is_secret(name):
            return (
                f"{noun} {visible(shown)} looks like a secret, and options are saved with the run; "
                "set it as a variable in the shell instead."
            )
        return f"unknown {noun} {visible(shown)}.{near_matches(name, known)}"

    def _take_file(
        self,
        file: ConfigFile,
        given: dict[str, Any],
        origins: dict[str, str],
        problems: list[str],
    ) -> set[str]:
        """Take the file's values over; return the names of those that have the wrong type."""
        spoilt = set()
        for name, value in file.values.items():
            place = file.place_of(name)
            option = self._options.get(name)
            if option is None:
                shown = f"{name!r} at {place}"
                problems.append(self._unknown_name(name, shown, "key", self._options))
                continue
            if name != "hub_token" and secret_in(str(value)):
                spoilt.add(name)  # the file's problems name it already, with its line
            try:
                given[name] = convert(value, option.hint, name=name)
                origins[name] = place
            except TypeError as error:
                problems.append(f"{name}: {error} ({place}).")
                spoilt.add(name)
        return spoilt

    def _take_preset(self, given: dict[str, Any], origins: dict[str, str]) -> None:
        preset = given.get("preset")
        for name, value in PRESETS.get(preset, {}).items():
            if name not in given:
                given[name], origins[name] = value, f"preset {preset}"

    def _check(
        self,
        given: dict[str, Any],
        origins: Mapping[str, str],
        spoilt: set[str],
        check: Callable[..., list[str]],
    ) -> Iterator[str]:
        values = self._with_defaults(given)
        for name, value in given.items():
            option = self._options[name]
            try:
                given[name] = values[name] = read_json(value, option.hint)
            except ValueError as error:
                yield _located(f"{name}={visible(value)} is no JSON: {one_line(error)}.", origins)
                spoilt.add(name)
            if option.choices and value is not None and value not in option.choices:
                known = [str(choice) for choice in option.choices]
                yield _located(_unknown_choice(name, value, known), origins)
                spoilt.add(name)
        yield from (_located(problem, origins) for problem in only_by_flag(given, origins))
        for name in spoilt:
            values[name] = self._options[name].default
        for problem in check(values, given=given.keys()):
            if problem.split("=")[0].split(" ")[0] not in spoilt:
                yield _located(_with_hint(problem), origins)

    def _build(self, given: Mapping[str, Any], machine: tuple[str, ...] = ()) -> Arguments:
        built = []
        for type_ in self._types:
            names = {option.name for option in _options_of(type_)}
            values = {name: value for name, value in given.items() if name in names}
            try:
                built.append(type_(**values))
            except (ValueError, ImportError, RuntimeError) as error:
                # What TRL, transformers and accelerate find out by themselves.
                raise SeRLConfigError([f"{one_line(error)}."]) from error
        return Arguments(*built, machine=machine)


def _find_problems_elsewhere(values: Mapping[str, Any], *, given: Iterable[str]) -> list[str]:
    config_problems = find_config_problems(values, given=tuple(given))
    return [*config_problems, *find_start_problems(values)]


@dataclass(frozen=True)
class _Option:
    name: str
    hint: Any
    default: Any
    choices: tuple[Any, ...]


class _Unset:
    """A flag that was not given."""


_UNSET = _Unset()


# Their hints say text, and TRL and we take a truth value too.
_TAKE_BOOL = ("scale_rewards", "resume", "resume_from_checkpoint")


def _options_of(type_: Any) -> list[_Option]:
    hints = get_type_hints(type_)
    options = []
    for item in fields(type_):
        hint = hints[item.name]
        if item.name in _TAKE_BOOL:
            hint = hint | bool
        default = item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        choices = item.metadata.get("choices") or enum_values(alternatives(hint))
        options.append(_Option(item.name, hint, default, tuple(choices)))
    return options


def _allow_words(action: argparse.Action, option: _Option | None) -> None:
    """Let a flag be followed by what its type allows: nothing where that means true, or a list."""
    if option is None or action.nargs == 0:
        return
    kinds = alternatives(option.hint)
    if item_kinds(kinds):
        action.nargs = "+"
    elif bool in kinds and str not in kinds:
        action.nargs, action.const = "?", True


def _defer_checks(action: argparse.Action) -> None:
    """Keep the words of a flag as they are, so that all problems can be named together."""
    if action.choices is not None:
        if action.metavar is None:
            action.metavar = "{" + ",".join(str(choice) for choice in action.choices) + "}"
        action.choices = None
    action.type = None


def _take_resume(given: dict[str, Any], origins: dict[str, str]) -> Iterator[str]:
    """Give both spellings of resuming one name and one meaning."""
    if "resume" in given and "resume_from_checkpoint" in given:
        yield "resume and resume_from_checkpoint say the same thing twice; give resume alone."
    if "resume" in given:
        given["resume_from_checkpoint"] = given.pop("resume")
        origins["resume_from_checkpoint"] = origins["resume"]
    if "resume_from_checkpoint" in given:
        origins["resume"] = origins["resume_from_checkpoint"]
        given["resume_from_checkpoint"] = _read_resume(given["resume_from_checkpoint"])


def _read_resume(value: Any) -> str | None:
    if isinstance(value, bool):
        return LATEST if value else None
    if value is None or value.lower() in ("", "false", "no", "none", "null"):
        return None
    return LATEST if value.lower() in ("true", "yes") else value


def _unknown_choice(name: str, value: Any, known: Sequence[str]) -> str:
    text = visible(str(value))
    return f"{name}={text} is unknown; choose one of {', '.join(known)}." + near_matches(
        text, known
    )


def _with_hint(problem: str) -> str:
    """Add what an unknown choice probably meant."""
    match = re.fullmatch(r"\w+=(.+?) is unknown; choose one of (.+)\.", problem)
    return problem + near_matches(match[1], match[2].split(", ")) if match else problem


def _located(problem: str, origins: Mapping[str, str]) -> str:
    """Add where the values come from that `problem` names as `name=value`."""
    names = dict.fromkeys(re.findall(r"\b(\w+)=", problem))
    places = [origins[name] for name in names if name in origins]
    return f"{problem} ({', '.join(places)})" if places else problem


REMOVED: dict[str, str] = {
    "dataset_config": "use seed_config",
    "dataset_name": "use seed_set",
    "dataset_train_split": "use seed_split",
    "eval_on_each_node": "leave it out",
    "evaluation_strategy": "transformers 5 calls it eval_strategy",
    "group_by_length": "transformers 5 has train_sampling_strategy, which self-play does not need",
    "logging_dir": "transformers 5 reads the variable TENSORBOARD_LOGGING_DIR; set it under env:",
    "max_new_tokens": "use max_completion_length",
    "max_prompt_length": "TRL 1.x does not cut prompts; use max_instruction_tokens",
    "no_cuda": "transformers 5 calls it use_cpu",
    "overwrite_output_dir": "use overwrite, which puts the old run aside",
    "per_gpu_train_batch_size": "use per_device_train_batch_size",
    "push_to_hub_token": "log in with `hf auth login` or set HF_TOKEN in the shell",
    "save_safetensors": "transformers 5 always does; leave it out",
    "torch_dtype": "transformers 5 calls it dtype",
    "use_liger_loss": "TRL computes the loss in chunks by itself; leave it out",
    "use_mps_device": "transformers 5 finds the device by itself; leave it out",
    "vllm_guided_decoding_regex": "TRL calls it vllm_structured_outputs_regex",
    "warmup_ratio": "transformers 5 reads a warmup_steps below 1 as a share of the run",
}
"""Options that users still have in their files, and what to do instead."""
