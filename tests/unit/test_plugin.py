"""What a dotted path may name; the harm of a hostile one is a file that must not appear."""

import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from serl_trl.answers.equality import KINDS, find_kind, get_kind
from serl_trl.common.plugin import installed_plugins, package_problems, split_list
from serl_trl.data.seeds import find_oracle
from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.registry import default_filters, find_filters
from serl_trl.labels.trl_reward import find_reward

OWN = """
    import functools, os, subprocess
    from os import system
    from subprocess import Popen
    from functools import partial
    from serl_trl.answers import AnswerKind, OwnKind
    from serl_trl.common.verdict import KEEP, Verdict

    HARM = {harm!r}
    harmful = partial(os.system, "touch " + HARM)
    roman = OwnKind("roman", normalise=str.upper)
    number = 7

    class Colours:
        name = "colours"
        def __init__(self, size=1):
            open(HARM, "w").close()
            self.size = size
        def extract(self, completion): return completion
        def canonical(self, answer): return answer
        def equal(self, left, right): return left == right

    class Nothing:
        def __init__(self):
            open(HARM, "w").close()

    class Lazy:
        @property
        def extract(self): open(HARM, "w").close()
        canonical = equal = extract

    def make_kind(size: int = 1) -> AnswerKind: return Colours(size)
    def make_nothing(size: int = 1) -> int: open(HARM, "w").close()
    def unsaid(size=1): open(HARM, "w").close()

    def solve(instruction: str) -> str | None: return "7"
    def untyped(instruction): return "7"
    def counts(instruction: str) -> int: return 7
    def two(instruction, more): return "7"
    @functools.lru_cache
    def cached(instruction): return "7"

    class Table:
        def __init__(self, table="a"): self.table = table
        def __call__(self, instruction): return self.table

    def short(completions, **kwargs): return [0.0 for _ in completions]
    def with_column(completions, solution, **kwargs) -> list[float]: return [0.0]
    def bare(completions): return [0.0]

    def check(text: str) -> Verdict: return KEEP
    class Longest:
        def __init__(self, most, words=()): self.most = most
        def __call__(self, text: str) -> Verdict: return Verdict(len(text) <= self.most, "long")
"""


@pytest.fixture
def harm(tmp_path, monkeypatch):
    """Lay a plug-in into the working directory; return the file that only hostile code writes."""
    harm = tmp_path / "harm"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HARM", str(harm))
    (tmp_path / "my_own").mkdir()
    (tmp_path / "my_own" / "__init__.py").write_text(
        dedent(OWN).replace("{harm!r}", repr(str(harm)))
    )
    hostile = f"open({str(harm)!r}, 'w').close()\n"
    (tmp_path / "stranger.py").write_text(hostile)
    (tmp_path / "my_own_too.py").write_text(hostile)
    yield harm
    for name in ("my_own", "stranger", "my_own_too"):
        sys.modules.pop(name, None)


FINDERS = {
    "kind": find_kind,
    "oracle": find_oracle,
    "filter": find_filters,
    "reward": find_reward,
}

