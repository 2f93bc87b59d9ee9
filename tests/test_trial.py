"""A dry run writes nothing to Salesforce, and a trial of some rows is never taken for the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ora2sf import Run, cli, open_run, overview
from ora2sf.errors import Exit, LedgerError, ParameterError
from ora2sf.execution import stages
from place import Place, new_place

READS = ("/oauth2/token", "/jobs/query", "/composite/sobjects/")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch, new_place(tmp_path_factory.mktemp("place"), patch) as made:
        yield made


def opened(step: Any, table: str, run_id: str, **parameters: Any) -> Run:
    return open_run(step, {"run_id": run_id, "table": table, **parameters})


def extracted(table: str, run_id: str, **parameters: Any) -> Run:
    run = opened("01_extract", table, run_id, **parameters)
    run.sign_in_salesforce()
    run.check_table()
    run.extract()
    run.check_data()
    run.announce()
    run.check_limits()
    return run


def sent(table: str, run_id: str, **parameters: Any) -> str:
    """The sentence of the upload."""
    run = opened("02_upload", table, run_id, **parameters)
    run.sign_in_salesforce()
    run.plan_upload()
    run.check_limits()
    return str(run.upload())


def reconciled(table: str, run_id: str, **parameters: Any) -> str:
    """The sentence of the verdict."""
    run = opened("03_reconcile", table, run_id, **parameters)
    for cell in (run.fetch_missing, run.balance, run.failures, run.compare, run.totals):
        cell()
    return run.verdict().sentence


def written(place: Place, since: int) -> list[str]:
    """Calls that may change something in the org."""
    return [
        f"{call.method} {call.path}"
        for call in place.org.calls[since:]
        if call.method != "GET" and not (call.method == "POST" and any(part in call.path for part in READS))
    ]


def state(place: Place, run_id: str, table: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place.run(run_id) / table / "status.json").read_text())
    return found


@pytest.mark.parametrize("small_set", [0, 200])
def test_a_dry_run_says_what_it_would_send_and_writes_nothing(place: Place, small_set: int) -> None:
    run_id, since = f"dry{small_set}", len(place.org.calls)
    given = {"dry_run": True, "small_set": small_set}
    extracted("shop", run_id, **given)
    extracted("sale", run_id, **given)
    told = sent("sale", run_id, **given)
    assert written(place, since) == []
    assert not place.org.jobs()
    assert place.org.count("Sale__c") == 0
    assert "Dry run: nothing was sent. 60 rows would be, " in told
    numbers = state(place, run_id, "sale")["would_send"]
    jobs = 0 if small_set else 9  # sales of one shop stay in one batch
    assert (numbers["rows"], numbers["jobs"], numbers["internal_batches"]) == (60, jobs, jobs)
    assert (
        reconciled("sale", run_id, **given) == "Dry run: nothing was sent, so there is nothing to reconcile."
    )
    assert written(place, since) == []
    assert state(place, run_id, "sale")["state"] == "dry run"
    assert cli.main(["status", str(place.run(run_id) / "sale")]) == Exit.TRIAL
    assert [one.group for one in overview.look(place.run(run_id)).slices] == ["tried", "waiting"]


def test_a_dry_run_writes_no_status_record_even_if_the_table_does_not_fit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORA2SF_SF_OBJECT", "Nosuch__c")
    since = len(place.org.calls)
    run = opened("01_extract", "shop", "unfit", dry_run="yes")
    with pytest.raises(Exception, match="Salesforce has no object Nosuch__c"):
        run.check_table()
    assert written(place, since) == []
    assert state(place, "unfit", "shop")["state"] == "failed"


def test_after_a_dry_run_the_same_run_id_sends_what_is_staged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = place.plan("then", tables="shop")
    monkeypatch.setenv("ORA2SF_DRY_RUN", "yes")
    extracted("shop", "then")
    assert stages(plan, place.run("then"), dry=True) == {"shop": "staged"}
    assert stages(plan, place.run("then")) == {"shop": "new"}  # 01 has not made the status record
    sent("shop", "then")
    assert stages(plan, place.run("then"), dry=True) == {"shop": "done"}
    monkeypatch.delenv("ORA2SF_DRY_RUN")
    read = extracted("shop", "then").extract().sentence
    assert "Nothing was read again" in read
    assert stages(plan, place.run("then")) == {"shop": "staged"}
    sent("shop", "then")
    assert reconciled("shop", "then").startswith("Verdict: proven.")
    assert place.org.count("Shop__c") == 3
    with pytest.raises(LedgerError, match="has begun to send: there is no dry run of that"):
        opened("02_upload", "shop", "then", dry_run=True)
    assert state(place, "then", "shop")["state"] == "proven"


@pytest.mark.parametrize("step", ["04_retry", "90_rollback"])
def test_a_notebook_without_a_dry_run_refuses_it(place: Place, step: Any) -> None:
    with pytest.raises(ParameterError, match=f"{step} knows no dry_run"):
        opened(step, "shop", "then", dry_run=True)


def test_a_trial_reads_the_first_rows_and_its_verdict_says_so(place: Place) -> None:
    run = extracted("sale", "trial", max_rows=5)
    assert "A trial: only 5 of 60 rows were read, as max_rows says." in run.extract().sentence
    done = run.ledger.extraction()
    assert done
    assert (done.source_count, done.rows_read) == (5, 5)
    sent("sale", "trial")
    verdict = reconciled("sale", "trial")
    assert verdict.startswith("Verdict: trial. 5 in the source, 5 staged")
    assert "A trial: only 5 of 60 rows were read" in verdict
    assert {row["Code__c"] for row in place.org.rows("Sale__c")} == {
        "0",
        "3",
        "6",
        "9",
        "12",
    }  # of the first shop
    assert cli.main(["status", "trial"]) == Exit.TRIAL
    report = json.loads((place.run("trial") / "sale/report.json").read_text())
    assert (report["whole"], report["balance"]["source"], report["verdict"]["exit"]) == (60, 5, Exit.TRIAL)
    assert "nothing is said of the others" in (place.run("trial") / "sale/report.html").read_text()
    assert cli.main(["report", "trial"]) == Exit.TRIAL


def test_a_trial_of_all_the_rows_that_there_are_is_proven(place: Place) -> None:
    extracted("shop", "small", max_rows=3)
    sent("shop", "small")
    assert reconciled("shop", "small").startswith("Verdict: proven.")


@pytest.mark.parametrize(("step", "given", "now"), [("01_extract", None, "all"), ("01_extract", 6, "6"), ("02_upload", 6, "6"), ("03_reconcile", 6, "6")])  # fmt: skip
def test_another_number_of_rows_is_refused_afterwards(
    place: Place, step: Any, given: int | None, now: str
) -> None:
    with pytest.raises(LedgerError, match=f"was begun with max_rows = 5, now it is {now}") as caught:
        opened(step, "sale", "trial", max_rows=given)
    assert caught.value.next_step == "Use max_rows = 5 to go on, or a new run_id."


def test_a_trial_of_no_rows_is_refused(place: Place) -> None:
    with pytest.raises(ParameterError, match="max_rows = 0"):
        opened("01_extract", "sale", "none", max_rows=0)
