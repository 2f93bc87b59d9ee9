"""Source columns that are kept at extraction: every value as the driver gave it, found by the number of its row."""

from __future__ import annotations

import datetime as dt
import stat
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from ora2sf.errors import RunFolderError
from ora2sf.kept import SourceFile, SourceRows, source_file

SCHEMA = pa.schema(
    [
        ("T", pa.string()),
        ("WIDE", pa.decimal128(38, 20)),
        ("N", pa.decimal128(38, 10)),
        ("D", pa.timestamp("s")),
        ("P", pa.large_string()),
    ]
)
WIDE = Decimal("123456789012345678.12345678901234567890")


def row(number):
    day = dt.datetime(1700, 1, 1, 23, 59, number)  # noqa: DTZ001 - Oracle's DATE has no zone
    return {"T": f"ก\r\n{number}", "WIDE": WIDE, "N": Decimal(number).scaleb(-10), "D": day, "P": "x  "}


@pytest.fixture
def kept(tmp_path):
    file = SourceFile(tmp_path, "t", SCHEMA, frozenset({"P"}))
    for numbers in (range(1, 4), range(0), range(4, 6)):
        file.add(pa.Table.from_pylist([row(n) for n in numbers], schema=SCHEMA))
    file.finish()
    return tmp_path


def test_rows_are_found_by_their_number_across_the_batches_of_the_driver(kept):
    taken = list(SourceRows(kept, "t").take([1, 3, 5]))
    assert [numbers.to_list() for numbers, _ in taken] == [[1, 3], [5]]
    assert [text for _, rows in taken for text in rows["T"]] == ["ก\r\n1", "ก\r\n3", "ก\r\n5"]
    assert [list(SourceRows(kept, "t").take([]))] == [[]]


def test_types_and_padding_are_those_of_the_source(kept):
    found = SourceRows(kept, "t")
    assert found.padded == {"P"}
    whole = pl.DataFrame(pa.Table.from_pylist([row(2)], schema=SCHEMA).drop_columns(["D"]))
    ((_, rows),) = found.take([2])
    assert rows.drop("D").equals(whole)
    assert found.schema["D"].is_temporal()
    assert rows["D"].to_list() == [row(2)["D"]]


def test_only_the_owner_may_read_them_and_an_unfinished_file_is_none(kept, tmp_path):
    assert stat.S_IMODE(source_file(kept, "t").stat().st_mode) == 0o600
    other = SourceFile(tmp_path, "other", SCHEMA, frozenset())
    other.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["t_source.parquet"]
    with pytest.raises(RunFolderError, match="were not kept"):
        SourceRows(tmp_path, "other")
