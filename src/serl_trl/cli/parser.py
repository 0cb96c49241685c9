"""Options of a run: flags beat the YAML file, which beats the preset, which beats the defaults."""

import argparse
import copy
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_type_hints

import yaml
from trl import ModelConfig, TrlParser

from serl_trl import sandbox
from serl_trl.cli import run_problems
from serl_trl.cli.config_file import ConfigFile, read_config_file
from serl_trl.cli.paths import PATHS, found_beside, is_here, is_nowhere
from serl_trl.cli.trust import only_by_flag
from serl_trl.cli.usage import HELP_ALL, run_sections
from serl_trl.common import option_values
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.options import bounds_of
from serl_trl.common.problem import Problem, unknown_choice
from serl_trl.common.secrets import is_secret, secret_in
from serl_trl.common.startup import defer_heavy_imports
from serl_trl.common.text import near_matches, one_line, visible
from serl_trl.train.config_checks import out_of_range
from serl_trl.train.options import PRESETS
from serl_trl.train.run_arguments import RunArguments

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

        # In this order they are built, and the first three are the fields of `Arguments`.
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

        The name of a sandbox stands for its config.
        `nulls` names options that are null whatever the file says, which no flag can express.
        With `here` false the run may start on another machine: what this one lacks is listed in
        `machine` in place of a problem, and the config is built for the CPU where a GPU is missing.
        Sets the variables of the file's `env` block once all is right. Raises `SeRLConfigError`
        with all problems.
        """
        check = run_problems.find_run_problems if here else run_problems.find_problems_elsewhere
        given, env = self._read(argv, check, default_config=default_config, nulls=nulls)
        lacking = () if here else run_problems.find_machine_problems(self._with_defaults(given))
        machine = tuple(map(str, lacking))
        os.environ.update(env)
        # transformers refuses to make a config that asks for a GPU where there is none.
        on_cpu = {"use_cpu": True, "bf16": False, "fp16": False} if machine else {}
        return self._build({**given, **on_cpu}, machine)

    def read_values(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the value of every option, checked as far as that needs no machine and no folder.

        Builds nothing and sets no variable. Raises `SeRLConfigError` with all problems.
        """
        return self._with_defaults(self._read(argv, run_problems.find_config_problems)[0])

    def _read(
        self,
        argv: Sequence[str],
        check: Callable[..., list[Problem]],
        *,
        default_config: str | None = None,
        nulls: Collection[str] = (),
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Return the values that were given, and the file's `env` block."""
        given = _Given()
        flags, whole = self._split(argv, given)
        path = flags.pop("config", default_config)
        path = str(sandbox.CONFIG_PATHS.get(path, path)) if path else None
        file = read_config_file(path) if path else ConfigFile("")
        given.problems += file.problems
        self._take_file(file, given)
        # Names and values are not known then, and every check would complain of defaults.
        if not whole or (file.problems and not file.values):
            raise SeRLConfigError(given.problems)
        for name, value in flags.items():
            given.take(name, partial(self._read_flag, name, value), f"--{name}")
        for name in nulls:
            if name in self._options:
                given.take(
                    name,
                    partial(option_values.convert, None, self._options[name].hint),
                    f"{name}=None",
                )
            else:
                given.problems.append(_unknown(name, f"'{name}'", "option", self._options))
        for name, value in PRESETS.get(given.values.get("preset"), {}).items():
            if name not in given.values:
                given.take(name, partial(copy.copy, value), f"preset {given.values['preset']}")
        given.join_resume()
        given.problems += self._check(given, check)
        if given.problems:
            raise SeRLConfigError(given.problems)
        return given.values, file.env

    def _with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: option.default for name, option in self._options.items()} | dict(given)

    def _split(self, argv: Sequence[str], given: "_Given") -> tuple[dict[str, Any], bool]:
        """Return the words of each flag; not whole where they do not split into names and values.

        The file is looked at all the same then, so that its problems are named too.
        """
        unset = argparse.Namespace(**{action.dest: _UNSET for action in self._actions})
        try:
            parsed, unknown = self.parse_known_args(list(argv), unset)
        except SeRLConfigError as error:
            given.problems += error.problems
            match = re.search(r"(?:^|\0)--config[=\0]([^\0]+)", "\0".join(argv))
            return ({"config": match[1]} if match else {}), False
        given.problems += self._unknown_flags(unknown)
        return {name: words for name, words in vars(parsed).items() if words is not _UNSET}, True

    def _read_flag(self, name: str, value: Any) -> Any:
        if isinstance(value, bool):
            return value  # a flag that stands alone
        words = [value] if isinstance(value, str) else value
        return option_values.read_words(words, self._options[name].hint, name=name)

    def _unknown_flags(self, unknown: Sequence[str]) -> Iterator[Problem]:
        # What follows an unknown flag is its value, and no problem of its own.
        follows_flag = False
        for text in unknown:
            if text.startswith("-"):
                name = text.split("=")[0].lstrip("-").replace("-", "_")
                yield _unknown(name, f"'--{name}'", "flag", [*self._options, "config"])
                follows_flag = "=" not in text
            elif not follows_flag:
                rule = f"unexpected argument {visible(text)!r}"
                yield Problem("", rule=rule, way_out="options are written --name value")

    def _take_file(self, file: ConfigFile, given: "_Given") -> None:
        for name, value in file.values.items():
            place, option = file.place_of(name), self._options.get(name)
            if option is None:
                unknown = _unknown(name, f"{name!r} at {place}", "key", self._options)
                given.problems.append(unknown)
                continue
            if name != "hub_token" and secret_in(str(value)):
                given.spoilt.add(name)  # the file's problems name it already, with its line
            read = partial(option_values.convert, value, option.hint, name=name)
            given.take(name, read, place, shown=f" ({place})")
            folder = Path(file.path).parent
            if name in PATHS and name in given.values and not is_here(folder):
                if is_nowhere(given.values[name], folder):
                    given.origins[name] = f"{place}; {folder.absolute()} was looked in too"
                given.values[name] = found_beside(given.values[name], folder)

    def _check(self, given: "_Given", check: Callable[..., list[Problem]]) -> Iterator[Problem]:
        values = self._with_defaults(given.values)
        problems = []
        for name, value in given.values.items():
            option = self._options[name]
            try:
                given.values[name] = values[name] = option_values.read_json(value, option.hint)
            except ValueError as error:
                problems.append(Problem(name, value, f"is not JSON: {one_line(error)}"))
            if option.choices and value is not None and value not in option.choices:
                problems.append(unknown_choice(name, value, option.choices))
        given.spoilt |= {problem.option for problem in problems}
        # A default breaks no rule, so that nothing is said about what the user did not write.
        for name in given.spoilt:
            values[name] = self._options[name].default
        problems += only_by_flag(given.values, given.origins)
        if self._extra:
            problems += out_of_range(values, bounds_of(self._extra))
        found = check(values, given=given.values.keys())
        problems += [problem for problem in found if problem.option not in given.spoilt]
        return map(given.located, problems)

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


