"""Another language: which filters step aside, and which prompt texts replace the English ones."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from serl_trl.filters.registry import (
    MAX_CHARS,
    default_filters,
    english_filters,
    filter_options,
    find_filters,
)
from serl_trl.filters.seeds import MAX_JUDGED, judge_seeds, spread
from serl_trl.propose import languages
from serl_trl.propose.languages import CODE, is_english, localised
from serl_trl.propose.prompts import PromptStyle

ENGLISH = asdict(PromptStyle())
SEEDS = Path(__file__).parents[2] / "configs" / "seeds" / "german.jsonl"
OPTIONS = filter_options(min_words=4, max_words=150)


@pytest.mark.parametrize("language", ["de", "es", "fr"])
def test_each_text_of_a_known_language_says_what_the_english_one_holds(language):
    texts = localised(ENGLISH, language)

    assert texts.keys() == ENGLISH.keys() - {"rollout_system", "task_template"}
    assert "{domain}" in texts["proposer_system"]
    assert "{domain}" in texts["proposer_request"]
    assert "\\boxed{}" in texts["answer_instruction"]


def test_the_table_of_texts_holds_only_texts_of_the_style():
    table = yaml.safe_load(Path(languages.__file__).with_name("texts.yaml").read_text())

    for code, texts in table.items():
        assert CODE.fullmatch(code)
        assert texts.keys() <= {each.name for each in fields(PromptStyle)}
        assert all(text == text.strip() for text in texts.values())


def test_a_text_of_the_user_stays():
    assert "domain" not in localised({**ENGLISH, "domain": "Chemie"}, "de-AT")


def test_a_language_without_texts_is_named_to_the_proposer():
    texts = localised(ENGLISH, "nl")

    assert texts.keys() == {"proposer_system", "answer_first_system"}
    for name, text in texts.items():
        assert text.startswith(ENGLISH[name])
        assert text.endswith("(nl).")


def test_english_changes_nothing():
    assert localised(ENGLISH, "en-GB") == {}
    assert find_filters("default", language="en-US") == list(default_filters)
    assert not is_english("eng")


def test_english_filters_of_the_default_step_aside_and_those_of_a_list_stay():
    kept = ["length", "special_tokens", "question", "answer_leak", "unfinished", "tokens"]

    assert find_filters("default", language="de") == kept
    assert find_filters("length,figure", language="de") == ["length", "figure"]
    assert set(kept) | set(english_filters) == set(default_filters)


@pytest.mark.parametrize("code", ["Deutsch", "d", "de_DE", "", "de-", "DE"])
def test_what_is_no_code_is_told(code):
    assert not CODE.fullmatch(code)


def test_the_german_seeds_pass_what_stays():
    seeds = [json.loads(line)["question"] for line in SEEDS.read_text("utf-8").splitlines()]
    assert len(set(seeds)) == 64

    names = [name for name in find_filters("default", language="de") if name != "tokens"]
    assert judge_seeds(seeds, names, OPTIONS).num_refused == 0
    in_english = judge_seeds(seeds, ["language", "length"], OPTIONS)
    assert [each.filter for each in in_english.refusals] == ["language"]
    assert in_english.refusals[0].num > 32


def test_of_many_seeds_a_part_is_judged_that_is_spread_evenly():
    seeds = ["What is 2 plus 3?"] * (2 * MAX_JUDGED - 1) + ["no"]

    judged = judge_seeds(["no", *seeds], ["length"], OPTIONS)

    assert (judged.num_judged, judged.num_refused) == (MAX_JUDGED, 1)
    assert judged.refusals[0].examples == ("no",)
    assert judge_seeds([], ["length"], OPTIONS).num_judged == 0


def test_fewer_of_long_seeds_are_judged_so_that_a_check_stays_short():
    long = ["What is 2 plus 3? " * 200] * 1000

    assert len(spread(long)) == 20
    assert len(spread(["word " * 10**6])[0]) == MAX_CHARS
    assert len(spread(["What is 2 plus 3?"] * 1000)) == MAX_JUDGED
