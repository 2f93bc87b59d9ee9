"""Oracle's column types: how they are declared, described to a client, and kept in DuckDB."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import OracleError, unsupported

MOST_PRECISION = 38
MOST_BINARY_PRECISION = 126  # of FLOAT, in bits
LONGEST_BIND = 4000  # bytes that a text is held in without being a LOB (MAX_STRING_SIZE = STANDARD)
_NO_PRECISION_SCALE = -127  # what a describe says for NUMBER without precision
ZONED, LOCAL = "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH LOCAL TIME ZONE"
NANOS = 10**9  # in a second; how datetimes are kept in nanoseconds is told in `moments`
EPOCH_SECONDS = 62_167_219_200  # from the year 0 to 1970
ZONE_STEP, ZONE_MIDDLE = 4096, 2048
_WIRE = {
    "VARCHAR2": 1, "NVARCHAR2": 1, "NUMBER": 2, "FLOAT": 2, "ROWID": 11, "DATE": 12, "RAW": 23, "CHAR": 96, "NCHAR": 96,
    "BINARY_FLOAT": 100, "BINARY_DOUBLE": 101, "CLOB": 112, "NCLOB": 112, "BLOB": 113, "TIMESTAMP": 180, ZONED: 181,
    LOCAL: 231,
}  # fmt: skip
LONG, LONG_RAW = 8, 24  # what LOBs are fetched as
_LONGEST = {"VARCHAR2": 4000, "CHAR": 2000, "NVARCHAR2": 2000, "NCHAR": 1000, "RAW": 2000}
_SIZES = {
    "NUMBER": 22, "FLOAT": 22, "BINARY_FLOAT": 4, "BINARY_DOUBLE": 8, "DATE": 7, "TIMESTAMP": 11, ZONED: 13, LOCAL: 11,
    "ROWID": 18, "CLOB": 4000, "NCLOB": 4000, "BLOB": 4000,
}  # fmt: skip
_UTF8_BYTES, _UTF16_BYTES = 4, 2
_DATABASE_FORM, _NATIONAL_FORM = 1, 2
_MOST_MICROSECOND_DIGITS = 6


@dataclass(frozen=True)
class OracleType:
    """A type as a dictionary view shows it.

    `precision` and `scale` belong to NUMBER (both None: undeclared; a scale alone: 38 digits, as INTEGER and NUMBER(*,s)
    are), `precision` to FLOAT (bits) and `scale` to timestamps (digits of a second); `length` and `in_chars` belong to
    texts (national ones are always counted in UTF-16 units) and `length` to RAW.
    """

    name: str
    precision: int | None = None
    scale: int | None = None
    length: int = 0
    in_chars: bool = False

    @property
    def is_number(self) -> bool:
        """NUMBER, declared or not, or FLOAT."""
        return self.name in ("NUMBER", "FLOAT")

    @property
    def is_binary_number(self) -> bool:
        """BINARY_FLOAT or BINARY_DOUBLE: IEEE 754."""
        return self.name in ("BINARY_FLOAT", "BINARY_DOUBLE")

    @property
    def is_text(self) -> bool:
        """VARCHAR2, CHAR, NVARCHAR2 or NCHAR."""
        return self.name in ("VARCHAR2", "CHAR", "NVARCHAR2", "NCHAR")

    @property
    def is_fixed(self) -> bool:
        """CHAR or NCHAR: padded with blanks."""
        return self.name in ("CHAR", "NCHAR")

    @property
    def is_national(self) -> bool:
        """NVARCHAR2, NCHAR or NCLOB: UTF-16."""
        return self.name in ("NVARCHAR2", "NCHAR", "NCLOB")

    @property
    def is_datetime(self) -> bool:
        """DATE or one of the TIMESTAMP types."""
        return self.name in ("DATE", "TIMESTAMP", ZONED, LOCAL)

    @property
    def is_instant(self) -> bool:
        """A timestamp that knows its time zone: a point in time."""
        return self.name in (ZONED, LOCAL)

    @property
    def is_lob(self) -> bool:
        """CLOB, NCLOB or BLOB."""
        return self.name in ("CLOB", "NCLOB", "BLOB")

    @property
    def in_nanoseconds(self) -> bool:
        """Whether a datetime is kept as a number of nanoseconds and not as DuckDB's TIMESTAMP (see `moments`)."""
        return self.is_instant or (self.name == "TIMESTAMP" and (self.scale or 0) > _MOST_MICROSECOND_DIGITS)

    @property
    def kind(self) -> str:
        """What it can be put together with."""
        if self.is_number:
            return "number"
        if self.is_binary_number:
            return "binary"
        if self.is_text:
            return "text"
        if self.is_datetime:
            return "datetime"
        return "clob" if self.name in ("CLOB", "NCLOB") else self.name.lower()

    @property
    def wire_code(self) -> int:
        """The number of the type in describes and binds."""
        return _WIRE[self.name]

    @property
    def charset_form(self) -> int:
        """1 for the database's character set, 2 for the national one, 0 for none."""
        if not self.is_text and self.kind != "clob":
            return 0
        return _NATIONAL_FORM if self.is_national else _DATABASE_FORM

    @property
    def size(self) -> int:
        """The buffer size a describe names: bytes."""
        if self.is_text and self.is_national:
            return self.length * _UTF16_BYTES
        if self.is_text and self.in_chars:
            return min(self.length * _UTF8_BYTES, _LONGEST[self.name])
        return _SIZES.get(self.name, self.length)

    @property
    def data_length(self) -> int:
        """DATA_LENGTH in the dictionary: bytes (SQL Language Reference, "Data Types")."""
        if self.name in ("TIMESTAMP", LOCAL) and not self.scale:
            return 7
        return 10 if self.name == "ROWID" else self.size

    @property
    def described_precision(self) -> int:
        """The precision byte of a describe."""
        return (MOST_PRECISION if self._is_starred else self.precision) or 0

    @property
    def described_scale(self) -> int:
        """The scale byte of a describe."""
        if self.name == "FLOAT" or (self.is_number and self.precision is None and self.scale is None):
            return _NO_PRECISION_SCALE
        return self.scale or 0

    @property
    def _is_starred(self) -> bool:
        return self.name == "NUMBER" and self.precision is None and self.scale is not None

    @property
    def declared_digits(self) -> tuple[int, int] | None:
        """Precision and scale of a declared NUMBER; None for NUMBER and FLOAT."""
        if self.name != "NUMBER" or self.scale is None:
            return None
        return (MOST_PRECISION if self.precision is None else self.precision, self.scale)

    @property
    def decimal(self) -> tuple[int, int] | None:
        """Width and scale of the DuckDB DECIMAL that holds this NUMBER; None if it is held as NUMBER bytes."""
        if not self.declared_digits:
            return None
        precision, declared_scale = self.declared_digits
        width, scale = max(precision, declared_scale, precision - declared_scale), max(declared_scale, 0)
        return (width, scale) if width <= MOST_PRECISION else None

    @property
    def storage(self) -> str:
        """The DuckDB type of a column of this type."""
        if self.is_number:
            return "DECIMAL({}, {})".format(*self.decimal) if self.decimal else "BLOB"
        if self.is_datetime:
            return "HUGEINT" if self.in_nanoseconds else "TIMESTAMP"
        if self.is_text or self.kind == "clob":
            return "VARCHAR"
        return {"BINARY_FLOAT": "FLOAT", "BINARY_DOUBLE": "DOUBLE", "ROWID": "BIGINT"}.get(self.name, "BLOB")

    @property
    def shown(self) -> str:
        """DATA_TYPE in the dictionary."""
        if self.name.startswith("TIMESTAMP"):
            return self.name.replace("TIMESTAMP", f"TIMESTAMP({self.scale})")
        return self.name

    def declaration(self) -> str:
        """The type as it is written in DDL and messages."""
        if self.is_text:
            unit = "" if self.is_national else " CHAR" if self.in_chars else " BYTE"
            return f"{self.name}({self.length}{unit})"
        if self.declared_digits:
            return "NUMBER({},{})".format(*self.declared_digits)
        return f"{self.name}({self.length})" if self.name == "RAW" else self.shown


