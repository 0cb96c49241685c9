"""The whole loop on the sandbox: what it asks, trains, writes, saves, and how it stops."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from datasets import Dataset
from tokenizers.processors import TemplateProcessing

from serl_trl.common.files import read_lines
from serl_trl.common.verdict import Verdict
from serl_trl.sandbox import STYLE, heldout, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.setup import note_long_votes
from serl_trl.train.trainer import SeRLTrainer

SMALL: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "max_steps": 2,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "num_generations": 8,
    "max_completion_length": 64,
    "num_requests": 2,
    "proposer_max_tokens": 256,
    "max_per_template": 0,
    "learning_rate": 5e-5,
    "beta": 0.0,
    # What the gate asks has tests of its own.
    "validity": "careful",
    **asdict(STYLE),
}


def make(folder: Path, **options: Any) -> SeRLTrainer:
    seeds = options.pop("seed_set", None) or seed_set()
    arguments = {name: options.pop(name) for name in ("reward_funcs",) if name in options}
    config = SeRLConfig(output_dir=str(folder), **{**SMALL, **options})
    return SeRLTrainer(load_model(), config, seeds, processing_class=load_tokenizer(), **arguments)


def ledger(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [r for r in read_lines(folder / "_serl" / "ledger.jsonl") if r["type"] == kind]


def weights(trainer: SeRLTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, SeRLTrainer]:
    folder = tmp_path_factory.mktemp("run")
    trainer = make(folder, max_steps=3)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    return folder, trainer


def test_twelve_lines_make_a_run_that_moves_the_weights(run):
    _, trainer = run
    start = torch.cat([p.detach().flatten() for p in load_model().parameters()])
    assert not torch.equal(weights(trainer), start)
    assert torch.isfinite(weights(trainer)).all()


def test_every_step_trains_its_full_batch(run):
    _, trainer = run
    steps = [entry for entry in trainer.state.log_history if "serl/num_groups" in entry]
    assert len(steps) == 3
    assert all(0 < entry["reward"] < 1 for entry in steps)


def test_the_ledger_holds_every_proposal_and_group_with_its_fate(run):
    folder, _ = run
    proposals, groups = ledger(folder, "proposal"), ledger(folder, "group")
    assert [record["id"] for record in proposals] == list(range(len(proposals)))
    assert [record["id"] for record in groups] == list(range(len(groups)))
    assert all(record["keep"] or record["reason"] for record in proposals + groups)
    accepted = {f"proposal:{r['id']}": r["text"] for r in proposals if r["keep"]}
    assert all(accepted[group["origin"]] == group["instruction"] for group in groups)
    kept = [g["majority_ratio"] for g in groups if g["keep"]]
    assert kept
    assert all(0.2 <= ratio <= 0.8 for ratio in kept)


def test_the_run_folder_keeps_private_things_where_a_push_skips_them(run):
    folder, _ = run
    private = {path.name for path in (folder / "_serl").iterdir()}
    assert {"config.yaml", "metrics.jsonl", "ledger.jsonl"} <= private
    public = {path.name for path in folder.iterdir() if not path.name.startswith("_")}
    assert not {name for name in public if name.endswith((".jsonl", ".yaml"))}
    assert {"model.safetensors", "README.md", "tokenizer.json"} <= public


def test_the_resolved_config_can_be_read_back(run):
    folder, trainer = run
    config = yaml.safe_load((folder / "_serl" / "config.yaml").read_text())
    assert config["learning_rate"] == trainer.args.learning_rate
    assert config["max_steps"] == 3


def test_the_model_card_names_the_method_and_the_paper(run):
    card = (run[0] / "README.md").read_text()
    assert "SeRL" in card
    assert "2505.20347" in card


def test_own_work_is_timed_apart_from_generation(run):
    _, trainer = run
    steps = [entry for entry in trainer.state.log_history if "serl/num_groups" in entry]
    parts = ("filter", "vote", "propose", "rollout", "own", "refill")
    taken = {part: sum(entry[f"serl/time/{part}_s"] for entry in steps) for part in parts}
    assert all(seconds > 0 for seconds in taken.values()), taken
    # Filters and votes are own work: timed inside generation, they would be missing here.
    assert taken["filter"] + taken["vote"] <= taken["own"]
    generated = taken["propose"] + taken["rollout"]
    assert taken["own"] == pytest.approx(taken["refill"] - generated, abs=1e-3)


def test_the_same_seed_gives_the_same_run(tmp_path):
    trainers = [make(tmp_path / str(i)) for i in range(2)]
    for trainer in trainers:
        trainer.train()
    assert torch.equal(*(weights(trainer) for trainer in trainers))


@pytest.mark.slow
def test_measuring_changes_no_training(tmp_path):
    plain, watched = make(tmp_path / "plain"), make(tmp_path / "watched", probe_steps=1)
    watched.probe_set = heldout()[:3]
    plain.train()
    watched.train()
    assert torch.equal(weights(plain), weights(watched))
    assert any("serl/probe/pass@1" in entry for entry in watched.state.log_history)


def test_rollouts_are_made_with_the_weights_of_their_own_step(tmp_path):
    trainer = make(tmp_path, max_steps=3)
    seen = []
    roll_out = trainer.policy.roll_out

    def spy(instructions):
        seen.append((trainer.state.global_step, weights(trainer).sum().item()))
        assert trainer.model.training
        return roll_out(instructions)

    trainer.policy.roll_out = spy
    trainer.train()
    by_step = dict(seen)
    assert len(set(by_step.values())) == 3
    assert all(by_step[step] == total for step, total in seen)


@pytest.mark.parametrize("advantage", ["grpo", "reinforce_pp", "reinforce_pp_baseline"])
def test_every_advantage_kind_trains(tmp_path, advantage):
    trainer = make(tmp_path, advantage=advantage, beta=0.01, max_steps=1)
    before = weights(trainer).clone()
    trainer.train()
    assert not torch.equal(weights(trainer), before)
    logged = trainer.state.log_history[0]
    assert ("kl" in logged) == (advantage != "reinforce_pp")
    assert ("serl/kl_in_return" in logged) == (advantage == "reinforce_pp")


def test_stale_groups_carry_the_log_probs_of_the_policy_that_sampled_them(tmp_path):
    trainer = make(
        tmp_path, max_staleness=2, num_requests=4, max_steps=4, learning_rate=1e-3, use_band=False
    )
    seen = []
    loss = trainer.compute_loss

    def spy(model, inputs, *args, **kwargs):
        seen.append("old_per_token_logps" in inputs)
        return loss(model, inputs, *args, **kwargs)

    trainer.compute_loss = spy
    trainer.train()
    used = sum(entry.get("serl/num_stale_used", 0) for entry in trainer.state.log_history)
    assert used > 0
    assert any(seen)


def test_further_rewards_are_added_by_weight(tmp_path):
    def brevity(completions, **_):
        return [-float(len(c[0]["content"])) for c in completions]

    trainer = make(tmp_path, reward_funcs=brevity, reward_weights=[1.0, 0.01], max_steps=1)
    trainer.train()
    logged = trainer.state.log_history[0]
    assert {"rewards/vote_reward/mean", "rewards/brevity/mean"} <= set(logged)
    expected = logged["rewards/vote_reward/mean"] + 0.01 * logged["rewards/brevity/mean"]
    assert logged["reward"] == pytest.approx(expected, abs=1e-4)


def test_iterations_reset_optimizer_schedule_reference_and_pool_in_place(tmp_path):
    trainer = make(
        tmp_path,
        max_steps=4,
        instructions_per_iteration=8,
        num_selfplay_iterations=2,
        beta=0.01,
        lr_scheduler_type="linear",
    )
    assert trainer.args.steps_per_iteration == 2
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]
    assert rates[0] == rates[2] == 5e-5
    assert rates[1] == rates[3] == 2.5e-5
    assert (tmp_path / "_serl" / "iterations" / "1" / "model.safetensors").is_file()
    steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps == {2}
    boundary = ledger(tmp_path, "iteration")
    assert [(record["step"], record["number"]) for record in boundary] == [(2, 2)]
    saved = type(trainer.model).from_pretrained(tmp_path / "_serl" / "iterations" / "1")
    left = torch.cat([p.flatten() for p in saved.parameters()])
    right = torch.cat([p.flatten() for p in trainer.ref_model.parameters()])
    assert torch.equal(left, right)


def test_a_run_whose_groups_never_fit_the_band_stops_with_a_diagnosis(tmp_path):
    trainer = make(
        tmp_path,
        difficulty_low=0.99,
        difficulty_high=1.0,
        temperature=5.0,
        max_refill_rounds=2,
        max_empty_refills=2,
        max_completion_length=16,
    )
    before = weights(trainer).clone()
    trainer.train()
    assert trainer.state.global_step == 0
    assert "2 refills in a row found no group" in trainer.starved
    assert ledger(tmp_path, "starved")[0]["diagnosis"] == trainer.starved
    assert torch.equal(weights(trainer), before)


def test_resuming_a_finished_run_trains_no_further_step(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    trainer = make(tmp_path, **options)
    trainer.train()
    resumed = make(tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert resumed.state.global_step == 1
    assert torch.equal(weights(trainer), weights(resumed))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed_set": ["Only one problem is given here."]}, "fewer than num_shots=8"),
        ({"seed_set": ["A fine <|im_end|> problem."] * 8}, "special token"),
        ({"label_reward": "none"}, "needs at least one reward function"),
        ({"label_reward": "gold"}, "needs gold_oracle"),
        ({"label_reward": "gold", "sources": ["given"]}, "lacks 64 of 64"),
        ({"proposer_max_tokens": 5000}, "leaves no room for a request"),
    ],
)
def test_what_cannot_work_is_refused_before_training(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **options)


def test_gold_rewards_on_given_prompts(tmp_path):
    rows = heldout()[:16]
    data = Dataset.from_list([{"problem": r["instruction"], "answer": r["answer"]} for r in rows])
    trainer = make(
        tmp_path,
        seed_set=data,
        sources=["given"],
        label_reward="gold",
        use_band=False,
        shuffle_dataset=False,
        max_steps=1,
    )
    trainer.train()
    groups = ledger(tmp_path, "group")
    assert [group["gold"] for group in groups] == [row["answer"] for row in rows[: len(groups)]]
    assert "rewards/gold_reward/mean" in trainer.state.log_history[0]


def test_proposals_are_shown_with_their_fate(tmp_path):
    judged = make(tmp_path).propose(10)
    assert len(judged) == 10
    assert all(item.text and item.shots for item in judged)
    assert all(item.verdict.keep or item.verdict.reason for item in judged)


def test_a_tokenizer_that_begins_texts_with_a_mark_counts_as_the_check_does(tmp_path):
    tokenizer = load_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{tokenizer.pad_token} $A",
        special_tokens=[(tokenizer.pad_token, tokenizer.pad_token_id)],
    )
    tokenizer.add_tokens(["<think>"])
    seeds = seed_set()
    bare = [len(tokenizer(seed, add_special_tokens=False)["input_ids"]) for seed in seeds]
    assert len(tokenizer(seeds[0])["input_ids"]) == bare[0] + 1

    options = {**SMALL, "max_instruction_tokens": max(bare)}
    config = SeRLConfig(output_dir=str(tmp_path), **options)
    model = load_model()
    # A token beyond the embedding is refused.
    model.resize_token_embeddings(len(tokenizer))
    trainer = SeRLTrainer(model, config, seeds, processing_class=tokenizer)

    verdict = trainer.selfplay.proposing.filter.judge(
        "How many <think> apples does Tom have if he buys 3?"
    )
    assert verdict.reason == "special_token"


def test_logged_completions_reach_the_terminal_without_its_control_characters(tmp_path, capsys):
    trainer = make(tmp_path, log_completions=True)
    text = "\x1b]52;c;aGk=\x07\x1b[2J hi"
    messages = [{"role": "assistant", "content": text}]
    for name, value in {"prompt": text, "completion": messages, "advantages": 0.0}.items():
        trainer._logs[name].append(value)
    trainer._logs["rewards"]["vote_reward"].append(1.0)

    trainer.log({"loss": 0.0})

    shown = capsys.readouterr().out
    assert "[2J hi" in shown
    assert "\x1b]52" not in shown
    assert "\x1b[2J" not in shown


def odd_seconds(_: str) -> Verdict:
    """A filter of the user's that would decide otherwise in every process."""
    return Verdict(False, f"at {time.perf_counter_ns()}")


