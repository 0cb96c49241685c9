"""Nothing below a run's folder leads elsewhere: no link is followed, no other thing is opened."""

import ast
import os
import re
import stat
from pathlib import Path

import pytest

from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.records import ANY, MAX_DEPTH, RecordError, check_shape, optional, parse_json

PACKAGE = Path(__file__).parents[2] / "src" / "serl_trl"


@pytest.fixture
def victim(tmp_path) -> Path:
    path = tmp_path / "victim"
    path.mkdir()
    (path / "file").write_text("mine")
    return path


@pytest.fixture
def folder(tmp_path, victim) -> Folder:
    (tmp_path / "run" / "_serl").mkdir(parents=True)
    return Folder(tmp_path / "run")


USES = {
    "at": lambda folder, name: folder.at(name),
    "has": lambda folder, name: folder.has(name),
    "open": lambda folder, name: folder.open(name),
    "append": lambda folder, name: folder.append(name),
    "read": lambda folder, name: folder.read_text(name),
    "json": lambda folder, name: folder.read_json(name, dict),
    "make": lambda folder, name: folder.make(name),
    "entries": lambda folder, name: folder.entries(name),
    "handle": lambda folder, name: folder.handle(name, os.O_RDWR | os.O_CREAT),
}


@pytest.mark.parametrize("use", USES)
def test_no_link_is_followed_wherever_it_stands(folder, victim, use):
    (folder.root / "_serl" / "last").symlink_to(victim / "file")
    (folder.root / "_serl" / "nowhere").symlink_to(victim / "new")
    (folder.root / "middle").symlink_to(victim)

    for name in ("_serl/last", "_serl/nowhere", "middle/file", "middle/new"):
        with pytest.raises(FolderError, match="is a link"):
            USES[use](folder, name)

    assert (victim / "file").read_text() == "mine"
    assert [path.name for path in victim.iterdir()] == ["file"]


def test_what_is_written_or_removed_replaces_a_link_and_spares_what_it_leads_to(folder, victim):
    for name, target in (("a", victim / "file"), ("b", victim)):
        (folder.root / name).symlink_to(target)
        folder.write(name, "new")
        assert not (folder.root / name).is_symlink()
        assert folder.read_text(name) == "new"
    (folder.root / "c").symlink_to(victim)
    folder.remove("c")
    folder.remove("c")
    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "mine"
    (folder.root / "middle").symlink_to(victim)
    for use in (lambda: folder.write("middle/x", ""), lambda: folder.remove("middle/file")):
        with pytest.raises(FolderError, match="is a link"):
            use()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/hostname", "..", "a\0b"])
@pytest.mark.parametrize("use", [*USES, "write", "remove"])
def test_no_name_leads_outside(folder, use, name):
    uses = {**USES, "write": lambda f, n: f.write(n, ""), "remove": lambda f, n: f.remove(n)}
    with pytest.raises(FolderError, match="leads outside"):
        uses[use](folder, name)


def test_only_regular_files_with_one_name_are_opened(folder, victim):
    os.mkfifo(folder.root / "pipe")
    os.link(victim / "file", folder.root / "other")
    (folder.root / "directory").mkdir()
    for use in ("has", "open", "append", "read"):
        for name, what in (("pipe", "a pipe"), ("other", "a hard link"), ("directory", "a folder")):
            with pytest.raises(FolderError, match=what):
                USES[use](folder, name)
    with folder.open("other", shared=True) as file:
        assert file.read() == b"mine"
    folder.write("pipe", "x")
    folder.write("other", "x")
    assert (victim / "file").read_text() == "mine"
    with pytest.raises(FolderError, match="directory"):
        folder.write("directory", "x")


def test_a_file_is_written_as_others_are_and_leaves_nothing_beside_it(folder):
    path = folder.write("deep/er/file.txt", "a")
    (folder.root / "plain").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((folder.root / "plain").stat().st_mode)
    assert [other.name for other in path.parent.iterdir()] == ["file.txt"]
    assert list(folder.files()) == ["deep/er/file.txt", "plain"]


