"""A report says what happened, whatever the model wrote and however little of the run is left."""

import json
import random
import re
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from serl_trl.cli.commands.report import run as report_command
from serl_trl.common.reasons import REASONS
from serl_trl.loop.label_trust import CheckedLabel, probe_metrics
from serl_trl.measure.comparison import as_record, compare
from serl_trl.measure.figures import Measurement, grade
from serl_trl.measure.session import Evaluated
from serl_trl.report.blocks import Chart, Excerpt, Report, SideBySide, Table, Written, written
from serl_trl.report.charts import Line, Mark, area_chart, bar_chart, interval_chart, line_chart
from serl_trl.report.collapse import collapse, signs_of_collapse
from serl_trl.report.differences import option_cell
from serl_trl.report.funnel import funnel, num_trained, what_refused
from serl_trl.report.improvement import improvement
from serl_trl.report.labels import label_answer
from serl_trl.report.overview import in_short
from serl_trl.report.pages import build_report, report_after_training, write_reports
from serl_trl.report.render import render_html, render_markdown
from serl_trl.report.warnings import warnings_of
from serl_trl.runs.reader import read_run

DOCS = Path(__file__).parents[2] / "docs"
REPORT = DOCS.parent / "src" / "serl_trl" / "report"
CONFIG = {
    "max_steps": 10,
    "num_generations": 4,
    "generation_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 1,
    "difficulty_low": 0.2,
    "difficulty_high": 0.8,
    "label_reward": "vote",
    "learning_rate": 1e-6,
}
FALLEN = {"before": 0.99, "after": 0.95, "change": -0.04}
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "```\n# A heading\n<b>bold</b>\n````\n| a | b |",
    "\x1b[2J\x1b]52;c;aGk=\x07 wiped \u202eesrever\u202c \u2066x\u2069 \x00\x9b31m",
    "w" * 10_000,
    "a\u0301\u0301\u0301\u0301\u0301 \ud800 \U000e0041 \u2028 &amp; \"quoted' \\| $x$ https://a.example",
    "</style></svg><iframe src=//a.example></iframe>",
)


class Page(HTMLParser):
    """What a browser would make of a page: tags, attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def make_run(
    folder: Path,
    *,
    texts=("Tom has 3 apples. How many?",),
    reason: str = "rouge_l",
    group_reason: str = "band_high",
    answer: str = "7",
    steps: int = 10,
    values=None,
    config=None,
    rights=lambda step: False,
) -> Path:
    """Write a run whose model wrote `texts`; `values` gives a metric by the step from 0."""
    private = folder / "_serl"
    private.mkdir(parents=True)
    (private / "config.yaml").write_text(yaml.safe_dump(CONFIG | (config or {})))
    records, rows = [], []
    for step in range(steps):
        for i in range(4):
            number, text = step * 4 + i, texts[(step * 4 + i) % len(texts)]
            keep = i != 3
            records.append(
                {
                    "type": "proposal",
                    "id": number,
                    "step": step,
                    "text": text,
                    "shots": ["seed:1", f"pool:{step}"] if step else ["seed:1"],
                    "keep": keep,
                    "reason": "" if keep else reason,
                    "detail": {"nearest": text, "rouge_l": 0.9, "extra": text},
                }
            )
            if keep:
                answers = {answer: 3, f"{answer} and {step}": 1}
                records.append(
                    {
                        "type": "group",
                        "id": step * 3 + i,
                        "step": step,
                        "instruction": text,
                        "origin": f"proposal:{number}",
                        "answers": answers,
                        "num_unparsable": 0,
                        "majority_answer": answer if i else f"{step}",
                        "majority_ratio": 0.75,
                        "gold": text if i == 2 else None,
                        "label_right": rights(step) if i == 2 else None,
                        "keep": i != 1,
                        "reason": "" if i != 1 else group_reason,
                        "detail": {"p_valid": 0.125, "signal": "domain", "found": f"-7 in {text}"},
                    }
                )
        found = {"serl/majority_ratio": 0.5, "entropy": 1.0, "serl/pool_size": 10.0 + step}
        rows.append({"step": step + 1} | found | {k: f(step) for k, f in (values or {}).items()})
    for name, lines in (("ledger.jsonl", records), ("metrics.jsonl", rows)):
        (private / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def evaluate(folder: Path, low: float, high: float, *, name: str = "pass@1") -> None:
    middle = (low + high) / 2
    parts = {
        "before": {"mean": 0.5, "low": 0.45, "high": 0.55},
        "after": {"mean": 0.5 + middle, "low": 0.5, "high": 0.6},
        "change": {"mean": middle, "low": low, "high": high},
    }
    record = {"num_problems": 200, "num_samples": 16, "figures": {name: parts}}
    (folder / "_serl" / "evaluation.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A run in which everything that can be written by a model or a user is hostile."""
    folder = make_run(
        tmp_path_factory.mktemp("hostile") / "<script>alert(0)<",
        texts=HOSTILE,
        reason="<script>alert(3)</script>|`$x$\x1b[2J\u202e",
        answer=HOSTILE[0] + "\\|`\n" + HOSTILE[1],
        config={"learning_rate": "<script>alert(4)</script>", "seed": ["\x1b[2J"]},
    )
    ledger = folder / "_serl" / "ledger.jsonl"
    more = [
        {"type": "starved", "step": 9, "diagnosis": HOSTILE[0] + "\x1b[2J\n" + HOSTILE[1]},
        {"type": "bound", "step": 9, "bound": HOSTILE[0]},
    ]
    ledger.write_text(ledger.read_text() + "".join(json.dumps(line) + "\n" for line in more))
    facts = {"base": HOSTILE[0], "num_seeds": 5, "versions": {HOSTILE[0]: HOSTILE[5]}}
    (folder / "_serl" / "run.json").write_text(json.dumps(facts))
    evaluate(folder, 0.1, 0.2, name="pass@1")
    write_reports([folder])
    return folder


