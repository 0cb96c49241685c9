"""Completion text to answer, and which answers are equal: the one path of vote and evaluation."""

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import (
    extract_answer,
    get_kind,
    group_answers,
    group_many,
    same_answer,
    same_answers,
)
from serl_trl.answers.kinds.own import OwnKind
from serl_trl.answers.verifier import Verifier

__all__ = [
    "AnswerKind",
    "OwnKind",
    "Verifier",
    "extract_answer",
    "get_kind",
    "group_answers",
    "group_many",
    "same_answer",
    "same_answers",
]
