"""Oracle's column encodings, one value at a time and whole columns at once.

NUMBER is kept in Oracle's own base-100 form wherever its precision is not declared: the form is exact, and comparing the
bytes compares the numbers (Oracle Database Concepts, "Numeric Data Types"; python-oracledb source, impl/base/decoders.pyx).
Columns are Arrow arrays: `binary` for encoded values, `decimal128`, `timestamp[us]` and `string` for plain ones.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .errors import OracleError, unsupported
from .types import EPOCH_SECONDS, NANOS, ZONE_MIDDLE, ZONE_STEP
from .wire import clr, ub

MOST_DIGITS = 20  # base-100 digits
_ZERO = 0x80
_NEGATIVE_END = 102
_BIGGEST_EXPONENT, _SMALLEST_EXPONENT = 63, -64
_LIMB = 10**8
_FAST_DIGITS = 18  # decimal digits that fit a signed 64-bit integer
_PLAIN = Context(prec=100)
_MICROSECOND = 1000
_ZONE_HOUR, _ZONE_MINUTE = 20, 60  # what is added to the two bytes of an offset
_REGION = 0x80  # set in the first of them if they name a region
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


# --- one NUMBER ------------------------------------------------------------------------------------------------------


def encode_number(value: Decimal | int) -> bytes:
    """Return Oracle's bytes for `value`, rounded half up to 20 base-100 digits as Oracle does.

    ORA-01426 if it is too large; a value too small to be held is zero.
    """
    number = Decimal(value)
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise OracleError(1426, "numeric overflow")
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return bytes((_ZERO,))
    if exponent % 2:
        text, exponent = text + "0", exponent - 1
    if len(text) % 2:
        text = "0" + text
    pairs = [int(text[i : i + 2]) for i in range(0, len(text), 2)]
    power = len(pairs) + exponent // 2  # base-100 digits left of the point
    pairs, power = _rounded(pairs, power)
    while pairs and pairs[-1] == 0:
        pairs.pop()
    if power > _BIGGEST_EXPONENT:
        raise OracleError(1426, "numeric overflow")
    if power < _SMALLEST_EXPONENT:
        return bytes((_ZERO,))
    if sign:
        end = [_NEGATIVE_END] if len(pairs) < MOST_DIGITS else []
        return bytes([63 - power, *(101 - pair for pair in pairs), *end])
    return bytes([192 + power, *(pair + 1 for pair in pairs)])


def _rounded(pairs: list[int], power: int) -> tuple[list[int], int]:
    """Round half up to the digits NUMBER can hold; a carry may move the point."""
    if len(pairs) <= MOST_DIGITS:
        return pairs, power
    kept, up = pairs[:MOST_DIGITS], pairs[MOST_DIGITS] >= 50
    at = MOST_DIGITS - 1
    while up and at >= 0:
        kept[at] += 1
        up = kept[at] == 100
        if up:
            kept[at] = 0
        at -= 1
    return ([1, *kept[:-1]], power + 1) if up else (kept, power)


def decode_number(encoded: bytes) -> Decimal:
    """Return the exact value of Oracle's bytes."""
    first = encoded[0]
    if len(encoded) == 1:
        if first != _ZERO:
            raise unsupported("infinite numbers")
        return Decimal(0)
    if first >= _ZERO:  # 1E-130 to 9.99E-130 begin as zero does
        power, pairs = first - 192, [byte - 1 for byte in encoded[1:]]
    else:
        body = encoded[1:-1] if encoded[-1] == _NEGATIVE_END else encoded[1:]
        power, pairs = 63 - first, [101 - byte for byte in body]
    if not pairs or any(not 0 <= pair <= 99 for pair in pairs):
        raise OracleError(1722, "invalid number")
    digits = int("".join(f"{pair:02d}" for pair in pairs))
    return Decimal(-digits if first < _ZERO else digits).scaleb(2 * (power - len(pairs)), _PLAIN)


def number_text(value: Decimal) -> str:
    """Return what TO_CHAR(number) gives without a format: no zero before the point, none at the end.

    Oracle switches to an exponent where 40 characters do not hold the number; those are refused.
    """
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if digits.startswith("0.") and len(digits) > 2:
        digits = digits[1:]
    if not digits.strip("0."):
        return "0"
    if len(digits) > 40:
        raise unsupported("text of a number that needs more than 40 characters")
    return sign + digits


