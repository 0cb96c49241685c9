"""The words, signs and LaTeX commands that answers are written in."""

from fractions import Fraction


def split_words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


# Unicode signs as LaTeX or ASCII.
SIGNS = {
    "−": "-", "–": "-", "—": "-", "×": "\\times ", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "⁄": "/",
    "√": "\\sqrt ", "π": "\\pi ", "∞": "\\infty ", "°": "^\\circ ", "º": "^\\circ ",
    "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "∪": "\\cup ", "∈": "\\in ",
    "±": "\\pm ", "∓": "\\mp ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "′": "'", "’": "'",
    "‘": "'", "“": '"', "”": '"', "…": "...", "∠": "\\angle ", "⟨": "\\langle ", "⟩": "\\rangle ",
    "≡": "\\equiv ", "→": "\\to ", "⇒": "\\implies ", "⇔": "\\iff ", "↔": "\\iff ", "¬": "\\neg ",
    "∧": "\\land ", "∨": "\\lor ", "∖": "\\setminus ", "∀": "\\forall ", "∃": "\\exists ",
    "∉": "\\notin ", "∩": "\\cap ", "⊂": "\\subset ", "⊆": "\\subseteq ",
    "∛": "\\sqrt[3] ", "€": "", "£": "", "¥": "", "₹": "", "\u00a0": "~", "\u202f": "~",
    "\u2009": "~", "\u200b": "", "\u2062": "", "\ufeff": "",
    "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "ε": "\\epsilon ",
    "η": "\\eta ", "θ": "\\theta ", "κ": "\\kappa ", "λ": "\\lambda ", "μ": "\\mu ", "ν": "\\nu ",
    "ρ": "\\rho ", "σ": "\\sigma ", "τ": "\\tau ", "φ": "\\phi ", "ϕ": "\\phi ", "χ": "\\chi ",
    "ψ": "\\psi ", "ω": "\\omega ", "Δ": "\\Delta ", "Θ": "\\Theta ", "Σ": "\\Sigma ",
    "Φ": "\\Phi ", "Ω": "\\Omega ",
}  # fmt: skip

# Commands that only change how a formula looks.
_LAYOUT = split_words(
    r"""
    \displaystyle \textstyle \scriptstyle \limits \nolimits \left \right \middle \big \Big \bigg
    \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \Biggl \Biggr \quad \qquad \thinspace \medspace
    \thickspace \negthinspace \bf \rm \it \hfill \, \; \: \! \> \#
    """
)

# Commands on the left are read as the right side.
COMMANDS: dict[str, str] = dict.fromkeys(_LAYOUT, "") | {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\dbinom": "\\binom",
    "\\tbinom": "\\binom", "\\leq": "\\le", "\\leqslant": "\\le", "\\geq": "\\ge",
    "\\geqslant": "\\ge", "\\neq": "\\ne", "\\lt": "<", "\\gt": ">", "\\cdot": "*",
    "\\ast": "*", "\\div": "/", "\\colon": ":", "\\%": "%", "\\lvert": "|", "\\rvert": "|",
    "\\vert": "|", "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]",
    "\\degree": "\\circ", "\\varnothing": "\\emptyset", "\\O": "\\emptyset", "\\Reals": "\\R",
    "\\wedge": "\\land", "\\vee": "\\lor", "\\lnot": "\\neg", "\\approxeq": "\\approx",
    "\\simeq": "\\approx", "\\bmod": "\\mod", "\\sp": "^", "\\tg": "\\tan",
    "\\Leftrightarrow": "\\iff", "\\leftrightarrow": "\\iff", "\\Longleftrightarrow": "\\iff",
    "\\Rightarrow": "\\implies", "\\Longrightarrow": "\\implies", "\\rightarrow": "\\to",
    "\\longrightarrow": "\\to", "\\ldots": "\\dots", "\\cdots": "\\dots", "\\dotsc": "\\dots",
    "\\dotsb": "\\dots", "\\backslash": "\\setminus", "\\smallsetminus": "\\setminus",
    "\\nicefrac": "\\frac", "\\sfrac": "\\frac", "\\flatfrac": "\\frac",
    "\\textdegree": "\\circ", "\\celsius": "\\circ",
    "\\sim": "\\approx", "\\mid": "|",
    "\\ctg": "\\cot", "\\cosec": "\\csc", "\\varphi": "\\phi", "\\varepsilon": "\\epsilon",
    "\\vartheta": "\\theta", "\\ ": "", "\\imath": "i", "\\jmath": "j",
}  # fmt: skip

