"""Filling a new database from files: SQL scripts, and tables of CSV or Parquet."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .backend import BackendSession
from .binds import BindColumn
from .errors import OracleError
from .results import ResultSet
from .sql import Token, tokens
from .ttc import Described
from .types import OracleType
from .values import datetimes_from_arrow, encode_number, parse_number

_ROWS = 5000  # bound at a time
_TEXT, _NUMBER, _DATE, _TIMESTAMP = 1, 2, 12, 180  # data types of binds

Row = tuple[str, list[Any]]  # where it stands, its values


def load(session: BackendSession, schema: Path | None, data: Path | None) -> bool:
    """Run the script `schema`, then fill tables from the folder `data`; False if the user owns tables already.

    ValueError names file, line and reason; then nothing stays: the tables made so far are dropped again.
    """
    if _tables(session):
        return False
    try:
        if schema:
            run_script(session, schema)
        if data:
            load_folder(session, data)
        session.commit()
    except BaseException:
        session.rollback()
        for name in _tables(session):
            session.run(f'DROP TABLE "{name}" PURGE', [])
        raise
    return True


def _tables(session: BackendSession) -> list[str]:
    """Return the names of the user's tables."""
    result = session.run("SELECT table_name FROM user_tables", [])
    assert isinstance(result, ResultSet)
    return [(row[0] or b"").decode() for row in result.values()]


# --- scripts ---------------------------------------------------------------------------------------------------------


def run_script(session: BackendSession, path: Path) -> None:
    """Run the statements of a file, each ended by `;` or by `/` on a line of its own."""
    text = _text(path)
    try:
        found = list(_statements(text))
    except OracleError as error:
        raise ValueError(f"{path}, line {_line(text, error.offset)}: {error}") from None
    for start, sql in found:
        try:
            outcome = session.run(sql, [])
        except OracleError as error:
            place = len(sql.encode()[: error.offset].decode("utf-8", "ignore"))
            raise ValueError(f"{path}, line {_line(text, start + place)}: {error}") from None
        if isinstance(outcome, ResultSet):
            outcome.close()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from None


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Cut a script into statements; give where each begins, and its text."""
    begun: list[Token] = []
    for token in tokens(text):
        if not (token.text == ";" or (token.text == "/" and _alone(text, token.start))):
            begun.append(token)
        elif begun:
            yield begun[0].start, text[begun[0].start : begun[-1].start + len(begun[-1].text)]
            begun = []
    if begun:
        yield begun[0].start, text[begun[0].start : begun[-1].start + len(begun[-1].text)]


def _alone(text: str, place: int) -> bool:
    start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    return text[start : end if end >= 0 else None].strip() == "/"


# --- tables ----------------------------------------------------------------------------------------------------------


def load_folder(session: BackendSession, folder: Path) -> None:
    """Insert the rows of each `TABLE.csv` and `TABLE.parquet`, in the order of their names.

    A CSV file has column names in its first line; an empty value is NULL, dates are ISO 8601.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".parquet"))
    if not files:
        raise ValueError(f"{folder}: there is no .csv or .parquet file")
    for path in files:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as lines:
                reader = csv.reader(lines, strict=True)
                header = next(reader, [])
                _fill(session, path, header, _csv_rows(path, reader))
        else:
            source = pq.ParquetFile(path)
            _fill(session, path, source.schema_arrow.names, _parquet_rows(source))


def _csv_rows(path: Path, reader: Any) -> Iterator[Row]:
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}, line {line}: {error}") from None
        if values is None:
            return
        if values:
            yield f"line {line}", [value or None for value in values]


def _parquet_rows(source: pq.ParquetFile) -> Iterator[Row]:
    number = 0
    for batch in source.iter_batches(_ROWS):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield f"row {number}", list(values)


def _fill(session: BackendSession, path: Path, header: list[str], rows: Iterable[Row]) -> None:
    table, names = _quoted(path.stem), ", ".join(map(_quoted, header))
    try:
        columns = session.describe(f"SELECT {names} FROM {table}")
    except OracleError as error:
        raise ValueError(f"{path}, line 1: {error} (table {table}, columns {names})") from None
    marks = ", ".join(f":{number}" for number in range(1, len(columns) + 1))
    insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    source = iter(rows)
    while chunk := list(islice(source, _ROWS)):
        _insert(session, path, insert, columns, chunk)


def _quoted(name: str) -> str:
    """Return a name as SQL has it: as it stands if it is not plain, else in upper case."""
    plain = name.replace("_", "a").replace("$", "a").replace("#", "a").isalnum()
    return f'"{name.upper() if plain else name}"'


def _insert(
    session: BackendSession, path: Path, insert: str, columns: list[Described], chunk: list[Row]
) -> None:
    cells: list[list[bytes | None]] = [[] for _ in columns]
    for place, values in chunk:
        if len(values) != len(columns):
            raise ValueError(f"{path}, {place}: {len(values)} values for {len(columns)} columns")
        for cell, column, value in zip(cells, columns, values, strict=True):
            try:
                cell.append(_cell(column, value))
            except (ValueError, TypeError, ArithmeticError, OracleError) as error:
                kind = column.type.declaration() if column.type else "NULL"
                raise ValueError(
                    f"{path}, {place}: {value!r} is no {kind} for column {column.name} ({error})"
                ) from None
    binds = [BindColumn.of(_code(column.type), 1, cell) for column, cell in zip(columns, cells, strict=True)]
    try:
        session.run(insert, binds)
    except OracleError as whole:
        for number, (place, _) in enumerate(chunk):
            try:
                session.run(insert, [bind.one(number) for bind in binds])
            except OracleError as error:
                raise ValueError(f"{path}, {place}: {error}") from None
        raise ValueError(f"{path}, {chunk[0][0]} to {chunk[-1][0]}: {whole}") from None


def _code(kind: OracleType | None) -> int:
    if kind is None or not (kind.is_number or kind.is_datetime):
        return _TEXT
    if kind.is_number:
        return _NUMBER
    return _DATE if kind.name == "DATE" else _TIMESTAMP


def _cell(column: Described, value: Any) -> bytes | None:
    """Return a value as a bind has it on the wire: exactly what stands in the file, or an error."""
    if value is None:
        return None
    code = _code(column.type)
    if code == _NUMBER:
        if isinstance(value, float):
            raise TypeError("a float is not exact; write a decimal or an integer")
        number = parse_number(value) if isinstance(value, str) else Decimal(value)
        return encode_number(number)
    if code in (_DATE, _TIMESTAMP):
        moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else _midnight(value)
        if moment.tzinfo or (code == _DATE and moment.microsecond):
            raise ValueError("the column keeps no time zone and, if a DATE, no fraction of a second")
        array = pa.array([moment], pa.timestamp("us"))
        return bytes(datetimes_from_arrow(array, fraction=code == _TIMESTAMP)[0].as_py())
    if not isinstance(value, str):
        raise TypeError("not text")
    return value.encode()


def _midnight(value: Any) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - DATE has no time zone
    raise TypeError("no moment")
