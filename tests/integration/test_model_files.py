"""Damaged models: one sentence that names file and tensor, before anything is trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from serl_trl import sandbox
from serl_trl.cli.entry import main
from serl_trl.train.config import SeRLConfig
from serl_trl.train.model_files import find_weights, refuse_nonfinite
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import OPTIONS, SEEDS

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
BIASED = "model.layers.1.self_attn.q_proj.weight"
NORM = "model.norm.weight"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """A demo may have left its run in the folder that the sandbox's config names."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


def change(name: str, edit: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[..., None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edited = edit(tensors.pop(name))
        tensors |= {} if edited is None else {name: edited.contiguous()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[-1] = value
        return tensor

    return fill


def cut(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def lose_shard(folder: Path) -> None:
    names = list(load_file(folder / WEIGHTS))
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    placed = {name: f"model-0000{1 + (name == NORM)}-of-00002.safetensors" for name in names}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def point_outside(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {NORM: "../other/model.safetensors"}}))


def no_index(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text("[1]")


class _Foreign:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def pickled(value: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        torch.save(tensors | value, folder / "pytorch_model.bin")

    return damage


def larger_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"new{i}" for i in range(10)])
    tokenizer.save_pretrained(folder)


def in_config(**values: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return damage


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


CASES = {
    "missing": (change(BIASED, lambda _: None), f"{WEIGHTS} lacks {BIASED}"),
    "missing norm": (change(NORM, lambda _: None), f"{WEIGHTS} lacks {NORM}"),
    "shape": (change(BIASED, lambda t: t[:-1]), f"{WEIGHTS} holds {BIASED} of shape [127, 128]"),
    "turned": (change(BIASED, lambda t: t.flatten()), f"{WEIGHTS} holds {BIASED} of shape [16384]"),
    "cut": (cut, f"{WEIGHTS} cannot be read"),
    "empty": (text(WEIGHTS, ""), f"{WEIGHTS} cannot be read"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "has no weights"),
    "shard": (lose_shard, f"{INDEX} names model-00002-of-00002.safetensors, which is not there"),
    "outside": (point_outside, "a file outside the model"),
    "no index": (no_index, f"{INDEX} cannot be read as an index of weights"),
    "pickle": (pickled({"x": _Foreign()}), "pytorch_model.bin cannot be read"),
    "tokenizer": (larger_tokenizer, "the tokenizer goes up to id"),
    "more layers": (in_config(num_hidden_layers=6), f"{WEIGHTS} lacks model.layers.4"),
    "other width": (in_config(intermediate_size=400), "of shape [128, 384], config.json wants"),
    "vocabulary": (in_config(vocab_size=7), "embed_tokens.weight of shape ["),
    "odd heads": (in_config(num_attention_heads=0), "config.json"),
    "bad tokenizer": (text("tokenizer.json", '{"version": "1.0", "model": 3}'), "cannot be loaded"),
    "list config": (text("config.json", "[1]"), "cannot be loaded"),
    "deep config": (text("config.json", "[" * 100_000), "cannot be loaded"),
    "bad sampling": (text("generation_config.json", "[1]"), "generation_config.json"),
}
# Only the model's class knows which tensors there are; a check does not load its code.
OF_CLASS = (
    *("missing", "missing norm", "shape", "turned"),
    *("more layers", "other width", "odd heads"),
)
READ = {
    "nan": (change(BIASED, filled(float("nan"))), f"{WEIGHTS} holds NaN or infinity in {BIASED}"),
    "infinity": (change(NORM, filled(float("-inf"))), f"NaN or infinity in {NORM}"),
    "pickled nan": (
        pickled({NORM: torch.full([128], float("nan"))}),
        f"pytorch_model.bin holds NaN or infinity in {NORM}",
    ),
}


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copytree(sandbox.MODEL_PATH, tmp_path / "model"))


def flags(folder: Path, *more: str) -> list[str]:
    return ["--config", str(sandbox.CONFIG_PATH), "--model_name_or_path", str(folder), *more]


@pytest.mark.parametrize("name", CASES)
def test_a_command_names_what_is_wrong_with_a_model(model, capsys, name):
    damage, said = CASES[name]
    damage(model)
    assert main(["propose" if name in OF_CLASS else "check", *flags(model)]) == 2
    error = capsys.readouterr().err
    assert said in " ".join(error.split()) and "Traceback" not in error
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("command", ["train", "propose"])
def test_nonfinite_weights_are_refused_before_they_are_used(model, capsys, command, name):
    damage, said = READ[name]
    damage(model)
    out = () if command == "propose" else ("--output_dir", str(model.parent / "run"))
    assert main([command, *flags(model, *out)]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (model.parent / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["missing", "cut"])
def test_eval_refuses_what_train_refuses(model, capsys, name):
    damage, said = CASES[name]
    damage(model)
    assert main(["eval", str(model), "--benchmarks", "sandbox", "--use_cpu", "true"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", [*READ, "missing", "shape", "shard", "tokenizer"])
def test_a_trainer_refuses_a_damaged_model(model, tmp_path, name):
    damage, said = (CASES | READ)[name]
    damage(model)
    with pytest.raises(ValueError) as caught:
        SeRLTrainer(str(model), SeRLConfig(output_dir=str(tmp_path / "run"), **OPTIONS), SEEDS)
    assert said in str(caught.value)


def adapter(folder: Path, base: Path) -> Path:
    loaded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    get_peft_model(loaded, config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("broken", ["missing", "shape", "nan", "base", "none"])
def test_adapters_are_looked_at_with_their_base(model, tmp_path, capsys, broken):
    folder = adapter(tmp_path / "adapter", model)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "v_proj.lora_B" in name)
    said = f"adapter_model.safetensors lacks {name}"
    if broken == "missing":
        del tensors[name]
    elif broken == "shape":
        tensors[name] = tensors[name][:-1].contiguous()
        said = f"adapter_model.safetensors holds {name} of shape [127, 4]"
    elif broken == "nan":
        tensors[name].fill_(float("nan"))
        said = f"adapter_model.safetensors holds NaN or infinity in {name}"
    elif broken == "base":
        change(BIASED, lambda _: None)(model)
        said = f"{WEIGHTS} lacks {BIASED}"
    save_file(tensors, file, metadata={"format": "pt"})
    run = str(tmp_path / "run")
    code = main(["train", *flags(folder, "--output_dir", run, "--max_steps", "1")])
    if broken == "none":
        assert code == 0
    else:
        assert code == 2 and said in " ".join(capsys.readouterr().err.split())


def test_a_pickled_whole_model_is_as_good_as_another(model, capsys):
    pickled({})(model)
    assert main(["check", *flags(model)]) == 0


def test_finite_weights_are_read_tensor_by_tensor(model):
    weights = find_weights(str(model))
    assert weights is not None and [file.name for file in weights.files] == [WEIGHTS]
    refuse_nonfinite(weights)


@pytest.mark.parametrize("dtype", ["float16", "auto"])
def test_float16_is_refused_for_training_all_weights_only(model, tmp_path, capsys, dtype):
    # The sandbox's weights are stored in float16.
    assert main(["check", *flags(model, "--dtype", dtype)]) == 2
    assert "dtype=float16 is refused" in capsys.readouterr().err
    assert main(["check", *flags(model, "--dtype", dtype, "--use_peft", "true")]) == 0
    assert main(["propose", *flags(model, "--dtype", dtype, "--num", "1")]) == 0
    options = {**OPTIONS, "model_init_kwargs": {"dtype": dtype}}
    trainer = SeRLTrainer(
        str(model), SeRLConfig(output_dir=str(tmp_path / "run"), **options), SEEDS
    )
    with pytest.raises(ValueError, match="dtype=float16 is refused"):
        trainer.train()


def test_weights_that_could_not_be_saved_are_refused_before_training(model, capsys):
    assert main(["check", *flags(model, "--model_init_kwargs", '{"gguf_file": "x.gguf"}')]) == 2
    error = capsys.readouterr().err
    assert "model_init_kwargs: gguf_file=x.gguf is made for inference" in error


def test_pickles_are_never_executed_by_request(model, capsys):
    assert main(["check", *flags(model, "--model_init_kwargs", '{"weights_only": false}')]) == 2
    assert "weights_only=False is refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "values",
    [
        {"num_return_sequences": 3, "do_sample": True},
        {"do_sample": False, "temperature": 0.7, "top_p": 0.5},
        {"return_dict_in_generate": True, "output_scores": True},
        {"no_repeat_ngram_size": 1, "forced_eos_token_id": 2, "num_beams": 2},
    ],
)
def test_a_models_own_sampling_does_not_change_or_break_a_run(model, tmp_path, caplog, values):
    sampling = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(sampling | values))
    out = tmp_path / "run"
    trainer = SeRLTrainer(str(model), SeRLConfig(output_dir=str(out), **OPTIONS), SEEDS)
    plain = SeRLTrainer(
        str(sandbox.MODEL_PATH), SeRLConfig(output_dir=str(tmp_path / "plain"), **OPTIONS), SEEDS
    )
    torch.manual_seed(0)
    ours = trainer.policy.sample(SEEDS[:2], trainer.args.num_generations)
    torch.manual_seed(0)
    assert ours == plain.policy.sample(SEEDS[:2], plain.args.num_generations)
    assert "generation_config.json" in caplog.text
    trainer.train()
    trainer.save_model()
    assert AutoModelForCausalLM.from_pretrained(out)


@pytest.mark.parametrize("name", ["num_return_sequences", "return_dict_in_generate", "n"])
def test_generation_kwargs_that_break_a_run_are_refused(name):
    with pytest.raises(ValueError, match=f"generation_kwargs: {name}=3 is refused"):
        SeRLConfig(output_dir="run", **{**OPTIONS, "generation_kwargs": {name: 3}})
