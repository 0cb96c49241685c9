"""The Python in the docs that needs no model runs as it stands."""

import re
from pathlib import Path

import pytest

from serl_trl.filters import default_filters, paper_filters

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = [
    pytest.param(code, id=f"{path.stem}-{number}")
    for path in sorted(DOCS.glob("*.md"))
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    )
]


@pytest.mark.parametrize("code", BLOCKS)
def test_code_in_the_docs_runs(code):
    exec(compile(code, "<docs>", "exec"), {})


def test_every_filter_has_a_row_in_the_docs():
    page = (DOCS / "filters.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    assert named == set(default_filters)
    assert all(f"`{name}`" in page for name in paper_filters)
