"""Batches: full, whole, hashed, the same each time, and never too large."""

import csv
import gzip
import hashlib
import io
import random
import zlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf.batches import (
    BatchWriter,
    PlainText,
    RejectedFile,
    encode,
    plain_size,
    read_batch,
    without_rows,
)
from ora2sf.convert import Rejected
from ora2sf.errors import RunFolderError
from ora2sf.ledger import Batch

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=12)


def frame(rows: list[tuple[str, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"Key__c": pl.String, "V__c": pl.String}, orient="row")


def write(
    folder: Path, rows: pl.DataFrame, batch_size: int, max_bytes: int = 10**8, piece: int = 7
) -> list[Batch]:
    writer = BatchWriter(folder, "t", ("Key__c", "V__c"), "Key__c", batch_size, max_bytes)
    for part in rows.iter_slices(piece):
        writer.add(part)
    return writer.finish()


def numbered(count: int, width: int = 3) -> pl.DataFrame:
    return frame([(f"{n:05d}", "x" * width) for n in range(count)])


def plain(folder: Path, batch: Batch) -> bytes:
    return gzip.decompress((folder / batch.file).read_bytes())


@settings(deadline=None, max_examples=300)
@given(
    rows=st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=3), st.none() | texts), min_size=1, max_size=30
    )
)
def test_staged_text_is_read_by_any_csv_reader_and_written_again_in_the_same_bytes(rows):
    written = encode(frame(rows))
    read = list(csv.reader(io.StringIO(written.decode(), newline=""), strict=True))
    assert read == [[key, value or ""] for key, value in rows]
    again = pl.read_csv(b"Key__c,V__c\n" + written, infer_schema=False)
    assert encode(again) == written


@pytest.mark.parametrize(
    ("count", "size", "wanted"),
    [(0, 5, []), (5, 5, [5]), (6, 5, [5, 1]), (23, 10, [10, 10, 3]), (3, 1, [1, 1, 1])],
)
@pytest.mark.parametrize("piece", [1, 4, 100])
def test_every_batch_but_the_last_is_full_however_the_rows_come(tmp_path, count, size, wanted, piece):
    batches = write(tmp_path, numbered(count), size, piece=piece)
    assert [batch.rows for batch in batches] == wanted
    assert [batch.number for batch in batches] == list(range(1, len(wanted) + 1))
    read = [row for batch in batches for row in read_batch(tmp_path / batch.file).rows()]
    assert read == numbered(count).rows()


def test_a_batch_says_what_is_in_its_file(tmp_path):
    batches = write(tmp_path, numbered(12), 5)
    for batch, (first, last) in zip(
        batches, [("00000", "00004"), ("00005", "00009"), ("00010", "00011")], strict=True
    ):
        text = plain(tmp_path, batch)
        assert text.startswith(b"Key__c,V__c\n")
        assert (batch.bytes, batch.sha256) == (len(text), hashlib.sha256(text).hexdigest())
        assert (batch.first_key, batch.last_key) == (first, last)
        assert plain_size(tmp_path / batch.file) == len(text)


