"""YAML from somebody else: bounded before anything is built of it, and nothing but plain values.

PyYAML takes seconds for a file of commas, an hour for a number with 500,000 colons, and any memory
for aliases of aliases. All of it is seen in the events and nodes, which are cheap.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

# Far above what a config or a card's head ever holds, and far below what costs a second.
MAX_CHARS = 200_000
MAX_NODES = 10_000
MAX_ALIASES = 20
MAX_DEPTH = 20
MAX_NUMBER = 100

_TEXT, _FLOAT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")
# Python needs quadratic time for the digits of a number, and more for colons (base 60).
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def own_table(module: str, name: str = "") -> Any:
    """Return the YAML beside `module`, a Python file of this package: of its name, or `name`."""
    place = Path(module).with_name(name) if name else Path(module).with_suffix(".yaml")
    return yaml.safe_load(place.read_text(encoding="utf-8"))


class RefusedYAMLError(ValueError):
    """Why a text that may be YAML is not read; `line` counts from 1, 0 where there is none."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


class PlainLoader(yaml.SafeLoader):
    """YAML's safe loader without tags and dates (`run_name: 2026-01-31` is a text), and bounded."""

    # Resolvers choose the type of a bare word by its first sign; the one for dates is left out.
    yaml_implicit_resolvers = {
        start: [(tag, form) for tag, form in rules if tag != "tag:yaml.org,2002:timestamp"]
        for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._num_nodes = self._num_aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Make the next node, unless it is one too many, too deep or tagged."""
        event: Any = self.peek_event()
        # Before the node is made: an event costs little, and holds all that is asked here.
        deeper = isinstance(event, yaml.CollectionStartEvent)
        self._num_nodes += 1
        self._num_aliases += isinstance(event, yaml.AliasEvent)
        self._depth += deeper
        tag = getattr(event, "tag", None)
        for refused, reason in (
            (self._num_nodes > MAX_NODES, f"more than {MAX_NODES:,} values."),
            (
                self._num_aliases > MAX_ALIASES,
                f"more than {MAX_ALIASES} aliases (*name); write out.",
            ),
            (self._depth > MAX_DEPTH, f"nested more than {MAX_DEPTH} levels deep."),
            (tag is not None, f"tags such as {tag} are not read; give the value."),
        ):
            if refused:
                raise RefusedYAMLError(reason, _line(event))
        node = super().compose_node(parent, index)
        self._depth -= deeper
        return node


@contextmanager
def composed(text: str) -> Generator[tuple[PlainLoader, yaml.Node | None]]:
    """Give the root node of a text of YAML, and the loader that makes values of its nodes.

    Raises `RefusedYAMLError` for what is larger than a config ever is, and `YAMLError`.
    """
    if len(text) > MAX_CHARS:
        raise RefusedYAMLError(f"holds {len(text):,} characters; at most {MAX_CHARS:,} are read.")
    loader = PlainLoader(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            _size(root, {})
        yield loader, root
    finally:
        loader.dispose()


def load_yaml(text: str) -> Any:
    """Return what a text of YAML holds: texts, numbers, truth values, lists and mappings.

    Raises `ValueError` for what is not YAML, has tags, or is larger than a config ever is.
    """
    try:
        with composed(text) as (loader, root):
            # Deep, which refuses a value that contains itself.
            return None if root is None else loader.construct_object(root, deep=True)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def nodes_in(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield `root` and every value below it, once each, however often it is named by aliases."""
    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def read_exponents(root: yaml.Node) -> None:
    """Make numbers of the texts below `root` that other readers take for one: 1e-6, 2E4.

    YAML 1.1 wants a point and a sign there. What stands in quotes stays a text.
    """
    for node in nodes_in(root):
        is_bare = isinstance(node, yaml.ScalarNode) and not node.style
        if is_bare and node.tag == _TEXT and _EXPONENT.fullmatch(node.value):
            node.tag = _FLOAT


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many characters and values a node has with every alias written out."""
    if id(node) in known:
        return known[id(node)]
    # Until it is known: a node that contains itself is refused when its value is made.
    known[id(node)] = size = 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_size(part, known) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(part, known) for part in node.value)
    else:
        size += len(node.value)
        if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
            raise RefusedYAMLError(f"a number of {len(node.value):,} characters.", _line(node))
    if size > MAX_CHARS:
        raise RefusedYAMLError(
            f"more than {MAX_CHARS:,} characters with its aliases (*name) written out.", _line(node)
        )
    known[id(node)] = size
    return size


def _line(part: Any) -> int:
    # PyYAML counts lines from 0.
    return part.start_mark.line + 1
