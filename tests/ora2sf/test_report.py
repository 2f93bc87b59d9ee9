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


def test_numbers_stand_to_the_right_with_a_bar_in_proportion_to_the_largest():
    page = Shown("s", [{"why": "a", "rows": 50}, {"why": "b", "rows": 200}], bars="rows")._repr_html_()
    assert "25.0%" in page
    assert "100.0%" in page
    assert page.count("text-align:right") == 3


def test_a_column_without_any_value_is_left_out():
    page = repr(Shown("s", [{"job": "1", "message": ""}, {"job": "2", "message": None}]))
    assert "message" not in page


def test_the_tone_is_told_by_a_mark_too():
    marks = {tone: Shown("Done.", tone=tone)._repr_html_() for tone in ("good", "warning", "bad")}
    assert "✓ Done." in marks["good"]
    assert "⚠" in marks["warning"]
    assert "✗ Done." in marks["bad"]


def test_pictures_stand_between_the_sentence_and_the_table_with_their_captions():
    page = Shown("s", [{"a": 1}], pictures=[("Rows <per> second", "<svg></svg>")])._repr_html_()
    assert page.index("Rows &lt;per&gt; second") < page.index("<svg>") < page.index("<table")
