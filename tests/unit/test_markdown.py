"""Nothing that a model writes can become markup, leave its block, or reach the terminal."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from serl_trl.common.markdown import MAX_CHARS, WIDTH, code, fenced, plain, table

NASTY = st.text(st.sampled_from("`~\n|<>#a \\\x1b\u202e\u200b\ud800"), max_size=80)


def test_a_fence_is_longer_than_any_run_of_ticks_inside():
    lines = fenced("see:\n````\n<script>alert(1)</script>").split("\n")

    assert lines == ["`````text", "see:", "````", "<script>alert(1)</script>", "`````"]


@given(NASTY)
@example("``\u200d`")  # Becomes three ticks when what is not seen is taken out.
def test_no_line_of_a_block_can_close_it(text):
    first, *inside, last = fenced(text).split("\n")

    assert first == last + "text"
    assert not [line for line in inside if re.fullmatch(rf" {{0,3}}`{{{len(last)},}} *", line)]


@given(NASTY)
def test_a_cell_is_one_line_of_code_without_a_bare_bar(text):
    cell = code(text)

    assert "\n" not in cell
    assert "|" not in cell
    assert cell == "-" or cell.startswith("`")
    assert table(("a",), [[cell]]).count("\n") == 2


@given(NASTY.map(lambda text: f"{text}\n<img src=x> ![x](https://evil.example/x) www.evil.example"))
@example("``\u200d`\n![x](https://evil.example/x)")
def test_a_reader_finds_nothing_but_one_block(text):
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(fenced(text))

    assert [token.type for token in tokens] == ["fence"]


@given(NASTY)
def test_what_is_not_seen_is_taken_out(text):
    shown = plain(text)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u200b\ud800-\udfff]", shown)
    shown.encode("utf-8")


def test_long_words_are_broken_and_long_texts_cut():
    block = fenced("x" * 10_000)

    assert max(map(len, block.split("\n"))) <= WIDTH + len("```text")
    assert f"[... {10_000 - MAX_CHARS:,} more" in " ".join(block.split("\n"))
    assert len(block) < MAX_CHARS + 200
