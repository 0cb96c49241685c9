"""Configs from a stranger: `serl check` runs nothing of theirs; the harm is a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serl_trl import sandbox
from serl_trl.cli import main


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("evil", "mine"):
        sys.modules.pop(name, None)


def config(**values) -> str:
    content = {**yaml.safe_load(sandbox.CONFIG_PATH.read_text()), "output_dir": "run", **values}
    Path("run.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "run.yaml"


def check(*flags: str, **values) -> int:
    return main(["check", "--config", config(**values), *flags])


KIND = """
class Kind:
    name = "mine"
    def __init__(self): open("made", "w").close()
    def extract(self, completion): open("called", "w").close()
    canonical = extract
    def equal(self, left, right): return True

def solve(instruction): open("called", "w").close()
def reward(completions, **kwargs): open("called", "w").close()
def judge(text): open("called", "w").close()
"""


@pytest.mark.parametrize(
    "values",
    [
        {"answer_kind": "subprocess.Popen(args='touch harm', shell=True)"},
        {"answer_kind": "evil.Kind"},
        {"answer_kind": "evil.Kind", "plugins": ["evil"]},
        {"answer_kind": "evil.Kind", "plugins": "evil"},
        {"gold_oracle": "os.system"},
        {"gold_oracle": "evil.solve"},
        {"gold_oracle": "serl_trl.build.set_aside"},
        {"gold_oracle": "serl_trl.cli.main"},
        {"reward_funcs": ["evil.reward"]},
        {"reward_funcs": ["shutil.rmtree"], "plugins": ["shutil"]},
        {"proposal_filters": "length,evil.judge"},
        {"proposal_filters": "os.unlink"},
    ],
)
def test_nothing_of_a_stranger_s_is_run(values, capsys):
    Path("evil.py").write_text("open('harm', 'w').close()\n" + KIND)

    assert check(**values) == 2

    assert not {"harm", "made", "called"} & set(os.listdir())
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert any(f"{name}=" in said for name in values)


def test_check_calls_nothing_even_of_a_plug_in_that_the_user_named(capsys):
    Path("mine.py").write_text(KIND)

    code = check(
        "--plugins",
        "mine",
        answer_kind="mine.Kind",
        gold_oracle="mine.solve",
        reward_funcs=["mine.reward"],
        proposal_filters="length,mine.judge",
    )

    said = capsys.readouterr()
    assert code == 0, said.err
    assert not {"made", "called"} & set(os.listdir())
    assert "only code of answer_kind=mine.Kind can read them" in " ".join(said.out.split())


def test_what_lies_beside_a_config_shadows_no_library_that_is_missing():
    Path("tensorboard.py").write_text("open('harm', 'w').close()\n")
    Path("wandb.py").write_text("open('harm', 'w').close()\n")
    Path("sentence_transformers.py").write_text("open('harm', 'w').close()\n")
    command = [sys.executable, "-m", "serl_trl.cli", "check", "--config", config(report_to="all")]

    subprocess.run(command, env={**os.environ, "PYTHONSAFEPATH": "1"}, check=False)

    assert not Path("harm").exists()


def test_a_file_cannot_ask_for_code_of_the_model(capsys):
    assert check(trust_remote_code=True, model_revision="0" * 40) == 2
    assert "say --trust_remote_code true" in " ".join(capsys.readouterr().err.split())
