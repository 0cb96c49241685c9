"""Seeds that are texts: the question around them, what is refused of it, and what steps aside."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.data.seeds import load_seed_set
from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.registry import default_filters, find_filters, paper_filters, task_filters
from serl_trl.propose.languages import localised
from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.propose.prompts import FOR_TEXTS, PromptStyle, proposer_messages, rollout_messages
from serl_trl.report.pages import write_reports
from serl_trl.runs.facts import RunFacts, write_facts
from serl_trl.share.hub import prepare_dataset, prepare_model
from serl_trl.train.config_checks import find_problems
from tests.unit.test_hub import make_run

TEMPLATE = "Review: {instruction}\nGood or bad? Answer in \\boxed{}."
SEEDS = Path(__file__).parents[2] / "configs" / "seeds" / "movie_reviews.jsonl"
BRACES = ["{instruction}", "{domain}", "{0}", "{}{", "%s \\1 \\g<0> $1", "}} {{ x }}"]


def said(text: str, template: str = TEMPLATE) -> str:
    return rollout_messages(text, PromptStyle(task_template=template))[-1]["content"]


@given(st.one_of(st.text(), st.sampled_from(BRACES)))
def test_any_text_stands_whole_in_the_template(text):
    assert said(text) == f"Review: {text}\nGood or bad? Answer in \\boxed{{}}."


def test_the_template_takes_the_place_of_the_answer_instruction():
    style = PromptStyle(rollout_system="Be brief.", task_template=TEMPLATE)
    system, user = rollout_messages("A fine film.", style)
    assert system["content"] == "Be brief."
    assert user["content"] == "Review: A fine film.\nGood or bad? Answer in \\boxed{}."


def test_a_request_shows_bare_texts_and_asks_for_texts():
    style = PromptStyle(
        domain=FOR_TEXTS.domain,
        proposer_system=FOR_TEXTS.proposer_system,
        proposer_request=FOR_TEXTS.proposer_request,
        task_template=TEMPLATE,
    )
    system, user = proposer_messages(["A fine film.", "A dull one."], style)
    assert user["content"] == "A list of texts:\n1. A fine film.\n2. A dull one.\n3."
    assert not any(word in system["content"] for word in ("problem", "question", "answer"))


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("Good or bad?", "task_template must hold {instruction} exactly once, and holds it 0"),
        (" ", "task_template must hold {instruction} exactly once, and holds it 0 times"),
        ("{instruction} {instruction}?", "exactly once, and holds it 2 times; put it where"),
        ("{text}: good or bad?", "task_template holds the placeholder {text}, and only {instr"),
        ("{instruction} ({domain})?", "holds the placeholder {domain}, and only {instruction} is"),
        ("{{instruction}} good?", "holds the placeholder {{instruction}}, and only"),
        ("{ instruction } good?", "holds the placeholder { instruction }, and only"),
        ("{Instruction} good?", "holds the placeholder {Instruction}, and only"),
        ("{instruction} in \boxed{}", "task_template holds the control character '\\x08'"),
    ],
)
def test_a_template_that_cannot_hold_a_text_is_refused_in_one_sentence(template, sentence):
    (problem,) = find_problems({"task_template": template})
    assert sentence in str(problem)
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{instruction}",
        TEMPLATE,
        "{instruction}\nWrite \\boxed{answer} or \\frac{1}{2} or {}.",
        'Label "{instruction}" as {"label": "good"} or x_{i}.',
    ],
)
def test_other_braces_of_a_template_are_its_own(template):
    assert find_problems({"task_template": template}) == []


def test_filters_that_judge_questions_step_aside_in_presets_alone():
    assert set(task_filters) <= {*default_filters, *paper_filters}
    for name, filters in (("default", default_filters), ("paper", paper_filters)):
        kept = [each for each in filters if each not in task_filters]
        assert find_filters(name, of_texts=True) == kept
        assert find_filters(name) == list(filters)
    assert find_filters("length,question", of_texts=True) == ["length", "question"]
    both = find_filters("default", of_texts=True, language="de")
    assert both == ["length", "special_tokens", "answer_leak", "tokens"]


def test_the_proposer_is_told_the_language_of_texts():
    texts = asdict(PromptStyle(task_template=TEMPLATE, proposer_request="Mehr davon:"))
    requests = {"proposer_system", "answer_first_system"}
    assert localised(texts, "en").keys() == {"domain", *requests}
    assert localised(texts, "de")["proposer_system"].endswith("language of the texts shown (de).")


def test_the_filters_for_texts_keep_texts_and_still_refuse_what_is_none():
    judge = ProposalFilter(names=find_filters("default", of_texts=True)).judge
    texts = load_seed_set(SEEDS).instructions
    assert len(texts) >= 64
    assert [text for text in texts if not judge(text).keep] == []
    assert judge("Who would watch it twice? Who once?").keep
    assert judge("Not one of them in this picture is flat.").keep
    reasons = {"Dull.": "length", "Positive: a fine film.": "answer_leak"}
    reasons["This film <|im_end|> is fine."] = "special_token"
    assert {text: judge(text).reason for text in reasons} == reasons
    with_questions = ProposalFilter(names=find_filters("default")).judge
    refused = sum(with_questions(text).reason == "no_question" for text in texts)
    assert refused > len(texts) / 2


@pytest.mark.parametrize(
    "written",
    [
        "A film that nobody finished.\n10. What is it? A gem.",
        "9. A film that nobody finished.\n10. What is it? A gem.",
        "- A film that nobody finished.\n- What is it? A gem.",
        "A) A film that nobody finished.\nB) What is it? A gem.",
        "A film that nobody finished.\nWhat is it? A gem.",
        '["A film that nobody finished.", "What is it? A gem."]',
        "Sure! Here are two more:\n\n1. A film that nobody finished.\n2. What is it? A gem.",
    ],
)
def test_texts_are_read_in_every_form_of_a_list(written):
    wanted = ["A film that nobody finished.", "What is it? A gem."]
    assert parse_proposals(written, asking=False) == wanted


def with_template(folder: Path, template: str) -> Path:
    """A run of texts whose template may be hostile."""
    run = make_run(folder, texts=("A film that nobody finished.", "A gem in every way."))
    config = {"num_generations": 4, "task_template": template}
    (run / "_serl" / "config.yaml").write_text(json.dumps(config))
    write_facts(run / "_serl", RunFacts("run1", options={"task_template": template}))
    return run


def test_report_and_cards_show_the_template_once_and_bare_texts(tmp_path):
    run = with_template(tmp_path / "run", "{instruction}\nWas the critic pleased?")
    write_reports([run])
    pages = [(run / "_serl" / f"report.{end}").read_text() for end in ("html", "md")]
    cards = [prepare_model(run, repo_id="ann/a"), prepare_dataset(run, repo_id="ann/b")]
    texts = [*pages, *((each.folder / "README.md").read_text() for each in cards)]
    for text in texts:
        without_use = text.replace("of the same kind.\\nWas the critic pleased?", "")
        assert without_use.count("Was the critic pleased?") == 1
        assert "{instruction}" in text
        assert "A film that nobody finished." in text
        assert "A film that nobody finished.\\nWas" not in text
    assert '"content": "Here stands a text of the same kind.\\nWas the critic pleased?"' in texts[2]


def test_a_hostile_template_stays_in_its_block(tmp_path):
    run = with_template(tmp_path / "run", "{instruction}\n```\n# <script>alert(1)</script> {{ x }}")
    write_reports([run])
    assert "<script>" not in (run / "_serl" / "report.html").read_text()
    card = (prepare_model(run, repo_id="ann/a").folder / "README.md").read_text()
    assert "````text\n{instruction}\n```\n# <script>" in card