def test_small_files_are_read_within_limits(folder):
    for content, what in ((b"\xff", "not UTF-8"), (b"a" * 101, "too large")):
        (folder.root / "f").write_bytes(content)
        with pytest.raises(FolderError, match=what):
            folder.read_text("f", max_bytes=100)
    for text, what in (("[]", "not a table"), ("{", "not JSON"), ("[" * 99_999, "deep")):
        folder.write("f", text)
        with pytest.raises(FolderError, match=what):
            folder.read_json("f", dict)
    with pytest.raises(FolderError, match="does not exist"):
        folder.read_text("g")


@pytest.mark.parametrize(
    "text",
    ["[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "1" * 5000, "{", "[" * 10**6, '{"a":' * 10**5],
)
def test_no_json_can_cost_more_than_it_should(text):
    with pytest.raises(RecordError):
        parse_json(text)


SHAPE = {"n": int, "x": optional((float, None)), "names": [str], "inner": {ANY: {"ok": bool}}}
RIGHT = {"n": 1, "names": ["a"], "inner": {"k": {"ok": True}}, "unknown": object()}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"n": True}, "n is not a whole number"),
        ({"n": 2.0}, "n is not a whole number"),
        ({"n": 2**80}, "n is not a whole number"),
        ({"x": float("nan")}, "x is not a number or null"),
        ({"x": 10**400}, "x is not a number or null"),
        ({"names": "a"}, "names is not a list"),
        ({"names": ["a", 1]}, r"names\[1\] is not a text"),
        ({"inner": []}, "inner is not a table"),
        ({"inner": {"k": {}}}, r"inner\.k\.ok is missing"),
        ({"inner": {"a\x1b\n": {"ok": 1}}}, r"inner\.a\?\?\.ok is not true or false"),
    ],
)
def test_a_shape_names_the_first_place_that_does_not_fit(change, problem):
    assert check_shape(RIGHT | {"x": None}, SHAPE)
    with pytest.raises(RecordError, match=problem):
        check_shape(RIGHT | change, SHAPE)


# Every module that opens, writes or removes files by itself, and why nothing of that is a path
# below the folder of a run or an evaluation.
OWN_OPENERS = {
    "filters.embeddings": "reads what an embedding model is made of",
    "share.facts": "reads the source of other packages",
    "common.folder": "is the one way",
    "train.checkpoint": "removes and names folders in folders that `Folder` gave",
    "common.files": "writes a new file into a folder that `Folder` made",
    "share.hub": "removes its own temporary folder; reads its own card, and the Hub's cache",
    "train.model_files": "reads the model that a run begins with",
    "runs.facts": "reads the card of the base model, and the source of other packages",
    "common.plain_yaml": "reads the words that lie beside a module of ours",
    "cli.commands.init": "writes a new config where the user said, never over a file",
    "common.console": "writes where the user said, by --json and --output",
    "cli.commands.eval": "makes the evaluation's folder itself",
    "cli.config_file": "reads the user's config",
    "measure.session": "makes the evaluation's folder itself",
    "share.dataset": "makes a folder in the temporary one of a push",
    "data.tables": "reads the user's seeds and problems",
    "answers.worker": "reads what the system says of its own process",
}
MODES = {"r", "rb", "w", "wb", "a", "ab", "x", "xb", "r+b"}
CALLS = {"read_bytes", "write_bytes", "mkdir", "unlink", "rmtree", "copyfile", "copytree"}
CALLS |= {"copy", "copy2", "truncate", "NamedTemporaryFile"}


def opens_files(call: ast.Call) -> bool:
    """Whether a call opens, writes or removes a file by its path; a `Folder` takes names."""
    if isinstance(call.func, ast.Name):
        return call.func.id == "open"
    if not isinstance(call.func, ast.Attribute):
        return False
    if re.search(r"__file__|\bfiles\('serl_trl", ast.unparse(call.func)):
        return False  # the data that lies beside a module of ours
    name, first = call.func.attr, call.args[0] if call.args else None
    if name == "open":
        return isinstance(first, ast.Constant) and first.value in MODES
    if name in ("read_text", "write_text"):
        return any(keyword.arg == "encoding" for keyword in call.keywords)
    return name in CALLS - ({"copy"} if not call.args else set())


def test_no_module_opens_what_lies_in_a_run_on_its_own():
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.Call) and opens_files(node) for node in ast.walk(tree)):
            found.add(path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."))
    assert found <= set(OWN_OPENERS), "say here why, or use `Folder`"
