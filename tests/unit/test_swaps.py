"""What is changed on objects of other libraries is put back, and stands in one table."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from serl_trl.train.swaps import SWAPS, replaced, swapped

SOURCE = Path(__file__).parents[2] / "src" / "serl_trl"
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path.name != "swaps.py"]


def calls_in(path):
    """Yield the table's name of each attribute that a file changes by one of the two helpers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if named and node.func.id in ("swapped", "replaced"):
            holder = ast.literal_eval(node.args[0])
            yield from (f"{holder}.{keyword.arg}" for keyword in node.keywords)


def test_the_table_lists_what_the_code_changes_and_nothing_else():
    assert {name for path in FILES for name in calls_in(path)} == SWAPS.keys()


def put_back_by_hand(path):
    """Yield the attributes of objects other than `self` that a `finally` block assigns."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for end in getattr(node, "finalbody", ()):
            for inner in ast.walk(end):
                stored = isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
                if stored and getattr(inner.value, "id", "") != "self":
                    yield ast.unparse(inner)


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "train").glob("*.py")), ids=lambda path: path.name
)
def test_nothing_is_put_back_by_hand(path):
    # Below `train` no object of these libraries is known; other rooms put back what is ours.
    # The engine is put to sleep as TRL does it, and notes that itself.
    known = {"engine._llm_weights_sleeping"}
    assert set(put_back_by_hand(path)) <= known


class Kind:
    temperature = 1.0


def test_values_are_back_after_the_block_even_when_it_raises():
    engine = SimpleNamespace(temperature=0.3, top_p=0.9)
    with pytest.raises(ZeroDivisionError), swapped("engine", engine, temperature=0.0, top_p=1.0):
        assert (engine.temperature, engine.top_p) == (0.0, 1.0)
        raise ZeroDivisionError
    assert vars(engine) == {"temperature": 0.3, "top_p": 0.9}


def test_what_only_the_class_had_is_taken_away_again():
    engine = Kind()
    with swapped("engine", engine, temperature=0.0):
        assert engine.temperature == 0.0
    assert vars(engine) == {}


class Held:
    """Keeps its data where no dictionary shows it, as a tensor does."""

    __slots__ = ("data",)


def test_what_a_descriptor_holds_is_put_back_by_it():
    parameter = Held()
    parameter.data = before = [1.0]
    with swapped("parameter", parameter, data=[2.0]):
        assert parameter.data == [2.0]
    assert parameter.data is before


def test_an_attribute_without_a_row_is_an_error_of_ours():
    with pytest.raises(AssertionError, match=r"engine\.seed has no row in SWAPS"):
        replaced("engine", SimpleNamespace(seed=1), seed=2)
