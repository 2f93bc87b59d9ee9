"""The command ora2sf: table files are checked alone and together, shown, and drafted from Data Loader's mappings."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ora2sf
from fakeforce import Org
from ora2sf import catalog, cli
from ora2sf.errors import Exit
from ora2sf.salesforce import SalesforceClient
from ora2sf.sdl import Entry, properties
from ora2sf.tables import DECIDE, TableConfig

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in an empty folder: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run_it


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        env=ENVIRONMENT,
        text=True,
        stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE} | options,
    )


def table(name: str, *, lookup: str = "", external_id: str = "Key__c", head: str = "", **keys: Any) -> None:
    """Writes a table file into ``tables/``."""
    given_keys = {"table": name, "object": f"{name.title()}__c", "external_id_field": external_id} | keys
    lines = [f"{key} = {json.dumps(value)}" for key, value in given_keys.items()]
    lines += [head, "[source]", f'table = "OWNER.{name}"']
    lines += ['order_by = ["P"]'] if "parent" in keys else []
    lines += ["[[fields]]"]
    lines += [f'field = "{external_id}"', 'type = "key"', 'columns = ["K"]']
    if lookup:
        lines += ["[[fields]]", f'field = "{lookup}"', 'type = "lookup"', 'columns = ["P"]']
        lines += [f'object = "{lookup}"', 'external_id_field = "Key__c"']
    Path("tables").mkdir(exist_ok=True)
    Path(f"tables/{name}.toml").write_text("\n".join(lines), encoding="utf-8")


def checked(run: Run, *names: str) -> tuple[int, str]:
    status, out, err = run("tables", "check", "--tables", "tables", *names)
    assert err == ""
    return status, out


# the command itself


def test_help_comes_without_loading_what_only_the_notebooks_need() -> None:
    loaded = (
        "import sys, ora2sf.cli\ntry: ora2sf.cli.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    answer = command("-c", loaded)
    assert "check, list, show and draft table files" in answer.stdout
    assert not {"polars", "pyarrow", "duckdb", "oracledb", "requests", "pydantic"} & set(
        answer.stdout.split()
    )


def test_python_m_ora2sf_is_the_command() -> None:
    answer = command("-m", "ora2sf", "--version")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("ora2sf 0.")


def test_the_installed_script_is_the_same_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["ora2sf"].partition(":")
    assert getattr(importlib.import_module(module), function) is cli.main


def test_the_package_still_offers_its_names_and_refuses_others() -> None:
    assert [getattr(ora2sf, name).__name__ for name in ora2sf.__all__] == ora2sf.__all__
    with pytest.raises(AttributeError, match="has no attribute 'open_rum'"):
        ora2sf.open_rum  # noqa: B018


def test_ctrl_c_ends_quietly_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "read_catalog", interrupted)
    assert run("tables", "list", "--tables", "tables") == (130, "", "")


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    answer = command("-m", "ora2sf", "tables", "list", cwd=ROOT, stdout=writing)
    os.close(writing)
    assert (answer.returncode, answer.stderr) == (141, "")


def test_a_terminal_without_the_letters_of_a_table_file_still_shows_it() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "ora2sf", "tables", "show", "product_price"],
        cwd=ROOT,
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert answer.stdout.startswith(b"product_price \\u2192 Product2")


# tables check


def test_the_projects_own_table_files_pass(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORA2SF_HOME", str(ROOT))
    status, out, _ = run("tables", "check")
    assert status == 0, out
    assert f"{len(list((ROOT / 'tables').glob('*.toml')))} table file" in out.splitlines()[-1]


def test_a_good_file_is_one_line_with_object_fields_phase_and_parent(run: Run) -> None:
    table("sale")
    table("line", lookup="Sale__c", phase=2, depends_on=["sale"], parent="Sale__c")
    assert checked(run) == (
        0,
        "good  sale  Sale__c  1 field   phase 1  no parent\n"
        "good  line  Line__c  2 fields  phase 2  parent Sale__c → Sale__c\n"
        "2 table files checked, nothing is wrong.\n",
    )


def test_the_problems_of_every_file_are_listed_at_once_with_their_lines(run: Run) -> None:
    table("a", phsae=3)
    table("b", head="batch_size = 0")
    table("c", head="= nothing")
    table("d")
    status, out = checked(run)
    assert status == Exit.CONFIGURATION
    assert "phsae (line 4): there is no such key; did you mean phase?" in out
    assert "batch_size (line 4)" in out
    assert "c.toml is not valid TOML: Invalid" in out
    assert "good  d  " in out
    assert out.endswith("4 table files checked, 3 of them with problems.\n")


def test_a_name_checks_that_table_alone(run: Run) -> None:
    table("a", phase=0)
    table("b")
    assert checked(run, "b")[1].startswith("good  b")
    assert checked(run, "b")[0] == 0
    assert checked(run, "a", "b")[0] == Exit.CONFIGURATION


def test_depends_on_has_to_name_a_table_of_the_folder(run: Run) -> None:
    table("sale")
    table("line", phase=2, depends_on=["sales", "sale"])
    status, out = checked(run)
    assert status == Exit.CONFIGURATION
    assert "problem  line: depends_on names 'sales': no such table (did you mean sale?)\n" in out


def test_a_table_that_others_depend_on_may_be_broken_itself_and_is_not_called_missing(run: Run) -> None:
    table("sale", phase=0)
    table("line", phase=2, depends_on=["sale"])
    status, out = checked(run, "line")
    assert (status, "good  line" in out) == (0, True)


def test_no_table_comes_in_an_earlier_phase_than_those_it_depends_on(run: Run) -> None:
    table("sale", phase=2)
    table("line", phase=1, depends_on=["sale"])
    status, out = checked(run)
    assert status == Exit.CONFIGURATION
    assert "problem  line: phase 1 is before phase 2 of sale, which it depends on\n" in out
    table("line", phase=2, depends_on=["sale"])
    assert checked(run)[0] == 0


def test_a_circle_of_dependencies_is_told_once_with_its_way(run: Run) -> None:
    table("a", depends_on=["b"])
    table("b", depends_on=["c"])
    table("c", depends_on=["a"])
    table("d", phase=2, depends_on=["a"])
    status, out = checked(run)
    assert status == Exit.CONFIGURATION
    assert [line for line in out.splitlines() if line.startswith("problem")] == [
        "problem  a: depends_on goes in a circle: a → b → c → a"
    ]


def test_a_table_does_not_depend_on_itself(run: Run) -> None:
    table("a", depends_on=["a"])
    assert "problem  a: depends_on goes in a circle: a → a\n" in checked(run)[1]


def test_a_lookup_to_an_object_that_is_filled_later_is_a_warning_and_no_failure(run: Run) -> None:
    table("line", lookup="Sale__c")
    table("sale", phase=2)
    status, out = checked(run)
    assert status == 0
    assert (
        "warning  line: Sale__c refers to Sale__c, which sale fills later (phase 2, this one is 1)\n" in out
    )
    assert out.endswith("2 table files checked, nothing is wrong; 1 warning.\n")


def test_a_lookup_to_an_object_that_is_filled_side_by_side_is_a_warning_until_depends_on_orders_them(
    run: Run,
) -> None:
    table("line", lookup="Sale__c")
    table("sale")
    wanted = "warning  line: Sale__c refers to Sale__c, which sale fills side by side with this one (phase 1): name it in depends_on\n"
    assert wanted in checked(run)[1]
    table("line", lookup="Sale__c", depends_on=["between"])
    table("between", depends_on=["sale"])
    assert "warning" not in checked(run)[1]


def test_a_table_may_refer_to_its_own_object(run: Run) -> None:
    table("line", lookup="Line__c")
    assert "warning" not in checked(run)[1]


def test_one_object_has_one_external_id_field(run: Run) -> None:
    table("a", object="Sale__c")
    table("b", object="Sale__c", external_id="Other__c")
    table("c", object="Sale__c")
    status, out = checked(run)
    assert status == Exit.CONFIGURATION
    wanted = "problem  b: fills Sale__c by Other__c, and a fills it by Key__c: use one external id field\n"
    assert wanted in out
    assert out.count("problem  ") == 1


def test_one_object_has_keys_that_are_joined_in_one_way(run: Run) -> None:
    for name, separator in {"a": "_", "b": "|", "c": "_"}.items():
        table(name, object="Sale__c")
        path = Path("tables", f"{name}.toml")
        path.write_text(path.read_text().replace('["K"]', f'["K", "L"]\nseparator = "{separator}"'))
    status, out = checked(run)
    wanted = "warning  b: joins the key of Sale__c with '|', and a joins it with '_': a row of both would become two records\n"
    assert wanted in out
    assert (status, out.count("warning  ")) == (Exit.COMPLETE, 1)


def test_a_file_that_no_notebook_could_name_is_a_problem(run: Run) -> None:
    table("with-dash", object="X__c")
    assert "problem  with-dash: the notebooks take only letters, digits and _" in checked(run)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "--tables", "nowhere"), "nowhere is no folder.\nNext step: Give the folder"),
        (("check", "--tables", "empty"), "empty holds no table file (*.toml)."),
        (("check", "--tables", "tables", "aa"), "There is no table 'aa': tables/aa.toml does not exist."),
        (("show", "--tables", "tables", "aa"), "Did you mean a? Known tables: a."),
        (("show", "--tables", "tables", "../tables/a"), "'../tables/a' is not the name of a table file."),
        (("list", "--tables", "nowhere"), "nowhere is no folder."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_a_next_step(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    table("a")
    Path("empty").mkdir()
    status, out, err = run("tables", *arguments)
    assert (status, out) == (Exit.CONFIGURATION, "")
    assert said in err
    assert "Next step: " in err


# tables list and show


def test_list_is_in_phase_order_and_says_what_it_left_out(run: Run) -> None:
    table("a", phase=2, depends_on=["z"])
    table("z")
    table("broken", phase=0)
    status, out, err = run("tables", "list", "--tables", "tables")
    assert status == Exit.CONFIGURATION
    assert out == "phase 1  z  Z__c  1 field\nphase 2  a  A__c  1 field  after z\n"
    assert "Left out, because they are not valid: broken." in err


def test_show_tells_what_is_read_and_what_each_column_becomes_in_100_columns(run: Run) -> None:
    status, out, _ = run("tables", "show", "product_price", "--tables", str(ROOT / "tables"))
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "BARCODE TMS_Bar_Code__c text(100) misfit: reject" in rows
    assert "KPS_PRICE_EXC_VAT TMS_Price_EXC_VAT__c decimal(18,2) misfit: reject; rounding half_up" in rows
    assert "LEFT JOIN KPS_R_UNIT /* as of */ u ON a.UNIT_CODE = u.UNIT_CODE" in rows
    assert "time zone Asia/Bangkok" in rows


def test_a_line_of_sql_that_ends_in_a_comment_is_shown_as_it_is(run: Run) -> None:
    table("a")
    path = Path("tables/a.toml")
    line = f"SELECT k, {'a_column, ' * 12} p FROM t -- the rest of this line is a comment"
    path.write_text(
        path.read_text(encoding="utf-8").replace('table = "OWNER.a"', f'sql = """\n{line}"""'),
        encoding="utf-8",
    )
    assert line in run("tables", "show", "a", "--tables", "tables")[1]


def test_show_json_holds_every_key_and_the_select(run: Run) -> None:
    table("a", lookup="Sale__c")
    shown = json.loads(run("tables", "show", "a", "--json", "--tables", "tables")[1])
    config = TableConfig.load("a", Path("tables"))
    assert shown["select"] == config.select()
    assert [field["header"] for field in shown["fields"]] == ["Key__c", "Sale__r.Key__c"]
    assert shown["phase"] == 1


# Java's properties


WHITE = " \t\f"
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


def escaped(draw: st.DrawFn, text: str, special: str) -> str:
    """A text as a properties file may write it: every needed escape, some needless ones, lines that go on."""
    written = ""
    for char in text:
        units = char.encode("utf-16-be")
        coded = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        ways = [coded]
        if short := {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}.get(char):
            ways.append(short)
        elif ord(char) < 256 and char not in "tnrfu":
            ways.append("\\" + char)
        if ord(char) < 256 and char not in special:
            ways.append(char)
        written += draw(st.sampled_from(["", "", "", "\\\n \t", "\\\r\n"])) + draw(st.sampled_from(ways))
    return written


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """A properties file and the pairs that it holds."""
    pairs = draw(st.lists(st.tuples(texts.filter(bool), texts), max_size=4))
    text = ""
    for key, value in pairs:
        text += draw(st.sampled_from(["", "# a=b\n", "  ! c:d \\\n", "\n", " \t\r\n", "\\\n\n"]))
        text += draw(st.sampled_from(["", " ", "\t\f"])) + escaped(draw, key, "\\=:#!\n\r" + WHITE)
        text += draw(st.sampled_from(["=", ":", " = ", "\t:", " ", "=\\\n   "]))
        text += escaped(draw, value, "\\=:\n\r" + WHITE) + draw(st.sampled_from(["\n", "\r", "\r\n"]))
    return text, pairs


@given(files())
@settings(max_examples=300, deadline=None)
def test_a_properties_file_is_read_back_as_it_was_meant(made: tuple[str, list[tuple[str, str]]]) -> None:
    text, pairs = made
    assert [(entry.key, entry.value) for entry in properties(text)] == pairs


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("Truth = Beauty\n Truth:Beauty\nTruth\t\t\t:Beauty", [("Truth", "Beauty")] * 3),
        ("fruits   apple, banana, \\\n    pear", [("fruits", "apple, banana, pear")]),
        ("cheeses", [("cheeses", "")]),
        ("a\\\\=b\\", [("a\\", "b")]),
        ("a==b\nc=:d\ne = = f", [("a", "=b"), ("c", ":d"), ("e", "= f")]),
        ("a\\\n#b=c", [("a#b", "c")]),
        ("\\\n#b=c\nd=e", [("d", "e")]),
        ("# a\\\nb=c", [("b", "c")]),
        ("caf\xe9=\\u0e01\\uD83D\\uDE00\\z", [("caf\xe9", "ก😀z")]),
    ],
)
def test_java_reads_these_files_so(text: str, entries: list[tuple[str, str]]) -> None:
    assert [(entry.key, entry.value) for entry in properties(text)] == entries


def test_an_entry_knows_its_first_line() -> None:
    assert properties("# x\n\na=1\\\n2\nb=3") == [Entry(3, "a", "12"), Entry(5, "b", "3")]


# tables import-sdl


ACCOUNT = """#Mapping values
#Tue Jun 20 18:59:17 PDT 2006
ORACLE_ID__C=Oracle_Id__c
Name=Name
Num\\ Employees = NumberOfEmployees
"California"=BillingState, ShippingState
PHONE=Phone,Fax
PARENT=Parent\\:Account-Oracle_Id__c
OWNER=Owner:Username
STORE=Store__r.External_ID__c
SYSTEMMODSTAMP=
"""


def imported(run: Run, text: str, *options: str, output: str = "acc.toml") -> tuple[int, str, str]:
    Path("map.sdl").write_bytes(text.encode("latin-1"))
    names = ("--object", "Account", "--external-id", "Oracle_Id__c")
    return run("tables", "import-sdl", "map.sdl", *names, "-o", output, *options)


def drafted(run: Run, text: str, *options: str) -> TableConfig:
    status, _, err = imported(run, text, "--source", "TMS.ACC", *options)
    assert (status, err) == (0, "")
    return TableConfig.load("acc", Path())


def field(config: TableConfig, name: str) -> dict[str, Any]:
    return next(f.model_dump(exclude_unset=True) for f in config.fields if f.field == name)


def refused(run: Run, text: str, *options: str) -> str:
    status, out, err = imported(run, text, *options)
    assert (status, out) == (Exit.CONFIGURATION, "")
    assert not Path("acc.toml").exists()
    return err


def test_a_mapping_becomes_a_table_file_that_is_valid_and_says_what_to_decide(run: Run) -> None:
    config = drafted(run, ACCOUNT)
    assert (config.object, config.key.field, config.source.table) == ("Account", "Oracle_Id__c", "TMS.ACC")
    assert config.key.columns == ("ORACLE_ID__C",)
    assert field(config, "Name") == {"field": "Name", "column": "NAME", "type": "text", "length": 255}
    assert field(config, "Fax")["column"] == field(config, "Phone")["column"] == "PHONE"
    assert field(config, "ShippingState")["value"] == "California"
    assert field(config, "NumberOfEmployees")["column"] == "NUM_EMPLOYEES"
    text = Path("acc.toml").read_text(encoding="utf-8")
    assert 'decide: the mapping says "Num Employees"' in text
    assert '# Not mapped to a field: "SYSTEMMODSTAMP".' in text
    assert "[[fields]]  # line 4\n" in text


def test_the_three_ways_to_write_a_reference_are_lookups(run: Run) -> None:
    config = drafted(run, ACCOUNT)
    assert {"ParentId", "OwnerId", "Store__c"} <= {f.field for f in config.fields}
    assert {"Parent.Oracle_Id__c", "Owner.Username", "Store__r.External_ID__c"} <= set(config.header)
    assert field(config, "ParentId")["object"] == "Account"
    assert field(config, "Store__c")["object"] == "Store__c"
    text = Path("acc.toml").read_text(encoding="utf-8")
    assert 'object = "Owner"               # decide: the object that it refers to' in text


def test_the_last_words_count_fields_and_decisions_and_check_warns_of_what_is_left(run: Run) -> None:
    _, out, _ = imported(run, ACCOUNT, "--source", "TMS.ACC")
    number = Path("acc.toml").read_text(encoding="utf-8").count(DECIDE)
    assert out.startswith(f"acc.toml written: 10 fields, {number} things to decide")
    status, out, _ = run("tables", "check", "acc", "--tables", ".")
    assert status == 0
    assert f'warning  acc: {number} comment(s) "# decide:"' in out


def test_without_an_output_the_file_is_printed_and_nothing_is_written(run: Run) -> None:
    Path("m.sdl").write_text(ACCOUNT, encoding="ascii")
    names = ("--object", "Account", "--external-id", "Oracle_Id__c", "--source", "TMS.ACC$1")
    status, out, _ = run("tables", "import-sdl", "m.sdl", *names)
    assert (status, tomllib.loads(out)["table"]) == (0, "acc_1")
    assert list(Path().iterdir()) == [Path("m.sdl")]


def test_without_source_and_key_the_file_is_refused_until_a_person_has_decided(run: Run) -> None:
    assert imported(run, "NAME=Name")[0] == 0
    status, out, _ = run("tables", "check", "acc", "--tables", ".")
    assert status == Exit.CONFIGURATION
    assert "source" in out
    assert "columns" in out


def test_key_columns_are_taken_from_the_command_before_the_mapping(run: Run) -> None:
    config = drafted(run, "ID=Oracle_Id__c\nNAME=Name", "--key", "con_code", "SEQ")
    assert config.key.columns == ("CON_CODE", "SEQ")
    assert "decide: as --key says; the mapping fills it from ID" in Path("acc.toml").read_text("utf-8")


def test_joined_columns_become_a_select_with_data_loaders_separator(run: Run) -> None:
    config = drafted(run, "A,\\ B=BillingStreet\nC,D=Oracle_Id__c\nE,F=Parent:Oracle_Id__c")
    assert config.source.sql.strip().splitlines() == [
        "SELECT t.*,",
        "       t.A || ', ' || t.B AS JOINED_1",
        "FROM TMS.ACC t",
    ]
    assert field(config, "BillingStreet")["column"] == "JOINED_1"
    assert (config.key.columns, config.key.separator) == (("C", "D"), ", ")
    assert field(config, "ParentId")["columns"] == ("E", "F")


@given(st.lists(st.tuples(texts.filter(bool), st.booleans()), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_columns_and_constants_a_mapping_holds_the_draft_is_valid_or_refused(
    tmp_path: Path, made: list[tuple[str, bool]]
) -> None:
    lines = [
        "".join(f"\\u{unit:04x}" for unit in memoryview(word.encode("utf-16-le")).cast("H")) + f"=F{n}__c"
        for n, (text, constant) in enumerate(made)
        for word in [f'"{text}"' if constant else text]
    ]
    path, output = tmp_path / "m.sdl", tmp_path / "t.toml"
    path.write_text("\n".join(lines), encoding="ascii")
    output.unlink(missing_ok=True)
    names = ("--object", "X__c", "--external-id", "K__c", "--key", "K", "--source", "T", "-o", str(output))
    if cli.main(("tables", "import-sdl", str(path), *names)) == 0:
        config = TableConfig.load("t", tmp_path)
        constants = {f"F{n}__c": text for n, (text, constant) in enumerate(made) if constant}
        assert {f.field: f.value for f in config.fields if f.type == "constant"} == constants


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NAME=Na-me", "line 1: 'Na-me' is no field; write Field, Relationship\\:Field"),
        ("# x\nAccount Name=Name", "line 2: 'Name=Name' is no field; a blank ends what is left of =: write Account\\ Name=Name"),
        ('"New York"=City', "line 1: the constant '\"New' does not end"),
        ("=AnnualRevenue", "line 1: no column stands before 'AnnualRevenue'"),
        (",=Name", "line 1: ',' names no column"),
        ("A=X__c\na=Y__c", "line 2: 'a' stands on line 1, too"),
        ("A=X__c\n\nB=x__C", "line 3: x__C is filled on line 1, too"),
        ("A=Parent:X__c\nB=ParentId", "line 2: ParentId is filled on line 1, too"),
        ("A=Oracle_Id__c\nB=oracle_id__c", "lines 1 and 2: Oracle_Id__c is filled more than once"),
        ('"1"=Oracle_Id__c', "line 1: a constant cannot fill the external id Oracle_Id__c"),
        ('"1"=Parent:X__c', "line 1: 'Parent:X__c' is a reference, and a constant cannot fill it here"),
        ("A=Store__c:X__c", "line 1: Store__c is a field: write its relationship, Store__r"),
        ("A,B=Name", "line 1: joins columns, which takes a SELECT: give --source OWNER.TABLE"),
        ("A=\\u12G4", "line 1: \\u needs four hexadecimal digits"),
        ("A=\\ud800", "line 1: half of a surrogate pair"),
        ('"a\\rb"=Name', "line 1: the constant holds CR or NUL"),
        ('"\xc3\xa9"=Name', "line 1: holds UTF-8 (or a byte order mark), and Data Loader reads ISO-8859-1"),
        ("A=\n# nothing else", "no line maps a column to a field"),
    ],
)  # fmt: skip
def test_a_line_without_a_clear_meaning_is_refused_with_file_and_line(run: Run, text: str, said: str) -> None:
    err = refused(run, text)
    assert err.startswith("map.sdl cannot be used:\n  ")
    assert said in err


def test_every_line_at_fault_is_named_at_once(run: Run) -> None:
    err = refused(run, "A=Na-me\nB=Name\n=C")
    assert "line 1:" in err
    assert "line 3:" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "a-b.toml"), "a-b.toml cannot be a table file."),
        (("-o", "acc.txt"), "acc.txt cannot be a table file."),
        (("-o", "nowhere/acc.toml"), "nowhere/acc.toml cannot be written: No such file or directory."),
        (("-o", "there.toml"), "there.toml exists, and is not overwritten."),
        (("--source", "A B"), "--source 'A B' is not OWNER.TABLE."),
        (("--key", "a,b"), "--key 'a,b' is not the name of a column."),
        (("--object", "A.B"), "--object 'A.B' is not an API name."),
        (("--describe", "none.json"), "none.json cannot be read: No such file"),
        (("--describe", "map.sdl"), "map.sdl is no describe of an object."),
        (("--describe", "odd.json"), "odd.json is no describe of an object."),
        (("--describe", "other.json"), "other.json describes Contact, not Account."),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_overwritten(
    run: Run, options: tuple[str, ...], said: str
) -> None:
    Path("there.toml").write_text("mine", encoding="utf-8")
    odd = {"name": "Account", "fields": [{"name": "A", "type": "string", "length": [1]}]}
    Path("odd.json").write_text(json.dumps(odd), encoding="utf-8")
    Path("other.json").write_text('{"name": "Contact", "fields": []}', encoding="utf-8")
    assert said in refused(run, "A=Oracle_Id__c", *options)
    assert Path("there.toml").read_text(encoding="utf-8") == "mine"


def test_a_mapping_that_is_not_there_is_said_so(run: Run) -> None:
    status, _, err = run("tables", "import-sdl", "no.sdl", "--object", "X", "--external-id", "F")
    assert (status, err.splitlines()[0]) == (
        Exit.CONFIGURATION,
        "no.sdl cannot be read: No such file or directory.",
    )


# with a describe


def described(*fields: dict[str, Any]) -> tuple[str, str]:
    base = {"createable": True, "updateable": True, "nillable": True, "defaultedOnCreate": False}
    key = {"name": "Oracle_Id__c", "type": "string", "length": 40, "externalId": True, "unique": True}
    entries = [base | one for one in (key, *fields)]
    Path("describe.json").write_text(json.dumps({"name": "Account", "fields": entries}), encoding="utf-8")
    return ("--describe", "describe.json")


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"type": "string", "length": 80}, {"type": "text", "length": 80}),
        ({"type": "textarea", "length": 32000}, {"type": "text", "length": 32000}),
        ({"type": "email", "length": 80}, {"type": "email", "length": 80}),
        ({"type": "phone", "length": 40}, {"type": "phone", "length": 40}),
        ({"type": "url", "length": 255}, {"type": "url", "length": 255}),
        ({"type": "boolean"}, {"type": "boolean"}),
        ({"type": "date"}, {"type": "date"}),
        ({"type": "datetime"}, {"type": "datetime"}),
        ({"type": "int", "digits": 8}, {"type": "integer", "digits": 8}),
        ({"type": "double", "precision": 18, "scale": 0}, {"type": "integer", "digits": 18}),
        ({"type": "currency", "precision": 18, "scale": 2}, {"type": "decimal", "precision": 18, "scale": 2, "rounding": "half_up"}),
        ({"type": "picklist", "length": 255}, {"type": "picklist", "length": 255}),
        ({"type": "reference"}, {"type": "text", "length": 18}),
        ({"type": "string", "length": 9, "nillable": False}, {"type": "text", "length": 9, "required": True}),
    ],
)  # fmt: skip
def test_types_and_sizes_come_from_the_describe(
    run: Run, found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    options = described({"name": "Value__c"} | found)
    config = drafted(run, "V=vaLue__c\nK=ORACLE_ID__C", *options)
    assert field(config, "Value__c") == {"field": "Value__c", "column": "V"} | wanted
    assert field(config, "Oracle_Id__c")["length"] == 40


def test_a_restricted_picklist_lists_its_active_values(run: Run) -> None:
    values = [{"value": v, "active": v != "Old"} for v in ("New", "Old", 'A "quoted" one')]
    options = described(
        {"name": "P__c", "type": "picklist", "restrictedPicklist": True, "picklistValues": values}
    )
    config = drafted(run, "P=P__c\nK=Oracle_Id__c", *options)
    assert field(config, "P__c")["values"] == {"New": "New", 'A "quoted" one': 'A "quoted" one'}


def test_references_take_field_object_and_relationship_from_the_describe(run: Run) -> None:
    options = described(
        {
            "name": "OwnerId",
            "type": "reference",
            "relationshipName": "Owner",
            "referenceTo": ["Group", "User"],
        },
        {
            "name": "Shop__c",
            "type": "reference",
            "relationshipName": "Outlet__r",
            "referenceTo": ["Store__c"],
        },
    )
    config = drafted(run, "K=Oracle_Id__c\nO=owner\\:user-Username\nS=outlet__r\\:External_ID__c", *options)
    assert config.header == ("Oracle_Id__c", "User:Owner.Username", "Outlet__r.External_ID__c")
    assert field(config, "Shop__c")["object"] == "Store__c"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("V=Valeu__c", "line 2: Account has no field Valeu__c (did you mean Value__c?)"),
        ("O=Owner:Username", "line 2: Owner refers to Group, User: say which, Owner\\:Object-Username"),
        ("O=Owner:Account-Name", "line 2: Owner refers to Group, User, not to Account"),
        ("O=Ovner:Username", "line 2: Account has no relationship Ovner (did you mean Owner?)"),
        ("A,B=Value__c", "line 2: Value__c is of type double, and Data Loader joins columns only for text"),
    ],
)
def test_a_line_that_the_describe_contradicts_is_refused(run: Run, line: str, said: str) -> None:
    options = described(
        {
            "name": "OwnerId",
            "type": "reference",
            "relationshipName": "Owner",
            "referenceTo": ["Group", "User"],
        },
        {"name": "Value__c", "type": "double", "precision": 9, "scale": 2},
    )
    assert said in refused(run, f"K=Oracle_Id__c\n{line}", *options)


def test_what_cannot_be_loaded_and_what_is_missing_is_marked_and_not_lost(run: Run) -> None:
    options = described(
        {"name": "Body", "type": "base64"},
        {"name": "Id", "type": "id"},
        {"name": "Fixed__c", "type": "date", "updateable": False},
        {"name": "Name", "type": "string", "length": 255, "nillable": False},
    )
    drafted(run, "K=Oracle_Id__c\nB=Body\nI=Id\nF=Fixed__c", *options)
    text = Path("acc.toml").read_text(encoding="utf-8")
    assert "# decide: line 2: Body is of type base64, which a table file cannot fill: left out" in text
    assert "# decide: line 3: rows are found by Oracle_Id__c, so Id is not loaded: left out" in text
    assert "decide: the describe says that the user may not create or change it" in text
    assert "# decide: Account requires Name, which no line of the mapping fills" in text


def test_a_describe_as_the_org_answers_it_can_be_saved_and_used(
    run: Run, org: Org, client: SalesforceClient
) -> None:
    Path("d.json").write_text(json.dumps(client.describe("Product2")), encoding="utf-8")
    Path("m.sdl").write_text("CODE=productcode\nNAME=name\nUNIT=tms_unit__c\nPRICE=TMS_Price_EXC_VAT__c")
    names = (
        "--object",
        "Product2",
        "--external-id",
        "ProductCode",
        "--source",
        "TMS.P",
        "--describe",
        "d.json",
    )
    status, _, err = run("tables", "import-sdl", "m.sdl", *names, "-o", "p.toml")
    assert (status, err) == (0, "")
    config = TableConfig.load("p", Path())
    assert config.header == ("ProductCode", "Name", "TMS_Unit__c", "TMS_Price_EXC_VAT__c")
    assert "ชิ้น" in field(config, "TMS_Unit__c")["values"]
