"""Oracle's column types: how they are declared, described to a client, and kept in DuckDB."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import OracleError, unsupported

MOST_PRECISION = 38
_NO_PRECISION_SCALE = -127  # what a describe says for NUMBER without precision
_WIRE = {"VARCHAR2": 1, "NUMBER": 2, "DATE": 12, "CHAR": 96, "TIMESTAMP": 180}
_LONGEST = {"VARCHAR2": 4000, "CHAR": 2000}
_UTF8_BYTES = 4


@dataclass(frozen=True)
class OracleType:
    """A type as a dictionary view shows it.

    `precision` and `scale` belong to NUMBER (both None: undeclared) and `scale` to TIMESTAMP (digits of a second);
    `length` and `in_chars` belong to VARCHAR2 and CHAR.
    """

    name: str
    precision: int | None = None
    scale: int | None = None
    length: int = 0
    in_chars: bool = False

    @property
    def is_number(self) -> bool:
        """NUMBER, declared or not."""
        return self.name == "NUMBER"

    @property
    def is_text(self) -> bool:
        """VARCHAR2 or CHAR."""
        return self.name in ("VARCHAR2", "CHAR")

    @property
    def is_datetime(self) -> bool:
        """DATE or TIMESTAMP."""
        return self.name in ("DATE", "TIMESTAMP")

    @property
    def wire_code(self) -> int:
        """The number of the type in describes and binds."""
        return _WIRE[self.name]

    @property
    def size(self) -> int:
        """The buffer size a describe names, and DATA_LENGTH in the dictionary: bytes."""
        if self.is_text:
            return min(self.length * _UTF8_BYTES, _LONGEST[self.name]) if self.in_chars else self.length
        return {"NUMBER": 22, "DATE": 7, "TIMESTAMP": 11}[self.name]

    @property
    def described_scale(self) -> int:
        """The scale byte of a describe."""
        if self.is_number and self.precision is None and self.scale is None:
            return _NO_PRECISION_SCALE
        return self.scale or 0

    @property
    def decimal(self) -> tuple[int, int] | None:
        """Width and scale of the DuckDB DECIMAL that holds this NUMBER; None if it is held as NUMBER bytes."""
        if self.precision is None or self.scale is None:
            return None
        width, scale = max(self.precision, self.scale, self.precision - self.scale), max(self.scale, 0)
        return (width, scale) if width <= MOST_PRECISION else None

    @property
    def storage(self) -> str:
        """The DuckDB type of a column of this type."""
        if self.is_number:
            return "DECIMAL({}, {})".format(*self.decimal) if self.decimal else "BLOB"
        return "VARCHAR" if self.is_text else "TIMESTAMP"

    def declaration(self) -> str:
        """The type as it is written in DDL and messages."""
        if self.is_text:
            return f"{self.name}({self.length} {'CHAR' if self.in_chars else 'BYTE'})"
        if self.is_number and self.precision is not None:
            return f"NUMBER({self.precision},{self.scale})"
        return f"TIMESTAMP({self.scale})" if self.name == "TIMESTAMP" else self.name


NUMBER = OracleType("NUMBER")
COUNT = OracleType("NUMBER", 0, 0)
DATE = OracleType("DATE")
TIMESTAMP = OracleType("TIMESTAMP", scale=6)


def text_type(length: int, *, fixed: bool = False, in_chars: bool = False) -> OracleType:
    """Return VARCHAR2 (or CHAR) of `length`, cut to the longest there is."""
    name = "CHAR" if fixed else "VARCHAR2"
    return OracleType(name, length=min(max(length, 0), _LONGEST[name]), in_chars=in_chars)


def declared(name: str, arguments: list[str], unit: str | None) -> OracleType:
    """Return the type a column declaration names; `arguments` are the numbers in its brackets, `unit` BYTE or CHAR."""
    numbers = [None if argument == "*" else int(argument) for argument in arguments]
    if name in ("VARCHAR2", "VARCHAR", "CHAR"):
        return _declared_text("CHAR" if name == "CHAR" else "VARCHAR2", numbers, unit)
    if name in ("NUMBER", "DECIMAL", "NUMERIC"):
        return _declared_number(numbers, bare_is_integer=name != "NUMBER")
    if name in ("INT", "INTEGER", "SMALLINT") and not numbers:
        return OracleType("NUMBER", MOST_PRECISION, 0)
    if name == "DATE" and not numbers:
        return DATE
    if name == "TIMESTAMP":
        digits = numbers[0] if numbers else 6
        if digits is None or not 0 <= digits <= 9:
            raise OracleError(30088, "datetime/interval precision is out of range")
        return OracleType("TIMESTAMP", scale=digits)
    raise unsupported(f"column type {name}")


def _declared_text(name: str, numbers: list[int | None], unit: str | None) -> OracleType:
    if not numbers and name == "VARCHAR2":
        raise OracleError(906, "missing left parenthesis")
    length = numbers[0] if numbers else 1
    if length is None or length < 1:
        raise OracleError(1723, "zero-length columns are not allowed")
    if length > _LONGEST[name]:
        raise OracleError(910, "specified length too long for its datatype")
    return OracleType(name, length=length, in_chars=unit == "CHAR")


def _declared_number(numbers: list[int | None], *, bare_is_integer: bool) -> OracleType:
    if not numbers:
        return OracleType("NUMBER", MOST_PRECISION, 0) if bare_is_integer else NUMBER
    precision = MOST_PRECISION if numbers[0] is None else numbers[0]
    scale = (numbers[1] or 0) if len(numbers) > 1 else 0
    if not 1 <= precision <= MOST_PRECISION:
        raise OracleError(1727, "numeric precision specifier is out of range (1 to 38)")
    if not -84 <= scale <= 127:
        raise OracleError(1728, "numeric scale specifier is out of range (-84 to 127)")
    return OracleType("NUMBER", precision, scale)
