"""Watching a run from another terminal: what is new, how it ended, and that no file changes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from serl_trl.cli.commands import watch
from serl_trl.report.live import alike, live_blocks
from serl_trl.report.terminal import rendered
from serl_trl.runs.life import FINISHED_RUN, GONE, RUNS, STARVED_RUN, UNKNOWN, life_of
from serl_trl.runs.lines import MAX_LINE, Lines
from serl_trl.runs.reader import RunReader, read_run

NASTY = "\x1b[2J\x1b]0;mine\x07 [bold red]markup[/] \u202e" + "x" * 5000
HOST = socket.gethostname()
OURS = f"process {os.getpid()} on {HOST}"


def proposal(number, step, text="How many?"):
    return {"type": "proposal", "id": number, "step": step, "text": text, "keep": True}


def group(number, step, answer="7", **more):
    record = {"type": "group", "id": number, "step": step, "instruction": "How many?"}
    record |= {"origin": f"proposal:{number}", "answers": {answer: 3, "8": 1}, "keep": True}
    return record | {"majority_answer": answer, "majority_ratio": 0.75, **more}


def row(step, **more):
    return {"step": step, "serl/majority_ratio": 0.5 + step / 100, "entropy": 0.25, **more}


def make_run(folder: Path, *, steps=3, lock=OURS) -> Path:
    private = folder / "_serl"
    private.mkdir(parents=True)
    (private / "config.yaml").write_text("max_steps: 5\n")
    records = [each for n in range(steps) for each in (proposal(n, n), group(n, n))]
    append(folder, "ledger.jsonl", *records)
    append(folder, "metrics.jsonl", *(row(n + 1) for n in range(steps)))
    if lock:
        (private / "lock").write_text(lock)
    return folder


def append(folder: Path, name: str, *records, end: str = "") -> None:
    with (folder / "_serl" / name).open("a") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records) + end)


def finish(folder: Path) -> None:
    (folder / "_serl" / "finished.json").write_text('{"max_steps": 5}')


def dead_process() -> str:
    """The lock of a process of this machine that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return f"process {done.pid} on {HOST}"


