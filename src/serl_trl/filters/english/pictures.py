"""Does a problem need a figure or a file that is not there? Judged by context, not by bare words.

"Draw a card" and "the graph of f" are good mathematics; "the graph below" is not, in a text.
All patterns have bounded repetitions, so that the time is linear in the length of the text.
"""

import re

from serl_trl.common.verdict import KEEP, Verdict

_I = re.IGNORECASE

# The figure itself, as source code or as a link: nobody renders it, and few can read it.
_SOURCE = re.compile(
    r"\[/?asy\]|\\begin\s?\{(?:asy|tikzpicture|pspicture|picture|figure)\}|\\includegraphics"
    r"|!\[[^\]\n]{0,200}\]\(|<(?:img|svg|image|audio|video)\b|https?://|\bwww\."
    r"|\w\.(?:png|jpe?g|gif|svg|pdf|csv|xlsx?|docx?|mp3|mp4)\b",
    _I,
)

_PICTURE = (
    r"(?:figures?|diagrams?|pictures?|photos?|photographs?|illustrations?|drawings?|sketch(?:es)?"
    r"|images?|graphs?|maps?|plots?|grids?|spinners?|patterns?|shapes?|number lines?|blueprints?)"
)
_DATA = (
    r"(?:tables?|(?:bar |pie |line )?charts?|lists?|(?:bar|line) graphs?|histograms?|pictographs?)"
)
# Pictures that a text without them can only point at; a shape or a pattern may be in words.
_SEEN = (
    r"(?:figures?|diagrams?|pictures?|photos?|photographs?|illustrations?|drawings?|images?|graphs?"
    r"|maps?|plots?)"
)
_HERE = (
    r"(?:below|above|here|shown|pictured|depicted|illustrated|attached|provided"
    r"|(?:at|on|to) (?:the |your )?(?:right|left))"
)

# Words that point at a picture. A table or chart may be written out in the text.
_POINTS_AT_PICTURE = re.compile(
    rf"\bas (?:is )?(?:shown|pictured|depicted|illustrated|drawn)\b(?! by\b)"
    rf"|\b(?:shown|pictured|depicted|illustrated|drawn|sketched|graphed|plotted|displayed) "
    rf"(?:in red |in blue )?(?:below|above|here|(?:at|on|to) (?:the )?(?:right|left)\b"
    rf"|in (?:the|this) {_PICTURE})"
    rf"|\b(?:is|are) (?:pictured|depicted)\b"
    rf"|\b\w{{1,20}} (?:pictured|depicted) (?:is|are|has|have)\b"
    rf"|\b{_PICTURE} (?:(?:is|are) (?:shown )?)?{_HERE}\b(?! (?:that|how|to)\b)"
    rf"|\b(?:above|below|following|accompanying|attached|adjacent|provided) {_PICTURE}\b(?! of\b)"
    rf"|\b(?:in|from|see|on|to|at|using|use|of) (?:the|this|that|these) "
    rf"(?:following |given |same )?(?:figures?|diagrams?)\b"
    rf"|\b(?:in|from|see|at|using|study|view|examine) (?:the|this|these) "
    rf"(?:photo(?:graph)?s?|pictures?|images?|illustrations?)\b(?! (?:of|frame|under)\b)"
    rf"|\b(?:according to|based on|use|using|read|reading|from|refer to|consult|look at) "
    rf"(?:the|this) (?:graph|map|plot|grid|number line)\b(?! (?:of|with)\b)"
    rf"|\bbased on (?:the|this) {_SEEN}\b(?! (?:of|with)\b)"
    rf"|\b(?:refer to|referring to|see|in|from|using|consult|look at) "
    rf"(?:fig(?:\.|ures?\b)|diagram|graph|image|map) ?\d"
    rf"|(?:^|[.?!:;] )(?:the|this) (?:figure|diagram|picture|photo(?:graph)?|illustration|drawing"
    rf"|image) (?:shows|depicts|illustrates|displays)\b(?! that\b)"
    rf"|\bwhich (?:one )?of (?:the|these) {_SEEN}\b(?! of\b)"
    rf"|\bwhich (?:graph|diagram|picture|image|plot|map) (?:best )?(?:shows|represents|depicts)\b"
    rf"|\b(?:angle|side|segment|point|region|part|square|circle|triangle|rectangle|polygon|lattice"
    rf"|period|figure|letter|label|dots?|grid|array|value)s? shown\b(?= ?(?:[,.?!;:)]|$|is\b|are\b"
    rf"|has\b|have\b))"
    rf"|\b(?:audio|video) (?:clip|file|recording)\b",
    _I,
)
_POINTS_AT_DATA = re.compile(
    rf"\b{_DATA} (?:(?:is|are) (?:shown )?)?{_HERE}\b"
    rf"|\b(?:above|below|following|accompanying|attached|given) {_DATA}\b"
    rf"|\b(?:according to|based on|use|using|refer to|consult|look at) (?:the|this) {_DATA}\b"
    rf"|\b(?:refer to|see|in|from|using|consult|look at) (?:table|chart) ?\d"
    rf"|(?:^|[.?!:;] )(?:the|this) (?:graph|map|{_DATA}) (?:shows?|displays?)\b(?! that\b)"
    rf"|\b(?:in|from) (?:the|this) (?:tables?|charts?|bar graphs?|pie charts?"
    rf"|histograms?)\b(?! of\b)",
    _I,
)
# A picture the text itself brings in, or a figure that is not a picture.
_INTRODUCED = re.compile(
    rf"\b(?:an?|one|each|every|\d+|two|three|scale|venn|his|her|their|its) (?:\w{{1,20}} ){{0,2}}"
    rf"{_PICTURE}\b|\bsignificant figures?\b|\b(?:what|which) figure\b",
    _I,
)
_PICTURE_WORD = re.compile(rf"\b{_PICTURE}\b", _I)
_NEAR = re.compile(rf"\b{_HERE}\b|\bfollowing\b", _I)

