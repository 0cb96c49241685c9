"""Files, classes, functions and filters that README and docs name are there, where they say."""

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from serl_trl.filters.registry import default_filters, paper_filters

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "serl_trl"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
# Where a page may mean a file by its last name alone.
FOLDERS = (ROOT, PACKAGE, ROOT / "configs" / "accelerate")
# A run writes these, or they are the reader's.
MADE = r"(_serl|\.eval_results|figures|runs)/.*|serl_\w+\.json|(my_filters|run|x)\.\w+|<.*"
MADE += r"|(config|metrics|ledger|report|summary|comparison|comparison_of_runs|trainer_state)\.\w+"
MADE += r"|(adapter|generation)_config\.json|README\.md"
# What the page of the rooms names beside a file, and the file uses.
ABOUT = {"num_generations"}
OTHERS = {"GRPOTrainer", "ModelConfig", "KeyboardInterrupt"}


def names_in(page: Path) -> list[list[str]]:
    """Return what stands between backticks, of each paragraph and of each cell of a table."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [
        [child.content for child in token.children if child.type == "code_inline"]
        for token in tokens
        if token.children
    ]


@cache
def defined_in(file: Path) -> frozenset[str]:
    """Return the names of classes, functions and `Class.method` that a file defines."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            found |= {node.name, *(f"{node.name}.{method.name}" for method in methods)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return frozenset(found)


def defined_anywhere() -> frozenset[str]:
    return frozenset().union(*map(defined_in, PACKAGE.rglob("*.py")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_named_exist(page):
    for name in chain.from_iterable(names_in(page)):
        is_file = re.fullmatch(r"[^ *]+\.(py|yaml|md|ipynb|json|jsonl|html|toml)", name)
        if is_file and not name.startswith("http") and not re.fullmatch(MADE, name):
            assert any((folder / name).is_file() for folder in FOLDERS), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_classes_and_methods_that_are_named_exist(page):
    known = defined_anywhere() | OTHERS
    for name in chain.from_iterable(names_in(page)):
        if re.fullmatch(r"[A-Z]\w*[a-z]\w*(\.\w+)?", name):
            assert name in known, name
        elif re.fullmatch(r"serl_trl(\.\w+)+", name):
            assert is_there(name.split(".")[1:]), name


def is_there(parts: list[str]) -> bool:
    """Return whether a dotted name below the package is a module, or a word of its module."""
    place = PACKAGE.joinpath(*parts)
    if place.with_suffix(".py").is_file() or place.is_dir():
        return True
    *module, name = parts
    file = PACKAGE.joinpath(*module)
    file = file.with_suffix(".py") if module and not file.is_dir() else file / "__init__.py"
    return file.is_file() and name in file.read_text(encoding="utf-8")


def test_each_step_of_the_method_is_where_its_row_says():
    num_checked = 0
    for names in names_in(DOCS / "method.md"):
        file = None
        for name in names:
            if (PACKAGE / name).is_file():
                file = PACKAGE / name
            elif file is not None and re.fullmatch(r"[A-Za-z_]+(\.\w+)?", name):
                assert name in defined_in(file), f"{name} in {file.name}"
                num_checked += 1
    assert num_checked > 6


def test_each_name_of_the_house_is_in_a_file_that_stands_beside_it():
    num_checked = 0
    for names in names_in(DOCS / "architecture.md"):
        files = [PACKAGE / name for name in names if (PACKAGE / name).is_file()]
        code = "".join(file.read_text(encoding="utf-8") for file in files)
        for name in names if files else ():
            if re.fullmatch(r"\w+|[A-Z]\w+\.\w+", name) and not (PACKAGE / name).is_dir():
                own = name.split(".")[-1]
                form = rf"^ *(class|def) {own}\b|^{own}\b.*="
                assert re.search(form, code, re.M) or name in ABOUT, f"{name}: {names}"
                num_checked += 1
            elif "/" in name and "." not in name:
                assert (PACKAGE / name).is_dir(), name
    assert num_checked > 20


def test_links_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_filter_has_a_row_in_the_docs():
    page = (DOCS / "filters.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    assert named == set(default_filters)
    assert all(f"`{name}`" in page for name in paper_filters)