@dataclass
class _Given:
    """What flags, file and preset say, and where; `spoilt` are the names whose value is unusable.

    What is wrong with an unusable value is said once, and checks see the default in its place.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    problems: list[Problem | str] = field(default_factory=list)

    def take(self, name: str, read: Callable[[], Any], origin: str, shown: str = "") -> None:
        """Take the value that `read` returns, which raises `TypeError` for one of another type."""
        try:
            self.values[name], self.origins[name] = read(), origin
        except TypeError as error:
            self.problems.append(Problem(name, rule=f": {error}{shown}"))
            self.spoilt.add(name)

    def join_resume(self) -> None:
        """Give both spellings of resuming one name and one meaning."""
        short, long = "resume", "resume_from_checkpoint"
        if short in self.values and long in self.values:
            rule = f"and {long} say the same thing twice"
            self.problems.append(self.located(Problem(short, None, rule, "give resume alone")))
        if short in self.values:
            self.values[long], self.origins[long] = self.values.pop(short), self.origins[short]
        if long in self.values:
            self.origins[short] = self.origins[long]
            self.values[long] = _read_resume(self.values[long])

    def located(self, problem: Problem) -> Problem:
        """Add where the values come from that `problem` names."""
        names = dict.fromkeys((problem.option, *problem.others))
        places = [self.origins[name] for name in names if name in self.origins]
        return replace(problem, place=", ".join(places))


def _unknown(name: str, shown: str, noun: str, known: Iterable[str]) -> Problem:
    if name in REMOVED:
        return Problem("", rule=f"{noun} {shown} was removed: {REMOVED[name]}")
    if is_secret(name):
        rule = f"{noun} {visible(shown)} looks like a secret, and options are saved with the run"
        return Problem("", rule=rule, way_out="set it as a variable in the shell instead")
    hint = near_matches(name, known).strip()
    return Problem("", rule=f"unknown {noun} {visible(shown)}", way_out=hint)


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
        choices = item.metadata.get("choices") or option_values.enum_values(
            option_values.alternatives(hint)
        )
        options.append(_Option(item.name, hint, default, tuple(choices)))
    return options


def _allow_words(action: argparse.Action, option: _Option | None) -> None:
    """Let a flag be followed by what its type allows: nothing where that means true, or a list."""
    if option is None or action.nargs == 0:
        return
    kinds = option_values.alternatives(option.hint)
    if option_values.item_kinds(kinds):
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


def _read_resume(value: Any) -> str | None:
    if isinstance(value, bool):
        return run_problems.LATEST if value else None
    if value is None or value.lower() in ("", "false", "no", "none", "null"):
        return None
    return run_problems.LATEST if value.lower() in ("true", "yes") else value


REMOVED: dict[str, str] = yaml.safe_load(
    Path(__file__).with_name("removed.yaml").read_text(encoding="utf-8")
)
"""Options that users still have in their files, and what to do instead."""
