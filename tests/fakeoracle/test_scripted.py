"""Answers from a script instead of a database."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import oracledb
import pytest

from fakeoracle import Scripted, serve


@pytest.fixture
def script():
    return Scripted()


@pytest.fixture
def cursor(script):
    with (
        serve(backend=script) as server,
        oracledb.connect(user="tms", password="secret", dsn=server.dsn) as connection,
    ):
        yield connection.cursor()


def test_rows_come_as_they_were_declared(script, cursor):
    columns = {
        "ID": "NUMBER(10) NOT NULL",
        "PRICE": "NUMBER(10,2)",
        "RATE": "NUMBER",
        "NAME": "VARCHAR2(20 CHAR)",
        "CODE": "CHAR(4)",
        "DAY": "DATE",
        "AT": "TIMESTAMP(6)",
    }
    moment = datetime.datetime(2024, 2, 29, 12, 0, 0, 250_000)
    row = (1, Decimal("9.99"), Decimal("1e-30"), "ชื่อ", "ab", datetime.date(2024, 2, 29), moment)
    script.query("select * from t where d > :1", columns, [row, (2, *[None] * 6)])
    rows = cursor.execute("select *\n  from t\twhere d > :1", [7]).fetchall()
    assert rows[0] == (*row[:4], "ab  ", datetime.datetime(2024, 2, 29), moment)
    assert rows[1] == (2, None, None, None, None, None, None)
    assert [column.name for column in cursor.description] == list(columns)
    assert cursor.description[1][4:7] == (10, 2, True)
    assert not cursor.description[0].null_ok


def test_errors_and_row_counts_are_answers_too(script, cursor):
    script.error("select 1 from locked", 60, "deadlock detected while waiting for resource")
    script.change("delete from t", affected=42)
    with pytest.raises(oracledb.DatabaseError, match="ORA-00060: deadlock detected"):
        cursor.execute("select 1 from locked")
    cursor.execute("delete from t")
    assert cursor.rowcount == 42
    assert cursor.connection.transaction_in_progress
    cursor.connection.commit()
    assert not cursor.connection.transaction_in_progress


def test_an_unexpected_statement_is_refused_quoted_and_remembered(script, cursor):
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*no answer to 'select 2 from dual'"):
        cursor.execute("select 2 from dual")
    assert script.asked == ["select 2 from dual"]


@pytest.mark.parametrize(
    ("declaration", "value", "complaint"),
    [
        ("NUMBER(10)", 1.5, "neither int nor Decimal"),
        ("VARCHAR2(2)", "abc", "longer than VARCHAR2"),
        ("NUMBER(10) NOT NULL", None, "NULL in a column"),
        ("DATE", "yesterday", "isoformat"),
        ("STRANGE(3)", None, "STRANGE"),
    ],
)
def test_a_script_with_a_value_that_does_not_fit_is_refused(script, declaration, value, complaint):
    with pytest.raises(ValueError, match=complaint):
        script.query("select x from t", {"X": declaration}, [(value,)])


TOML = """
[[answers]]
sql = "select n, d from t"
columns = { N = "NUMBER(10,3)", D = "DATE" }
rows = [[1.125, 2024-02-29], [2, "2024-03-01T10:00:00"]]

[[answers]]
sql = "update t set n = 1"
affected = 3

[[answers]]
sql = "select 1 from gone"
error = 942
message = "table or view does not exist"
"""


def test_a_script_is_read_from_toml_with_exact_numbers(script, cursor, tmp_path):
    file = tmp_path / "answers.toml"
    file.write_text(TOML)
    script.load(file)
    rows = cursor.execute("select n, d from t").fetchall()
    assert rows[0] == (Decimal("1.125"), datetime.datetime(2024, 2, 29))
    assert rows[1] == (2, datetime.datetime(2024, 3, 1, 10))
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        cursor.execute("select 1 from gone")
    cursor.execute("update t set n = 1")
    assert cursor.rowcount == 3


def test_a_script_is_read_from_json(script, cursor, tmp_path):
    file = tmp_path / "answers.json"
    file.write_text('{"answers": [{"sql": "select n from t", "columns": {"N": "NUMBER"}, "rows": [[0.1]]}]}')
    script.load(file)
    assert cursor.execute("select n from t").fetchall() == [(Decimal("0.1"),)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "answers.json: "),
        ("{}", "no list `answers`"),
        ('{"answers": [{"sql": "x"}]}', "answer 1: it has none of"),
        ('{"answers": [{"sql": "x", "colums": {}}]}', "unknown key colums"),
        ('{"answers": [{"sql": "x", "columns": {"A": "NUMBER(3)"}, "rows": [[1, 2]]}]}', "needs 1 values"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(script, tmp_path, text, complaint):
    file = tmp_path / "answers.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        script.load(file)
