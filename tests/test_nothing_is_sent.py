"""What would fail every row stops the run before anything is sent; what fails some rows is counted and sent."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from ora2sf import Run, open_run
from ora2sf.errors import LedgerError, Paused, PreflightError
from ora2sf.salesforce import SalesforceClient
from world import ROOT, World

TABLE = (ROOT / "tables/product_price.toml").read_text(encoding="utf-8")
LOOKUP = """
[[fields]]
field = "Parent__c"
type = "lookup"
columns = ["{column}"]
object = "Product2"
external_id_field = "ProductCode"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the table file of the demo."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/product_price.toml").write_text(TABLE, encoding="utf-8")
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    return tmp_path


def described(monkeypatch: pytest.MonkeyPatch, field: str, **changes: Any) -> None:
    """Salesforce's describe, different in one field."""
    describe = SalesforceClient.describe

    def other(self: SalesforceClient, sobject: str) -> dict[str, Any]:
        found = describe(self, sobject)
        for entry in (entry for entry in found["fields"] if entry["name"] == field):
            entry.update(changes)
        if sobject == "Product2" and not any(entry["name"] == field for entry in found["fields"]):
            found["fields"].append(found["fields"][0] | changes | {"name": field})
        return found

    monkeypatch.setattr(SalesforceClient, "describe", other)


def opened(step: Any, **parameters: Any) -> Run:
    return open_run(step, {"run_id": "r", "table": "product_price", "outputs": "out", **parameters})


def extracted(**parameters: Any) -> Run:
    run = opened("01_extract", **parameters)
    run.extract()
    return run


def kept(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "preflight.json").read_text(encoding="utf-8"))
    return found


NO_UNIT = [{"value": "None of these", "active": True}]


