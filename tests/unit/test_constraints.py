"""The pinned versions, and what is said when newer ones break a test."""

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def latest():
    spec = importlib.util.spec_from_file_location("test_latest", ROOT / "tools" / "test_latest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(python):
    """Name to version on Linux with this Python."""
    place = {"python_version": python, "python_full_version": f"{python}.0"}
    place |= {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
    place |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    found = {}
    for line in LINES:
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(place):
            assert canonicalize_name(pin.name) not in found, line
            found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def test_every_line_is_a_name_and_one_version():
    assert [line for line in LINES if not re.match(r"[a-z0-9.-]+==[0-9][\w.]*( ;|$)", line)] == []
    assert [line for line in LINES if "@" in line or "://" in line or "+" in line] == []


def test_no_package_of_cuda_is_pinned():
    names = set().union(*map(pins, PYTHONS))
    assert [name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_is_asked_for_is_pinned_within_its_range(python):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = pins(python)
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    for requirement in map(Requirement, asked):
        version = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}, pinned at {version}"
    assert {"ruff", "ty", "tokenizers", "jinja2"} <= set(found)


def test_what_differs_is_named_with_both_versions(latest):
    constraints = "alpha==1.0\nbeta-b==2.0\ngamma==3 ; python_version < '3'\ntorch==2.13.0"
    installed = {"alpha": "1.1", "beta-b": "2.0", "gamma": "4", "torch": "2.13.0+cpu", "new": "1"}
    assert latest.differing(constraints, installed) == {"alpha": "1.0 -> 1.1"}


RESULTS = """<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_x"><failure message="TypeError: no
more">.venv/lib/python3.11/site-packages/Alpha_a/core.py:3: TypeError</failure></testcase>
<testcase classname="tests.unit.test_a" name="test_y"><failure message="assert 1 == 2">tests/unit/
test_a.py:9</failure></testcase>
<testcase classname="" name="tests.unit.test_b"><error message="collection failure">in
site-packages/alpha_b.py</error></testcase>
<testcase classname="tests.unit.test_c" name="test_z"/>
</testsuite></testsuites>"""


def test_each_failure_stands_under_the_new_release_that_its_traceback_passes(latest):
    owners = {"Alpha_a": ["Alpha"], "alpha_b": ["Alpha"], "other": ["beta"]}
    changed = {"beta": "1 -> 2", "alpha": "1.0 -> 1.1"}
    assert latest.describe(changed, RESULTS, owners).splitlines() == [
        "Newer than pinned, each with the failures whose traceback passes through it:",
        "  alpha 1.0 -> 1.1",
        "    tests.unit.test_a::test_x: TypeError: no more",
        "    tests.unit.test_b: collection failure",
        "  beta 1 -> 2",
        "Failures whose traceback passes through none of them:",
        "    tests.unit.test_a::test_y: assert 1 == 2",
    ]


def test_without_a_newer_release_no_release_is_blamed(latest):
    assert "the fault is not a new release's" in latest.describe({}, RESULTS, {})


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_test_runs_tests_and_no_other_tool():
    command = ["make", "--dry-run", "--always-make", "--no-print-directory"]

    def recipes(target):
        done = subprocess.run([*command, target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "pytest" in recipes("test")
    assert not re.search(r"/(ruff|ty) ", recipes("test"))
    assert re.search(r"/ruff format --check\n(.|\n)*/ty check\n(.|\n)*pytest", recipes("check"))
