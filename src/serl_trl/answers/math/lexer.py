"""Mathematical text to tokens: noise removed, spellings unified, words told from symbols."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from serl_trl.answers.math.vocabulary import (
    COMMANDS,
    NAMES,
    OTHER_NAMES,
    SHORT_WORDS,
    SIGNS,
    UNITS,
)
from serl_trl.common.text import compose

# Models answer in Unicode, in LaTeX and in plain ASCII; all three become LaTeX.
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

# A text of nothing but words, numbers behind them and punctuation.
_PROSE = re.compile(r"[^\W\d_][\w'\"&,.;:!?() \-]*")
# Every alternative is linear: a repetition never ends where its neighbour may begin. The last one
# takes any sign, so that the scan cannot stop.
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|~)
    | (?P<text>\\(?:text(?:bf|rm|it|sf|tt|normal|up)?|mbox|hbox|mathrm|mathsf|operatorname\*?|rm)
        \s{0,4}\{)
    | (?P<env>\\(?:begin|end)\s{0,4}\{[A-Za-z]+\*?\})
    | (?P<repeating>\d*\.\d*(?:\\(?:overline|bar|dot|overset)\s?\{?\d+\}?
        (?:\d*\\dot\s?\{?\d\}?)?|\(\d+\)))
    | (?P<grouped>(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,]\d)(?!\d)(?:\.\d+)?)
    | (?P<scientific>\d+(?:\.\d+)?[eE][+-]?\d{1,3}(?![\dA-Za-z]))
    | (?P<number>\d+(?:\.\d+)?|\.\d+)
    | (?P<command>\\[A-Za-z]+|\\[^A-Za-z])
    | (?P<word>[^\W\d_]+)
    | (?P<sign>\*\*|<=|>=|!=|\.\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ANSWER_IS = re.compile(
    r"(?:\\text\s?\{\s?)?(?:so |thus |therefore,? )?(?:the )?(?:final )?"
    r"answer(?: is)?\s?[:=]?\s?\}?(?=\s*\S)",
    re.IGNORECASE,
)
# 10 000 and 10'000 are how other countries write thousands.
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,^_{])\d{1,3}(?: \d{3})+(?=\D*$)")
_APOSTROPHES = re.compile(r"(?<![\w'])\d{1,3}(?:'\d{3})+(?![\d'])")
# "5 m" is five metres, "5m" five times m.
_LETTER_UNIT = re.compile(r"(.*\d) +([mgsL]|m/s)(\^\{?[23]\}?)?")
# Layout with an argument that is never shown.
_HIDDEN = re.compile(r"\\(?:phantom|hspace|vspace|label|tag|color)\*?\s?\{[^{}]*\}")
# Commands of siunitx.
_WRAPPED = re.compile(r"\\(?:num|ang)\s?\{([^{}]*)\}")
_MEASURED = re.compile(r"\\(?:SI|qty)\s?\{([^{}]*)\}\s?\{\\?([A-Za-z]+)\}")
# {}^5C_2, {}_5C_2 and their kin: choices and arrangements as schools write them.
_CHOOSE = re.compile(
    r"(?:\{\})?[_^](?:\{(\w{1,9})\}|(\w))\s?(?:\\(?:mathrm|text|rm)\{)?([CP])\}?\s?_(?:\{(\w{1,9})\}|(\w))"
)
_CURRENCY = re.compile(r"(\\\$|[$€£])\s?(?=[\d.\\{(])|(?<=\d)\s?(\\\$|[€£])")
_COLOURED = re.compile(r"\\textcolor\s?\{[^{}]*\}\s?(?=\{)")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_NUMBERS = ("grouped", "number", "scientific", "repeating")
_SIGNS = {"**": "^", "<=": "\\le", ">=": "\\ge", "!=": "\\ne", "...": "\\dots"}


@dataclass(frozen=True)
class Token:
    """One token; `spaced` tells whether white space came before it.

    `type` is `number`, `symbol`, `word`, `command`, `sign`, `repeating` or `end`.
    """

    type: str
    text: str
    spaced: bool = False


END = Token("end", "")


def clean(answer: str) -> str:
    """Remove what surrounds an answer: markers, dollar signs, markdown, a closing full stop."""
    text = answer if answer.isascii() else _to_ascii(answer)
    text = _CHOOSE.sub(_choose, text.strip()) if "C" in text or "P" in text else text.strip()
    # A box around dollar signs around a text in braces: each pass takes one layer off.
    for _ in range(4):
        inner = _unwrap(text)
        if inner == text or not inner:
            break
        text = inner
    if "\\" in text:
        text = _MEASURED.sub(r"\1 \\text{\2}", text)
        text = _WRAPPED.sub(r"\1", _HIDDEN.sub("", _COLOURED.sub("", text)))
        text = re.sub(r"(?<=\d)(?:,|\{,\})\s?\\!\s?(?=\d{3}(?!\d))", ",", text)
        text = re.sub(r"(?<=\d)\\[,;: ](?=\d{3}(?!\d))", ",", text)
        text = re.sub(r"(?<!\\)\\[()\[\]]|\\\$|\\left\s?\.", "", text)
    # In LaTeX, braces around a comma take its space away: it is inside a number.
    text = re.sub(r"(?<=\d)\{,\}(?=\d)(?!\d{3}(?!\d))", ".", text)
    # Whatever other spelling of a comma is left is a plain one, and dollar signs are layout.
    text = text.replace("{,}", ",").replace("$", "")
    text = _APOSTROPHES.sub(lambda match: match.group().replace("'", ""), text)
    text = re.sub(r"(?<=\d)~(?=\d{3}(?!\d))", ",", text)
    text = _SPACED_THOUSANDS.sub(lambda match: match.group().replace(" ", ","), text)
    text = re.sub(r"(?<=\d) ?x ?(?=10\^)", "*", text)
    # Written apart from its number one of these letters is a unit; a symbol stands close: 5m.
    if match := _LETTER_UNIT.fullmatch(text):
        text = f"{match[1]} \\text{{{match[2]}}}{match[3] or ''}"
    text = re.sub(r"(?<=\d) ([hmgsL])(?= \d)", r" \\text{\1}", text)
    text = _strip_stop(_ANSWER_IS.sub("", text.strip(), count=1).strip())
    return text or answer.strip()


def is_prose(text: str) -> bool:
    """Whether a cleaned answer is words and nothing to compute with."""
    if not _PROSE.fullmatch(text):
        return False
    runs = [run for run in re.findall(r"[^\W\d_]+", text) if run not in ("or", "and")]
    # Three letters may be a product, but not where they are a word that counts things.
    if len(runs) == 1 and len(text) == 3 and text in UNITS:
        return True
    return any(_is_word(run, after_number=False) for run in runs)


def tokens(text: str) -> list[Token]:
    """Split cleaned text; raises nothing, whatever the text."""
    found = list(_scan(text, in_text=False, in_list=", " in text, depth=0))
    return [*found, END]


def words(text: str) -> str:
    """Normalise words: lower case, no punctuation, no leading article."""
    text = re.sub(r"\\(?:text\w*|mbox|mathrm|operatorname\*?)\s?\{([^{}]*)\}", r" \1 ", text)
    plain = re.sub(r"(?<!\d)[.,;:]|[.,;:](?!\d)|[!?'\"`{}~]|\\[,;:! ]|\\\\", " ", text.casefold())
    plain = " ".join(plain.split())
    return re.sub(r"^(?:the|an?) (?=\S)", "", plain) or text.strip()


def _to_ascii(text: str) -> str:
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda m: f"^{{{m.group().translate(_SUPERSCRIPTS)}}}", text)
    text = re.sub("[₀-₉]+", lambda m: f"_{{{m.group().translate(_SUBSCRIPTS)}}}", text)
    text = re.sub("[¼-¾⅐-⅞]", _vulgar, text)
    # NFKC last: it would take apart the signs that are listed.
    return compose("".join(SIGNS.get(sign, sign) for sign in text), "NFKC")


def currency(answer: str) -> str:
    """The sign of the money that an answer is about; a formula between dollar signs has none."""
    match = _CURRENCY.search(answer)
    if match is None or (match.group().strip() == "$" and answer.count("$") != 1):
        return ""
    return match.group().strip().lstrip("\\")


def _choose(match: re.Match[str]) -> str:
    above, below = match[1] or match[2], match[4] or match[5]
    if match[3] == "C":
        return f"\\binom{{{above}}}{{{below}}}"
    return f"\\binom{{{above}}}{{{below}}}({below})!"


def _vulgar(match: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", match.group()).partition("⁄")
    return f"\\frac{{{above}}}{{{below}}}"


def _unwrap(text: str) -> str:
    for opened, closed in (("\\boxed{", "}"), ("\\fbox{", "}"), ("{", "}")):
        if text.startswith(opened) and text.endswith(closed):
            inner = text[len(opened) : -len(closed)]
            is_set = opened == "{" and re.search(r",|\\(?:choose|over)", inner)
            if not is_set and _balanced(inner):
                return inner.strip()
    for mark in ("**", "__", "$$", "$", "`", '"', "*", "_"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            inner = text[len(mark) : -len(mark)]
            if mark not in inner and not inner.endswith("\\"):
                return inner.strip()
    return _strip_stop(text)


def _balanced(text: str) -> bool:
    depth = 0
    for match in _BRACES.finditer(text):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth < 0:
            return False
    return depth == 0


def _strip_stop(text: str) -> str:
    while text and text[-1] in ".,;:" and not text.endswith(("..", "\\,", "\\;", "\\:")):
        shorter = text[:-1].rstrip()
        # "a.m." and "St." keep their stop, so that spellings with and without it go the same way.
        if not shorter:
            break
        text = shorter
    return text


def _scan(text: str, *, in_text: bool, in_list: bool, depth: int) -> Iterator[Token]:
    position, spaced, brackets, before = 0, False, 0, ""
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match, "the last alternative matches any character"
        kind, found, position = match.lastgroup or "", match.group(), match.end()
        if kind == "space" or COMMANDS.get(found) == "":
            spaced = spaced or found != "\\!"
            continue
        if in_text and found == ".":  # of an abbreviation: sq. ft.
            continue
        if kind == "text":
            end = _closing(text, position)
            yield from _text_tokens(found, text[position:end], spaced, depth)
            position, spaced, before = end + 1, True, ""
            continue
        # (1,034) is one number all the same: nobody writes 034 in a pair.
        if kind == "grouped" and brackets > 0 and not in_list and not re.search(r",0\d\d", found):
            # (1,234) may be a pair.
            found = found.partition(",")[0]
            position = match.start() + len(found)
        if kind == "word":
            after_number = before in _NUMBERS
            yield from _word_tokens(found, spaced, in_text=in_text, after_number=after_number)
        else:
            yield _token(kind, found, spaced)
        brackets += (found in ("(", "[", "\\{")) - (found in (")", "]", "\\}"))
        spaced, before = False, kind


def _token(kind: str, found: str, spaced: bool) -> Token:
    """One token of what is neither a word nor a text."""
    if kind == "command":
        found = COMMANDS.get(found, found)
        if found in ("and", "or"):
            return Token("word", found, spaced)
        kind = "symbol" if found in ("i", "j") else "command" if found[0] == "\\" else "sign"
    elif kind == "env":
        kind, found = "command", found.replace(" ", "")
    elif kind == "sign":
        found = _SIGNS.get(found, found)
        kind = "command" if found == "\\dots" else "sign"
    elif kind != "repeating":
        kind, found = "number", found.replace(",", "")
    return Token(kind, found, spaced)


def _closing(text: str, position: int) -> int:
    """Where the brace that was opened before `position` is closed; the end without one."""
    depth = 1
    for match in _BRACES.finditer(text, position):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.start()
    return len(text)


def _text_tokens(command: str, content: str, spaced: bool, depth: int) -> Iterator[Token]:
    """Tokens of `\\text{...}`: its words stay words."""
    # A text in a text in a text: nobody answers so, and each level is another generator.
    if depth > 8:
        return
    single = content.strip()
    if len(single) == 1 and command.startswith(("\\mathrm", "\\rm")) and single in "ei":
        yield Token("symbol", single, spaced)
        return
    if single in NAMES and command.startswith("\\operatorname"):
        yield Token("command", f"\\{single}", spaced)
        return
    yield from _scan(content, in_text=True, in_list=", " in content, depth=depth + 1)


def _word_tokens(run: str, spaced: bool, *, in_text: bool, after_number: bool) -> Iterator[Token]:
    close_enough = spaced or not after_number or run in UNITS or not run.isascii()
    if run.lower() in ("or", "and"):
        yield Token("word", run.lower(), spaced)
    elif run in NAMES or run in OTHER_NAMES:
        yield Token("command", OTHER_NAMES.get(run, f"\\{run}"), spaced)
    elif in_text or len(run) > 4 or (close_enough and _is_word(run, after_number=after_number)):
        yield Token("word", run, spaced)
    else:
        for offset, letter in enumerate(run):
            yield Token("symbol", letter, spaced and offset == 0)


def _is_word(run: str, *, after_number: bool) -> bool:
    """Whether letters in a row are a word; otherwise they are a product of symbols."""
    if (len(run) < 2 and run.isascii()) or run in NAMES or run in OTHER_NAMES:
        return False
    if len(run) >= 4 or run.lower() in SHORT_WORDS or not run.isascii():
        return True
    if after_number:
        return run in UNITS
    return run[0].isupper() and run[1:].islower()