def test_a_picklist_that_lacks_every_value_stops_both_notebooks_until_the_org_has_them(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = extracted()
    with monkeypatch.context() as patch:
        described(patch, "TMS_Product_Type__c", picklistValues=NO_UNIT)
        run.__dict__.pop("_target", None)
        with pytest.raises(PreflightError, match="lacks 3 value") as caught:
            run.check_data()
        for value in ("'New' (", "'Update' (", "'Cancel' ("):
            assert value in str(caught.value)
        with pytest.raises(PreflightError, match="Nothing was sent"):
            opened("02_upload").upload()
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Failed"
    assert "TMS_Product_Type__c" in record["TMS_Errors__c"]
    assert not world.org.jobs()
    assert kept(run)["data"]["stops"]
    assert "settled" in repr(opened("02_upload").upload())
    assert kept(run)["data"]["stops"] == []


def test_an_upload_whose_rows_nobody_checked_checks_them_first(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted().announce()
    described(monkeypatch, "TMS_Unit__c", picklistValues=NO_UNIT, nillable=False)
    opened("02_upload").upload()  # some rows have no unit: those would pass, so that nothing stops
    data = kept(opened("03_reconcile"))["data"]
    assert {one["field"] for one in data["findings"]} == {"TMS_Unit__c"}
    assert len(data["findings"]) == 2


def test_rows_that_are_all_rejected_stop_the_first_notebook_with_the_rules(world: World, home: Path) -> None:
    (home / "tables/product_price.toml").write_text(TABLE.replace("length = 255\nrequired", "length = 1\nrequired"), encoding="utf-8")  # fmt: skip
    run = extracted()
    with pytest.raises(PreflightError, match=r"every row is rejected .* Name: longer than 1 characters"):
        run.check_data()
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Failed"


def shops(world: World) -> list[str]:
    """The shops of the source, as staged rows refer to them."""
    return sorted({row[12].strip() for row in world.rows.requests})


def with_lookup(home: Path, monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    (home / "tables/product_price.toml").write_text(TABLE + LOOKUP.format(column=column), encoding="utf-8")
    described(monkeypatch, "Parent__c", type="reference", referenceTo=["Product2"], relationshipName="Parent__r",
              createable=True, updateable=True, length=18)  # fmt: skip


def test_a_reference_whose_every_value_is_an_orphan_stops_the_run(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lookup(home, monkeypatch, "SHOP_CODE")
    run = extracted()
    with pytest.raises(
        PreflightError, match=rf"Parent__c: {len(shops(world))} record\(s\) of Product2"
    ) as caught:
        run.check_data()
    assert "neither in Salesforce nor staged" in str(caught.value)
    assert "(row " in str(caught.value)
    (found,) = kept(run)["data"]["lookups"]
    assert (found["parents"], found["orphans"], found["staged"]) == (len(shops(world)), len(shops(world)), 0)


def test_orphans_of_some_rows_are_counted_and_parents_in_the_org_are_none(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lookup(home, monkeypatch, "SHOP_CODE")
    client = SalesforceClient()
    for code in shops(world)[:2]:
        client.send("PATCH", f"/sobjects/Product2/ProductCode/{code}", json={"Name": code})
    run = extracted()
    shown = repr(run.check_data())
    assert f"{len(shops(world)) - 2} record(s) of Product2 are neither" in shown
    (found,) = kept(run)["data"]["lookups"]
    assert 0 < found["orphan_rows"] < found["rows"]


def test_parents_that_the_run_stages_itself_are_no_orphans_and_nobody_is_asked(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lookup(home, monkeypatch, "PROD_SERV_CODE")
    run = extracted()
    world.org.calls.clear()
    assert "staged in this run, 0 in Salesforce" in repr(run.check_data())
    assert not [call for call in world.org.calls if call.path.endswith("/query")]


def test_more_parents_than_allowed_are_not_asked_for_and_that_is_said(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lookup(home, monkeypatch, "SHOP_CODE")
    run = extracted(max_parents_asked=len(shops(world)) - 1)
    assert f"{len(shops(world))} not asked for (max_parents_asked)" in repr(run.check_data())
    (found,) = kept(run)["data"]["lookups"]
    assert (found["asked"], found["orphans"]) == (False, None)


def test_a_key_that_stands_in_two_slices_of_a_table_stops_the_upload(world: World, home: Path) -> None:
    run = extracted()
    run.announce()
    run.check_data()
    other = run.folder / "later/salesforce/data"
    other.mkdir(parents=True)
    (other / "product_price_keys.parquet").write_bytes((run.data / "product_price_keys.parquet").read_bytes())
    staged = run.ledger.extraction().rows_staged  # type: ignore[union-attr]
    with pytest.raises(PreflightError, match=rf"{staged:,} key\(s\) stand in several slices") as caught:
        opened("02_upload").upload()
    assert "product_price/later/salesforce/data" in str(caught.value)
    assert not world.org.jobs()


def test_a_limit_that_is_used_up_pauses_the_upload_which_goes_on_when_it_is_free(
    world: World, home: Path
) -> None:
    run = extracted(batch_size=1000)
    assert "suffice" in repr(run.check_limits())
    run.announce()
    needed = len(run.ledger.batches())
    world.org.change(max_batches=needed)
    uploading = opened("02_upload", reserve=34)
    assert "the upload then pauses" in repr(uploading.check_limits())
    with pytest.raises(Paused, match="needs 1 of DailyBulkApiBatches"):
        uploading.upload()
    sent = len(world.org.jobs())
    assert 0 < sent < needed
    status = json.loads((run.folder / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["step"]) == ("paused by budget", "02_upload")
    assert status["until"] > (world.org.clock.now() + dt.timedelta(hours=23)).isoformat()
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "In Progress"
    assert "Paused by budget" in record["TMS_Errors__c"]
    assert "Verdict: incomplete" in repr(opened("03_reconcile").verdict())
    world.org.clock.push(24 * 3600)
    going_on = opened("02_upload", reserve=1)
    assert "settled" in repr(going_on.upload())
    assert len(world.org.jobs()) == needed
    assert "Nothing is to be sent" in repr(going_on.check_limits())
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert (record["TMS_Status__c"], record["TMS_Errors__c"]) == ("Uploading", None)
    done = opened("03_reconcile")
    done.fetch_missing()
    assert "Verdict: complete with exceptions" in repr(done.verdict())


def test_a_small_set_is_sent_without_a_job_and_what_began_one_way_ends_that_way(
    world: World, home: Path
) -> None:
    few = TABLE.replace("= u.UNIT_CODE\n", "= u.UNIT_CODE\nWHERE r.PROD_SERV_CODE < '0000150'\n")
    (home / "tables/product_price.toml").write_text(few, encoding="utf-8")
    run = extracted(batch_size=50)
    run.announce()
    batches = run.ledger.batches()
    assert 2 <= len(batches) <= 4
    world.org.change(max_batches=0)  # which a composite call does not need
    begins = opened("02_upload", start_batch=len(batches))
    assert "suffice" in repr(begins.check_limits())
    begins.upload()
    goes_on = opened("02_upload", small_set=0)
    goes_on.upload()
    assert not world.org.jobs()
    attempts = run.ledger.attempts()
    assert [attempt.job_id for attempt in attempts] == [f"C{one.batch}-{one.id}" for one in attempts]
    assert {attempt.batch for attempt in attempts} == {batch.number for batch in batches}
    assert {path.name.split("_")[1] for path in run.logs.glob("Product2_*")} == {
        attempt.job_id for attempt in run.ledger.attempts()
    }
    done = opened("03_reconcile")
    assert "Every result file is here" in repr(done.fetch_missing())
    assert "Verdict: complete" in repr(done.verdict())
    next(run.logs.glob("Product2_C1-*_success.csv")).unlink()
    with pytest.raises(LedgerError, match="Salesforce does not keep it"):
        opened("03_reconcile").fetch_missing()


def test_a_batch_that_will_never_fit_stops_the_upload(world: World, home: Path) -> None:
    run = extracted()
    run.announce()
    world.org.change(max_batches=1)
    with pytest.raises(PreflightError, match="DailyBulkApiBatches: A batch that needs 1 will never fit"):
        opened("02_upload").upload()
    assert not world.org.jobs()


def test_a_profile_of_counts_alone_is_enough_for_the_check(world: World, home: Path) -> None:
    run = extracted(profile="counts")
    assert "about" not in repr(run.profile())
    assert "lacks 1 value(s)" in repr(run.check_data())
    assert {one["distinct"] for one in kept(run)["data"]["fields"]} == {None}


def test_the_profile_is_that_of_the_staged_rows_and_is_made_again_when_it_is_lost(
    world: World, home: Path
) -> None:
    run = extracted()
    shown, profile = repr(run.profile()), kept(run)["data"]
    by_name = {one["field"]: one for one in profile["fields"]}
    assert profile["rows"] == by_name["ProductCode"]["distinct"] == run.ledger.extraction().rows_staged  # type: ignore[union-attr]
    refused = dict.fromkeys(
        rule for field, rule, _ in run.ledger.counts("rejected") if field == "TMS_Start_Date__c"
    )
    assert set(by_name["TMS_Start_Date__c"]["rejected"]) >= set(refused)
    assert by_name["TMS_Price_EXC_VAT__c"]["changed"]
    assert by_name["TMS_Unit__c"]["values"]["Old unit"] > 0
    (run.folder / "preflight.json").unlink()
    again = opened("01_extract")
    assert repr(again.profile()) == shown
    assert kept(again)["data"]["fields"] == profile["fields"]
    (run.folder / "preflight.json").write_text("{", encoding="utf-8")
    assert repr(opened("01_extract").profile()) == shown
