"""The Python in the docs that needs no model runs as it stands."""

import re
from pathlib import Path

import pytest

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
