"""The run's files of JSON lines: whole lines, no NaN, no loss on model output."""

import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.common.disk import DiskFullError
from serl_trl.common.files import JsonLines, read_lines


@given(text=st.text())
def test_whatever_the_model_wrote_is_read_back_unchanged(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("run") / "ledger.jsonl"
    lines = JsonLines(path)
    lines.write({"text": text})
    lines.close()
    assert read_lines(path) == [{"text": text}]


def test_lone_surrogates_do_not_break_the_file(tmp_path):
    lines = JsonLines(tmp_path / "ledger.jsonl")
    lines.write({"text": "\ud800"})
    lines.close()
    assert read_lines(tmp_path / "ledger.jsonl") == [{"text": "\ud800"}]


def test_numbers_that_json_cannot_hold_become_null(tmp_path):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.write({"loss": float("nan"), "nested": [float("inf"), 1.5]})
    lines.close()
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"loss": None, "nested": [None, 1.5]}


def test_a_line_cut_in_half_is_left_out(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert read_lines(path) == [{"a": 1}]


def test_other_processes_write_nothing(tmp_path):
    lines = JsonLines(None)
    lines.write({"a": 1})
    lines.flush()
    lines.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_bytes", [10, 100_000], ids=["when flushed", "when written"])
def test_a_full_disk_is_named_with_what_found_no_room(tmp_path, num_bytes):
    lines = JsonLines(tmp_path / "ledger.jsonl")
    lines.write({})
    os.dup2(os.open("/dev/full", os.O_WRONLY), lines._file.fileno())

    def fill() -> None:
        lines.write({"text": "a" * num_bytes})
        lines.flush()

    with pytest.raises(
        DiskFullError, match=r"^disk full: need .*B?, have .* in .*; .* ledger\.jsonl could"
    ):
        fill()
    # What waits would find the disk full once more when the file is closed.
    os.dup2(os.open(os.devnull, os.O_WRONLY), lines._file.fileno())
    lines.close()


def test_another_failure_to_write_is_raised_as_it_is(tmp_path):
    lines = JsonLines(tmp_path / "ledger.jsonl")
    lines.write({"a": 1})
    os.dup2(os.open(os.devnull, os.O_RDONLY), lines._file.fileno())
    with pytest.raises(OSError) as caught:
        lines.flush()
    assert (type(caught.value), caught.value.errno) == (OSError, errno.EBADF)
    os.dup2(os.open(os.devnull, os.O_WRONLY), lines._file.fileno())
    lines.close()


def test_a_second_writer_appends(tmp_path):
    for number in range(2):
        lines = JsonLines(tmp_path / "ledger.jsonl")
        lines.write({"a": number})
        lines.close()
    assert read_lines(tmp_path / "ledger.jsonl") == [{"a": 0}, {"a": 1}]


def test_what_one_object_wrote_can_be_taken_out_and_put_back(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"a": 0}\n')
    lines = JsonLines(path)
    assert lines.take_own() == b""
    lines.write({"a": 1})
    own = lines.take_own()
    assert read_lines(path) == [{"a": 0}]
    path.write_text("")
    lines.put_back(own)
    lines.write({"a": 2})
    lines.flush()
    assert read_lines(path) == [{"a": 1}, {"a": 2}]
    assert lines.take_own().split(b"\n")[:2] == [b'{"a": 1}', b'{"a": 2}']
    lines.close()
