"""Vocabularies: files of patterns, one alternative a line."""

import re
from pathlib import Path

import pytest
import yaml

from serl_trl.common.vocabulary import load_patterns

PACKAGE = Path(__file__).parents[2] / "src" / "serl_trl"
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if "load_patterns(__file__)" in path.read_text("utf-8")
)


def write(folder, text):
    (folder / "words.yaml").write_text(text, encoding="utf-8")
    return load_patterns(str(folder / "words.py"))


def test_lines_are_alternatives_and_fragments_stand_for_theirs(tmp_path):
    words = write(
        tmp_path,
        "FRUIT: |\n  pear\n  apple\nfruit: |\n  # The tree's.\n  \\b{FRUIT}s\n  \\w{1,3}\\{A\\}\n",
    )
    assert list(words) == ["fruit"]
    assert words["fruit"].pattern == r"\b(?:pear|apple)s|\w{1,3}\{A\}"
    assert words["fruit"].search("two APPLES")


def test_a_fragment_that_nobody_defined_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="NOTHING"):
        write(tmp_path, "fruit: |\n  a{NOTHING}\n")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_entry_is_used(module):
    text = module.with_suffix(".yaml").read_text("utf-8")
    code = "".join(path.read_text("utf-8") for path in module.parent.glob("*.py"))
    for name in yaml.safe_load(text):
        used = f"{{{name}}}" in text if name.isupper() else f'"{name}"' in code
        assert used, f"{name} in {module.stem}.yaml is used nowhere"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_line_ends_in_a_blank_that_an_editor_would_strip(module):
    assert not re.search(r"[ \t]$", module.with_suffix(".yaml").read_text("utf-8"), re.MULTILINE)
