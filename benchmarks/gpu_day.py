"""What one short loan of a GPU can show, in order of worth: tests, speed, study, profile.

Each step is a command with a time limit, at which it is killed with its children. Its output goes
to a log, its figures to one file, `day.json`, as soon as it ends; a step that is done is passed
over when the command is given again, and one that was cut off continues where its command can.

    python -m benchmarks.gpu_day --out build/day --model ready/smollm2 --data ready/reviews.jsonl
    python -m benchmarks.gpu_day --out build/day --steps speed,profile --total_s 150
    python -m benchmarks.gpu_day --out build/day --device cpu
    python -m benchmarks.gpu_day --json build/day/day.json --results benchmarks/RESULTS.md

The first line is `make gpu-day`. The third shows on any machine that all of it works, with tiny
sizes and the sandbox's model; so does `--tiny` on a GPU. The last appends the tables.
"""

import argparse
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.study import ROOT, as_table
from serl_trl.common.folder import Folder
from serl_trl.runs.facts import installed

SANDBOX_MODEL = ROOT / "src" / "serl_trl" / "sandbox" / "model"
PACKAGES = ("torch", "transformers", "trl", "accelerate", "peft", "datasets", "bitsandbytes")
# Lines of a failed step's log that are shown at once: the machine may be gone soon after.
SHOWN_LINES = 40
TINY_TEXTS = 600


@dataclass(frozen=True)
class Step:
    """A command that writes figures.

    `command` is what follows `python -m`; `read` returns the figures from the files that it wrote,
    and `after` is a command that makes them of what a killed step had finished. A step is not
    started with fewer than `least_s` seconds left, because it would show nothing by then.
    """

    command: Sequence[str]
    limit_s: int
    least_s: int
    read: Callable[[], Any]
    after: Sequence[str] = ()


def main() -> None:
    """Run the steps, or append the tables of an earlier call."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "day")
    parser.add_argument("--steps", default="", help="names with commas; default: all, in order")
    parser.add_argument("--total_s", type=int, default=900, help="seconds for all steps together")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes; always with --device cpu")
    parser.add_argument("--model", type=Path, default=ROOT / "runs" / "smollm2")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared/data/movie_sentiment.jsonl"
    )
    parser.add_argument("--study", default="", help="flags for benchmarks.real in place of ours")
    parser.add_argument("--json", type=Path, help="append the tables of this file, run nothing")
    parser.add_argument("--results", type=Path, help="with --json: the Markdown file")
    options = parser.parse_args()
    if options.json:
        write_tables(json.loads(options.json.read_text(encoding="utf-8")), options.results)
        return
    options.tiny = options.tiny or options.device == "cpu"
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    steps = all_steps(options)
    wanted = options.steps.split(",") if options.steps else list(steps)
    if unknown := set(wanted) - set(steps):
        parser.error(f"--steps={','.join(sorted(unknown))}: not among {', '.join(steps)}")
    sys.exit(run_steps({name: steps[name] for name in wanted}, options))


def all_steps(options: argparse.Namespace) -> dict[str, Step]:
    """Return the steps by name, in order of worth."""
    out, device = options.out, ["--device", options.device]
    files = {name: out / f"{name}.json" for name in ("speed", "study", "profile", "profile_real")}

    def figures(name: str) -> Callable[[], Any]:
        return lambda: json.loads(files[name].read_text(encoding="utf-8"))

    junit = out / "tests.xml"
    tests = ["pytest", "-c", "tests/gpu/pytest.ini", "tests/gpu", "-v", f"--junitxml={junit}"]
    sizes = ["--rows", "256", "--completion", "64", "--case_s", "45"]
    if options.tiny:
        sizes = ["--rows", "16", "--completion", "16", "--tiny"]
    speed = ["benchmarks.gpu_memory", *device, *sizes, "--json", str(files["speed"])]
    profiled = ["benchmarks.step_profile", *device, *(["--tiny"] if options.tiny else [])]
    study = ["benchmarks.real", *study_flags(options), *device, "--json", str(files["study"])]
    steps = {
        "tests": Step(tests, 180, 30, lambda: count_tests(junit)),
        "speed": Step(speed, 240, 40, figures("speed")),
        "study": Step(study, 300, 60, figures("study"), [*study, "--summary"]),
        "profile": Step([*profiled, "--json", str(files["profile"])], 90, 30, figures("profile")),
    }
    if not options.tiny and has_model(options):
        real = [*profiled, "--model", str(options.model), "--json", str(files["profile_real"])]
        steps["profile_real"] = Step(real, 120, 60, figures("profile_real"))
    return steps


def has_model(options: argparse.Namespace) -> bool:
    """Whether the folder holds a whole model."""
    return (options.model / "model.safetensors").is_file()


def study_flags(options: argparse.Namespace) -> list[str]:
    """Return what `benchmarks.real` is told of the study, its model and its data."""
    work = ["--work_dir", str(options.out / "runs")]
    if not options.tiny:
        # A round of proposals costs a GPU the same for 48 lists as for the 16 of the config.
        ours = "--wide --seeds 1,2,3 --jobs 12 --threads 1 --flags '--num_requests 48'"
        read = ["--model", str(options.model.absolute()), "--data", str(options.data.absolute())]
        return [*read, *work, *shlex.split(options.study or ours)]
    # The sandbox's model reads no reviews: every arm that needs a vote would starve.
    data = options.out / "tiny.jsonl"
    labels = ("positive", "negative")
    rows = [
        {"id": f"{number}", "text": f"Film number {number}.", "label": labels[number % 2]}
        for number in range(TINY_TEXTS)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tiny = "--arms gold_given --seeds 1,2 --max_steps 1 --jobs 2 --threads 1 --bf16 false"
    read = ["--model", str(SANDBOX_MODEL), "--data", str(data)]
    return [*read, *work, *shlex.split(options.study or tiny)]


def run_steps(steps: dict[str, Step], options: argparse.Namespace) -> int:
    """Run what is not done yet while there is time; return 1 when a step failed."""
    path, ends = options.out / "day.json", time.monotonic() + options.total_s
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"steps": {}}
    found |= {"date": date.today().isoformat(), "device": device_name(options.device)}
    found |= {"versions": {"python": platform.python_version(), **installed(PACKAGES)}}
    found["tiny"] = options.tiny
    for name, step in steps.items():
        earlier, left = found["steps"].get(name, {}), int(ends - time.monotonic())
        if earlier.get("exit_code") == 0:
            say(f"{name}: done before, in {earlier['seconds']:.0f} s")
        elif left < step.least_s:
            say(f"{name}: not started, {left} s are left and it needs {step.least_s}")
        else:
            say(f"{name}: {shlex.join(step.command)}")
            found["steps"][name] = run_step(
                step, options.out / f"{name}.log", min(left, step.limit_s)
            )
            Folder(options.out).write(path.name, json.dumps(found, indent=1) + "\n")
            say_end(name, found["steps"][name], options.out / f"{name}.log")
    return int(any(found["steps"].get(name, {}).get("exit_code") != 0 for name in steps))


def run_step(step: Step, log: Path, limit_s: int) -> dict[str, Any]:
    """Run one command to its end or its limit; return its seconds, exit code and figures."""
    started = time.monotonic()
    code = run_command(step.command, log, limit_s)
    seconds = time.monotonic() - started
    # `None`, of one that was killed, too.
    if code != 0 and step.after:
        run_command(step.after, log, 60)
    try:
        figures = step.read()
    except (OSError, ValueError, ElementTree.ParseError) as error:
        figures = {"error": f"{type(error).__name__}: {error}"}
    return {"seconds": seconds, "exit_code": code, "limit_s": limit_s, "figures": figures}


def run_command(command: Sequence[str], log: Path, limit_s: int) -> int | None:
    """Run `python -m` with `command`, its output at the end of `log`; `None`: it was killed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("a", encoding="utf-8") as file:
        # A group of its own, which is killed as a whole.
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # What its children left behind goes in any case.
            kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a command with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def count_tests(junit: Path) -> dict[str, Any]:
    """Return how many tests passed, were skipped or failed, and the names of the last."""
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None, "pytest writes one"
    cases = suite.findall("testcase")
    failed = [each.get("name") for each in cases if {c.tag for c in each} & {"failure", "error"}]
    skipped = sum(each.find("skipped") is not None for each in cases)
    passed = len(cases) - len(failed) - skipped
    return {"passed": passed, "skipped": skipped, "failed": failed}


