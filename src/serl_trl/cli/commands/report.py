"""`serl report RUN [RUN_B]`: the report of a run, or of two side by side."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from serl_trl.common.console import OK, Parser, report_problems, say
from serl_trl.common.processes import is_main_process
from serl_trl.report.pages import write_reports


def run(argv: Sequence[str], out: Console) -> int:
    """Write `report.html` and `report.md`, or `comparison.*` for two runs, and say where."""
    parser = Parser(
        prog="serl report",
        description="Write one self-contained page, and the same as Markdown, about a run or two.",
        allow_abbrev=False,
    )
    parser.add_argument("run", nargs="+", metavar="RUN", help="the output_dir of a run; one or two")
    parser.add_argument(
        "--output", metavar="FOLDER", help="write there; default: _serl in the (first) run's folder"
    )
    parser.add_argument(
        "--evaluation",
        metavar="FOLDER",
        help="where serl eval --compare wrote about this run's model: its figures before and after",
    )
    try:
        args = parser.parse_args(argv)
        if len(args.run) > 2:
            raise ValueError(f"{len(args.run)} runs are given; a report has one or two.")
        if args.evaluation and len(args.run) > 1:
            raise ValueError("evaluation goes with one run; a comparison of two takes none.")
        # Every process of a launcher comes here; one of them writes.
        if not is_main_process():
            return OK
        folders = [Path(folder).expanduser() for folder in args.run]
        target = Path(args.output).expanduser() if args.output else None
        measured = Path(args.evaluation).expanduser() if args.evaluation else None
        files = write_reports(folders, target, evaluation=measured)
    except (ValueError, OSError) as error:
        return report_problems("report", [str(error)])
    for file in files:
        say(out, f"written to {file}")
    return OK
