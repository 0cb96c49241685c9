"""The filters that look at one text alone, by name; light, for who only looks at a set of texts.

A filter is a function from a text to a `Verdict`.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from serl_trl.common.plugin import Plugin, Role, find, split, split_list
from serl_trl.common.text import one_line
from serl_trl.common.verdict import Verdict
from serl_trl.filters.english import leaks, pictures, quality
from serl_trl.filters.validity import text as validity
from serl_trl.propose.languages import ENGLISH, is_english

TextFilter = Callable[[str], Verdict]

# A longer text is refused for its length before any filter reads it: the filters are linear, but a
# model that never stops writes megabytes.
MAX_CHARS = 20_000

# The default applies them in this order: cheap ones first, the tokenizer last. A name is that of
# its function.
FILTERS: dict[str, Callable[..., Verdict]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        quality.check_length,
        quality.check_special_tokens,
        quality.check_question,
        quality.check_one_question,
        pictures.check_figure,
        quality.check_program,
        leaks.check_answer_leak,
        quality.check_model_talk,
        quality.check_language,
        validity.check_unfinished,
        validity.check_validity,
        quality.check_tokens,
        quality.check_paper_length,
        quality.check_paper_words,
        quality.check_paper_program,
        quality.check_paper_start,
    )
}

# The paper's rules, and the token limit, without which a proposal may not fit the model.
paper_filters = ("paper_length", "paper_words", "paper_program", "paper_start", "tokens")
default_filters = tuple(name for name in FILTERS if not name.startswith("paper_"))

# What they look for is said in English; the others read no language, or many.
english_filters = ("one_question", "figure", "program", "model_talk", "language", "validity")

# None of these suits texts that ask nothing, about which a `task_template` asks: they demand a
# question, or judge a text for being a task.
task_filters = (
    "question",
    "one_question",
    "figure",
    "program",
    "unfinished",
    "validity",
    "paper_words",
    "paper_program",
)

# What stands for a whole list in `proposal_filters`; a list with commas may hold neither name.
PRESETS = {"default": default_filters, "paper": paper_filters}

_ROLE = Role(
    option="proposal_filters",
    takes="a function from a text to a Verdict",
    known=FILTERS,
    arguments=("",),
    returns=(Verdict,),
)


def filter_names() -> tuple[str, ...]:
    """Return the names of the built-in filters, in the order in which the default applies them."""
    return tuple(FILTERS)


def filter_options(
    *,
    min_words: int,
    max_words: int,
    several_answers: bool = False,
    special_tokens: Sequence[str] = (),
    max_tokens: int | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the options of a run by the names of the filters that take them.

    `several_answers`: an answer of the run's kind may hold several values.
    """
    words = {"min_words": min_words, "max_words": max_words}
    return {
        "length": words,
        "paper_length": words,
        "one_question": {"several_answers": several_answers},
        "special_tokens": {"special_tokens": tuple(special_tokens)},
        "tokens": {"max_tokens": max_tokens, "count_tokens": count_tokens},
    }


def filters_aside(names: str, *, language: str, of_texts: bool) -> dict[str, str]:
    """Return the filters of a preset that step aside, each with the reason.

    In another `language` than English these are the `english_filters` of "default", and with
    `of_texts`, where instructions are texts that ask nothing, the `task_filters`. A list with
    commas stays as it is: the texts may be questions.
    """
    english = english_filters if names == "default" and not is_english(language) else ()
    aside = dict.fromkeys(task_filters, "it judges questions") if of_texts else {}
    aside |= dict.fromkeys(english, "it reads English")
    return {name: aside[name] for name in PRESETS.get(names, ()) if name in aside}


def find_filters(
    names: str, plugins: Collection[str] = (), *, language: str = ENGLISH, of_texts: bool = False
) -> list[str | Plugin]:
    """Return the filters that an option names, those of the user before they are made.

    `names` is "default", "paper" or a list with commas; `filters_aside` are not among them. Raises
    `ValueError` for an unknown name, or a dotted path without a filter in one of the packages
    `plugins`.
    """
    if names in PRESETS:
        aside = filters_aside(names, language=language, of_texts=of_texts)
        return [name for name in PRESETS[names] if name not in aside]
    found: list[str | Plugin] = []
    for text in split_list(names):
        name, _ = split(text, _ROLE)
        found.append(text if name in FILTERS else find(text, _ROLE, plugins))
    return found


def bind_filter(text: str, options: Mapping[str, dict[str, Any]]) -> TextFilter:
    """Return the filter that `text` names, with the `options` of the filter of that name.

    Options in its brackets win. Raises `ValueError` for an unknown filter or option.
    """
    name, own = split(text, _ROLE)
    if name not in FILTERS:
        return find(text, _ROLE).make()
    values = {**options.get(name, {}), **(own or {})}
    # A wrong option ends the run here, before weights load, and not at the first proposal.
    try:
        inspect.signature(FILTERS[name]).bind("", **values)
    except TypeError as error:
        raise _ROLE.refuse(text, f"cannot be made: {one_line(error)}.") from error
    return partial(FILTERS[name], **values)
