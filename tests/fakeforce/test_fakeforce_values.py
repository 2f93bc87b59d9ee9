from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeforce.ids import long_id, normal_id, record_id
from fakeforce.schema import Field
from fakeforce.values import decimal_text, java_double, parse_value

PRICE = Field("P__c", "Price", "currency", precision=18, scale=2)


@given(st.decimals(min_value=-(10**15), max_value=10**15, places=6, allow_nan=False, allow_infinity=False))
def test_a_number_is_stored_rounded_half_up_and_otherwise_exactly(number):
    stored, error = parse_value(PRICE, format(number, "f"))
    assert error is None
    assert Decimal(decimal_text(stored, 2)) == number.quantize(Decimal("0.01"), ROUND_HALF_UP)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_java_rendering_reads_back_as_the_same_number(number):
    assert float(java_double(repr(number))) == number


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("912260031", "9.12260031E8"),
        ("100", "100.0"),
        ("9999999.99", "9999999.99"),
        ("10000000", "1.0E7"),
        ("0.001", "0.001"),
        ("0.0001", "1.0E-4"),
        ("-0.5", "-0.5"),
        ("0", "0.0"),
    ],
)
def test_java_rendering_changes_form_where_java_does(text, shown):
    assert java_double(text) == shown


def test_ids_of_fifteen_characters_get_their_known_ending():
    assert long_id("001D000000IqhSL") == "001D000000IqhSLIAZ"
    assert normal_id("001D000000IqhSL") == "001D000000IqhSLIAZ"
    assert normal_id("nonsense") is None
    assert len({record_id("01t", n) for n in range(5000)}) == 5000
