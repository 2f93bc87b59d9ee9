"""``report.html``: one file that opens from disk, prints on A4 and can be read on a telephone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ora2sf.errors import Exit
from ora2sf.report import share, soft
from ora2sf.report_model import Invocation, Report
from ora2sf.report_plots import flow, jobs_over_time, rates

#: Lines of a table that may be long; report.json has all of them.
MOST_LINES = 60
_TONES = {Exit.COMPLETE: "good", Exit.ROWS_FAILED: "warning", Exit.INTERRUPTED: "warning"}


def render(report: Report) -> str:
    """The page; every text goes through HTML escaping."""
    return template("report.html.jinja").render(
        r=report,
        tone=tone(report.verdict.exit),
        flow=flow(report.balance),
        rates=rates(report.timings.jobs),
        over_time=jobs_over_time(report.timings.jobs),
        kinds=_kinds(report),
        programs=_programs(report.invocations),
        parameters=_parameters(report.invocations),
        most=MOST_LINES,
    )


def tone(code: int) -> str:
    """The colour of a verdict, by its exit code."""
    return _TONES.get(Exit(code), "bad")


def template(name: str) -> Template:
    """A page of the library with the filters that its reports share; every text goes through HTML escaping."""
    pages = Environment(
        loader=PackageLoader("ora2sf", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "number": _number,
        "count": _count,
        "duration": _duration,
        "size": _size,
        "moment": _moment,
        "soft": _soft,
        "share": share,
    }
    return pages.get_template(name)


def _kinds(report: Report) -> list[dict[str, Any]]:
    """Files and bytes by kind."""
    ordered = sorted(report.files.entries, key=lambda one: one.kind)
    groups = ((kind, list(group)) for kind, group in itertools.groupby(ordered, key=lambda one: one.kind))
    return [
        {"kind": kind, "files": len(group), "bytes": sum(one.bytes for one in group)}
        for kind, group in groups
    ]


def _programs(invocations: list[Invocation]) -> list[tuple[str, str]]:
    """What the notebooks ran on: name → version, or every version if there were several."""
    found: dict[str, dict[str, None]] = {}
    for one in invocations:
        named: Mapping[str, str] = {
            "Python": one.python,
            "system": one.system,
            **one.packages,
            "commit": one.commit,
        }
        for name, version in named.items():
            found.setdefault(name, {})[version] = None
    return [(name, ", ".join(versions)) for name, versions in found.items()]


def _parameters(invocations: list[Invocation]) -> list[tuple[str, str]]:
    """Parameter → value in force when each notebook ran last; where they differ, with the notebook."""
    last = {one.step: one.parameters for one in invocations}
    names = dict.fromkeys(name for values in last.values() for name in values)
    return [(name, _in_steps({step: values.get(name) for step, values in last.items()})) for name in names]


def _in_steps(values: Mapping[str, object]) -> str:
    if len(set(values.values())) == 1:
        return _said(next(iter(values.values())))
    return ", ".join(f"{_said(value)} ({step})" for step, value in values.items())


def _said(value: object) -> str:
    return "–" if value is None else str(value)


# filters


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def _moment(text: str | None) -> str:
    return "–" if not text else f"{text[:10]} {text[11:19]}"


def _soft(text: str) -> Markup:
    """A text without blanks that may be broken behind the joints of its parts, but not before ``__c``."""
    return Markup(soft(text))  # noqa: S704 - it escapes what it is given