def test_a_filter_of_the_users_own_is_asked_in_one_process(tmp_path):
    trainer = make(tmp_path, proposal_filters=f"length,{__name__}.odd_seconds", plugins=[__name__])
    told = []

    def decide(work):
        told.append(work())
        return told[-1]

    trainer.policy.decide = decide
    text = "How many apples does Tom have?"
    verdicts = [trainer.selfplay.proposing.filter.judge(text) for _ in range(2)]
    assert verdicts == told


def test_warnings_of_the_configuration_come_from_the_first_process(tmp_path, caplog, monkeypatch):
    evaluation_sets = {"exam": seed_set()[:3]}

    def warnings_of(folder: Path) -> str:
        caplog.clear()
        config = SeRLConfig(output_dir=str(folder), **SMALL, proposer_stop=["x"])
        arguments = {"processing_class": load_tokenizer(), "evaluation_sets": evaluation_sets}
        SeRLTrainer(load_model(), config, seed_set(), **arguments)
        return caplog.text

    said = ("overlap an evaluation set", "proposer_presence_penalty=", "proposer_stop=")
    first = warnings_of(tmp_path / "a")
    assert all(part in first for part in said)
    monkeypatch.setattr(SeRLTrainer, "is_world_process_zero", lambda self: False)
    other = warnings_of(tmp_path / "b")
    assert not any(part in other for part in said)


def test_a_vote_that_may_outlast_the_others_patience_is_warned_of(tmp_path, caplog):
    trainer = make(tmp_path, ddp_timeout=200)
    note_long_votes(trainer)
    assert "ddp_timeout=200 seconds is not above the 2" in caplog.text
    caplog.clear()
    trainer.args.ddp_timeout = 1800
    note_long_votes(trainer)
    assert caplog.text == ""
