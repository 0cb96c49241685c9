"""Requests and their budget; what the parser promises of any text."""

import json
import random
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.propose.pool import InstructionPool, Shots
from serl_trl.propose.prompts import PromptStyle
from serl_trl.propose.sources.few_shot import FewShot

STYLE = PromptStyle(proposer_system="Write problems.", proposer_request="Problems:")
SEEDS = [f"What is {number} plus {number + 1}?" for number in range(10)]


def count_words(messages):
    return sum(len(message["content"].split()) for message in messages)


def make_requests(pool, rng=None, **changes):
    options = {"num_requests": 1, "num_shots": 4, "num_pool_shots": 2, "style": STYLE}
    source, rng = FewShot(**{**options, **changes}), rng or random.Random(0)
    return [source.request(pool, rng) for _ in range(source.num_requests)]


def test_a_request_lists_its_shots_and_leaves_the_next_number_open():
    (request,) = make_requests(InstructionPool(SEEDS))
    content = request.messages[-1]["content"]
    lines = [f"{n}. {text}" for n, text in enumerate(request.shots.texts, start=1)]
    assert content.splitlines() == ["Problems:", *lines, "5."]
    assert len(request.shots.texts) == len(request.shots.origins) == 4


def test_a_request_too_long_loses_its_longest_shots_and_never_its_end():
    pool = InstructionPool([*SEEDS[:3], "long " * 50])
    (request,) = make_requests(pool, max_request_tokens=30, count_tokens=count_words)
    assert count_words(request.messages) <= 30
    assert request.messages[-1]["content"].endswith("\n4.")
    assert set(request.shots.origins) == {"seed:0", "seed:1", "seed:2"}


def test_only_shots_that_are_shown_count_as_used():
    pool = InstructionPool([*SEEDS[:3], "long " * 50])
    make_requests(pool, max_request_tokens=30, count_tokens=count_words)
    assert pool.state_dict()["uses"] == {"seed:0": 1, "seed:1": 1, "seed:2": 1}


def test_a_budget_too_small_for_any_request_says_so():
    with pytest.raises(ValueError, match="max_request_tokens=3 cannot hold"):
        make_requests(InstructionPool(SEEDS), max_request_tokens=3, count_tokens=count_words)


def test_requests_repeat_with_the_same_random_state():
    first = make_requests(InstructionPool(SEEDS), random.Random(7), num_requests=3)
    second = make_requests(InstructionPool(SEEDS), random.Random(7), num_requests=3)
    assert first == second
    assert len({request.shots for request in first}) > 1


def test_a_request_without_shots_is_possible():
    (request,) = make_requests(InstructionPool([]))
    assert request.shots == Shots((), ())
    assert request.messages[-1]["content"].endswith("1.")


@given(st.integers(0, 60), st.integers(0, 2**32))
def test_every_request_fits_its_budget_or_the_budget_is_refused(budget, seed):
    rng = random.Random(seed)
    pool = InstructionPool([" ".join(["word"] * rng.randrange(1, 30)) for _ in range(6)])
    try:
        requests = make_requests(
            pool, rng, num_requests=3, max_request_tokens=budget, count_tokens=count_words
        )
    except ValueError:
        assert budget < count_words(make_requests(InstructionPool([]))[0].messages)
        return
    for request in requests:
        assert count_words(request.messages) <= budget
        assert request.messages[-1]["content"].endswith(f"{len(request.shots.texts) + 1}.")


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]), max_size=400)
LISTS = st.lists(
    st.sampled_from(
        [
            "1. ",
            "2) ",
            "\n10. ",
            "\n",
            "\n\n",
            " ",
            "**",
            "$",
            "\\[",
            "\\begin{align}",
            "\\end{align}",
        ]
        + [
            "Answer: 7",
            "Sure!",
            "Question: ",
            "What is 2?",
            "- ",
            "```",
            "[",
            '"',
            "{",
            "a) ",
            ": ",
        ]
        + [
            "\\item ",
            "\\begin{enumerate}",
            "\\end{enumerate}",
            "\x1b[31m",
            "\u202e",
            "e\u0301",
            "\ud800",
        ]
        + ["### ", "</think>", "|", "\t", "Here are more problems:", "I hope", "Problem 3", "#"]
    ),
    max_size=40,
).map("".join)


@given(ANY_TEXT | LISTS, st.booleans())
def test_any_text_gives_clean_items_and_never_raises(text, truncated):
    for item in parse_proposals(text, truncated=truncated):
        assert item == " ".join(item.split())
        assert item
        assert item == unicodedata.normalize("NFC", item)
        assert not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in item)
        assert not set(item) & set(
            "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
        )


@given(LISTS)
def test_truncation_only_takes_from_the_end(text):
    whole = parse_proposals(text)
    cut = parse_proposals(text, truncated=True)
    assert cut == whole[: len(cut)]


