"""The order of the package: imports only go down, and nothing above `config.py` costs torch."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "serl_trl"

# The rows of the style guide's table, lowest first. A module that is in no row is a helper: it may
# be used anywhere, as long as what it imports in turn lies below its user.
ROWS = (
    ("answers", "verifier", "verify_worker"),
    ("voting",),
    ("novelty", "filters"),
    ("pool",),
    ("prompts", "proposer"),
    ("selfplay",),
    ("data", "evaluation"),
    ("ledger", "checkpoint"),
    ("config_options",),
    ("hub",),
    ("config_checks", "config", "arguments", "trainer"),
    ("report",),
    ("build", "describe", "cli"),
)
# The only modules that may import torch, transformers or TRL when they are imported themselves.
HEAVY = {
    "adapters",
    "advantages",
    "arguments",
    "build",
    "commands.eval",
    "commands.plan",
    "commands.serve",
    "config",
    "describe",
    "engine",
    "guards",
    "model_files",
    "policy",
    "preflight",
    "sandbox.measure",
    "sandbox.pretrain",
    "saving",
    "trainer",
    "watching",
}
HEAVY_LIBRARIES = ("torch", "trl", "transformers", "accelerate", "datasets", "peft")


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name below `serl_trl`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found[name] = path
    return found


MODULES = modules()


@cache
def imports_of(name: str) -> frozenset[str]:
    """Return the package's modules that one imports, anywhere but for type checking."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    inside = {each.removeprefix("serl_trl.") for each in found if each.startswith("serl_trl.")}
    # Importing `sandbox.domain` also runs `sandbox`; that package does not count as used by itself.
    return frozenset(inside & MODULES.keys() - {name})


def reached_from(name: str) -> set[str]:
    """Return all modules that importing one imports in turn."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for found in imports_of(waiting.pop()) - reached:
            reached.add(found)
            waiting.append(found)
    return reached


def row_of(name: str) -> int | None:
    stem = name.split(".")[0]
    return next((number for number, row in enumerate(ROWS) if stem in row), None)


@pytest.mark.parametrize("name", MODULES)
def test_imports_never_come_back(name):
    assert name not in reached_from(name), f"{name} imports itself in a circle"


@pytest.mark.parametrize("name", [name for name in MODULES if row_of(name) is not None])
def test_imports_only_go_down(name):
    above = {
        other
        for other in reached_from(name)
        if row_of(other) is not None and row_of(other) > row_of(name)
    }

    assert not above, f"{name} uses {sorted(above)}, which lie above it"


def test_light_modules_load_no_heavy_library():
    light = [name for name in MODULES if name not in HEAVY]
    code = (
        "import importlib, sys\n"
        f"for name in {light!r}:\n"
        "    importlib.import_module('serl_trl.' + name)\n"
        f"    heavy = [each for each in {HEAVY_LIBRARIES!r} if each in sys.modules]\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_list_of_heavy_modules_names_no_light_one():
    assert not {name for name in HEAVY if row_of(name) is not None and row_of(name) < 8}


def test_public_names_load_at_first_use():
    code = (
        "import sys, serl_trl\n"
        "assert 'torch' not in sys.modules and 'yaml' not in sys.modules\n"
        "assert serl_trl.majority_vote and serl_trl.InstructionPool\n"
        "assert serl_trl.extract_answer and serl_trl.same_answer\n"
        "assert 'torch' not in sys.modules\n"
        "assert set(serl_trl.__all__) == set(dir(serl_trl))\n"
        "try:\n"
        "    serl_trl.nothing\n"
        "except AttributeError as error:\n"
        "    assert 'nothing' in str(error)\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_nothing_in_the_package_prints():
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert "print" not in [call.id for call in calls if isinstance(call, ast.Name)], name
