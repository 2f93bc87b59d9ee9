"""The verdict of 03_reconcile, when the org holds what was sent and when it does not."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ora2sf import open_run
from ora2sf.batches import BatchWriter, RejectedFile
from ora2sf.convert import Rejected
from ora2sf.errors import BalanceError, ParameterError, TargetError

ROOT = Path(__file__).parents[2]
KEYS = [f"K{number:03d}" for number in range(30)]
TOTALS = {"source_count": 30, "rows_read": 30, "rows_staged": 30, "rows_rejected": 0, "consistency": "none"}


@pytest.fixture
def names(tmp_path, org, monkeypatch):
    """The parameters of a run of thirty staged products, ready to be uploaded."""
    monkeypatch.setenv("ORA2SF_HOME", str(ROOT))
    given = {"run_id": "r1", "table": "product_price", "outputs": str(tmp_path), "small_set": 0}
    stage(given, [])
    return given


def stage(given, rejected):
    run = open_run("01_extract", given)
    values = {
        "ProductCode": KEYS,
        "Name": [f"Tea {key}" for key in KEYS],
        "TMS_Price_EXC_VAT__c": [f"{at}.25" for at, _ in enumerate(KEYS)],
    }
    header = run.config.header
    rows = pl.DataFrame(
        {name: values.get(name, [None] * len(KEYS)) for name in header},
        schema=dict.fromkeys(header, pl.String),
    )
    writer = BatchWriter(run.data, "product_price", header, "ProductCode", 10)
    writer.add(rows)
    file = RejectedFile(run._rejected_path)
    file.add(rejected)
    file.finish()
    number = run.ledger.start_extraction(run.config.fingerprint)
    run.ledger.finish_extraction(number, writer.finish(), {}, fingerprint=run.config.fingerprint, **TOTALS)
    run.announce()


def reconciled(names, **parameters):
    run = open_run("03_reconcile", names | parameters)
    run.fetch_missing()
    run.balance()
    run.compare()
    run.totals()
    return run


def sent(names):
    open_run("02_upload", names).upload()


def status(org):
    (record,) = org.rows("TMS_Daily_Sales_File__c")
    return record["TMS_Status__c"]


def noted(names):
    return json.loads((Path(names["outputs"]) / "r1/product_price/status.json").read_text())


def test_a_run_is_proven_when_the_books_balance_and_every_value_is_there(names, org):
    sent(names)
    run = reconciled(names)
    shown = run.verdict()
    assert shown.sentence.startswith("Verdict: proven. 30 in the source")
    assert "All 30 rows that have to be in the org are there, with every value." in shown.sentence
    assert (status(org), noted(names)["state"]) == ("Uploaded", "proven")


def test_without_the_comparison_the_verdict_is_that_of_the_books(names):
    sent(names)
    run = open_run("03_reconcile", names)
    assert run.verdict().sentence.startswith("Verdict: complete.")


@pytest.mark.parametrize("mode", ["counts", "sample(20)", "aggregates"])
def test_less_than_a_full_comparison_proves_nothing(names, mode):
    sent(names)
    assert reconciled(names, compare=mode).verdict().sentence.startswith("Verdict: complete.")


def test_another_value_than_the_one_that_was_sent_is_named(names, org):
    org.faults.add("alter-rows", object="Product2", column="TMS_Price_EXC_VAT__c", value="7.26", skip=1)
    sent(names)
    run = reconciled(names)
    (line,) = (
        (Path(names["outputs"]) / "r1/product_price/salesforce/logs/product_price_differences.csv")
        .read_text()
        .splitlines()[1:]
    )
    key, field, _, target = line.replace('"', "").split(",")
    assert (field, target) == ("TMS_Price_EXC_VAT__c", "7.26")
    with pytest.raises(
        BalanceError, match=f"do not reconcile: {key}: TMS_Price_EXC_VAT__c is '7.26', staged was"
    ) as caught:
        run.verdict()
    assert "differ" not in caught.value.what
    assert (status(org), noted(names)["state"]) == ("In Progress", "failed")


def test_a_row_that_was_reported_as_written_and_is_gone_is_named(names, org):
    org.faults.add("lose-rows", object="Product2")
    sent(names)
    run = reconciled(names)
    (gone,) = set(KEYS) - {row["ProductCode"] for row in org.rows("Product2")}
    with pytest.raises(BalanceError, match=f"{gone} is missing"):
        run.verdict()
    assert (status(org), noted(names)["state"]) == ("Uploading", "failed")


def test_a_row_in_no_result_file_is_named_with_what_the_org_says_of_it(names, org):
    org.faults.add("drop-result", path="successful")
    sent(names | {"max_rounds": 0})
    run = reconciled(names)
    with pytest.raises(
        BalanceError, match=r"unknown = 0: 1 against 0; .*K\d\d\d is in no result file, and in the org"
    ):
        run.verdict()


def test_the_numbers_of_the_comparison_are_kept_without_a_row_in_them(names):
    sent(names)
    run = reconciled(names)
    kept = json.loads((run.folder / "comparison.json").read_text())
    assert (kept["mode"], kept["proven"], kept["expected"], kept["missing"]) == ("full", True, 30, 0)
    noted = json.loads(run.ledger.setting("comparison") or "")
    assert noted == {name: kept[name] for name in noted}
    assert kept.keys() - noted.keys() == {"compared", "examples", "lines"}
    assert not any(key in json.dumps(noted) for key in KEYS)


def test_a_record_of_a_row_that_was_rejected_this_time_does_not_contradict(names, org, client, tmp_path):
    sent(names)
    client.send("PATCH", "/sobjects/Product2/ProductCode/OLD1", json={"Name": "of an older run"})
    assert reconciled(names)._compared.extra == 1
    again = names | {"run_id": "r2", "outputs": str(tmp_path / "other")}
    stage(again, [Rejected(31, "old1", "F", "rule", "v")])
    sent(again)
    assert not reconciled(again)._compared.contradicted


def test_an_org_that_cannot_be_read_back_does_not_keep_the_books_from_their_verdict(names, org):
    sent(names)
    org.change(max_query_jobs=0)
    with pytest.raises(TargetError, match="Daily limit of query jobs") as caught:
        reconciled(names)
    assert "compare = counts" in caught.value.next_step
    assert reconciled(names, compare="counts").verdict().sentence.startswith("Verdict: complete.")


def test_a_wrong_way_of_comparing_is_refused_with_the_right_ones(names):
    with pytest.raises(ParameterError, match="half") as caught:
        open_run("03_reconcile", names | {"compare": "half"})
    assert "sample(1000)" in caught.value.next_step
