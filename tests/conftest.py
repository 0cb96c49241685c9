"""What holds for every test: no network, nothing random, and no warning in a unit test."""

import importlib.util
import json
import os
from pathlib import Path

# Before anything imports torch or a Hugging Face library.
os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "NO_COLOR": "1",
    }
)
# Tiny models gain nothing from threads, and lose a hundredfold where other work shares the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "FORCE_COLOR"):
    os.environ.pop(_name, None)

import pytest
from hypothesis import HealthCheck, settings

UNIT = Path(__file__).parent / "unit"

# The same examples in every run, so that a failure is there for everyone. `--hypothesis-profile
# explore` looks further.
_slow_is_fine = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "default_run", derandomize=True, deadline=None, suppress_health_check=_slow_is_fine
)
settings.register_profile(
    "explore", max_examples=2000, deadline=None, suppress_health_check=_slow_is_fine
)
settings.load_profile("default_run")


@pytest.fixture
def fake_hub(monkeypatch):
    """A Hub on this machine, to which huggingface_hub talks, logged in by HF_TOKEN."""
    from huggingface_hub import constants

    spec = importlib.util.spec_from_file_location("fake_hub", UNIT.parent / "fake_hub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hub = module.FakeHub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", module.TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def problems():
    """Problem sets by name: "own" is written for the tests, the public ones lie beside the folder.

    The fixture gives rows, and skips where a public set is missing: here, so that pytest says so
    in one line for all tests.
    """

    def read(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in problem_file(name).read_text("utf-8").splitlines()]

    read.file = problem_file
    return read


def problem_file(name: str) -> Path:
    if name == "own":
        return UNIT / "fixtures" / "problems.jsonl"
    file = UNIT.parents[1].parent / "shared" / "data" / f"{name}.jsonl"
    if not file.exists():
        pytest.skip("the public problem sets are not in ../shared/data; the repository's own are")
    return file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if UNIT in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
