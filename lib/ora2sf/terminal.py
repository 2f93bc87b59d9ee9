"""Words and columns on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator


def number(count: int, noun: str) -> str:
    """``1 slice``, ``2 slices``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Prints rows with aligned columns."""
    for line in grid(list(rows), None):
        print(line)


def grid(rows: list[tuple[str, ...]], width: int | None) -> Iterator[str]:
    """Rows as lines with aligned columns; with a width, the widest columns are broken until a line fits."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        widths[widths.index(max(widths))] -= 1
    for row in rows:
        cells = [
            textwrap.wrap(cell, size) or [""]
            for cell, size in zip(row, map(_at_least_one, widths), strict=True)
        ]
        for n in range(max(map(len, cells))):
            parts = (cell[n] if n < len(cell) else "" for cell in cells)
            yield "  ".join(f"{part:<{size}}" for part, size in zip(parts, widths, strict=True)).rstrip()


def _at_least_one(size: int) -> int:
    return max(size, 1)
