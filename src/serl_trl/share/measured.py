"""What was measured of a model, as the tables of its card."""

from collections.abc import Mapping
from typing import Any

from serl_trl.common.markdown import code, table
from serl_trl.runs.facts import public_name
from serl_trl.runs.reader import interval_in, number_in


def compared(measured: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what a comparison by `serl eval --compare` found, or `None` where there was none."""
    benchmarks = measured.get("benchmarks")
    if not isinstance(benchmarks, Mapping):
        return None
    rows = []
    for name, entry in benchmarks.items():
        asked = (code(str(name)), f"{entry['num_problems']:,}", _sampling(measured, name))
        for figure, values in entry["differences"].items():
            sides = [f"{number_in(values, side) or 0.0:.3f}" for side in ("base", "trained")]
            gap = _interval(values, "difference", sign="+")
            rows.append((*asked, code(str(figure)), *sides, gap))
    heads = ("benchmark", "problems", "samples", "figure", "base", "this model", "difference")
    # What else differed weakens the comparison, so it is told beside it.
    settings = {each for entry in benchmarks.values() for each in entry.get("other_settings", ())}
    other = public_name(str(measured.get("base", "")))
    return {
        "other": code(other) if other else "",
        "table": table(heads, rows),
        "settings": code("; ".join(sorted(settings))) if settings else "",
    }


def _sampling(measured: Mapping[str, Any], name: str) -> str:
    """Say how this model was sampled on a benchmark."""
    settings = measured.get("settings", {}).get(name, {})
    samples, temperature = (number_in(settings, key) for key in ("num_samples", "temperature"))
    if samples is None or temperature is None:
        return "-"
    return f"{samples:.0f} at temperature {temperature:g}"


def before_and_after(evaluation: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what the run measured itself before and after training, or `None`."""
    figures = evaluation.get("figures")
    if not isinstance(figures, Mapping) or not figures:
        return None
    rows = [
        (
            code(str(name)),
            _interval(values, "before"),
            _interval(values, "after"),
            _interval(values, "change", sign="+"),
        )
        for name, values in figures.items()
        if isinstance(values, Mapping)
    ]
    temperature, named = number_in(evaluation, "temperature"), evaluation.get("problem_set")
    return {
        "name": code(str(named)) if named else "",
        "problems": f"{number_in(evaluation, 'num_problems') or 0:,.0f}",
        "samples": f"{number_in(evaluation, 'num_samples') or 0:.0f}",
        "temperature": "" if temperature is None else f"temperature {temperature:g}",
        "table": table(("figure", "base", "this model", "change"), rows),
    }


def _interval(values: Mapping[str, Any], part: str, *, sign: str = "") -> str:
    found = interval_in(values, part)
    if found is None:
        return "-"
    # Of one problem there is a figure and no interval.
    known = found.low is not None and found.high is not None
    return f"{found.mean:{sign}.3f}{f' {found.bounds(sign=sign)}' if known else ''}"
