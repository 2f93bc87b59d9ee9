"""A table as Oracle's dictionary has it: columns, keys, references, comments, size. Nothing is written.

The views are those that every user may read, ALL_TAB_COLUMNS and its like
(Oracle Database Reference: Static Data Dictionary Views); they show what this user may see.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ora2sf.errors import SourceError, TableFileError
from ora2sf.fields import DATE_MASKS
from ora2sf.oracle import OracleSource, SourceColumn

#: A name that Oracle takes without quotation marks, but for reserved words.
_PLAIN = re.compile(r"[A-Z][A-Z0-9_$#]{0,127}")
#: Oracle SQL Language Reference: Oracle SQL Reserved Words.
_RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
        ACCESS ADD ALL ALTER AND ANY AS ASC AUDIT BETWEEN BY CHAR CHECK CLUSTER COLUMN COLUMN_VALUE COMMENT COMPRESS CONNECT CREATE
        CURRENT DATE DECIMAL DEFAULT DELETE DESC DISTINCT DROP ELSE EXCLUSIVE EXISTS FILE FLOAT FOR FROM GRANT GROUP HAVING
        IDENTIFIED IMMEDIATE IN INCREMENT INDEX INITIAL INSERT INTEGER INTERSECT INTO IS LEVEL LIKE LOCK LONG MAXEXTENTS MINUS
        MLSLABEL MODE MODIFY NESTED_TABLE_ID NOAUDIT NOCOMPRESS NOT NOWAIT NULL NUMBER OF OFFLINE ON ONLINE OPTION OR ORDER PCTFREE
        PRIOR PUBLIC RAW RENAME RESOURCE REVOKE ROW ROWID ROWNUM ROWS SELECT SESSION SET SHARE SIZE SMALLINT START SUCCESSFUL
        SYNONYM SYSDATE TABLE THEN TO TRIGGER UID UNION UNIQUE UPDATE USER VALIDATE VALUES VARCHAR VARCHAR2 VIEW WHENEVER WHERE
        WITH
        """,
    )
)
_PART = r'(?:"[^"\0]+"|[A-Za-z][A-Za-z0-9_$#]*)'
_NAME = re.compile(rf"(?:({_PART})\.)?({_PART})")
#: Rows looked at to see how dates are written in text columns.
SAMPLE_ROWS = 1_000
#: Rows from which on a campaign cuts a table into windows with profit.
LARGE = 1_000_000

