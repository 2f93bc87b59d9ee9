"""Whether the bytes that a client binds are values at all; checked once, where they come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .errors import OracleError

_DATETIME_LENGTHS = (7, 11, 13)
_MOST_NANOSECONDS = 999_999_999
_LOWEST = np.array([1, 1, 1, 1, 1, 1])  # year, month, day, hour + 1, minute + 1, second + 1
_HIGHEST = np.array([9999, 12, 31, 24, 60, 60])


def as_utf8(values: list[bytes | None], *, national: bool) -> list[bytes | None]:
    """Return texts as UTF-8; `national` ones come as UTF-16. ORA-29275 if one is not text in its character set."""
    try:
        if national:
            return [None if value is None else value.decode("utf-16-be").encode() for value in values]
        pa.array(values, pa.binary()).cast(pa.string())
    except (UnicodeDecodeError, pa.ArrowInvalid):
        raise OracleError(29275, "partial multibyte character") from None
    return values


def check_datetimes(values: list[bytes | None]) -> None:
    """Raise ORA-01801, as Oracle does for a broken DATE, unless all are days that exist, in the years 1 to 9999."""
    present = [value for value in values if value is not None]
    if any(len(value) not in _DATETIME_LENGTHS for value in present):
        raise _broken_date()
    whole = b"".join(value[:11].ljust(11, b"\0") for value in present)
    cells = np.frombuffer(whole, dtype=np.uint8).reshape(-1, 11).astype(np.int64)
    parts = cells[:, 1:7].copy()
    parts[:, 0] = (cells[:, 0] - 100) * 100 + cells[:, 1] - 100
    nanoseconds = np.frombuffer(cells[:, 7:].astype(np.uint8).tobytes(), dtype=">u4")
    if (parts < _LOWEST).any() or (parts > _HIGHEST).any() or (nanoseconds > _MOST_NANOSECONDS).any():
        raise _broken_date()
    months = ((parts[:, 0] - 1970) * 12 + parts[:, 1] - 1).astype("M8[M]")
    days = (months + 1).astype("M8[D]") - months.astype("M8[D]")
    if (parts[:, 2] > days.astype(np.int64)).any():
        raise _broken_date()


def _broken_date() -> OracleError:
    return OracleError(1801, "date format is too long for internal buffer")
