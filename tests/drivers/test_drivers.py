"""Two drivers that nobody here wrote log in to the server and agree with python-oracledb about every value."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import oracledb
import pytest
from bridges import FETCH, PASSWORD, USER, Driver, DriverError

ROWS = 5 * FETCH + 1
KINDS = (
    Decimal,
    Decimal,
    Decimal,
    Decimal,
    str,
    str,
    datetime.datetime.fromisoformat,
    datetime.datetime.fromisoformat,
)
TABLE_ORDER = "select n10, n12_2, n38, n, v, c, d, t from shared order by n10"


def rows(count: int) -> list[tuple[Any, ...]]:
    """Rows of the shared table; every column but the first is NULL in some rows, and all of them in some."""
    return [
        (
            i,
            *(
                None if i % (place + 5) == 0 or i % 97 == 0 else value
                for place, value in enumerate(
                    (
                        Decimal(i * 7919 - 10**6).scaleb(-2),
                        (-1) ** i * (10**38 - 1 - i),
                        Decimal(i + 1).scaleb(i % 60 - 40),
                        f"สินค้า {i} 'x' \"y\"",
                        f"ก{i % 100}".ljust(4),  # CHAR(6) counts bytes: ก takes three
                        datetime.datetime(1900, 1, 1) + datetime.timedelta(days=i * 7, seconds=i),
                        datetime.datetime(1700, 1, 1)  # the Go driver wraps around outside 1678 to 2262
                        + datetime.timedelta(days=i * 50, microseconds=i * 1001),
                    )
                )
            ),
        )
        for i in range(count)
    ]  # fmt: skip


def plain(answer: list[list[Any]]) -> list[tuple[Any, ...]]:
    """What a driver gave, as Python's own values."""
    return [
        tuple(None if value is None else kind(value) for kind, value in zip(KINDS, row, strict=True))
        for row in answer
    ]


def as_seen(driver_name: str, expected: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """A Date of JavaScript ends at milliseconds."""
    if driver_name != "node":
        return expected
    return [
        tuple(
            value.replace(microsecond=value.microsecond // 1000 * 1000)
            if isinstance(value, datetime.datetime)
            else value
            for value in row
        )
        for row in expected
    ]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.node.callspec.id
    return found


def test_login_tells_the_version_of_the_server(process: Driver, dsn: str) -> None:
    assert process.login(dsn=dsn, user=USER, password=PASSWORD, fetch=FETCH).startswith("19.3.")
    process.close()


def test_every_value_of_several_fetches_is_what_python_oracledb_inserted(
    driver: Driver, python: oracledb.Connection, table: str, name: str
) -> None:
    inserted = rows(ROWS)
    with python.cursor() as cursor:
        cursor.setinputsizes(
            *[None] * 7, oracledb.DB_TYPE_TIMESTAMP
        )  # python-oracledb binds a datetime as DATE
        cursor.executemany(f"insert into {table} values (:1, :2, :3, :4, :5, :6, :7, :8)", inserted)
    python.commit()
    found = plain(driver.query(sql=TABLE_ORDER, binds=[]))
    assert len(found) == ROWS
    assert found == as_seen(name, inserted)


def test_what_the_driver_inserts_in_bulk_and_commits_python_oracledb_reads(
    driver: Driver, python: oracledb.Connection, table: str, name: str
) -> None:
    inserted = as_seen(name, rows(500))
    sql = f"insert into {table} values (:1, :2, to_number(:3), to_number(:4), :5, :6, :7, :8)"
    assert (
        driver.change(sql=sql, rows=[[bindable(i, value) for i, value in enumerate(row)] for row in inserted])
        == 500
    )
    count = f"select count(*) from {table}"
    assert python.cursor().execute(count).fetchone() == (0,)
    driver.commit()
    with python.cursor() as cursor:
        cursor.outputtypehandler = exact
        found = cursor.execute(TABLE_ORDER).fetchall()
    assert found == inserted


def exact(cursor: oracledb.Cursor, column: oracledb.FetchInfo) -> oracledb.Var | None:
    if column.type_code is oracledb.DB_TYPE_NUMBER:
        return cursor.var(Decimal, arraysize=cursor.arraysize)
    return None


def bindable(place: int, value: Any) -> Any:
    """A value as JSON for a bridge; what JavaScript's numbers cannot hold goes as text."""
    if isinstance(value, datetime.datetime):
        return {"moment": value.isoformat()}
    if isinstance(value, Decimal | int):
        return float(value) if place < 2 else f"{Decimal(value):f}"
    return value


def test_values_of_each_kind_can_be_bound(driver: Driver, name: str) -> None:
    moment = datetime.datetime(2024, 2, 29, 23, 59, 59, 123_000)
    sql = "select :1, :2, :3, :4 from dual"
    ((number, text, found, null),) = driver.query(
        sql=sql, binds=[-12345.678, "ราคา", {"moment": moment.isoformat()}, None]
    )
    assert (Decimal(number), text, datetime.datetime.fromisoformat(found), null) == (
        Decimal("-12345.678"), "ราคา", moment, None)  # fmt: skip


def test_changes_count_their_rows_and_can_be_undone(
    driver: Driver, python: oracledb.Connection, table: str
) -> None:
    assert (
        driver.change(
            sql=f"insert into {table} (n10, v) values (:1, :2)", rows=[[1, "a"], [2, "b"], [3, "b"]]
        )
        == 3
    )
    driver.commit()
    assert driver.change(sql=f"update {table} set v = 'c' where v = 'b'", rows=[]) == 2
    assert driver.change(sql=f"delete from {table} where n10 = 1", rows=[]) == 1
    driver.rollback()
    assert driver.query(sql=f"select v from {table} order by n10", binds=[]) == [["a"], ["b"], ["b"]]


def test_a_missing_table_is_ora_00942_and_the_connection_lives_on(driver: Driver) -> None:
    for _ in range(2):
        with pytest.raises(DriverError, match="ORA-00942"):
            driver.query(sql="select * from nowhere", binds=[])
        assert driver.query(sql="select 'alive' from dual", binds=[]) == [["alive"]]


def test_a_broken_constraint_is_ora_00001_and_the_connection_lives_on(driver: Driver) -> None:
    driver.change(sql="create table one_key (k number(9) primary key)", rows=[])
    try:
        driver.change(sql="insert into one_key values (:1)", rows=[[1]])
        with pytest.raises(DriverError, match="ORA-00001"):
            driver.change(sql="insert into one_key values (:1)", rows=[[1]])
        driver.rollback()
        assert driver.query(sql="select count(*) from one_key", binds=[]) == [["0"]]
    finally:
        driver.change(sql="drop table one_key purge", rows=[])


@pytest.mark.parametrize("user", [USER, "nobody"])
def test_a_wrong_password_or_user_is_ora_01017(process: Driver, dsn: str, user: str) -> None:
    with pytest.raises(DriverError, match="ORA-01017"):
        process.login(dsn=dsn, user=user, password="wrong", fetch=FETCH)
