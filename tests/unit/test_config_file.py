"""The YAML of a run: what is read, and the message for what is not."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serl_trl.cli import config_file
from serl_trl.cli.config_file import ConfigFile, read_config_file
from serl_trl.common.secrets import is_secret


def read(folder: Path, content: str | bytes) -> ConfigFile:
    path = folder / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_config_file(os.path.relpath(path))


def test_values_come_with_their_lines(tmp_path):
    file = read(tmp_path, "a: 1\n\n# two\nb: [x, y]\nday: 2026-01-31\nrate: 1e-6\n")

    assert file.values == {"a": 1, "b": ["x", "y"], "day": "2026-01-31", "rate": "1e-6"}
    assert file.lines == {"a": 1, "b": 4, "day": 5, "rate": 6}
    assert file.place_of("b").endswith("run.yaml:4")
    assert file.problems == ()


def test_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    assert read(tmp_path, "\ufeffa: 1\r\nb: 2\r\n").values == {"a": 1, "b": 2}


def test_merge_keys_count_as_the_mapping_s_own(tmp_path):
    file = read(tmp_path, "base: &base {x: 1, y: 1}\nrun:\n  <<: *base\n  y: 2\n")

    assert file.values["run"] == {"x": 1, "y": 2}
    assert file.problems == ()


def test_numbers_with_an_exponent_are_numbers_inside_mappings_too(tmp_path):
    text = "lr: {min: 1e-6, steps: [2E4, -.5e+3, 1.e2], as: '1e-6', id: 1e-6x}\nrate: 1e-6\n"
    file = read(tmp_path, text + "env: {WANDB_NAME: 1e6}\n")

    steps = [20000.0, -500.0, 100.0]
    assert file.values["lr"] == {"min": 1e-6, "steps": steps, "as": "1e-6", "id": "1e-6x"}
    assert file.values["rate"] == "1e-6"  # the type of the option decides: it may be a name
    assert file.env == {"WANDB_NAME": "1e6"}


def test_env_is_kept_apart(tmp_path):
    file = read(
        tmp_path, "a: 1\nenv:\n  TOKENIZERS_PARALLELISM: false\n  CUDA_VISIBLE_DEVICES: 0\n"
    )

    assert file.values == {"a": 1}
    assert file.env == {"TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "run.yaml is empty; it must map option names to values."),
        ("# nothing\n", "run.yaml holds nothing; it must map option names to values."),
        ("- a\n- b\n", "run.yaml:1: must map option names to values, but holds a list."),
        ("a\n", "run.yaml:1: must map option names to values, but holds a single value."),
        ("a: 1\nb:\n\tc: 2\n", "run.yaml:3:1: YAML is not indented with tabs; use spaces."),
        ("a: [1\n", "run.yaml:2:1: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n  b: 2\n", "run.yaml:2:4: is not YAML: mapping values are not allowed here."),
        ("a: *b\n", "run.yaml:1:4: is not YAML: found undefined alias 'b'."),
        ("a: 1\n---\nb: 2\n", "run.yaml:2:1: is not YAML: but found another document"),
        ("a: &a [*a]\n", "run.yaml:1:4: is not YAML: found unconstructable recursive node."),
        ("a: 0x_\n", "run.yaml:1: the value of 'a': invalid literal for int()"),
        ("? [a]\n: 1\n", "run.yaml:1: a key must be a name."),
        ("a: !!python/object/apply:os.system [ls]\n", "run.yaml:1: tags such as "),
        ("a: !!int '3'\n", "run.yaml:1: tags such as tag:yaml.org,2002:int are not read;"),
        ("a: " + "[" * 30, "run.yaml:1: nested more than 20 levels deep."),
        ("a: \x00\n", "run.yaml is not YAML: unacceptable character #x0000"),
        (b"a: \xff\n", "run.yaml is not UTF-8 (byte 4)."),
        ("env: [A]\n", "env must be a mapping of names to values ("),
        ("env:\n  A: [1]\n", "env: 'A' must be a name with one value ("),
        ("env:\n  HF_TOKEN: x\n", "env: HF_TOKEN is a secret ("),
        ("env:\n  WANDB_API_KEY: x\n", "env: WANDB_API_KEY is a secret ("),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, content, message):
    (problem,) = read(tmp_path, content).problems

    assert message in problem


def test_keys_given_twice_are_named_with_all_their_lines(tmp_path):
    file = read(tmp_path, "temperature: 1\nb: {c: 1,\n  c: 2}\na: 1\ntemperature: 2\na: 1\na: 1\n")

    assert [problem.split("(")[0] + problem.split(", ")[1] for problem in file.problems] == [
        "'temperature' is given twice lines 1 and 5); keep one.",
        "'a' is given 3 times lines 4 and 6 and 7); keep one.",
        "'c' is given twice lines 2 and 3); keep one.",
    ]


def test_many_aliases_are_refused_before_they_are_built(tmp_path):
    bomb = "l0: &l0 [x, x]\n" + "".join(
        f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )

    (problem,) = read(tmp_path, bomb).problems

    assert "run.yaml:4: more than 20 aliases (*name); write out." in problem


def test_what_looks_like_a_token_is_refused_and_not_shown(tmp_path):
    secret = "hf_" + "a1B2" * 8
    file = read(tmp_path, f"a: 1\nrun_name: {secret}\n")

    (problem,) = file.problems
    assert "run.yaml:2: holds what looks like a Hugging Face token." in problem
    assert secret not in problem


def test_a_missing_file_names_what_is_near(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sandbox.yaml").write_text("a: 1")

    assert read_config_file("sandbx.yaml").problems == (
        f"the config file sandbx.yaml does not exist (in {tmp_path}). Did you mean 'sandbox.yaml'?",
    )
    assert read_config_file("other.yaml").problems[0].endswith(" There is sandbox.yaml.")
    assert "there is no folder no either." in read_config_file("no/other.yaml").problems[0]
    assert "is not a file; --config takes a YAML file." in read_config_file(".").problems[0]


def test_a_file_beyond_a_megabyte_is_refused(tmp_path):
    (problem,) = read(tmp_path, "a: " + "x" * config_file.MAX_BYTES).problems

    assert problem.endswith("holds 200,003 bytes; a config of at most 200,000 is read.")


@pytest.mark.parametrize("name", ["hub_token", "WANDB_API_KEY", "my-secret", "password", "apikey"])
def test_secrets_are_known_by_their_words(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["max_instruction_tokens", "TOKENIZERS_PARALLELISM", "keyboard"])
def test_other_names_are_no_secrets(name):
    assert not is_secret(name)


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=60))
@example(b"a: !!float x")
@example(b"a: 2026-99-99")
@example(b"a: 1:99:99.9e")
@example(b"<<: 3")
@example(b"a: 0b_")
def test_arbitrary_bytes_never_raise(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "arbitrary.yaml"
    path.write_bytes(content)

    file = read_config_file(str(path))

    assert file.problems or file.values is not None
    assert all(problem.isprintable() for problem in file.problems)


@given(st.dictionaries(st.text("abcxyz_", min_size=1, max_size=6), yaml_values, max_size=4))
def test_what_yaml_writes_is_read_back(tmp_path_factory, values):
    import yaml

    values.pop("env", None)
    values["last"] = 1
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")

    file = read_config_file(str(path))

    assert file.problems == ()
    assert file.values == values
