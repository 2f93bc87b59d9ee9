"""``ora2sf tables new``: what the dictionary and the describe settle is written, what only a person can decide is marked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracledb
import pytest

from fakeforce import Org
from fakeforce import serve as serve_org
from fakeoracle import Scripted
from fakeoracle import serve as serve_oracle
from ora2sf import cli, dictionary
from ora2sf.connections import get_connection
from ora2sf.dictionary import Column, Reference, Table, read_table
from ora2sf.draft_new import Wished, draft_new
from ora2sf.errors import Exit, PreflightError, TableFileError
from ora2sf.matching import Likeness, match
from ora2sf.oracle import OracleSource
from ora2sf.tables import DECIDE, TableConfig

PASSWORD, SECRET = "canary-oracle-77f0", "canary/consumer+99ab"
Run = Callable[..., tuple[int, str, str]]
DDL = (
    """create table parts (
        part_id number(9) primary key, part_name varchar2(60) not null, list_price number, weight number(10,2),
        made_on date, sold_on varchar2(10), changed timestamp(3), active char(1), mail varchar2(100), colour varchar2(20),
        notes clob, photo blob, maker_code varchar2(10), "size" number(4), "Mixed Name" varchar2(10), remark varchar2(50))""",
    "comment on table parts is 'What we sell'",
    "comment on column parts.list_price is 'without\ntax'",
    "create table makers (maker_code varchar2(10) primary key, title varchar2(40))",
    "create table loose (a varchar2(10), b varchar2(10))",
    'create table "Mixed" ("Id" number(9) primary key, "part name" varchar2(20))',
    "create unique index loose_ab on loose (a, b)",
)
PARTS = [(n, f"Part {n}", f"{n + 20:02d}/11/2025" if n else "sold out", f"M{n}") for n in range(8)]
ORG = {
    "Part__c": """
        [[fields]]
        name = "External_Id__c"
        type = "string"
        length = 30
        external_id = true
        unique = true
        [[fields]]
        name = "TMS_Part_Name__c"
        type = "string"
        length = 40
        nillable = false
        [[fields]]
        name = "TMS_List_Price__c"
        type = "currency"
        precision = 16
        scale = 2
        [[fields]]
        name = "Weight__c"
        type = "double"
        precision = 12
        scale = 2
        [[fields]]
        name = "MadeOn__c"
        type = "datetime"
        [[fields]]
        name = "Sold_On__c"
        type = "date"
        [[fields]]
        name = "Is_On__c"
        label = "Active"
        type = "boolean"
        [[fields]]
        name = "Mail__c"
        type = "email"
        [[fields]]
        name = "Colour__c"
        type = "picklist"
        values = ["red", "blue"]
        restricted = true
        [[fields]]
        name = "Notes__c"
        type = "textarea"
        length = 32000
        [[fields]]
        name = "Photo__c"
        type = "string"
        [[fields]]
        name = "Size__c"
        type = "double"
        precision = 6
        scale = 0
        [[fields]]
        name = "Maker__c"
        type = "reference"
        reference_to = ["Maker__c"]
        [[fields]]
        name = "Remarks__c"
        type = "boolean"
        [[fields]]
        name = "Owner_Group__c"
        type = "string"
        nillable = false
        """,
    "Maker__c": """
        [[fields]]
        name = "Maker_Code__c"
        type = "string"
        length = 10
        external_id = true
        unique = true
        [[fields]]
        name = "Title__c"
        type = "string"
        length = 40
        """,
    "Plain__c": """
        [[fields]]
        name = "Title__c"
        type = "string"
        """,
    "Locked__c": """
        createable = false
        [[fields]]
        name = "Code__c"
        type = "string"
        external_id = true
        unique = true
        """,
    "Two__c": """
        [[fields]]
        name = "First_Code__c"
        type = "string"
        external_id = true
        unique = true
        [[fields]]
        name = "Second_Code__c"
        type = "string"
        external_id = true
        unique = true
        """,
}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    with serve_oracle(
        users={"TMS": PASSWORD, "READER": PASSWORD}, revoked={"READER": {"SELECT ANY TABLE"}}
    ) as server:
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=server.dsn) as session:
            cursor = session.cursor()
            for statement in DDL:
                cursor.execute(statement)
            cursor.executemany(
                "insert into parts (part_id, part_name, sold_on, maker_code) values (:1, :2, :3, :4)", PARTS
            )
            session.commit()
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Org]:
    schema = tmp_path_factory.mktemp("schema")
    for name, fields in ORG.items():
        (schema / f"{name}.toml").write_text(
            f'name = "{name}"\n{re.sub(r"^ +", "", fields, flags=re.MULTILINE)}'
        )
    with serve_org(schema=schema, client_id="key", client_secret=SECRET) as found:
        yield found


@pytest.fixture
def new(
    oracle: Any,
    running: Org,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs ``ora2sf tables new`` in a folder of its own: exit code, output, errors."""
    place = {
        "host": oracle.host,
        "port": oracle.port,
        "schema": "FREEPDB1",
        "login": "TMS",
        "password": PASSWORD,
    }
    org = {"host": running.url, "login": "key", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_ORACLE_TMS", json.dumps(place))
    monkeypatch.setenv("AIRFLOW_CONN_READER", json.dumps(place | {"login": "READER"}))
    monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_API", json.dumps(org))
    (tmp_path / "tables").mkdir()
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["tables", "new", "--tables", "tables", *arguments])
        shown = capsys.readouterr()
        assert PASSWORD not in shown.out + shown.err
        return status, shown.out, shown.err

    return run