WORDS = st.lists(
    st.sampled_from(
        [
            "find",
            "the",
            "sum",
            "of",
            "$x^2$",
            "and",
            "3.5",
            "apples",
            "(in",
            "cm)",
            "\\frac{1}{2}",
            "Ann's",
        ]
    ),
    min_size=3,
    max_size=12,
)


@given(
    st.lists(WORDS, min_size=1, max_size=8), st.sampled_from(["{}. ", "{}) ", "**{}.** ", "({}) "])
)
def test_a_list_that_was_written_is_read_back(items, marker):
    texts = ["What is it: " + " ".join(words) + "?" for words in items]
    lines = [marker.format(number) + text for number, text in enumerate(texts, start=9)]
    assert parse_proposals("\n".join(lines)) == texts
    assert parse_proposals("\n\n".join(lines), truncated=True) == texts[:-1]
    opened = " " + "\n".join([texts[0], *lines[1:]])
    assert parse_proposals(opened) == texts


def test_nothing_but_white_space_and_composition_is_altered():
    text = "1.  Let  \\Delta = X\tand\u00a0δ = cafe\u0301.\n   Find ‘x’ — **now** — if $a\\,<\\,b$."
    assert parse_proposals(text) == [
        "Let \\Delta = X and δ = café. Find ‘x’ — **now** — if $a\\,<\\,b$."
    ]


def test_control_signs_directions_and_terminal_escapes_are_stripped():
    text = (
        "1. \x1b[1;31mRed\x1b[0m \x1b]0;title\x07and\x00 \u202egreen\u202c\u200b\ufeff?\r\n"
        "2. Two\ud800?"
    )
    assert parse_proposals(text) == ["Red and green?", "Two?"]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. Read on.\nQuestion: How many?\n2. Two?", ["Read on. Question: How many?", "Two?"]),
        (
            " Three cats meet.\nQuestion: How many legs?",
            ["Three cats meet. Question: How many legs?"],
        ),
        (
            "1. A rule says:\nStep 1: double it.\nStep 2: add 3.\nWhat becomes of 5?\n2. Two?",
            ["A rule says: Step 1: double it. Step 2: add 3. What becomes of 5?", "Two?"],
        ),
        (
            "1. Mix a 40%\nsolution\nwith water. How much?",
            ["Mix a 40% solution with water. How much?"],
        ),
        ("1. One?\nSolution\nIt is 1.\n2. Two?", ["One?", "Two?"]),
    ],
)
def test_what_only_looks_like_a_label_stays_in_its_item(text, items):
    assert parse_proposals(text) == items


@pytest.mark.parametrize(
    "problem",
    [
        "If you have 12 eggs and buy 6 more, how many eggs do you have?",
        "A test has 20 questions.\nEach question is worth 5 points. What is the best score?",
        "Each question on a test is worth 4 points. How many points are 9 questions worth?",
        "Do you need more nickels or dimes to pay 90 cents with 12 coins?",
        "Bags of 5 apples are sold.\nIf you want 3 more than 12,\nhow many bags do you need?",
        "Here is a list of prices: 3, 5 and 9 dollars. What is their sum?",
        "Ann buys fruit.\nHere is the list of prices: pears 3, plums 5.\nWhat do 2 pears cost?",
        "I have 7 coins. Let me call their number n. What is n + 5?",
        "These 3 numbers are primes: 2, 3, 5. Find their product.",
        "Great circles on a sphere of radius 3 have what length?",
        "Hope has 5 pens and Joy has 3. How many pens have they?",
        "Enjoy Tours sells 30 tickets at 4 dollars. What does it earn?",
        "Each of these problems takes Ann 3 minutes. How long do 12 problems take?",
        "Note that 1 foot is 12 inches. How many inches are 5 feet?",
        "A bridge is 90 m long. Find the way from its middle to its\nend.",
        "What is 7 times 8? Double the\nresult.",
        "A sheet has size\nA4. How many sheets of size\nA5 cover it?",
        "How many stars has a user with 3 ratings of 5 stars, if each\nuser: rating pair counts?",
    ],
)
def test_a_problem_that_sounds_like_chat_is_an_item(problem):
    flat = " ".join(problem.split())
    assert parse_proposals(f"1. {problem}\n2. What is 3 + 4?") == [flat, "What is 3 + 4?"]
    assert parse_proposals(f"1. What is 3 + 4?\n2. {problem}") == ["What is 3 + 4?", flat]
    assert parse_proposals(f" {problem}\n10. What is 3 + 4?") == [flat, "What is 3 + 4?"]


@pytest.mark.parametrize(
    "chat",
    [
        "I hope these problems help!",
        "Let me know if you want more.",
        "Feel free to ask for solutions.",
        "Would you like me to add answers?",
        "If you need more problems, just ask.",
        "If you'd like the solutions, tell me.",
        "These problems cover algebra and geometry.",
        "Each problem has exactly one answer that can be checked.",
        "All of these problems are new.",
        "Is there anything else I can do?",
        "Good luck!",
        "Here are some more questions:",
    ],
)
def test_chat_behind_the_list_is_no_part_of_it(chat):
    assert parse_proposals(f"1. One is what?\n2. Two is what?\n\n{chat}") == [
        "One is what?",
        "Two is what?",
    ]


