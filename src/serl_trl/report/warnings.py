"""What a reader should know before trusting a run, one small function for each kind of finding.

The limits are rules of thumb, which the report states; nothing is decided by them.
"""

import operator
from collections.abc import Iterator

from serl_trl.common.text import count_of, list_names
from serl_trl.report.figures import commonest_answer, first_and_last, percent
from serl_trl.report.words import BOUNDS
from serl_trl.runs.reader import Run, number_in

HIGH_COMMONEST = 0.25
MIN_COMMONEST_GROUPS = 32

# Rates at the end of a run that are told when they lie above or below a limit.
_RATES = (
    ("serl/unparsable_ratio", operator.gt, 0.2, "{} of the completions have no vote at the end."),
    ("serl/truncated_ratio", operator.gt, 0.1, "{} of the completions are cut off at the end."),
    (
        "serl/kept_ratio",
        operator.lt,
        0.15,
        "Only {} of the groups rolled out at the end are kept; the rest of the work is thrown "
        "away.",
    ),
    (
        "serl/accepted_ratio",
        operator.lt,
        0.3,
        "Only {} of the proposals at the end are accepted.",
    ),
)


def warnings_of(run: Run) -> list[str]:
    """Return the warnings in plain words, the gravest first."""
    checks = (_ending, _notes, _commonest, _overlaps, _rates, _repeated, _stopped_searches)
    return [text for check in checks for text in check(run)]


def _ending(run: Run) -> Iterator[str]:
    planned = number_in(run.config, "max_steps")
    if run.ledger.starved is not None:
        step, _ = run.ledger.starved
        yield f"The run stopped at step {step} because it found no group to train on any more."
    elif planned and run.num_steps < planned and run.ledger.spent is None:
        yield f"The run did {run.num_steps} of {planned:.0f} steps: it stopped, or still runs."


def _notes(run: Run) -> Iterator[str]:
    yield from run.notes


def _commonest(run: Run) -> Iterator[str]:
    found = commonest_answer(run)
    if found and found[1] >= HIGH_COMMONEST and found[2] >= MIN_COMMONEST_GROUPS:
        yield (
            f"The commonest answer is the same in {percent(found[1])} of the last "
            f"{found[2]} groups, although their problems differ."
        )


def _overlaps(run: Run) -> Iterator[str]:
    if n := run.ledger.proposals.reasons()["contamination"]:
        yield (
            f"{count_of(n, 'proposal')} overlapped an evaluation set and "
            f"{'was' if n == 1 else 'were'} refused; some are shown below, all are in the ledger."
        )
    if n := run.ledger.num_seed_overlaps:
        yield (
            f"{count_of(n, 'seed')} overlap an evaluation set and stayed: what is measured on that "
            "set is not held out from them."
        )


def _rates(run: Run) -> Iterator[str]:
    for key, is_beyond, limit, text in _RATES:
        ends = first_and_last(run.series(key))
        if ends and is_beyond(ends[1], limit):
            yield text.format(percent(ends[1]))


def _repeated(run: Run) -> Iterator[str]:
    steps = sum(value > 0 for _, value in run.series("serl/num_repeated_groups"))
    if steps:
        yield (
            f"In {count_of(steps, 'logged step')} groups were repeated to fill a batch: the model "
            "was trained on fewer different problems there, and more on each of them."
        )


def _stopped_searches(run: Run) -> Iterator[str]:
    if not run.ledger.bounds:
        return
    named = sorted({BOUNDS[bound] for bound in run.ledger.bounds.values() if bound in BOUNDS})
    what = f" ({list_names(named)})" if named else ""
    yield (
        f"In {count_of(len(run.ledger.bounds), 'step')} the search for groups was stopped by its "
        f"bound{what} before the batch was full. Most often the problems are too easy or too hard "
        "for the model, so that too few groups are kept; the rest of the time goes into groups "
        "that train nothing."
    )
