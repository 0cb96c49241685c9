"""YAML from somebody else: bounded before anything is built of it, and nothing but plain values.

PyYAML takes seconds for a file of commas, an hour for a number with 500,000 colons, and any memory
for aliases of aliases. All of it is seen in the events and nodes, which are cheap.
"""

import re
from typing import Any

import yaml

MAX_CHARS = 200_000
MAX_NODES = 10_000
MAX_ALIASES = 20
MAX_DEPTH = 20
MAX_NUMBER = 100

_TEXT, _FLOAT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class RefusedYAMLError(ValueError):
    """Why a text that may be YAML is not read; `line` counts from 1, 0 where there is none."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


class PlainLoader(yaml.SafeLoader):
    """YAML's safe loader without dates: `run_name: 2026-01-31` is a text."""

    yaml_implicit_resolvers = {
        start: [(tag, form) for tag, form in rules if tag != "tag:yaml.org,2002:timestamp"]
        for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_yaml(text: str) -> Any:
    """Return what a text of YAML holds: texts, numbers, truth values, lists and mappings.

    Raises `ValueError` for what is no YAML, has tags, or is larger than a config ever is.
    """
    try:
        check_yaml(text)
        loader = PlainLoader(text)
        try:
            root = loader.get_single_node()
            # Deep, which refuses a value that contains itself.
            return None if root is None else loader.construct_object(root, deep=True)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def read_exponents(root: yaml.Node) -> None:
    """Make numbers of the texts below `root` that other readers take for one: 1e-6, 2E4.

    YAML 1.1 wants a point and a sign there. What stands in quotes stays a text.
    """
    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif node.tag == _TEXT and not node.style and _EXPONENT.fullmatch(node.value):
            node.tag = _FLOAT


def check_yaml(text: str) -> None:
    """Refuse what would be costly or dangerous to build; raises `RefusedYAMLError`, `YAMLError`."""
    if len(text) > MAX_CHARS:
        raise RefusedYAMLError(f"holds {len(text):,} characters; at most {MAX_CHARS:,} are read.")
    depth = num_aliases = num_nodes = 0
    for event in yaml.parse(text, Loader=PlainLoader):
        line = event.start_mark.line + 1
        num_nodes += isinstance(event, yaml.NodeEvent)
        if num_nodes > MAX_NODES:
            raise RefusedYAMLError(f"more than {MAX_NODES:,} values.", line)
        if isinstance(event, yaml.AliasEvent):
            num_aliases += 1
            if num_aliases > MAX_ALIASES:
                raise RefusedYAMLError(f"more than {MAX_ALIASES} aliases (*name); write out.", line)
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise RefusedYAMLError(f"nested more than {MAX_DEPTH} levels deep.", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if getattr(event, "tag", None) is not None:
            raise RefusedYAMLError(f"tags such as {event.tag} are not read; give the value.", line)
    # Depth and number of nodes are bounded by now. A node that contains itself is refused later.
    root = yaml.compose(text, Loader=PlainLoader)
    if root is not None:
        _size(root, {})


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many characters and values a node has with every alias written out."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = size = 1
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_size(part, known) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(part, known) for part in node.value)
    else:
        size += len(node.value)
        if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
            raise RefusedYAMLError(f"a number of {len(node.value):,} characters.", line)
    if size > MAX_CHARS:
        raise RefusedYAMLError(
            f"more than {MAX_CHARS:,} characters with its aliases (*name) written out.", line
        )
    known[id(node)] = size
    return size
