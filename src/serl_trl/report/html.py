"""A report as one HTML page: no script, no request, every text escaped."""

import re
from html import escape
from itertools import count

from serl_trl.report.blocks import (
    Block,
    Cell,
    Chart,
    Excerpt,
    Excerpts,
    Heading,
    Paragraph,
    Question,
    Report,
    SideBySide,
    Table,
    Written,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_NUMBER = re.compile(r"[-+\u2212]?[\d,.]+( ?(%|s|points|steps?|tokens))?|\u2013|")

# The colours of the series can be told apart with any kind of colour vision (Okabe and Ito), lines
# also by their dashes and the labels at their ends.
STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1a1c20;--soft:#5c626c;--line:#d9dce1;
--card:#f5f6f8;--grid:#e3e5e9;--good:#00694d;--warn:#a33c00;
--s1:#0069a8;--s2:#b84a00;--s3:#00815c;--s4:#a8457f;--s5:#8a6800;--s6:#6a6f78}
@media (prefers-color-scheme:dark){:root{--paper:#14161a;--ink:#e7e9ec;--soft:#a3a9b3;
--line:#363b44;--card:#1d2026;--grid:#2d323a;--good:#4fd0a5;--warn:#ff9b5e;
--s1:#62b6f0;--s2:#f08b4a;--s3:#3ec79a;--s4:#e293bf;--s5:#e3c04f;--s6:#a3a9b3}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:64rem;background:var(--paper);
color:var(--ink);font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .3rem}
h2{font-size:1.2rem;line-height:1.3;margin:2.6rem 0 .7rem;padding-top:.7rem;
border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
p{margin:.5rem 0;max-width:46rem}
.soft,figcaption,.notes{color:var(--soft)}
nav{margin:1rem 0;font-size:.9rem}nav a{margin-right:.9rem;display:inline-block;padding:.15rem 0}
a{color:var(--s1)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:.8rem;
margin:1rem 0}
.card{background:var(--card);border-left:4px solid var(--line);border-radius:4px;
padding:.7rem .9rem}
.card h3{margin:0 0 .2rem;font-size:.85rem;color:var(--soft);font-weight:600}.card p{margin:0}
.good{border-left-color:var(--good)}.warn{border-left-color:var(--warn)}
p.warn,p.good{border-left:4px solid;padding:.1rem 0 .1rem .7rem}
p.good{border-color:var(--good)}p.warn{border-color:var(--warn)}
p.note{color:var(--soft);font-size:.9rem}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,25rem),1fr));
gap:1.4rem 1.2rem;margin:1rem 0}
.wide,.charts>.scroll{grid-column:1/-1}.wide{max-width:32rem}
figure{margin:0}figure svg{display:block;width:100%;height:auto}
figcaption{font-size:.9rem;margin-bottom:.3rem}figcaption b{color:var(--ink)}
.runs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 1.6rem}
.runs>div{min-width:0}
.scroll{overflow-x:auto;margin:.7rem 0}
table{border-collapse:collapse;font-size:.92rem;min-width:min(100%,20rem)}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;
border-bottom:1px solid var(--line);overflow-wrap:normal}
td.text{overflow-wrap:anywhere;min-width:7rem}
th{color:var(--soft);font-weight:600}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
ol.texts{padding-left:1.7rem;margin:.6rem 0}ol.texts>li{margin:0 0 .9rem}
.written{display:block;white-space:pre-wrap;unicode-bidi:isolate;overflow:hidden;
font-family:ui-monospace,monospace;font-size:.88rem;line-height:1.5;background:var(--card);
border-radius:4px;padding:.35rem .6rem}
td .written{display:inline;padding:0 .25rem}
.notes{font-size:.88rem;margin:.25rem 0 0}
@media (max-width:32rem){table{font-size:.84rem}th,td{padding-right:.5rem}
td.text{min-width:5.5rem}ol.texts{padding-left:1.4rem}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;
--card:#f3f3f3;--grid:#ddd;--good:#00694d;--warn:#a33c00;--s1:#0069a8;--s2:#b84a00;--s3:#00815c;--s4:#a8457f;
--s5:#8a6800;--s6:#6a6f78}
body{max-width:none;padding:0;font-size:10pt}nav{display:none}a{color:inherit}
.card,figure,li,tr{break-inside:avoid}h2,h3{break-after:avoid}
.charts{grid-template-columns:1fr 1fr}.scroll{overflow:visible}}
"""


def render_html(report: Report) -> str:
    """Return the page as text; the same report always gives the same bytes."""
    numbers = count(1)
    headings = [block.text for block in report.blocks if isinstance(block, Heading)]
    links = "".join(f'<a href="#s{i}">{_text(h)}</a>' for i, h in enumerate(headings, start=1))
    parts = []
    for kind, blocks in _runs_of(report.blocks):
        inner = "\n".join(
            f'<h2 id="s{next(numbers)}">{_text(block.text)}</h2>'
            if isinstance(block, Heading)
            else _block(block)
            for block in blocks
        )
        parts.append(f'<div class="{kind}">\n{inner}\n</div>' if kind else inner)
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_text(report.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{_text(report.title)}</h1>
<p class="soft">{_text(report.subtitle)}</p>
<nav aria-label="Sections">{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _runs_of(blocks: tuple[Block, ...]) -> list[tuple[str, list[Block]]]:
    """Gather neighbouring charts, and neighbouring questions, which share a grid."""
    gathered: list[tuple[str, list[Block]]] = []
    for block in blocks:
        kind = {Chart: "charts", Question: "cards"}.get(type(block), "")
        if kind and gathered and gathered[-1][0] == kind:
            gathered[-1][1].append(block)
        else:
            gathered.append((kind, [block]))
    return gathered


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h3>{_text(text)}</h3>"
        case Paragraph(text, tone):
            return (
                f'<p class="{_text(tone)}">{_text(text)}</p>' if tone else f"<p>{_text(text)}</p>"
            )
        case Question(question, answer, tone):
            return (
                f'<div class="card {_text(tone)}"><h3>{_text(question)}</h3>'
                f"<p>{_text(answer)}</p></div>"
            )
        case Table():
            return _table(block)
        case Chart(svg, title, caption, table, wide):
            # The picture is ours and holds no text that was not escaped; see `report_charts`.
            place = ' class="wide"' if wide else ""
            words = f"<figcaption><b>{_text(title)}.</b> {_text(caption)}</figcaption>"
            return f"<figure{place}>{words}{svg}</figure>" + (_table(table) if wide else "")
        case Excerpt():
            return _excerpt(block)
        case Excerpts(items):
            listed = "\n".join(f"<li>{_excerpt(item)}</li>" for item in items)
            return f'<ol class="texts">\n{listed}\n</ol>'
        case SideBySide(columns):
            inner = []
            for label, blocks in columns:
                title = f"<h3>{_text(label)}</h3>" if len(columns) > 1 else ""
                grouped = [
                    f'<div class="{kind}">' + "\n".join(map(_block, part)) + "</div>"
                    if kind
                    else "\n".join(map(_block, part))
                    for kind, part in _runs_of(blocks)
                ]
                inner.append(f"<div>{title}{''.join(grouped)}</div>")
            return '<div class="runs">' + "\n".join(inner) + "</div>"


def _table(table: Table) -> str:
    columns = list(zip(*table.rows, strict=True)) if table.rows else [() for _ in table.headers]
    numeric = [
        all(isinstance(cell, str) and _NUMBER.fullmatch(cell) for cell in column)
        for column in columns
    ]
    classes = [' class="number"' if number else "" for number in numeric]
    head = "".join(
        f'<th scope="col"{kind}>{_text(name)}</th>'
        for name, kind in zip(table.headers, classes, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(
            f"<td{kind or _kind(cell)}>{_cell(cell)}</td>"
            for cell, kind in zip(row, classes, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _kind(cell: Cell) -> str:
    text = cell.text if isinstance(cell, Written) else cell
    return ' class="text"' if len(text) > 24 else ""


def _excerpt(excerpt: Excerpt) -> str:
    notes = "".join(f'<p class="notes">{_text(note)}</p>' for note in excerpt.notes)
    related = "".join(
        f'<p class="notes">{_text(label)}</p>{_written(text)}' for label, text in excerpt.related
    )
    return _written(excerpt.text) + notes + related


def _cell(cell: Cell) -> str:
    return _written(cell) if isinstance(cell, Written) else _text(cell)


def _written(written: Written) -> str:
    return f'<span class="written" dir="auto">{_text(written.text)}</span>'


def _text(text: str) -> str:
    return escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)
