"""Whatever a model writes is read in time that grows no faster than its length."""

import dataclasses
import random
import re
from typing import Any

import pytest

from serl_trl import filters
from serl_trl.answers.equality import KINDS, get_kind
from serl_trl.answers.golds import read_gold
from serl_trl.common.completion import Completion
from serl_trl.filters import gate
from serl_trl.filters.contamination import ContaminationGuard
from serl_trl.filters.novelty import NoveltyRule
from serl_trl.filters.validity.abstention import gives_up
from serl_trl.filters.validity.restatement import keeps_sense, read_restatement
from serl_trl.labels.dual import hide_number
from serl_trl.labels.judge import Judge
from serl_trl.labels.novelty_vote import count_words
from serl_trl.labels.verified_vote import confirms
from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.report.blocks import Excerpt, Report, written
from serl_trl.report.render import render_html, render_markdown
from tests.unit.growth import Reader, faster_than_linear, read_by_functions

# Every option of a kind, with a value that changes how it reads; "" stands for none.
KIND_OPTIONS = {
    "lenient": True,
    "labels": "entailment",
    "num_choices": 4,
    "min_f1": 0.5,
    "abs_tol": 0.1,
    "rel_tol": 0.1,
    "several": False,
    "ordered": True,
}
BOUNDS: dict[str, Any] = {"max_words": 10**9, "max_tokens": 10**9, "count_tokens": len}
KNOWN = [f"What is the sum of {n} apples and {n + 1} pears?" for n in range(8)]


def options_of(name: str) -> list[str]:
    fields = [field.name for field in dataclasses.fields(get_kind(name)) if field.name != "name"]
    return [field for field in fields if name != "set" or field != "ordered"]


def readers() -> dict[str, Reader]:
    found = read_by_functions()
    for name in KINDS:
        for option in ["", *options_of(name)]:
            text = f"{name}({option}={KIND_OPTIONS.get(option)!r})" if option else name
            kind = get_kind(text)
            if option in ("", "lenient"):
                found[f"kind {text} extract"] = kind.extract
            if option != "lenient":
                found[f"kind {text} canonical"] = kind.canonical
                found[f"kind {text} equal"] = lambda text, kind=kind: kind.equal(text, text + "1")
        found[f"kind {name} gold"] = lambda text, name=name: read_gold(text, name)
    found["proposals that are texts"] = lambda text: parse_proposals(text, asking=False)
    found["hidden number"] = lambda text: hide_number(text, random.Random(0))
    found["restatement"] = lambda text: read_restatement(KNOWN[0], Completion(text, [0], False))
    found["sense of a restatement"] = lambda text: keeps_sense(text, f"{text} ?")
    for read in (confirms, Judge().mark):
        found[f"reply {read.__name__}"] = lambda text, read=read: read(Completion(text, [0], False))
    found["abstention"] = lambda text: gives_up(Completion(text, [0], False))
    for name in filters.filter_names():
        found[f"filter {name}"] = filters.ProposalFilter(
            names=[name], novelty="plain", special_tokens=["<|end|>"], **BOUNDS
        ).judge
    found["words of a completion"] = lambda text: count_words([text, text])
    found["contamination"] = ContaminationGuard({"test": KNOWN}, ngram=5, max_rouge_l=0.7).judge
    for kind in ("math", "plain"):
        rule = NoveltyRule(kind=kind, max_rouge_l=0.7, max_per_template=3)
        rule.add(KNOWN)
        found[f"novelty {kind}"] = rule.judge
    for render in (render_markdown, render_html):
        found[render.__name__] = lambda text, render=render: render(
            Report(text, text, (Excerpt(written(text, max_chars=10**9), notes=(text,)),))
        )
    return found


READERS = readers()


def test_every_option_of_every_kind_is_tried():
    assert {option for name in KINDS for option in options_of(name)} <= KIND_OPTIONS.keys()


@pytest.mark.parametrize("name", READERS)
def test_time_grows_no_faster_than_the_text(name, monkeypatch):
    # The chain refuses long texts unread; its filters must not need that.
    monkeypatch.setattr(gate, "MAX_CHARS", 10**9)

    assert faster_than_linear(READERS[name], boxed=name.startswith("kind")) == []


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", pytest.param(r"\s+$", marks=pytest.mark.slow), "(?:a|aa)+b"]
)
def test_a_bad_pattern_is_found(pattern):
    assert faster_than_linear(re.compile(pattern).search)
