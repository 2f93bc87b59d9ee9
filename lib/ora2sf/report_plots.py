"""Pictures of a report as inline SVG: the flow of rows, the rate of each job, jobs over time."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup, escape

from ora2sf.report_model import Balance, Job

#: Text and lines take the colour of the text around them, on white as on black; the others differ for the colour-blind, too
#: (Okabe and Ito: https://jfly.uni-koeln.de/color/).
_INK, _GRID = "currentColor", 0.25
_GREY, _BLUE, _SKY, _ORANGE = "#7a8791", "#0072b2", "#56b4e9", "#e69f00"
_COLOURS = {
    "source": _GREY,
    "read": _GREY,
    "staged": _BLUE,
    "rejected": _ORANGE,
    "successful": "#009e73",
    "failed": "#d55e00",
    "unprocessed": "#cc79a7",
    "unknown": _INK,
    "not sent": _GREY,
    "excluded": "#8c7b2f",
}
_WIDTH = 440
#: Sizes of text: large enough on a telephone, where the picture is made smaller.
_LARGE, _SMALL = 13.5, 12.5
#: Left end, foot and head of the axes of a plot; the parts of its time.
_LEFT, _BASE, _HEAD, _POINTS = 60.0, 124.0, 8.0, 190
#: Bars and rows of a plot; more jobs than these are put together.
_MOST_BARS, _MOST_ROWS = 80, 60


# the flow


@dataclass
class _Node:
    """One amount in the picture: ``left`` and ``right`` say how far its edges are taken by ribbons."""

    name: str
    rows: int
    column: int
    y: float = 0.0
    height: float = 0.0
    left: float = field(default=0.0)
    right: float = field(default=0.0)


_BAR = 11
_COLUMNS = (2, 108, 214, 334)
_FULL, _LEAST, _LABEL, _GAP = 150.0, 2.0, 32.0, 8.0


def flow(balance: Balance) -> Markup:
    """Source → read → staged and rejected → what became of the staged; heights in proportion to rows."""
    columns = _flow_columns(balance)
    scale = _FULL / max(1, *(sum(node.rows for node in column) for column in columns))
    bottom = max(_place(column, scale) for column in columns)
    nodes = {node.name: node for column in columns for node in column}
    outcomes = [("staged", node.name) for node in columns[3]]
    links = [("source", "read"), ("read", "staged"), ("read", "rejected"), *outcomes]
    ribbons = (_ribbon(nodes[a], nodes[b], scale) for a, b in links if b in nodes)
    shapes = [*ribbons, *(part for node in nodes.values() for part in _bar(node))]
    told = ", ".join(f"{node.rows:,} {node.name}" for node in nodes.values())
    return _svg(bottom + 4, f"Rows: {told}", shapes, "flow")


def _flow_columns(balance: Balance) -> list[list[_Node]]:
    after = [
        ("successful", balance.success),
        ("failed", balance.failed),
        ("unprocessed", balance.unprocessed),
        ("unknown", balance.unknown),
        ("not sent", balance.not_sent),
        ("excluded", balance.excluded),
    ]
    return [
        [_Node("source", balance.source, 0)],
        [_Node("read", balance.read, 1)],
        [_Node("staged", balance.staged, 2), _Node("rejected", balance.rejected, 2)],
        [_Node(name, rows, 3) for name, rows in after if rows or name in {"successful", "failed"}],
    ]


def _place(column: list[_Node], scale: float) -> float:
    """Stacks the nodes of a column, each with room for its label; returns where the last one ends."""
    y = 4.0
    for node in column:
        node.y, node.height = y, max(node.rows * scale, _LEAST if node.rows else 0.8)
        node.left = node.right = y
        y += max(node.height, _LABEL) + _GAP
    return y - _GAP


def _ribbon(a: _Node, b: _Node, scale: float) -> str:
    size = min(a.rows, b.rows) * scale
    if not size:
        return ""
    x1, x2, y1, y2 = _COLUMNS[a.column] + _BAR, _COLUMNS[b.column], a.right, b.left
    size = max(size, 1.0)
    a.right, b.left = a.right + size, b.left + size
    half = (x1 + x2) / 2
    path = (
        f"M{x1},{y1:.1f} C{half},{y1:.1f} {half},{y2:.1f} {x2},{y2:.1f} V{y2 + size:.1f} "
        f"C{half},{y2 + size:.1f} {half},{y1 + size:.1f} {x1},{y1 + size:.1f} Z"
    )
    return f'<path d="{path}" fill="{_COLOURS[b.name]}" opacity=".25"/>'


def _bar(node: _Node) -> Iterator[str]:
    x, colour = _COLUMNS[node.column], _COLOURS[node.name]
    yield f'<rect x="{x}" y="{node.y:.1f}" width="{_BAR}" height="{node.height:.1f}" fill="{colour}"/>'
    middle = node.y + max(node.height, _LABEL - 4) / 2
    number = f"{node.rows:,}"
    size = _LARGE if len(number) <= 9 else _SMALL  # so that hundreds of millions end before the next bar
    yield _text(x + _BAR + 5, middle - 2, number, weight="600", size=size)
    yield _text(x + _BAR + 5, middle + 12, node.name)


# rates


class Picture(NamedTuple):
    """A picture, and what it shows, with units."""

    caption: str
    svg: Markup


def rates(jobs: Sequence[Job]) -> Picture | None:
    """Rows per second of each job, in the order of batches; with many jobs each bar is the mean of several. None without a rate."""
    timed = [(job.batch, job.rows_per_second) for job in jobs if job.rows_per_second]
    if not timed:
        return None
    bars = [_mean(group) for group in _groups(timed, _MOST_BARS)]
    top = _nice(max(rate for _, rate in bars))
    step = (_WIDTH - _LEFT - 4) / len(bars)
    wide = min(max(step * 0.8, 0.8), 40.0)
    shapes = list(_y_axis(top))
    for n, (label, rate) in enumerate(bars):
        x, tall = _LEFT + (n + 0.5) * step - wide / 2, rate / top * (_BASE - _HEAD)
        shapes.append(
            f'<rect x="{x:.1f}" y="{_BASE - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="{_COLOURS["staged"]}"><title>{label}: {rate:,.0f} rows/s</title></rect>'
        )
    ends = ((bars[0][0], _LEFT + step / 2), (bars[-1][0], _WIDTH - 4 - step / 2))
    shapes += [_axis_label(x, _BASE + 15, label) for label, x in ends[: len(bars)]]
    picture = _svg(_BASE + 22, f"Rows per second of {len(timed)} jobs", shapes)
    return Picture(
        "Rows per second of each job, by batch, from its creation to its end in Salesforce", picture
    )


def _groups(timed: Sequence[tuple[int, float]], most: int) -> Iterator[Sequence[tuple[int, float]]]:
    size = math.ceil(len(timed) / most)
    return (timed[at : at + size] for at in range(0, len(timed), size))


def _mean(group: Sequence[tuple[int, float]]) -> tuple[str, float]:
    first, last = group[0][0], group[-1][0]
    label = f"batch {first}" if first == last else f"batches {first} to {last}"
    return label, sum(rate for _, rate in group) / len(group)


def _axis_label(x: float, y: float, label: str) -> str:
    """A label around x, moved so that none of it is cut."""
    half = len(label) * 3.7
    return _text(min(max(x, half), _WIDTH - half), y, label, anchor="middle")


# jobs over time


def jobs_over_time(jobs: Sequence[Job]) -> Picture | None:
    """A bar for each job from its creation to its results; with many jobs how many were in flight. None without a job."""
    spans = [(job, span) for job in jobs if (span := _span(job))]
    if not spans:
        return None
    begun = min(span[0] for _, span in spans)
    length = max(max(span[-1] for _, span in spans) - begun, 0.001)
    if len(spans) > _MOST_ROWS:
        flight = _in_flight([(a - begun, d - begun) for _, (a, *_, d) in spans], length)
        return Picture("Jobs over time: how many were in flight", flight)
    return Picture("States of jobs over time, by batch", _by_job(spans, begun, length))


def _by_job(spans: Sequence[tuple[Job, tuple[float, ...]]], begun: float, length: float) -> Markup:
    row = max(5.0, min(18.0, 320.0 / len(spans)))
    base, scale = _KEY + 6 + row * len(spans), (_WIDTH - _LEFT - 6) / length
    shapes = [*_key(), *_time_axis(length, scale, base)]
    every = math.ceil(15 / row)  # so that numbers do not overlap
    for n, (job, span) in enumerate(spans):
        y = _KEY + 4 + n * row
        if n % every == 0:
            shapes.append(_text(_LEFT - 6, y + row * 0.39 + 4, str(job.batch), anchor="end"))
        shapes += _job_bar(job, [_LEFT + (at - begun) * scale for at in span], y, row * 0.78)
    return _svg(base + 22, f"{len(spans)} jobs over time", shapes)


#: Sending, Salesforce at work, fetching results.
PHASES = (("sending", _SKY), ("Salesforce at work", _BLUE), ("fetching results", _ORANGE))
#: Room for what the colours mean.
_KEY = 18


def _key() -> Iterator[str]:
    x = _LEFT
    for name, colour in PHASES:
        yield f'<rect x="{x:.1f}" y="3" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 14, 12, name)
        x += 30 + len(name) * 6.4


def _span(job: Job) -> tuple[float, ...] | None:
    """Creation, closing, end, results: seconds since 1970; a point not reached falls on the one before it."""
    if not job.created:
        return None
    points: list[float] = []
    for text in (job.created, job.closed, job.ended, job.fetched):
        points.append(dt.datetime.fromisoformat(text).timestamp() if text else points[-1])
    return tuple(points)


def _job_bar(job: Job, xs: Sequence[float], y: float, height: float) -> Iterator[str]:
    title = escape(f"batch {job.batch}: {job.state}, {job.rows:,} rows")
    for (_, colour), x1, x2 in zip(PHASES, xs, xs[1:], strict=False):
        wide = max(x2 - x1, 0.6)
        yield (
            f'<rect x="{x1:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{height:.1f}" fill="{colour}">'
            f"<title>{title}</title></rect>"
        )


def _in_flight(spans: Sequence[tuple[float, float]], length: float) -> Markup:
    """How many jobs were in flight, as a line of steps; between two of its points the largest number counts."""
    counts = _counts(spans, length)
    top, step = _nice(max(counts)), (_WIDTH - _LEFT - 6) / _POINTS
    shapes = [*_y_axis(top), *_time_axis(length, step * _POINTS / length, _BASE)]
    for n, count in enumerate(counts):
        tall = count / top * (_BASE - _HEAD)
        shapes.append(
            f'<rect x="{_LEFT + n * step:.1f}" y="{_BASE - tall:.1f}" width="{step + 0.2:.1f}" '
            f'height="{tall:.1f}" fill="{_COLOURS["staged"]}"/>'
        )
    return _svg(_BASE + 22, f"{len(spans)} jobs: how many were in flight", shapes)


def _counts(spans: Sequence[tuple[float, float]], length: float) -> list[int]:
    """The largest number in flight in each of equally long parts of the time."""
    counts = [0] * _POINTS
    events = sorted([(begun, 1) for begun, _ in spans] + [(ended, -1) for _, ended in spans])
    number, at = 0, 0
    for second, change in events:
        slot = min(int(second / length * _POINTS), _POINTS - 1)
        for between in range(at, slot):
            counts[between] = max(counts[between], number)
        at, number = slot, number + change
        counts[slot] = max(counts[slot], number)
    return counts


# axes and parts


def _y_axis(top: float) -> Iterator[str]:
    for part in (0.0, 0.5, 1.0):
        y = _BASE - part * (_BASE - _HEAD)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - 4}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_INK}" stroke-opacity="{_GRID}"/>'
        yield _text(_LEFT - 6, y + 4, f"{top * part:,.0f}", anchor="end")


def _time_axis(length: float, scale: float, base: float) -> Iterator[str]:
    yield f'<line x1="{_LEFT}" x2="{_WIDTH - 4}" y1="{base}" y2="{base}" stroke="{_INK}" stroke-opacity="{_GRID}"/>'
    for part in (0.0, 0.5, 1.0):
        yield _axis_label(_LEFT + length * part * scale, base + 14, _duration(length * part))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 20 and seconds else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d}"


def _nice(number: float) -> float:
    """The next 1, 2 or 5 with zeros; at least 2, so that its half is a whole number."""
    if number <= 2:
        return 2.0
    size = 10 ** math.floor(math.log10(number))
    return float(next(step * size for step in (1, 2, 4, 6, 8, 10) if step * size >= number))


def _text(
    x: float, y: float, text: str, *, size: float = _SMALL, weight: str = "400", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{_INK}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(height: float, label: str, shapes: Sequence[str], kind: str = "plot") -> Markup:
    body = "".join(shapes)
    return Markup(  # noqa: S704 - every text in it went through escape
        f'<svg class="{kind}" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg" style="display:block;width:100%;height:auto"><title>{escape(label)}</title>{body}</svg>'
    )
