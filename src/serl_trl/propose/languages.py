"""The prompt texts in the language of the seeds, where the user gives none."""

import re
from collections.abc import Mapping
from typing import Any

from serl_trl.common.plain_yaml import own_table
from serl_trl.propose.prompts import FOR_TEXTS, PromptStyle

ENGLISH = "en"
# How a language is written: its code of ISO 639, and what BCP 47 allows behind it.
CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")

_TEXTS: Mapping[str, Mapping[str, str]] = own_table(__file__, "texts.yaml")
# Where there is no translation the model is told; the shots show it what is meant.
_ORDER = " Write each problem in the language of the problems shown ({language})."


def is_english(language: str) -> bool:
    """Return whether a code such as en or en-GB means English."""
    return language.partition("-")[0] == ENGLISH


def localised(texts: Mapping[str, Any], language: str) -> dict[str, str]:
    """Return those of the texts of `PromptStyle` that `language` replaces: the English defaults.

    A text of the user stays. A language that is not in `texts.yaml` keeps the English texts, and
    the proposer is told in which language to write. So it does with a `task_template`, whose
    proposer is asked for texts and not for problems.
    """
    default, order = PromptStyle(), _ORDER.replace("{language}", language)
    if texts["task_template"]:
        order = "" if is_english(language) else order.replace("problem", "text")
        known: Mapping[str, str] = {
            "domain": FOR_TEXTS.domain,
            "proposer_system": FOR_TEXTS.proposer_system + order,
            "proposer_request": FOR_TEXTS.proposer_request,
            "answer_first_system": FOR_TEXTS.answer_first_system + order,
        }
    elif is_english(language):
        return {}
    else:
        requests = ("proposer_system", "answer_first_system")
        told = {name: getattr(default, name) + order for name in requests}
        known = _TEXTS.get(language.partition("-")[0], told)
    return {name: text for name, text in known.items() if texts[name] == getattr(default, name)}
