"""Does a proposal hold its own answer? A marker such as "Answer:", or a solution after the ask.

All patterns have bounded repetitions, so that the time is linear in the length of the text.
"""

import re

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.common.words import SPACED_ANSWER, UNSPACED_ANSWER, VERDICT_LABEL

_I = re.IGNORECASE

QUOTED = re.compile(r"\"[^\"\n]{0,300}\"|“[^”\n]{0,300}”|``[^'\n]{0,300}''")
"""Somebody's speech inside a problem."""

CHOICE = re.compile(r"\(A\)|\bA[.)] |\\textbf\{\(A\)")
"""The first of the answers to choose from."""

_NUMBER_WORD = (
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand)"
)
# What an answer begins with. "$\frac{m}{n}$" names a form, and "one of" is no number.
_VALUE = (
    r"[$*_({\\\[ ]{0,6}(?:[-−+]?[$€£]?\.?\d|(?:[dt]?frac|sqrt|text|mathbf)\s?\{?-?\d|pi\b"
    rf"|{_NUMBER_WORD}\b(?! of\b))"
)
_NOUN = r"(?:(?:final |correct |right )?(?:answers?|ans|result|solution))"
_COLON = r"\s{0,2}[*_]{0,2}\s{0,2}[:：=][*_]{0,2}\s{0,3}\S"

_MARKER = re.compile(
    r"\\f?boxed\s{0,3}\{\s{0,3}[^\s}]|\\boxed\s{1,3}\w|####"
    rf"|(?:^|[\s(\[*_])(?:final |correct )?(?:answers?|ans){_COLON}"
    # "A 40% salt solution: 3 liters" is a liquid, "all solutions: $x^2 = 9$" a task.
    rf"|(?:^|[\n(\[*_]|[.?!:;$)\]] {{1,3}}|(?=(?-i:S))\b)solutions?{_COLON}"
    rf"|\(the {_NOUN} (?:is|=|:){_VALUE}"
    # The same in other languages, whose words for a solution may be a liquid as well.
    rf"|(?:^|[\n(\[*_]|[.?!:;$)\]？؟] {{1,3}}|(?=(?-i:[A-ZÀ-ÞА-Я]))\b)(?:{SPACED_ANSWER}){_COLON}"
    rf"|(?:^|[\s(\[【*_.?!。？！)])(?:{UNSPACED_ANSWER})[】\]]?{_COLON}",
    _I,
)

_ORDER = (
    r"(?:find|compute|calculate|determine|evaluate|simplify|solve|express|factor|expand|convert"
    r"|round|estimate|add|subtract|multiply|divide|give|state|write|show|prove)"
)
_ASK = re.compile(rf"(?:^|[,:;*_)$\]}}] {{0,3}}|\b(?:then|please) ){_ORDER}\b|\?", _I)
# A list or a formula may end without a full stop.
_SENTENCE_END = re.compile(
    r"(?<=[.?!;])[\"'”)\]}$*_]{0,4}\s+|\n+|\s(?=(?:Therefore|Thus|Hence|So|The|We|Step 1)\b)"
)
_OPENING = r"^[\s*_$(\[]{0,4}(?:(?:and|but|so|then|now),? )?"

_ARROW = r"(?:[=≈→⇒]|[-=]>|\\(?:to|(?:long)?rightarrow|implies)\b)"

