"""What a reader should know before trusting a run, one small function for each kind of finding.

The limits are rules of thumb, which the report states; nothing is decided by them.
"""

import operator
from collections.abc import Iterator

from serl_trl.common.text import visible
from serl_trl.report.figures import commonest_answer, first_and_last
from serl_trl.report.sentences import say
from serl_trl.report.words import BOUNDS
from serl_trl.runs.reader import Run, number_in

# Problems that differ rarely have one answer in common; in a healthy run of the sandbox the
# commonest one wins 5 to 15 %. Of a few groups more may still be chance.
HIGH_COMMONEST = 0.25
# Out of two labels or four choices one wins a half or a quarter without any fault.
HIGH_COMMONEST_LABEL = 0.8
MIN_COMMONEST_GROUPS = 32
# Rates that are told when they end above or below a limit.
_RATES = (
    ("serl/unparsable_ratio", operator.gt, 0.2, "unparsable"),
    ("serl/truncated_ratio", operator.gt, 0.1, "truncated"),
    ("serl/kept_ratio", operator.lt, 0.15, "few_kept"),
    ("serl/accepted_ratio", operator.lt, 0.3, "few_accepted"),
)


def warnings_of(run: Run) -> list[str]:
    """Return the warnings in plain words, the gravest first."""
    checks = (_ending, operator.attrgetter("notes"))
    return [text for check in checks for text in check(run)] + warnings_while_running(run)


def warnings_while_running(run: Run) -> list[str]:
    """Return the warnings that a run may have before it ended and its files are complete."""
    checks = (_alarms, _one_answer, _overlaps, _rates, _repeated, _stopped)
    return [text for check in checks for text in check(run)]


def _ending(run: Run) -> Iterator[str]:
    planned = number_in(run.config, "max_steps")
    if run.ledger.starved is not None:
        yield say("starved", step=run.ledger.starved[0])
    elif run.ledger.ended is not None:
        # The first line of the page says why.
        return
    elif planned and run.num_steps < planned and run.ledger.spent is None:
        yield say("ended_early", step=run.num_steps, planned=planned)


def _alarms(run: Run) -> Iterator[str]:
    for step, reason in run.ledger.alarms.values():
        yield say("alarm", step=step, reason=visible(reason))


def high_commonest(run: Run) -> float:
    """Return the share of groups from which on one answer wins too often, by the answer kind."""
    kind = str(run.config.get("answer_kind")).partition("(")[0]
    return HIGH_COMMONEST_LABEL if kind in ("choice", "label") else HIGH_COMMONEST


def _one_answer(run: Run) -> Iterator[str]:
    found = commonest_answer(run)
    if found and found[1] >= high_commonest(run) and found[2] >= MIN_COMMONEST_GROUPS:
        yield say("one_answer", share=found[1], groups=found[2])


def _overlaps(run: Run) -> Iterator[str]:
    if number := run.ledger.proposals.reasons()["contamination"]:
        yield say("proposals_overlap", number=number)
    if number := run.ledger.num_seed_overlaps:
        yield say("seeds_overlap", number=number)


def _rates(run: Run) -> Iterator[str]:
    for key, is_beyond, limit, sentence in _RATES:
        ends = first_and_last(run.series(key))
        if ends and is_beyond(ends[1], limit):
            yield say(sentence, rate=ends[1])


def _repeated(run: Run) -> Iterator[str]:
    if steps := sum(value > 0 for _, value in run.series("serl/num_repeated_groups")):
        yield say("repeated", steps=steps)


def _stopped(run: Run) -> Iterator[str]:
    if bounds := run.ledger.bounds:
        # A bound of another version has no words here.
        named = sorted({BOUNDS[bound] for bound in bounds.values() if bound in BOUNDS})
        yield say("stopped", steps=len(bounds), bounds=named)