# what the dictionary is asked; binds: owner, name
COLUMNS = (
    "SELECT COLUMN_NAME, DATA_TYPE, DATA_LENGTH, CHAR_LENGTH, DATA_PRECISION, DATA_SCALE, NULLABLE "
    "FROM ALL_TAB_COLUMNS WHERE OWNER = :owner AND TABLE_NAME = :name ORDER BY COLUMN_ID"
)
COMMENT = "SELECT COMMENTS FROM ALL_TAB_COMMENTS WHERE OWNER = :owner AND TABLE_NAME = :name AND COMMENTS IS NOT NULL"
COMMENTS = (
    "SELECT COLUMN_NAME, COMMENTS FROM ALL_COL_COMMENTS "
    "WHERE OWNER = :owner AND TABLE_NAME = :name AND COMMENTS IS NOT NULL"
)
STATISTICS = "SELECT NUM_ROWS FROM ALL_TABLES WHERE OWNER = :owner AND TABLE_NAME = :name"
CONSTRAINTS = (
    "SELECT c.CONSTRAINT_TYPE, c.CONSTRAINT_NAME, k.COLUMN_NAME FROM ALL_CONSTRAINTS c "
    "JOIN ALL_CONS_COLUMNS k ON k.OWNER = c.OWNER AND k.CONSTRAINT_NAME = c.CONSTRAINT_NAME AND k.TABLE_NAME = c.TABLE_NAME "
    "WHERE c.OWNER = :owner AND c.TABLE_NAME = :name AND c.CONSTRAINT_TYPE IN ('P', 'U') "
    "ORDER BY c.CONSTRAINT_TYPE, c.CONSTRAINT_NAME, k.POSITION"
)
INDEXES = (
    "SELECT 'I', i.INDEX_NAME, k.COLUMN_NAME FROM ALL_INDEXES i "
    "JOIN ALL_IND_COLUMNS k ON k.INDEX_OWNER = i.OWNER AND k.INDEX_NAME = i.INDEX_NAME "
    "WHERE i.TABLE_OWNER = :owner AND i.TABLE_NAME = :name AND i.UNIQUENESS = 'UNIQUE' "
    "ORDER BY i.INDEX_NAME, k.COLUMN_POSITION"
)
REFERENCES = (
    "SELECT c.CONSTRAINT_NAME, k.COLUMN_NAME, p.OWNER, p.TABLE_NAME, p.COLUMN_NAME FROM ALL_CONSTRAINTS c "
    "JOIN ALL_CONS_COLUMNS k ON k.OWNER = c.OWNER AND k.CONSTRAINT_NAME = c.CONSTRAINT_NAME AND k.TABLE_NAME = c.TABLE_NAME "
    "JOIN ALL_CONS_COLUMNS p ON p.OWNER = c.R_OWNER AND p.CONSTRAINT_NAME = c.R_CONSTRAINT_NAME AND p.POSITION = k.POSITION "
    "WHERE c.OWNER = :owner AND c.TABLE_NAME = :name AND c.CONSTRAINT_TYPE = 'R' "
    "ORDER BY c.CONSTRAINT_NAME, k.POSITION"
)
SYNONYMS = (
    "SELECT TABLE_OWNER, TABLE_NAME FROM ALL_SYNONYMS "
    "WHERE OWNER IN (:owner, 'PUBLIC') AND SYNONYM_NAME = :name AND DB_LINK IS NULL"
)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        kind: its type, such as ``VARCHAR2(30)``; length: characters of a text, else 0.
        read: how the driver delivers it; None for a type that cannot be read.
        masks: the masks that its texts have, the most frequent first, if they look like dates; others: texts that have none.
    """

    name: str
    kind: str
    type: str
    length: int
    nullable: bool
    comment: str = ""
    read: SourceColumn | None = None
    masks: tuple[str, ...] = ()
    others: int = 0

    @property
    def sql(self) -> str:
        """The name as SQL has to write it."""
        return written(self.name)

    @property
    def alias(self) -> str:
        """A name that a table file can use."""
        return self.name if self.sql == self.name else _aliased(self.name)

    @property
    def is_text(self) -> bool:
        """Whether it holds texts of a bounded length."""
        return self.type in {"VARCHAR2", "NVARCHAR2", "CHAR", "NCHAR"}

    @property
    def is_time(self) -> bool:
        """Whether it is a DATE or a TIMESTAMP without a time zone."""
        return self.type == "DATE" or (self.type.startswith("TIMESTAMP") and "ZONE" not in self.type)

    @property
    def is_number(self) -> bool:
        """Whether it is a NUMBER."""
        return self.type in {"NUMBER", "FLOAT"}


@dataclass(frozen=True)
class Reference:
    """A foreign key: the columns, in the order of those of the parent's key."""

    columns: tuple[str, ...]
    owner: str
    table: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table or a view.

    Attributes:
        sql: ``OWNER.NAME`` as SQL has to write it.
        rows: about how many; None if that is not known.
        keys: what the dictionary says is unique, the primary key first.
    """

    owner: str
    name: str
    columns: tuple[Column, ...]
    comment: str = ""
    rows: int | None = None
    keys: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()

    @property
    def sql(self) -> str:
        """The name as SQL has to write it."""
        return f"{written(self.owner)}.{written(self.name)}"

    def column(self, name: str) -> Column | None:
        """The column of that name, or of that alias, if there is one."""
        return next((one for one in self.columns if name in {one.name, one.alias}), None)


def written(name: str) -> str:
    """A name as SQL has to write it: in quotation marks unless Oracle would read it as it is."""
    return name if _PLAIN.fullmatch(name) and name not in _RESERVED else f'"{name}"'


def _aliased(name: str) -> str:
    made = re.sub(r"[^A-Z0-9_$#]", "_", name.upper())[:120]
    made = made if made[:1].isalpha() else f"C{made}"
    return f"{made}_" if made in _RESERVED else made


def read_table(source: OracleSource, name: str, *, sample: bool = True) -> Table:
    """A table or view by ``NAME`` or ``OWNER.NAME``; names in quotation marks keep their case.

    Args:
        sample: also look at some rows, to see how dates are written in text columns and whether there are many rows.

    Raises:
        TableFileError: the name is none, or there is no such table that this user sees; what is near is named.
        SourceError: it may not be read.
    """
    found = _NAME.fullmatch(name.strip())
    if not found:
        raise TableFileError(
            f"{name!r} is not OWNER.TABLE.", 'Write OWNER.TABLE, or OWNER."Table" in its exact case.'
        )
    owner = _folded(found[1]) if found[1] else _own_schema(source)
    table = Table(owner, _folded(found[2]), ())
    columns = _columns(source, table)
    if not columns:
        raise _missing(source, table, asked_owner=bool(found[1]))
    read = _described(source, table)
    comments = _comments(source, table)
    made = Table(
        owner,
        table.name,
        tuple(_with_a_name(_column(row, read, comments) for row in columns)),
        comments.get("", ""),
        _rows(source, table, sample=sample),
        tuple(_keys(source, table)),
        tuple(_references(source, table)),
    )
    return _sampled(source, made) if sample else made


def _folded(name: str) -> str:
    return name[1:-1] if name.startswith('"') else name.upper()


def _own_schema(source: OracleSource) -> str:
    ((schema,),) = source.rows("SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM DUAL")
    return str(schema)


def _columns(source: OracleSource, table: Table) -> list[tuple[Any, ...]]:
    return source.rows(COLUMNS, _binds(table))


def _binds(table: Table) -> dict[str, str]:
    return {"owner": table.owner, "name": table.name}


def _column(row: Sequence[Any], read: Mapping[str, SourceColumn], comments: Mapping[str, str]) -> Column:
    name, kind, size, characters, precision, scale, nullable = row
    delivered = read.get(str(name))
    usable = delivered is not None and (delivered.is_number or delivered.arrow is not None)
    return Column(
        name=str(name),
        kind=_shown(str(kind), int(size or 0), int(characters or 0), precision, scale),
        type=str(kind),
        length=int(characters or 0),
        nullable=nullable == "Y",
        comment=" ".join(comments.get(str(name), "").split()),
        read=delivered if usable else None,
    )


def _with_a_name(columns: Iterable[Column]) -> Iterator[Column]:
    """Columns as they are; one that no name is left for, because another has it, cannot be read."""
    listed = list(columns)
    taken = {one.name for one in listed if one.alias == one.name}
    for one in listed:
        free = one.alias == one.name or one.alias not in taken
        taken.add(one.alias)
        yield one if free else replace(one, read=None)


def _shown(kind: str, size: int, characters: int, precision: Any, scale: Any) -> str:
    if characters:
        return f"{kind}({characters})"
    if kind == "NUMBER" and precision is not None:
        return f"NUMBER({int(precision)},{int(scale or 0)})"
    return f"{kind}({size})" if kind == "RAW" else kind


def _described(source: OracleSource, table: Table) -> dict[str, SourceColumn]:
    """The columns as the driver delivers them, which takes the right to read them."""
    try:
        return source.describe(f"SELECT * FROM {table.sql}")
    except SourceError as error:
        if "ORA-00942" not in error.what and "ORA-01031" not in error.what:
            raise
        raise SourceError(
            f"{table.sql} is there, but this user may not read it: {error.what}",
            f"GRANT SELECT ON {table.sql} TO {source.info().user};",
        ) from None


def _comments(source: OracleSource, table: Table) -> dict[str, str]:
    """Column → its comment; the table's own under the empty name."""
    own = source.rows(COMMENT, _binds(table))
    each = source.rows(COMMENTS, _binds(table))
    return {str(name): str(text) for name, text in (*each, *(("", text) for (text,) in own))}


