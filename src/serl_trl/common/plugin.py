"""Objects that a text names: `name`, `name(option=value)`, `my_package.module.Class(option=value)`.

A config may come from a stranger, so a dotted path is not enough to have code run. The package must
be one that the user named, or one that was installed as a plug-in (entry point `serl_trl.plugins`),
and the object must be defined there. What it is, is read off its class and signature: looking for
an object imports its package and calls nothing.
"""

import ast
import importlib
import inspect
import re
import sys
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from serl_trl.common.problem import Problem
from serl_trl.common.text import list_names, near_matches, one_line, shortened, visible

# Entry point group of packages that are plug-ins wherever they are installed.
GROUP = "serl_trl.plugins"

# Trusted as a plug-in is; what its modules import from elsewhere is not.
OURS = "serl_trl"

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MAX_CHARS = 2000  # far beyond an honest call; parsing takes time and depth


@dataclass(frozen=True)
class Role:
    """What an option takes: `takes` in words, `known` by their names.

    An object fills the role when its class has all `methods`. A function does when it can be called
    with `arguments` and `keywords`, and, as far as it is annotated, takes texts and returns one of
    `returns`. Where `makes`, a function does not fill the role but makes what does.
    """

    option: str
    takes: str
    known: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ("__call__",)
    arguments: tuple[Any, ...] = ()
    keywords: tuple[str, ...] = ()
    returns: tuple[type, ...] = ()
    makes: bool = False

    def refuse(self, text: str, reason: str) -> ValueError:
        """Return the error with which a text is refused."""
        return ValueError(f"{self.option}={shown(text)} {reason}")


@dataclass(frozen=True)
class Plugin:
    """An object that was found; `options` are `None` where it is used as it is.

    `foreign` says that using it runs code of a plug-in.
    """

    text: str
    role: Role
    found: Any
    options: Mapping[str, Any] | None
    foreign: bool

    def make(self, offered: Mapping[str, Any] | None = None) -> Any:
        """Return the object, made with its options where it is a class or makes one.

        `offered` holds values for options that the text leaves out and the maker has by that name.
        """
        if self.options is None:
            return self.found
        # Only what it names is handed to it: a plug-in need not take **kwargs.
        known = inspect.signature(self.found).parameters
        taken = {name: value for name, value in (offered or {}).items() if name in known}
        try:
            return self.found(**{**taken, **self.options})
        except TypeError as error:
            raise self.role.refuse(self.text, f"cannot be made: {one_line(error)}.") from error


def find(text: str, role: Role, plugins: Collection[str] = ()) -> Plugin:
    """Return the object that `text` names, which lies in one of the packages `plugins`.

    Imports the package, calls nothing. Raises `ValueError` saying why there is no such object.
    """
    name, options = split(text, role)
    known = name in role.known
    found = role.known[name] if known else _import(text, name, role, plugins)
    if not known and (problem := _type_problem(found, role, called=options is not None)):
        raise role.refuse(text, f"{problem}; give {role.takes}.")
    # A class is made even without brackets; a function stands for itself where none is to be made.
    if isinstance(found, type) or (role.makes and inspect.isroutine(found)):
        options = options or {}
    elif options and not inspect.isroutine(found):
        raise role.refuse(text, "is an object; only a class or function has options.")
    if options is not None:
        # Misspelt options are found here, before any code of the plug-in runs.
        try:
            inspect.signature(found).bind(**options)
        except (TypeError, ValueError) as error:
            raise role.refuse(text, f"cannot be made: {one_line(error)}.") from error
    return Plugin(text, role, found, options, foreign=not (known or _lies_in(name, [OURS])))


def is_path(text: str) -> bool:
    """Return whether `text` names an object by a dotted path, and not by a name of this package."""
    return "." in text.partition("(")[0]


def split(text: str, role: Role) -> tuple[str, dict[str, Any] | None]:
    """Return the name in `text` and its options, which are `None` without brackets.

    Raises `ValueError` for what is not of the form `name(option=value)` with literal values.
    """
    if len(text) > _MAX_CHARS:
        raise role.refuse(text, f"has {len(text):,} characters; {_MAX_CHARS:,} are the most.")
    if _PATH.fullmatch(text):
        return text, None
    try:
        match ast.parse(text, mode="eval").body:
            case ast.Call(func=func, args=[], keywords=keywords) if _PATH.fullmatch(
                name := ast.unparse(func)
            ):
                return name, {each.arg or "": ast.literal_eval(each.value) for each in keywords}
    # The last two come from text that is nested very deep.
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    raise role.refuse(text, "is not of the form name or name(option=value) with literal values.")


def split_list(text: str) -> list[str]:
    """Return the items of a list with commas; those between brackets or quotes separate nothing."""
    items, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        depth += 0 if quote else (sign in "([{") - (sign in ")]}")
        if sign == "," and not quote and depth <= 0:
            items.append("")
        else:
            items[-1] += sign
    return [item.strip() for item in items if item.strip()]