def parse_number(text: str) -> Decimal:
    """Return the number a text stands for, as TO_NUMBER without a format does; ORA-01722 if it is none."""
    trimmed = text.strip(" ")
    if not trimmed.isascii() or "_" in trimmed or trimmed.lower().lstrip("+-")[:1] in ("n", "i", "s", ""):
        raise OracleError(1722, "invalid number")
    try:
        return Decimal(trimmed)
    except ArithmeticError:
        raise OracleError(1722, "invalid number") from None


# --- columns of NUMBER -----------------------------------------------------------------------------------------------


def binary_array(
    flat: Bytes, lengths: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None
) -> pa.Array[Any]:
    """Build a `binary` array from the bytes of all its values and the length of each."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    mask = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    buffers = [mask, pa.py_buffer(offsets.data), pa.py_buffer(np.ascontiguousarray(flat).data)]
    return pa.Array.from_buffers(pa.binary(), len(lengths), buffers)


def raw_buffer(array: pa.Array[Any], number: int) -> memoryview[int]:
    """Return one of the buffers an array is made of; empty if it has none."""
    buffer = array.buffers()[number]
    return memoryview(b"") if buffer is None else memoryview(buffer)


def valid_mask(array: pa.Array[Any]) -> npt.NDArray[np.bool_]:
    """Return which values of `array` are not NULL."""
    if not array.null_count:
        return np.ones(len(array), dtype=np.bool_)
    return np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), dtype=np.bool_)


def numbers_from_decimals(array: pa.Array[Any]) -> pa.Array[Any]:
    """Encode a decimal128 or integer array as NUMBER bytes."""
    if pa.types.is_integer(array.type):
        array = array.cast(pa.decimal128(20, 0))
    valid = valid_mask(array)
    if not len(array):
        return pa.array([], pa.binary())
    words = np.frombuffer(raw_buffer(array, 1), dtype=np.uint64)
    words = words.reshape(-1, 2)[array.offset : array.offset + len(array)]
    negative = (words[:, 1] >> np.uint64(63)).astype(bool) & valid
    low, high = words[:, 0].copy(), words[:, 1].copy()
    low[~valid], high[~valid] = 0, 0
    low[negative] = ~low[negative] + np.uint64(1)
    high[negative] = ~high[negative] + (low[negative] == 0)
    limbs = _limbs(low, high)
    scale = array.type.scale
    if scale % 2:
        limbs = _times_ten(limbs)
        scale += 1
    flat, lengths = _pack(_pairs(limbs), negative, scale // 2, valid)
    return binary_array(flat, lengths, valid)


def _limbs(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> list[npt.NDArray[np.uint64]]:
    """Cut unsigned 128-bit integers into base-10^8 limbs, the lowest first, as many as the largest value needs."""
    mask, shift, base = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(_LIMB)
    limbs: list[npt.NDArray[np.uint64]] = []
    if not high.any():
        while low.any() or not limbs:
            low, rest = np.divmod(low, base)
            limbs.append(rest)
        return limbs
    words = [high >> shift, high & mask, low >> shift, low & mask]
    while any(word.any() for word in words):
        rest = np.zeros_like(low)
        for i, word in enumerate(words):
            words[i], rest = np.divmod((rest << shift) | word, base)
        limbs.append(rest)
    return limbs


def _times_ten(limbs: list[npt.NDArray[np.uint64]]) -> list[npt.NDArray[np.uint64]]:
    carry = np.zeros_like(limbs[0])
    out = []
    for limb in limbs:
        carry, rest = np.divmod(limb * np.uint64(10) + carry, np.uint64(_LIMB))
        out.append(rest)
    if carry.any():
        out.append(carry)
    return out


def _pairs(limbs: list[npt.NDArray[np.uint64]]) -> Bytes:
    """Return the base-100 digits of the limbs, one row a value, the highest digit first."""
    out = np.empty((len(limbs[0]), 4 * len(limbs)), dtype=np.uint8)
    for i, limb in enumerate(reversed(limbs)):
        upper, lower = np.divmod(limb.astype(np.uint32), np.uint32(10000))
        for j, half in ((0, upper), (2, lower)):
            tens, ones = np.divmod(half.astype(np.uint16), np.uint16(100))
            out[:, 4 * i + j] = tens
            out[:, 4 * i + j + 1] = ones
    return out


def _pack(
    pairs: Bytes, negative: npt.NDArray[np.bool_], fraction: int, valid: npt.NDArray[np.bool_]
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Turn base-100 digits into NUMBER bytes; the last `fraction` digits of a row stand right of the point."""
    count, width = pairs.shape
    nonzero = pairs != 0
    some = nonzero.any(axis=1)
    first = nonzero.argmax(axis=1)
    last = width - 1 - nonzero[:, ::-1].argmax(axis=1)
    power = width - fraction - first
    cells = np.empty((count, width + 2), dtype=np.uint8)
    cells[:, 0] = np.where(some, np.where(negative, 63 - power, 192 + power), _ZERO)
    cells[:, 1:-1] = np.where(negative[:, None], 101 - pairs, pairs + 1)
    cells[:, -1] = _NEGATIVE_END
    used = np.empty((count, width + 2), dtype=np.bool_)
    used[:, 0] = valid
    place = np.arange(width)
    used[:, 1:-1] = (place >= first[:, None]) & (place <= last[:, None]) & some[:, None]
    used[:, -1] = negative & some & (last - first + 1 < MOST_DIGITS)
    return cells[used], used.sum(axis=1)


