"""Seed sets: what is read, and the message for everything that cannot be."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serl_trl.common.text import CONTROL, near_matches, visible
from serl_trl.data import tables
from serl_trl.data.seeds import SeedSet, SeedSetError, check_seed_set, load_seed_set, make_seed_set

ROWS = [
    {"question": "What is 2 + 3?", "answer": "5"},
    {"question": "What is 4 + 4?", "answer": "8"},
]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def jsonl(rows: list) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def error_of(source: str | Path, **options) -> str:
    with pytest.raises(SeedSetError) as caught:
        load_seed_set(source, **options)
    return str(caught.value)


def parquet_file(folder: Path, rows: list[dict]) -> Path:
    import pyarrow
    import pyarrow.parquet

    path = folder / "seeds.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


# What is read.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("seeds.jsonl", jsonl(ROWS)),
        ("seeds.json", json.dumps(ROWS)),
        ("seeds.csv", "question,answer\nWhat is 2 + 3?,5\nWhat is 4 + 4?,8\n"),
        ("SEEDS.JSONL", jsonl(ROWS)),
        ("windows.jsonl", "\ufeff" + jsonl(ROWS).replace("\n", "\r\n")),
        ("windows.csv", "\ufeffquestion,answer\r\nWhat is 2 + 3?,5\r\nWhat is 4 + 4?,8\r\n\r\n"),
        ("open_end.jsonl", jsonl(ROWS).rstrip("\n")),
        ("blank_end.jsonl", jsonl(ROWS) + "\n  \n"),
    ],
)
def test_formats_hold_the_same_seed_set(tmp_path, name, content):
    seed_set = load_seed_set(write(tmp_path, name, content))

    assert seed_set.instructions == ("What is 2 + 3?", "What is 4 + 4?")
    assert seed_set.answers == ("5", "8")
    assert seed_set.fingerprint == make_seed_set(seed_set.rows(), source="x").fingerprint
    assert seed_set.warnings == ()


def test_parquet_holds_the_same_seed_set(tmp_path):
    seed_set = load_seed_set(parquet_file(tmp_path, ROWS))

    assert seed_set.rows() == [
        {"instruction": "What is 2 + 3?", "answer": "5"},
        {"instruction": "What is 4 + 4?", "answer": "8"},
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("seeds.txt", "What is 2 + 3?\nWhat is 4 + 4?\n\n"),
        ("seeds.json", json.dumps(["What is 2 + 3?", "What is 4 + 4?"])),
        ("seeds.jsonl", jsonl(["What is 2 + 3?", "What is 4 + 4?"])),
    ],
)
def test_bare_texts_are_instructions(tmp_path, name, content):
    seed_set = load_seed_set(write(tmp_path, name, content))

    assert seed_set.instructions == ("What is 2 + 3?", "What is 4 + 4?")
    assert seed_set.answers == (None, None)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["text", "problem"], "problem"),
        (["prompt", "question"], "question"),
        (["text", "instruction", "prompt"], "instruction"),
        (["text", "prompt"], "prompt"),
    ],
)
def test_columns_are_found_in_a_fixed_order(tmp_path, columns, found):
    row = {column: f"the {column}" for column in columns}

    assert load_seed_set(write(tmp_path, "s.jsonl", jsonl([row]))).instructions == (f"the {found}",)


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl([{"problem": "a", "Frage": "b", "Lösung": 7}]))

    seed_set = load_seed_set(path, column="Frage", answer_column="Lösung")

    assert seed_set.rows() == [{"instruction": "b", "answer": "7"}]


def test_text_is_only_normalised_and_stripped(tmp_path):
    text = " \u00a0$\\Delta X = 3$,\r\n  e\u0301 = 1\tx \n"
    path = write(tmp_path, "s.jsonl", jsonl([{"problem": text}]))

    assert load_seed_set(path).instructions == ("$\\Delta X = 3$,\n  \u00e9 = 1\tx",)


def test_fingerprint_follows_content_and_not_the_file(tmp_path):
    one = load_seed_set(write(tmp_path, "a.jsonl", jsonl(ROWS)))
    spaced = load_seed_set(write(tmp_path, "b.json", json.dumps(ROWS, indent=4)))
    other = load_seed_set(write(tmp_path, "c.jsonl", jsonl(ROWS[::-1])))

    assert one.fingerprint == spaced.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 64


def test_allowed_bad_rows_are_passed_over_and_named(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl(ROWS) + "oops\n")

    seed_set = load_seed_set(path, max_bad_rows=1)

    assert len(seed_set) == 2
    assert [warning.split(": ", 1)[1] for warning in seed_set.warnings] == [
        "is not JSON: Expecting value at column 1."
    ]


def test_seeds_that_repeat_are_dropped_and_counted(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl([*ROWS, ROWS[0], ROWS[1]]))

    seed_set = load_seed_set(path)

    assert len(seed_set) == len(ROWS)
    assert seed_set.warnings == (
        f"dropped 2 rows of {path} as repetitions:\n"
        f"  {path}:3 repeats {path}:1.\n  {path}:4 repeats {path}:2.",
    )
    once = load_seed_set(write(tmp_path, "once.jsonl", jsonl(ROWS)))
    assert seed_set.fingerprint == once.fingerprint


def test_a_column_that_is_missing_is_named_as_the_option(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl([{"frage": "a", "nr": 1}]))
    options = ("instruction_column", "answer_column")

    assert error_of(path, options=options).endswith(
        "it has frage, nr. Name the one that holds the instructions by instruction_column."
    )
    assert error_of(path, options=options, column="Frage") == (
        f"instruction_column=Frage: {path} has no column 'Frage'; it has frage, nr. "
        "Did you mean 'frage'?"
    )
    assert error_of(path, options=options, column="frage", require_answers=True) == (
        f"{path} has no column 'answer' for the answers; it has frage, nr. Name it by "
        "answer_column."
    )


def test_probe_sets_need_answers_and_may_repeat(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl([ROWS[0], ROWS[0]]))

    assert len(load_seed_set(path, require_answers=True, allow_duplicates=True)) == 2
    lacking = write(tmp_path, "t.jsonl", jsonl([ROWS[0], {"question": "b", "answer": None}]))
    assert "t.jsonl:2: 'answer' is empty." in error_of(lacking, require_answers=True)
    without = write(tmp_path, "u.jsonl", jsonl([{"question": "b", "answers": "c"}]))
    assert error_of(without, require_answers=True) == (
        f"{without} has no column 'answer' for the answers; it has question, answers."
        " Did you mean 'answers'?"
    )


@pytest.mark.parametrize(("name", "num"), [("math_seeds_500", 500), ("own", 40)])
def test_math_seeds_are_accepted_as_they_are(problems, name, num):
    seed_set = load_seed_set(problems.file(name))

    assert len(seed_set) == num
    assert all(seed_set.answers)
    assert seed_set.warnings == ()
    words = [len(text.split()) for text in seed_set.instructions]
    assert (
        check_seed_set(
            seed_set,
            num_shots=8,
            max_tokens=max(words),
            count_tokens=lambda text: len(text.split()),
            special_tokens=["<|im_start|>", "<|im_end|>"],
        )
        == []
    )


# What is refused, and how it is said.


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", "", "s.jsonl is empty; give at least one row."),
        ("s.jsonl", "\n \n", "s.jsonl holds no instruction; give at least one row."),
        ("s.json", "[]", "s.json holds no instruction"),
        ("s.csv", "question,answer\n", "s.csv holds no instruction"),
        (
            "s.jsonl",
            '{"problem": "a"}\n{"problem": \n',
            "s.jsonl:2: is not JSON: Expecting value at column 13.",
        ),
        ("s.jsonl", '{"problem": "a"}\n\n{"problem": "b"}\n', "s.jsonl:2: is empty."),
        (
            "s.jsonl",
            '[{"problem": "a"}]\n',
            "s.jsonl:1: must be an object or a text, not list; a list of rows belongs in a .json "
            "file.",
        ),
        ("s.jsonl", '{"problem": "a"}\n{"problem": " "}\n', "s.jsonl:2: 'problem' is empty."),
        (
            "s.jsonl",
            '{"problem": "a"}\n{"problem": 3}\n',
            "s.jsonl:2: 'problem' must be text, not int.",
        ),
        (
            "s.jsonl",
            '{"problem": "a"}\n{"problem": null}\n',
            "s.jsonl:2: 'problem' must be text, not NoneType.",
        ),
        (
            "s.jsonl",
            '{"problem": "a"}\n{"question": "b"}\n',
            "s.jsonl:2: has no column 'problem', only question.",
        ),
        (
            "s.jsonl",
            '{"problem": "a\\u0000b"}\n',
            "s.jsonl:1: 'problem' holds the control character U+0000.",
        ),
        (
            "s.jsonl",
            '{"problem": "a\\u001b[2Jb"}\n',
            "s.jsonl:1: 'problem' holds the control character U+001B.",
        ),
        (
            "s.jsonl",
            '{"problem": "a\\u202eb"}\n',
            "s.jsonl:1: 'problem' holds the control character U+202E.",
        ),
        (
            "s.jsonl",
            '{"problem": "a\\ud800b"}\n',
            "s.jsonl:1: 'problem' holds half a character, the surrogate U+D800.",
        ),
        (
            "s.jsonl",
            b'{"problem": "a"}\n{"problem": "\xff"}\n',
            "s.jsonl:2: is not UTF-8 (byte 14 of the line).",
        ),
        (
            "s.jsonl",
            jsonl(ROWS).encode("utf-16"),
            "s.jsonl is encoded as UTF-16; save it as UTF-8.",
        ),
        ("s.jsonl", "[" * 100_000 + "\n", "s.jsonl:1: is not usable JSON:"),
        (
            "s.jsonl",
            '{"problem": "a", "n": ' + "9" * 5000 + "}\n",
            "s.jsonl:1: is not usable JSON:",
        ),
        (
            "s.jsonl",
            '{"frage": "a", "nr": 1}\n',
            "s.jsonl has no column problem, question, instruction, prompt or text; it has frage, "
            "nr. Name the one that holds the instructions.",
        ),
        (
            "s.json",
            '{"problem": "a"}',
            "s.json holds dict; it must hold a list of objects or of texts.",
        ),
        (
            "s.json",
            '[{"problem": "a"},\n {"problem" "b"}]',
            "s.json:2: is not JSON: Expecting ':' delimiter at column 13.",
        ),
        (
            "s.json",
            jsonl(ROWS),
            "s.json:2: is not JSON: Extra data at column 1; one object per line belongs in a "
            ".jsonl file.",
        ),
        ("s.json", '[{"problem": "a"}, 3]', "s.json row 2: must be an object or a text, not int."),
        ("s.json", b'["a\xff"]', "s.json:1: is not UTF-8 (byte 4)."),
        ("s.csv", "question,answer\na,1\nb\n", "s.csv:3: has 1 field, the header 2."),
        ("s.csv", "question,answer\na,1\n\nb,2\n", "s.csv:3: is empty."),
        ("s.csv", 'question,answer\n"a,1\n', "s.csv:2: is not CSV: unexpected end of data."),
        ("s.csv", "question,question\na,b\n", "s.csv:1: the header names question more than once."),
        ("s.csv", b"question\na\nb\xff\n", "s.csv:3: is not UTF-8 (byte 13)."),
        ("s.parquet", "PAR1 no", "s.parquet cannot be read as Parquet:"),
        (
            "s.yaml",
            "problem: a",
            "s.yaml ends in none of .jsonl, .json, .csv, .parquet, .txt; convert or rename it.",
        ),
    ],
)
def test_bad_files_are_named_by_file_and_line(tmp_path, name, content, message):
    assert message in error_of(write(tmp_path, name, content))


def test_every_bad_row_is_counted_and_the_first_are_shown(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl(ROWS) + "no\n" * 7)

    lines = error_of(path).splitlines()

    assert lines[0] == f"{path} has 7 bad rows, allowed are max_bad_rows=0:"
    assert lines[1] == f"  {path}:3: is not JSON: Expecting value at column 1."
    assert lines[-1] == "  and 2 more."
    assert len(lines) == 7


def test_a_missing_file_names_what_is_near(tmp_path):
    write(tmp_path, "maths.jsonl", jsonl(ROWS))

    assert error_of(tmp_path / "math.jsonl").endswith(
        f"math.jsonl does not exist (looked in {tmp_path}). Did you mean 'maths.jsonl'?"
    )
    assert error_of(tmp_path / "zzz.csv").endswith(f"(looked in {tmp_path}). It holds maths.jsonl.")
    assert error_of(tmp_path / "no" / "s.csv").endswith("the folder does not exist either.")


def test_a_folder_without_files_of_rows_is_no_seed_set(tmp_path):
    assert error_of(tmp_path).startswith(f"{tmp_path} is a folder without a dataset; name a file")


@pytest.mark.parametrize("inner", ["", "data"])
def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    write(folder, "b.jsonl", jsonl(ROWS[1:]))
    write(folder, "a.jsonl", jsonl(ROWS[:1]))
    write(tmp_path, "notes.txt" if not inner else "notes.md", "Some words.\n")
    seed_set = load_seed_set(tmp_path)
    assert seed_set.answers == ("5", "8")
    assert seed_set.places[1].endswith("b.jsonl:1")
    write(folder, "b.jsonl", jsonl(ROWS[1:]) + "no\n")
    assert "b.jsonl:2: is not JSON" in error_of(tmp_path)


def test_a_folder_with_splits_gives_the_one_that_is_asked_for(tmp_path):
    parquet_file(tmp_path, ROWS[:1]).rename(tmp_path / "train-00000-of-00001.parquet")
    parquet_file(tmp_path, ROWS[1:]).rename(tmp_path / "test-00000-of-00001.parquet")
    assert load_seed_set(tmp_path).answers == ("5",)
    assert load_seed_set(tmp_path, split="test").answers == ("8",)
    assert error_of(tmp_path, split="dev") == f"{tmp_path} has no split dev; it has test, train."


def test_a_file_of_a_folder_that_lacks_the_column_is_named(tmp_path):
    write(tmp_path, "a.jsonl", jsonl(ROWS))
    write(tmp_path, "b.jsonl", jsonl([{"frage": "a"}]))
    assert "b.jsonl: has no column question" in error_of(tmp_path)


CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": " What is 2 + 3? "},
    {"role": "assistant", "content": "5"},
]


@pytest.mark.parametrize(
    ("column", "messages"),
    [
        ("messages", CHAT),
        ("prompt", CHAT[:2]),
        ("conversations", [{"from": "human", "value": "What is 2 + 3?"}]),
        ("chat", [{"role": "user", "content": [{"type": "text", "text": "What is 2 + 3?"}]}]),
    ],
)
def test_of_a_conversation_the_users_turn_is_the_instruction(tmp_path, column, messages):
    path = write(tmp_path, "s.jsonl", jsonl([{"id": 1, column: messages}]))
    assert load_seed_set(path).instructions == ("What is 2 + 3?",)
    assert load_seed_set(path, column=column).instructions == ("What is 2 + 3?",)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (CHAT[1:2] * 2, "'messages' holds 2 turns of the user; an instruction is one."),
        (CHAT[:1], "'messages' holds 0 turns of the user; an instruction is one."),
        ([], "'messages' holds 0 turns of the user; an instruction is one."),
        (["a"], "'messages' must be text or chat messages, not a list."),
        ([{"role": "user"}], "'messages' must be text, not NoneType."),
        ([{"role": "user", "content": [{"type": "image"}]}], "holds something else than text."),
        ([{"role": "user", "content": " "}], "'messages' is empty."),
    ],
)
def test_a_conversation_without_one_instruction_is_named_by_its_line(tmp_path, messages, problem):
    path = write(tmp_path, "s.jsonl", jsonl([{"messages": CHAT}, {"messages": messages}]))
    message = error_of(path)
    assert f"{path}:2: " in message
    assert problem in message


def test_a_misspelt_column_names_the_columns(tmp_path):
    path = write(tmp_path, "s.jsonl", jsonl(ROWS))

    assert error_of(path, column="questions") == (
        f"{path} has no column 'questions'; it has question, answer. Did you mean 'question'?"
    )


def test_a_line_of_any_length_costs_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROW_BYTES", 1000)
    path = write(tmp_path, "s.jsonl", jsonl([ROWS[0], {"question": "x" * 100_000}, ROWS[1]]))

    assert f"{path}:2: is longer than 1,000 bytes." in error_of(path)
    assert load_seed_set(path, max_bad_rows=1).instructions == ("What is 2 + 3?", "What is 4 + 4?")


def test_a_file_beyond_the_bound_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_FILE_BYTES", 10)

    assert "holds 76 bytes; at most 10 are read." in error_of(write(tmp_path, "s.json", "x" * 76))


# Checks against the run.


def check(texts: list[str], **options) -> list[str]:
    seed_set = make_seed_set([{"instruction": text} for text in texts], source="seeds")
    defaults = {
        "num_shots": 1,
        "max_tokens": 5,
        "count_tokens": lambda text: len(text.split()),
        "special_tokens": ["<|im_end|>"],
    }
    found = check_seed_set(seed_set, **{**defaults, **options})
    return [str(problem) for problem in found]


def test_a_usable_seed_set_has_no_problems():
    assert check(["one two three four five"]) == []


def test_fewer_rows_than_shots_is_a_problem():
    assert check(["one", "two"], num_shots=3) == [
        "seeds has 2 instructions, fewer than num_shots=3; add seeds or lower num_shots."
    ]


def test_texts_over_the_token_budget_are_a_problem():
    assert check(["one", "a b c d e f"]) == [
        "seeds has 1 instruction longer than max_instruction_tokens=5; shorten them or raise it:\n"
        "  seeds row 2: 6 tokens."
    ]


def test_special_tokens_in_a_text_are_a_problem():
    assert check(["one", "<|im_end|> solve"], special_tokens=["<|im_end|>", " "]) == [
        "seeds has 1 instruction with special tokens of the tokenizer, which would break up the "
        "prompt; remove them:\n  seeds row 2: holds <|im_end|>."
    ]


# Properties.


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".parquet"])
@given(content=st.binary(max_size=200))
@example(content=b"\xef\xbb\xbf")
@example(content=b"\x00")
@example(content=b'{"problem": "\\ud83d"}')
@example(content=b'"\\u0085"')
@example(content=b'problem\n""\n')
def test_arbitrary_bytes_give_a_seed_set_or_a_seed_set_error(tmp_path_factory, suffix, content):
    path = tmp_path_factory.getbasetemp() / f"arbitrary{suffix}"
    path.write_bytes(content)
    try:
        seed_set = load_seed_set(path)
    except SeedSetError:
        return
    assert isinstance(seed_set, SeedSet)
    assert len(seed_set) > 0


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_what_is_accepted_is_clean_and_stays_the_same(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "texts.json"
    path.write_text(json.dumps([{"problem": text} for text in texts]))
    try:
        first = load_seed_set(path, max_bad_rows=len(texts))
    except SeedSetError:
        return
    for text in first.instructions:
        assert text == text.strip() != ""
        assert not CONTROL.search(text)
    path.write_text(json.dumps(list(first.instructions)))
    assert load_seed_set(path).fingerprint == first.fingerprint


@given(st.text())
@example("half a character \ud800")
def test_shown_text_holds_no_control_characters(text):
    shown = visible(text)

    assert not CONTROL.search(shown)
    assert len(shown) == len(text)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temp", " Did you mean 'temperature'?"),
        ("num_generation", " Did you mean 'num_generations'?"),
        ("num_", " Did you mean 'num_shots' or 'num_generations' or 'num_generations_eval'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_hints_name_what_was_meant(name, hint):
    known = ["temperature", "num_generations", "num_generations_eval", "num_shots"]

    assert near_matches(name, known) == hint
