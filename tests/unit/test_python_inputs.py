"""What a script may hand to the trainer as seed set or probe set, and the line for all else."""

import json
from types import SimpleNamespace

import pytest

from serl_trl import sandbox
from serl_trl.data import python_inputs
from serl_trl.data.python_inputs import read_probe_set, read_seed_set
from serl_trl.data.seeds import make_seed_set
from serl_trl.data.tables import SeedSetError
from serl_trl.train.needs import argument_problems

TEXTS = ["What is 2 + 3?", "What is 4 + 4?"]
ROWS = [{"problem": text, "answer": answer} for text, answer in zip(TEXTS, ("5", "8"), strict=True)]


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be short."}, {"role": "user", "content": text}]


@pytest.mark.parametrize(
    "given",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        ROWS,
        iter(ROWS),
        [chat(text) for text in TEXTS],
        [{"prompt": chat(text)} for text in TEXTS],
        [{"messages": chat(text)} for text in TEXTS],
        [{"instruction": text, "answer": None} for text in TEXTS],
        make_seed_set([{"instruction": text} for text in TEXTS], source="x"),
    ],
)
def test_instructions_may_come_in_any_shape(given):
    assert read_seed_set(given).instructions == tuple(TEXTS)


def test_a_text_is_a_path_as_in_a_config(tmp_path):
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert (
        read_seed_set(str(path)).rows() == read_seed_set(path).rows() == read_seed_set(ROWS).rows()
    )
    assert read_seed_set(tmp_path).instructions == tuple(TEXTS)
    assert read_probe_set(path).answers == ("5", "8")
    for name in (sandbox.EASY, sandbox.HARD):
        assert read_seed_set(name).instructions == tuple(sandbox.seed_set(name))
        golds = [row["answer"] for row in sandbox.heldout(name)]
        assert list(read_probe_set(name).answers) == golds


datasets = pytest.importorskip("datasets")


def test_datasets_of_any_kind_are_read(tmp_path):
    data = datasets.Dataset.from_list(ROWS)
    assert read_seed_set(data).answers == ("5", "8")
    assert read_seed_set(data.to_iterable_dataset()).instructions == tuple(TEXTS)
    assert read_seed_set(data.to_pandas()).instructions == tuple(TEXTS)
    talks = datasets.Dataset.from_list([{"prompt": chat(text)} for text in TEXTS])
    assert read_seed_set(talks).instructions == tuple(TEXTS)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=data, test=data.select([1])).save_to_disk(tmp_path / "two")
    assert read_seed_set(tmp_path / "one").answers == ("5", "8")
    assert read_seed_set(tmp_path / "two").answers == ("5", "8")
    (tmp_path / "two" / "train" / "state.json").write_text("{")
    assert "cannot be read as what Dataset.save_to_disk wrote" in message(tmp_path / "two")


def message(given: object) -> str:
    with pytest.raises(SeedSetError) as caught:
        read_seed_set(given)
    return str(caught.value)


def test_a_dataset_with_splits_asks_for_one():
    data = datasets.Dataset.from_list(ROWS)
    assert message(datasets.DatasetDict(train=data, test=data)) == (
        "seed_set is a DatasetDict, not a list; give a split of it: train, test."
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "seed_set=None holds no rows; give a path, a list of instructions, a list of rows"),
        (7, "seed_set=7 holds no rows"),
        (b"What is 2?", "seed_set=b'What is 2?' holds no rows"),
        ({"problem": "a"}, "seed_set is a dict, not a list; give a list of its rows."),
        ([], "seed_set holds no instruction; give at least one row."),
        ("What is 2 + 3?", "A text is read as a path; give instructions as a list."),
        ("none/such/place.jsonl", "seed_set=none/such/place.jsonl: none/such/place.jsonl does not"),
        ([*TEXTS, 3], "seed_set row 3: must be a text, a mapping or a conversation, not int."),
        ([*TEXTS, ""], "seed_set row 3: 'text' is empty."),
        ([*ROWS, {"frage": "a"}], "seed_set row 3: has no column 'problem', only frage."),
        ([{"frage": "a"}], "seed_set has no column problem, question, instruction, prompt or text"),
        ([{"problem": {"a": 1}}], "seed_set row 1: 'problem' must be text, not dict."),
        ([{"prompt": [*chat("a"), *chat("b")]}], "row 1: 'prompt' holds 2 turns of the user"),
        ([[["a"]]], "seed_set row 1: must be a text, a mapping or a conversation, not list."),
    ],
)
def test_what_is_no_seed_set_is_named(given, text):
    assert text in message(given)