_SHADED = re.compile(
    r"\bthe shaded (?:region|area|part|portion|section|sector|square|triangle|ring)s?\b"
    r"(?! (?:is |that is |that lies |lying )?(?:between|inside|outside|within|common|that|bounded"
    r"|enclosed|formed))"
    r"|\b(?:fraction|percent|percentage|part|portion) of (?:the|this) \w{1,20} is (?:not )?"
    r"shaded\b",
    _I,
)
_SHADING = re.compile(
    r"\b(?:is|are|was|were|be|being|has|have|he|she|they|who) (?:\w{1,20} ){0,2}shade[ds]?\b"
    r"|\bshade[ds]? (?:\d|the (?:rest|remaining|other|first|left|right|top|bottom|inner|outer)|one"
    r"|two|three)",
    _I,
)

_FILE = re.compile(
    r"\b(?:attached|uploaded|enclosed|provided) (?:\w{1,20} )?"
    r"(?:files?|documents?|spreadsheets?|worksheets?|pdfs?|data ?sets?|links?)\b"
    r"|(?:^|[.?!:;,] |\bplease )(?:open|download|load|upload|click) (?:on )?"
    r"(?:the|this|your) (?:\w{1,20} )?(?:files?|links?|spreadsheets?|documents?"
    r"|attachments?|buttons?|app)\b"
    r"|\bgo to (?:the |our |this )?(?:web ?site|web ?page|link)\b|\bclick here\b",
    _I,
)

# A sentence that asks for a drawing; it stands only when the text asks for something else as well.
_ASKS_DRAWING = re.compile(
    r"(?:^|[.?!:;\n] ?)(?:please )?(?:draw|sketch|plot|graph|construct|make|create) "
    r"(?:and label )?(?:an?|the|these|this|each|its|both|two|three|on|\$)"
    r"(?:[^.?!\n]{0,80}\b(?:graphs?|diagrams?|charts?|plots?|curves?|lines?|figures?|pictures?"
    r"|points?|functions?|equations?|parabolas?|triangles?|rectangles?|histograms?|maps?"
    r"|number line|grid)\b)",
    _I,
)
_ASKS_ELSE = re.compile(
    r"\?|\b(?:find|compute|calculate|determine|evaluate|what|how many|how much|state|give)\b", _I
)

_INLINE_DATA = re.compile(
    r"\\begin\s?\{(?:tabular|array|[a-z]{0,2}matrix|align|cases)|\$\$|\\\[|\|.+\|"
)
_NUMBER = re.compile(r"\d+")
_SPACES = re.compile(r"\s+")
_MIN_NUMBERS = 4  # a table written out in words holds at least so many


def check_figure(text: str) -> Verdict:
    """Refuse proposals that need, hold or ask for a figure or a file; the detail has the words."""
    flat = _SPACES.sub(" ", text)
    found = _SOURCE.search(text) or _FILE.search(flat) or _points_away(flat) or _lacks_shading(flat)
    if found is None and not _ASKS_ELSE.search(flat):
        found = _ASKS_DRAWING.search(flat)
    return Verdict(False, "figure", {"found": found.group().strip()}) if found else KEEP


def _points_away(text: str) -> re.Match[str] | None:
    """Find the words that point at a picture, table or chart which the text does not hold."""
    holds_data = _INLINE_DATA.search(text) is not None
    introduced = _INTRODUCED.search(text)
    for found in _POINTS_AT_PICTURE.finditer(text):
        if _NEAR.search(found.group()):
            # "The lattice shown" may be a table in the text; a diagram never is.
            if not holds_data or _PICTURE_WORD.search(found.group()):
                return found
        elif introduced is None or introduced.start() > found.start():
            return found
    found = _POINTS_AT_DATA.search(text)
    written_out = holds_data or len(_NUMBER.findall(text)) >= _MIN_NUMBERS
    return None if written_out else found


def _lacks_shading(text: str) -> re.Match[str] | None:
    """Find a shaded part of which the text does not say what is shaded."""
    found = _SHADED.search(text)
    if found is None or _SHADING.search(_SHADED.sub(" ", text)):
        return None
    return found