def test_signs_that_json_escapes_are_stripped_too():
    assert parse_proposals('["What is\\u0000 2\\u202e?\\ud800", "A\\nB?"]') == [
        "What is 2?",
        "A B?",
    ]


COMMANDS = [
    "notin",
    "boldsymbol{v}",
    "rVert",
    "rvert",
    "nmid",
    "bot",
    "backslash",
    "tbinom{5}{2}",
    "ni",
    "bf",
    "nsubseteq",
    "tag{1}",
    "nolimits",
    "newline",
    "fbox{x}",
    "footnotesize",
    "tiny",
    "because",
    "between",
    "nonumber",
    "nexists",
    "frown",
    "ne",
    "not\\subset",
    "textbf{a}",
    "rightleftharpoons",
    "nearrow",
    "ncong",
    "nparallel",
    "nu_1",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_latex_in_json_is_read_as_it_was_meant(command):
    item = f"Find $x$ if $a \\{command} b$."
    assert parse_proposals(f'["{item}"]') == [item]
    assert parse_proposals(json.dumps([item])) == [item]


def test_line_ends_and_tabs_in_json_stay_what_they_are():
    assert parse_proposals('["Given:\\na = 1\\tand\\r\\nb = 2.\\nNow find a + b."]') == [
        "Given: a = 1 and b = 2. Now find a + b."
    ]


@pytest.mark.parametrize("value", ['["a?"]', '"a?"'])
@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
def test_json_as_deep_as_can_be_never_raises(value, opening, closing):
    for depth in (1, 5, 400, 900, 20_000):
        parse_proposals(opening * depth + value + closing * depth)


def test_an_answer_key_that_was_cut_off_takes_no_item_with_it():
    text = "1. One?\n2. Two?\n\nAnswers:\n1. 3"
    assert parse_proposals(text, truncated=True) == ["One?", "Two?"]


def test_special_tokens_are_left_for_the_filters_to_refuse():
    assert parse_proposals("1. What is 2?<|im_end|>") == ["What is 2?<|im_end|>"]


def test_the_open_number_begins_with_the_text_before_the_first_number():
    assert parse_proposals(" One?\n10. Two?") == ["One?", "Two?"]
    assert parse_proposals("Some problems:\n1. One?") == ["One?"]
    assert parse_proposals("Sure!\n1. One?") == ["One?"]
    assert parse_proposals("") == parse_proposals("\n \n") == []


def test_thoughts_before_the_list_are_no_items():
    assert parse_proposals("<think>Say 1. something</think>\n1. One?") == ["One?"]
    assert parse_proposals("<think>1. One?\n2. Two?", truncated=True) == []


HOSTILE = [
    "\n",
    "Step 1\n",
    "Question: a\n",
    "1.\n",
    "1. a\n",
    "\\begin{align}",
    "\\begin{enumerate}\\item ",
    "((((",
    "[",
    '{"a":[',
    '["a",',
    '{"a":{',
    "**",
    " ",
    "\t\n",
    "- a?\n",
    "a\u0301\u0323",
    "\u0301\u0323",
    "\x1b[",
    "\x1b]",
    "Question: ",
    "Here are ",
    "if you ",
    "\\\\",
    "Answer",
    "a: \n1. b\n",
    "#",
    "_",
    "12. a:\n1. b\n",
    "</think>",
    "if you want w ",
    "these a b c ",
    " \t",
    "\u00a0",
    "`",
    "$",
    "0",
    "９",
    "\\textbf{",
    "<li>",
    "A: 1\n",
    "Input: 1\nOutput: 2\n",
    "Solution:\n1. a\n",
]


@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_text_is_read_in_linear_time(part):
    text = part * (100_000 // len(part))
    start = time.process_time()
    parse_proposals(text)
    parse_proposals("1. a" + text)
    assert time.process_time() - start < 5


OPENINGS = [
    "Problem",
    "Answers",
    "Here are the solutions",
    "1. a?\nAnswer",
    "1. a?\n**Solution",
    "1. a?\nStep",
    "1. a?\nA",
    "1. a?\nIf you need more",
    "1. a?\n\nThese problems",
    "1. a?\n",
    "1. a?\n**",
    "1",
    "user",
    "Here: [",
]


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("run", [" ", " \t", "\u3000", "\n", " \n", "*", "#", "`", "0", "\\", "$"])
def test_a_long_run_behind_a_word_costs_no_more_than_its_length(opening, run):
    start = time.process_time()
    parse_proposals(opening + run * (20_000 // len(run)) + "b")
    assert time.process_time() - start < 2