def _rows(source: OracleSource, table: Table, *, sample: bool) -> int | None:
    """What the optimizer's statistics say, or a count that ends where a table is large."""
    told = source.rows(STATISTICS, _binds(table))
    if told and told[0][0] is not None:
        return int(told[0][0])
    if not sample:
        return None
    return source.count(f"SELECT COUNT(*) FROM (SELECT 1 AS N FROM {table.sql} WHERE ROWNUM <= {LARGE})")


def _keys(source: OracleSource, table: Table) -> Iterator[tuple[str, ...]]:
    """Primary key, unique constraints, unique indexes: each once, in this order."""
    constraints = source.rows(CONSTRAINTS, _binds(table))
    indexes = source.rows(INDEXES, _binds(table))
    listed: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, name, column in (*constraints, *indexes):
        listed[str(kind), str(name)].append(str(column))
    yield from dict.fromkeys(tuple(columns) for columns in listed.values())


def _references(source: OracleSource, table: Table) -> Iterator[Reference]:
    found = source.rows(REFERENCES, _binds(table))
    listed: defaultdict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, column, owner, parent, key in found:
        listed[str(name), str(owner), str(parent)].append((str(column), str(key)))
    for (_, owner, parent), pairs in listed.items():
        columns, keys = zip(*pairs, strict=True)
        yield Reference(columns, owner, parent, keys)


