"""One typed piece of DuckDB SQL."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .types import OracleType


@dataclass(frozen=True)
class Expr:
    """One expression: DuckDB text and Oracle type (None: the literal NULL).

    `decimal` is (width, scale) of a number held as DECIMAL, None for one held as NUMBER bytes; `constant` is the value
    of a literal; `bind` the place of a bind that stands alone.
    """

    sql: str
    type: OracleType | None
    decimal: tuple[int, int] | None = None
    nullable: bool = True
    constant: Decimal | str | None = None
    bind: int | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a NUMBER or FLOAT."""
        return self.type is not None and self.type.is_number

    @property
    def is_binary_number(self) -> bool:
        """Whether it is BINARY_FLOAT or BINARY_DOUBLE."""
        return self.type is not None and self.type.is_binary_number

    @property
    def is_text(self) -> bool:
        """Whether it is VARCHAR2 or CHAR, national or not."""
        return self.type is not None and self.type.is_text

    @property
    def is_datetime(self) -> bool:
        """Whether it is DATE or a TIMESTAMP of any kind."""
        return self.type is not None and self.type.is_datetime

    @property
    def is_lob(self) -> bool:
        """Whether it is CLOB, NCLOB or BLOB."""
        return self.type is not None and self.type.is_lob

    @property
    def is_national(self) -> bool:
        """Whether it is text in the national character set."""
        return self.type is not None and self.type.is_national

    @property
    def is_padded(self) -> bool:
        """Whether it is CHAR or NCHAR: compared as if padded with blanks to the same length."""
        return self.type is not None and self.type.is_fixed

    @property
    def kind(self) -> str:
        """What it can be put together with."""
        return "null" if self.type is None else self.type.kind

    @property
    def shown(self) -> str:
        """Its type as messages name it."""
        return self.type.shown if self.type else "-"


NULL = Expr("NULL", None)
