"""What is shown while a run goes on: one row per step, bounded, and harmless."""

from types import SimpleNamespace

import pytest

from serl_trl.common.verdict import Verdict
from serl_trl.loop.proposing import JudgedProposal
from serl_trl.train.probe import COLUMNS, MAX_NOTEBOOK_ROWS, NotebookWatcher, Watcher, row_values

LOGS = {"serl/num_groups": 4.0, "serl/majority_ratio": 0.625, "serl/probe/pass@1": None}


def state(step: int) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=200)


def test_a_row_has_a_cell_for_each_column_and_leaves_out_what_was_not_logged():
    cells = dict(zip([name for name, _, _ in COLUMNS], row_values(state(3), LOGS), strict=True))
    assert (cells["step"], cells["majority"], cells["probe"]) == ("3", "0.62", "")


def test_a_notebook_shows_our_columns_and_no_loss_and_forgets_the_oldest_rows():
    pytest.importorskip("IPython")
    watcher = NotebookWatcher(show=True)
    watcher.on_train_begin(None, state(0), None)
    for step in range(1, 200):
        watcher.on_log(None, state(step), None, {**LOGS, "loss": 0.1})
    rows = watcher._table.inner_table
    assert rows[0] == [name for name, _, _ in COLUMNS]
    assert "loss" not in " ".join(rows[0]).lower()
    assert [row[0] for row in rows[1:]] == [
        str(step) for step in range(200 - MAX_NOTEBOOK_ROWS, 200)
    ]


@pytest.mark.parametrize("kind", [Watcher, NotebookWatcher])
def test_nothing_is_shown_where_nothing_is_to_be_shown(kind, capsys):
    watcher = kind(show=False, samples_every=1)
    watcher.on_train_begin(None, state(0), None)
    watcher.on_log(None, state(1), None, LOGS)
    watcher.show_samples(0, [JudgedProposal("x", Verdict(True), ())], [])
    assert capsys.readouterr() == ("", "")


def test_samples_are_shown_when_due_on_one_line_without_control_characters(capsys):
    watcher = Watcher(show=True, samples_every=5)
    hostile = "[bold]How many\x1b[2J\n" + "a" * 10_000
    proposal = JudgedProposal(hostile, Verdict(False, "length"), ())
    watcher.show_samples(3, [proposal], [])
    assert capsys.readouterr().err == ""
    watcher.show_samples(10, [proposal], [])
    printed = capsys.readouterr().err
    assert "length | [bold]How many" in printed
    assert "\x1b[2J" not in printed
    assert len(printed) < 300