@pytest.fixture
def parts(new: Run) -> str:
    status, out, err = new("TMS.PARTS", "--object", "Part__c")
    assert (status, err) == (Exit.COMPLETE, "")
    return out


def entry(text: str, field: str) -> str:
    """The lines of one field."""
    found = re.search(rf'\[\[fields]].*\nfield = "{field}"(\n.+)*', text)
    assert found, text
    return found[0]


def without_decisions(text: str) -> str:
    return re.sub(r"\s*# decide:.*", "", text)


# what is written


def test_names_are_matched_by_name_by_label_and_without_a_common_prefix(parts: str) -> None:
    assert 'column = "PART_NAME"\n' in entry(parts, "TMS_Part_Name__c")
    assert 'column = "LIST_PRICE"\n' in entry(parts, "TMS_List_Price__c")
    assert 'column = "MADE_ON"\n' in entry(parts, "MadeOn__c")
    assert 'column = "ACTIVE"\n' in entry(parts, "Is_On__c")


def test_types_and_sizes_come_from_the_describe_and_what_is_narrower_is_marked(parts: str) -> None:
    name = entry(parts, "TMS_Part_Name__c")
    assert "length = 40                    # decide: 60 in Oracle" in name
    assert "required = true" in name
    assert "# NUMBER: without tax" in entry(parts, "TMS_List_Price__c")
    assert "digits" in entry(parts, "Size__c")
    assert 'type = "email"' in entry(parts, "Mail__c")
    assert 'red" = "red"' in entry(parts, "Colour__c")
    assert "TMS_List_Price__c is rounded where a value has more decimals" in parts
    assert "Weight__c is rounded" not in parts


def test_the_primary_key_makes_the_external_id_and_the_only_one_is_taken(parts: str) -> None:
    key = entry(parts, "External_Id__c")
    assert 'columns = ["PART_ID"]\n' in key
    assert "decide" not in key
    assert 'description = "What we sell"' in parts


def test_dates_in_text_get_the_formats_that_the_first_rows_have(parts: str) -> None:
    assert (
        'formats = ["DD/MM/YYYY"]       # decide: seen in the first 1,000 rows; 1 of them are no date'
        in entry(parts, "Sold_On__c")
    )


def test_without_a_sample_no_row_is_read_and_a_date_in_text_is_left_to_decide(new: Run) -> None:
    out = new("TMS.PARTS", "--object", "Part__c", "--no-sample")[1]
    assert (
        "SOLD_ON to Sold_On__c: column SOLD_ON arrives as String, which cannot become a date without formats"
        in out
    )
    assert "rows" not in out.splitlines()[2]


def test_a_time_zone_is_to_decide_where_times_are_loaded_and_can_be_given(new: Run, parts: str) -> None:
    assert 'source_time_zone = "UTC"       # decide: zone of dates with time' in parts
    out = new("TMS.PARTS", "--object", "Part__c", "--time-zone", "Asia/Bangkok")[1]
    assert 'source_time_zone = "Asia/Bangkok"\n' in out


