"""What a cell shows: a sentence and a small table; a progress bar; results recorded in the notebook."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from IPython.core.getipython import get_ipython

if TYPE_CHECKING:
    import pandas as pd
from tqdm import tqdm

from ora2sf.fields import digits

Tone = Literal["plain", "good", "warning", "bad"]
_COLOURS: dict[Tone, str] = {"plain": "#5b6770", "good": "#2e7d32", "warning": "#b26a00", "bad": "#b3261e"}
_WIDEST = 100


class Shown:
    """A sentence and, if there is one, a table; readable as HTML in a notebook and as text in a terminal.

    Args:
        sentence: what the reader should know, complete without the code above it.
        rows: the table, one mapping per line, or None.
        tone: colour of the bar at its left.
    """

    def __init__(
        self, sentence: str, rows: Sequence[Mapping[str, Any]] | None = None, tone: Tone = "plain"
    ) -> None:
        self.sentence, self.tone = sentence, tone
        self.table = None if rows is None else _frame(rows)

    def __repr__(self) -> str:
        if self.table is None or self.table.empty:
            return self.sentence
        return f"{self.sentence}\n{self.table.map(_cell).to_string(index=False, max_colwidth=_WIDEST)}"

    def _repr_html_(self) -> str:
        bar = f"border-left:4px solid {_COLOURS[self.tone]};padding:2px 10px;margin:4px 0"
        sentence = html.escape(self.sentence).replace("\n", "<br>")
        shown = "" if self.table is None or self.table.empty else self._table_html()
        return f'<div style="{bar}"><p style="margin:4px 0">{sentence}</p>{shown}</div>'

    def _table_html(self) -> str:
        """Text to the left, numbers to the right, whatever the page around it prefers."""
        assert self.table is not None  # asked before
        sides = ["right" if _is_number(self.table[name]) else "left" for name in self.table]
        head = _row("th", [str(name) for name in self.table], sides)
        body = "".join(_row("td", map(_cell, line), sides) for line in self.table.itertuples(index=False))
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as they are: as objects, because pandas would make floats of whole numbers beside an empty cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [["" if row.get(name) is None else row[name] for name in names] for row in rows]
    import pandas as pd  # half the memory of everything else here, and nobody but a notebook needs it

    return pd.DataFrame(cells, columns=names, dtype=object)


def _is_number(column: pd.Series[Any]) -> bool:
    return all(isinstance(value, int | float | Decimal) or value == "" for value in column)


def _row(tag: str, cells: Iterable[str], sides: Sequence[str]) -> str:
    shown = (
        f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(shown)}</tr>"


def _cell(value: object) -> str:
    if isinstance(value, Decimal):
        return digits(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value).replace("\n", "⏎")
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


@contextmanager
def progress(label: str, unit: str, total: int | None = None) -> Iterator[tqdm[Any]]:
    """A progress bar that shows rate and remaining time; on a closed output it falls silent.

    Standard tqdm and not its notebook form, whose widgets stay frozen at 0 % in a saved notebook.
    """
    with tqdm(
        total=total,
        desc=label,
        unit=f" {unit}",
        unit_scale=True,
        mininterval=1.0,
        file=sys.stdout,
        dynamic_ncols=False,
    ) as bar:
        yield bar


def glue(name: str, value: Mapping[str, Any]) -> None:
    """Records a small JSON result in the notebook, for programs that read executed notebooks with scrapbook.

    Outside a notebook there is nothing to record it in.
    """
    if get_ipython() is None:
        return
    import scrapbook  # takes seconds to import, and only the last cell needs it

    scrapbook.glue(name, dict(value))
