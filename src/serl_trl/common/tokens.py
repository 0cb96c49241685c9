"""What the tokenizer says about a text, in one place for the check of a config and the run."""

from typing import Any


def count_tokens(tokenizer: Any, text: str) -> int:
    """Return the length of a bare text in tokens, without the marks that begin and end a prompt."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def special_tokens_of(tokenizer: Any) -> list[str]:
    """Return the texts a tokenizer reads as marks: special tokens, and added ones like <think>."""
    added = tokenizer.added_tokens_decoder.values()
    # Added tokens may also be plain words that extend the vocabulary.
    marks = [str(token) for token in added if token.special or _is_mark(str(token))]
    return sorted({*tokenizer.all_special_tokens, *marks})


def _is_mark(token: str) -> bool:
    """Return whether an added token looks like <think> or [INST]; others are words or spaces."""
    return len(token) > 2 and (token[0], token[-1]) in (("<", ">"), ("[", "]"))
