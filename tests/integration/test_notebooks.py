"""Every notebook that needs no GPU runs from clean; none is committed with outputs."""

import ast
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.processes import HANG_S

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SELDOM = {"02_one_round", "04_your_domain"}
ON_A_GPU = "05_on_a_gpu"
MAX_LINES = 10


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_clean_and_defines_nothing_long(path):
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    for cell in code:
        python = "\n".join(line for line in cell.source.splitlines() if line[:1] != "!")
        for node in ast.walk(ast.parse(python)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < MAX_LINES


@pytest.mark.parametrize(
    "path",
    [
        # What these two do is also in the notebook that trains and reads a run.
        pytest.param(path, marks=[pytest.mark.slow] if path.stem in SELDOM else [])
        for path in NOTEBOOKS
        if path.stem != ON_A_GPU
    ],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # The commands of the environment the tests run in.
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
    client = NotebookClient(
        read(path),
        timeout=HANG_S,
        kernel_name="python3",
        resources={"metadata": {"path": tmp_path}},
    )
    done = client.execute()
    failed = [
        output.get("text", "")
        for cell in done.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and "problem" in output.get("text", "")[:40]
    ]
    assert not failed, failed