def _sampled(source: OracleSource, table: Table) -> Table:
    """The table with the masks that its text columns have in the first rows."""
    texts = [one for one in table.columns if one.is_text and 8 <= one.length <= 64 and one.read]
    if not texts:
        return table
    listed = ", ".join(one.sql for one in texts)
    rows = source.rows(f"SELECT {listed} FROM {table.sql} WHERE ROWNUM <= {SAMPLE_ROWS}")
    seen = {one.name: _masks([row[n] for row in rows]) for n, one in enumerate(texts)}
    columns = tuple(
        replace(one, masks=seen[one.name][0], others=seen[one.name][1]) if one.name in seen else one
        for one in table.columns
    )
    return replace(table, columns=columns)


def _masks(values: Sequence[Any]) -> tuple[tuple[str, ...], int]:
    """The masks of texts, the most frequent first, and how many texts have none; no masks if most texts have none."""
    texts = [str(value).strip() for value in values if value is not None and str(value).strip()]
    counts = {
        mask: sum(bool(re.fullmatch(form, text)) for text in texts) for mask, (form, _) in DATE_MASKS.items()
    }
    others = len(texts) - sum(counts.values())
    if not texts or others * 2 > len(texts):
        return (), 0
    return tuple(
        sorted((mask for mask, count in counts.items() if count), key=lambda mask: -counts[mask])
    ), others


# what is not there


def _missing(source: OracleSource, table: Table, *, asked_owner: bool) -> TableFileError:
    """Says where a table of that name is, or which names are near."""
    what = f"There is no table or view {table.sql}, or this user may not see it."
    for step in (_as_synonym, _elsewhere, _nearest):
        if found := step(source, table):
            return TableFileError(what, found)
    whose = f"GRANT SELECT ON {table.sql} TO {source.info().user};"
    return TableFileError(
        what, f"Check owner and name{'' if asked_owner else ' (write OWNER.TABLE)'}, or {whose}"
    )


def _as_synonym(source: OracleSource, table: Table) -> str:
    try:
        found = source.rows(SYNONYMS, _binds(table))
    except SourceError:  # this database, or this user, has no such view
        return ""
    return f"It is a synonym: write {written(str(found[0][0]))}.{written(str(found[0][1]))}." if found else ""


def _elsewhere(source: OracleSource, table: Table) -> str:
    found = source.rows(
        "SELECT DISTINCT OWNER FROM ALL_TAB_COLUMNS WHERE TABLE_NAME = :name ORDER BY OWNER",
        {"name": table.name},
    )
    return (
        f"Write {' or '.join(f'{written(str(owner))}.{written(table.name)}' for (owner,) in found)}."
        if found
        else ""
    )


def _nearest(source: OracleSource, table: Table) -> str:
    names = [
        str(name)
        for view, column in (("ALL_TABLES", "TABLE_NAME"), ("ALL_VIEWS", "VIEW_NAME"))
        for (name,) in source.rows(
            f"SELECT {column} FROM {view} WHERE OWNER = :owner", {"owner": table.owner}
        )
    ]
    if near := _near(table.name, names):
        return f"Did you mean {' or '.join(f'{written(table.owner)}.{written(name)}' for name in near)}?"
    users = [str(name) for (name,) in source.rows("SELECT USERNAME FROM ALL_USERS")]
    if table.owner not in users and (near := _near(table.owner, users, 0.6)):
        return f"There is no owner {table.owner}. Did you mean {' or '.join(near)}?"
    return ""


def _near(name: str, known: Sequence[str], cutoff: float = 0.7) -> list[str]:
    folded = {other.upper(): other for other in known}
    return [folded[one] for one in difflib.get_close_matches(name.upper(), folded, n=3, cutoff=cutoff)]