def device_name(device: str) -> str:
    """Return the name of the GPU, or of the processor's kind."""
    if device == "cpu":
        return f"cpu, {platform.machine()}"
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"no CUDA GPU: nothing was run ({error})") from error


def say(line: str) -> None:
    """Print a line at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def say_end(name: str, found: dict[str, Any], log: Path) -> None:
    """Say how a step ended; of one that failed, show the end of its log."""
    code = found["exit_code"]
    ended = f"killed at {found['limit_s']} s" if code is None else f"exit code {code}"
    say(f"{name}: {ended} after {found['seconds']:.0f} s")
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        print("\n".join(lines[-SHOWN_LINES:]), flush=True)


def write_tables(found: dict[str, Any], results: Path | None) -> None:
    """Print the tables of all steps, and append them to `results`."""
    text = as_markdown(found)
    sys.stdout.write(text)
    if results:
        if found["device"].startswith("cpu"):
            raise SystemExit("--results takes figures of a GPU only")
        with results.open("a", encoding="utf-8") as file:
            file.write(text)


def as_markdown(found: dict[str, Any]) -> str:
    """Return what the steps found as Markdown: one table of the steps, then each its own."""
    # Imported late: what runs the steps should start at once.
    from benchmarks import gpu_memory, real, step_profile

    shown = {
        "speed": gpu_memory.as_markdown,
        "study": real.as_markdown,
        "profile": step_profile.as_markdown,
        "profile_real": step_profile.as_markdown,
    }
    named = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rows = [["step", "seconds", "end"]]
    for name, step in found["steps"].items():
        code = step["exit_code"]
        ended = {0: "done", None: f"cut off at {step['limit_s']} s"}.get(code, f"exit code {code}")
        if name == "tests" and "passed" in step["figures"]:
            counts = step["figures"]
            failed = ", ".join(counts["failed"]) or "none"
            ended += f"; {counts['passed']} passed, {counts['skipped']} skipped, failed: {failed}"
        rows.append([name, f"{step['seconds']:.0f}", ended])
    tiny = ", tiny sizes" if found.get("tiny") else ""
    lines = [f"\n## A day on {found['device']}, {found['date']}{tiny}\n"]
    lines += [f"`make gpu-day`, {named}.\n", *as_table(rows)]
    text = "\n".join(lines) + "\n"
    for name, write in shown.items():
        figures = found["steps"].get(name, {}).get("figures")
        if figures and "error" not in figures:
            text += write(figures)
    return text


if __name__ == "__main__":
    main()
