"""Lines of a proposer's output that begin a solution, and those behind which nothing is an item."""

import re

from serl_trl.common.words import ANSWER_KEY, FOREIGN_ANSWER

_I = re.IGNORECASE

EMPHASIS = r"\*{1,3}|_{2,3}"

# A line that begins a solution. What `weak` names may as well be data of the problem.
ANSWER_LINE = re.compile(
    rf"^ *(?:[-*•>] )?(?:\#{{1,6}} )?(?:{EMPHASIS}|[(\[])? ?"
    r"(?:(?P<label>(?:final |correct |the |sample |detailed )?(?:answers?|solutions?|ans|sol"
    rf"|explanation|reasoning|working|proof|(?:la |le |die |der |il |el )?{FOREIGN_ANSWER})"
    r"(?: ?(?:\d{1,4}|key))?"
    rf"|a\d{{1,4}}(?= ?(?:{EMPHASIS})? ?[:=：]))"
    rf"|(?P<weak>step ?1|response|output|result|salida|saída|ausgabe|sortie|вывод|输出|出力"
    rf"|a(?= ?(?:{EMPHASIS})? ?[:：])))"
    rf" ?(?P<close>{EMPHASIS})? ?"
    r"(?P<end>[:=：.]|[-–—](?= )|[)\]](?= ?$)|(?= ?$)|(?(close)(?=(?-i:[^a-z\s]))|(?!)))",
    _I | re.MULTILINE,
)
# A list marker before a line that is a part of the item: "9. Output:" below "9. Instruction:".
_MARKED_PART = re.compile(
    rf"^ *\d{{1,3}}[.)] (?=(?:input|output|response|answer|solution|{FOREIGN_ANSWER}) ?[:：])",
    _I | re.MULTILINE,
)
INPUT_LINE = re.compile(
    rf"^ *(?:\#{{1,6}} )?(?:{EMPHASIS})?(?:input|entrada|eingabe|entrée|输入|入力)"
    rf" ?(?:{EMPHASIS})? ?[:：] ?(?:{EMPHASIS})? ?(?:(?:<?no ?input>?|none|n/a) ?\.?$)?",
    _I,
)
"""What heads the input of an instruction; with nothing to read, the whole line."""
# The second of the lines whose first only looks like a label: choices, or the rows of a machine.
SIBLING = re.compile(r"\b(?:B|input) ?[:：.)]", _I)
# A line behind which nothing is an item: the answer key, or another turn of the chat.
AFTERWARDS = re.compile(
    rf"^ *(?:\#{{1,6}} )?(?:{EMPHASIS})?(?:"
    r"(?:answers|solutions|answer key|answers? and solutions?)(?: (?:to|for)\b[^\n]{0,60})?"
    rf"|{ANSWER_KEY}"
    r"|(?:here|below) are (?:the |all )?(?:correct |detailed )?(?:answers|solutions)\b[^\n:]{0,60}:"
    r"|user|human|(?-i:User|Human):.*)"
    rf" ?(?:{EMPHASIS})? ?[:：]? ?(?:{EMPHASIS})? ?$",
    _I | re.MULTILINE,
)


def solves(found: re.Match[str] | None, *, asked: bool) -> bool:
    """Tell whether a line begins a solution: "Answer:", "**Solution**", "Step 1:" and the like."""
    if found is None:
        return False
    if found["weak"] and not asked:  # the steps of an algorithm may be the problem
        return False
    return found["end"] in (":", "=", "：") or not (found["label"] or found["weak"])[0].islower()


def is_label(line: str) -> bool:
    """Tell whether `line` holds nothing but "Solution:" or the like."""
    found = ANSWER_LINE.match(line)
    return solves(found, asked=False) and not line[found.end() if found else 0 :].strip(" *_")


def join_parts(text: str) -> str:
    """Drop the list markers of lines that only go on with an item: its input, its answer."""
    return _MARKED_PART.sub("", text)
