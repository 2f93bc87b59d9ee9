"""What a cell shows is what is true: no number is rounded, nothing in a table is taken for HTML."""

from __future__ import annotations

from decimal import Decimal

from ora2sf.report import Shown


def test_whole_numbers_beside_an_empty_cell_keep_every_digit():
    shown = Shown("s", [{"a": 12345678901234567}, {"a": None}, {"b": 1}])
    assert "12,345,678,901,234,567" in repr(shown)
    assert "12,345,678,901,234,567" in shown._repr_html_()


def test_decimals_are_shown_with_every_digit_and_without_padding():
    number = Decimal("12345678901234567890123456789012345678.5000000000")
    assert "12345678901234567890123456789012345678.5" in repr(
        Shown("s", [{"a": number}, {"a": Decimal("2.0")}])
    )
    assert "2.0" not in repr(Shown("s", [{"a": Decimal("2.0")}]))


def test_text_is_shown_as_text_and_never_as_html():
    page = Shown("a <b>", [{"x": "<script>"}])._repr_html_()
    assert "<script>" not in page
    assert "<b>" not in page


def test_a_sentence_without_a_table_stands_alone():
    assert repr(Shown("Nothing to do.")) == repr(Shown("Nothing to do.", [])) == "Nothing to do."
