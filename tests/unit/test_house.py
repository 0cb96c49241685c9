"""Sizes that keep a part of the code on one screen: what grows past them is split by noun."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "serl_trl"
FILES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES, FUNCTION_LINES, CLASS_METHODS = 500, 40, 15

LARGER = {
    "train/trainer.py:SeRLTrainer": "each method is a seam of TRL's trainer, or calls who does it",
    "train/trainer.py:__init__": "TRL's own signature, and the checks before TRL loads the weights",
}
"""What is larger, and why. A part that became small leaves the list."""


def too_large(path):
    """Yield the names in a file that are past their size."""
    name = path.relative_to(SOURCE).as_posix()
    text = path.read_text(encoding="utf-8")
    if text.count("\n") > MODULE_LINES:
        yield name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.end_lineno - node.lineno >= FUNCTION_LINES:
                yield f"{name}:{node.name}"
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            if len(methods) > CLASS_METHODS:
                yield f"{name}:{node.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_modules_functions_and_classes_keep_their_size(path):
    name = path.relative_to(SOURCE).as_posix()
    allowed = {each for each in LARGER if each.partition(":")[0] == name}
    assert set(too_large(path)) == allowed


def test_the_list_of_larger_parts_names_files_that_exist():
    names = {path.relative_to(SOURCE).as_posix() for path in FILES}
    assert {each.partition(":")[0] for each in LARGER} <= names
