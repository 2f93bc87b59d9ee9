"""What a cell shows: a sentence, a small table and pictures; results recorded in the notebook."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    import pandas as pd

from ora2sf.fields import digits

Tone = Literal["plain", "good", "warning", "bad"]
#: Seen on white and on black; the mark says the same to who does not see colours.
_COLOURS: dict[Tone, str] = {"plain": "#7a8791", "good": "#2e8b57", "warning": "#c77700", "bad": "#d1432f"}
_MARKS: dict[Tone, str] = {"plain": "", "good": "✓ ", "warning": "⚠\ufe0e ", "bad": "✗ "}
#: Characters of a cell in a terminal, and in a page, where it can take several lines.
_WIDEST, _LONGEST = 100, 400
#: Characters up to which a cell is never broken; what is longer is, at blanks and joints, if the table is too wide for its page;
#: a text of several lines keeps some width.
_UNBROKEN, _LONG = 16, 60
_JOINTS = re.compile(r"(?<=[A-Za-z0-9][_/.|])(?=[A-Za-z0-9])|(?<=[A-Za-z]:)(?=[A-Za-z0-9])")
_ABOUT = "about "


class Link(str):
    """A text that leads somewhere."""

    href: str

    def __new__(cls, text: str, href: str) -> Link:
        """The text; ``href`` is where it leads, relative to where the notebook is looked at."""
        made = super().__new__(cls, text)
        made.href = href
        return made


class Shown:
    """A sentence and, if there is one, a table, and pictures; readable as HTML in a notebook and as text in a terminal.

    Args:
        sentence: what the reader should know, complete without the code above it.
        rows: the table, one mapping per line, or None.
        tone: colour of the bar at its left.
        bars: column of numbers that are shown as bars, too, in proportion to the largest.
        pictures: caption and SVG of each.
    """

    def __init__(
        self,
        sentence: str,
        rows: Sequence[Mapping[str, Any]] | None = None,
        tone: Tone = "plain",
        *,
        bars: str = "",
        pictures: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.sentence, self.tone, self.bars, self.pictures = sentence, tone, bars, pictures
        self.table = None if rows is None else _frame(rows)

    def __repr__(self) -> str:
        if self.table is None or self.table.empty:
            return self.sentence
        return f"{self.sentence}\n{self.table.map(_cell).to_string(index=False, max_colwidth=_WIDEST)}"

    def _repr_html_(self) -> str:
        bar = f"border-left:4px solid {_COLOURS[self.tone]};padding:2px 10px;margin:4px 0"
        sentence = _MARKS[self.tone] + html.escape(self.sentence).replace("\n", "<br>")
        shown = "" if self.table is None or self.table.empty else self._table_html()
        figures = "".join(_figure(caption, svg) for caption, svg in self.pictures)
        if figures:
            figures = f'<div style="display:flex;flex-wrap:wrap;gap:0 2.5em">{figures}</div>'
        return (
            f'<div style="{bar}"><p style="margin:4px 0;max-width:60em">{sentence}</p>{figures}{shown}</div>'
        )

    def _table_html(self) -> str:
        """Text to the left, numbers to the right, whatever the page around it prefers."""
        assert self.table is not None  # asked before
        sides = ["right" if _is_number(self.table[name]) else "left" for name in self.table]
        most = max((one for one in self.table.get(self.bars, ()) if isinstance(one, int | float)), default=0)
        head = _row("th", [(html.escape(str(name)), "white-space:nowrap;") for name in self.table], sides)
        lines = [
            [
                (_cell_html(one), share(one, most) if name == self.bars else _form(_cell(one, _LONGEST)))
                for name, one in line.items()
            ]
            for line in self.table.to_dict("records")
        ]
        body = "".join(_row("td", line, sides) for line in lines)
        return f'<div style="overflow-x:auto"><table style="margin:4px 0"><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def share(number: object, most: float) -> str:
    """A cell's style: a bar behind the number, as long as its share of the largest one."""
    if not isinstance(number, int | float) or most <= 0:
        return ""
    part = f"{100 * number / most:.1f}%"
    return (
        f"min-width:6em;background:linear-gradient(to right, rgba(0,114,178,.28) {part}, transparent {part});"
    )


def _figure(caption: str, svg: str) -> str:
    said = f'<figcaption style="margin:0 0 2px">{html.escape(caption)}</figcaption>'
    return f'<figure style="margin:6px 0;flex:1 1 26em;max-width:42em">{said}{svg}</figure>'


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as they are: as objects, because pandas would make floats of whole numbers beside an empty cell.

    A column without any value, such as ``message`` where all went well, is left out.
    """
    names = list(
        dict.fromkeys(name for row in rows for name, value in row.items() if value not in (None, "", []))
    )
    cells = [["" if row.get(name) is None else row[name] for name in names] for row in rows]
    import pandas as pd  # half the memory of everything else here, and nobody but a notebook needs it

    return pd.DataFrame(cells, columns=names, dtype=object)


def _is_number(column: pd.Series[Any]) -> bool:
    return all(
        isinstance(value, int | float | Decimal) or value == "" or str(value).startswith(_ABOUT)
        for value in column
    )


def _form(text: str) -> str:
    if len(text) <= _UNBROKEN:
        return "white-space:nowrap;"
    return "min-width:10em;" if len(text) > _LONG and " " in text else ""


def soft(text: str) -> str:
    """A text as HTML that may be broken behind the joints of its parts, but not before ``__c``."""
    return "<wbr>".join(html.escape(part) for part in _JOINTS.split(text))


def _row(tag: str, cells: Iterable[tuple[str, str]], sides: Sequence[str]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    shown = (
        f'<{tag}{scope} style="text-align:{side};{form}">{cell}</{tag}>'
        for (cell, form), side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(shown)}</tr>"


def _cell_html(value: object) -> str:
    """A cell, escaped; links lead where they should."""
    if isinstance(value, list):
        return " ".join(map(_cell_html, value))
    text = soft(_cell(value, _LONGEST))
    return f'<a href="{html.escape(quote(value.href))}">{text}</a>' if isinstance(value, Link) else text


def _cell(value: object, widest: int = _WIDEST) -> str:
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    if isinstance(value, Decimal):
        return digits(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    text = str(value).replace("\n", "⏎")
    return text if len(text) <= widest else text[: widest - 1] + "…"


#: What scrapbook writes and looks for (scrapbook/encoders.py, scrapbook/scraps.py); importing it takes seconds of every kernel.
SCRAP = "application/scrapbook.scrap.json+json"


def glue(name: str, value: Mapping[str, Any]) -> None:
    """Records a small JSON result in the notebook, for programs that read executed notebooks with scrapbook.

    Outside a notebook there is nothing to record it in.
    """
    from IPython.core.getipython import get_ipython

    if get_ipython() is None:
        return
    from IPython.display import display

    scrap = {"name": name, "data": dict(value), "encoder": "json", "version": 1}
    told = {"scrapbook": {"name": name, "data": True, "display": False}}
    display({SCRAP: scrap}, metadata=told, raw=True)  # type: ignore[no-untyped-call]
