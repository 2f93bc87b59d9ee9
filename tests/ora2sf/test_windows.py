"""Windows of a table: they never fail on a dirty row, and together they are the table."""

# ruff: noqa: DTZ001 - a DATE of Oracle has no zone

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeoracle import serve
from ora2sf.connections import get_connection
from ora2sf.errors import PastError, SourceError
from ora2sf.oracle import OracleSource
from ora2sf.plan import Choices, Rates, Sampled, planned
from ora2sf.tables import TableConfig, Window
from ora2sf.windows import Portion, bounds_of, count_each, cut, expression, extent, fits, inside_of, spread

PASSWORD = "s3cret-of-tms"
DAYS = ["31/12/2024", "01/01/2025", "15/01/2025", "2025-01-15", "31/01/2025", "2025-02-01", "28/02/2025"]
DIRTY = [None, "TBA", "31/02/2026", "00/00/0000", "01/12/2568", "2025-13-01", "1/1/2025", "๐๑/๐๑/๒๕๖๘", " 02/01/2025", "//"]  # fmt: skip
TEXT = {"type": "text", "format": "DD/MM/YYYY", "also": ["YYYY-MM-DD"]}


@pytest.fixture(scope="module")
def server():
    with serve(users={"TMS": PASSWORD}) as found:
        yield found


@pytest.fixture(scope="module")
def database(server):
    with oracledb.connect(user="TMS", password=PASSWORD, dsn=server.dsn) as session:
        yield session


def open_source(server, monkeypatch):
    fields = {"conn_type": "oracle", "host": server.host, "port": server.port, "schema": "FREEPDB1"}
    monkeypatch.setenv("AIRFLOW_CONN_ORACLE_TMS", json.dumps(fields | {"login": "TMS", "password": PASSWORD}))
    return OracleSource(get_connection("oracle_tms"))


@pytest.fixture
def source(server, monkeypatch):
    with open_source(server, monkeypatch) as found:
        yield found


@pytest.fixture
def fill(database):
    """Return a function that makes the table T with a column C of a type and these values."""
    with database.cursor() as cursor:

        def make(kind, values):
            cursor.execute(f"create table T (N number(10), C {kind}, V number(10))")
            cursor.executemany("insert into T values (:1, :2, 0)", [(n, v) for n, v in enumerate(values)])
            database.commit()

        yield make
        cursor.execute("drop table T purge")


def table(window, **changes):
    key = {"field": "Key__c", "type": "key", "columns": ["N"]}
    given = {"table": "t", "object": "T__c", "external_id_field": "Key__c", "fields": [key]}
    given |= {"source": {"table": "T", "order_by": ["N"]}, "window": {"column": "C", **window}}
    return TableConfig.model_validate(given | changes)


def cut_up(source, config, most):
    """The windows that a plan would have."""
    window, low, high = config.window, 0, 0
    if window.type == "number":
        ((first, last),) = source.rows(extent(window, config.inner_select()))
        low, high = int(first), int(last)
    counted = source.rows(spread(window, config.inner_select(), low, high))
    return cut(bounds_of(window, counted, low, high), most)


def read(source, config, span, scn=None):
    sql, binds = Portion(span, scn).select(config)
    schema = pa.schema([("N", pa.decimal128(38, 0))])
    return [int(row["N"]) for part in source.batches(sql, schema, binds=binds) for row in part.to_pylist()]


KINDS = [
    ("char(30)", TEXT, DAYS + DIRTY),
    ("varchar2(30)", TEXT, DAYS + DIRTY),
    ("varchar2(30)", {"type": "text", "format": "YYYYMMDD"}, ["20250101", "20250102", "x", None, "20241231"]),
    ("char(19)", {"type": "text", "format": "DD/MM/YYYY HH24:MI:SS"}, ["01/02/2025 00:00:00", "31/01/2025 23:59:59", "01/02/2025", None]),
    ("date", {"type": "date"}, [dt.datetime(2025, 1, d, h) for d in (1, 2, 2, 3) for h in (0, 23)] + [None]),
    ("timestamp(6)", {"type": "timestamp"}, [dt.datetime(2025, 1, 1, 23, 59, 59, 999_999), dt.datetime(2025, 1, 2), None]),
    ("number", {"type": "number"}, [Decimal("-1.5"), 0, Decimal("0.9999999999"), 1, 10**12, None, -7]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "window", "values"), KINDS, ids=[f"{k[0]} {k[1]['type']}" for k in KINDS])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_every_row_is_in_exactly_one_window_and_the_counts_add_up(source, fill, kind, window, values, most):
    fill(kind, values)
    config = table(window)
    spans = cut_up(source, config, most)
    ((total, *counts),) = source.rows(*count_each(config, spans, Portion()))
    found = [read(source, config, span) for span in spans]
    assert total == len(values)
    assert [len(rows) for rows in found] == counts
    assert sorted(n for rows in found for n in rows) == list(range(len(values)))
    assert spans[-1].name == "unreadable"
    assert set(found[-1]) >= {n for n, value in enumerate(values) if value is None}


