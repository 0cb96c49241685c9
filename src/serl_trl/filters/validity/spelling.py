"""Is a text garbled: misspelt words, and signs inside words?

A word counts as misspelt when the list of words does not know it, but knows what is left without
a letter or a few neighbours, or with two neighbours in each other's place. The same goes for
commands of LaTeX. Names and formulas are left out. `words.txt.gz` holds a list of SCOWL,
`words.license.txt` its terms; words and parts of words beside it are in `spelling.yaml`.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from serl_trl.common.plain_yaml import own_table
from serl_trl.filters.english.quality import check_language
from serl_trl.filters.validity.sign import NO_SIGN, Sign, add_up

_TABLE = {name: frozenset(text.split()) for name, text in own_table(__file__).items()}
# Letters of formulas and of source code are no words. Bounded, for a mark may stay open.
_FORMULA = re.compile(
    r"\[asy\].*|\\begin\{tabular\}.*|\$\$.{0,400}?\$\$|\$[^$]{0,400}\$|\\\[.{0,400}?\\\]"
    r"|\\\(.{0,400}?\\\)|\\[A-Za-z]+(?:\{[a-z]{1,20}\})?",
    re.DOTALL,
)
# In small letters throughout, and no part of a compound, a path or a name.
_WORD = re.compile(r"(?<![\w\\'’#$@/.-])[a-z]{2,30}(?![\w\\'’@/-])")
# "wr#itten", "numb$er" and "the $$of"; "$n$th" and "C#" are none.
_SIGN_IN_WORD = re.compile(
    r"[a-z]#|(?<![^a-z$ -])#[a-z$]"
    r"|(?<![a-z\\${}_^])[a-z]{2,30}\$(?!(?:th|st|nd|rd|s|gon|tuple|by)\b)[a-z]"
)
_SPEAKABLE = re.compile(
    r"(?=[^aeiou]*[aeiou])[a-z]{3}"
)  # neither a unit nor a product: "sq", "xyz"
# Of what is left: shorter words are one letter apart by chance, but for the commonest.
_MIN_LETTERS = 4
_LONG_WORD, _LONG_SLIP = 9, 3  # so many letters too many make no other long word
_COMMAND = re.compile(r"(?<!\\)\\([A-Za-z]{4,20})(?![A-Za-z])")
# Names of things are rarer than every seventh word, and two may be all names of a short text.
_MIN_UNKNOWN, _MAX_UNKNOWN = 3, 0.15
_ONE_SLIP, _GARBLED = 0.55, 0.9
_VOWELS = tuple("aeiouy")
_BRITISH = (("our", "or"), ("tre", "ter"), ("is", "iz"), ("ll", "l"))


@cache
def known_words() -> frozenset[str]:
    """Return the words of the list, in small letters."""
    packed = Path(__file__).with_name("words.txt.gz").read_bytes()
    words = gzip.decompress(packed).decode("ascii").split()
    return _TABLE["mathematics"] | _TABLE["everyday"] | frozenset(words)


def spelling(text: str) -> Sign:
    """Say how garbled the words of `text` are; nothing of a text in another language."""
    if not check_language(text).keep:
        return NO_SIGN
    words = Counter(_WORD.findall(_FORMULA.sub(" ", text)))
    unknown = [word for word in words if not _is_known(word)]
    # What is written twice is meant: a name the text gives to a thing, or to several of them.
    begins: Counter[str] = Counter()
    for word in unknown:
        begins[word[:_MIN_LETTERS]] += words[word]
    once = [word for word in unknown if begins[word[:_MIN_LETTERS]] == 1]
    commands = set(_COMMAND.findall(text)) - _TABLE["commands"]
    slips = {
        **{word: next(_nearest(word, known_words()), "") for word in once},
        **{command: next(_nearest(command, _TABLE["commands"]), "") for command in commands},
    }
    signs = [Sign(_ONE_SLIP, f"{word} ({meant})") for word, meant in slips.items() if meant]
    odd = [word for word in unknown if _SPEAKABLE.match(word)]
    if len(odd) >= max(_MIN_UNKNOWN, _MAX_UNKNOWN * len(words)):
        signs.append(Sign(_GARBLED, " ".join(odd[:10])))
    if marked := _SIGN_IN_WORD.search(text):
        signs.append(Sign(_GARBLED, text[max(0, marked.start() - 10) : marked.end() + 10]))
    if text.count("$$") % 2:
        signs.append(Sign(_GARBLED, "$$"))
    return add_up(signs)


def _is_known(word: str) -> bool:
    words = known_words()
    if word in words or any(word.replace(*pair) in words for pair in _BRITISH):
        return True
    return any(stem in words for stem in _stems(word)) or any(
        word[:cut] in words and word[cut:] in words for cut in range(3, len(word) - 2)
    )


def _stems(word: str) -> Iterator[str]:
    """Yield what is left of the word without a known beginning, a known end, or both."""
    begins = [cut for cut in range(9) if not cut or word[:cut] in _TABLE["prefixes"]]
    ends = [cut for cut in range(6) if not cut or word[-cut:] in _TABLE["suffixes"]]
    for begin in begins:
        for end in ends:
            stem = word[begin : len(word) - end]
            if len(stem) > 2:
                yield stem
                # "occurring" is "occur" with its last letter twice, "racing" is "race" without one.
                if word[len(word) - end :][:1] in _VOWELS:
                    yield f"{stem}e"
                    if stem[-1] == stem[-2]:
                        yield stem[:-1]


def _nearest(word: str, words: frozenset[str]) -> Iterator[str]:
    """Yield those of the `words` that one slip of the pen makes of this one."""
    for place in range(len(word)):
        head, rest = word[:place], word[place:]
        swapped = rest[1:2] + rest[:1] + rest[2:]
        longest = _LONG_SLIP if len(word) >= _LONG_WORD else _LONG_SLIP - 1
        for end in (*(rest[cut:] for cut in range(1, longest + 1)), swapped):
            near = head + end
            if near == word or near not in words:
                continue
            if len(near) >= _MIN_LETTERS or (near in _TABLE["short"] and len(word) - len(near) < 2):
                yield near
