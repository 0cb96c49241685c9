"""The table of proposals judged by hand: what is counted, and what of a text is committed."""

import json

from benchmarks.validity_smollm2 import counts, read_written


def line(text: str, *, keep: bool = True, rouge_l: float = 0.1, shots=("seed:1",), **more) -> dict:
    detail = {"rouge_l": rouge_l}
    reason = "" if keep else "rouge_l"
    return {"text": text, "keep": keep, "reason": reason, "detail": detail, "shots": shots, **more}


def test_rows_keep_their_judgement_and_hide_what_may_hold_a_seed_of_somebody_else(tmp_path):
    file = tmp_path / "rows.jsonl"
    group = {"type": "group", "step": 0, "instruction": "far", "answers": {"yes": 3}}
    rows = [
        line("far", type="proposal", step=0),
        line("near", rouge_l=0.6),
        line("same", keep=False, rouge_l=0.9),
        line("later", type="proposal", step=1),
        {**group, "keep": True, "reason": ""},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_written("reviews", file, {})
    assert [row["text"] for row in found] == ["far", None, None]
    assert [row["text"] for row in read_written("arithmetic", file, {})] == ["far", "near", "same"]
    known = {row["sha256"]: "copy" for row in found[1:]} | {found[0]["sha256"]: "valid"}
    judged = counts(read_written("reviews", file, known))
    assert judged["valid"]["kept_by_band_and_gate"] == judged["valid"]["written"] == 1
    assert (judged["copy"]["written"], judged["copy"]["kept_by_filters"]) == (2, 1)
    assert judged["copy"]["refused"] == {"rouge_l": 1} and judged["broken"]["written"] == 0


def test_only_the_first_forty_requests_count(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [line(f"text {place}", shots=[f"seed:{place}"]) for place in range(50)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(read_written("arithmetic", file, {})) == 40