def split_number(array: pa.Array[Any], scale: int) -> pa.Array[Any]:
    """Decode NUMBER bytes into decimal128(38, scale), cutting off what is smaller."""
    return decimals_from_numbers(array, scale, rounding=ROUND_DOWN)


def decimals_from_numbers(array: pa.Array[Any], scale: int, rounding: str = ROUND_HALF_UP) -> pa.Array[Any]:
    """Decode NUMBER bytes into decimal128(38, scale), rounding half up (away from zero) unless told to cut.

    ORA-01426 if a value has more than 38 digits at that scale.
    """
    valid = valid_mask(array)
    if not valid.any():
        return pa.nulls(len(array), pa.decimal128(38, scale))
    fast = _fast_integers(array, valid, scale, rounding)
    if fast is not None:
        return decimal_array(fast, scale, valid)
    whole = []
    for encoded in array.to_pylist():
        value = 0 if encoded is None else _unscaled(decode_number(encoded), scale, rounding)
        if abs(value) >= 10**38:
            raise OracleError(1426, "numeric overflow")
        whole.append(value.to_bytes(16, "little", signed=True))
    return _decimal_buffers(b"".join(whole), scale, valid)


def _unscaled(value: Decimal, scale: int, rounding: str) -> int:
    return int(value.scaleb(scale, _PLAIN).to_integral_value(rounding))