def read(folder: Path, name: str = "report.html") -> str:
    return (folder / "_serl" / name).read_text(encoding="utf-8")


def charts_of(blocks) -> list[Chart]:
    found = []
    for block in blocks:
        if isinstance(block, Chart):
            found.append(block)
        elif isinstance(block, SideBySide):
            found += [chart for _, column in block.columns for chart in charts_of(column)]
    return found


def test_the_page_runs_nothing_and_asks_for_nothing(hostile):
    text = read(hostile)
    page = Page(text)

    policy = {value for tag, name, value in page.attributes if tag == "meta" and name == "content"}
    assert any(
        value.startswith("default-src 'none'; style-src 'unsafe-inline'") for value in policy
    )
    assert page.tags.isdisjoint({"script", "img", "iframe", "link", "object", "b1", "base", "form"})
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "src"]
    links = [value for _, name, value in page.attributes if name in ("href", "xlink:href")]
    assert links and all(value.startswith("#") for value in links)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style and "url(" not in style.group(1) and "@import" not in style.group(1)
    assert all(value.startswith("url(#") for value in re.findall(r"url\([^)]*", text))


def test_a_reader_sees_what_the_model_wrote_but_nothing_hidden(hostile):
    page = Page(read(hostile))

    assert "<script>alert(1)</script>" in page.text
    assert "(10,000 characters in all)" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.text)
    assert "w" * 601 not in page.text
    assert len(read(hostile).encode()) < 2_000_000


def unfenced(markdown: str) -> list[str]:
    """Return the lines outside fences, as CommonMark reads them."""
    kept, fence = [], ""
    for line in markdown.split("\n"):
        ticks = re.match(r" {0,3}(`{3,})", line)
        if fence:
            if ticks and len(ticks[1]) >= len(fence) and not line.strip().strip("`"):
                fence = ""
        elif ticks:
            fence = ticks[1]
        else:
            kept.append(line)
    assert not fence, "a fence is left open"
    return kept


def outside_code(markdown: str) -> str:
    """Return what GitHub would interpret: the fences and the code spans are taken out."""
    span = re.compile(r"(?<![\\`])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
    return "\n".join(span.sub("CODE", line) for line in unfenced(markdown))


def num_cells(row: str) -> int:
    """Count the cells of a table's row as GitHub does: before it looks for code."""
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) - 1


def test_the_markdown_holds_no_markup_of_the_model(hostile):
    text = read(hostile, "report.md")
    shown = outside_code(text)

    assert not re.search(r"(?<!\\)<", shown)
    assert "A heading" not in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    for table in re.findall(r"(?:^\|.*\|$\n?)+", "\n".join(unfenced(text)), re.MULTILINE):
        assert len({num_cells(row) for row in table.strip().split("\n")}) == 1, table