# Nobody who only asks writes these after the ask; "Hence find" is another order.
_CONCLUSION = re.compile(
    rf"{_OPENING}(?:(?:therefore|thus|hence|consequently|it follows)\b"
    rf"(?!,? (?:{_ORDER}|what|how|which)\b)"
    rf"|so,? (?:the\b|we (?:get|have)\b|{_VALUE}|\$?[a-z]\$? ?=)"
    r"|step 1\b|solution ?[-–—]"
    rf"|(?:the |our |my )?{_NOUN} (?:is|are|equals|=|would be|will be|comes to)"
    rf"(?: (?:therefore|thus|simply|just|exactly|equal to))?:?{_VALUE}"
    r"|(?:since|because|\w{3,20}ing)\b[^.?!\n]{0,120}(?:\bwe (?:get|obtain|find)\b|, we have\b"
    r"|\b(?:gives|yields) (?:us )?\$?\w{1,3}\$? ?=)"
    r"|(?:first,? )?we (?:get|obtain|conclude|find that|see that|first|can (?:re)?(?:write|solve"
    r"|use|find|compute|factor|expand|simplify|see|add|subtract|divide|multiply|set))\b"
    rf"|{_ARROW}{_VALUE})",
    _I,
)
# A text that follows the last question is a remark or an order, or else it begins the solution.
_TAIL = re.compile(
    r"^(?:therefore|thus|hence|so the|because|since|to (?:solve|find|answer)|let's|let us|(?:so"
    r"|first),"
    r"|step 1|we (?:can|get|have|need|know|find|want|use|start|must|divide|add)|the answer"
    r"(?! (?:should|must|needs?|has to|can be|may|is an?)\b))(?!\w)"
    r"|^(?:there (?:are|is|were|was|will be)|(?:he|she|it|they|i|we|you) \w{1,20})\b[^.]{0,100}\d"
    r"|^[A-Z][a-z]{1,20} (?:has|had|will|needs|gets|got|paid|pays|can|ate|sold|bought"
    r"|have) [^.]{0,60}\d"
    rf"|^[\[(]?(?:{_NOUN}|correct)(?! \d+ (?:for|if|when)\b)[*_\s.:=–—-]{{0,5}}(?:is|are)?"
    rf"{_VALUE}"
    rf"|^A ?[:=]{_VALUE}[^B]{{0,40}}$"
    rf"|^{_NUMBER_WORD}(?:[ -]{_NUMBER_WORD}){{0,5}}(?: \w{{1,20}})?[.!]?$",
    _I,
)
_BARE_NUMBER = re.compile(
    rf"^[$\\({{*]{{0,3}}(?:{_ARROW}\s?)?[$(\[\\{{*]{{0,6}}[-−]?\d[^A-Za-z?]{{0,200}}"
    r"(?:[A-Za-z]{1,20}[^A-Za-z?]{0,3}){0,2}$",
    _I,
)
_THING = re.compile(
    r"\b(?:find|compute|calculate|determine|evaluate|give|state|what(?: is| are|'s))\s"
    r"((?:\S{1,25} ){0,12}\S{1,25})",
    _I,
)
_STATED = re.compile(
    rf"{_OPENING}(?:the|its|his|her|their) ((?:\S{{1,25}} ){{1,8}}?)"
    rf"(?:is|are|equals|=|will be|would be)(?: (?:therefore|thus|equal to))?{_VALUE}",
    _I,
)
_UNKNOWN = re.compile(
    r"\b(?:find|determine|solve for) (?:the value of )?\$?([a-z])\$?"
    r"(?=[.,;]|$| (?:if|such|given|in|for|where|so|from|when)\b)",
    _I,
)
_EQUATION = re.compile(rf"{_OPENING}([a-z])\$? ?= ?{_VALUE}[^a-z]{{0,30}}$", _I)
_HEAD_END = re.compile(
    r"\b(?:of|if|when|that|which|in|with|for|given|between|on|at|from|to|such)\b"
)
_CHANGES = re.compile(r"\b(?:after|before|now)\b", _I)  # the same thing, at another time
_NOT_LETTERS = re.compile(r"[\W_]+")
_ARTICLES = re.compile(r" (?:the|an?|its|his|her|their)(?= )")


def check_answer_leak(text: str) -> Verdict:
    """Refuse proposals that hold their own answer: a marker such as "Answer:", or a worked tail.

    A label at the start ("Positive: ...") is a marker, and so are the words of other languages.
    The tail is what follows the last question mark outside quotation marks; an order there
    ("Express your answer as ...") or a remark is part of the problem. After the first order too a
    sentence that concludes ("Therefore"), or states what was asked for, is refused.
    """
    found = _MARKER.search(text) or VERDICT_LABEL.search(text)
    if found:
        return Verdict(False, "answer_leak", {"found": found.group().strip()})
    bare = QUOTED.sub(" ", text)
    _, mark, tail = bare.rpartition("?")
    tail = tail.strip().strip("*_").strip()
    if mark and (_TAIL.search(tail) or _BARE_NUMBER.search(tail)) and not CHOICE.search(tail):
        return Verdict(False, "answer_leak", {"found": tail[:80]})
    sentence = _solving_sentence(bare)
    return Verdict(False, "answer_leak", {"found": sentence[:80]}) if sentence else KEEP


def _solving_sentence(text: str) -> str | None:
    """Return the first sentence after the first ask that solves it."""
    sentences = iter(_SENTENCE_END.split(text))
    asked = next((sentence for sentence in sentences if _ASK.search(sentence)), "")
    unknown = _UNKNOWN.search(asked)
    thing = _THING.search(asked)
    whole = _plain(thing[1]) if thing and not _CHANGES.search(asked) else ""
    head = _HEAD_END.split(whole, maxsplit=1)[0]
    for sentence in sentences:
        if _CONCLUSION.search(sentence):
            return sentence
        equation = _EQUATION.search(sentence)
        if equation and unknown and equation[1] == unknown[1]:
            return sentence
        stated = _STATED.search(sentence)
        subject = _plain(stated[1]) if stated else ""
        # "Find the area of a circle": "The area is", not "The radius is" nor "The area of a disk".
        if subject.strip() and subject in whole and f" {subject.split()[0]} " in head:
            return sentence
    return None


def _plain(words: str) -> str:
    """Return the words in lower case, without articles, with a space on either side of each."""
    return _ARTICLES.sub("", f" {_NOT_LETTERS.sub(' ', words.lower()).strip()} ")
