"""Chat templates that know no system role, write the date, or end a turn that never ends."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from serl_trl import sandbox
from serl_trl.cli.entry import main
from serl_trl.propose import template_worker
from serl_trl.propose.prompts import PromptStyle, proposer_messages, rollout_messages
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import OPTIONS, SEEDS

TURNS = (
    "{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] | trim }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
RAISES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
ALTERNATES = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
SILENT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\n"
    "{% elif m['role'] == 'assistant' %}A: {{ m['content'] }}\n{% endif %}{% endfor %}A:"
)
SKIPS = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + TURNS
WITHOUT = {"gemma": RAISES + TURNS, "mistral": ALTERNATES, "silent": SILENT, "skips": SKIPS}
# Some tell the model of the tags in a system text.
THINKS = "Think between <think> and </think>.\n" + TURNS.replace(
    "<turn>model\n",
    "<turn>model\n{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}",
)
DATED = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "Today: {{ date_string }}\n"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def model_with(folder: Path, template: str | None) -> str:
    shutil.copytree(sandbox.MODEL_PATH, folder)
    (folder / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def check(model: str, *more: str) -> tuple[int, dict]:
    flags = ["check", "--config", str(sandbox.CONFIG_PATH), "--model_name_or_path", model]
    code = main([*flags, "--json", "out.json", *more])
    return code, json.loads(Path("out.json").read_text()) if code == 0 else {}


def trainer_of(model: str, folder: Path, **options) -> SeRLTrainer:
    return SeRLTrainer(model, SeRLConfig(output_dir=str(folder), **{**OPTIONS, **options}), SEEDS)


@pytest.mark.parametrize("name", WITHOUT)
def test_no_system_text_is_dropped(tmp_path, name, caplog):
    model = model_with(tmp_path / "model", WITHOUT[name])
    trainer = trainer_of(model, tmp_path / "run", rollout_system="Be brief.")
    assert "knows no system message" in caplog.text
    style = PromptStyle(rollout_system="Be brief.")
    chats = [rollout_messages(SEEDS[0], style), proposer_messages(SEEDS[:3], style)]
    for chat, ids in zip(chats, trainer._tokenize_prompts(chats)[0], strict=True):
        text = trainer._tokenizer.decode(ids)
        system, user = (message["content"] for message in chat)
        assert text.index(system) < text.index(user) and text.count(system) == 1
        folded = [{"role": "user", "content": f"{system}\n\n{user}"}]
        plain = AutoTokenizer.from_pretrained(model)
        assert text == plain.apply_chat_template(folded, tokenize=False, add_generation_prompt=True)


def test_a_folded_model_proposes_trains_and_keeps_its_template(tmp_path):
    trainer = trainer_of(model_with(tmp_path / "model", WITHOUT["gemma"]), tmp_path / "run")
    trainer.train()
    trainer.save_model()
    saved = AutoTokenizer.from_pretrained(tmp_path / "run")
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    assert "Be brief." in saved.apply_chat_template(system, tokenize=False)


@pytest.mark.parametrize("name", WITHOUT)
def test_check_says_that_the_system_text_moves(tmp_path, name):
    code, found = check(model_with(tmp_path / "model", WITHOUT[name]))
    assert code == 0 and "knows no system message" in found["warnings"][0]


def test_a_template_with_a_system_role_stays_as_it_is(tmp_path, caplog):
    trainer = trainer_of(model_with(tmp_path / "model", TURNS), tmp_path / "run")
    assert trainer._tokenizer.chat_template == TURNS
    assert "chat template" not in caplog.text


def test_a_template_that_always_fails_is_named(tmp_path, capsys):
    model = model_with(tmp_path / "model", "{{ raise_exception('never') }}")
    assert check(model)[0] == 2
    assert "never" in capsys.readouterr().err


def test_a_base_model_is_offered_the_completion_style(tmp_path, capsys):
    model = model_with(tmp_path / "model", None)
    assert check(model)[0] == 2
    assert "set prompt_style: completion" in capsys.readouterr().err
    with pytest.raises(ValueError, match="set prompt_style: completion"):
        trainer_of(model, tmp_path / "run")
    assert check(model, "--prompt_style", "completion")[0] == 0
    trainer = trainer_of(model, tmp_path / "other", prompt_style="completion")
    trainer.train()
    ids = trainer._tokenize_prompts([rollout_messages(SEEDS[0], trainer.args.style)])[0][0]
    assert SEEDS[0] in trainer._tokenizer.decode(ids)


def test_a_turn_that_ends_in_no_end_token_is_said(tmp_path, caplog):
    # A special token of the sandbox that no list of ends names.
    tokenizer = AutoTokenizer.from_pretrained(sandbox.MODEL_PATH)
    end = next(t for t in tokenizer.all_special_tokens if t != tokenizer.eos_token)
    template = TURNS.replace("</turn>", end)
    model = model_with(tmp_path / "model", template)
    code, found = check(model)
    assert code == 0 and any(f"ends a turn by {end}" in line for line in found["warnings"])
    trainer_of(model, tmp_path / "run")
    assert f"ends a turn by {end}" in caplog.text
    ended = model_with(tmp_path / "ended", TURNS.replace("</turn>", tokenizer.eos_token))
    assert check(ended)[1]["warnings"] == []


def test_a_template_that_lets_the_model_think_is_said_until_it_is_told(tmp_path):
    model = model_with(tmp_path / "model", THINKS)
    assert any("{enable_thinking: false}" in line for line in check(model)[1]["warnings"])
    for told in ("false", "true"):
        flags = ("--chat_template_kwargs", f'{{"enable_thinking": {told}}}')
        assert check(model, *flags)[1]["warnings"] == []
    # It thinks only when told to.
    closed = THINKS.replace("is defined and enable_thinking is false", "is not defined")
    assert check(model_with(tmp_path / "closed", closed))[1]["warnings"] == []


def test_a_dated_template_is_said_until_the_date_is_given(tmp_path, caplog):
    model = model_with(tmp_path / "model", DATED + TURNS)
    warnings = check(model)[1]["warnings"]
    assert any("chat_template_kwargs: {date_string" in line for line in warnings)
    given = {"chat_template_kwargs": {"date_string": "26 Jul 2024"}}
    assert (
        check(model, "--chat_template_kwargs", json.dumps(given["chat_template_kwargs"]))[1][
            "warnings"
        ]
        == []
    )
    trainer_of(model, tmp_path / "run", **given)
    assert "date" not in caplog.text
    trainer_of(model, tmp_path / "other")
    assert "today's date" in caplog.text


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}\n  {{ m['role'] }}: {{ m.content | trim }}\n{% endfor %}\n",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m | tojson }}"
        "{% endfor %}{{ {'b': '<é>', 'a': none} | tojson(indent=2, sort_keys=true) }}",
        "{% set ns = namespace(n=0, self=1) %}{% set ns.n = ns.n + 2 %}{{ ns.n }}{{ ns.self }}",
        "{{ dict(a=1)['a'] }}{{ dict.fromkeys(['x'])['x'] }}{{ strftime_now('%Y') }}",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}|{{ add_generation_prompt }}",
        "{{ tools is none }}{{ documents }}{{ bos_token }}{{ missing is defined }}{{ none_such }}",
        "{{ raise_exception('no such role') }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(**{'_a': 1}) }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ dict.__class__.__mro__ }}",
        "{{ messages[0] + 1 }}",
        "{% if %}",
    ],
)
def test_a_template_means_what_transformers_makes_of_it(template):
    chats = [[{"role": "user", "content": " a\n"}, {"role": "assistant", "content": "b é"}]]
    found = []
    for write in (template_worker.render, _by_transformers):
        try:
            found.append(write(template, chats, bos_token="<s>"))
        except Exception as error:  # noqa: BLE001 - a template may raise what it likes
            found.append(type(error).__name__)
    assert found[0] == found[1]


def _by_transformers(template, chats, **kwargs):
    return render_jinja_template(
        chats, chat_template=template, add_generation_prompt=True, **kwargs
    )[0]
