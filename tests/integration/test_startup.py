"""What a command that needs no weights does not import, and what it does not print."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = CONFIGS / "sandbox_cpu.yaml"
# Its model's sizes are in a table; of the sandbox a plan counts the parameters in the headers.
KNOWN = CONFIGS / "qwen2.5_0.5b_1gpu_24gb.yaml"
# What a command that loads no weights does not import: half of the seconds of TRL's config, all of
# the lines that are not ours, and whatever reads proposals, tables or verdicts. Torch is loaded,
# for TRL's options cannot be listed without it.
FORBIDDEN = (
    *("peft", "bitsandbytes", "transformers.modeling_utils", "datasets", "vllm"),
    *("transformers.activations", "torch.distributed.tensor", "sympy", "math_verify"),
    *("pandas", "pyarrow", "matplotlib", "rapidfuzz", "rouge_score", "sentence_transformers"),
)
# The rooms and modules of the package that such a command may load.
MAY_LOAD = (
    *("_version", "common", "answers", "propose", "sandbox", "data", "measure", "runs"),
    *("train.checkpoint", "train.config", "train.config_checks", "train.model_files"),
    *(
        "train.beside",
        "train.needs",
        "train.options",
        "train.ranges",
        "train.run_arguments",
        "train.swaps",
        "train.template_roles",
        *(
            "filters.registry",
            "filters.seeds",
            "filters.english",
            "filters.validity",
            "report.words",
        ),
        "labels",
        "plan",
        "cli",
    ),
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """A demo may have left its run in the folder that the sandbox's config names."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


def run_in_process(
    argv: list[str], forbidden: tuple[str, ...], allowed: tuple[str, ...] = MAY_LOAD
) -> subprocess.CompletedProcess:
    code = (
        "import sys\n"
        "from serl_trl.cli import main\n"
        "code = main(sys.argv[1:])\n"
        f"loaded = [name for name in {forbidden!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
        "ours = [each[9:] for each in sys.modules if each.startswith('serl_trl.')]\n"
        f"allowed = tuple(each + '.' for each in ({allowed!r}))\n"
        "more = [each for each in ours if not (each + '.').startswith(allowed)]\n"
        "assert not set(more) - {'train', 'report', 'filters'}, more\n"
        "sys.exit(code)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["check", "--config", str(CONFIG)],
        ["plan", "--config", str(CONFIG), "--gpu", "24gb"],
        ["plan", "--config", str(KNOWN), "--gpu", "24gb"],
        ["serve", "--config", str(CONFIG), "--dry_run"],
    ],
    ids=lambda value: value[0],
)
def test_a_command_without_weights_loads_no_library_for_them_and_is_quiet(argv):
    done = run_in_process(argv, FORBIDDEN)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_report_loads_no_torch(tmp_path):
    heavy = ("torch", "transformers", "trl")
    done = run_in_process(["report", str(tmp_path)], heavy, (*MAY_LOAD, "report"))

    assert done.returncode == 2
    assert "problem" in done.stderr
    assert "Traceback" not in done.stderr


def test_deferred_classes_know_the_models_of_peft():
    code = (
        "import torch\n"
        "from serl_trl.common.startup import defer_heavy_imports\n"
        "defer_heavy_imports()\n"
        "from transformers import trainer_utils\n"
        "assert not trainer_utils._is_peft_model(torch.nn.Linear(1, 1))\n"
        "import peft\n"
        "inner = torch.nn.Sequential(torch.nn.Linear(1, 1))\n"
        "model = peft.get_peft_model(inner, peft.LoraConfig(target_modules=['0']))\n"
        "assert trainer_utils._is_peft_model(model)\n"
        "assert not trainer_utils._is_peft_model(inner)\n"
        "assert trainer_utils.unwrap_peft_model(model) is not model\n"
        "from transformers import integrations\n"
        "import os\n"
        "assert not integrations.is_kubeflow_available()\n"
        "from transformers.utils import type_validators\n"
        "from transformers.activations import ACT2FN\n"
        "names = type_validators.ACT2FN\n"
        "assert names.keys() == ACT2FN.keys() and len(names) == len(ACT2FN)\n"
        "assert 'silu' in names and 'no such' not in names\n"
        "os.environ['KUBEFLOW_TRAINER_SERVER_URL'] = 'here'\n"
        "assert integrations.is_kubeflow_available()\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
