"""Help pages: own options first, short, and without the seconds that torch takes."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest

from serl_trl.cli.command_options import OWN_OPTIONS
from serl_trl.cli.usage import COMMANDS, USAGE, short_help, takes_run_options
from serl_trl.train.options import HEADINGS, SelfPlayOptions
from serl_trl.train.run_arguments import RunArguments

HEAVY = ("torch", "transformers", "accelerate", "datasets", "peft", "bitsandbytes", "math_verify")
WITH_RUN_OPTIONS = [command for command in COMMANDS if takes_run_options(command)]


def test_the_usage_names_every_command_once():
    assert re.findall(r"^  ([\w-]+)  ", USAGE, re.MULTILINE) == list(COMMANDS)


def test_every_heading_stands_over_an_option():
    assert HEADINGS.keys() <= {item.name for item in fields(SelfPlayOptions)}
    assert next(iter(HEADINGS)) == fields(SelfPlayOptions)[0].name


@pytest.mark.parametrize("command", WITH_RUN_OPTIONS)
def test_own_options_come_first_and_each_has_one_short_line(command):
    lines = short_help(command).splitlines()
    options = [match[1] for line in lines if (match := re.match(r"  --(\w+)", line))]
    own = OWN_OPTIONS.get(command)

    assert lines[0].startswith(f"usage: serl {command} ")
    assert len(lines) <= 121
    assert max(map(len, lines)) <= 100
    assert len(options) == len(set(options))
    if own:
        assert options[: len(fields(own))] == [item.name for item in fields(own)]


def test_the_page_of_train_names_every_option_of_self_play():
    page = short_help("train")

    for item in (*fields(RunArguments), *fields(SelfPlayOptions)):
        assert f"  --{item.name} " in page
    assert "serl train --help_all" in page


def test_defaults_are_shown_as_a_user_would_write_them():
    for command in WITH_RUN_OPTIONS:
        page = short_help(command)
        assert "<" not in page and "MISSING" not in page
    assert re.search(r"--sources +\[few_shot\] ", short_help("train"))


def test_no_help_page_loads_a_heavy_library():
    code = (
        "import sys\n"
        "from serl_trl.cli import main\n"
        f"for command in ['--help', *{[*COMMANDS]!r}]:\n"
        "    try:\n"
        "        main([command] if command == '--help' else [command, '--help'])\n"
        "    except SystemExit as left:\n"
        "        assert left.code == 0, command\n"
        f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not loaded, f'{command} loads {loaded}'\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
