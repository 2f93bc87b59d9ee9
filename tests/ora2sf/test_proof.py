"""The verdict of 03_reconcile, when the org holds what was sent and when it does not."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ora2sf import open_run, planfile, slice_report
from ora2sf.batches import BatchWriter, RejectedFile
from ora2sf.convert import Rejected
from ora2sf.errors import BalanceError, LedgerError, ParameterError, TargetError
from ora2sf.upload import LedgerJournal
from ora2sf.windows import Portion, Span

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


def test_a_sample_says_nothing_of_rows_that_it_does_not_ask_for(names, org):
    org.faults.add("row-error", object="Product2", rows=3, error="REQUIRED_FIELD_MISSING:Name")
    sent(names)
    shown = reconciled(names, compare="sample(20)").compare()
    assert "not compared: failed      3" in repr(shown)
    assert "of them in the org" not in repr(shown)


def test_03_follows_every_job_although_one_batch_has_to_be_sent_again(names):
    run = open_run("02_upload", names)
    loader, (first, *others) = run._loader(), run.ledger.batches()
    for name, value in (("target_before", 0), ("way", "jobs"), ("operation", "upsert")):
        run.ledger.settle(name, value)
    begun(run, first, loader)
    for batch in others:
        note, job = begun(run, batch, loader)
        loader.upload_data(job, run.data / batch.file, batch.bytes)
        note.uploaded()
        note.closing()
        loader.close_job(job)
        note.closed()
    shown = reconciled(names, max_concurrent_jobs=1).verdict()
    assert shown.sentence.startswith("Verdict: incomplete.")
    assert "20 successful (20 created, 0 updated), 0 failed, 10 not sent, 20 in the target" in shown.sentence


def begun(run, batch, loader):
    note = LedgerJournal(run.ledger, batch.number)
    note.intended()
    job = loader.create_job()
    note.created(job)
    return note, job


def test_a_delete_says_what_was_deleted_and_what_was_not_there(names, client, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "tables").mkdir(parents=True)
    table = (ROOT / "tables/product_price.toml").read_text(encoding="utf-8")
    changed = table.replace('operation = "upsert"', 'operation = "delete"')
    (home / "tables/product_price.toml").write_text(changed, encoding="utf-8")
    monkeypatch.setenv("ORA2SF_HOME", str(home))
    for key in KEYS[:25]:
        client.send("PATCH", f"/sobjects/Product2/ProductCode/{key}", json={"Name": key})
    deleting = names | {"run_id": "r2"}
    stage(deleting, [])
    sent(deleting)
    run = reconciled(deleting)
    said = run.verdict().sentence
    assert said.startswith("Verdict: complete. ")
    assert "30 successful (25 deleted, 5 were not there)" in said
    assert "No row has to be in the org, which has 0" in said
    report = slice_report.rebuild(run.folder)
    assert report.verdict.sentence.startswith("No record that the source names is in Salesforce any more")


class OneWindow:
    """A plan of which one window is known."""

    def portion(self, _table, window):
        return Portion(span=Span(name=window, low="20250101"))


def test_the_report_of_a_window_does_not_count_what_other_windows_load_meanwhile(names, client, monkeypatch):
    monkeypatch.setattr(planfile, "read", lambda _folder: OneWindow())
    window = names | {"run_id": "r2", "window": "w1"}
    stage(window, [])
    sent(window)
    run = reconciled(window)
    run.ledger.record("target_after", 35)
    run.verdict()
    report = slice_report.rebuild(run.folder)
    assert (report.verdict.verdict, report.balance.equations[-1].enforced) == ("proven", False)


def test_a_changed_answer_of_a_composite_call_is_never_taken_for_what_salesforce_said(names):
    sent(names | {"small_set": 200})
    run = open_run("03_reconcile", names)
    (first, *_) = sorted(run.logs.glob("Product2_C1-*_success.csv"))
    text = first.read_text(encoding="utf-8")
    first.write_text(text.replace('"true"', '"false"', 1), encoding="utf-8")
    with pytest.raises(LedgerError, match="gone or changed"):
        run.fetch_missing()
    with pytest.raises(BalanceError, match="result files changed since they were fetched"):
        run.verdict()


def test_a_comparison_from_before_a_further_upload_proves_nothing(names):
    sent(names | {"start_batch": 3})
    run = reconciled(names)
    sent(names)
    run.balance()
    with pytest.raises(LedgerError, match="has changed since the rows were compared"):
        run.verdict()
    assert slice_report.rebuild(run.folder).comparison is None
    run.compare()
    assert run.verdict().sentence.startswith("Verdict: proven.")


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


def test_what_a_comparison_found_wrong_stands_until_one_that_sees_as_much_finds_nothing(names, org, client):
    sent(names)
    client.send("PATCH", "/sobjects/Product2/ProductCode/K007", json={"Name": "somebody's own words"})
    with pytest.raises(BalanceError, match="K007: Name is"):
        reconciled(names).verdict()
    for less in ("counts", "aggregates"):
        with pytest.raises(BalanceError, match=r"what compare = full found wrong at .* still stands"):
            reconciled(names, compare=less).verdict()
    client.send("PATCH", "/sobjects/Product2/ProductCode/K007", json={"Name": "Tea K007"})
    assert reconciled(names).verdict().sentence.startswith("Verdict: proven.")


def test_a_row_that_was_reported_as_written_and_is_gone_is_named(names, org):
    org.faults.add("lose-rows", object="Product2")
    sent(names)
    run = reconciled(names)
    (gone,) = set(KEYS) - {row["ProductCode"] for row in org.rows("Product2")}
    with pytest.raises(BalanceError, match=f"{gone} is missing"):
        run.verdict()
    assert (status(org), noted(names)["state"]) == ("In Progress", "failed")


def test_a_row_in_no_result_file_is_named_with_what_the_org_says_of_it(names, org):
    org.faults.add("drop-result", path="successful")
    sent(names | {"max_rounds": 0})  # else it would be sent again until a result file has it
    run = reconciled(names)
    with pytest.raises(
        BalanceError, match=r"unknown = 0: 1 against 0; .*K\d\d\d is in no result file, and in the org"
    ):
        run.verdict()


def test_the_ledger_keeps_the_numbers_of_the_comparison_without_a_row_in_them(names, org):
    org.faults.add("lose-rows", object="Product2")
    sent(names)
    run = reconciled(names)
    kept = json.loads((run.folder / "comparison.json").read_text())
    assert (kept["mode"], kept["proven"], kept["expected"], kept["missing"]) == ("full", False, 30, 1)
    noted = json.loads(run.ledger.setting("comparison") or "")
    assert noted == {name: kept[name] for name in noted}
    assert kept.keys() - noted.keys() == {"compared", "books", "examples", "lines"}
    assert not any(key in json.dumps(noted) for key in KEYS)
    assert any(key in kept["examples"][0] for key in KEYS)


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