def test_a_source_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr(python_inputs, "MAX_ROWS", 10)
    endless = (f"What is {number}?" for number in iter(int, 1))
    assert message(endless) == "seed_set gives more than 10 rows; take a part of it."


def test_a_hundred_thousand_rows_are_a_seed_set():
    assert len(read_seed_set({"problem": f"What is {n}?"} for n in range(100_000))) == 100_000


def test_a_probe_set_has_an_answer_in_every_row():
    assert read_probe_set(None) is None
    assert read_probe_set([{"instruction": "a", "answer": 15}]).answers == ("15",)
    for rows in (TEXTS, [{"problem": "a"}], [{"problem": "a", "answer": None}]):
        with pytest.raises(SeedSetError, match=r"eval_dataset.*'answer'"):
            read_probe_set(rows)
    with pytest.raises(SeedSetError, match="'answer' is empty"):
        read_probe_set(read_seed_set(TEXTS))


ARGS = {
    "reward_weights": None,
    "label_reward": "vote",
    "use_vllm": False,
    "embedding_model": None,
    "report_to": [],
}


def problems(monkeypatch, *, num=0, quantised=None, has_probe=False, **changes) -> list[str]:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    args = SimpleNamespace(**{**ARGS, **changes})
    return argument_problems(args, quantised, num, has_probe=has_probe)


def test_missing_packages_are_named_before_anything_loads(monkeypatch):
    quantised = SimpleNamespace(load_in_4bit=True, load_in_8bit=False)
    assert problems(monkeypatch) == []
    assert "vllm is not installed" in problems(monkeypatch, use_vllm=True)[0]
    assert "bitsandbytes is not installed" in problems(monkeypatch, quantised=quantised)[0]
    (missing,) = problems(monkeypatch, embedding_model="some/model")
    assert missing == (
        "embedding_model=some/model: sentence_transformers is not installed; run: pip install "
        "'serl-trl[embeddings]'."
    )


@pytest.mark.parametrize(
    ("option", "value", "install"),
    [
        ("use_liger_kernel", True, "liger-kernel"),
        ("optim", "paged_adamw_8bit", "serl-trl[qlora]"),
        ("optim", "adamw_torch_4bit", "torchao"),
        ("optim", "galore_adamw_8bit", "galore-torch"),
        ("optim", "schedule_free_sgd", "schedulefree"),
        ("attn_implementation", "flash_attention_2", "kernels"),
        ("attn_implementation", "kernels-community/flash-attn3", "kernels"),
        ("deepspeed", "zero.json", "serl-trl[deepspeed]"),
    ],
)
def test_every_option_that_needs_a_package_names_it(monkeypatch, option, value, install):
    (missing,) = problems(monkeypatch, **{option: value})
    assert missing.startswith(option)
    assert missing.endswith(f"is not installed; run: pip install '{install}'.")


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"])
def test_what_torch_brings_needs_no_package(monkeypatch, optim):
    assert problems(monkeypatch, optim=optim, attn_implementation="sdpa") == []


def test_rewards_are_counted(monkeypatch):
    assert problems(monkeypatch, reward_weights=[1.0, 0.5], num=1) == []
    assert problems(monkeypatch, label_reward="none", reward_weights=[1.0], num=1) == []
    (problem,) = problems(monkeypatch, reward_weights=[1.0, 0.5])
    assert problem.startswith("reward_weights=[1.0, 0.5] has 2 of the 1 weights needed")
    (problem,) = problems(monkeypatch, label_reward="none")
    assert problem.startswith("label_reward=none needs at least one reward function")


def test_what_measures_needs_a_probe_set(monkeypatch):
    for option, value in {"eval_strategy": "steps", "eval_on_start": True}.items():
        (problem,) = problems(monkeypatch, **{option: value})
        assert problem.startswith(f"{option}={value} measures on a probe set, and none is given")
        assert problems(monkeypatch, has_probe=True, **{option: value}) == []
    assert problems(monkeypatch, eval_strategy="no", save_strategy="steps") == []