def heed_ctrl_c() -> None:
    """Set a child to end at Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# Reading what is new.


@given(st.lists(st.integers(1, 40), max_size=12), st.booleans())
def test_a_file_read_while_it_grows_gives_each_object_once_and_whole(tmp_path_factory, sizes, end):
    path = tmp_path_factory.mktemp("lines") / "metrics.jsonl"
    whole = b'{"a": 1}\n\nnone\n{"b": "' + b"y" * 30 + b'"}\n[1]\n{"c": 3}' + b"\n" * end
    path.write_bytes(b"")
    growing, found = Lines(path), []
    with path.open("ab", buffering=0) as file:
        for size in [*sizes, len(whole)]:
            part, whole = whole[:size], whole[size:]
            file.write(part)
            assert not growing.was_cut()
            found += [record for _, record in growing.read()]
    again = Lines(path)

    assert found == [record for _, record in again.read()]
    assert found == [{"a": 1}, {"b": "y" * 30}, *([{"c": 3}] if end else [])]
    assert (growing.num_bad, growing.is_cut) == (again.num_bad, again.is_cut) == (2, not end)


def test_a_line_without_end_is_passed_over_in_pieces(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"x" * (MAX_LINE + 5) + b'\n{"a": 1}\n')
    lines = Lines(path)

    assert [record for _, record in lines.read()] == [{"a": 1}]
    assert lines.num_bad == 1


def test_a_second_look_sees_what_the_first_reading_would(tmp_path):
    folder = make_run(tmp_path / "run", steps=1)
    reader = RunReader(folder)
    reader.look()
    for step in (1, 2, 3):
        append(folder, "ledger.jsonl", end='{"type": "group", "id": ')
        append(folder, "metrics.jsonl", end='{"entropy": 0.5, "st')
        seen, anew = reader.look(), read_run(folder)
        assert (seen.metrics, seen.notes) == (anew.metrics, anew.notes)
        assert list(seen.ledger.groups.ids) == list(anew.ledger.groups.ids) == [*range(step)]
        assert "The last line of metrics.jsonl is cut off and is left out." in seen.notes
        append(folder, "ledger.jsonl", end=f'{step}, "step": {step}}}\n')
        append(folder, "metrics.jsonl", end=f'ep": {step + 1}}}\n')
    seen = reader.look()
    assert [each["step"] for each in seen.metrics] == [1, 2, 3, 4]
    assert list(seen.ledger.groups.ids) == [0, 1, 2, 3]


def test_a_run_that_was_resumed_is_read_anew(tmp_path):
    folder = make_run(tmp_path / "run", steps=4)
    reader = RunReader(folder)
    assert reader.look().num_steps == 4
    for name in ("ledger.jsonl", "metrics.jsonl"):
        path = folder / "_serl" / name
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: len(lines) // 2]))
    append(folder, "metrics.jsonl", {"step": 3, "entropy": 9.0})

    seen = reader.look()

    assert [each["step"] for each in seen.metrics] == [1, 2, 3]
    assert len(seen.ledger.groups) == 2


# How it ended.


def test_a_run_trains_while_its_process_lives(tmp_path):
    assert life_of(read_run(make_run(tmp_path / "run"))) == RUNS


def test_a_killed_run_is_recognised_by_its_process(tmp_path):
    assert life_of(read_run(make_run(tmp_path / "run", lock=dead_process()))) == GONE


@pytest.mark.parametrize("lock", ["", "process 1 on elsewhere", "process x on y", "\x1b[2J" * 99])
def test_a_process_that_cannot_be_looked_at_leaves_it_open(tmp_path, lock):
    assert life_of(read_run(make_run(tmp_path / "run", lock=lock))) == UNKNOWN


def test_a_run_that_ended_as_planned_or_found_no_group_says_so(tmp_path):
    folder = make_run(tmp_path / "run", lock=dead_process())
    append(folder, "ledger.jsonl", {"type": "starved", "step": 3, "diagnosis": "none"})
    assert life_of(read_run(folder)) == STARVED_RUN
    # A resumed run keeps that record, and trains.
    (folder / "_serl" / "lock").write_text(OURS)
    assert life_of(read_run(folder)) == RUNS
    finish(folder)
    assert life_of(read_run(folder)) == FINISHED_RUN


def test_a_run_of_a_script_has_ended_where_it_did_all_its_steps(tmp_path):
    folder = make_run(tmp_path / "run", steps=5, lock=dead_process())
    assert life_of(read_run(folder)) == FINISHED_RUN
    # Without a plan, what is logged when training is over says so.
    (folder / "_serl" / "config.yaml").write_text("max_steps: -1\n")
    assert life_of(read_run(folder)) == GONE
    append(folder, "metrics.jsonl", row(5, train_runtime=9.0))
    assert life_of(read_run(folder)) == FINISHED_RUN


# The command.


def watched(*argv, terminal=False) -> tuple[int, str]:
    out = Console(file=StringIO(), force_terminal=terminal, width=100, color_system=None)
    return watch.run([*map(str, argv), "--every", "0.1"], out), out.file.getvalue()


def test_a_run_that_is_over_is_shown_once_as_one_line_a_step(tmp_path):
    folder = make_run(tmp_path / "run")
    finish(folder)

    code, text = watched(folder)

    assert code == 0
    first, *_, last = text.splitlines()
    assert first == "step 1  agreement: before band 51 %; entropy: entropy 0.25"
    assert last == "Step 3 of 5: the run has ended."
    assert text.count("\n") == 4


def test_the_exit_code_says_how_the_run_ended(tmp_path):
    folder = make_run(tmp_path / "run", lock=dead_process())
    assert watched(folder)[0] == 1
    append(folder, "ledger.jsonl", {"type": "starved", "step": 3, "diagnosis": "none"})
    code, text = watched(folder)
    assert code == 3 and "Step 3 of 5: the run stopped because it found no group" in text


def alarm(action, **more):
    record = {"type": "guard", "step": 3, "action": action, "alarm": "flips", "value": 0.5}
    return {**record, "reason": "the votes moved", **more}


def test_alarms_are_told_and_a_run_that_stopped_itself_says_where_it_went_back(tmp_path):
    folder = make_run(tmp_path / "run")
    finish(folder)
    append(folder, "ledger.jsonl", alarm("warn"), alarm("ease"))
    code, text = watched(folder)
    assert code == 0 and text.count("warning: An alarm rang at step 3: the votes moved.") == 1

    append(folder, "ledger.jsonl", alarm("rollback", restored="checkpoint-2"))
    for terminal in (False, True):
        code, text = watched(folder, terminal=terminal)
        # A terminal folds lines.
        text = " ".join(text.split())
        assert code == 4 and "An alarm rang at step 3" in text
        assert "The run stopped itself at step 3 (flips): the votes moved; " in text
        assert "the final model is that of checkpoint-2." in text
    # A run of a script leaves no mark; it ended where its guard ended it.
    (folder / "_serl" / "finished.json").unlink()
    (folder / "_serl" / "lock").write_text(dead_process())
    assert life_of(read_run(folder)) == FINISHED_RUN


def test_a_run_that_has_ended_is_read_twice_and_not_once_more_for_its_exit_code(
    tmp_path, monkeypatch
):
    folder, looks = make_run(tmp_path / "run"), []
    finish(folder)

    class Counting(RunReader):
        def look(self):
            looks.append(self)
            return super().look()

    monkeypatch.setattr(watch, "RunReader", Counting)

    for terminal in (False, True):
        looks.clear()
        assert watched(folder, terminal=terminal)[0] == 0
        # Once before it is known to have ended, and once for what it wrote until then.
        assert len(looks) == 2


def test_a_run_that_learnt_enough_ended_well(tmp_path):
    folder = make_run(tmp_path / "run")
    finish(folder)
    append(folder, "ledger.jsonl", alarm("enough", alarm="", restored=None))

    code, text = watched(folder)

    assert code == 0 and "because enough is learnt: the votes moved" in text
    assert "An alarm rang" not in text


def test_bad_input_is_one_sentence(tmp_path, capsys):
    quiet = Console(quiet=True)
    assert watch.run([str(tmp_path / "none")], quiet) == 2
    assert "does not exist; name the output_dir of a run" in capsys.readouterr().err
    assert watch.run([str(make_run(tmp_path / "run")), "--every", "0"], quiet) == 2
    assert "every=0 must be at least 0.1 seconds" in capsys.readouterr().err
    assert watch.run(["--evry", "1"], quiet) == 2


def test_a_warning_is_told_once_although_its_numbers_change(tmp_path, monkeypatch):
    assert alike("41 % of the last 256 groups") == alike("42.5 % of the last 1,024 groups")
    folder = make_run(tmp_path / "run", steps=0)
    rows = iter([row(step, **{"serl/unparsable_ratio": 0.2 + step / 20}) for step in range(1, 9)])

    def write_on(_):
        # The run writes while the command waits, and ends when it has nothing more to write.
        if (found := next(rows, None)) is None:
            finish(folder)
        else:
            append(folder, "metrics.jsonl", found)

    monkeypatch.setattr(watch.time, "sleep", write_on)
    text = watched(folder)[1]

    assert text.count("completions have no vote") == 1
    assert [line.split("  ")[0] for line in text.splitlines() if line.startswith("step")] == [
        f"step {step}" for step in range(1, 9)
    ]


def snapshot(folder: Path) -> dict:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("terminal", [False, True])
def test_watching_changes_no_file_of_the_run(tmp_path, terminal):
    folder = make_run(tmp_path / "run")
    finish(folder)
    before = snapshot(folder)

    watched(folder, terminal=terminal)

    assert snapshot(folder) == before


def test_a_terminal_shows_curves_warnings_and_the_last_texts(tmp_path):
    folder = make_run(tmp_path / "run")
    append(folder, "ledger.jsonl", *(group(n, 3) for n in range(9, 45)))
    finish(folder)

    text = watched(folder, terminal=True)[1]

    assert "Agreement: before band" in text and "\u2588" in text
    assert "The commonest answer is the same in 100 % of the last 39 groups" in text
    assert "7 x 3, 8 x 1" in text
    # The cursor was hidden, and is back.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_hostile_texts_are_shown_and_do_nothing(tmp_path):
    folder = make_run(tmp_path / "run")
    hostile = {"answers": {NASTY: 3, "8": "x", "": None}, "instruction": NASTY, "keep": False}
    append(folder, "ledger.jsonl", proposal(7, 3, NASTY), group(7, 3, reason=NASTY, **hostile))
    append(folder, "ledger.jsonl", {"type": "group", "step": 3, "answers": [1], "reason": ["a"]})
    append(folder, "ledger.jsonl", alarm("warn", alarm=NASTY, reason=NASTY))
    append(folder, "ledger.jsonl", alarm("stop", alarm=NASTY, reason=NASTY, restored=NASTY))
    out = Console(file=StringIO(), width=200, color_system=None)
    for each in rendered(live_blocks(read_run(folder), RUNS)):
        out.print(each)

    text = out.file.getvalue()
    assert not {"\x1b", "\x07", "\u202e"} & {*text}
    assert "[bold red]markup[/]" in text and "x" * 300 not in text


# A process that writes a run: a step, half of the next, and then it waits to be killed.
WRITER = """
import json, os, pathlib, socket, sys, time
private = pathlib.Path(sys.argv[1]) / "_serl"
(private / "lock").write_text(f"process {os.getpid()} on {socket.gethostname()}")
with (private / "metrics.jsonl").open("a") as file:
    for step in (2, 3):
        file.write(json.dumps({"step": step, "entropy": 0.5}) + "\\n")
        file.flush()
        time.sleep(0.3)
    file.write('{"step": 4, "entr')
    file.flush()
    time.sleep(600)
