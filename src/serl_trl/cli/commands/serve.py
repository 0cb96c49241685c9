"""`serl serve`: vLLM's server with what a run needs of it, for `vllm_mode: server`."""

import ipaddress
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from serl_trl.cli.command_options import ServeOptions
from serl_trl.cli.parser import SeRLParser
from serl_trl.cli.run_problems import model_location
from serl_trl.common.console import OK, say, write_json
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.problem import Problem
from serl_trl.common.text import one_line, visible
from serl_trl.train.needs import vllm_problem

# The server's endpoints for weights, which a trainer needs, exist in this mode only.
VARIABLE = "VLLM_SERVER_DEV_MODE"


def run(argv: Sequence[str], out: Console) -> int:
    """Replace this process by the server; with `dry_run`, print its command."""
    values = SeRLParser(prog="serl serve", extra=ServeOptions).read_values(argv)
    if not values["dry_run"] and (problem := vllm_problem()):
        raise SeRLConfigError([f"the server cannot start: {problem}."])
    for warning in (host_warning(values["host"]), _use_warning(values)):
        if warning:
            out.print(Text(warning, "yellow"), soft_wrap=True)
    command = serve_command(values)
    shown = shlex.join(["vllm", *command[command.index("serve") :]])
    say(out, f"{VARIABLE}=1 {visible(shown)}")
    if values["dry_run"]:
        write_json(values["json"], {"command": command, "variables": {VARIABLE: "1"}})
        return OK
    # In the place of this process, so that signals reach the server and its exit code is the
    # command's.
    os.execve(sys.executable, command, {**os.environ, VARIABLE: "1"})


def serve_command(values: Mapping[str, Any]) -> list[str]:
    """Return the command of the server, beginning with this Python."""
    from trl.scripts.vllm_serve import ScriptArguments, build_command

    name = model_location(values["model_name_or_path"])
    dtype = values["dtype"]
    return build_command(
        ScriptArguments(
            model=name,
            revision=None if os.path.isdir(name) else values["model_revision"],
            tensor_parallel_size=values["vllm_tensor_parallel_size"],
            host=values["host"],
            port=_port(values),
            gpu_memory_utilization=values["gpu_memory_utilization"],
            # Weights kept in float32 for the updates are sampled from in the model's own type.
            dtype="auto" if dtype in (None, "float32") else dtype,
            max_model_len=values["vllm_max_model_length"],
            vllm_model_impl=values["vllm_model_impl"],
            trust_remote_code=values["trust_remote_code"],
        )
    )


def host_warning(host: str) -> str:
    """Return what an address other than the loopback exposes; nothing for the loopback."""
    try:
        private = ipaddress.ip_address(host).is_loopback
    except ValueError:
        private = host == "localhost"
    if private:
        return ""
    return (
        f"host={visible(host)}: whoever reaches this address can use the model and replace its "
        "weights; there is no password. Keep the port inside a private network."
    )


def _use_warning(values: Mapping[str, Any]) -> str:
    if values["use_vllm"] and values["vllm_mode"] == "server":
        return ""
    return (
        "the run will not ask this server: set use_vllm: true and vllm_mode: server in its config"
    )


def _port(values: Mapping[str, Any]) -> int:
    asked = values["vllm_server_base_url"]
    try:
        # The address is what the trainer will call, so its port goes before the option's default.
        named = urlsplit(asked).port if asked else None
    except ValueError as error:
        rule = f"is not an address: {one_line(error)}"
        problem = Problem("vllm_server_base_url", asked, rule, "write http://HOST:PORT")
        raise SeRLConfigError([problem]) from error
    return values["port"] or named or values["vllm_server_port"]
