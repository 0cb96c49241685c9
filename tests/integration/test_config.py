"""`SeRLConfig`: numbers, presets, and the words with which it refuses."""

import pytest

from serl_trl.train.config import PRESETS, SeRLConfig, find_problems


def make(tmp_path, **options):
    return SeRLConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **options)


def test_the_defaults_train_sixteen_prompts_of_sixteen_votes_in_125_steps(tmp_path):
    config = make(tmp_path)
    assert (config.prompts_per_batch, config.num_generations) == (16, 16)
    assert config.max_steps == 125


def test_max_steps_counts_the_whole_run_and_wins(tmp_path):
    config = make(tmp_path, max_steps=7, num_selfplay_iterations=3)
    assert (config.max_steps, config.steps_per_iteration) == (7, 7)


def test_iterations_lengthen_the_run(tmp_path):
    config = make(tmp_path, instructions_per_iteration=160, num_selfplay_iterations=3)
    assert (config.steps_per_iteration, config.max_steps) == (10, 30)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(tmp_path, name):
    options = PRESETS[name]
    config = SeRLConfig.from_preset(name, output_dir=str(tmp_path), use_cpu=True, bf16=False)
    assert {key: getattr(config, key) for key in options} == options


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="preset=papr is unknown; choose one of paper"):
        SeRLConfig.from_preset("papr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficulty_low": 0.8, "difficulty_high": 0.2}, "difficulty_low=0.8 must be below"),
        ({"difficulty_low": 0.3, "difficulty_high": 0.4, "num_generations": 4}, "keep no group"),
        ({"answer_instruction": "In \boxed{}."}, r"the control character '\\x08'; between double"),
        ({"num_shots": 2, "num_pool_shots": 3}, "num_pool_shots=3 must not exceed num_shots=2"),
        ({"min_words": 9, "max_words": 3}, "min_words=9 must not exceed max_words=3"),
        ({"temperature": 0.0}, "temperature=0 must be at least"),
        ({"learning_rate": -1.0}, "learning_rate=-1 must be at least"),
        ({"max_rouge_l": 1.5}, "max_rouge_l=1.5 must be at least"),
        ({"advantage": "ppo"}, "advantage=ppo is unknown; choose one of grpo, rloo"),
        ({"loss_type": "grppo"}, "loss_type=grppo is unknown; choose one of grpo"),
        ({"use_selfplay": False}, "label_reward=vote needs use_selfplay"),
        ({"hub_token": "hf_x"}, "hub_token must not stand in a config"),
    ],
)
def test_a_bad_value_is_refused_with_name_rule_and_way_out(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **options)


TOKEN = "hf_" + "a1B2" * 8


@pytest.mark.parametrize(
    "options",
    [
        {"run_name": TOKEN},
        {"project": TOKEN},
        {"vllm_server_base_url": f"http://me:{TOKEN}@host:8000"},
        {"vllm_server_base_url": "http://me:secret-of-mine@host:8000"},
        {"model_init_kwargs": {"proxies": {"https": f"http://u:{TOKEN}@p"}}},
        {"model_init_kwargs": f'{{"token": "{TOKEN}"}}'},
        {"model_init_kwargs": f'{{"token": "{TOKEN}"'},
        {"model_init_kwargs": {"token": "secret-of-mine"}},
        {"model_init_kwargs": '{"hf_token": "secret-of-mine"}'},
        {"generation_kwargs": {"use_auth_token": "secret-of-mine"}},
        {"chat_template_kwargs": {"deep": [{TOKEN: 1}]}},
        {"proposer_stop": ["a", TOKEN]},
    ],
)
def test_a_secret_in_any_option_is_refused_and_not_repeated(tmp_path, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} holds a ") as caught:
        make(tmp_path, **options)
    assert TOKEN not in str(caught.value)
    assert "secret-of-mine" not in str(caught.value)


def test_what_only_sounds_like_a_secret_is_accepted(tmp_path):
    make(tmp_path, model_init_kwargs={"token": True}, vllm_server_base_url="http://host:8000")
    assert find_problems({"chat_template_kwargs": {"bos_token": "<s>", "pad_token_id": 0}}) == []


def test_all_problems_are_named_at_once():
    problems = find_problems({"num_generations": 1, "advantage": "ppo", "top_p": 2})
    assert len(problems) == 3


def test_repr_masks_tokens(tmp_path, monkeypatch):
    config = make(tmp_path)
    config.hub_token = "hf_secret"
    assert "hf_secret" not in repr(config)