HOSTILE = [
    "os.system",
    "os.remove",
    "posix.system",
    "nt.system",
    "subprocess.Popen(args='touch harm', shell=True)",
    "subprocess.run(args='touch harm', shell=True)",
    "builtins.exec",
    "builtins.open(file='harm', mode='w')",
    "importlib.import_module",
    "importlib.import_module(name='stranger')",
    "runpy.run_path(path_name='stranger.py')",
    "pickle.loads",
    "webbrowser.open",
    "antigravity.x",
    "stranger.x",
    "stranger.x(a=1)",
    "my_own_too.x",
    "numpy.save",
    "yaml.unsafe_load",
    "numpy.testing.suppress_warnings",
    "rich.console.Console",
    "my_own.system",
    "my_own.os.system",
    "my_own.Popen",
    "my_own.Popen(args='touch harm', shell=True)",
    "my_own.subprocess.Popen",
    "my_own.partial",
    "my_own.harmful",
    "my_own.harmful()",
    "my_own.os",
    "my_own.number",
    "my_own.HARM",
    "my_own.Nothing",
    "my_own.Nothing()",
    "my_own.Lazy",
    "my_own.make_nothing()",
    "my_own.unsaid()",
    "my_own.__builtins__",
    "my_own.nothing",
    "serl_trl.share.hub.push_model",
    "serl_trl.common.console.write_text",
    "serl_trl.runs.facts.package_versions",
    "serl_trl.common.plugin.importlib.import_module",
    "serl_trl.answers.process.subprocess.Popen",
    "serl_trl.runs.reader.shutil.rmtree",
    "__import__('os').system",
    "__import__('os').system('touch harm')",
    "(lambda: open('harm', 'w'))()",
    "[open('harm', 'w')]",
    "math(lenient=open('harm', 'w'))",
    "my_own.Colours(size=open('harm', 'w'))",
    "my_own.Colours(**open('harm', 'w'))",
    ".os.system",
    "os..system",
    "os.system\n",
    "x.\u0000",
    "(" * 500 + ")" * 500,
    "a.b(" + "[" * 300,
    "a.b(c=" + "-" * 5000 + "1)",
    "x" * 100_000 + ".y",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_hostile_paths_are_refused_and_nothing_is_run(find, text, harm):
    with pytest.raises(ValueError) as caught:
        find(text, ["my_own"])

    assert len(str(caught.value)) < 600
    assert not harm.exists()
    assert not Path("harm").exists()
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("text", ["my_own.Colours", "my_own.Colours(size=3)", "my_own.make_kind"])
def test_finding_a_kind_calls_nothing_and_making_it_does(text, harm):
    found = find_kind(text, ["my_own"])
    assert found.foreign
    assert not harm.exists()

    assert found.make().size == (3 if "3" in text else 1)
    assert harm.exists()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_ours_is_not_foreign(name):
    assert not find_kind(name).foreign


@pytest.mark.parametrize("text", ["my_own.Colours(colour=1)", "my_own.make_kind(colour=1)"])
def test_unknown_options_are_refused_before_the_call(text, harm):
    with pytest.raises(ValueError, match="cannot be made: got an unexpected keyword argument"):
        find_kind(text, ["my_own"])
    assert not harm.exists()


def test_an_object_of_the_plug_in_s_is_a_kind_as_it_is(harm):
    assert get_kind("my_own.roman", plugins=["my_own"]).canonical("iv") == "IV"
    with pytest.raises(ValueError, match="only a class or function has options"):
        find_kind("my_own.roman(name='x')", ["my_own"])


@pytest.mark.parametrize(
    ("find", "text", "fits"),
    [
        (find_oracle, "my_own.solve", True),
        (find_oracle, "my_own.untyped", True),
        (find_oracle, "my_own.cached", True),
        (find_oracle, "my_own.Table", True),
        (find_oracle, "my_own.Table(table='b')", True),
        (find_oracle, "serl_trl.sandbox.solve", True),
        (find_oracle, "my_own.counts", False),
        (find_oracle, "my_own.two", False),
        (find_oracle, "my_own.solve(instruction='x')", False),
        (find_oracle, "my_own.check", False),
        (find_reward, "my_own.short", True),
        (find_reward, "my_own.with_column", True),
        (find_reward, "my_own.bare", False),
        (find_reward, "my_own.solve", False),
    ],
)
def test_what_fills_a_role_is_told_by_its_signature(find, text, fits, harm):
    if fits:
        assert callable(find(text, ["my_own"]).make())
    else:
        with pytest.raises(ValueError, match="give a"):
            find(text, ["my_own"])


def test_filters_have_options_and_lists_keep_their_brackets_whole(harm):
    names = "length(min_words=2), my_own.Longest(most=30, words=('a,', 'b')),my_own.check"
    found = find_filters(names, ["my_own"])
    filters = [each if isinstance(each, str) else each.make() for each in found]
    judge = ProposalFilter(names=filters).judge

    assert judge("Why?").reason == "length"
    assert judge("What is the sum of seven and eight?").reason == "long"
    assert judge("What is 7 + 8?").keep
    assert find_filters("default") == list(default_filters)
    with pytest.raises(ValueError, match=r"length\(most=3\) cannot be made"):
        ProposalFilter(names=["length(most=3)"])
    assert split_list("a, b(c=',', d=[1, (2, 3)]),, e") == ["a", "b(c=',', d=[1, (2, 3)])", "e"]


def test_the_way_out_is_named(harm):
    with pytest.raises(ValueError) as caught:
        find_oracle("stranger.solve")
    assert str(caught.value) == (
        "gold_oracle=stranger.solve would run code of stranger, which is not a plug-in. If you "
        "trust it, say --plugins stranger (in Python plugins=['stranger']); a config file cannot."
    )
    with pytest.raises(ValueError, match="name it by --plugins my_package"):
        find_oracle("os.system")
    with pytest.raises(ValueError, match="is defined in posix, not in my_own"):
        find_oracle("my_own.system", ["my_own"])


def test_a_package_that_fails_on_import_is_named(harm):
    Path("my_own_too.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match="cannot be imported: ZeroDivisionError: division by zero"):
        find_oracle("my_own_too.solve", ["my_own_too"])


def test_python_s_own_modules_are_no_plug_ins(harm):
    given = ["os", "os.path", "my_own", "a b", "__import__('os')"]
    found = [str(problem) for problem in package_problems(given)]
    assert [problem.split(" ")[0] for problem in found[:2]] == ["plugins=os", "plugins=os.path"]
    assert len(found) == 4
    with pytest.raises(ValueError, match="standard library"):
        find_oracle("os.system", ["os"])


def announce(folder: Path, module: str) -> None:
    info = folder / "announced-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: announced\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[serl_trl.plugins]\nmine = {module}\n")


def test_an_installed_package_may_announce_itself(harm, tmp_path, monkeypatch):
    announce(tmp_path / "site", "my_own")
    with pytest.raises(ValueError, match="not a plug-in"):
        find_oracle("my_own.solve")

    monkeypatch.syspath_prepend(tmp_path / "site")

    assert find_oracle("my_own.solve").make()("What?") == "7"
    assert "my_own" in installed_plugins()


@pytest.mark.parametrize("place", ["", ".", os.curdir + "/"])
def test_what_lies_in_the_working_directory_was_not_installed(place, harm, tmp_path, monkeypatch):
    announce(tmp_path, "stranger")
    monkeypatch.setattr(sys, "path", [place, *sys.path])

    with pytest.raises(ValueError, match="not a plug-in"):
        find_oracle("stranger.x")
    assert not harm.exists()
