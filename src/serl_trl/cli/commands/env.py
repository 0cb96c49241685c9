"""`serl env`: the versions that matter in a report."""

import platform
from collections.abc import Sequence

from rich.console import Console

from serl_trl._version import __version__
from serl_trl.common.console import OK, Parser, UsageError, report_problems, say, write_json
from serl_trl.runs.facts import installed

PACKAGES = (
    *("torch", "trl", "transformers", "accelerate", "peft", "datasets", "huggingface_hub"),
    *("math-verify", "vllm", "bitsandbytes", "deepspeed"),
)


def run(argv: Sequence[str], out: Console) -> int:
    """Print what is installed and which devices there are."""
    parser = Parser(prog="serl env", allow_abbrev=False)
    parser.add_argument("--json", metavar="PATH", help="Write the versions to this file, as JSON.")
    try:
        options = parser.parse_args(list(argv))
    except UsageError:
        return report_problems("env", ["serl env takes only --json PATH."])
    report = _environment()
    for name, value in report.items():
        say(out, f"- {name}: {value}")
    write_json(options.json, report)
    return OK


def _environment() -> dict[str, str]:
    """Return names and versions, `not installed` for what is not there."""
    # Imported late: `--help` should take no seconds.
    import torch

    count = torch.cuda.device_count()
    devices = [torch.cuda.get_device_name(index) for index in range(count)]
    return {
        "serl-trl": __version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "devices": ", ".join(devices) or "CPU only",
        "CUDA": torch.version.cuda or "none",
        **dict.fromkeys(PACKAGES, "not installed"),
        **installed(PACKAGES),
    }