def test_what_does_not_fit_or_cannot_be_read_is_left_out_and_said(parts: str) -> None:
    assert "# decide: column PHOTO is of type BLOB, which cannot be read: left out (Photo__c)" in parts
    assert "Part__c requires Owner_Group__c, which no column fills" in parts
    alone = parts[parts.index("# decide: these columns go to no field") :]
    assert "#   CHANGED TIMESTAMP(3)" in alone
    assert "#   Mixed Name VARCHAR2(10)" in alone


def test_columns_that_need_quotation_marks_are_renamed_by_a_select_that_can_look_back(parts: str) -> None:
    config = parsed(parts)
    assert 't."size" AS SIZE_' in config.source.sql
    assert config.can_look_back
    assert "FROM TMS.PARTS AS OF SCN :scn t" in config.inner_select(as_of=True)


def test_a_reference_is_made_by_the_external_id_that_a_column_is_named_after(parts: str) -> None:
    lookup = entry(parts, "Maker__c")
    assert 'columns = ["MAKER_CODE"]' in lookup
    assert "decide: that it holds Maker_Code__c of Maker__c" in lookup
    assert 'external_id_field = "Maker_Code__c"' in lookup


def test_a_reference_to_what_another_table_file_fills_is_made_as_its_key_is(new: Run, tmp_path: Path) -> None:
    assert new("TMS.MAKERS", "--object", "Maker__c", "-o", "tables/makers.toml")[0] == Exit.COMPLETE
    out = new("TMS.PARTS", "--object", "Part__c")[1]
    assert "# as makers.toml makes the key of Maker__c" in entry(out, "Maker__c")
    assert 'depends_on = ["makers"]' in out


def parsed(text: str) -> TableConfig:
    import tomllib

    return TableConfig.model_validate(tomllib.loads(text))


