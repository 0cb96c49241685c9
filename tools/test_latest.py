"""Run pytest with the newest releases; on failure, name what differs from the pinned ones.

python tools/test_latest.py constraints.txt [pytest's arguments]
"""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RESULTS = Path("build/test-latest.xml")
_FILE_OF_A_PACKAGE = re.compile(r"site-packages[/\\](\w+)")


def differing(constraints: str, installed: Mapping[str, str]) -> dict[str, str]:
    """The packages whose installed version is not the pinned one: name to 'pinned -> installed'."""
    found = {}
    for line in constraints.splitlines():
        pin = Requirement(line)
        have = installed.get(name := canonicalize_name(pin.name))
        if have and (not pin.marker or pin.marker.evaluate()) and not pin.specifier.contains(have):
            found[name] = f"{pin.specifier} -> {have}".removeprefix("==")
    return found


def failures(results: str) -> Iterator[tuple[str, str, set[str]]]:
    """Of each failed test: its name, its error in one line, and the modules in its traceback."""
    for case in ET.fromstring(results).iter("testcase"):
        for fault in (*case.iter("failure"), *case.iter("error")):
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            first_line = (fault.get("message") or "").strip().partition("\n")[0]
            text = f"{fault.text}{case.findtext('system-err') or ''}"
            yield name, first_line, set(_FILE_OF_A_PACKAGE.findall(text))


def describe(changed: Mapping[str, str], results: str, owners: Mapping[str, list[str]]) -> str:
    """What to print: each differing package with the failures whose traceback passes through it.

    `owners` names the distributions of each module.
    """
    if not changed:
        return "Every version is the pinned one: the fault is not a new release's."
    broken: dict[str, list[str]] = {name: [] for name in changed}
    unexplained = []
    for test, error, modules in failures(results):
        packages = {canonicalize_name(one) for module in modules for one in owners.get(module, ())}
        suspects = packages & set(changed)
        for name in suspects:
            broken[name].append(f"    {test}: {error}")
        if not suspects:
            unexplained.append(f"    {test}: {error}")
    lines = ["Newer than pinned, each with the failures whose traceback passes through it:"]
    for name in sorted(changed, key=lambda name: (-len(broken[name]), name)):
        lines += [f"  {name} {changed[name]}", *broken[name]]
    if unexplained:
        lines += ["Failures whose traceback passes through none of them:", *unexplained]
    return "\n".join(lines)


def main(constraints: str, *pytest_args: str) -> int:
    """Run the tests in this environment; returns pytest's exit code."""
    RESULTS.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junitxml={RESULTS}", *pytest_args]
    code = subprocess.run(command).returncode
    installed = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    changed = differing(Path(constraints).read_text(encoding="utf-8"), installed)
    print(f"{len(changed)} packages differ from {constraints}.")
    if code:
        results = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "<testsuites/>"
        print(describe(changed, results, metadata.packages_distributions()))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
