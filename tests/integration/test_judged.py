"""`serl check` on data of the user: seeds against the filters, golds and band against the kind."""

import json
from pathlib import Path

import pytest
import yaml

from serl_trl import sandbox
from serl_trl.cli.entry import main
from serl_trl.cli.judged import num_choices
from serl_trl.train.config import SeRLConfig

GERMAN = [
    f"Lena hat {n} Äpfel und isst {n % 3 + 1} davon. Wie viele Äpfel hat sie jetzt noch?"
    for n in range(5, 25)
]
CHOICES = [f"Which is largest? (A) {n} (B) {n + 1} (C) {n + 2} (D) {n - 1}" for n in range(20)]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def check(seeds: list[str], answers: list[str] | None = None, **values) -> tuple[int, dict]:
    """Run `serl check` on the sandbox's model with these seeds; return its code and its report."""
    rows = [{"question": text} for text in seeds]
    for row, answer in zip(rows, answers or (), strict=False):
        row["answer"] = answer
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    Path("seeds.jsonl").write_text(lines, encoding="utf-8")
    content = yaml.safe_load(sandbox.CONFIG_PATH.read_text())
    for name in ("difficulty_low", "difficulty_high", "gold_oracle", "probe_set", "probe_steps"):
        content.pop(name, None)
    content |= {"seed_set": "seeds.jsonl", "output_dir": "run", **values}
    Path("run.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    code = main(["check", "--config", "run.yaml", "--json", "out.json"])
    return code, json.loads(Path("out.json").read_text()) if code == 0 else {}


def test_seeds_that_the_filters_refuse_are_counted_with_the_option_to_change(capsys):
    code, found = check(GERMAN)

    assert code == 0
    assert found["seeds_refused"] == [
        "20 of 20 that were looked at",
        "language refuses 20 (another language or script than expected), such as "
        "'Lena hat 5 Äpfel und isst 3 davon. Wie viele Äpfel hat si...' and "
        "'Lena hat 6 Äpfel und isst 1 davon. Wie viele Äpfel hat si...'",
    ]
    kept = (
        "length,special_tokens,question,one_question,figure,program,answer_leak,model_talk,"
        "unfinished,validity,tokens"
    )
    assert found["to_change"] == [
        "language (its code, such as de); proposals like 20 of 20 seeds would be refused"
    ]
    assert capsys.readouterr().out.endswith("but it may learn little, see `to change`\n")
    assert check(GERMAN, proposal_filters=kept)[1]["seeds_refused"] == []
    _, listed = check(GERMAN, proposal_filters=f"{kept},language")
    assert listed["to_change"] == [
        f"proposal_filters: {kept}; proposals like 20 of 20 seeds would be refused"
    ]


def test_the_language_of_the_seeds_sets_english_filters_aside():
    _, found = check(GERMAN, language="de")

    assert found["seeds_refused"] == found["to_change"] == []
    assert "filter figure: it reads English" in found["not_applied"]


def test_a_filter_of_numbers_is_changed_by_its_numbers():
    _, found = check(GERMAN, proposal_filters="length", min_words=20)

    assert found["to_change"] == [
        "min_words or max_words; proposals like 20 of 20 seeds would be refused"
    ]


def test_texts_that_ask_nothing_are_told_of_the_template():
    _, found = check([f"A film of {n} hours that nobody in the room forgets" for n in range(9)])

    assert found["to_change"][0].startswith(
        "task_template (for texts that ask nothing) or proposal_filters: length,special_tokens,"
    )


def test_seeds_are_not_judged_where_nothing_is_proposed():
    _, found = check(GERMAN, sources=["given"])

    assert found["seeds_refused"] == found["to_change"] == []


def test_labels_that_golds_use_and_the_kind_does_not_know_are_named(capsys):
    golds = ["yes", "no", "maybe", "maybe", "unclear"] * 4
    code, _ = check(CHOICES, golds, answer_kind="label")

    assert code == 2
    said = capsys.readouterr().err
    assert "(the kind knows yes, no, and not 'maybe' (8), 'unclear' (4)); choose the kind" in said


def test_a_band_that_noise_passes_is_to_change():
    _, found = check(CHOICES, answer_kind="choice(num_choices=4)", difficulty_low=0.4)

    assert found["noise_in_band"] == pytest.approx(0.315, abs=0.001)
    assert found["to_change"] == [
        "difficulty_low: 0.5 and difficulty_high: 0.8, once `serl try` reads an answer in nearly "
        "every completion; 32% of groups of 16 random votes over 4 answers pass the band"
    ]


def test_without_a_band_of_the_user_the_default_follows_from_chance():
    _, found = check(CHOICES, answer_kind="choice(num_choices=4)")

    assert found["kept_majority_ratios"] == "8/16 to 15/16"
    assert found["noise_in_band"] < 0.11
    assert found["to_change"] == []


def test_the_number_of_choices_is_read_off_the_seeds():
    _, found = check(CHOICES, answer_kind="choice")

    assert found["to_change"][0].startswith("num_choices=4 in answer_kind, as the seeds have; ")
    assert num_choices(["Is it (A) or (B)?", "A. one\nB. two"]) == 2
    assert num_choices(["Is it (A) or (B)?", "What is it?", "Why?"]) is None
    assert num_choices([]) is None


def test_paths_are_tried_beside_the_config_too_and_both_folders_are_named(capsys, tmp_path):
    assert check(CHOICES, answer_kind="choice(num_choices=4)")[0] == 0
    moved = tmp_path / "domain"
    moved.mkdir()
    Path("run.yaml").rename(moved / "run.yaml")
    assert main(["check", "--config", "domain/run.yaml"]) == 0
    Path("seeds.jsonl").rename(moved / "seeds.jsonl")
    assert main(["check", "--config", "domain/run.yaml"]) == 0
    (moved / "seeds.jsonl").unlink()
    capsys.readouterr()

    assert main(["check", "--config", "domain/run.yaml"]) == 2
    said = capsys.readouterr().err
    assert f"does not exist (looked in {tmp_path})" in said
    assert f"; {moved} was looked in too)" in said


def test_a_config_has_its_texts_in_its_language(capsys):
    cpu = {"use_cpu": True, "bf16": False}

    german = SeRLConfig("run", language="de", domain="Chemie", **cpu)
    assert german.style.fill(german.proposer_request) == "Aufgaben aus dem Bereich Chemie:"
    assert check(GERMAN, language="Deutsch")[0] == 2
    assert "language=Deutsch is not the code of a language; write en, de" in capsys.readouterr().err


def test_a_config_knows_its_band_and_whether_the_user_gave_it():
    cpu = {"use_cpu": True, "bf16": False}

    derived = SeRLConfig("run", answer_kind="label", **cpu)
    assert (derived.difficulty_low, derived.difficulty_high) == (0.75, 0.9375)
    assert derived.band_is_derived
    paper = SeRLConfig.from_preset("paper", answer_kind="label", output_dir="run", **cpu)
    assert (paper.difficulty_low, paper.difficulty_high) == (0.2, 0.8)
    assert not paper.band_is_derived
