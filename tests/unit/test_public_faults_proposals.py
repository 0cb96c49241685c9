"""Faults of parsing and filtering that others reported; read where the file is present."""

from serl_trl.filters.gate import ProposalFilter
from serl_trl.propose.parsing.proposals import parse_proposals


def test_what_others_saw_a_model_write_is_read(problems):
    rows = [row for row in problems("public_faults") if row["area"] == "proposer"]
    assert [parse_proposals(row["input"]["text"]) for row in rows] == [row["want"] for row in rows]


def test_what_others_saw_pass_a_filter_is_judged(problems):
    for row in problems("public_faults"):
        if row["area"] != "filters":
            continue
        names, want = row["input"]["names"], row["want"]
        chosen = {} if names == "default" else {"names": names.split(",")}
        verdict = ProposalFilter(**chosen).judge(row["input"]["text"])
        assert verdict.keep == want["keep"], row
        assert verdict.reason == want.get("reason", verdict.reason), row
