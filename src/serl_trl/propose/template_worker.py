"""The process that renders a chat template: one JSON object in, one out.

A template is a program that came with a model: transformers lets it touch nothing, but it may count
to any number or build any text. Here its processor time and memory are bounded, and the kernel ends
the process where the interpreter cannot be interrupted.

The language is transformers' own: Jinja with its few additions. Its function costs the import of
torch, which takes longer than all else that `serl check` does.
"""

import json
import os
import resource
import sys
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from serl_trl.common.limits import limit_resources, refuse_access

# Far beyond any prompt and any honest template; both end loops that build text without end.
MAX_CHARS = 4_000_000
MEMORY_MB = 2048


def render(template: str, chats: list[Any], **kwargs: Any) -> list[str]:
    """Return each conversation as `template` writes it; raises what the template raises."""
    # As transformers sets it up, so that the same text comes out.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    # What transformers adds to Jinja; a test compares the two on each of them.
    environment.filters["tojson"] = _to_json
    additions: dict[str, Any] = {
        "raise_exception": _refuse,
        "strftime_now": _now,
        "dict": _Mapping(),
        "namespace": _Namespace,
    }
    environment.globals.update(additions)
    compiled = environment.from_string(template)
    given = {"tools": None, "documents": None, **kwargs}
    return [compiled.render(messages=chat, add_generation_prompt=True, **given) for chat in chats]


class _Generation(Extension):
    """The block that marks what an assistant wrote; its text is that of its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Mapping:
    """The function `dict` without the class, which would open the way to Python's insides."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """Jinja's namespace, without the names with an underscore that Python uses itself."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise SecurityError(f"a namespace holds no name with an underscore first: {name!r}")
        super().__setitem__(name, value)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def main() -> None:
    """Read a job from standard input, and write its texts or its error."""
    # Templates may print through libraries; only the reply may reach the parent.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    limit_resources(MEMORY_MB)
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The kernel counts whole seconds, and what the imports took is counted with them.
    most = int(used.ru_utime + used.ru_stime + job["limit_s"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    # Jinja's sandbox has had holes: what leaves it finds no files, no network and no processes.
    sys.addaudithook(refuse_access)
    try:
        texts = render(job["template"], job["chats"], **job["kwargs"])
        longest = max(map(len, texts), default=0)
        too_long = f"it writes a prompt of {longest:,} characters" if longest > MAX_CHARS else ""
        answer = {"error": too_long} if too_long else {"texts": texts}
    except MemoryError:
        answer = {"error": f"it needs more than {MEMORY_MB:,} MB"}
    except Exception as error:  # noqa: BLE001 - whatever the template's own operations raise
        answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    reply.write(json.dumps(answer))
    reply.flush()
    # What the template built may take long to take apart.
    os._exit(0)


if __name__ == "__main__":
    main()
