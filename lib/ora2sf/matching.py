"""Which column goes to which field, told by their names alone."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

#: How like each other two names have to be that differ by a slip of the pen.
_ALIKE = 0.86
#: Letters that two names have to have in common at their beginning or end.
_END = 5
#: Names that have to begin alike before the beginning counts as a prefix that says nothing.
_SHARED = 2


class Likeness(IntEnum):
    """How a column and a field were matched, from the best to the worst."""

    NAME = 4  # PROD_NAME, Prod_Name__c, ProdName
    LABEL = 3  # of the field
    PREFIX = 2  # the same without a prefix that others have, too: TMS_Prod_Name__c
    NEAR = 1  # one begins or ends with the other, or nearly is the same: to be looked at


class Match(NamedTuple):
    """A column, its field, how they are alike, and what else it could have been.

    Attributes:
        letters: how many letters of the names count; of two that are as like, the longer one says more.
        fields: other fields that are as like this column; columns: other columns that are as like this field.
    """

    column: str
    field: str
    likeness: Likeness
    letters: int
    fields: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def decide(self) -> str:
        """What a person should look at, or empty."""
        if self.fields or self.columns:
            return f"as likely: {', '.join((*self.fields, *self.columns))}"
        return "the names are only alike" if self.likeness == Likeness.NEAR else ""


def match(columns: Sequence[str], fields: Mapping[str, str]) -> list[Match]:
    """Every field that a column fits by name, each field and each column once, the best first.

    Args:
        fields: API name → label.
    """
    of_columns, of_fields = _prefixes(columns), _prefixes([_bare(name) for name in fields])
    found = [
        Match(column, name, *likeness)
        for column in columns
        for name, label in fields.items()
        if (likeness := _likeness(column, name, label, of_columns, of_fields))
    ]
    place = {column: at for at, column in enumerate(columns)}
    found.sort(key=lambda one: (-one.likeness, -one.letters, place[one.column]))
    taken: list[Match] = []
    for one in found:
        if not any(one.column == other.column or one.field == other.field for other in taken):
            taken.append(_with_rivals(one, found, taken))
    return taken


def _with_rivals(one: Match, found: Iterable[Match], taken: Sequence[Match]) -> Match:
    """The match with what is as like and was not given away for something better."""
    gone = {other.field for other in taken} | {other.column for other in taken}
    rank = one.likeness, one.letters
    rivals = [
        other
        for other in found
        if (other.likeness, other.letters) == rank and not {other.field, other.column} & gone
    ]
    return one._replace(
        fields=tuple(
            other.field for other in rivals if other.column == one.column and other.field != one.field
        ),
        columns=tuple(
            other.column for other in rivals if other.field == one.field and other.column != one.column
        ),
    )


def nearest(column: str, names: Collection[str]) -> str:
    """The name that is most like a column's, or empty."""
    folded = {_folded(_bare(name)): name for name in names}
    near = difflib.get_close_matches(_folded(column), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else ""


def _likeness(
    column: str, name: str, label: str, of_columns: Collection[str], of_fields: Collection[str]
) -> tuple[Likeness, int] | None:
    left, right = _folded(column), _folded(_bare(name))
    if left == right:
        return Likeness.NAME, len(left)
    if left == _folded(label):
        return Likeness.LABEL, len(left)
    lefts = {left, _folded(_without(column, of_columns))}
    rights = {right, _folded(_without(_bare(name), of_fields))}
    if same := lefts & rights:
        return Likeness.PREFIX, max(map(len, same))
    near = [min(len(one), len(other)) for one in lefts for other in rights if _near(one, other)]
    return (Likeness.NEAR, max(near)) if near else None


def _near(left: str, right: str) -> bool:
    short, long = sorted((left, right), key=len)
    if len(short) >= _END and (long.endswith(short) or long.startswith(short)):
        return True
    return min(len(left), len(right)) >= _END and difflib.SequenceMatcher(None, left, right).ratio() >= _ALIKE


def _prefixes(names: Iterable[str]) -> set[str]:
    """First words that several names share: ``TMS`` of TMS_Unit and TMS_Price."""
    firsts = Counter(name.partition("_")[0].upper() for name in names if "_" in name)
    return {first for first, count in firsts.items() if count >= _SHARED}


def _without(name: str, prefixes: Collection[str]) -> str:
    first, _, rest = name.partition("_")
    return rest if rest and first.upper() in prefixes else name


def _bare(field: str) -> str:
    """The name of a field without ``__c`` and without the namespace of a package."""
    bare = re.sub(r"__(c|r|pc)$", "", field)
    return bare.partition("__")[2] or bare


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
