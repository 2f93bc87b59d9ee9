"""A back end without a database: exact SQL texts, and what is answered to each."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from .binds import BindColumn
from .ddl import CreateTable, DdlParser
from .errors import OracleError, unsupported
from .results import ResultSet, encoded
from .sql import statement
from .ttc import Described
from .types import OracleType
from .values import encode_number

_OWNER = "SCRIPT"
_KEYS = {"sql", "columns", "rows", "affected", "error", "message"}


@dataclass
class _Answer:
    columns: list[Described] = field(default_factory=list)
    arrays: list[pa.Array[Any]] = field(default_factory=list)
    count: int = 0
    affected: int | None = None
    error: OracleError | None = None


class Scripted:
    """Answers by the text of a statement, runs of white space counting as one space.

    A statement without an answer is ORA-03001 quoting it; every statement that arrives is kept in `asked`.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, _Answer] = {}

    def query(self, sql: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]] = ()) -> Scripted:
        """Answer `sql` with rows; `columns` maps names to types as DDL has them, e.g. `{"ID": "NUMBER(10) NOT NULL"}`.

        Values are Python's: int and Decimal for NUMBER, str, datetime, None. ValueError for what does not fit.
        """
        described = _described(columns)
        table = [tuple(row) for row in rows]
        if any(len(row) != len(described) for row in table):
            raise ValueError(f"each row of {_short(sql)!r} needs {len(described)} values")
        arrays = []
        for place, column in enumerate(described):
            try:
                arrays.append(_array([row[place] for row in table], column))
            except (TypeError, ValueError, ArithmeticError, pa.ArrowException, OracleError) as error:
                raise ValueError(f"column {column.name} of {_short(sql)!r}: {error}") from None
        self._answers[_normal(sql)] = _Answer(described, arrays, len(table))
        return self

    def change(self, sql: str, affected: int = 0) -> Scripted:
        """Answer `sql` with the number of rows it affected, for each execution."""
        self._answers[_normal(sql)] = _Answer(affected=affected)
        return self

    def error(self, sql: str, code: int, message: str = "scripted error") -> Scripted:
        """Answer `sql` with an ORA error."""
        self._answers[_normal(sql)] = _Answer(error=OracleError(code, message))
        return self

    def load(self, path: str | Path) -> Scripted:
        """Take answers from a TOML or JSON file: a list `answers`; ValueError names the file and what is wrong."""
        path = Path(path)
        try:
            if path.suffix.lower() == ".toml":
                content = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
            else:
                content = json.loads(path.read_text("utf-8"), parse_float=Decimal)
            for number, answer in enumerate(content["answers"], 1):
                try:
                    self._add(answer)
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"answer {number}: {error}") from None
        except KeyError:
            raise ValueError(f"{path}: there is no list `answers`") from None
        except ValueError as error:  # the decoders' errors are of this kind too
            raise ValueError(f"{path}: {error}") from None
        return self

    def _add(self, answer: Mapping[str, Any]) -> None:
        unknown = sorted(set(answer) - _KEYS)
        if unknown or "sql" not in answer:
            raise ValueError(f"unknown key {unknown[0]}" if unknown else "there is no `sql`")
        if "error" in answer:
            self.error(answer["sql"], answer["error"], answer.get("message", "scripted error"))
        elif "affected" in answer:
            self.change(answer["sql"], answer["affected"])
        elif "columns" in answer:
            self.query(answer["sql"], answer["columns"], answer.get("rows", ()))
        else:
            raise ValueError("it has none of `columns`, `affected` and `error`")

    def answer(self, sql: str) -> _Answer:
        """Return the answer to a statement that has arrived."""
        self.asked.append(sql)
        found = self._answers.get(_normal(sql))
        if found is None:
            raise unsupported(f"the script has no answer to {sql!r}")
        if found.error:
            raise found.error
        return found

    def open_session(self, user: str) -> ScriptedSession:
        """Return a session; all users get the same answers."""
        return ScriptedSession(self, user)

    def close(self) -> None:
        """Nothing to let go of."""


class ScriptedSession:
    """One client of a script."""

    def __init__(self, script: Scripted, user: str) -> None:
        self._script = script
        self.schema = user
        self.time_zone = "+00:00"
        self.client: dict[str, str] = {}
        self.in_transaction = False

    def run(self, sql: str, binds: Sequence[BindColumn]) -> ResultSet | list[int]:
        """Give the script's answer."""
        answer = self._script.answer(sql)
        if answer.affected is None:
            values = [encoded(a, c) for a, c in zip(answer.arrays, answer.columns, strict=True)]
            return ResultSet(answer.columns, [(values, answer.count)] if answer.count else [])
        self.in_transaction = True
        return [answer.affected] * (len(binds[0].values) if binds else 1)

    def describe(self, sql: str) -> list[Described]:
        """Return the columns of the script's answer."""
        return self._script.answer(sql).columns

    def commit(self) -> None:
        """End the transaction."""
        self.in_transaction = False

    def rollback(self) -> None:
        """End the transaction."""
        self.in_transaction = False

    def interrupt(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing to let go of."""


def _normal(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


def _short(sql: str) -> str:
    return _normal(sql)[:60]


def _described(columns: Mapping[str, str]) -> list[Described]:
    """Read the columns as the brackets of a CREATE TABLE."""
    names = ", ".join(f'"{name}" {declaration}' for name, declaration in columns.items())
    try:
        change = DdlParser(statement(f"CREATE TABLE script ({names})"), _OWNER).parse()
    except OracleError as error:
        raise ValueError(f"columns {dict(columns)}: {error}") from None
    assert isinstance(change, CreateTable)
    return [Described(column.name, column.type, column.nullable) for column in change.table.columns]


def _array(values: list[Any], column: Described) -> pa.Array[Any]:
    kind = column.type
    assert kind is not None
    if not column.nullable and None in values:
        raise ValueError("NULL in a column that is NOT NULL")
    if kind.is_number:
        return pa.array([None if v is None else encode_number(_number(v)) for v in values], pa.binary())
    if kind.is_text:
        return pa.array([_text(v, kind) for v in values], pa.string())
    if kind.is_datetime:
        return pa.array([_moment(v) for v in values], pa.timestamp("us"))
    plain: pa.Array[Any] = pa.array(values)
    return plain


def _number(value: Any) -> Decimal | int:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise TypeError(f"{value!r} is neither int nor Decimal")
    return value


def _text(value: Any, kind: OracleType) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    length = len(value) if kind.in_chars else len(value.encode())
    if length > kind.length:
        raise ValueError(f"{value!r} is longer than {kind.declaration()}")
    return value + " " * (kind.length - length) if kind.name == "CHAR" else value


def _moment(value: Any) -> datetime.datetime | None:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - DATE has no time zone
    if value is None or isinstance(value, datetime.datetime):
        return value
    raise TypeError(f"{value!r} is no moment")
