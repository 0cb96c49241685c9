"""The report in a real browser: it is no wider than the screen, and asks nothing of a network.

Skipped where there is no Chromium. `make test-browser SCREENSHOTS=folder` keeps the pictures.
"""

import base64
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
QUIET += "--disable-background-networking --disable-component-update --remote-debugging-pipe"

# The run in which everything that can be hostile is, as the tests of the report make it.
UNIT = Path(__file__).parents[1] / "unit" / "test_report.py"
_spec = importlib.util.spec_from_file_location("unit_test_report", UNIT)
_report = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_report)
hostile = _report.hostile


class Browser:
    """Chromium without a window, asked through its debugging pipe; no script runs in a page."""

    def __init__(self, profile: Path) -> None:
        (read, self._write), (self._read, write) = os.pipe(), os.pipe()
        command = (
            f"exec {CHROMIUM} {QUIET} --user-data-dir={profile} 3</dev/fd/{read} 4>/dev/fd/{write}"
        )
        self.process = subprocess.Popen(
            ["sh", "-c", command], pass_fds=(read, write), stderr=subprocess.DEVNULL
        )
        os.close(read), os.close(write)
        self.session, self.events, self._number, self._rest = {}, [], 0, b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}

    def ask(self, method: str, **params):
        self._number += 1
        request = {"id": self._number, "method": method, "params": params, **self.session}
        os.write(self._write, json.dumps(request).encode() + b"\0")
        while (message := self._next()).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def _next(self):
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def open(self, page: Path, *, width: int) -> set[str]:
        """Show `page` on a screen so wide; return the addresses that were asked for meanwhile."""
        for domain in ("Page", "Network"):
            self.ask(f"{domain}.enable")
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **screen)
        self.events.clear()
        self.ask("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        asked = [e["params"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {params["request"]["url"] for params in asked}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.session = {}
    found.ask("Browser.close")
    found.process.wait(20)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_page_fits_the_screen_and_asks_for_nothing(hostile, browser, tmp_path, name, width):
    _report.write_reports([hostile, hostile])
    page = hostile / "_serl" / f"{name}.html"

    assert browser.open(page, width=width) == {page.as_uri()}

    size = browser.ask("Page.getLayoutMetrics")["cssContentSize"]
    whole = {"captureBeyondViewport": True, "clip": size | {"scale": 1}}
    for ending, method, options in (
        ("png", "Page.captureScreenshot", whole),
        ("pdf", "Page.printToPDF", {}),
    ):
        shown = base64.b64decode(browser.ask(method, **options)["data"])
        folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
        (folder / f"{name}-{width}.{ending}").write_bytes(shown)
    assert size["width"] <= width
    assert size["height"] > 3000, "the whole page"


@pytest.mark.parametrize("width", [390, 1280])
def test_a_wide_page_and_a_request_would_be_seen(browser, tmp_path, width):
    page = tmp_path / "page.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><p style='width:2000px'>wide</p>")

    assert "http://127.0.0.1:9/x.png" in browser.open(page, width=width)

    assert browser.ask("Page.getLayoutMetrics")["cssContentSize"]["width"] > width
