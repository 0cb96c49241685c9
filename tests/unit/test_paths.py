"""Paths in a config file: the working directory first, then the file's own folder."""

import pytest

from serl_trl.cli.paths import found_beside, is_here, is_nowhere


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_a_path_is_taken_from_the_working_directory_first(folders):
    (folders / "here" / "s.jsonl").touch()
    (folders / "beside" / "s.jsonl").touch()

    assert found_beside("s.jsonl", folders / "beside") == "s.jsonl"


def test_a_path_that_is_only_beside_the_file_is_taken_there(folders):
    (folders / "beside" / "s.jsonl").touch()
    found = str(folders / "beside" / "s.jsonl")

    assert found_beside("s.jsonl", folders / "beside") == found
    assert found_beside(["s.jsonl", "t.jsonl"], folders / "beside") == [found, "t.jsonl"]
    assert not is_nowhere("s.jsonl", folders / "beside")
    assert is_nowhere(["s.jsonl", "t.jsonl"], folders / "beside")


@pytest.mark.parametrize("value", ["sandbox", "gsm8k", "/s.jsonl", "~/s.jsonl", "", None, 7, "\0"])
def test_names_and_whole_paths_stay_what_they_are(folders, value):
    for name in ("sandbox", "gsm8k"):
        (folders / "beside" / name).mkdir()

    assert found_beside(value, folders / "beside") == value
    assert value == "\0" or not is_nowhere(value, folders / "beside")


def test_the_working_directory_is_told_under_any_name(folders):
    assert is_here(folders / "here")
    assert not is_here(folders / "beside")