NUMBER = OracleType("NUMBER")
COUNT = OracleType("NUMBER", 0, 0)
DATE = OracleType("DATE")
TIMESTAMP = OracleType("TIMESTAMP", scale=6)
BINARY_FLOAT, BINARY_DOUBLE = OracleType("BINARY_FLOAT"), OracleType("BINARY_DOUBLE")
ROWID = OracleType("ROWID")
CLOB, NCLOB, BLOB = OracleType("CLOB"), OracleType("NCLOB"), OracleType("BLOB")


def text_type(
    length: int, *, fixed: bool = False, in_chars: bool = False, national: bool = False
) -> OracleType:
    """Return VARCHAR2 (CHAR if `fixed`, with an N if `national`) of `length`, cut to the longest there is."""
    name = ("N" if national else "") + ("CHAR" if fixed else "VARCHAR2")
    return OracleType(name, length=min(max(length, 0), _LONGEST[name]), in_chars=in_chars or national)


def raw_type(length: int) -> OracleType:
    """Return RAW of `length`, cut to the longest there is."""
    return OracleType("RAW", length=min(max(length, 0), _LONGEST["RAW"]))


def moment_type(name: str, digits: int) -> OracleType:
    """Return a TIMESTAMP type with so many digits of a second."""
    return OracleType(name, scale=digits)


