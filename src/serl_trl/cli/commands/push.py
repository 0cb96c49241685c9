"""`serl push RUN`: the model, its card and its evaluation results to the Hub."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from serl_trl.common.console import FAILED, OK, Parser, UsageError, report_problems, say, write_json
from serl_trl.common.folder import FolderError
from serl_trl.common.text import count_of, visible
from serl_trl.share.hub import NotPushedError, Upload, prepare_model, upload


def run(argv: Sequence[str], out: Console) -> int:
    """Push the model of a finished run (or of one of its checkpoints)."""
    return push("push", argv, out, prepare_model)


def push(command: str, argv: Sequence[str], out: Console, prepare: Callable[..., Upload]) -> int:
    """Prepare the upload that `argv` names; list it or send it."""
    try:
        args = _parser(command).parse_args(list(argv))
        options: dict[str, Any] = {"repo_id": args.repo_id, "private": not args.public}
        # Only the model's push has the flag.
        if getattr(args, "evaluation", None):
            options["evaluation"] = Path(args.evaluation).expanduser()
        ready = prepare(Path(args.run).expanduser(), **options)
    # The last one comes from a stranger's ledger: a number too large for its column.
    except (UsageError, FolderError, ValueError, OverflowError) as error:
        return report_problems(command, [visible(str(error))])
    except OSError as error:
        return report_problems(command, [f"{error.filename}: {error.strerror}."])
    names = ("kind", "repo_id", "private", "files", "left", "withheld")
    report = {name: getattr(ready, name) for name in names}
    _list(ready, out)
    if args.dry_run:
        say(out, f"nothing was sent; what would go lies in {ready.folder}")
        write_json(args.json, {**report, "folder": str(ready.folder)})
        return OK
    code, address = _send(command, ready, out)
    if code == OK:
        say(out, f"pushed to {address}")
        write_json(args.json, {**report, "url": address})
    return code


def _send(command: str, ready: Upload, out: Console) -> tuple[int, str]:
    """Upload; return the exit code and the address on the Hub."""
    from huggingface_hub import get_token

    if get_token() is None:
        problem = "nobody is logged in; run `hf auth login` or set HF_TOKEN, or --dry_run."
        return report_problems(command, [problem]), ""
    try:
        with out.status(f"sending {count_of(len(ready.files), 'file')}"):
            return OK, upload(ready)
    except NotPushedError as error:
        problem = (
            f"not pushed to {ready.repo_id}: {error}. All {len(ready.files)} files lie in "
            f"{ready.folder}; push later with: {ready.command}"
        )
        report_problems(command, [problem])
        return FAILED, ""


def _parser(command: str) -> Parser:
    parser = Parser(prog=f"serl {command}", allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", help="The output_dir of a run.")
    parser.add_argument(
        "--repo_id",
        "--repo-id",
        help="Name on the Hub, `name` or `owner/name`; by default hub_model_id or the folder's.",
    )
    parser.add_argument("--public", action="store_true", help="Anyone may see it.")
    parser.add_argument(
        "--dry_run",
        "--dry-run",
        action="store_true",
        help="Send nothing: write the folder that would be sent, and list it.",
    )
    if command == "push":
        parser.add_argument(
            "--evaluation",
            metavar="FOLDER",
            help="What serl eval wrote about this model: its figures go into the card.",
        )
    parser.add_argument("--json", help="Write what was done to this file, as JSON.")
    return parser


def _list(ready: Upload, out: Console) -> None:
    seen = "private" if ready.private else "PUBLIC"
    say(out, f"{ready.kind} {visible(ready.repo_id)}, {seen}:")
    for name in ready.files:
        size = (ready.folder / name).stat().st_size
        say(out, f"  {visible(name):<40} {size:>14,} bytes")
    for what in ready.withheld:
        say(out, f"withheld: {visible(what)}")
    if ready.left:
        say(out, f"stays here: {', '.join(visible(name) for name in ready.left)}")
