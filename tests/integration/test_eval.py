"""`serl eval` on the sandbox: figures, files, going on after an interruption, bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from serl_trl import sandbox
from serl_trl.cli.build import build_trainer
from serl_trl.cli.entry import main
from serl_trl.cli.inputs import load_inputs
from serl_trl.cli.parser import SeRLParser
from serl_trl.measure.session import evaluate_benchmarks, fingerprint_of, read_evaluation
from serl_trl.train.template_roles import COMPLETION_TEMPLATE

ROOT = Path(__file__).parents[2]
FEW = ["--max_problems", "10", "--chunk_size", "4", "--num_samples", "3"]
SANDBOX = ["eval", "sandbox", "--benchmarks", "sandbox", *FEW, "--disable_tqdm", "true"]
FOLDER = Path("runs/eval/sandbox")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of an evaluation that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    json_file = folder / "out.json"
    flags = ["--output_dir", str(folder / "eval"), "--json", str(json_file), "--k", "2"]
    assert main([*SANDBOX, *flags]) == 0
    return folder


def items(folder: Path, name: str = "sandbox") -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def rows(name: str, content: list[dict]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return name


def problems(capsys) -> str:
    return capsys.readouterr().err


def test_an_evaluation_writes_every_problem_with_its_completions(whole):
    written = items(whole / "eval")
    assert [item["row"] for item in written] == list(range(1, 11))
    for item in written:
        assert len(item["completions"]) == len(item["answers"]) == len(item["right"]) == 3
        assert len(item["truncated"]) == len(item["lengths"]) == 3
        assert item["greedy"]["completion"]
    assert len({item["fingerprint"] for item in written}) == 1
    assert len({item["seed"] for item in written}) == 3


def test_the_figures_are_those_of_the_items(whole):
    written = items(whole / "eval")
    summary = json.loads((whole / "eval" / "summary.json").read_text())["benchmarks"]["sandbox"]
    assert summary["complete"]
    assert summary["fingerprint"] == written[0]["fingerprint"]
    assert fingerprint_of(summary["settings"]) == summary["fingerprint"]
    right = [sum(item["right"]) / 3 for item in written]
    assert summary["figures"]["pass@1"]["mean"] == pytest.approx(sum(right) / 10)
    assert 0 < summary["figures"]["pass@1"]["mean"] < 1
    greedy = [item["greedy"]["right"] for item in written]
    assert summary["figures"]["greedy"]["mean"] == pytest.approx(sum(greedy) / 10)
    report = json.loads((whole / "out.json").read_text())
    assert report["benchmarks"]["sandbox"]["figures"] == summary["figures"]
    assert {"pass@2", "maj@2", "pass@3", "maj@3"} <= set(summary["figures"])


@pytest.mark.parametrize("kept_lines", [0, 4, 5, 9])
def test_an_interrupted_evaluation_ends_as_if_it_had_not_been(whole, kept_lines):
    lines = (whole / "eval" / "sandbox.jsonl").read_bytes().splitlines(keepends=True)
    FOLDER.mkdir(parents=True)
    # The interruption came in the middle of a line.
    half = lines[kept_lines][:100]
    (FOLDER / "sandbox.jsonl").write_bytes(b"".join(lines[:kept_lines]) + half)
    assert main([*SANDBOX, "--k", "2"]) == 0
    for name in ("sandbox.jsonl", "summary.json"):
        assert (FOLDER / name).read_bytes() == (whole / "eval" / name).read_bytes()


def test_what_is_done_is_not_done_again(whole, monkeypatch):
    asked: list[int] = []
    real = build_trainer

    def spying(args, inputs):
        trainer = real(args, inputs)
        attempt = trainer.attempt
        trainer.attempt = lambda problems, **options: (
            asked.append(len(problems)) or attempt(problems, **options)
        )
        return trainer

    monkeypatch.setattr("serl_trl.cli.commands.eval.build_trainer", spying)
    FOLDER.mkdir(parents=True)
    lines = (whole / "eval" / "sandbox.jsonl").read_bytes().splitlines(keepends=True)
    (FOLDER / "sandbox.jsonl").write_bytes(b"".join(lines[:9]))
    assert main(SANDBOX) == 0
    assert asked == [2]
    assert main(SANDBOX) == 0
    assert asked == [2]


def test_other_settings_are_refused_and_overwrite_puts_the_old_aside(whole, capsys):
    flags = [*SANDBOX, "--output_dir", "mine"]
    assert main(flags) == 0
    assert main([*flags, "--temperature", "0.5"]) == 2
    said = problems(capsys)
    assert "holds results of other settings (there / now: temperature: 1.0 / 0.5)" in said
    before = items(Path("mine"))
    assert main([*flags, "--temperature", "0.5", "--overwrite", "true"]) == 0
    assert items(Path("mine-1")) == before
    assert items(Path("mine")) != before


def test_a_model_whose_files_changed_is_another_model(tiny_model, capsys):
    shutil.copytree(tiny_model, "model")
    flags = ["eval", "./model", "--benchmarks", "gsm8k", "--output_dir", "tiny", *TINY]
    flags += ["--benchmark_files", "gsm8k=" + rows("g.jsonl", GSM8K)]
    assert main(flags) == 0
    os.utime("model/model.safetensors", (0, 0))
    assert main(flags) == 2
    assert "model: " in problems(capsys)
    # Nor may its other benchmarks come into the same folder.
    file = rows("s.jsonl", [{"question": "How many?", "answer": "7"}])
    other = [*TINY, "--benchmarks", "svamp", "--benchmark_files", f"svamp={file}"]
    assert main(["eval", "./model", *other, "--output_dir", "tiny"]) == 2
    assert "tiny holds gsm8k of another model" in problems(capsys)


GSM8K = [
    {"question": "Tom has 3 apples and buys 4 more. How many?", "answer": "3 + 4 = 7\n#### 7"},
    {"question": "Ann has 1,000 pens. How many?", "answer": "#### 1,000"},
]
CPU = ["--use_cpu", "true", "--bf16", "false", "--max_completion_length", "8"]
TINY = [*CPU, "--num_samples", "2", "--disable_tqdm", "true"]


def test_a_model_that_never_answers_scores_zero_on_a_file_in_place_of_the_hub(tiny_model):
    choice = [{"question": "Which?", "options": ["1", "2"], "answer": "B"}]
    files = ["gsm8k=" + rows("g.jsonl", GSM8K), "mmlu_pro=" + rows("m.jsonl", choice)]
    flags = ["eval", tiny_model, "--benchmarks", "gsm8k,mmlu_pro", "--output_dir", "tiny"]
    assert main([*flags, "--benchmark_files", *files, *TINY]) == 0
    found = read_evaluation(Path("tiny"))
    for name in ("gsm8k", "mmlu_pro"):
        figures = found[name].measurement.summary()
        assert figures["pass@1"] == figures["maj@2"] == figures["greedy"] == 0.0
        assert figures["unparsable_rate"] == 1.0
    assert [item["gold"] for item in items(Path("tiny"), "gsm8k")] == ["7", "1000"]
    assert items(Path("tiny"), "mmlu_pro")[0]["instruction"].startswith("Which?\n\nA) 1\nB) 2\n")
    # Files are no whole benchmarks, so that there is nothing to publish.
    assert not Path("tiny/.eval_results").exists()


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory) -> str:
    """A folder as a LoRA run saves it: the adapter, far from zero, and the tokenizer."""
    folder = tmp_path_factory.mktemp("adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    torch.manual_seed(0)
    get_peft_model(base, lora).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return str(folder)


def test_an_adapter_is_measured_over_its_base_and_merged_into_nothing(tiny_model, adapter):
    flags = ["--benchmarks", "gsm8k", "--benchmark_files", "gsm8k=" + rows("g.jsonl", GSM8K)]
    for name, model in (("base", tiny_model), ("adapter", adapter)):
        # A run's own config may be given with it; what it says of a new adapter is not asked for.
        own = ["--use_peft", "true"] if name == "adapter" else []
        assert main(["eval", model, *flags, *own, *TINY, "--output_dir", name]) == 0
    said = [
        [item["completions"] for item in items(Path(name), "gsm8k")] for name in ("base", "adapter")
    ]
    assert said[0] != said[1]
    args = SeRLParser().parse(
        ["--model_name_or_path", adapter, "--seed_set", "sandbox", "--output_dir", "run", *CPU]
    )
    model = build_trainer(args, load_inputs(args)).model
    saved = load_file(Path(adapter) / "adapter_model.safetensors")
    held = get_peft_model_state_dict(model)
    assert saved.keys() == held.keys()
    assert all(torch.equal(saved[name], held[name]) for name in saved)
    fresh = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    below = dict(model.get_base_model().named_parameters())
    kept = {name.replace(".base_layer", ""): p for name, p in below.items() if "lora_" not in name}
    assert all(torch.equal(p, fresh[name]) for name, p in kept.items())


def test_an_adapter_whose_base_is_gone_is_named_and_a_new_base_is_another_model(
    tiny_model, adapter, capsys
):
    shutil.copytree(tiny_model, "base")
    shutil.copytree(adapter, "mine")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        Path("mine", name).unlink(missing_ok=True)
    file = Path("mine/adapter_config.json")
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "base_model_name_or_path": "./base"}))
    flags = ["eval", "./mine", "--benchmarks", "gsm8k", "--output_dir", "out", *TINY]
    flags += ["--benchmark_files", "gsm8k=" + rows("g.jsonl", GSM8K)]
    # The tokenizer is the base's.
    assert main(flags) == 0
    os.utime("base/model.safetensors", (0, 0))
    assert main(flags) == 2
    assert "model: " in problems(capsys)
    shutil.rmtree("base")
    assert main(flags) == 2
    assert "model_name_or_path=mine is an adapter, and its base ./base cannot" in problems(capsys)
    file.write_text(json.dumps({**config, "base_model_name_or_path": None}))
    assert main(flags) == 2
    assert "names no base" in problems(capsys)


def test_completion_style_shows_the_plain_text(tiny_model, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    (base / "chat_template.jinja").unlink()
    assert AutoTokenizer.from_pretrained(base).chat_template is None
    flags = ["eval", str(base), "--benchmarks", "gsm8k", "--output_dir", "out", *TINY]
    flags += ["--benchmark_files", "gsm8k=" + rows("g.jsonl", GSM8K)]
    assert main(flags) == 2
    assert main([*flags, "--prompt_style", "completion"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(base)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    text = tokenizer.apply_chat_template(
        messages, chat_template=COMPLETION_TEMPLATE, tokenize=False
    )
    assert text == "Be brief.\n1 + 1?\n"


def test_bad_input_is_named_all_at_once_before_a_model_is_loaded(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(
        "serl_trl.cli.commands.eval.build_trainer", lambda *_: pytest.fail("a model was loaded")
    )
    bad = [*GSM8K, {"question": "How many?", "answer": ""}]
    flags = ["eval", tiny_model, *TINY, "--benchmark_files", "gsm8k=" + rows("g.jsonl", bad)]
    assert main([*flags, "--benchmarks", "gsm8k"]) == 2
    assert "g.jsonl:3: the gold '' is not an answer of kind math" in problems(capsys)
    flags = ["eval", "no/such/model", *TINY, "--benchmarks", "gsm,sandbox", "--k", "1", "9"]
    assert main(flags) == 2
    assert "model_name_or_path=no/such/model is neither a folder" in problems(capsys)
    files = ["--benchmark_files", "gsm8k=g.jsonl"]
    flags = ["eval", "./no", *TINY, "--benchmarks", "gsm,gsm8k", "--num_samples", "0", *files]
    assert main(flags) == 2
    said = problems(capsys)
    assert "4 problems" in said
    assert "model_name_or_path=./no" in said
    assert "benchmarks=gsm is unknown" in said
    assert "num_samples=0 must be at least 1" in said
    assert "g.jsonl:3: the gold '' is not an answer" in said
    flags = ["eval", tiny_model, *TINY, "--benchmarks", "gsm,svamp", "--k", "1", "9"]
    flags += ["--chunk_size", "0", "--max_problems", "0", "--benchmark_files", "svamp=none.jsonl"]
    assert main(flags) == 2
    said = problems(capsys)
    for problem in (
        "k=9 must lie in [1, num_samples=2]",
        "chunk_size=0 must be at least 1",
        "max_problems=0 must be at least 1",
        "benchmarks=gsm is unknown",
        "none.jsonl does not exist",
    ):
        assert problem in said
    assert main(["eval", tiny_model, *TINY]) == 2
    assert "benchmarks is missing" in problems(capsys)
    assert main(["eval", tiny_model, *TINY, "--benchmarks", "gsm8k", "--num_samples", "0"]) == 2
    assert "num_samples=0 must be at least 1" in problems(capsys)


def test_a_prompt_without_room_for_its_completion_is_named(tiny_model, capsys):
    long = [*GSM8K, {"question": "How many? " * 600, "answer": "7"}]
    flags = ["eval", tiny_model, *TINY, "--benchmarks", "gsm8k"]
    assert main([*flags, "--benchmark_files", "gsm8k=" + rows("g.jsonl", long)]) == 2
    assert "exceed the model's 2048 tokens" in (said := problems(capsys))
    assert "row 3:" in said


def test_two_folders_are_compared(whole, capsys):
    other = [*SANDBOX, "--output_dir", "cold", "--temperature", "0.3", "--json", "cold.json"]
    assert main(other) == 0
    flags = ["--compare", str(whole / "eval"), "cold", "--json", "out.json", "--k", "2"]
    assert main(["eval", *flags]) == 0
    found = json.loads(Path("out.json").read_text())
    assert found == json.loads(Path("cold/comparison.json").read_text())
    sandbox = found["benchmarks"]["sandbox"]
    assert sandbox["num_problems"] == 10
    figures = sandbox["differences"]
    assert {"pass@1", "pass@2", "maj@3", "greedy"} <= set(figures)
    assert figures["greedy"]["difference"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert sandbox["other_settings"] == ["temperature: 1.0 / 0.3"]
    assert "temperature: 1.0 / 0.3" in Path("cold/comparison.md").read_text()


def test_several_runs_are_compared_with_one_base(whole, capsys):
    base = str(whole / "eval")
    shutil.copytree(base, "second")
    assert main([*SANDBOX, "--output_dir", "third", "--temperature", "0.3"]) == 0
    assert main(["eval", "--compare", base, base, "second", "third", "--output_dir", "out"]) == 0
    found = json.loads(Path("out/comparison_of_runs.json").read_text())
    assert found["runs"] == [base, "second", "third"]
    sandbox = found["benchmarks"]["sandbox"]
    gain = sandbox["differences"]["pass@1"]
    assert gain["trained"][0] == gain["trained"][1] == gain["base"]
    assert gain["difference"]["low"] <= gain["difference"]["mean"] <= gain["difference"]["high"]
    assert sum(counts[2] for counts in sandbox["transitions"].values()) == 10
    assert "run 3: third." in Path("out/comparison_of_runs.md").read_text()
    assert "run 3" in capsys.readouterr().out
    assert main(["eval", "--compare", base, "second", "second"]) == 2
    assert "--compare names second twice" in problems(capsys)


def test_the_golds_of_a_benchmark_are_graded_against_themselves_without_a_model(capsys):
    # A gold in words that no box can hold, and one that is none of its kind.
    file = rows("own.jsonl", [{"text": "q", "answer": a} for a in ("7", "\\frac{1}{2}", "")])
    flags = ["--benchmarks", "sandbox,own", "--benchmark_files", f"own={file}"]
    assert main(["eval", "--self_check", *flags, "--json", "out.json"]) == 2
    found = json.loads(Path("out.json").read_text())["benchmarks"]
    assert found["sandbox"] == {"num_golds": 200, "cannot_match": [], "problems": []}
    assert found["own"]["num_golds"] == 3
    assert len(found["own"]["cannot_match"]) == 1
    assert "own.jsonl:3" in found["own"]["cannot_match"][0]
    assert "own.jsonl:3" in capsys.readouterr().out
    assert main(["eval", "--self_check", "true", "--benchmarks", "sandbox,sandbox_hard"]) == 0
    assert main(["eval", "--self_check", "true", "--benchmarks", "none_such"]) == 2
    assert "benchmarks=none_such is unknown" in problems(capsys)


def test_two_models_are_evaluated_and_then_compared(tiny_model):
    flags = ["--benchmarks", "gsm8k", "--benchmark_files", "gsm8k=" + rows("g.jsonl", GSM8K)]
    flags += [*TINY, "--output_dir", "both"]
    assert main(["eval", "--compare", tiny_model, tiny_model, *flags]) == 0
    found = json.loads(Path("both/comparison.json").read_text())["benchmarks"]["gsm8k"]
    assert found["differences"]["pass@1"]["ties"] == 2
    assert found["other_settings"] == []


def test_the_hard_sandbox_is_measured_with_its_own_model_prompts_and_problems():
    flags = ["--benchmarks", "sandbox_hard", *FEW, "--disable_tqdm", "true"]
    assert main(["eval", "sandbox_hard", *flags, "--json", "out.json"]) == 0

    written = items(Path("runs/eval/sandbox_hard"), "sandbox_hard")
    asked = [(item["instruction"], item["gold"]) for item in written]
    rows = sandbox.heldout(sandbox.HARD)[:10]
    assert asked == [(row["instruction"], row["answer"]) for row in rows]
    figures = json.loads(Path("out.json").read_text())["benchmarks"]["sandbox_hard"]["figures"]
    # Another model, or prompts that it was not made with, would not have what it boxes.
    assert figures["unparsable_rate"]["mean"] < 0.1
    assert figures["pass@3"]["mean"] > 0.4


def test_a_comparison_needs_two_sides_that_fit(whole, capsys):
    assert main(["eval", "--compare", str(whole / "eval")]) == 2
    assert "--compare takes BASE and TRAINED" in problems(capsys)
    assert main([*SANDBOX, "--output_dir", "few", "--max_problems", "4"]) == 0
    assert main(["eval", "--compare", str(whole / "eval"), "few"]) == 2
    assert "problems differs" in problems(capsys)


def test_a_comparison_of_folders_keeps_to_the_benchmarks_that_are_named(whole, capsys):
    flags = ["--compare", str(whole / "eval"), str(whole / "eval"), "--output_dir", "out"]
    assert main(["eval", *flags, "--benchmarks", "sandbox"]) == 0
    assert main(["eval", *flags, "--benchmarks", "sandbox,gsm8k"]) == 2
    assert f"benchmarks=gsm8k: {whole / 'eval'} holds only sandbox" in problems(capsys)


def without_last(lines):
    return lines[:-1]


def turned_round(lines):
    return lines[::-1]


def with_a_list(lines):
    return ["[]", *lines[1:]]


def with_another_print(lines):
    return [lines[0].replace('"fingerprint": "', '"fingerprint": "0'), *lines[1:]]


def without_answers(lines):
    return [lines[0].replace('"answers"', '"replies"'), *lines[1:]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_last, "holds 9 problems, summary.json says 10"),
        (turned_round, "do not hold the same problems in the same order"),
        (with_a_list, "sandbox.jsonl:1 is not an object"),
        (with_another_print, "sandbox.jsonl:1 is of other settings than summary.json says"),
        (without_answers, "sandbox.jsonl:1 is not an item of serl eval"),
    ],
)
def test_a_folder_whose_items_are_not_those_of_its_summary_is_refused(
    whole, capsys, change, reason
):
    shutil.copytree(whole / "eval", "changed")
    file = Path("changed/sandbox.jsonl")
    file.write_text("".join(line + "\n" for line in change(file.read_text().splitlines())))
    assert main(["eval", "--compare", str(whole / "eval"), "changed"]) == 2
    assert reason in problems(capsys)


@pytest.mark.parametrize("text", ["[]", '{"benchmarks": []}', '{"benchmarks": {"sandbox": []}}'])
def test_a_summary_of_another_kind_is_refused(whole, capsys, text):
    shutil.copytree(whole / "eval", "changed")
    Path("changed/summary.json").write_text(text)
    assert main(["eval", "--compare", str(whole / "eval"), "changed"]) == 2
    assert "changed" in problems(capsys)


def test_a_trainer_measures_itself_and_its_step_is_part_of_the_settings(tmp_path):
    flags = ["--config", str(sandbox.CONFIG_PATH), "--output_dir", str(tmp_path / "run")]
    args = SeRLParser().parse([*flags, "--disable_tqdm", "true"])
    trainer = build_trainer(args, load_inputs(args))
    options = {"output_dir": tmp_path / "eval", "num_samples": 2, "chunk_size": 50}
    first = evaluate_benchmarks(trainer, ["sandbox"], **options)["sandbox"]
    assert len(first.problems) == 200
    again = evaluate_benchmarks(trainer, ["sandbox"], **options)["sandbox"]
    assert again == first
    trainer.state.global_step = 7
    with pytest.raises(ValueError, match="holds results of other settings"):
        evaluate_benchmarks(trainer, ["sandbox"], **options)
    with pytest.raises(ValueError, match=r"k=3 must lie in \[1, num_samples=2\]"):
        evaluate_benchmarks(trainer, ["sandbox"], output_dir="new", num_samples=2, ks=[3])


def test_continuous_batching_measures_every_problem(tiny_model):
    flags = ["eval", tiny_model, "--benchmarks", "gsm8k", "--output_dir", "out", *TINY]
    flags += ["--benchmark_files", "gsm8k=" + rows("g.jsonl", GSM8K)]
    flags += ["--use_transformers_continuous_batching", "true"]
    small = '{"num_blocks": 64, "max_batch_tokens": 256}'
    flags += ["--transformers_continuous_batching_config", small]
    assert main(flags) == 0
    summary = json.loads(Path("out/summary.json").read_text())["benchmarks"]["gsm8k"]
    assert summary["settings"]["backend"] == "continuous batching"
    assert [len(item["completions"]) for item in items(Path("out"), "gsm8k")] == [2, 2]


def test_two_processes_write_one_whole_evaluation(tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(ROOT / "configs/accelerate/cpu2.yaml"), "-m", "serl_trl.cli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *SANDBOX],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [item["row"] for item in items(FOLDER)] == list(range(1, 11))
    summary = json.loads((FOLDER / "summary.json").read_text())["benchmarks"]["sandbox"]
    assert summary["complete"]
    assert summary["settings"]["num_processes"] == 2


def test_what_is_only_read_from_the_command_line_is_refused_in_a_file(tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"num_samples": 2, "compare": ["a", "b"]}))
    argv = ["eval", "sandbox", "--benchmarks", "sandbox", "--config", str(file)]

    assert main(argv) == 2

    assert "give it as --compare." in capsys.readouterr().err


def test_a_set_of_ones_own_is_graded_by_the_answer_kind(capsys):
    file = rows("own.jsonl", [{"text": f"Is {n} even?", "answer": "no"} for n in (1, 3)])
    flags = ["eval", "sandbox", *FEW[2:], "--benchmarks", "own", "--benchmark_files", f"own={file}"]
    kinds = {"label": 0, "number": 2, "someone.Kind": 2}
    assert {kind: main([*flags, "--answer_kind", kind]) for kind in kinds} == kinds
    said = problems(capsys)
    assert "own.jsonl:1: the gold 'no' is not an answer of kind number" in said
    assert "answer_kind=someone.Kind would run code" in said
    summary = json.loads((FOLDER / "summary.json").read_text())["benchmarks"]["own"]
    assert (summary["settings"]["kind"], summary["complete"]) == ("label", True)
    assert main([*flags[:-1], f"../own={file}", "--benchmarks", "../own"]) == 2
    assert "benchmarks=../own is unknown" in problems(capsys)
