"""The YAML file of a run: no key twice, no tags, no secrets, each value with its line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from serl_trl.common.plain_yaml import (
    MAX_CHARS,
    PlainLoader,
    RefusedYAMLError,
    composed,
    nodes_in,
    read_exponents,
)
from serl_trl.common.secrets import is_secret, redacted, secret_in
from serl_trl.common.text import list_names, near_matches, one_line, visible

MAX_BYTES = MAX_CHARS

# A variable of the list is a number, a switch or a label, which are short.
_MAX_VALUE = 1000

# Environment variables that a config may set.
HARMLESS = frozenset(
    word
    for line in Path(__file__).with_name("environment.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for word in line.split()
)


@dataclass(frozen=True)
class ConfigFile:
    """What a YAML file holds: `values` and the `lines` they stand on, `env`, or `problems`.

    `problems` are complete sentences with file and line; with a syntax error there are no values.
    """

    path: str
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def place_of(self, key: str) -> str:
        """Return `file:line` of a key."""
        return f"{self.path}:{self.lines[key]}"


def read_config_file(path: str) -> ConfigFile:
    """Read the YAML file at `path`; everything wrong is in `problems`, and no error is raised.

    Dates stay texts, and tags such as `!!python/object` or `!!int` are refused, so that a value is
    never more than text, number, truth value, list or mapping.
    """
    text, problem = _read_text(path)
    if problem:
        return ConfigFile(path, problems=(problem,))
    try:
        with composed(text) as (loader, root):
            return _read_root(loader, root, path, text)
    except yaml.MarkedYAMLError as error:
        return ConfigFile(path, problems=(_syntax_problem(error, path),))
    except yaml.YAMLError as error:
        return ConfigFile(path, problems=(f"{path} is not YAML: {one_line(error)}.",))
    except RefusedYAMLError as error:
        place = f"{path}:{error.line}" if error.line else path
        return ConfigFile(path, problems=(f"{place}: {error}",))


def _read_text(path: str) -> tuple[str, str]:
    """Return the file's text, or why there is none."""
    file = Path(path)
    try:
        if not file.exists():
            return "", _missing(file)
        if not file.is_file():
            return "", f"{path} is not a file; --config takes a YAML file."
        # Looked at before reading: the file may come from somebody else.
        size = file.stat().st_size
        if size > MAX_BYTES:
            return "", f"{path} holds {size:,} bytes; a config of at most {MAX_BYTES:,} is read."
        # Some editors put a mark of the encoding before the first sign.
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "", f"{path} is not UTF-8 (byte {error.start + 1})."
    except (OSError, ValueError) as error:
        return "", f"{visible(path)} cannot be read: {one_line(error)}."
    if not text.strip():
        return "", f"{path} is empty; it must map option names to values."
    return text, ""


def _missing(file: Path) -> str:
    where = f"the config file {visible(str(file))} does not exist (in {Path.cwd()})"
    if not file.parent.is_dir():
        return f"{where}; there is no folder {file.parent} either."
    names = [other.name for other in file.parent.iterdir() if other.suffix in (".yaml", ".yml")]
    hint = near_matches(file.name, names)
    return f"{where}.{hint}" + (f" There is {list_names(names)}." if names and not hint else "")


def _read_root(loader: PlainLoader, root: yaml.Node | None, path: str, text: str) -> ConfigFile:
    if root is None:
        problem = f"{path} holds nothing; it must map option names to values."
        return ConfigFile(path, problems=(problem,))
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        line = root.start_mark.line + 1
        raise RefusedYAMLError(f"must map option names to values, but holds {found}.", line)
    problems = [*_repeated_keys(root, path), *_secret_values(text, path)]
    # Merge keys (`<<: *base`) are resolved, so that their values count as the mapping's own.
    loader.flatten_mapping(root)
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in root.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(f"{path}:{line}: a key must be a name.")
            continue
        key = key_node.value
        # Alone, the type of the option says whether it is a number; in `env` all values are texts.
        if isinstance(value_node, yaml.MappingNode) and key != "env":
            read_exponents(value_node)
        try:
            values[key] = loader.construct_object(value_node, deep=True)
            lines[key] = line
        except ValueError as error:
            problems.append(f"{path}:{line}: the value of {visible(key)!r}: {one_line(error)}.")
    env = _read_env(values.pop("env", {}), f"{path}:{lines.get('env', 1)}", problems)
    return ConfigFile(path, values, lines, env, tuple(problems))


def _repeated_keys(root: yaml.Node, path: str) -> Iterator[str]:
    """Name the keys that a mapping, at any level, gives more than once."""
    for node in nodes_in(root):
        if isinstance(node, yaml.MappingNode):
            places: dict[str, list[int]] = {}
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    places.setdefault(key.value, []).append(key.start_mark.line + 1)
            for name, lines in places.items():
                # A mapping may merge several others.
                if len(lines) > 1 and name != "<<":
                    # A file of one key a million times must not make a message as long.
                    at = " and ".join(str(line) for line in lines[:20])
                    times = "twice" if len(lines) == 2 else f"{len(lines)} times"
                    yield f"{visible(name)!r} is given {times} ({path}, lines {at}); keep one."


def _secret_values(text: str, path: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        # Line by line over the text: comments are read by strangers, too, and YAML drops them.
        if what := secret_in(line):
            yield (
                f"{path}:{number}: holds what looks like {what}. The config is saved with the run; "
                "log in with `hf auth login`, or set a variable such as HF_TOKEN in the shell."
            )


def _read_env(block: Any, place: str, problems: list[str]) -> dict[str, str]:
    if not isinstance(block, dict):
        problems.append(f"env must be a mapping of names to values ({place}).")
        return {}
    env = {}
    for name, value in block.items():
        if not isinstance(name, str) or isinstance(value, dict | list) or value is None:
            problems.append(f"env: {visible(str(name))!r} must be a name with one value ({place}).")
        elif is_secret(name):
            problems.append(
                f"env: {visible(name)} is a secret ({place}). The config is saved with the run; "
                "set the variable in the shell instead."
            )
        else:
            # As a shell would have it, not as Python prints it.
            text = str(value).lower() if isinstance(value, bool) else str(value)
            # A variable can switch a library to another code path, address or file: only known ones
            # pass.
            if name not in HARMLESS or not text.isprintable() or len(text) > _MAX_VALUE:
                problems.append(_not_harmless(name, text, place))
            env[name] = text
    return env


def _not_harmless(name: str, value: str, place: str) -> str:
    """Return why a config cannot set a variable; what looks like a secret is not shown."""
    shown = visible(redacted(value[:60])) + ("..." if len(value) > 60 else "")
    if name in HARMLESS:
        return (
            f"env: {name}={shown} must be at most {_MAX_VALUE} characters that can be printed "
            f"({place})."
        )
    return (
        f"env: {visible(name[:60])}={shown} is not among the variables that a config may set "
        f"({place}), because a config may come from somebody else. If you want it, set it in the "
        f"shell.{near_matches(name[:60], HARMLESS)}"
    )


def _syntax_problem(error: yaml.MarkedYAMLError, path: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
    if "'\\t'" in str(error.problem):
        return f"{place}: YAML is not indented with tabs; use spaces."
    context = f" {error.context}" if error.context else ""
    return f"{place}: is not YAML: {visible(str(error.problem))}{visible(context)}."
