"""The optional rule on meaning, with a tiny encoder that counts letters."""

import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.filters.embeddings import CosineIndex, load_encoder
from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.novelty import NoveltyRule


class LetterEncoder:
    """Texts -> counts of three letters; remembers how many texts it was asked for."""

    def __init__(self):
        self.num_texts = 0

    def __call__(self, texts):
        self.num_texts += len(texts)
        return [[float(text.count(letter)) for letter in "abc"] for text in texts]


def test_the_largest_cosine_and_its_text_are_found():
    index = CosineIndex(LetterEncoder())
    assert index.nearest("a") is None
    index.add(["aaab", "c"])
    cosine, text = index.nearest("b")
    assert text == "aaab"
    assert cosine == pytest.approx(1 / 10**0.5)
    assert index.nearest("bbbaaa" * 3)[0] == pytest.approx(4 / 20**0.5)


def test_a_text_without_a_direction_is_like_nothing():
    index = CosineIndex(lambda texts: [[float("nan"), 0.0] for _ in texts])
    index.add(["x"])
    assert index.nearest("y")[0] == 0.0


def test_judging_and_adding_encode_a_text_once():
    encoder = LetterEncoder()
    rule = NoveltyRule(
        kind="math", max_rouge_l=None, max_per_template=None, encode=encoder, max_cosine=0.9
    )
    rule.add(["aab", "ccc"])
    assert rule.judge("abbb").keep
    rule.add(["abbb"])
    assert encoder.num_texts == 3


def test_meaning_refuses_with_its_own_reason():
    proposals = ProposalFilter(
        ["What about a banana and a cab?"], names=[], embedding=LetterEncoder(), max_cosine=0.9
    )
    verdict = proposals.judge("aaaaaaabb c")
    assert verdict.reason == "embedding"
    assert verdict.detail["nearest_meaning"] == "What about a banana and a cab?"
    assert proposals.judge("ccccc").keep
    proposals.admit("ccccc")
    assert proposals.judge("cc c").reason == "embedding"


@given(st.lists(st.text("abc", max_size=5), max_size=200), st.text("abc", max_size=5))
def test_one_by_one_equals_all_at_once(texts, text):
    together, apart = CosineIndex(LetterEncoder()), CosineIndex(LetterEncoder())
    together.add(texts)
    for other in texts:
        apart.add([other])
    assert len(together) == len(apart) == len(texts)
    if texts:
        assert apart.nearest(text) == pytest.approx(together.nearest(text), abs=1e-6)


def padded(texts):
    """Like a padded batch: the last digits of a vector depend on the longest text beside it."""
    longest = max(map(len, texts))
    return [[1.0 + len(text), 1.0 + longest / 1000] for text in texts]


def test_a_resumed_filter_gives_the_same_cosines_to_the_last_digit():
    def make():
        seeds = ["one seed", "another longer seed"]
        return ProposalFilter(seeds, names=[], embedding=padded, max_rouge_l=None, max_cosine=1.0)

    first = make()
    for text in ("b", "a text of some length", "cc"):
        first.admit(text)
    resumed = make()
    resumed.load_state_dict(first.state_dict())
    for text in ("d", "a longer text than that, as it happens"):
        assert resumed.judge(text).detail["cosine"] == first.judge(text).detail["cosine"]


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        ImportError, match=r"embedding_model=some/model needs .*serl-trl\[embeddings\]"
    ):
        load_encoder("some/model")


@pytest.mark.parametrize(
    "content",
    ['[{"type": "custom.Encoder"}]', '[{"type": "subprocess.Popen"}]', "[", "[1]", '{"a": 1}'],
)
def test_a_model_folder_that_names_classes_of_its_own_is_refused(content, tmp_path, monkeypatch):
    class Opened:
        def __init__(self, model):
            raise AssertionError("it was opened")

    library = types.SimpleNamespace(SentenceTransformer=Opened)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    (tmp_path / "modules.json").write_text(content)

    with pytest.raises(ValueError, match=r"modules\.json"):
        load_encoder(str(tmp_path))