"""


def test_a_run_is_followed_until_it_is_killed(tmp_path):
    folder = make_run(tmp_path / "run", steps=1, lock="")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)])
    command = [sys.executable, "-m", "serl_trl.cli", "watch", str(folder), "--every", "0.1"]
    try:
        while not (folder / "_serl" / "lock").exists():
            time.sleep(0.05)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            lines = [watching.stdout.readline() for _ in range(3)]
            writer.kill()
            # Reaped, or its number would stay taken.
            writer.wait()
            last = watching.stdout.read()
    finally:
        writer.kill()

    assert [line.split("  ")[0] for line in lines] == ["step 1", "step 2", "step 3"]
    assert last.startswith("Step 3 of 5: the run was stopped or killed") and last.count("\n") == 1
    assert watching.returncode == 1


def test_ctrl_c_leaves_without_a_trace(tmp_path):
    folder = make_run(tmp_path / "run")
    command = [sys.executable, "-m", "serl_trl.cli", "watch", str(folder), "--every", "0.1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # What runs in the background of a shell ignores the signal, and so would its children.
    with subprocess.Popen(command, preexec_fn=heed_ctrl_c, **pipes) as watching:
        for _ in range(3):
            watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        rest, error = watching.communicate()

    assert (rest, error, watching.returncode) == ("", "", 0)