def test_the_same_rows_give_the_same_bytes_however_they_come(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write(tmp_path / "a", numbered(50), 20, piece=3)
    other = write(tmp_path / "b", numbered(50), 20, piece=50)
    assert one == other


def test_only_whole_files_have_the_name_of_a_batch(tmp_path):
    writer = BatchWriter(tmp_path, "t", ("Key__c", "V__c"), "Key__c", 10)
    writer.add(numbered(15))
    assert [path.name for path in tmp_path.glob("*.csv.gz")] == ["t_00001.csv.gz"]
    writer.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t_00001.csv.gz", "t_00002.csv.gz"]


def write_ahead(
    folder: Path, rows: pl.DataFrame, batch_size: int, max_bytes: int = 10**8, piece: int = 20_000
) -> list[Batch]:
    writer = BatchWriter(folder, "t", ("Key__c", "V__c"), "Key__c", batch_size, max_bytes)
    for part, lines in [(part, writer.lines(part)) for part in rows.iter_slices(piece)]:
        writer.add(part, lines)
    return writer.finish()


@pytest.mark.parametrize("batch_size", [40_000, 12_500, 7_777, 300])
@pytest.mark.parametrize("piece", [20_000, 9_001])
def test_lines_that_were_made_ahead_give_the_same_files(tmp_path, batch_size, piece):
    rows = numbered(50_001)
    wanted = write(tmp_path, rows, batch_size, piece=piece)
    assert write_ahead(tmp_path, rows, batch_size, piece=piece) == wanted


@pytest.mark.parametrize("batch_size", [40_000, 300])
def test_a_file_is_one_member_of_gzip_that_any_reader_takes(tmp_path, batch_size):
    (first, *_) = batches = write_ahead(tmp_path, numbered(50_001), batch_size)
    for batch in batches:
        reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
        text = reader.decompress(
            (tmp_path / batch.file).read_bytes()
        )  # compares length and CRC-32 with what the file says
        assert (reader.eof, reader.unused_data, len(text)) == (True, b"", batch.bytes)
        assert hashlib.sha256(text).hexdigest() == batch.sha256
    assert first.rows == batch_size


def test_lines_that_were_made_ahead_keep_to_the_limit_of_bytes(tmp_path):
    rows = numbered(50_001)
    batches = write_ahead(tmp_path, rows, 20_000, max_bytes=123_456)
    assert max(batch.bytes for batch in batches) <= 123_456
    assert pl.concat([read_batch(tmp_path / batch.file) for batch in batches]).equals(rows)


def test_lines_that_were_made_ahead_are_not_made_again(tmp_path, monkeypatch):
    writer = BatchWriter(tmp_path, "t", ("Key__c", "V__c"), "Key__c", 10_000)
    parts = [(part, writer.lines(part)) for part in numbered(30_000).iter_slices(20_000)]
    monkeypatch.delattr("ora2sf.batches.encode")
    for part, lines in parts:
        writer.add(part, lines)
    assert [batch.rows for batch in writer.finish()] == [10_000, 10_000, 10_000]


@settings(deadline=None, max_examples=60)
@given(widths=st.lists(st.integers(0, 300), min_size=1, max_size=60), limit=st.integers(400, 2000))
def test_no_batch_passes_the_limit_of_bytes_and_no_row_is_lost(tmp_path_factory, widths, limit):
    folder = tmp_path_factory.mktemp("batches")
    rows = frame([(f"{n}", "é" * (width // 2)) for n, width in enumerate(widths)])
    batches = write(folder, rows, 1000, max_bytes=limit, piece=1000)
    assert all(batch.bytes <= limit for batch in batches)
    read = [row for batch in batches for row in read_batch(folder / batch.file).rows()]
    assert [key for key, _ in read] == [key for key, _ in rows.rows()]


def test_a_row_that_no_batch_can_hold_is_named(tmp_path):
    writer = BatchWriter(tmp_path, "t", ("Key__c", "V__c"), "Key__c", 10, 300)
    with pytest.raises(RunFolderError, match="The row with key 00000 has 507 bytes"):
        writer.add(numbered(1, width=500))
    writer.abandon()
    assert not list(tmp_path.glob("*.gz"))


def test_a_large_batch_is_written_whole(tmp_path):
    rows = pl.DataFrame({"Key__c": pl.int_range(400_000, eager=True).cast(pl.String), "V__c": "ชิ้น, large"})
    (batch,) = write(tmp_path, rows, 1_000_000, piece=10_000)
    assert batch.rows == 400_000
    assert plain_size(tmp_path / batch.file) == batch.bytes
    assert hashlib.sha256(plain(tmp_path, batch)).hexdigest() == batch.sha256


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.none() | texts, min_size=1, max_size=40),
    drop=st.sets(st.integers(0, 39), max_size=20),
    size=st.integers(1, 12),
)
def test_batches_cut_again_hold_the_other_rows_and_are_full(tmp_path_factory, rows, drop, size):
    folder = tmp_path_factory.mktemp("batches")
    all_rows = [(f"k{n}", text or None) for n, text in enumerate(rows)]
    dropped = sorted(n for n in drop if n < len(rows))
    old = write(folder, frame(all_rows), size)
    writer = BatchWriter(folder, "new", ("Key__c", "V__c"), "Key__c", size)
    found = [row for part in without_rows(folder, old, iter(dropped), writer.add) for row in part.rows()]
    batches = writer.finish()
    assert found == [all_rows[n] for n in dropped]
    kept = [row for n, row in enumerate(all_rows) if n not in dropped]
    assert [row for b in batches for row in read_batch(folder / b.file).rows()] == kept
    assert all(b.rows == size for b in batches[:-1])
    assert not list(folder.glob("t_*"))


# what is sent


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_the_plain_text_of_a_file_is_sent_with_its_length(tmp_path, name, block):
    text = random.Random(1).randbytes(3000)
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    body = PlainText(tmp_path / name)
    sent = b""
    while part := body.read(block):
        sent += part
    body.close()
    assert (len(body), sent) == (3000, text)


def damaged(path: Path) -> None:
    body = PlainText(path, 3000)
    try:
        with pytest.raises(RunFolderError, match="does not hold the 3,000 bytes that were staged"):
            for _ in body:
                pass
    finally:
        body.close()


@pytest.mark.parametrize("length", [2999, 3001, 0])
def test_a_file_of_another_length_is_not_sent_as_whole(tmp_path, length):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x" * length))
    damaged(path)


@pytest.mark.parametrize("change", ["cut", "flip", "garbage"])
def test_a_damaged_file_is_not_sent_as_whole(tmp_path, change):
    path = tmp_path / "a.csv.gz"
    whole = bytearray(gzip.compress(random.Random(1).randbytes(3000)))
    if change == "cut":
        whole = whole[: len(whole) // 2]
    elif change == "flip":
        whole[-5] ^= 0xFF  # in the checksum
    else:
        whole = bytearray(b"this was never gzip" * 10)
    path.write_bytes(whole)
    damaged(path)


# rejected files


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=10))
def test_a_rejected_value_can_be_read_back_whatever_it_holds(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("rejected") / "r.csv"
    file = RejectedFile(path)
    file.add(Rejected(n, f"k{n}", "V__c", "rule", value, "also") for n, value in enumerate(values))
    assert not path.exists()
    file.finish()
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert tuple(header) == RejectedFile.HEADER
    assert rows == [[str(n), f"k{n}", "V__c", "rule", value, "also"] for n, value in enumerate(values)]
    assert file.rows == len(values)


def by_parents(folder: Path, parents: list[str | None], batch_size: int, **limits: int) -> list[list[str]]:
    """Writes one row for each parent given, in pieces; returns the parents of each file."""
    rows = frame([(f"{n:05d}", parent) for n, parent in enumerate(parents)])
    writer = BatchWriter(folder, "t", ("Key__c", "V__c"), "Key__c", batch_size, **limits, parent="V__c")
    for part in rows.iter_slices(3):
        writer.add(part)
    batches = writer.finish()
    read = [read_batch(folder / batch.file) for batch in batches]
    assert pl.concat(read).equals(rows) if parents else not read
    assert [batch.rows for batch in batches] == [one.height for one in read]
    return [one["V__c"].to_list() for one in read]


def test_the_rows_of_one_parent_stay_in_one_file(tmp_path):
    files = by_parents(tmp_path, list("aabbbbccdee"), 5)
    assert files == [list("aa"), list("bbbb"), list("ccdee")]


def test_a_parent_with_more_rows_than_a_file_may_have_is_cut(tmp_path):
    assert by_parents(tmp_path, list("abbbbbbbc"), 3) == [list("a"), list("bbb"), list("bb"), list("bbc")]


def test_rows_without_a_parent_stand_alone(tmp_path):
    files = by_parents(tmp_path, ["a", None, None, None, "b", "b"], 3)
    assert files == [["a", None, None], [None, "b", "b"]]


def test_a_limit_of_bytes_cuts_between_parents_too(tmp_path):
    parents = [f"p{n // 300:03d}" for n in range(3000)]
    files = by_parents(tmp_path, parents, 10_000, max_bytes=10_000)
    assert len(files) > 3
    assert sum(len(set(file)) for file in files) == len(set(parents))


@settings(deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 9), max_size=12),
    batch_size=st.integers(1, 12),
    max_bytes=st.integers(40, 200),
)
def test_no_parent_that_fits_into_a_file_is_cut(sizes, batch_size, max_bytes, tmp_path_factory):
    parents = [f"p{n:02d}" for n, size in enumerate(sizes) for _ in range(size)]
    files = by_parents(tmp_path_factory.mktemp("b"), parents, batch_size, max_bytes=max_bytes)
    assert all(len(file) <= batch_size for file in files)
    for n, size in enumerate(sizes):
        if size <= batch_size and len("Key__c,V__c\n") + size * len("00000,p00\n") <= max_bytes:
            assert sum(f"p{n:02d}" in file for file in files) == 1


def test_a_parent_with_many_rows_goes_whole_into_the_next_file_when_it_has_too_many_bytes_for_this_one(
    tmp_path,
):
    parents = ["a"] * 4_000 + ["b"] * 6_000
    files = by_parents(tmp_path, parents, 10_000, max_bytes=75_000)
    assert [set(file) for file in files] == [{"a"}, {"b"}]
