"""Date and number formats: what TO_CHAR writes and TO_DATE and TO_NUMBER read."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import oracledb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeoracle import dates, formats, number_formats
from fakeoracle.errors import OracleError

TODAY = datetime.date(2026, 11, 22)
FRIDAY = datetime.datetime(2024, 2, 9, 13, 5, 9, 123456)
moments = st.datetimes(datetime.datetime(1583, 1, 1), datetime.datetime(9999, 12, 31)).map(
    lambda m: m.replace(microsecond=0)
)


def parsed(text, model):
    try:
        return formats.read(text, model, TODAY)
    except OracleError as error:
        return error.code


# SQL Language Reference, "Datetime Format Models": elements, capitalisation, FM
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("YYYY-MM-DD HH24:MI:SS", "2024-02-09 13:05:09"), ("YYYY YYY YY Y", "2024 024 24 4"), ("RR RRRR", "24 2024"),
        ("DD-MON-RR", "09-FEB-24"), ("dd-mon-rr", "09-feb-24"), ("Mon", "Feb"), ("MONTH|", "FEBRUARY |"), ("Day|", "Friday   |"),
        ("FMDay, DD Month YYYY", "Friday, 9 February 2024"), ("FMHH24:MI", "13:5"), ("DY Dy dy", "FRI Fri fri"),
        ("HH:MI AM", "01:05 PM"), ("HH12:MI p.m.", "01:05 p.m."), ("SSSSS", "47109"), ("Q WW W", "1 06 2"), ("IYYY-IW", "2024-06"),
        ("DDD D J", "040 6 2460350"), ("CC", "21"), ('YYYY-MM-DD"T"HH24', "2024-02-09T13"), ("FMDD FMDD", "9 09"),
        ("FF3 FF6 FF9", "123 123456 123456000"), ("", ""),
    ],
)  # fmt: skip
def test_to_char_writes_a_moment_as_the_model_says(model, expected):
    assert formats.written(FRIDAY, model) == expected


def test_the_julian_day_of_2000_is_the_astronomers():
    assert formats.written(datetime.datetime(2000, 1, 1), "J") == "2451545"


# SQL Language Reference, "String-to-Date Conversion Rules"
@pytest.mark.parametrize(
    ("text", "model", "expected"),
    [
        ("2025-12-04 00:00:00", "YYYY-MM-DD HH24:MI:SS", (2025, 12, 4)), ("09/12/2025 23:59:59", "DD/MM/YYYY HH24:MI:SS", (2025, 12, 9, 23, 59, 59)),
        ("20/01/2026", "DD/MM/YYYY HH24:MI:SS", (2026, 1, 20)), ("20240229", "YYYY-MM-DD", (2024, 2, 29)),
        ("2024-2-9", "YYYY-MM-DD", (2024, 2, 9)), ("2024/02.09", "YYYY-MM-DD", (2024, 2, 9)), ("  2024-02-09  ", "YYYY-MM-DD", (2024, 2, 9)),
        ("10AUGUST2016", "DD-MM-RR", (2016, 8, 10)), ("10-aug-16", "DD-MONTH-RR", (2016, 8, 10)), ("10-AUGUST-1999", "DD-MON-YYYY", (1999, 8, 10)),
        ("09/02/24", "DD/MM/RR", (2024, 2, 9)), ("09/02/74", "DD/MM/RR", (1974, 2, 9)), ("09/02/74", "DD/MM/YY", (2074, 2, 9)),
        ("09/02/1974", "DD/MM/YY", (1974, 2, 9)), ("240209", "YYMMDD", (2024, 2, 9)), ("2024060", "YYYYDDD", (2024, 2, 29)),
        ("12:30 PM", "HH:MI AM", (2026, 11, 1, 12, 30)), ("12:30 AM", "HH:MI AM", (2026, 11, 1, 0, 30)), ("2024", "YYYY", (2024, 11, 1)),
        ("2024-02-09T10", 'YYYY-MM-DD"T"HH24', (2024, 2, 9, 10)), ("2451545", "J", (2000, 1, 1)), ("2024 47109", "YYYY SSSSS", (2024, 11, 1, 13, 5, 9)),
        ("2024-02-09", "FXYYYY-MM-DD", (2024, 2, 9)), ("FRI 09-02-2024", "DY DD-MM-YYYY", (2024, 2, 9)),
    ],
)  # fmt: skip
def test_to_date_reads_what_the_conversion_rules_allow(text, model, expected):
    assert parsed(text, model) == datetime.datetime(*expected)


# Database Error Messages, ORA-01810 to ORA-01862
@pytest.mark.parametrize(
    ("text", "model", "code"),
    [
        ("2024-02-09 1", "YYYY-MM-DD", 1830), ("2024-02", "YYYY-MM-DD", 1840), ("0000-02-09", "YYYY-MM-DD", 1841),
        ("2024-13-01", "YYYY-MM-DD", 1843), ("01-XYZ-2024", "DD-MON-YYYY", 1843), ("2024-02-32", "YYYY-MM-DD", 1847), ("2024-02-30", "YYYY-MM-DD", 1839),
        ("13:00 PM", "HH12:MI PM", 1849), ("24:00", "HH24:MI", 1850), ("10:60", "HH24:MI", 1851), ("10:10:60", "HH24:MI:SS", 1852),
        ("86400", "SSSSS", 1853), ("2023-366", "YYYY-DDD", 1848), ("2024-02-xx", "YYYY-MM-DD", 1858), ("1989-12-09", "DD-MON-RR", 1861),
        ("2024-2-09", "FXYYYY-MM-DD", 1862), ("2024/02/09", "FXYYYY-MM-DD", 1861), ("MON 09-02-2024", "DY DD-MM-YYYY", 1835),
        ("10:00 XX", "HH:MI AM", 1855), ("x", "Q", 1820), ("x", "YYYY-YYYY", 1810), ("x", "YYYY YY", 1812), ("x", "MM MON", 1816),
        ("x", "HH24 HH", 1813), ("x", "HH24 AM", 1818), ("x", "FOO", 1821), ("x", "YYYY FF3", 1821),
    ],
)  # fmt: skip
def test_a_text_or_model_that_is_wrong_gets_its_number(text, model, code):
    assert parsed(text, model) == code


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("x", "YEAR"), ("x", "DDTH"), ("x", "BC"), ("2024-02-09X10", 'YYYY-MM-DD"T"HH24'), ("1500-02-29", "YYYY-MM-DD"),
        ("1582-10-10", "YYYY-MM-DD"), ("09/02/024", "DD/MM/RR"),
    ],
)  # fmt: skip
def test_what_is_not_surely_known_of_formats_is_refused(text, model):
    assert parsed(text, model) == 3001


@given(
    moments,
    st.sampled_from(["YYYY-MM-DD HH24:MI:SS", "DD/MM/YYYY HH24:MI:SS", "YYYYMMDDHH24MISS", "DD-MON-YYYY SSSSS", "FMMonth DD, YYYY HH:MI:SS AM",
                     "J HH24:MI:SS", "YYYY-DDD HH24:MI:SS", "Day DD Month RRRR HH12:MI:SS P.M.", "FXYYYY-MM-DD HH24:MI:SS"]),
)  # fmt: skip
@settings(max_examples=120)
def test_what_a_model_writes_it_reads_back(moment, model):
    assert formats.read(formats.written(moment, model), model, TODAY) == moment


@given(moments)
@settings(max_examples=100)
def test_numbers_of_a_date_are_those_of_an_independent_calendar(moment):
    expected = f"{moment:%Y|%m|%d|%H|%I|%M|%S|%j|%G|%V|%p}|{moment:%b}|{moment:%B}".upper()
    model = "YYYY|MM|DD|HH24|HH12|MI|SS|DDD|IYYY|IW|AM|MON|FMMONTH"
    wanted = expected.split("|")
    assert formats.written(moment, model).split("|") == wanted


# SQL Language Reference, "Number Format Models", table "Results of Number Conversions"
@pytest.mark.parametrize(
    ("number", "model", "expected"),
    [
        ("0", "99.99", "   .00"), ("0.1", "99.99", "   .10"), ("-0.2", "99.99", "  -.20"), ("0", "90.99", "  0.00"),
        ("0.1", "90.99", "  0.10"), ("-0.2", "90.99", " -0.20"), ("0", "9999", "    0"), ("1", "9999", "    1"),
        ("123.456", "999.999", " 123.456"), ("-123.456", "999.999", "-123.456"), ("123.456", "FM999.009", "123.456"),
        ("123.45", "FM999.009", "123.45"), ("123", "FM999.009", "123.00"), ("1234567890", "9999999999S", "1234567890+"),
        ("1234.5", "9,999.99", " 1,234.50"), ("1234", "9G999D00", " 1,234.00"), ("-12", "999PR", " <12>"), ("12", "999PR", "  12 "),
        ("12", "S999", " +12"), ("-1234", "9,999MI", "1,234-"), ("12", "$999", "  $12"), ("7", "FM000", "007"), ("12345", "999", "####"),
        ("0.5", "FM999.99", ".5"),
    ],
)  # fmt: skip
def test_to_char_writes_a_number_as_the_model_says(number, model, expected):
    assert number_formats.written(Decimal(number), model) == expected


@given(st.decimals(-99999, 99999, places=4))
@settings(max_examples=100)
def test_a_formatted_number_is_the_number_rounded_half_up(value):
    rounded = value.quantize(Decimal("0.01"), "ROUND_HALF_UP")
    if value < 0 and not rounded:
        return
    assert number_formats.written(value, "FM999990.00") == f"{rounded:f}"
    assert number_formats.read(f"{rounded:f}", "999990.00") == rounded
    assert number_formats.written(value, "9,999,990.00").strip() == f"{rounded:,f}"


@pytest.mark.parametrize(
    ("model", "code"),
    [("9.9EEEE", 3001), ("XXX", 3001), ("TM9", 3001), ("L999", 3001), ("abc", 3001), ("qq", 1481)],
)
def test_number_models_that_are_not_known_are_refused(model, code):
    with pytest.raises(OracleError) as caught:
        number_formats.written(Decimal(1), model)
    assert caught.value.code == code


# SQL Language Reference, "ADD_MONTHS", "MONTHS_BETWEEN", "LAST_DAY", "NEXT_DAY", "ROUND and TRUNC Date Functions"
@given(moments.filter(lambda m: 1700 < m.year < 9000), st.integers(-1200, 1200))
@settings(max_examples=100)
def test_add_months_keeps_the_day_or_takes_the_last_one(moment, months):
    result = dates.add_months(moment, months)
    assert (result.year * 12 + result.month) - (moment.year * 12 + moment.month) == months
    was_last = (moment + datetime.timedelta(days=1)).day == 1
    is_last = (result + datetime.timedelta(days=1)).day == 1
    assert is_last if was_last else (result.day == moment.day or (is_last and result.day < moment.day))
    assert result.time() == moment.time()
    assert dates.months_between(dates.last_day(result), dates.last_day(moment)) == months


@given(moments, moments)
@settings(max_examples=100)
def test_months_between_counts_parts_of_months_in_31sts(later, earlier):
    months = dates.months_between(later, earlier)
    whole = (later.year - earlier.year) * 12 + later.month - earlier.month
    assert abs(months - whole) < 1
    assert dates.months_between(earlier, later) == -months


@given(moments.filter(lambda m: m.year < 9990), st.sampled_from(["YYYY", "Q", "MM", "DD", "HH", "MI"]))
@settings(max_examples=100)
def test_trunc_goes_back_to_a_boundary_and_round_to_the_nearer_one(moment, unit):
    start = dates.truncated(moment, unit)
    assert start <= moment
    assert dates.truncated(start, unit) == start
    rounded = dates.rounded(moment, unit)
    assert rounded == start or (rounded > moment and dates.truncated(rounded, unit) == rounded)


@pytest.mark.parametrize(
    ("unit", "truncated"),
    [("CC", (2001, 1, 1)), ("IYYY", (2024, 1, 1)), ("Q", (2024, 4, 1)), ("WW", (2024, 5, 13)), ("IW", (2024, 5, 13)), ("W", (2024, 5, 15)), ("D", (2024, 5, 12))],
)  # fmt: skip
def test_trunc_knows_the_weeks(unit, truncated):
    assert dates.truncated(datetime.datetime(2024, 5, 15, 10), unit) == datetime.datetime(*truncated)


def test_a_date_plus_a_fraction_ends_at_the_nearest_second():
    start = datetime.datetime(2024, 1, 1)
    assert dates.plus_days(start, Decimal(1) / 24) == datetime.datetime(2024, 1, 1, 1)
    assert dates.plus_days(start, Decimal("0.00001")) == datetime.datetime(2024, 1, 1, 0, 0, 1)
    assert dates.plus_days(start, Decimal("-1.5")) == datetime.datetime(2023, 12, 30, 12)


@pytest.fixture
def texts(table, cursor):
    name = table("id number(5), d char(19), f varchar2(30)")
    rows = [
        (1, "2025-12-04 00:00:00", "YYYY-MM-DD HH24:MI:SS"), (2, "09/12/2025 00:00:00", "DD/MM/YYYY HH24:MI:SS"), (3, "20/01/2026", "DD/MM/YYYY"),
        (4, "junk", "DD/MM/YYYY"), (5, None, "YYYY"),
    ]  # fmt: skip
    cursor.executemany(f"insert into {name} values (:1, :2, :3)", rows)
    cursor.connection.commit()
    return name


# SQL Language Reference, "TO_DATE" (DEFAULT return_value ON CONVERSION ERROR) and "VALIDATE_CONVERSION"
def test_a_window_over_text_dates_leaves_out_what_it_cannot_read(texts, cursor):
    day = "to_date(d default null on conversion error, 'DD/MM/YYYY HH24:MI:SS')"
    sql = f"select id from {texts} where {day} >= date '2025-12-01' and {day} < date '2026-01-01'"
    assert cursor.execute(sql).fetchall() == [(2,)]
    sql = f"select id, validate_conversion(d as date, 'DD/MM/YYYY HH24:MI:SS') from {texts} order by id"
    assert [row[1] for row in cursor.execute(sql)] == [0, 1, 1, 0, 1]
    sql = f"select coalesce({day}, to_date(d default null on conversion error, 'YYYY-MM-DD HH24:MI:SS')) from {texts} order by id"
    assert [row[0] and row[0].day for row in cursor.execute(sql)] == [4, 9, 20, None, None]


def test_the_default_of_a_conversion_is_converted_in_the_same_way(one, texts, cursor):
    assert one(
        "select to_date('x' default '1/2/2024' on conversion error, 'DD/MM/YYYY') from dual"
    ) == datetime.datetime(2024, 2, 1)
    assert one("select to_number('x' default -1 on conversion error) from dual") == -1
    assert one("select to_number('1,5' default 7 on conversion error, '9.9') from dual") == 7
    assert one("select to_timestamp(:1 default null on conversion error, :2) from dual", "x", "YYYY") is None
    assert one(
        "select validate_conversion('1e5' as number), validate_conversion('x' as number) from dual"
    ) == (1, 0)
    assert one(f"select to_char(to_date(d, f), 'YYYYMMDD') from {texts} where id = 2") == "20251209"
    with pytest.raises(oracledb.DatabaseError, match="ORA-01821"):
        one("select to_date('x' default null on conversion error, :1) from dual", "FOO")