def test_a_day_is_in_one_window_however_it_is_written(source, fill):
    fill("char(30)", DAYS + DIRTY)
    config = table(TEXT)
    found = {span.name: read(source, config, span) for span in cut_up(source, config, 1)}
    assert found["w005_20250115"] == [DAYS.index("15/01/2025"), DAYS.index("2025-01-15")]
    unreadable = {(DAYS + DIRTY)[n] for n in found["unreadable"]}
    assert unreadable == {None, "TBA", "1/1/2025", "๐๑/๐๑/๒๕๖๘", "//"}


def test_a_date_kept_as_text_is_known_by_its_shape_in_words_that_an_index_can_have():
    what = expression(Window.model_validate({"column": "sale_date", **TEXT}))
    assert what == (
        "CASE WHEN TRANSLATE(TRIM(SALE_DATE), '123456789', '000000000') = '00/00/0000' "
        "THEN SUBSTR(TRIM(SALE_DATE), 7, 4) || SUBSTR(TRIM(SALE_DATE), 4, 2) || SUBSTR(TRIM(SALE_DATE), 1, 2) "
        "WHEN TRANSLATE(TRIM(SALE_DATE), '123456789', '000000000') = '0000-00-00' "
        "THEN SUBSTR(TRIM(SALE_DATE), 1, 4) || SUBSTR(TRIM(SALE_DATE), 6, 2) || SUBSTR(TRIM(SALE_DATE), 9, 2) END"
    )


def test_a_column_that_has_a_type_is_compared_as_it_is():
    window = Window(column="D", type="date")
    (span,) = [
        one for one in cut({"2025-01-01": 5, "2025-01-02": 5, "2025-01-03": 5}, 5) if one.low and one.high
    ]
    assert inside_of(span, window) == (
        "D >= :low AND D < :high",
        {"low": dt.datetime(2025, 1, 2), "high": dt.datetime(2025, 1, 3)},
    )


@pytest.mark.parametrize(
    ("kind", "column", "good"),
    [
        ("text", "CHAR(10)", True), ("text", "NVARCHAR2(10)", False), ("text", "DATE", False), ("date", "DATE", True),
        ("date", "TIMESTAMP(6)", False), ("timestamp", "TIMESTAMP(6)", True), ("number", "NUMBER(16,2)", True),
        ("number", "BINARY_DOUBLE", False), ("timestamp", "TIMESTAMP_TZ", False), ("number", "VARCHAR2(9)", False),
    ],
)  # fmt: skip
def test_a_window_fits_a_column_of_its_type_only(kind, column, good):
    window = Window.model_validate(
        {"column": "C", "type": kind, "format": "YYYYMMDD" if kind == "text" else None}
    )
    assert fits(window, column) is good


@given(
    st.dictionaries(
        st.none() | st.integers(20_200_101, 20_201_231).map(str), st.integers(1, 50), max_size=30
    ),
    st.integers(1, 120),
)
def test_windows_are_no_larger_than_asked_unless_one_day_is(days, most):
    ordered = bounds_of(Window.model_validate({"column": "C", **TEXT}), days.items())
    *spans, last = cut(ordered, most)
    assert not last.readable
    assert len({span.name for span in spans}) == len(spans)
    assert [span.low for span in spans[1:]] == [span.high for span in spans[:-1]]
    assert not spans or (spans[0].low is None and spans[-1].high is None)
    for span in spans:
        inside = [
            rows
            for day, rows in ordered.items()
            if day and (span.low or "") <= day and (span.high is None or day < span.high)
        ]
        assert inside
        assert sum(inside) <= most or len(inside) == 1


