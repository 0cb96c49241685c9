"""Answers of kinds beside mathematics that users of other graders have seen misjudged."""

from serl_trl.answers.equality import same_answer

AREAS = ("choice", "set", "list", "text", "label")


def test_reported_faults_of_kinds_are_mended(problems):
    wrong = []
    for row in problems("public_faults"):
        if row["area"] not in AREAS:
            continue
        pair = row["input"]
        verdict = same_answer(pair["left"], pair["right"], kind=pair["kind"])
        if verdict != row["want"]:
            wrong.append(pair)
    assert wrong == []
