"""A table file says what is wrong with it: the file, the key, and what is allowed."""

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ora2sf.errors import TableFileError
from ora2sf.tables import DATE_MASKS, TableConfig

ROOT = Path(__file__).parents[2]
GOOD = """
table = "t"
object = "T__c"
external_id_field = "Key__c"

[source]
table = "OWNER.T"

[[fields]]
field = "Key__c"
type = "key"
columns = ["k"]

[[fields]]  # the second field
field = "V__c"
column = "v"
type = "text"
length = 10
"""


def load(folder: Path, text: str | bytes, name: str = "t") -> TableConfig:
    path = folder / f"{name}.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return TableConfig.load(name, folder)


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(TableFileError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert str(folder / "t.toml") in message
    assert "Next step: " in message
    return message


def field(**entries: Any) -> dict[str, Any]:
    base: dict[str, Any] = tomllib.loads(GOOD)
    changed = copy.deepcopy(base)
    changed["fields"][1] = {"field": "V__c", "column": "V"} | entries
    return changed


def complaint(**entries: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TableConfig.model_validate(field(**entries))
    return str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "tables").glob("*.toml")), ids=lambda p: p.stem)
def test_every_table_file_of_the_project_is_valid(path):
    assert TableConfig.load(path.stem, path.parent).table == path.stem


def test_a_table_file_gives_the_columns_it_needs_once_and_in_upper_case(tmp_path):
    config = load(tmp_path, GOOD.replace('column = "v"', 'column = "k"'))
    assert config.columns == ("K",)
    assert config.header == ("Key__c", "V__c")
    assert config.key.columns == ("K",)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    assert load(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()).table == "t"


def test_a_statement_that_ends_in_a_comment_or_a_semicolon_still_counts(tmp_path):
    text = GOOD.replace('table = "OWNER.T"', 'sql = "SELECT K, V FROM T -- the newest ;"\norder_by = ["K"]')
    config = load(tmp_path, text)
    assert config.select() == "SELECT K, V FROM (SELECT K, V FROM T -- the newest \n) ORDER BY K"
    assert config.count() == "SELECT COUNT(*) FROM (SELECT K, V FROM T -- the newest \n)"


def test_a_missing_table_file_names_its_nearest_neighbour(tmp_path):
    load(tmp_path, GOOD)
    (tmp_path / "price.toml").write_text("")
    with pytest.raises(TableFileError) as caught:
        TableConfig.load("prices", tmp_path)
    assert "'prices'" in str(caught.value)
    assert "Did you mean price? Known tables: price, t." in str(caught.value)


def test_a_table_file_that_is_not_utf8_is_refused(tmp_path):
    assert "is not UTF-8" in refused(tmp_path, GOOD.encode().replace(b"OWNER", b"\xff"))


def test_a_table_file_that_is_not_toml_names_the_line(tmp_path):
    assert "(at line 3, column" in refused(tmp_path, "\n\ntable = \n")


def test_a_table_file_must_say_its_own_name(tmp_path):
    assert 'Write table = "t"' in refused(tmp_path, GOOD.replace('table = "t"', 'table = "u"'))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('object = "T__c"', 'objekt = "T__c"', ["objekt (line 3): there is no such key; did you mean object?", "batch_size"]),
        ('object = "T__c"', "", ["object: is missing and must be given"]),
        ('object = "T__c"', 'object = "T; DROP"', ["object (line 3)", "letters, digits and _"]),
        ('table = "OWNER.T"', 'tabel = "OWNER.T"', ["source.tabel", "did you mean table? allowed: table, sql, order_by"]),
        ('table = "OWNER.T"', "", ['give either table = "OWNER.NAME" or sql']),
        ('table = "OWNER.T"', 'table = "T"\nsql = "SELECT 1"', ["give either table"]),
        ("length = 10", "lenght = 10", ["fields[2].lenght (V__c, line 14)", "did you mean length? allowed: field, column"]),
        ("length = 10", "length = 0", ["fields[2].length (V__c, line 14)", "greater than 0"]),
        ('type = "text"', 'type = "txt"', ["fields[2] (V__c, line 14)", "unknown type 'txt'; allowed: key, lookup, text, code"]),
        ('type = "text"', "", ["fields[2] (V__c, line 14)", "type is missing; allowed: key, lookup, text"]),
        ('columns = ["k"]', 'columns = "k"', ["fields[1].columns (Key__c", "must be a list: [ … ]"]),
        ('[source]\ntable = "OWNER.T"', 'source = "OWNER.T"', ["source (line 6): must be a table: { key = value, … }"]),
        ('field = "V__c"', 'field = "V,c"', ["fields[2].field (V,c, line 14)", "letters, digits and _"]),
        ('field = "V__c"', 'field = "Key__c"', ["fields mapped twice: Key__c"]),
        ('type = "key"\ncolumns = ["k"]', 'type = "text"\ncolumn = "k"\nlength = 1', ["exactly one entry", "found: none"]),
        ('external_id_field = "Key__c"', 'external_id_field = "Id__c"', ["exactly one entry", "'Id__c'", "found: Key__c"]),
        ('object = "T__c"', 'object = "T__c"\nsource_time_zone = "Bangkok"', ["'Bangkok'", "Asia/Bangkok"]),
        ('object = "T__c"', 'object = "T__c"\nduplicates = "last"', ["needs source.order_by"]),
        ('object = "T__c"', 'object = "T__c"\nduplicates = "newest"', ["duplicates (line 4)", "'first', 'last' or 'reject_all'"]),
        ('object = "T__c"', 'object = "T__c"\nbatch_size = 0', ["batch_size (line 4)", "greater than or equal to 1"]),
        ('object = "T__c"', 'object = "T__c"\n[status]\nstate = "x"', ["status.state", "allowed: object, external_id_field"]),
    ],
)  # fmt: skip
def test_an_error_names_the_file_the_key_and_what_is_allowed(tmp_path, old, new, said):
    assert GOOD.count(old) == 1
    message = refused(tmp_path, GOOD.replace(old, new))
    for part in said:
        assert part in message


