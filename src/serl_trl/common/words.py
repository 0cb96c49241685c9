"""Words by which a text names a question, an answer or a task, in the languages models write.

The words lie in words.yaml; here they become patterns.
"""

import re

from serl_trl.common.plain_yaml import own_table

_LISTS = own_table(__file__)
_WORDS = {name: "|".join(lines) for name, lines in _LISTS.items()}
_I = re.IGNORECASE

# What heads one instruction, before or behind its number.
ITEM = rf"(?:{_WORDS['item']})"

# What stands behind a number that counts instructions: 第9题, 9번.
COUNTER = r"(?:道?[题題]|[问問](?:题|題)?|번(?: ?(?:문제|질문))?)"

SPACED_ANSWER = _WORDS["answer_spaced"]
UNSPACED_ANSWER = _WORDS["answer_unspaced"]
# What heads an answer or a solution in another language than English.
FOREIGN_ANSWER = rf"(?:{SPACED_ANSWER}|{UNSPACED_ANSWER})"

# What heads the answers of all instructions together.
ANSWER_KEY = _WORDS["answer_key"]

# A text that begins with what may be its own answer: "Positive: ...", "False: ...".
VERDICT_LABEL = re.compile(
    r"^[\W_]{0,4}(?:(?:label|sentiment|class|category)\s?[:=]\s?)?[\[(*_]{0,3}"
    rf"(?:{_WORDS['verdict']})[\])*_]{{0,3}}\s?[:：]",
    _I,
)

# A sign of a script that puts no blanks between words.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)

# Small words of languages whose questions and orders are known here.
FUNCTION_WORDS = frozenset(_WORDS["function"].split("|"))

# Where a clause begins: at the start, after punctuation or emphasis, after a linking word.
START = (
    r"(?:^|[.?!:;,)\]}$\n*_\"'(。！？；：，、] {0,3}|\b(?:then|please|also|now|can you|could you) )"
)

_BLANK = (
    r"[?？؟՞]|[\u0370-\u03ff] ?;|_{2,}|\\_|\\underline\b|=\s{0,3}\$?\s{0,3}$|(?-i:\(A\))"
    r"|\\(?:square|Box)\b|[□▢◻]|[(（]\s{1,8}[)）]|（）|\bis:?\s{0,3}$|\btrue or false\b"
    r"|\b(?:is|are|was|were|equals?|the|an?|called|of|to|by|in)[: ]{1,3}(?:\.{3}|…)"
)
_ASKED = (
    r"\b(?:task|job|goal|aim|exercise|problem|question) is to |\byou (?:are asked to|are to|need to"
    r"|have to|must|should) |\bwant you to "
)
# A question, an order to the solver, or a blank to fill, in any of these languages.
# Behind "to" or "and" a verb tells as often as it orders; behind a comma "which" and "who" relate.
ASKS = re.compile(
    rf"{_BLANK}"
    r"|\b(?:how many|how much|how long|how far|what is|what are|which of|is it true)\b"
    rf"|{START}(?:what(?! an?\b)|how (?:old|tall|high|wide|deep|fast|often|big|large|do|does|did"
    r"|can|is|are)|whose)\b|(?:^|[.?!:;\n] {0,3})(?:which|who)\b"
    rf"|(?:{START}|{_ASKED})(?:\w{{2,15}}ly )?(?:{_WORDS['order']})\b"
    rf"|\b(?:{_WORDS['foreign_order']})\b|{_WORDS['unspaced_order']}",
    _I,
)

# What a line of an instruction may hold, told less strictly: it need not begin a clause.
MAY_ASK = re.compile(
    rf"{ASKS.pattern}|\b(?:find|compute|calculate|determine|evaluate|simplify|solve|express|factor"
    r"|expand|write|convert|enter|for what)\b",
    _I,
)
