"""YAML of a stranger: nothing in it takes long, and nothing but plain values comes out."""

import time

import pytest
import yaml

from serl_trl.cli.config_file import read_config_file
from serl_trl.common.plain_yaml import load_yaml
from serl_trl.runs.facts import read_license
from serl_trl.runs.reader import read_run
from serl_trl.share.hub import prepare_dataset

N = 190_000


def nested(levels: int, aliases: int, leaf: str) -> str:
    lines = [f"l0: &l0 {leaf}"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * aliases)}]" for i in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "aliases": nested(12, 9, "[x, x]"),
    "few aliases of a long text": nested(6, 3, "x" * 100_000),
    "merges": "a: &a {x: 1}\n" + "".join(f"b{i}: {{<<: [{'*a, ' * 50}]}}\n" for i in range(50)),
    "itself": "a: &a [*a]\n",
    "deep": "a: " + "[" * 5000 + "]" * 5000,
    "commas": "a: [" + "1," * (N // 2) + "]",
    "marks": "a: {" + "?," * (N // 2) + "}",
    "same key": "a: 1\n" * (N // 5),
    "base sixty": "a: 1" + ":1" * (N // 2),
    "hexadecimal": "a: 0x" + "f" * N,
    "octal": "a: 0" + "7" * N,
    "binary": "a: 0b" + "1" * N,
    "digits": "a: 1" + "0" * N,
    "infinite": "a: 1." + "0" * N,
    "too long": "a: " + "x" * 300_000,
    "tag": "a: !!python/object/apply:os.system ['touch harm']\n",
    "documents": "--- 1\n" * 20_000,
    "directives": "%X\n" * 60_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_soon(text):
    started = time.process_time()

    with pytest.raises(ValueError) as caught:
        load_yaml(text)

    assert time.process_time() - started < 8
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_in_a_config_are_problems(text, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    started = time.process_time()

    file = read_config_file(str(path))

    assert file.problems
    assert sum(map(len, file.problems)) < 1500
    assert time.process_time() - started < 8


@pytest.mark.parametrize(
    "value", [None, True, 1, 2.5, "a", "2026-01-31", [1, [2]], {"a": {"b": [None]}}]
)
def test_plain_values_come_back(value):
    assert load_yaml(yaml.safe_dump({"value": value})) == {"value": value}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_in_a_run_folder_are_notes(text, tmp_path):
    (tmp_path / "_serl").mkdir()
    (tmp_path / "_serl" / "config.yaml").write_text(text)
    (tmp_path / "_serl" / "ledger.jsonl").write_text("")
    started = time.process_time()

    run = read_run(tmp_path)
    with pytest.raises(ValueError, match="holds no proposal"):
        prepare_dataset(tmp_path)

    assert "config.yaml cannot be read and is left out." in run.notes
    assert time.process_time() - started < 15


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_in_a_card_name_no_licence(text):
    assert read_license(f"---\n{text}\n---\n# Card\n") is None


def test_a_card_names_its_licence():
    assert read_license("---\nlicense: apache-2.0\ntags: [a]\n---\n# Card\n") == "apache-2.0"
    assert read_license("---\r\nlicense: mit\r\n---\r\n") == "mit"
    assert read_license("# Card\n") is None
    assert read_license("---\n- license\n---\n") is None
    assert read_license("---\nlicense: [mit]\n---\n") is None


def test_a_huge_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # sparse: it takes no room

    assert "10,737,418,240 bytes" in read_config_file(str(path)).problems[0]
