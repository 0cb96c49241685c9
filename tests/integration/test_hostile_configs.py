"""Configs from a stranger: `serl check` runs nothing of theirs; the harm is a file."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serl_trl import sandbox
from serl_trl.cli.entry import main


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
        {"gold_oracle": "serl_trl.cli.build.set_aside"},
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


@pytest.mark.parametrize(
    "values",
    [
        {"model_init_kwargs": {"trust_remote_code": True}},
        {"model_init_kwargs": '{"trust_remote_code": true}'},
        {"model_init_kwargs": {"weights_only": False, "use_safetensors": False}},
        {"model_init_kwargs": {"use_kernels": True}},
        {"model_init_kwargs": {"attn_implementation": "someone/kernel"}},
        {"model_init_kwargs": {"config": "/elsewhere"}},
        {"attn_implementation": "someone/kernel"},
        {"attn_implementation": "paged|someone/kernel@main"},
    ],
)
def test_what_lets_the_loader_run_code_is_a_flag(values, capsys):
    assert check(**values) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "serl check: 1 problem" in said or "2 problems" in said
    assert "Traceback" not in said


def test_numbers_of_the_model_may_stand_in_a_file():
    assert check(model_init_kwargs={"attention_dropout": 0.1, "dtype": "float32"}) == 0


REFUSED = (
    "LD_PRELOAD LD_LIBRARY_PATH PATH PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS HTTPS_PROXY "
    "https_proxy ALL_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE "
    "WANDB_BASE_URL HF_ENDPOINT HF_HOME MLFLOW_TRACKING_URI COMET_URL_OVERRIDE NCCL_NET_PLUGIN "
    "NCCL_CONF_FILE NCCL_DEBUG_FILE NCCL_TOPO_DUMP_FILE VLLM_PLUGINS "
    "VLLM_ALLOW_INSECURE_SERIALIZATION VLLM_SERVER_DEV_MODE MASTER_ADDR WORLD_SIZE CUDA_HOME CC "
    "TRITON_CACHE_DIR HOME TMPDIR TORCH_EXTENSIONS_DIR GIT_SSH_COMMAND MY_OWN "
)


@pytest.mark.parametrize(
    "name",
    REFUSED.split(),
)
def test_a_file_sets_only_variables_that_can_do_no_harm(name, capsys, monkeypatch):
    before = os.environ.get(name)

    assert check(env={name: "a"}) == 2

    assert os.environ.get(name) == before
    said = " ".join(capsys.readouterr().err.split())
    assert f"env: {name}=a is not among the variables that a config may set (run.yaml:" in said
    assert "set it in the shell" in said


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "x" * 1001])
def test_values_of_variables_are_one_short_line(value, capsys):
    assert check(env={"NCCL_DEBUG": value}) == 2
    assert "at most 1000 characters that can be printed" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_value_of_a_refused_variable_is_hidden_when_it_is_a_secret(capsys):
    assert check(env={"ALL_PROXY": "http://me:hunter2@host"}) == 2
    assert "hunter2" not in capsys.readouterr().err


TEMPLATES = {
    "ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "long text": "{{ 'a' * 10**10 }}",
    "doubled text": "{% set ns = namespace(t='a') %}{% for i in range(60) %}"
    "{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}",
    "large number": "{{ 9 ** (9 ** 9) }}",
    "wide text": "{{ '%99999999999d' % 1 }}",
    "large list": "{{ [0] * 10**11 }}",
    "join": "{{ ('a' * 10**9) | join(',') }}",
    "long prompt": "{{ 'a' * 5000000 }}",
    "endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "syntax": "{% for x in %}",
    "deep": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "undefined": "{{ messages[99].content.x.y }}",
    "raised": "{{ raise_exception('I take no system role') }}",
    "division": "{{ 1 / 0 }}",
    "file": "{% include '/etc/passwd' %}",
    "escape": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_hostile_template_is_one_sentence_and_soon(template, capsys):
    shutil.copytree(sandbox.MODEL_PATH, "model")
    Path("model", "chat_template.jinja").write_text(template)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    assert check(model_name_or_path="./model") == 2

    said = " ".join(capsys.readouterr().err.split())
    assert "the chat template of model cannot be used: " in said
    assert "1 problem" in said
    assert len(said) < 700
    assert "Traceback" not in said
    # Of processor time, as a loaded machine is slow and not at fault.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10


def test_a_template_in_the_config_is_bounded_too(capsys):
    assert check(chat_template_kwargs={"chat_template": TEMPLATES["ranges"]}) == 2
    assert "does not end within 4 s" in " ".join(capsys.readouterr().err.split())


def test_trl_s_own_reward_names_need_no_plug_in():
    assert check(reward_funcs=["think_format_reward", "accuracy_reward"]) == 0
    assert check(reward_funcs=["nothing_reward"]) == 2