def package_problems(plugins: Collection[str]) -> Iterator[Problem]:
    """Yield why a package cannot be a plug-in: it is not a name, or belongs to Python."""
    for package in plugins:
        if not _PATH.fullmatch(package):
            rule = "must be the name of a package, such as my_package"
            yield Problem("plugins", shown(package), rule)
        elif _is_standard(package):
            rule, way_out = "belongs to Python itself", "name a package of your own"
            yield Problem("plugins", package, rule, way_out)


def installed_plugins() -> frozenset[str]:
    """Return the packages that were installed as plug-ins.

    What merely lies in the working directory was not installed by anybody.
    """
    here = Path.cwd()
    places = [place for place in sys.path if place and Path(place).resolve() != here]
    return frozenset(
        point.module
        for each in distributions(path=places)
        for point in each.entry_points
        if point.group == GROUP
    )


def shown(text: str) -> str:
    """Return a text that was given, short enough for a message."""
    return visible(shortened(text, 80))


def _is_standard(path: str) -> bool:
    # Whatever a plug-in is called: Python would import its own module of that name.
    return path.partition(".")[0] in sys.stdlib_module_names


def _lies_in(path: str, packages: Collection[str]) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in packages)


def _import(text: str, path: str, role: Role, plugins: Collection[str]) -> Any:
    """Import the object at a dotted path of a named package, and see that it is defined there."""
    module, _, name = path.rpartition(".")
    if not module:
        names = sorted(role.known)
        choose = f"choose one of {list_names(names)}, or give" if names else "give"
        raise role.refuse(
            text,
            f"is unknown; {choose} the dotted path of {role.takes}.{near_matches(path, names)}",
        )
    package = module.partition(".")[0]
    trusted = {OURS, *(each for each in plugins if not _is_standard(each))}
    if not _lies_in(module, trusted):
        if _is_standard(module):
            raise role.refuse(
                text,
                f"would run {module} of Python's standard library; give {role.takes} in a package "
                "of your own, and name it by --plugins my_package.",
            )
        # Looked for only now: it reads what every installed package says of itself.
        trusted |= installed_plugins()
    if not _lies_in(module, trusted):
        raise role.refuse(
            text,
            f"would run code of {package}, which is not a plug-in. If you trust it, say --plugins "
            f"{package} (in Python plugins=[{package!r}]); a config file cannot.",
        )
    found = _attribute(text, module, name, role)
    # What a plug-in imports is a name in it too, such as the `system` of `os`.
    home = getattr(found, "__module__", None)
    if not isinstance(home, str) or not _lies_in(home, trusted):
        named = isinstance(home, str)
        what = f"is defined in {home}" if named else "is neither a class nor a function"
        raise role.refuse(
            text, f"{what}, not in {package}; give {role.takes} of the plug-in's own."
        )
    return found


def _attribute(text: str, module: str, name: str, role: Role) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise role.refuse(text, f"cannot be imported: {one_line(error)}.") from error
    except Exception as error:  # a module that is imported may raise anything
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise role.refuse(text, f"cannot be imported: {reason}.") from error


def _type_problem(found: Any, role: Role, *, called: bool) -> str:
    """Return why an object does not fill the role, as far as can be seen without calling it."""
    if not inspect.isroutine(found):
        kind = found if isinstance(found, type) else type(found)
        if missing := _missing(kind, role):
            return f"lacks {list_names(missing)}"
        return _call_problem(_method(kind, "__call__"), role, bound=False)
    if called or role.makes:
        makers = [kind for kind in _returned(found) if not _missing(kind, role)]
        return "" if makers else "is a function that is not annotated to return such an object"
    return _call_problem(found, role, bound=True)


def _missing(kind: Any, role: Role) -> list[str]:
    return [name for name in role.methods if not callable(_method(kind, name))]


def _method(kind: Any, name: str) -> Any:
    # Not `getattr`: every class can be called, a property would run, and `object` has no part.
    homes = [vars(base) for base in getattr(kind, "__mro__", ()) if base is not object]
    return next((home[name] for home in homes if name in home), None)


def _call_problem(function: Any, role: Role, *, bound: bool) -> str:
    """Return why a function, or an unbound `__call__`, cannot be called as this role's would be."""
    if "__call__" not in role.methods:
        return ""
    arguments = role.arguments if bound else (None, *role.arguments)
    try:
        signature = inspect.signature(function)
        # What else is needed by keyword are columns of the data.
        call = signature.bind_partial if role.keywords else signature.bind
        call(*arguments, **dict.fromkeys(role.keywords))
    except (TypeError, ValueError) as error:
        return f"would be called with other arguments ({one_line(error)})"
    returned = _returned(function)
    ours = _lies_in(str(getattr(function, "__module__", "")), [OURS])
    fitting = [
        kind for kind in returned if isinstance(kind, type) and issubclass(kind, role.returns)
    ]
    if Any in returned or fitting or not (returned or ours):
        return ""
    return "is annotated to return something else"


def _returned(function: Any) -> list[Any]:
    """Return the types that a function is annotated to return; none where it says nothing."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return []
    hint = hints.get("return", ...)
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else [hint]
    return [get_origin(member) or member for member in members if member is not ...]