def _fast_integers(
    array: pa.Array[Any], valid: npt.NDArray[np.bool_], scale: int, rounding: str
) -> Integers | None:
    """Return the unscaled values as 64-bit integers, or None if some value might not fit."""
    offsets = np.frombuffer(raw_buffer(array, 1), dtype=np.int32)[
        array.offset : array.offset + len(array) + 1
    ]
    data = np.frombuffer(raw_buffer(array, 2) or b"\0", dtype=np.uint8)
    lengths = np.where(valid, offsets[1:] - offsets[:-1], 0)
    width = int(lengths.max())
    place = np.arange(width)
    cells = data[np.minimum(offsets[:-1, None] + place, len(data) - 1)]
    zero = ~valid | (cells[:, 0] == _ZERO)
    positive = cells[:, 0] > _ZERO
    digits = np.where(
        positive[:, None], cells[:, 1:].astype(np.int64) - 1, 101 - cells[:, 1:].astype(np.int64)
    )
    used = (place[1:] < lengths[:, None]) & (cells[:, 1:] != _NEGATIVE_END) | positive[:, None]
    used &= (place[1:] < lengths[:, None]) & ~zero[:, None]
    if ((digits < 0) | (digits > 99))[used].any():
        raise OracleError(1722, "invalid number")
    first = cells[:, 0].astype(np.int64)
    power = np.where(zero, 0, np.where(positive, first - 192, 63 - first))
    fraction = max(int((used.sum(axis=1) - power)[~zero].max(initial=0)), 0)
    whole = max(int(power.max()), 0)
    if 2 * (whole + fraction) > _FAST_DIGITS or 2 * whole + scale > _FAST_DIGITS:
        return None
    exponents = fraction + power[:, None] - place[1:]
    terms = np.where(used, digits, 0) * 100 ** np.clip(exponents, 0, None)
    total: Integers = terms.sum(axis=1)
    extra = 2 * fraction - scale
    if extra > 0:
        total = (total + (10**extra // 2 if rounding == ROUND_HALF_UP else 0)) // 10**extra
    elif extra < 0:
        total = total * 10**-extra
    return np.where(positive, total, -total)


def decimal_array(unscaled: Integers, scale: int, valid: npt.NDArray[np.bool_]) -> pa.Array[Any]:
    """Build decimal128(38, scale) from 64-bit unscaled values."""
    words = np.empty((len(unscaled), 2), dtype=np.int64)
    words[:, 0] = unscaled
    words[:, 1] = unscaled >> 63
    return _decimal_buffers(words.tobytes(), scale, valid)


def _decimal_buffers(raw: bytes, scale: int, valid: npt.NDArray[np.bool_]) -> pa.Array[Any]:
    mask = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.decimal128(38, scale), len(valid), [mask, pa.py_buffer(raw)])


# --- DATE and TIMESTAMP ----------------------------------------------------------------------------------------------


def datetimes_from_arrow(array: pa.Array[Any], *, fraction: bool) -> pa.Array[Any]:
    """Encode timestamp[us] as DATE bytes, or with `fraction` as TIMESTAMP bytes (11 where there is a fraction)."""
    valid = valid_mask(array)
    micros = np.asarray(array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    seconds, rest = np.divmod(micros, 1_000_000)
    return _datetime_bytes(seconds, rest * _MICROSECOND * fraction, valid)


def _datetime_bytes(
    seconds: Integers, nanos: Integers, valid: npt.NDArray[np.bool_], offsets: Integers | None = None
) -> pa.Array[Any]:
    """Encode seconds since 1970 and nanoseconds; with `offsets` (minutes) as the 13 bytes of a time zone."""
    if (valid & ((seconds < _FIRST_SECOND) | (seconds > _LAST_SECOND))).any():
        raise OracleError(1841, "(full) year must be between -4713 and +9999, and not be 0")
    moments = seconds.astype("M8[s]")
    days = moments.astype("M8[D]")
    months = days.astype("M8[M]")
    years = months.astype("M8[Y]")
    year = years.astype(np.int64) + 1970
    clock = (moments - days).astype(np.int64)
    cells = np.empty((len(seconds), 13), dtype=np.uint8)
    cells[:, 0] = year // 100 + 100
    cells[:, 1] = year % 100 + 100
    cells[:, 2] = (months - years).astype(np.int64) + 1
    cells[:, 3] = (days - months).astype(np.int64) + 1
    cells[:, 4] = clock // 3600 + 1
    cells[:, 5] = clock // 60 % 60 + 1
    cells[:, 6] = clock % 60 + 1
    cells[:, 7:11] = nanos.astype(">u4").view(np.uint8).reshape(-1, 4)
    used = np.repeat(valid[:, None], 13, axis=1)
    if offsets is None:
        used[:, 7:] &= (nanos != 0)[:, None]
        used[:, 11:] = False
    else:
        hours = np.trunc(offsets / 60).astype(np.int64)
        cells[:, 11] = hours + _ZONE_HOUR
        cells[:, 12] = offsets - hours * 60 + _ZONE_MINUTE
    return binary_array(cells[used], used.sum(axis=1), valid)


def datetimes_from_nanos(array: pa.Array[Any], *, zoned: bool) -> pa.Array[Any]:
    """Encode nanoseconds since the year 0 (see `moments`), which DuckDB hands over as decimal128(38, 0)."""
    valid = valid_mask(array)
    if not len(array):
        return pa.array([], pa.binary())
    words = np.frombuffer(raw_buffer(array, 1), dtype=np.uint64)
    words = words.reshape(-1, 2)[array.offset : array.offset + len(array)]
    low, high = np.where(valid, words[:, 0], 0), np.where(valid, words[:, 1], 0)
    offsets = None
    if zoned:
        offsets = (low & np.uint64(ZONE_STEP - 1)).astype(np.int64) - ZONE_MIDDLE
        offsets = np.where(valid, offsets, 0)
        low = (low >> np.uint64(12)) | (high << np.uint64(52))
        high = high >> np.uint64(12)
    giga = np.uint64(NANOS)
    wrap_seconds, wrap_nanos = (np.uint64(part) for part in divmod(1 << 64, NANOS))
    seconds, nanos = np.divmod(low, giga)
    nanos = nanos + high * wrap_nanos
    seconds = seconds + high * wrap_seconds + nanos // giga
    unix = seconds.astype(np.int64) - EPOCH_SECONDS
    return _datetime_bytes(np.where(valid, unix, 0), (nanos % giga).astype(np.int64), valid, offsets)


def _datetime_parts(
    values: list[bytes | None], width: int
) -> tuple[npt.NDArray[Any], Integers, Integers, npt.NDArray[np.bool_]]:
    """Return the bytes, the seconds since 1970, the nanoseconds and the validity of datetime bytes."""
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    default = b"\x77\xc6\x01\x01\x01\x01\x01\0\0\0\0" + bytes((_ZONE_HOUR, _ZONE_MINUTE))
    whole = b"".join(default[:width] if v is None else v[:width].ljust(width, b"\0") for v in values)
    cells = np.frombuffer(whole, dtype=np.uint8).reshape(-1, width).astype(np.int64)
    year = (cells[:, 0] - 100) * 100 + cells[:, 1] - 100
    if (year < 1).any():
        raise unsupported("a date before the year 1")
    months = (year - 1970) * 12 + cells[:, 2] - 1
    days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + cells[:, 3] - 1
    seconds = days * 86400 + (cells[:, 4] - 1) * 3600 + (cells[:, 5] - 1) * 60 + cells[:, 6] - 1
    nanos = np.frombuffer(cells[:, 7:11].astype(np.uint8).tobytes(), dtype=">u4").astype(np.int64)
    return cells, seconds, nanos, valid


def arrow_from_datetimes(values: list[bytes | None]) -> pa.Array[Any]:
    """Decode DATE or TIMESTAMP bytes into timestamp[us]; nanoseconds below that are refused."""
    _, seconds, nanos, valid = _datetime_parts(values, 11)
    if (nanos % _MICROSECOND).any():
        raise unsupported("fractions of a second beyond microseconds")
    micros = seconds * 1_000_000 + nanos // _MICROSECOND
    return pa.array(micros, pa.int64(), mask=~valid).cast(pa.timestamp("us"))


def nanos_from_datetimes(values: list[bytes | None], *, zoned: bool) -> pa.Array[Any]:
    """Decode TIMESTAMP bytes into nanoseconds since the year 0 as decimal128(38, 0); `zoned` as `moments` keeps those."""
    cells, seconds, nanos, valid = _datetime_parts(values, 13 if zoned else 11)
    if zoned and (cells[:, 11] & _REGION).any():
        raise unsupported("time zone regions (only offsets such as +07:00)")
    upper, lower = np.divmod((seconds + EPOCH_SECONDS).astype(np.uint64), np.uint64(1 << 20))
    scaled = upper * np.uint64(NANOS)  # of 2**20 nanoseconds each
    low = scaled << np.uint64(20)
    rest = lower * np.uint64(NANOS) + nanos.astype(np.uint64)
    high = (scaled >> np.uint64(44)) + (low > ~rest)
    low = low + rest
    if zoned:
        minutes = (cells[:, 11] - _ZONE_HOUR) * 60 + cells[:, 12] - _ZONE_MINUTE + ZONE_MIDDLE
        high = (high << np.uint64(12)) | (low >> np.uint64(52))
        low = (low << np.uint64(12)) | minutes.astype(np.uint64)
    words = np.stack([low, high], axis=1)
    return _decimal_buffers(words.tobytes(), 0, valid)


def moment_number(encoded: bytes, *, zoned: bool) -> int:
    """Return one datetime in the form `moments` keeps, as a whole number."""
    return int(nanos_from_datetimes([encoded], zoned=zoned)[0].as_py())


def decode_datetime(encoded: bytes) -> datetime.datetime:
    """Return the moment DATE or TIMESTAMP bytes stand for (no time zone)."""
    moment = arrow_from_datetimes([encoded])[0].as_py()
    assert isinstance(moment, datetime.datetime)
    return moment


# --- BINARY_FLOAT and BINARY_DOUBLE ----------------------------------------------------------------------------------


def binary_numbers_from_arrow(array: pa.Array[Any], *, double: bool) -> pa.Array[Any]:
    """Encode floats: the bits of IEEE 754, changed so that comparing the bytes compares the numbers.

    There is no negative zero (SQL Language Reference, "Numeric Precedence" and "IEEE754 Conformance").
    """
    valid = valid_mask(array)
    width, kind = (8, "f8") if double else (4, "f4")
    plain: npt.NDArray[Any] = np.array(array.fill_null(0.0).to_numpy(zero_copy_only=False), dtype=kind)
    plain[plain == 0] = 0
    plain[np.isnan(plain)] = np.nan
    bits = plain.view(f"u{width}")
    top = bits.dtype.type(1 << (8 * width - 1))
    encoded = np.where(bits & top, ~bits, bits | top).astype(f">u{width}").view(np.uint8).reshape(-1, width)
    return binary_array(encoded[valid].reshape(-1), np.where(valid, width, 0), valid)


def arrow_from_binary_numbers(values: list[bytes | None], *, double: bool) -> pa.Array[Any]:
    """Decode BINARY_FLOAT or BINARY_DOUBLE bytes."""
    width, kind = (8, pa.float64()) if double else (4, pa.float32())
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    whole = b"".join(b"\x80".ljust(width, b"\0") if value is None else value for value in values)
    bits = np.frombuffer(whole, dtype=f">u{width}").astype(f"u{width}")
    top = bits.dtype.type(1 << (8 * width - 1))
    plain: npt.NDArray[Any] = np.where(bits & top, bits & ~top, ~bits).view(f"f{width}")
    plain[plain == 0] = 0
    return pa.array(plain, kind, mask=~valid, from_pandas=False)


# --- ROWID -----------------------------------------------------------------------------------------------------------

# A row's address is one number: 23 bits for the table, 10 for the file, 22 for the block and 8 for the place in it.
_ROWID_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ROWID_PARTS = ((40, 23, 6), (30, 10, 3), (8, 22, 6), (0, 8, 3))  # shift, bits, letters


def rowid_text(number: int) -> str:
    """Return the 18 characters of an extended ROWID: OOOOOOFFFBBBBBBRRR (SQL Language Reference, "ROWID Data Type")."""
    out = []
    for shift, bits, letters in _ROWID_PARTS:
        part = number >> shift & ((1 << bits) - 1)
        out += [_ROWID_DIGITS[part >> 6 * place & 63] for place in reversed(range(letters))]
    return "".join(out)


def parse_rowid(text: str) -> int:
    """Return the number of a ROWID; ORA-01410 if it is none."""
    trimmed, number, at = text.rstrip(" "), 0, 0
    if len(trimmed) != 18 or any(letter not in _ROWID_DIGITS for letter in trimmed):
        raise OracleError(1410, "invalid ROWID")
    for shift, bits, letters in _ROWID_PARTS:
        part = 0
        for letter in trimmed[at : at + letters]:
            part = part << 6 | _ROWID_DIGITS.index(letter)
        at += letters
        if part >> bits:
            return -1  # well formed, but no row of this server has it
        number |= part << shift
    return number


def framed_rowids(array: pa.Array[Any]) -> list[bytes]:
    """Return ROWIDs as rows carry them: table, file, block and place, with no length in front."""
    return [b"\0" if number is None else _framed_rowid(number) for number in array.to_pylist()]


def _framed_rowid(number: int) -> bytes:
    table, file, block, place = (number >> shift & ((1 << bits) - 1) for shift, bits, _ in _ROWID_PARTS)
    return b"\x0e" + ub(table) + ub(file) + b"\0" + ub(block) + ub(place)


# --- LOBs as LONG ----------------------------------------------------------------------------------------------------

_NULL_LONG = b"\0" + b"\x81\x01" + ub(1405)  # no bytes, indicator -1, ORA-01405: fetched column value is NULL
_LONG_END = b"\0\0"  # indicator and return code


def framed_longs(array: pa.Array[Any], *, utf16: bool) -> list[bytes]:
    """Return LOBs as rows carry LONG and LONG RAW: in chunks, with an indicator and a return code behind."""
    values = (None if value is None else _plain_bytes(value, utf16=utf16) for value in array.to_pylist())
    return [clr(value) + _LONG_END if value is not None else _NULL_LONG for value in values]


def _plain_bytes(value: str | bytes, *, utf16: bool) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("utf-16-be" if utf16 else "utf-8")


def utf16_from_text(array: pa.Array[Any]) -> pa.Array[Any]:
    """Encode text in the national character set."""
    return pa.array(
        [None if text is None else text.encode("utf-16-be") for text in array.to_pylist()], pa.binary()
    )


# --- rows ------------------------------------------------------------------------------------------------------------

_LONGEST_TEXT = 32767


def _length_prefix(length: int) -> bytes:
    return bytes((length,)) if length <= 252 else b"\xfe" + ub(length)


_PREFIXES = pa.array([_length_prefix(length) for length in range(_LONGEST_TEXT + 1)], pa.binary())
_SUFFIXES = pa.array([b"" if length <= 252 else b"\0" for length in range(_LONGEST_TEXT + 1)], pa.binary())


@dataclass(frozen=True)
class Framed:
    """A column of values that need no length in front."""

    values: list[bytes]


def rows_from_columns(
    columns: list[Any],
    count: int,
    lead: int | pa.Array[Any],
    left_out: Sequence[npt.NDArray[np.bool_] | None] = (),
) -> pa.Array[Any]:
    """Join encoded columns into one `binary` value a row: `lead`, then each value with its length in front.

    `lead` is a byte, or an array of what each row begins with; `left_out` tells, for each column, which values are not
    there at all, not even as NULL (None: all are; framed values always are).
    """
    parts: list[Any] = [pa.scalar(bytes((lead,)), pa.binary()) if isinstance(lead, int) else lead]
    for column, gone in zip_longest(columns, left_out):
        if isinstance(column, Framed):
            parts.append(pa.array(column.values, pa.binary()))
            continue
        lengths = pc.fill_null(pc.binary_length(column), 0)
        longest = pc.max(lengths).as_py() or 0
        present = column
        if longest > _LONGEST_TEXT:
            framed = pa.array([clr(value) for value in column.to_pylist()], pa.binary())
            parts.append(framed if gone is None else _blanked(framed, gone))
            continue
        if gone is not None:  # a NULL length has no prefix, a NULL value is skipped
            present = _blanked(column, gone)
            lengths = _blanked(lengths, gone)
        parts += (_PREFIXES.take(lengths), present)
        if longest > 252:
            parts.append(_SUFFIXES.take(lengths))
    if not columns:
        return pa.nulls(count, pa.binary()).fill_null(bytes((lead,))) if isinstance(lead, int) else lead
    joined: pa.Array[Any] = pc.binary_join_element_wise(*parts, b"", null_handling="skip")
    return joined


def _blanked(array: pa.Array[Any], gone: npt.NDArray[np.bool_]) -> pa.Array[Any]:
    """Return `array` with NULL where `gone` says so, its values shared."""
    kept = valid_mask(array) & ~gone
    bits = np.packbits(np.concatenate((np.zeros(array.offset, dtype=np.bool_), kept)), bitorder="little")
    buffers = [pa.py_buffer(bits.tobytes()), *array.buffers()[1:]]
    return pa.Array.from_buffers(array.type, len(array), buffers, offset=array.offset)