def test_pictures_are_described_and_well_formed(hostile):
    charts = charts_of(build_report([read_run(hostile)]).blocks)

    assert {"Agreement", "Funnel", "Refusals by reason", "Majority ratios over time"} <= {
        chart.title for chart in charts
    }
    for chart in charts:
        root = ElementTree.fromstring(chart.svg)
        assert root.get("role") == "img" and len(root.get("aria-label", "")) > 10
        assert not root.findall(".//style") and "http" not in chart.svg
        assert chart.table.rows


def test_the_same_folder_gives_the_same_bytes(hostile, tmp_path):
    for target in ("one", "two"):
        write_reports([hostile], tmp_path / target)

    for name in ("report.html", "report.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def facts_in(value) -> list[str]:
    """Return every text of a block and of what is in it, but how it is drawn."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for each in value for text in facts_in(each)]
    if not is_dataclass(value):
        return []
    # In the page a picture stands for its table, unless that is shown below it.
    drawn = {"svg", "tone", *(["table"] if isinstance(value, Chart) and not value.wide else [])}
    names = {field.name for field in fields(value)} - drawn
    return [text for name in names for text in facts_in(getattr(value, name))]


def squeezed(text: str) -> str:
    """Return the letters and digits of a text: neither format keeps its white space and signs."""
    return re.sub(r"[^0-9A-Za-z%]", "", text)


def test_the_page_and_the_markdown_hold_the_same_facts(hostile, tmp_path):
    folder = make_run(tmp_path / "run", values={"serl/kept_ratio": lambda step: step / 10})
    evaluate(folder, 0.1, 0.2)
    for folders in ([hostile], [folder], [folder, hostile]):
        report = build_report([read_run(each) for each in folders])
        page, markdown = squeezed(Page(render_html(report)).text), squeezed(render_markdown(report))
        # The labels of the columns are shown where there is more than one.
        alone = {
            label for b in report.blocks if isinstance(b, SideBySide) for label, _ in b.columns
        }
        facts = set(facts_in(report.blocks)) - (alone if len(folders) == 1 else set())
        assert len(facts) > 100
        assert [fact for fact in facts if squeezed(fact) not in page] == []
        assert [fact for fact in facts if squeezed(fact) not in markdown] == []
        for chart in charts_of(report.blocks):
            assert [text for text in facts_in(chart.table) if squeezed(text) not in markdown] == []


def test_two_runs_stand_side_by_side(tmp_path, capsys):
    first = make_run(tmp_path / "a" / "run", config={"seed": 1})
    second = make_run(tmp_path / "b" / "run", config={"seed": 2, "output_dir": "elsewhere"})

    code = report_command([str(first), str(second), "--output", str(tmp_path)], Console(quiet=True))

    assert code == 0
    page = Page((tmp_path / "comparison.html").read_text(encoding="utf-8"))
    assert "A: run" in page.text and "B: run" in page.text
    markdown = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "| `seed` | `1` | `2` |" in markdown and "output" not in markdown
    assert "| B before band |" in markdown and "| B |" in markdown


@pytest.mark.parametrize(
    "files",
    [
        {"config.yaml": ""},
        {"metrics.jsonl": ""},
        {"ledger.jsonl": '{"type": "prop'},
        {"config.yaml": "[1]", "metrics.jsonl": '{"step": 1}\n', "ledger.jsonl": "\n"},
        {
            "config.yaml": "max_steps: x\nnum_generations: 0\n",
            "evaluation.json": '{"figures": [1]}',
        },
        {"config.yaml": "a: 1", "evaluation.json": '{"figures": {"pass@1": {"before": 1}}}'},
        {"ledger.jsonl": '{"type": "group"}\n{"type": "proposal", "detail": [], "shots": 3}\n'},
        {"ledger.jsonl": '{"type": "starved", "step": 0, "diagnosis": "nothing"}\n'},
        {"metrics.jsonl": '{"step": 1, "entropy": NaN, "serl/majority_ratio": 1e400}\n'},
        {"metrics.jsonl": '{"step": 3, "entropy": 1e299}\n{"step": 9, "entropy": -1e299}\n'},
    ],
)
def test_whatever_is_left_of_a_run_becomes_a_report(tmp_path, files):
    (tmp_path / "_serl").mkdir()
    for name, text in files.items():
        (tmp_path / "_serl" / name).write_text(text)

    for file in write_reports([tmp_path]):
        assert "Is it collapsing" in file.read_text(encoding="utf-8")


def test_a_folder_that_is_no_run_is_bad_input(tmp_path, capsys):
    assert report_command([str(tmp_path)], Console(quiet=True)) == 2
    assert "holds no _serl folder; name the output_dir of a run" in capsys.readouterr().err
    assert report_command([], Console(quiet=True)) == 2
    assert report_command([str(tmp_path)] * 3, Console(quiet=True)) == 2
    assert "3 runs are given" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_report_that_fails_only_warns(tmp_path, caplog):
    folder = make_run(tmp_path / "run")
    (folder / "_serl" / "report.html").mkdir()

    assert report_after_training(folder) == []
    assert "The report of" in caplog.text and "try serl report" in caplog.text


# What the report says.


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(0.1, 0.2, "Yes"), (-0.1, 0.2, "Not shown"), (-0.2, -0.1, "No, it")]
)
def test_improvement_needs_an_interval_beside_zero(tmp_path, low, high, answer):
    folder = make_run(tmp_path / "run")
    evaluate(folder, low, high)

    found = improvement(read_run(folder))

    assert found.answer.startswith(answer)
    assert f"{100 * low:+.1f} to {100 * high:+.1f}" in found.certainty
    assert "200 problems with 16 samples" in found.certainty


def test_a_gain_beside_which_another_figure_fell_is_one_in_part(tmp_path):
    folder = make_run(tmp_path / "run")
    fallen = {k: {"mean": v, "low": v - 0.01, "high": v + 0.01} for k, v in FALLEN.items()}
    evaluate(folder, 0.1, 0.2)
    path = folder / "_serl" / "evaluation.json"
    record = json.loads(path.read_text())
    for name, prefix in (("greedy", "In part"), ("mean_length", "Yes")):
        figures = {**record["figures"], name: fallen}
        path.write_text(json.dumps({**record, "figures": figures}))
        assert improvement(read_run(folder)).answer.startswith(prefix)


def test_a_probe_is_believed_as_far_as_its_size_allows(tmp_path):
    folder = make_run(tmp_path / "run", values={"serl/probe/pass@1": lambda step: 0.5 + step / 50})
    assert improvement(read_run(folder)).answer.startswith("Perhaps")

    facts = folder / "_serl" / "run.json"
    # 1.96 * sqrt((0.25 + 0.68 * 0.32) / n) is 0.134 for 100 problems and 0.095 for 200.
    for problems, answer in ((100, "Yes"), (40, "Not shown")):
        facts.write_text(json.dumps({"num_probe_problems": problems}))
        found = improvement(read_run(folder))
        assert found.answer.startswith(answer)
    assert "give or take 21.2" in found.certainty


def test_without_gold_nothing_is_claimed(tmp_path):
    run = read_run(make_run(tmp_path / "run"))

    assert improvement(run).answer.startswith("Not known")


def test_one_answer_everywhere_is_told_in_plain_words(tmp_path):
    run = read_run(make_run(tmp_path / "run", steps=20))

    # Two of three groups of a step have the answer 7, and the third of step 7 has it too.
    assert "The commonest answer is the same in 68 % of the last 60 groups" in str(warnings_of(run))
    assert collapse(run)[0].startswith("Look closely: 1 of")


def test_each_sign_of_collapse_shows_when_its_figure_does(tmp_path):
    def sharp(step: int) -> float:
        return 0.05 if step > 5 else 1.0

    values = {
        "entropy": sharp,
        "completions/mean_length": lambda step: 100 * sharp(step),
        "serl/majority_ratio": lambda step: 1.0 if step > 5 else 0.5,
        "serl/top_template_ratio": lambda step: 0.9,
        "serl/probe/pass@1": sharp,
    }

    bad = make_run(tmp_path / "bad", values=values, rights=lambda step: step < 5)
    signs = signs_of_collapse(read_run(bad))
    assert [sign.name for sign in signs if not sign.shows] == ["One answer wins everywhere"]
    calm = signs_of_collapse(read_run(make_run(tmp_path / "good")))
    assert not any(sign.shows for sign in calm)
    page = (DOCS / "reading_a_report.md").read_text(encoding="utf-8")
    assert all(f"| {sign.name} |" in page for sign in signs)
    assert all("Shows " in sign.rule for sign in signs)


@pytest.mark.parametrize(("kind", "shows"), [("math", True), ("label(labels='sentiment')", False)])
def test_of_two_labels_one_may_win_half_of_the_groups(tmp_path, kind, shows):
    folder = make_run(tmp_path / "run", steps=20, answer="pos", config={"answer_kind": kind})
    ledger = folder / "_serl" / "ledger.jsonl"
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    for record in records:
        if record["type"] == "group" and record["id"] % 3 == 0:
            record["majority_answer"] = "neg"
    ledger.write_text("".join(json.dumps(record) + "\n" for record in records))

    run = read_run(folder)
    assert signs_of_collapse(run)[0].shows is shows
    assert any("commonest answer is the same" in text for text in warnings_of(run)) is shows


def test_labels_that_train_are_judged_apart_from_all(tmp_path):
    rising = {"serl/majority_ratio": lambda step: 0.5 + step / 50}
    folder = make_run(tmp_path / "run", values=rising, rights=lambda step: True)
    ledger = folder / "_serl" / "ledger.jsonl"
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    for record in records:
        if record["type"] == "group":
            wrong = record["keep"] and record["step"] >= 5
            record |= {"gold": "7", "label_right": not wrong}
    ledger.write_text("".join(json.dumps(record) + "\n" for record in records))

    shown = {sign.name: sign for sign in signs_of_collapse(read_run(folder))}

    kept = shown["More agreement, worse kept labels"]
    assert (kept.start, kept.end, kept.shows) == ("100 %", "0 %", True)
    # A third of the groups was refused, with a right label.
    assert shown["More agreement, worse labels"].end == "30 %"


@pytest.mark.parametrize("figure", ["maj@16", "greedy", "pass@16"])
def test_a_fall_of_any_right_answers_is_a_sign(tmp_path, figure):
    folder = make_run(tmp_path / "run")
    evaluate(folder, 0.1, 0.2)
    path = folder / "_serl" / "evaluation.json"
    record = json.loads(path.read_text())
    fallen = {k: {"mean": v, "low": v - 0.01, "high": v + 0.01} for k, v in FALLEN.items()}
    path.write_text(json.dumps({**record, "figures": {**record["figures"], figure: fallen}}))

    (sign,) = (s for s in signs_of_collapse(read_run(folder)) if s.name.startswith("Held-out"))

    assert (sign.shows, sign.start, sign.end) == (True, "99.0 %", "95.0 %")
    assert sign.rule.startswith(f"{figure} on held-out problems, which fell most")


def test_a_fall_of_the_probes_majority_is_a_sign(tmp_path):
    values = {
        "serl/probe/pass@1": lambda step: 0.5 + step / 50,
        "serl/probe/maj@4": lambda step: 0.9 - step / 50,
    }
    folder = make_run(tmp_path / "run", values=values)
    facts = folder / "_serl" / "run.json"
    # 1.96 * sqrt((0.9 * 0.1 + 0.72 * 0.28) / n) is 0.19 for 30 problems and 0.11 for 100.
    for problems, shows in ((30, False), (100, True)):
        facts.write_text(json.dumps({"num_probe_problems": problems}))
        sign = signs_of_collapse(read_run(folder))[-1]
        assert sign.shows is shows
    assert (sign.start, sign.end) == ("90.0 %", "72 %")
    write_reports([folder])
    # Wilson's interval of 90 of 100.
    assert "| `maj@4` | 1 and 10 | 90.0 % (82.6 to 94.5) |" in read(folder, "report.md")


def test_the_funnel_ends_at_what_found_a_place(tmp_path):
    run = read_run(make_run(tmp_path / "run"))

    counts = [(stage.name, stage.count) for stage in funnel(run)]
    # Ten steps of four proposals, three accepted and rolled out, two kept; a batch has two places.
    assert counts == [
        ("proposals written", 40),
        ("accepted", 30),
        ("rolled out", 30),
        ("with a majority", 30),
        ("kept", 20),
        ("trained on", 20),
    ]
    small = read_run(make_run(tmp_path / "small", config={"generation_batch_size": 4}))
    assert num_trained(small) == 10
    assert num_trained(read_run(make_run(tmp_path / "odd", config={"num_generations": 0}))) is None


def test_labels_are_judged_by_what_is_known(tmp_path):
    folder = make_run(tmp_path / "run")
    answer = label_answer(read_run(folder))
    assert "Of the 20 kept groups the gold answer is known for 10, and 0 %" in answer
    assert "The other 10 groups are not in it: their labels may be right or wrong." in answer
    solved = make_run(tmp_path / "solved", config={"gold_oracle": "my.solve"})
    assert "the solver (gold_oracle) has no exact answer for them" in label_answer(read_run(solved))
    random = make_run(tmp_path / "random", config={"label_reward": "random"})
    assert "coin toss" in label_answer(read_run(random))


def test_an_estimate_of_the_probe_is_told_where_no_gold_is_known(tmp_path):
    # The names that a run logs, as the probe's metrics have them.
    labels = [CheckedLabel(0.5, right=True, reward_accuracy=1.0)] * 4
    logged = probe_metrics(labels, [0.5] * 8, rng=random.Random(0))
    values = {f"serl/{name}": lambda step, value=value: value for name, value in logged.items()}
    folder = make_run(tmp_path / "run", values=values)
    ledger = folder / "_serl" / "ledger.jsonl"
    ledger.write_text(re.sub(r'"label_right": \w+', '"label_right": null', ledger.read_text()))
    low, high = (logged[f"kept_label_accuracy_{end}"] for end in ("low", "high"))

    answer = label_answer(read_run(folder))
    assert "An estimate from the probe set, for the latest of them: 100 % of the labels" in answer
    assert f"95 % interval {100 * low:.0f} to {100 * high:.0f} %" in answer
    write_reports([folder])
    charts = {chart.title: chart for chart in charts_of(build_report([read_run(folder)]).blocks)}
    assert [row[0] for row in charts["Kept labels, estimated"].table.rows] == [
        "estimate",
        "low",
        "high",
    ]
    assert "Labels compared with gold" not in charts


def test_kept_groups_without_a_place_are_told_apart_from_refused_ones(tmp_path):
    run = read_run(make_run(tmp_path / "run", config={"generation_batch_size": 4}))

    text = what_refused(run)

    assert "10 of 30 groups (33 %) were not kept" in text
    assert "Of the 20 kept groups 10 were trained on; the other 10 found no place" in text


def test_a_comparison_of_models_is_the_before_and_after_of_a_run(tmp_path, capsys):
    def side(rights):
        problems = [
            grade("x?", "7", ["7"] * n + ["8"] * (4 - n), truncated=[False] * 4, lengths=[4] * 4)
            for n in rights
        ]
        settings = {"problems": "p", "num_samples": 4, "model": {"name": "m"}}
        return {"gsm8k": Evaluated("gsm8k", settings, True, Measurement(tuple(problems), 4))}

    folder = make_run(tmp_path / "run")
    record = as_record("/home/me/base", "<b>", compare(side([0, 1, 2]), side([2, 3, 4])))
    (tmp_path / "comparison.json").write_text(json.dumps(record))
    quiet = Console(quiet=True)

    assert report_command([str(folder), "--evaluation", str(tmp_path)], quiet) == 0

    markdown = read(folder, "report.md")
    assert "Yes: pass@1 on gsm8k went from 25 % to 75 %." in markdown
    assert "| `pass@1` | 25 % (0.0 to 50.0) | 75 % (50.0 to 100.0) | +50.0 points" in markdown
    assert "| learnt | 2 | 67 % | wrong before, right after |" in markdown
    assert "A vote over 4 samples of the untrained model" in markdown
    assert "Measured on 3 problems" in markdown and ": base before, \\<b\\> after" in markdown
    assert report_command([str(folder), "--evaluation", str(folder)], quiet) == 2
    assert "comparison.json is missing" in capsys.readouterr().err
    assert report_command([str(folder)] * 2 + ["--evaluation", str(tmp_path)], quiet) == 2


def test_each_run_of_two_has_its_band_named(tmp_path):
    first, second = (
        make_run(tmp_path / name / "run", config={"difficulty_high": high})
        for name, high in (("a", 0.8), ("b", 0.6))
    )

    (chart,) = (
        chart
        for chart in charts_of(build_report([read_run(first), read_run(second)]).blocks)
        if chart.title == "Agreement"
    )

    assert "the difficulty bands, A: 20 % to 80 %; B: 20 % to 60 %" in chart.caption


def test_long_cells_of_the_markdown_are_whole(tmp_path):
    folder = make_run(tmp_path / "run")
    versions = {f"package-{number}": "1.2.3" for number in range(12)}
    (folder / "_serl" / "run.json").write_text(json.dumps({"versions": versions}))

    write_reports([folder])

    assert "package-9 1.2.3`" in read(folder, "report.md")


def test_a_run_that_was_taken_up_again_says_so(tmp_path):
    folder = make_run(tmp_path / "run")
    for name in ("after-step-3", "after-step-3-2"):
        (folder / "_serl" / "cut" / name).mkdir(parents=True)

    write_reports([folder])

    assert "taken up again from an earlier step 2 times" in read(folder, "report.md")


def test_the_page_says_what_its_words_mean(tmp_path):
    folder = make_run(tmp_path / "run")
    write_reports([folder])

    short = read(folder, "report.md").split("## In short")[1].split("\n## ")[0]

    words = ("group", "majority ratio", "label", "kept, band", "gold", "probe set", "pass@1")
    assert all(re.search(rf"^\| [^|]*{word}", short, re.M) for word in (*words, "maj@16", "greedy"))


def test_every_sentence_that_is_written_is_said_and_the_other_way_round():
    sentences = (REPORT / "sentences.jinja").read_text(encoding="utf-8")
    written_ones = set(re.findall(r"{% macro (\w+)\(", sentences))
    code = "".join(path.read_text(encoding="utf-8") for path in REPORT.glob("*.py"))

    assert set(re.findall(r'say\(\s*"(\w+)"', code)) <= written_ones
    assert {name for name in written_ones if f'"{name}"' not in code} == set()


def test_every_reason_has_a_row_in_the_docs():
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    kinds = page.split("\n## Why a ")[1:]
    assert [kind.split()[0] for kind in kinds] == ["group", "proposal"]
    rows = [re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", kind, re.M) for kind in kinds]
    named = {name for row in [*rows[0], *rows[1]] for name in re.findall(r"\w+", row)}
    assert named == set(REASONS)
    for line, above in zip(page.split("\n")[1:], page.split("\n"), strict=False):
        assert not line.startswith("| `") or above.startswith("|"), line


def test_a_report_shows_ten_questions_that_were_refused_as_broken_and_by_which_signal(tmp_path):
    folder = make_run(tmp_path / "run", group_reason="validity", reason="validity", texts=HOSTILE)

    write_reports([folder])

    page = Page(read(folder))
    assert "iframe" not in page.tags
    section = page.text.split("20 questions were refused as broken")[1]
    section = section.split("Accepted instructions")[0]
    assert "domain" in section and "Chance of being valid: 0.125." in section
    assert section.count("(validity)") == 10


def test_overlap_with_evaluation_sets_is_counted_and_listed(tmp_path):
    folder = make_run(tmp_path / "run", reason="contamination")
    ledger = folder / "_serl" / "ledger.jsonl"
    detail = '"detail": {"evaluation_set": "math<500>", "row": 7, "shared": "find the sum of"}'
    text = re.sub(
        r'"keep": false, "reason": "contamination", "detail": {[^}]*}',
        lambda _: f'"keep": false, "reason": "contamination", {detail}',
        ledger.read_text(),
    )
    ledger.write_text(text + '{"type": "seed_overlap", "row": 3}\n')

    write_reports([folder])

    page = Page(read(folder))
    assert "10 proposals overlapped a problem of an evaluation set" in page.text
    assert "math<500>" in page.text and "find the sum of" in page.text and "Row: 7" in page.text
    assert "1 seed overlap" in page.text


def test_lineage_goes_back_to_the_seeds(tmp_path):
    folder = make_run(tmp_path / "run", texts=[f"Problem {n}?" for n in range(40)])

    write_reports([folder])

    lineage = read(folder, "report.md").split("## Where one instruction came from")[1]
    # pool:9 of step 9 is the tenth accepted one, proposal 12 of step 3; and so on to step 0.
    found = re.findall(r"Problem (\d+)\?", lineage)
    assert found == ["38", "12", "4", "1"]
    assert "1 seed (numbers 1) and 0 instructions of its own" in lineage


def test_every_reason_is_among_the_refused(tmp_path):
    folder = make_run(tmp_path / "run", steps=60)
    ledger = folder / "_serl" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"reason": "rouge_l"', '"reason": "seldom"', 1))

    write_reports([folder])

    refused = read(folder, "report.md").split("## Refused instructions")[1].split("\n## ")[0]
    assert refused.count("Refused (") == 20
    assert "seldom" in refused


# Properties of the parts.


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=700) | st.sampled_from(HOSTILE))
def test_any_text_survives_both_renderers_harmlessly(text):
    safe = written(text)
    report = Report("t", "s", (Excerpt(safe), Table(("a", "b"), ((safe, "x"),))))

    page = Page(render_html(report))
    assert page.text.count(safe.text) >= 1
    assert page.tags <= {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "p", "nav", "main"),
        *("span", "div", "table", "thead", "tbody", "tr", "th", "td"),
    }
    markdown = render_markdown(report)
    assert {num_cells(line) for line in unfenced(markdown) if line.startswith("|")} == {2}
    shown = outside_code(markdown)
    assert not re.search(r"(?<!\\)<", shown)
    assert [line for line in shown.split("\n") if line.startswith("|")][2] == "| CODE | x |" or (
        not safe.text.strip()
    )


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1))
@example("\x08$x_{$<b>&\ud800", 0.0, 0.0)
@example("label", 1.0, 1e-65)
def test_any_label_and_value_can_be_drawn(label, one, two):
    pictures = (
        line_chart([Line(label, [(1, one), (2, two)])], description=label, unit=label),
        area_chart([1], [(label, [one]), ("b", [two])], description=label),
        bar_chart([(label, one, label)], description=label),
        interval_chart([Mark(label, min(one, two), one, max(one, two))], description=label),
    )
    for picture in pictures:
        assert "script" not in picture or "script" in label
        ElementTree.fromstring(picture)


def test_written_says_what_it_left_out():
    assert written("a\x1b[2J\u202eb").text == "a\ufffd[2J\ufffdb"
    assert written("x" * 700, max_chars=10) == Written("xxxxxxxxxx \u2026 (700 characters in all)")
    assert written("\n".join("abcdefghijklmnop")).text.count("\n") == 11
    assert written("e\u0301\u0301\u0301\u0301").text == "e\u0301\u0301"


@pytest.mark.parametrize(("action", "tone"), [("rollback", "warn"), ("enough", "good")])
def test_only_an_end_by_an_alarm_is_shown_as_a_warning(tmp_path, action, tone):
    folder = make_run(tmp_path / "run")
    record = {"type": "guard", "step": 9, "action": action, "alarm": "", "reason": "of the votes"}
    with (folder / "_serl" / "ledger.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")

    asked = {each.question: each for each in in_short(read_run(folder))}

    assert asked["Why did it stop?"].tone == asked["Did it finish?"].tone == tone


def test_a_long_run_stays_a_small_page(tmp_path):
    folder = make_run(tmp_path / "run", steps=500, values={"serl/similarity": lambda s: s / 500})

    write_reports([folder])

    assert len(read(folder)) < 400_000


def test_no_control_character_of_a_run_reaches_a_page(hostile):
    for name in ("report.html", "report.md"):
        text = (hostile / "_serl" / name).read_text(encoding="utf-8")
        assert not set(text) & set("\x00\x1b\x9b\u202e\u2066"), name


def test_a_file_of_matplotlib_beside_a_run_cannot_have_latex_read_the_models_words(
    hostile, monkeypatch
):
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    assert write_reports([hostile])


def test_an_option_that_is_a_list_shows_its_values():
    assert option_cell(["few_shot: 0.75", "given: 0.25"]) == written("few_shot: 0.75, given: 0.25")
    assert option_cell({"dtype": "float32"}) == option_cell([{}]) == written("a table")
    assert option_cell([]) == written("")
