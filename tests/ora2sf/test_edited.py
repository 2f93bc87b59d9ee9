"""A file that somebody edited: what spreadsheets do to it is understood or refused, and never guessed."""

from __future__ import annotations

import pytest

from ora2sf.edited import damage, read
from ora2sf.fields import refuses
from ora2sf.tables import TableConfig

CELL = 'a "quoted", cell;\u2028with\tall\nof it'


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separator_byte_order_mark_and_line_ends_are_free(tmp_path, separator, mark, end):
    quoted = '"' + CELL.replace('"', '""').replace("\n", end) + '"'
    lines = [["Name", "Note", "Key"], [quoted, "", "1"], ["", '"x"', "2"]]
    path = tmp_path / "f.csv"
    path.write_bytes(mark + "".join(separator.join(line) + end for line in lines).encode())
    first, second = read(path, "Key", ["Name"])
    assert first.cells == {"Name": CELL, "Note": "", "Key": "1"}
    assert (first.number, second.number) == (2, 4)
    assert second.cells["Note"] == "x"


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("007", "7", True),
        ("007", "8", False),
        ("8850123456789", "8,85012E+12", True),
        ("8850123456789", "8.85012E+12", True),
        ("1.5E+3", "1.5E+3", False),
        ("x" * 40_000, "x" * 32_767, True),
        ("x" * 32_767, "x" * 32_766, False),
        ("", "7", False),
    ],
)
def test_what_a_spreadsheet_takes_away_is_seen(before, after, found):
    assert (damage(before, after) is not None) == found


CONFIG = TableConfig.model_validate(
    {
        "table": "t",
        "object": "Item__c",
        "external_id_field": "Key__c",
        "source": {"table": "T"},
        "fields": [
            {"field": "Key__c", "type": "key", "columns": ["K"], "length": 5},
            {"field": "Up__c", "type": "lookup", "columns": ["U"], "object": "Up__c",
             "external_id_field": "E__c", "length": 5, "required": True},
            {"field": "Text__c", "type": "text", "column": "T", "length": 5, "required": True},
            {"field": "Code__c", "type": "code", "column": "T", "length": 5},
            {"field": "Mail__c", "type": "email", "column": "T"},
            {"field": "Int__c", "type": "integer", "column": "T", "digits": 3},
            {"field": "Number__c", "type": "decimal", "column": "T", "precision": 4, "scale": 2},
            {"field": "Flag__c", "type": "boolean", "column": "T"},
            {"field": "Day__c", "type": "date", "column": "T", "latest": "2100-12-31"},
            {"field": "At__c", "type": "datetime", "column": "T", "latest": "2100-12-31"},
            {"field": "Pick__c", "type": "picklist", "column": "T", "values": {"1": "New"}},
            {"field": "Fixed__c", "type": "constant", "value": "x"},
        ],
    }
)  # fmt: skip
FITS = {
    "Key__c": (["12345"], ["123456", "1\n2", ""]),
    "Up__c": (["12345"], ["123456", ""]),
    "Text__c": (["a\nb"], ["a\rb", "123456", "", "#N/A"]),
    "Code__c": (["007", "", "#N/A"], [" 7", "123456"]),
    "Mail__c": (["a@b.co"], ["a@b"]),
    "Int__c": (["-12"], ["1234", "1.0"]),
    "Number__c": (["12.5", "-1"], ["123", "1.234", "1,5"]),
    "Flag__c": (["true"], ["yes"]),
    "Day__c": (["2025-12-31"], ["31/12/2025", "2568-12-31"]),
    "At__c": (["2025-12-31T23:59:59.000Z"], ["2025-12-31", "2568-12-31T00:00:00.000Z", "9999-12-31T00:00:00.000Z"]),
    "Pick__c": (["New", ""], ["1", "Old"]),
    "Fixed__c": (["x"], ["y"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_an_edited_cell_is_held_to_its_field(name):
    spec = next(spec for spec in CONFIG.fields if spec.field == name)
    good, bad = FITS[name]
    assert [text for text in good if refuses(spec, text)] == []
    assert [text for text in bad if not refuses(spec, text)] == []
