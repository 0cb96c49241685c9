"""Final-answer markers: where in a completion the answer stands."""

import re

# One pass over the text, so that thousands of unclosed markers cost no more than plain text does.
# Up to four backslashes: models print \boxed doubled when they write JSON or source code.
_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)\s{0,8}\{|\\.|[{}]", re.DOTALL)
_ANSWER_LINE = re.compile(
    r"^[ \t>*_#-]{0,8}(?:the )?(?:final )?answer[ *_]{0,4}[:：][ *_]{0,4}(\S[^\n]{0,2000})$",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"^[ \t]{0,8}####[ \t]{0,8}(\S[^\n]{0,2000})$", re.MULTILINE)

Found = tuple[int, str]


def last_boxed(completion: str) -> Found | None:
    """Find the last non-empty balanced `\\boxed{}` or `\\fbox{}`: its offset and its content.

    Of nested markers the innermost counts. Escaped braces are text.
    """
    best: Found | None = None
    opened: list[int] = []  # end offset of the opening marker, or -1 for a plain brace
    for token in _TOKEN.finditer(completion):
        text = token.group()
        if text == "}":
            start = opened.pop() if opened else -1
            if start > (best[0] if best else -1):
                content = trim(completion[start : token.start()])
                best = (start, content) if content else best
        elif text[-1] == "{" and len(text) != 2:
            opened.append(token.end() if len(text) > 1 else -1)
    return best


def last_answer_line(completion: str) -> Found | None:
    """Find the last line of the form `Answer: ...`."""
    return _last_line(_ANSWER_LINE, completion)


def last_hashes(completion: str) -> Found | None:
    """Find the last line of the form `#### ...`, the marker of GSM8K."""
    return _last_line(_HASHES, completion)


def latest(*found: Found | None) -> str | None:
    """The content of the marker that stands last."""
    present = [item for item in found if item is not None]
    return max(present)[1] if present else None


def trim(content: str) -> str:
    """Strip white space around an answer, so that putting it back into a marker changes nothing."""
    stripped = content.strip()
    # A trailing "\ " is one LaTeX token; a bare backslash would escape the closing brace.
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 else stripped


def _last_line(pattern: re.Pattern[str], completion: str) -> Found | None:
    matches = list(pattern.finditer(completion))
    content = matches[-1].group(1).strip().strip("*_").strip() if matches else ""
    return (matches[-1].start(1), content) if content else None