def test_all_errors_of_a_table_file_are_listed_at_once(tmp_path):
    text = GOOD.replace("length = 10", "length = 0").replace('object = "T__c"', "")
    message = refused(tmp_path, text)
    assert "object: is missing" in message
    assert "fields[2].length" in message


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"type": "text", "length": 5, "on_misfit": "default"}, "go together"),
        ({"type": "text", "length": 5, "default": "x"}, "go together"),
        ({"type": "text", "length": 5, "on_misfit": "null", "required": True}, "contradicts required"),
        (
            {"type": "decimal", "on_misfit": "truncate"},
            'is for type = "text"; allowed: reject, fail, null, default',
        ),
        ({"type": "decimal", "precision": 2, "scale": 3}, "scale = 3 is more than precision = 2"),
        ({"type": "date", "formats": ["MM/DD/YYYY"]}, "allowed: DD/MM/YYYY, "),
        ({"type": "date", "earliest": "2025-01-01", "latest": "2024-01-01"}, "is after latest"),
        ({"type": "date", "earliest": "1699-12-31"}, "1700-01-01"),
        ({"type": "datetime", "latest": "4001-01-01"}, "4000-12-31"),
        ({"type": "picklist", "values": {}}, "values"),
        ({"type": "picklist", "values": {"1": ""}}, "values: '1' = '' does not fit"),
        ({"type": "picklist", "values": {"1": "#N/A"}}, "does not fit"),
        ({"type": "picklist", "values": {"1": "a\nb"}}, "no line break"),
        ({"type": "picklist", "length": 2, "values": {"1": "abc"}}, "1 to 2 characters"),
        ({"type": "code", "length": 3, "width": 4}, "width = 4 is more than length = 3"),
        ({"type": "email", "length": 81}, "less than or equal to 80"),
    ],
)
def test_a_contradiction_in_a_field_is_refused(entries, said):
    assert said in complaint(**entries)


@pytest.mark.parametrize(
    ("entries", "default", "said"),
    [
        ({"type": "text", "length": 3}, "long", "1 to 3 characters"),
        ({"type": "text", "length": 3}, "", "1 to 3 characters"),
        ({"type": "text", "length": 9}, "#N/A", "not #N/A"),
        ({"type": "text", "length": 9}, "a\rb", "without CR"),
        ({"type": "integer", "digits": 2}, "100", "at most 2 digits"),
        ({"type": "integer"}, "1.0", "whole number"),
        ({"type": "decimal", "precision": 4, "scale": 2}, "100", "2 digits before and 2 after the point"),
        ({"type": "decimal", "precision": 4, "scale": 2}, "1.234", "2 after the point"),
        ({"type": "decimal", "precision": 4, "scale": 0}, "1.", "0 after the point"),
        ({"type": "boolean"}, "Y", "write true or false"),
        ({"type": "date"}, "31/12/2025", "like 2025-12-31"),
        ({"type": "date"}, "2025-02-30", "like 2025-12-31"),
        ({"type": "date"}, "1600-01-01", "like 2025-12-31"),
        ({"type": "datetime"}, "2025-12-31 00:00:00", "like 2025-12-31T23:59:59.000Z"),
        ({"type": "picklist"}, "a\tb", "tabulator"),
        ({"type": "code"}, " 1", "no blanks around it"),
        ({"type": "email"}, "nobody", "like name@example.com"),
        ({"type": "phone", "length": 3}, "1234", "1 to 3 characters"),
    ],
)
def test_a_default_that_does_not_fit_itself_is_refused(entries, default, said):
    assert said in complaint(**entries, on_misfit="default", default=default)


