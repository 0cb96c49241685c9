"""`serl init`: asks what a config needs, and writes one that `serl check` accepts."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.prompt import Prompt

from serl_trl.answers.equality import find_kind
from serl_trl.cli.judged import num_choices
from serl_trl.cli.starter import (
    KINDS,
    MACHINES,
    Answered,
    ask_nothing,
    config_text,
    default_domain,
    guess_kind,
    label_kind,
    seems_english,
)
from serl_trl.common.console import OK, Parser, report_problems, say
from serl_trl.common.text import count_of, list_names, visible
from serl_trl.data.seeds import (
    CHAT_COLUMNS,
    INSTRUCTION_COLUMNS,
    SeedSet,
    load_seed_set,
    read_golds,
)
from serl_trl.data.tables import open_table
from serl_trl.propose.languages import CODE, ENGLISH

_OPTIONS = ("instruction_column", "answer_column")
_FEW = 100  # below, proposals soon repeat each other


def run(argv: Sequence[str], out: Console) -> int:
    """Ask what no flag says, and write the file; a file that exists is never touched."""
    try:
        flags = _parser().parse_args(list(argv))
        ask = _Asking(out, sys.stdin is not None and sys.stdin.isatty())
        source = ask.for_text("seed_set", flags.seed_set, "File with your questions")
        path = Path(flags.output or f"{Path(source).stem}.yaml").expanduser()
        if path.exists():
            raise ValueError(f"{path} exists and is left as it is; name another by --output.")
        seeds, answered = _answers(flags, source, ask)
        text = config_text(answered, seeds, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never over a file that appeared meanwhile.
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except (ValueError, OSError) as error:
        return report_problems("init", [visible(str(error))])
    except EOFError:
        return report_problems("init", ["the answers ended before the last question."])
    say(out, f"written to {path}: {count_of(len(seeds), 'question')}, {answered.answer_kind}")
    if len(seeds) < _FEW:
        say(out, f"fewer than {_FEW} questions are few: proposals will soon repeat each other")
    if not answered.question and ask_nothing(seeds.instructions):
        say(
            out,
            "most rows ask nothing: where they are texts, --question says what is asked of each",
        )
    say(out, f"next: serl check --config {path}")
    return OK


def _parser() -> Parser:
    parser = Parser(
        prog="serl init",
        description="Write a commented config for your questions. What no flag says is asked for "
        "on a terminal, and guessed elsewhere.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--seed_set", metavar="FILE", help="your questions: .jsonl, .json, .csv, .parquet, .txt")
    add("--instruction_column", metavar="NAME", help="column that holds the whole question")
    add("--language", metavar="CODE", help="language of the questions: en, de, fr, ...")
    add("--answer_kind", metavar="KIND", help=f"{list_names(KINDS)}, or any of docs/answers.md")
    add("--labels", metavar="LABEL", nargs="+", help="with answer_kind label: all of them")
    add("--question", metavar="TEXT", help="for rows that ask nothing: what is asked of each")
    add("--domain", metavar="TEXT", help="what the questions are about")
    add("--machine", choices=tuple(MACHINES), help="what it will run on; sizes are of one GPU")
    add("--model_name_or_path", metavar="MODEL", help="another model than the machine's")
    add("--output", metavar="FILE", help="the config to write; by default named as the questions")
    return parser


class _Asking:
    """Takes a flag, else asks on a terminal, else takes the default."""

    def __init__(self, out: Console, on_terminal: bool) -> None:
        self._out = out
        self._on_terminal = on_terminal

    def for_text(
        self,
        name: str,
        given: str | None,
        question: str,
        *,
        default: str | None = None,
        choices: Sequence[str] | None = None,
    ) -> str:
        """Return the answer. Raises `ValueError` where there is none and nobody can be asked."""
        if given is not None:
            return given
        if self._on_terminal:
            known = list(choices) if choices else None
            prompt: dict[str, Any] = {} if default is None else {"default": default}
            while True:
                said = Prompt.ask(question, console=self._out, choices=known, **prompt)
                # Where nothing is a default, nothing is an answer.
                if said or default == "":
                    return said
        if default is None:
            some = f", one of {list_names(choices)}" if choices else ""
            raise ValueError(f"{name} cannot be guessed; give --{name}{some}.")
        return default


def _answers(flags: argparse.Namespace, source: str, ask: _Asking) -> tuple[SeedSet, Answered]:
    column = flags.instruction_column
    columns = open_table(source, split="train", config=None).columns
    if column is None:
        column = _column(columns, ask)
    seeds = load_seed_set(source, column=column, options=_OPTIONS)
    guessed = ENGLISH if seems_english(seeds.instructions) else None
    question = "Language of the questions, as a code such as en, de or fr"
    language = ask.for_text("language", flags.language, question, default=guessed)
    if not CODE.fullmatch(language):
        raise ValueError(f"language={visible(language)} is not a code such as en, de or pt-BR.")
    kind = _kind(flags, seeds, ask)
    # Golds that the kind cannot read would stop every command after this one.
    read_golds(seeds, find_kind(kind).make())
    asked = _question(flags, seeds, ask)
    about = "What the questions are about, or what the texts are"
    default = default_domain(language, asked)
    domain = ask.for_text("domain", flags.domain, about, default=default)
    question = "Machine: the memory of one GPU, or cpu"
    machine = ask.for_text(
        "machine", flags.machine, question, default="24gb", choices=tuple(MACHINES)
    )
    found = Answered(source, column, language, kind, domain, machine, flags.model_name_or_path)
    return seeds, replace(found, question=asked)


def _question(flags: argparse.Namespace, seeds: SeedSet, ask: _Asking) -> str | None:
    """Return what is asked of each row; `None` where the rows ask something themselves."""
    question = flags.question
    if question is None and ask_nothing(seeds.instructions):
        text = "Most rows ask nothing. What is asked of each (empty: they do ask)"
        question = ask.for_text("question", None, text, default="")
    # The config fills braces in; what was meant here is text.
    if question and "{" in question:
        raise ValueError("question must hold no brace; write out what it stands for.")
    return question or None


def _column(columns: Sequence[str], ask: _Asking) -> str | None:
    """Return the column to name; `None` where its own name says that it holds the questions."""
    known = next((name for name in (*INSTRUCTION_COLUMNS, *CHAT_COLUMNS) if name in columns), None)
    only = columns[0] if len(columns) == 1 else None
    if len(columns) == 1 and known:
        return None
    question = "Column that holds the whole question"
    found = ask.for_text(
        "instruction_column", None, question, default=known or only, choices=columns
    )
    return None if found == known else found


def _kind(flags: argparse.Namespace, seeds: SeedSet, ask: _Asking) -> str:
    guessed = guess_kind(seeds)
    if flags.labels and flags.answer_kind not in (None, "label"):
        raise ValueError(f"labels go with answer_kind label, not {visible(flags.answer_kind)}.")
    if flags.labels:
        return label_kind(flags.labels)
    short = guessed.partition("(")[0]
    question = "Kind of answer"
    kind = ask.for_text("answer_kind", flags.answer_kind, question, default=short, choices=KINDS)
    if kind == short:
        return guessed
    if kind == "label":
        return label_kind(ask.for_text("labels", None, "All labels, with blanks between").split())
    if kind == "choice" and (num := num_choices(seeds.instructions)):
        return f"choice(num_choices={num})"
    return kind
