"""The order of the package: a room imports only from rooms below it; below `train` no torch."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "serl_trl"

# Lowest first. Imports for type checking count too: what a reader must know to follow a file is
# the same. `serl_trl/__init__.py` stands above all, since it only hands names on.
ROOMS = (
    "_version",
    "common",
    "answers",
    "propose",
    "sandbox",
    "filters",
    "labels",
    "loop",
    "data",
    "measure",
    "runs",
    "train",
    "report",
    "share",
    "plan",
    "cli",
)
# The only modules that may import torch, transformers or TRL when they are imported themselves.
HEAVY = {
    "cli.build",
    "cli.run_problems",
    "cli.commands.check",
    "cli.commands.demo",
    "cli.commands.eval",
    "cli.commands.plan",
    "cli.commands.propose",
    "cli.commands.serve",
    "cli.commands.train",
    "cli.commands.trial",
    "cli.inputs",
    "cli.model",
    "cli.parser",
    "train.advantages",
    "train.config",
    "train.guard",
    "train.lora",
    "train.model_files",
    "train.nonfinite",
    "train.policy",
    "train.prefill",
    "train.probe",
    "train.reference",
    "train.resume",
    "train.sampling",
    "train.saving",
    "train.sentinel",
    "train.state",
    "train.teachers",
    "train.stopping",
    "train.trainer",
    "train.vllm",
}
# The ways up that the plan allows, inside the functions that need them.
WAYS_UP = {
    # TRL asks its trainer to write a card and to push.
    "train.trainer": {"share.hub"},
}
# How a name of TRL's own is reached; the second form takes and puts back a value of a checkpoint.
_PRIVATE = r"""(?:inside\([\w.]+\)\.|_attribute\(")(_\w+)"""
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
    """Return the package's modules that one imports, anywhere and for whatever purpose."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            # `from serl_trl.answers import base` names a module; any other name is the package's.
            found |= {
                each if each.removeprefix("serl_trl.") in MODULES else str(node.module)
                for each in (f"{node.module}.{alias.name}" for alias in node.names)
            }
    inside = {each.removeprefix("serl_trl.") for each in found if each.startswith("serl_trl.")}
    return frozenset(inside & MODULES.keys() - {name} - WAYS_UP.get(name, set()))


def reached_from(name: str) -> set[str]:
    """Return all modules that one imports in turn."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for found in imports_of(waiting.pop()) - reached:
            reached.add(found)
            waiting.append(found)
    return reached


def room_of(name: str) -> int:
    return ROOMS.index(name.split(".")[0])


@pytest.mark.parametrize("name", MODULES)
def test_imports_never_come_back(name):
    assert name not in reached_from(name), f"{name} imports itself in a circle"


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_only_from_rooms_below_it(name):
    above = {other for other in imports_of(name) if room_of(other) > room_of(name)}

    assert not above, f"{name} uses {sorted(above)}, which lie above it"


def test_every_room_is_a_folder_and_every_folder_a_room():
    assert {name.split(".")[0] for name in MODULES} == set(ROOMS)


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


def test_the_list_of_heavy_modules_names_what_is_there():
    assert MODULES.keys() >= HEAVY
    low = {name for name in HEAVY if room_of(name) < ROOMS.index("train")}
    assert low <= {"runs.facts"}, "rooms below `train` stay light"


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


def test_what_is_private_to_trl_stands_in_one_table():
    tree = ast.parse(MODULES["train.host"].read_text(encoding="utf-8"))
    seams = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "SEAMS"
    )
    host = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    used = set()
    for name, path in MODULES.items():
        if name.startswith("train."):
            used |= set(re.findall(_PRIVATE, path.read_text(encoding="utf-8")))

    assert used == seams.keys()
    assert sum(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in host.body) <= 20
