"""Words to the reader around and between the items of a list, and titles over them."""

import re

from serl_trl.common.words import MAY_ASK
from serl_trl.propose.parsing.solutions import EMPHASIS

_I = re.IGNORECASE

_LINE_END = r"[ *_]{0,8}(?:\n|$)"
_PROBLEMS = r"(?:problems?|questions?|exercises?|instructions?)"
# Words to the reader before a list or between two.
GREETING = re.compile(
    r"^[\s*_#>\"']{0,6}(?:"
    r"(?:sure|certainly|of course|absolutely|okay|ok|alright|great|hello|hi|hey|thanks"
    r"|thank you"
    r"|understood|got it|no problem|welcome|my pleasure|happy to help|glad to help)"
    r"(?:[!,.:;]|\s*$|\s+(?:thing|here|i|let)\b)"
    r"|yes(?:!|,? (?:of course|sure|certainly|here|i|let)\b)"
    r"|(?:here(?:'s|’s| is| are| come)|below (?:is|are))\b[^?.\n]{0,80}"
    rf"(?:\b{_PROBLEMS}\b|\b(?:more|another)[:!]|:{_LINE_END})"
    r"|(?:i(?:'ll|’ll| will| can| have|'ve|’ve)|let(?:'s|’s| me| us)) (?:\w{1,12} )?"
    r"(?:create|created|write|written|continue|generate|generated|make|made|provide|provided|give"
    r"|come up|add|cover)\b"
    r"|i(?:'m|’m| am) (?:sorry|happy|glad)|i apologi[sz]e|unfortunately, i|as an ai\b|as requested"
    r"|as (?:a|your|an experienced) teacher\b|continuing (?:the|with|from)\b)",
    _I,
)
# "These are just a few examples of ...": tells of the list, holds no number, asks nothing.
_INTRODUCTION = re.compile(
    r"^[\s*_#>\"']{0,6}(?:(?:these|those|this|the following|here|below|above|the above|they)"
    r" (?:is|are|were)|(?:some|a few|more|other|several)|(?:for|as an?|in this) example"
    r"|(?:this|the) list|each (?:one|of (?:these|them|the)))\b[^?？\d\n]{0,40}"
    r"\b(?:examples?|samples?|problems|questions|exercises|instructions|tasks|prompts|list)\b"
    r"[^?？\d\n]{0,300}$",
    _I,
)
# Words to the reader behind a list. A problem may say "If you have 3 more": no more than chat does.
CLOSING = re.compile(
    r"^[\s*_#>(\[\"'.…]{0,6}(?:(?:i )?hope (?:this|these|that|you)\b|let me know\b"
    r"|(?:please )?feel free\b|(?:would you like|do you want|do you need) (?:me|any|another|more"
    rf"|some|help|to (?:see|try|continue)|the (?:answers|solutions))\b(?! \w{{1,20}} or\b)"
    r"|if you(?:'d|’d| would)? (?:need|want|like|have) (?:any|more|help|another|additional|further"
    rf"|me|the (?:answers|solutions)|to (?:see|try|continue))\b(?=[^?\d\n]{{0,120}}{_LINE_END})"
    r"|good luck|happy (?:solving|learning|teaching|practicing)|enjoy(?:[!.]| solving| these)"
    rf"|that(?:'s|’s| is) (?:all|it)\b(?=[^?\d\n]{{0,60}}{_LINE_END})|is there anything else\b"
    rf"|(?:please )?note(?: that|:)? (?:these|all|the) {_PROBLEMS}\b"
    rf"|please let me\b|end of (?:the )?(?:list|{_PROBLEMS}|output)"
    rf"|(?-i:End|END)[.\])]{{0,2}}{_LINE_END}"
    rf"|(?:this|that) (?:concludes|completes|ends) (?:the|our|my) (?:list|set|{_PROBLEMS})\b"
    r"|the (?:correct )?answers are\b"
    r"|\(?to be continued|continued\b|and so on\b|[\[(]?your turn\b)",
    _I,
)
# The same of what stands apart, about the problems, and asks nothing.
REMARK = re.compile(
    r"^[\s*_#>(\[\"']{0,6}(?:note(?: that|:) )?(?:these|those|the (?:above|following)"
    r"|all(?: of)?(?: these"
    rf"| the)?|each(?: of)?(?: these| the)?) (?:\w{{1,15}} ){{0,3}}{_PROBLEMS}\b[^?\d\n]{{0,200}}"
    rf"{_LINE_END}",
    _I,
)
HEADING = re.compile(r"^ *#{1,6} \S")
TITLE = re.compile(rf"^ *(?:{EMPHASIS})(?P<title>[^*_?.!:$\n]{{1,80}}):?(?:{EMPHASIS}):? ?$")
_MAX_TITLE_WORDS = 8


def is_chat(line: str) -> bool:
    """Tell whether a line speaks to the reader of the list."""
    return any(words.match(line) for words in (GREETING, CLOSING)) or introduces(line)


def introduces(line: str) -> bool:
    """Tell whether a line tells what kind of list this is, and asks nothing."""
    return _INTRODUCTION.match(line) is not None and MAY_ASK.search(line) is None


_ABOUT_PROBLEMS = re.compile(rf"\b{_PROBLEMS}\b", _I)
_THESE = re.compile(r"^ ?(?:these|those)\b", _I)


def speaks_between(line: str, *, apart: bool, ends: bool) -> bool:
    """Tell whether a line speaks to the reader again, and is not a line of the item.

    `apart` says that a blank line precedes it, `ends` that it is the last and the item has asked.
    """
    if GREETING.match(line):
        return apart or _ABOUT_PROBLEMS.search(line) is not None
    if apart and introduces(line):
        return True
    alone = apart or (ends and _THESE.match(line) is not None)
    return alone and REMARK.match(line) is not None and MAY_ASK.search(line) is None


def without_title(lines: list[str], *, is_heading: bool) -> list[str]:
    """Drop a first line that only names the item, when the item follows."""
    named = is_title(lines[0]) and (is_heading or TITLE.match(lines[0]) is not None)
    return lines[1:] if named and any(line.strip() for line in lines[1:]) else lines


def is_title(line: str) -> bool:
    """Tell whether a line is a few words that ask nothing."""
    bare = line.strip().strip("*_#:} ")
    words = bare.split()
    return 0 < len(words) <= _MAX_TITLE_WORDS and bare[-1:].isalnum() and not MAY_ASK.search(bare)


def without_preamble(lines: list[str]) -> list[str]:
    """Drop the leading lines that greet, announce the list, or head it."""
    for place, line in enumerate(lines):
        bare = line.strip()
        if not bare or HEADING.match(line) or is_chat(line):
            continue
        if TITLE.match(line) and is_title(line):
            continue
        return lines[place:]
    return []