@pytest.mark.parametrize(
    ("entries", "default"),
    [
        ({"type": "text", "length": 3}, "ไทย"),
        ({"type": "integer"}, "-7"),
        ({"type": "decimal", "precision": 2, "scale": 2}, "0.25"),
        ({"type": "decimal"}, "-1234.5"),
        ({"type": "boolean"}, "false"),
        ({"type": "date"}, "1999-12-31"),
        ({"type": "datetime"}, "1999-12-31T00:00:00.000Z"),
        ({"type": "picklist", "values": {"1": "New"}}, "Old"),
    ],
)
def test_a_default_that_fits_is_accepted(entries, default):
    config = TableConfig.model_validate(field(**entries, on_misfit="default", default=default))
    assert config.fields[1].default == default


@pytest.mark.parametrize("separator", ["", "\n", "\t"])
def test_the_parts_of_a_key_need_a_visible_separator(separator):
    entries = tomllib.loads(GOOD)
    entries["fields"][0] |= {"columns": ["K", "L"], "separator": separator}
    with pytest.raises(ValidationError, match="separator must be visible text"):
        TableConfig.model_validate(entries)


@pytest.mark.parametrize("value", ["a\rb", "a\0b"])
def test_a_constant_holds_no_text_that_breaks_the_file(value):
    with pytest.raises(ValidationError, match="must not hold CR or NUL"):
        TableConfig.model_validate(
            field()
            | {"fields": [*field()["fields"][:1], {"field": "C__c", "type": "constant", "value": value}]}
        )


def test_what_decides_the_staged_bytes_changes_the_fingerprint_and_nothing_else_does():
    one = TableConfig.model_validate(field(type="text", length=5))
    same = TableConfig.model_validate(
        field(type="text", length=5) | {"description": "x", "phase": 3, "job_timeout": 9}
    )
    other = TableConfig.model_validate(field(type="text", length=6))
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_every_mask_is_in_the_documentation_of_allowed_masks():
    message = complaint(type="date", formats=["DD.MM.YY"])
    for mask in DATE_MASKS:
        assert mask in message


LOOKUP = """
[[fields]]
field = "Parent__c"
type = "lookup"
columns = ["p", "q"]
object = "P__c"
external_id_field = "Ext__c"
"""
ORDERED = GOOD.replace('table = "OWNER.T"', 'table = "OWNER.T"\norder_by = ["Q", "p DESC", "K"]') + LOOKUP


def with_keys(*lines: str) -> str:
    """The table file with a lookup, an order by its columns, and these keys at its top."""
    return "\n".join(lines) + ORDERED


def test_the_rows_of_a_parent_are_known_by_its_lookup(tmp_path):
    config = load(tmp_path, with_keys('parent = "Parent__c"'))
    assert config.parent_field is not None
    assert config.parent_field.header == "Parent__r.Ext__c"
    assert config.header == ("Key__c", "V__c", "Parent__r.Ext__c")
    assert config.columns == ("K", "V", "P", "Q")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_keys('parent = "V__c"'), "parent = 'V__c' is no field with type = \"lookup\"; there are: Parent__c"),
        (with_keys('parent = "Parent__c"').replace('"Q", ', ""), "must begin with the columns of parent"),
        (with_keys('window = { column = "d", type = "text" }'), 'type = "text" and format = "…" go together'),
        (with_keys('window = { column = "d", type = "date", format = "YYYYMMDD" }'), "go together"),
        (with_keys('window = { column = "d", type = "text", format = "MM" }'), "allowed: DD/MM/YYYY"),
        (with_keys('window = { column = "d", kind = "date" }'), "window.kind: there is no such key; allowed: column"),
        (with_keys("max_rejected = -1"), "max_rejected (line 1): Input should be greater than or equal to 0"),
        (with_keys("max_rejected_share = 1.5"), "less than 1"),
        (ORDERED.replace('field = "Parent__c"', 'field = "Parent"'), "give relationship"),
        (ORDERED + 'separator = ""', "separator must be visible text when a lookup has several columns"),
        (ORDERED + 'on_misfit = "null"\nrequired = true', "contradicts required"),
    ],
)  # fmt: skip
def test_a_contradiction_in_parents_windows_and_limits_is_refused(tmp_path, text, said):
    assert said in refused(tmp_path, text)


def test_a_window_says_what_its_column_holds(tmp_path):
    config = load(
        tmp_path, with_keys('window = { column = "sale_date", type = "text", format = "DD/MM/YYYY" }')
    )
    assert config.window is not None
    assert (config.window.column, config.window.format) == ("SALE_DATE", "DD/MM/YYYY")