def test_windows_whose_counts_do_not_add_up_are_refused():
    config = table(TEXT)
    spans = cut({"20250101": 5, "20250102": 5}, 5)
    with pytest.raises(Exception, match=r"do not add up: 9 rows in windows and 0 .* are not the 10 rows"):
        planned(
            config, 10, list(zip(spans, [4, 5, 0], strict=True)), Sampled(), Choices(), Rates(), consistency="slice"
        )  # fmt: skip


def parented(columns, order):
    key = {"field": "Key__c", "type": "key", "columns": ["N"]}
    up = {
        "field": "Up__c",
        "type": "lookup",
        "columns": columns,
        "object": "Up__c",
        "external_id_field": "Key__c",
    }
    return table(TEXT, fields=[key, up], parent="Up__c", source={"table": "T", "order_by": order})


@pytest.mark.parametrize(("columns", "shared"), [(["C"], False), (["N", "C"], False), (["N"], True)])
def test_windows_share_a_parent_unless_its_key_holds_the_windows_column(columns, shared):
    config = parented(columns, columns)
    spans = [(span, 1) for span in cut({"20250101": 1, "20250102": 1}, 1)]
    found = planned(config, 3, spans, Sampled(), Choices(slice_rows=1), Rates(), consistency="slice")
    assert found.one_after_the_other is shared


# the campaign's moment


def test_as_of_an_scn_a_slice_reads_what_was_there_then(source, fill, database):
    fill("char(10)", DAYS)
    scn, config = source.current_scn(), table(TEXT)
    with database.cursor() as cursor:
        cursor.execute("delete from T where N < 3")
    database.commit()
    assert read(source, config, None, scn) == list(range(len(DAYS)))
    assert source.count(*Portion(scn=scn).count(config)) == len(DAYS)
    assert source.count(*Portion().count(config)) == len(DAYS) - 3


def test_a_select_reads_as_of_an_scn_where_it_marks_its_tables(source, fill, database):
    fill("char(10)", DAYS)
    scn = source.current_scn()
    config = table(
        TEXT, source={"sql": "SELECT a.N, b.C FROM T /* as of */ a JOIN T /* as of */ b ON a.N = b.N"}
    )
    with database.cursor() as cursor:
        cursor.execute("delete from T")
    database.commit()
    assert config.can_look_back
    assert not table(TEXT, source={"sql": "SELECT * FROM T"}).can_look_back
    assert source.count(*Portion(scn=scn).count(config)) == len(DAYS)
    assert source.count(*Portion().count(config)) == 0


def test_a_moment_that_undo_no_longer_holds_is_an_error_of_its_own(server, source, fill, database):
    fill("char(10)", DAYS)
    scn = source.current_scn()
    with database.cursor() as cursor:
        cursor.execute("update T set V = 1")
    database.commit()
    server.backend.forget_undo()
    with pytest.raises(PastError, match="ORA-01555"):
        source.count(*Portion(scn=scn).count(table(TEXT)))


@pytest.mark.parametrize("revoked", ["V$DATABASE", "DBMS_FLASHBACK"])
def test_the_scn_is_asked_for_in_two_ways(monkeypatch, revoked):
    with (
        serve(users={"TMS": PASSWORD}, revoked={"TMS": [revoked]}) as other,
        open_source(other, monkeypatch) as found,
    ):
        assert found.current_scn() > 2**32


def test_a_user_who_may_ask_for_the_scn_in_neither_way_is_told_both_reasons(monkeypatch):
    revoked = {"TMS": ["V$DATABASE", "DBMS_FLASHBACK"]}
    with (
        serve(users={"TMS": PASSWORD}, revoked=revoked) as other,
        open_source(other, monkeypatch) as found,
        pytest.raises(SourceError, match=r"ORA-00942.*ORA-00904"),
    ):
        found.current_scn()


def test_what_changed_since_then_is_read_with_what_has_no_time_of_change(source, fill):
    days = [dt.datetime(2025, 1, 1, 9), dt.datetime(2025, 1, 1, 10), dt.datetime(2025, 1, 2), None]
    fill("date", days)
    config = table({"type": "date"}, changed_column="c")
    portion = Portion(since=dt.datetime(2025, 1, 1, 10))
    sql, binds = portion.select(config)
    found = source.batches(sql, pa.schema([("N", pa.decimal128(38, 0))]), binds=binds)
    assert [int(row["N"]) for part in found for row in part.to_pylist()] == [1, 2, 3]