GREEK = split_words(
    r"""
    \alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \rho
    \sigma \tau \upsilon \phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi
    \Psi \Omega \ell \hbar
    """
)
FONTS = split_words(r"\mathbf \boldsymbol \bm \mathit \mathcal \vec \overrightarrow \underline")
ACCENTS = split_words(r"\hat \bar \overline \tilde \dot \widehat")
TRIGONOMETRIC = split_words(r"\sin \cos \tan \cot \sec \csc")

RELATIONS = split_words(r"< \le > \ge = \ne \approx \equiv")
VECTORS = split_words(r"\vec \overrightarrow \mathbf \boldsymbol \bm \hat")

# Names that plain text writes without a backslash.
NAMES = split_words(
    """
    sqrt sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log ln lg exp pi infty theta
    alpha beta gamma delta lambda frac pm gcd lcm
    """
)
OTHER_NAMES = {
    "infinity": "\\infty",
    "inf": "\\infty",
    "oo": "\\infty",
    "asin": "\\arcsin",
    "acos": "\\arccos",
    "atan": "\\arctan",
    "union": "\\cup",
}

# Letters in a row are a product (xyz) unless they are one of these, capitalised, or long.
UNITS = split_words(
    """
    mm cm dm km nm ft in inch inches yd mi mph kph kmh kg mg lb lbs oz ml mL cl dl kL kW kWh kJ kN
    Hz kHz MHz min mins sec secs hr hrs yr yrs sq cu cc rad rads deg usd USD rpm mol kPa Pa pts man
    men day days box egg bag cup cups can pen car cow dog cat pig hen bus bar toy pie tin jar row
    way ways ton tons set hat key map bee ant bed fan job pet ring kid kids
    """
)
SHORT_WORDS = split_words(
    """
    no yes odd red two six ten one all any the not nor and or none both tie dne nan ok sun mon tue
    wed thu fri sat jan feb mar apr may jun jul aug sep oct nov dec am pm of per to if is
    """
)

# Words after a number that change what it says; any other word there is a unit and is dropped.
NO_UNITS = split_words(
    """
    am pm a p dozen half quarter factorial pi times plus minus than to if
    when where for base mod modulo remainder r not no of over with st nd rd th between choose
    divided infinity is are
    """
)
MULTIPLIERS = {
    "hundred": Fraction(100),
    "thousand": Fraction(10**3),
    "million": Fraction(10**6),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
    "percent": Fraction(1, 100),
    "pct": Fraction(1, 100),
    "百": Fraction(100),
    "千": Fraction(10**3),
    "万": Fraction(10**4),
    "亿": Fraction(10**8),
}

# What may stand in an expression that is given to math-verify.
EXPRESSIONS = (
    GREEK
    | TRIGONOMETRIC
    | split_words(
        r"""
        \sinh \cosh \tanh \arcsin \arccos \arctan \ln \log \lg \exp \frac \sqrt \binom \pi \infty
        \sum \prod \int \iint \iiint \lim \det \lfloor \rfloor \lceil \rceil \circ \\\\
        """
    )
    | {f"\\{end}{{{kind}matrix}}" for end in ("begin", "end") for kind in ("p", "b", "v", "")}
)

# Phrases that say the same.
PHRASES = {
    "dne": "does not exist",
    "doesnt exist": "does not exist",
    "it does not exist": "does not exist",
    "limit does not exist": "does not exist",
    "no solutions": "no solution",
    "there is no solution": "no solution",
    "there are no solutions": "no solution",
    "no real solutions": "no real solution",
    "all reals": "all real numbers",
    "every real number": "all real numbers",
    "any real number": "all real numbers",
    "infinite solutions": "infinitely many solutions",
    "infinite number of solutions": "infinitely many solutions",
}
