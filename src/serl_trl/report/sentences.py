"""The sentences of a report, which stand in `sentences.jinja`: facts in, one line of text out."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from serl_trl.common.text import count_of, list_names


def say(name: str, /, **facts: Any) -> str:
    """Return a sentence of the templates; it is plain text, which the renderers escape."""
    # Lines are broken in the template for its reader; what quotes hostile text stays one line, too.
    return " ".join(getattr(_sentences(), name)(**facts).split())


def percent(value: float) -> str:
    """Return a fraction as `31 %`, or with one digit where it is near an end."""
    # 99.6 % and 100 % are different findings, 31.2 % and 31 % are one.
    digits = 1 if abs(value - round(value)) < 0.1 and value not in (0.0, 1.0) else 0
    return f"{100 * value:.{digits}f} %"


def points(value: float) -> str:
    """Return a difference of fractions as `+19.4 points`."""
    # Adding zero turns -0.0 into 0.0.
    return f"{round(100 * value, 1) + 0.0:+.1f} points"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return count_of(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


@cache
def _sentences() -> Any:
    environment = Environment(
        loader=PackageLoader("serl_trl", "report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # What becomes a page or Markdown is escaped there, and only there.
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "signed": lambda fraction: f"{100 * fraction:+.1f}",
        "whole": "{:,.0f}".format,
        "count": count_of,
        "names": list_names,
        "duration": _duration,
    }
    return environment.get_template("sentences.jinja").module
