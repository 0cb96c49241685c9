"""The runner of a GPU's steps, and the pack that travels to its machine."""

import argparse
import hashlib
import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from benchmarks import gpu_day
from benchmarks.gpu_day import Step
from benchmarks.step_profile import covered
from tools import gpu_pack


def python(code):
    return ["timeit", "-n1", "-r1", code]


def read(path):
    return lambda: json.loads(path.read_text())


@pytest.fixture
def options(tmp_path):
    return argparse.Namespace(out=tmp_path, total_s=100, device="cpu", tiny=True)


def day(tmp_path):
    return json.loads((tmp_path / "day.json").read_text())["steps"]


def test_a_step_that_is_done_is_passed_over_and_a_failed_one_tried_again(tmp_path, options, capsys):
    ran = tmp_path / "ran"
    append = python(f"open({str(ran)!r}, 'a').write('x')")
    done = Step(append, 60, 0, lambda: {"tokens": 3})
    failed = Step(["no_such_module"], 60, 0, read(tmp_path / "none.json"))

    assert gpu_day.run_steps({"done": done, "failed": failed}, options) == 1
    assert gpu_day.run_steps({"done": done, "failed": failed}, options) == 1

    assert ran.read_text() == "x"
    assert day(tmp_path)["done"]["figures"] == {"tokens": 3}
    assert day(tmp_path)["failed"]["exit_code"] == 1
    assert "FileNotFoundError" in day(tmp_path)["failed"]["figures"]["error"]
    assert capsys.readouterr().out.count("No module named no_such_module") >= 2


def test_a_step_is_killed_at_its_limit_with_its_children_and_its_figures_stay(tmp_path, options):
    child, partial = tmp_path / "child", tmp_path / "partial.json"
    code = (
        "import subprocess, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    after = python(f"open({str(partial)!r}, 'w').write('[1]')")

    assert gpu_day.run_steps({"long": Step(python(code), 5, 0, read(partial), after)}, options) == 1

    assert day(tmp_path)["long"]["exit_code"] is None
    assert day(tmp_path)["long"]["figures"] == [1]
    number = int(child.read_text())
    # The kernel may take a moment, and a killed child waits for whoever adopts it.
    state = Path(f"/proc/{number}/stat")
    while state.exists() and state.read_text().split(")")[1].split()[0] != "Z":
        time.sleep(0.05)
    assert not state.exists() or not os.path.exists(f"/proc/{number}/exe")


def test_a_step_that_cannot_show_anything_in_the_time_left_is_not_started(
    tmp_path, options, capsys
):
    options.total_s = 10
    step = Step(python("pass"), 60, 30, dict)

    assert gpu_day.run_steps({"speed": step}, options) == 1

    assert "speed: not started" in capsys.readouterr().out
    assert not (tmp_path / "day.json").exists()


def test_tests_are_counted_from_the_file_that_pytest_writes(tmp_path):
    (tmp_path / "tests.xml").write_text(
        "<testsuites><testsuite><testcase name='a'/><testcase name='b'><skipped/></testcase>"
        "<testcase name='c'><failure/></testcase></testsuite></testsuites>"
    )
    counts = gpu_day.count_tests(tmp_path / "tests.xml")
    assert counts == {"passed": 1, "skipped": 1, "failed": ["c"]}


def test_the_tables_say_how_each_step_ended_and_leave_out_figures_that_are_missing():
    figures = {"passed": 4, "skipped": 1, "failed": []}
    steps = {
        "tests": {"seconds": 61.2, "exit_code": 0, "limit_s": 180, "figures": figures},
        "study": {"seconds": 300, "exit_code": None, "limit_s": 300, "figures": {"error": "none"}},
    }
    found = {"device": "GPU", "date": "2026-11-27", "versions": {"torch": "2"}, "steps": steps}

    table = gpu_day.as_markdown(found)

    assert "| tests | 61 | done; 4 passed, 1 skipped, failed: none |" in table
    assert "| study | 300 | cut off at 300 s |" in table


def test_figures_of_a_cpu_are_not_appended(tmp_path):
    found = {"device": "cpu, x", "date": "", "versions": {}, "steps": {}}
    with pytest.raises(SystemExit, match="figures of a GPU only"):
        gpu_day.write_tables(found, tmp_path / "RESULTS.md")
    assert not (tmp_path / "RESULTS.md").exists()


def test_overlapping_spans_are_covered_once():
    assert covered([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4
    assert covered([]) == 0


# The pack.


def test_the_parts_of_a_file_are_joined_again_and_a_changed_one_is_refused(tmp_path):
    file, folder, target = tmp_path / "file", tmp_path / "pack", tmp_path / "joined"
    file.write_bytes(os.urandom(1001))
    gpu_pack.split(file, folder)
    gpu_pack.join(folder, target)
    assert (
        hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(file.read_bytes()).digest()
    )

    (folder / "second" / "second.part").write_bytes(b"other")
    with pytest.raises(SystemExit, match="the checksum differs"):
        gpu_pack.join(folder, target)
    (folder / "second" / "second.part").unlink()
    with pytest.raises(SystemExit, match=r"second\.part is missing"):
        gpu_pack.join(folder, target)


def test_a_wheel_keeps_the_libraries_of_one_cuda_version(tmp_path):
    wheel = tmp_path / "bitsandbytes-1-py3-none-any.whl"
    names = ["a/__init__.py", "a/lib_cuda130.so", "a/lib_cuda118.so", "a/lib_cpu.so"]
    with zipfile.ZipFile(wheel, "w") as file:
        for name in names:
            file.writestr(name, name)
    gpu_pack.slim(wheel, keep=("_cuda130.so", "_cpu.so"))
    with zipfile.ZipFile(wheel) as file:
        assert file.namelist() == [names[0], names[1], names[3]]
        assert file.read(names[1]).decode() == names[1]


def test_the_rated_texts_travel_with_the_columns_that_the_study_reads(tmp_path):
    row = {"id": "m-1", "text": "Schön.", "label": "positive", "rating": 2.0}
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    gpu_pack.copy_reviews(tmp_path / "data.jsonl", tmp_path / "copy.jsonl")
    del row["rating"]
    assert json.loads((tmp_path / "copy.jsonl").read_text()) == row