def test_the_file_is_written_once_and_passes_the_check_with_its_decisions_as_warnings(
    new: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("TMS.PARTS", "--object", "Part__c", "-o", "tables/parts.toml")
    status, out, _ = new(*arguments)
    text = (tmp_path / "tables/parts.toml").read_text(encoding="utf-8")
    assert status == Exit.COMPLETE
    assert f"{text.count(DECIDE)} things to decide" in out
    assert "Then: ora2sf tables check parts" in out
    assert cli.main(["tables", "check", "--tables", "tables"]) == Exit.COMPLETE
    assert "mark what is still to decide" in capsys.readouterr().out
    status, _, err = new(*arguments)
    assert status == Exit.CONFIGURATION
    assert "is not overwritten" in err


def test_without_a_unique_key_the_check_says_which_decision_blocks(
    new: Run, oracle: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as session:
        session.cursor().execute("create table nokey (code varchar2(10), title varchar2(10))")
    assert new("TMS.NOKEY", "--object", "Maker__c", "-o", "tables/nokey.toml")[0] == Exit.COMPLETE
    text = Path("tables/nokey.toml").read_text()
    assert "columns = []                   # decide: no primary key and no unique index" in text
    assert cli.main(["tables", "check", "--tables", "tables"]) == Exit.CONFIGURATION
    assert "fields[1].columns" in capsys.readouterr().out
    out = new("TMS.NOKEY", "--object", "Maker__c", "--key", "code", "title")[1]
    assert 'columns = ["CODE", "TITLE"]' in out
    assert "a text that stands in none of CODE, TITLE" in out


def test_a_unique_index_whose_columns_may_be_empty_is_taken_and_marked(new: Run) -> None:
    out = new("TMS.LOOSE", "--object", "Maker__c")[1]
    assert 'columns = ["A", "B"]           # decide: unique, but may be empty: A, B' in out


def test_a_key_is_joined_as_by_another_table_file_that_fills_the_same_object(
    new: Run, tmp_path: Path
) -> None:
    drafted = new("TMS.LOOSE", "--object", "Maker__c")[1]
    assert 'separator = "|"' in drafted
    other = tmp_path / "tables" / "other.toml"
    other.parent.mkdir(exist_ok=True)
    other.write_text(
        drafted.replace('table = "loose"', 'table = "other"').replace('"|"', '"~"'), encoding="utf-8"
    )
    out = new("TMS.LOOSE", "--object", "Maker__c")[1]
    assert re.search(r'separator = "~" +# decide: as in other, which fills the same object', out)


def test_a_key_that_is_never_empty_comes_before_one_that_may_be(sales: Table) -> None:
    table = replace(sales, keys=(("PART",), ("SALE_NO",)), references=())
    assert 'columns = ["SALE_NO"]\n' in draft_new(table, described("Sale__c"), Wished("sales")).text


def test_a_key_that_cannot_be_made_is_marked_and_a_reference_that_does_not_fit_asks_for_no_order(
    new: Run, sales: Table
) -> None:
    out = new("TMS.PARTS", "--object", "Part__c", "--key", "PHOTO")[1]
    assert (
        'columns = ["PHOTO"]            # decide: column PHOTO has the type BLOB, which cannot be read' in out
    )
    wrong = described("Sale__c", REFERENCE | {"updateable": False})
    text = draft_new(sales, wrong, Wished("sales"), [PART_FILE], {"Part__c": described("Part__c")}).text
    assert "PART to Part__c: the run-as user may not change it (updateable is false): left out" in text
    assert "depends_on" not in text


def test_a_table_in_mixed_case_is_read_by_its_quoted_name(new: Run) -> None:
    out = new('TMS."Mixed"', "--object", "Part__c")[1]
    assert 'table = "mixed"' in out
    assert 'FROM TMS."Mixed" /* as of */ t' in out
    assert 't."part name" AS PART_NAME' in out
    assert parsed(out).key.columns == ("ID",)


def test_without_an_owner_the_schema_of_the_session_is_meant(new: Run) -> None:
    assert 'table = "TMS.MAKERS"' in new("makers", "--object", "Maker__c")[1]


# what is refused


@pytest.mark.parametrize(
    ("arguments", "said", "step"),
    [
        (("TMS.PART", "--object", "Part__c"), "no table or view TMS.PART", "Did you mean TMS.PARTS"),
        (("TMZ.PARTS", "--object", "Part__c"), "no table or view TMZ.PARTS", "Write TMS.PARTS"),
        (("TMZ.NOTHING", "--object", "Part__c"), "no table or view TMZ.NOTHING", "Did you mean TMS?"),
        (("TMS.mixed", "--object", "Part__c"), "no table or view TMS.MIXED", 'Did you mean TMS."Mixed"'),
        (("TMS.PARTS;DROP", "--object", "Part__c"), "is not OWNER.TABLE", "Write OWNER.TABLE"),
        (("TMS.PARTS", "--object", "Parts__c"), "has no object Parts__c", "Did you mean Part__c"),
        (("TMS.PARTS", "--object", "Plain__c"), "has no External ID field", "--external-id"),
        (("TMS.PARTS", "--object", "Locked__c"), "may not create or change records", "permission set"),
        (("TMS.PARTS", "--object", "Part__c", "--external-id", "Externl_Id__c"), "(did you mean External_Id__c?)", "API name"),
        (("TMS.PARTS", "--object", "Part__c", "--key", "PART_I"), "(did you mean PART_ID?)", "Name columns"),
        (("TMS.PARTS", "--object", "Part__c", "--time-zone", "Bangkok"), "no time zone Bangkok", "Asia/Bangkok"),
        (("TMS.PARTS", "--object", "Part__c", "--oracle-conn-id", "reader"), "may not read it", "GRANT SELECT ON TMS.PARTS TO READER"),
        (("TMS.PARTS", "--object", "Part__c", "--sf-conn-id", "nobody"), "no connection 'nobody'", "Export"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_with_what_is_near_and_the_next_step(
    new: Run, arguments: tuple[str, ...], said: str, step: str
) -> None:
    status, out, err = new(*arguments)
    assert (status != Exit.COMPLETE, out) == (True, "")
    what, _, following = err.partition("Next step: ")
    assert said in what
    assert step in following


def test_several_external_ids_are_a_decision(new: Run) -> None:
    assert (
        'field = "First_Code__c"        # decide: or Second_Code__c (--external-id)'
        in new("TMS.MAKERS", "--object", "Two__c")[1]
    )


# what only another database has: foreign keys, statistics, synonyms


def dictionary_of(**answers: list[tuple[Any, ...]]) -> Scripted:
    """A database whose dictionary knows SALES, which refers to PARTS, and has twelve million rows."""
    text, number = "VARCHAR2(4000)", "NUMBER"
    script = Scripted()
    shapes: dict[str, dict[str, str]] = {
        "COLUMNS": {"A": text, "B": text, "C": number, "D": number, "E": number, "F": number, "G": text},
        "COMMENT": {"A": text},
        "COMMENTS": {"A": text, "B": text},
        "STATISTICS": {"A": number},
        "CONSTRAINTS": {"A": text, "B": text, "C": text},
        "INDEXES": {"A": text, "B": text, "C": text},
        "REFERENCES": dict.fromkeys("ABCDE", text),
        "SYNONYMS": {"A": text, "B": text},
    }
    for name, columns in shapes.items():
        script.query(getattr(dictionary, name), columns, answers.get(name, []))
    return script


@pytest.fixture
def sales(monkeypatch: pytest.MonkeyPatch) -> Table:
    script = dictionary_of(
        COLUMNS=[
            ("SALE_NO", "NUMBER", 22, 0, 9, 0, "N"),
            ("PART", "NUMBER", 22, 0, 9, 0, "Y"),
            ("SOLD", "DATE", 7, 0, None, None, "N"),
            ("SOLD_TEXT", "CHAR", 10, 10, None, None, "Y"),
            ("UPDATED_AT", "DATE", 7, 0, None, None, "Y"),
        ],
        STATISTICS=[(12_000_000,)],
        CONSTRAINTS=[("P", "SALES_PK", "SALE_NO")],
        REFERENCES=[("SALES_FK", "PART", "TMS", "PARTS", "PART_ID")],
    )
    types = {
        "SALE_NO": "NUMBER(9)",
        "PART": "NUMBER(9)",
        "SOLD": "DATE",
        "SOLD_TEXT": "CHAR(10)",
        "UPDATED_AT": "DATE",
    }
    script.query("SELECT * FROM TMS.SALES", types)
    script.query(
        "SELECT SOLD_TEXT FROM TMS.SALES WHERE ROWNUM <= 1000",
        {"SOLD_TEXT": "CHAR(10)"},
        [("2025-01-31",), ("31/01/2025",), ("2025-02-01",)],
    )
    with serve_oracle(backend=script, users={"TMS": PASSWORD}) as server:
        place = {
            "host": server.host,
            "port": server.port,
            "schema": "FREEPDB1",
            "login": "TMS",
            "password": PASSWORD,
        }
        monkeypatch.setenv("AIRFLOW_CONN_SCRIPTED", json.dumps(place))
        with OracleSource(get_connection("scripted")) as source:
            return read_table(source, "TMS.SALES")


def test_keys_references_size_and_masks_are_read_from_the_dictionary(sales: Table) -> None:
    assert sales.keys == (("SALE_NO",),)
    assert sales.references == (Reference(("PART",), "TMS", "PARTS", ("PART_ID",)),)
    assert sales.rows == 12_000_000
    assert [one.masks for one in sales.columns if one.masks] == [("YYYY-MM-DD", "DD/MM/YYYY")]


def described(name: str, *fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    plain = {
        "createable": True,
        "updateable": True,
        "nillable": True,
        "defaultedOnCreate": False,
        "label": "",
        "length": 0,
    }
    plain |= {"picklistValues": [], "precision": 0, "scale": 0, "relationshipName": None, "referenceTo": []}
    key = {"name": "Key__c", "type": "string", "length": 30, "externalId": True, "unique": True}
    return {
        "name": name,
        "createable": True,
        "updateable": True,
        "fields": [plain | one for one in (key, *fields)],
    } | changes


PART_FILE = TableConfig.model_validate(
    {
        "table": "parts", "object": "Part__c", "external_id_field": "Key__c", "phase": 3, "source": {"table": "TMS.PARTS"},
        "fields": [{"field": "Key__c", "type": "key", "columns": ["PART_ID"], "length": 30}],
    }
)  # fmt: skip
REFERENCE = {
    "name": "Part__c",
    "type": "reference",
    "relationshipName": "Part__r",
    "referenceTo": ["Part__c"],
}


def test_a_foreign_key_makes_the_reference_without_a_doubt_and_the_order_of_tables(sales: Table) -> None:
    part = described("Part__c")
    text = draft_new(
        sales, described("Sale__c", REFERENCE), Wished("sales"), [PART_FILE], {"Part__c": part}
    ).text
    lookup = entry(text, "Part__c")
    assert 'columns = ["PART"]\n' in lookup
    assert "decide" not in lookup
    assert 'depends_on = ["parts"]' in text
    assert "phase = 3" in text


def test_a_large_table_is_offered_windows_and_a_column_of_changes(sales: Table) -> None:
    text = draft_new(sales, described("Sale__c"), Wished("sales")).text
    assert "# About 12,000,000 rows." in text
    assert '# window = { column = "SOLD", type = "date" }' in text
    assert (
        '# window = { column = "SOLD_TEXT", type = "text", format = "YYYY-MM-DD", also = ["DD/MM/YYYY"] }'
        in text
    )
    assert '# changed_column = "UPDATED_AT"' in text
    taken = re.sub(r'# (window = .*"SOLD", .*|changed_column)', r"\1", text)
    assert parsed(taken).window is not None
    small = draft_new(replace(sales, rows=5_000), described("Sale__c"), Wished("sales")).text
    assert "window" not in small


def test_a_synonym_is_told_with_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    script = dictionary_of(SYNONYMS=[("TMS", "SALES")])
    with serve_oracle(backend=script, users={"TMS": PASSWORD}) as server:
        place = {
            "host": server.host,
            "port": server.port,
            "schema": "FREEPDB1",
            "login": "TMS",
            "password": PASSWORD,
        }
        monkeypatch.setenv("AIRFLOW_CONN_SCRIPTED", json.dumps(place))
        with OracleSource(get_connection("scripted")) as source, pytest.raises(TableFileError) as caught:
            read_table(source, "TMS.REVENUE")
    assert "It is a synonym: write TMS.SALES." in caught.value.next_step


def test_dates_and_numbers_that_go_to_a_text_are_marked(sales: Table) -> None:
    texts = [{"name": f"{name}__c", "type": "string", "length": 40} for name in ("Sold_Text", "Sale_No")]
    text = draft_new(sales, described("Sale__c", *texts), Wished("sales")).text
    assert "look like dates, YYYY-MM-DD or DD/MM/YYYY" in entry(text, "Sold_Text__c")
    assert "give leading zeros back" in entry(text, "Sale_No__c")


def test_nobody_may_write_is_told_before_a_draft_is_made(sales: Table) -> None:
    with pytest.raises(PreflightError, match="may not create or change"):
        draft_new(sales, described("Sale__c", updateable=False), Wished("sales"))


def test_a_key_that_may_be_longer_than_its_field_is_marked(sales: Table) -> None:
    wide = Column("CODE", "VARCHAR2(80)", "VARCHAR2", 80, nullable=False, read=sales.columns[3].read)
    table = replace(sales, columns=(wide,), keys=(("CODE",),), references=())
    text = draft_new(table, described("Sale__c"), Wished("sales")).text
    assert "decide: the columns may have 80 characters; longer keys are rejected rows" in text


# names


@pytest.mark.parametrize(
    ("column", "field", "label", "likeness"),
    [
        ("PROD_NAME", "Prod_Name__c", "", Likeness.NAME),
        ("PROD_NAME", "pkg__ProdName__c", "", Likeness.NAME),
        ("QTY", "Amount_1__c", "Qty", Likeness.LABEL),
        ("NAME", "Account_Name__c", "", None),
        ("CREATED_DATE", "Oracle_Created_Date__c", "", Likeness.NEAR),
        ("REMARK", "Remarks__c", "", Likeness.NEAR),
        ("A", "B__c", "", None),
    ],
)
def test_a_column_and_a_field_are_alike_by_these_rules(
    column: str, field: str, label: str, likeness: Likeness | None
) -> None:
    found = match([column], {field: label})
    assert [one.likeness for one in found] == ([likeness] if likeness else [])


def test_what_is_as_likely_is_named_and_nothing_is_used_twice() -> None:
    one, other = match(
        ["SHOP_CODE", "X_UNIT", "X_PRICE"], {"Shop_Code__c": "", "ShopCode__c": "", "Unit__c": ""}
    )
    assert (one.column, one.decide) == ("SHOP_CODE", "as likely: ShopCode__c")
    assert (other.column, other.field, other.likeness, other.decide) == (
        "X_UNIT",
        "Unit__c",
        Likeness.PREFIX,
        "",
    )
