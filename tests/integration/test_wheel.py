"""A wheel built from the repository and installed elsewhere: it brings the sandbox, which runs."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import serl_trl

ROOT = Path(__file__).parents[2]
PROBE = {"instruction": "Tom has 3 apples and buys 4 more. How many apples has Tom?", "answer": "7"}


def run(*command: str | Path, cwd: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that the working tree stays as it is."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", copy / "src", ignore=leave_out)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` of a fresh environment with the wheel; dependencies come from this one."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    purelib = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    )
    # A path file is not read for further path files, so an editable install here stays unseen.
    Path(purelib.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    run(*pip, wheel, cwd=folder)
    return folder / "bin"


def test_the_wheel_brings_the_sandbox_and_the_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert wheel.name == f"serl_trl-{serl_trl.__version__}-py3-none-any.whl"
    for name in ("py.typed", "sandbox/sandbox_cpu.yaml", "sandbox/sandbox_hard_cpu.yaml"):
        assert f"serl_trl/{name}" in names
    for folder in ("model", "model_hard"):
        model = {path.name for path in (ROOT / "src/serl_trl/sandbox" / folder).iterdir()}
        assert "model.safetensors" in model
        assert {f"serl_trl/sandbox/{folder}/{name}" for name in model} <= set(names)
    # Word lists, templates and styles lie beside the code that reads them.
    beside = {
        path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/serl_trl").rglob("*.*")
    }
    assert {name for name in beside if not name.endswith((".py", ".pyc"))} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "serl_trl",
        f"serl_trl-{serl_trl.__version__}.dist-info",
    }
    assert wheel.stat().st_size < 8_000_000


def test_the_installed_package_is_the_wheel_s(elsewhere, tmp_path):
    code = "import serl_trl; print(serl_trl.__file__, serl_trl.__version__)"

    where, version = run(elsewhere / "python", "-c", code, cwd=tmp_path).split()

    assert Path(where).is_relative_to(elsewhere.parent)
    assert version == serl_trl.__version__
    assert run(elsewhere / "serl", "--version", cwd=tmp_path) == f"serl-trl {version}\n"


def test_the_installed_demo_runs_from_another_folder(elsewhere, tmp_path):
    (tmp_path / "probe.jsonl").write_text(json.dumps(PROBE) + "\n")
    options = ["--max_steps", "1", "--probe_set", "probe.jsonl", "--json", "demo.json"]

    printed = run(elsewhere / "serl", "demo", *options, cwd=tmp_path)

    report = json.loads((tmp_path / "demo.json").read_text())
    assert (
        set(report["before"]) == set(report["after"]) == {"pass@1", "maj@16", "pass@16", "greedy"}
    )
    assert (tmp_path / report["run"] / "model.safetensors").exists()
    assert "held out" in printed