_TEXTS = {
    "VARCHAR2": "VARCHAR2", "VARCHAR": "VARCHAR2", "CHAR": "CHAR", "CHARACTER": "CHAR", "NVARCHAR2": "NVARCHAR2",
    "NCHAR": "NCHAR", "CHAR VARYING": "VARCHAR2", "CHARACTER VARYING": "VARCHAR2", "NCHAR VARYING": "NVARCHAR2",
}  # fmt: skip
_PLAIN = {
    "DATE": DATE, "BINARY_FLOAT": BINARY_FLOAT, "BINARY_DOUBLE": BINARY_DOUBLE, "ROWID": ROWID, "CLOB": CLOB,
    "NCLOB": NCLOB, "BLOB": BLOB, "REAL": OracleType("FLOAT", 63),
    "DOUBLE PRECISION": OracleType("FLOAT", MOST_BINARY_PRECISION),
    **dict.fromkeys(("INT", "INTEGER", "SMALLINT"), OracleType("NUMBER", None, 0)),
}  # fmt: skip


def declared(name: str, arguments: list[str], unit: str | None) -> OracleType:
    """Return the type a column declaration names; `arguments` are the numbers in its brackets, `unit` BYTE or CHAR.

    ANSI names become Oracle's own types (SQL Language Reference, "ANSI, DB2, and SQL/DS Data Types").
    """
    numbers = [None if argument == "*" else int(argument) for argument in arguments]
    if name in _TEXTS:
        return _declared_length(_TEXTS[name], numbers, unit)
    if name == "RAW":
        return _declared_length(name, numbers, unit)
    if name in ("NUMBER", "DECIMAL", "NUMERIC", "DEC"):
        return _declared_number(numbers, bare_is_integer=name != "NUMBER")
    if name == "FLOAT":
        return _declared_float(numbers)
    if name in _PLAIN and not numbers:
        return _PLAIN[name]
    if name in ("TIMESTAMP", ZONED, LOCAL):
        digits = numbers[0] if numbers else 6
        if digits is None or not 0 <= digits <= 9:
            raise OracleError(30088, "datetime/interval precision is out of range")
        return moment_type(name, digits)
    raise unsupported(f"column type {name}")


def _declared_length(name: str, numbers: list[int | None], unit: str | None) -> OracleType:
    if not numbers and name in ("VARCHAR2", "NVARCHAR2", "RAW"):
        raise OracleError(906, "missing left parenthesis")
    length = numbers[0] if numbers else 1
    if length is None or length < 1:
        raise OracleError(1723, "zero-length columns are not allowed")
    if length > _LONGEST[name]:
        raise OracleError(910, "specified length too long for its datatype")
    national = name in ("NVARCHAR2", "NCHAR")
    if unit and (national or name == "RAW"):
        raise OracleError(907, "missing right parenthesis")
    return OracleType(name, length=length, in_chars=national or unit == "CHAR")


def _declared_number(numbers: list[int | None], *, bare_is_integer: bool) -> OracleType:
    if not numbers:
        return OracleType("NUMBER", None, 0) if bare_is_integer else NUMBER
    precision, scale = numbers[0], numbers[1] if len(numbers) > 1 else None
    if precision is None and scale is None:  # NUMBER(*) is NUMBER
        return NUMBER
    if precision is not None and not 1 <= precision <= MOST_PRECISION:
        raise OracleError(1727, "numeric precision specifier is out of range (1 to 38)")
    if not -84 <= (scale or 0) <= 127:
        raise OracleError(1728, "numeric scale specifier is out of range (-84 to 127)")
    return OracleType("NUMBER", precision, scale or 0)


def _declared_float(numbers: list[int | None]) -> OracleType:
    bits = numbers[0] if numbers else None
    bits = MOST_BINARY_PRECISION if bits is None else bits
    if not 1 <= bits <= MOST_BINARY_PRECISION:
        raise OracleError(1729, "floating point precision specifier is out of range (1 to 126)")
    return OracleType("FLOAT", bits)
