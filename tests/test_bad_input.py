"""Bad input: each mistake ends with one clear sentence that says what to do, before anything is sent where possible."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import oracledb
import pytest

from ora2sf import claim, open_run
from ora2sf.errors import (
    AuthenticationError,
    ClaimedError,
    ConnectionFieldError,
    LedgerError,
    NotFoundError,
    Ora2sfError,
    ParameterError,
    PreflightError,
    RunFolderError,
    SourceError,
    SourceUnavailable,
    TableFileError,
    TargetUnavailable,
)
from ora2sf.oracle import OracleSource
from ora2sf.salesforce import SalesforceClient
from world import PASSWORD, ROOT, World


def opened(step: Any, outputs: Path, **parameters: Any) -> Any:
    return open_run(step, {"run_id": "r", "table": "product_price", "outputs": str(outputs), **parameters})


def sent(world: World) -> list[Any]:
    """Calls that could have changed the org."""
    return [
        call
        for call in world.org.calls
        if call.method in {"POST", "PUT", "PATCH"} and "oauth2" not in call.path
    ]


def refused(kind: type[Ora2sfError], *words: str, **parameters: Any) -> str:
    step = parameters.pop("step", "01_extract")
    with pytest.raises(kind) as caught:
        open_run(step, {"run_id": "r", "table": "product_price", **parameters})
    text = str(caught.value)
    for word in (*words, "Next step: "):
        assert word in text, text
    return text


@pytest.mark.parametrize("run_id", ["", "a/b", "..", "x" * 81, "a b", None])
def test_a_run_id_that_cannot_name_a_folder_is_refused(run_id: Any) -> None:
    refused(ParameterError, "run_id", "A-Z a-z 0-9", run_id=run_id)


@pytest.mark.parametrize("run_id", [20251127, 1e5, True])
def test_a_run_id_that_became_a_number_is_refused_with_the_hint_how_to_pass_it(run_id: Any) -> None:
    refused(ParameterError, "papermill -r run_id", run_id=run_id)


def test_an_unknown_parameter_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    refused(ParameterError, "batchsize", "batch_size", outputs=str(tmp_path), batchsize=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 1_000_001),
        ("batch_size", "many"),
        ("batch_size", 1.5),
        ("start_batch", 0),
        ("max_concurrent_jobs", 0),
        ("max_concurrent_uploads", 26),
        ("job_timeout", -1),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_by_name(name: str, value: Any, tmp_path: Path) -> None:
    refused(ParameterError, name, outputs=str(tmp_path), **{name: value})
    assert not list(tmp_path.iterdir())


def test_numbers_that_arrive_as_text_are_accepted(tmp_path: Path) -> None:
    assert opened("01_extract", tmp_path, batch_size="500", job_timeout="60").parameters.batch_size == 500


def test_a_parameter_beats_the_environment_and_that_beats_the_table_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened("01_extract", tmp_path / "1").parameters.batch_size == 40_000
    monkeypatch.setenv("ORA2SF_BATCH_SIZE", "123")
    assert opened("01_extract", tmp_path / "2").parameters.batch_size == 123
    assert opened("01_extract", tmp_path / "3", batch_size=7).parameters.batch_size == 7


def test_an_unknown_table_lists_the_known_ones(tmp_path: Path) -> None:
    refused(
        TableFileError,
        "product_prize",
        "Did you mean product_price?",
        table="product_prize",
        outputs=str(tmp_path),
    )


def test_a_broken_table_file_is_named_with_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = own_home(tmp_path, monkeypatch, ('type = "picklist"', 'type = "pick"'))
    refused(TableFileError, str(home / "tables/product_price.toml"), "TMS_Unit__c", "line ", "picklist")


def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> Path:
    """A project folder with a changed table file."""
    home = tmp_path / "home"
    (home / "tables").mkdir(parents=True, exist_ok=True)
    text = (ROOT / "tables/product_price.toml").read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    (home / "tables/product_price.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("ORA2SF_HOME", str(home))
    return home


def test_every_wrong_column_and_field_is_listed_at_once_and_the_status_says_failed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home(
        tmp_path,
        monkeypatch,
        ('column = "BARCODE"', 'column = "BARKODE"'),
        ('field = "TMS_Ref_Source__c"', 'field = "TMS_Ref_Sauce__c"'),
        ('field = "TMS_Shop_Code__c"', 'field = "CreatedDate"'),
    )
    run = opened("01_extract", tmp_path / "out")
    with pytest.raises(PreflightError) as caught:
        run.check_table()
    for word in (
        "BARKODE",
        "did you mean BARCODE?",
        "TMS_Ref_Sauce__c",
        "did you mean TMS_Ref_Source__c?",
        "CreatedDate",
    ):
        assert word in str(caught.value)
    assert "createable is false" in str(caught.value)
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Failed"
    assert "BARKODE" in record["TMS_Errors__c"]
    assert not world.org.jobs()


def test_an_object_that_does_not_exist_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no object Produkt2"):
        opened("01_extract", tmp_path, sf_object="Produkt2").check_table()


def test_a_source_table_that_does_not_exist_is_named_by_oracle(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home(tmp_path, monkeypatch, ("FROM KPS_T_REQPROD_MD ", "FROM KPS_T_NOWHERE "))
    with pytest.raises(Ora2sfError, match="ORA-00942") as caught:
        opened("01_extract", tmp_path / "out").check_table()
    assert "SELECT from it" in str(caught.value)


@pytest.mark.parametrize(
    ("connection", "change", "step", "kind", "word"),
    [
        (
            "SALESFORCE_API",
            {"password": "wrong"},
            "sign_in_salesforce",
            AuthenticationError,
            "consumer secret",
        ),
        ("SALESFORCE_API", {"login": "nobody"}, "sign_in_salesforce", AuthenticationError, "consumer key"),
        ("SALESFORCE_API", {"password": ""}, "sign_in_salesforce", ConnectionFieldError, "has no password"),
        ("SALESFORCE_API", {"login": ""}, "sign_in_salesforce", ConnectionFieldError, "has no login"),
        ("SALESFORCE_API", {"host": ""}, "sign_in_salesforce", ConnectionFieldError, "has no host"),
        (
            "SALESFORCE_API",
            {"host": "http://127.0.0.1:9"},
            "sign_in_salesforce",
            TargetUnavailable,
            "does not answer",
        ),
        (
            "SALESFORCE_API",
            {"host": "http://sf.example"},
            "sign_in_salesforce",
            ConnectionFieldError,
            "plain http",
        ),
        ("ORACLE_TMS", {"password": "wrong"}, "sign_in_oracle", AuthenticationError, "ORA-01017"),
        ("ORACLE_TMS", {"schema": "NOPE"}, "sign_in_oracle", ConnectionFieldError, "service name"),
        ("ORACLE_TMS", {"schema": ""}, "sign_in_oracle", ConnectionFieldError, "names no service"),
        ("ORACLE_TMS", {"port": 9}, "sign_in_oracle", SourceUnavailable, "address right"),
    ],
)
def test_a_wrong_connection_ends_with_its_own_sentence_and_nothing_sent(
    connection: str, change: dict[str, Any], step: str, kind: type[Ora2sfError], word: str,
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    variable = f"AIRFLOW_CONN_{connection}"
    monkeypatch.setenv(variable, json.dumps(json.loads(os.environ[variable]) | change))
    run = opened("01_extract", tmp_path)
    with pytest.raises(kind) as caught:
        getattr(run, step)()
    assert word in str(caught.value)
    assert "Next step: " in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert not sent(world)


def test_a_connection_that_nobody_set_says_where_it_belongs(tmp_path: Path, world: World) -> None:
    run = opened("01_extract", tmp_path, oracle_conn_id="oracle_other")
    with pytest.raises(ConnectionFieldError, match="AIRFLOW_CONN_ORACLE_OTHER"):
        run.sign_in_oracle()


def test_a_lost_oracle_leaves_nothing_that_passes_for_whole_and_the_next_run_extracts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OracleSource.batches, "__defaults__", (500,))  # rows in one round trip
    run = opened("01_extract", tmp_path, batch_size=500)
    run.check_table()
    world.oracle.faults.add("drop-fin", at="fetch", call=1)
    with pytest.raises(SourceUnavailable, match="same run_id"):
        run.extract()
    assert run.ledger.extraction() is None
    assert not run.ledger.batches()
    again = opened("01_extract", tmp_path, batch_size=500)
    assert "rows staged" in repr(again.extract())
    assert sum(batch.rows for batch in again.ledger.batches()) == again.ledger.extraction().rows_staged


def test_a_start_batch_beyond_the_last_batch_is_refused_before_anything_is_sent(
    world: World, tmp_path: Path
) -> None:
    opened("01_extract", tmp_path, batch_size=1000).extract()
    with pytest.raises(ParameterError, match="there are 3"):
        opened("02_upload", tmp_path, start_batch=4).plan_upload()
    assert not sent(world)


def test_a_start_batch_skips_batches_and_the_balance_says_so(world: World, tmp_path: Path) -> None:
    first = opened("01_extract", tmp_path, batch_size=1000)
    first.extract()
    first.announce()
    opened("02_upload", tmp_path, start_batch="3").upload()
    run = opened("03_reconcile", tmp_path)
    assert "2,000 not sent" in repr(run.balance())
    assert "incomplete" in repr(run.verdict())
    assert len(world.org.jobs()) == 1
    assert world.org.count("Product2") <= first.ledger.batches()[2].rows


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused(RunFolderError, str(tmp_path / "file"), "Correct outputs", outputs=str(tmp_path / "file"))


def test_upload_before_extract_says_to_extract_first(tmp_path: Path) -> None:
    refused(LedgerError, "Run 01_extract", step="02_upload", outputs=str(tmp_path))


def test_a_run_is_not_continued_with_other_settings(world: World, tmp_path: Path) -> None:
    opened("01_extract", tmp_path, batch_size=1000).extract()
    refused(LedgerError, "batch_size = 1000", outputs=str(tmp_path), batch_size=999)
    refused(LedgerError, "object = Product2", outputs=str(tmp_path), sf_object="Account", step="02_upload")


def test_a_table_file_that_changed_since_the_extraction_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened("01_extract", tmp_path / "out").extract()
    own_home(tmp_path, monkeypatch, ('rounding = "half_up"', 'rounding = "half_even"'))
    refused(LedgerError, "has changed since", outputs=str(tmp_path / "out"), step="02_upload")


def test_an_upload_without_a_status_record_names_the_reference_and_says_to_upsert_first(
    world: World, tmp_path: Path
) -> None:
    opened("01_extract", tmp_path).extract()
    with pytest.raises(NotFoundError, match="product_price_r") as caught:
        opened("02_upload", tmp_path).upload()
    assert "Upsert it first" in str(caught.value)
    assert not world.org.jobs()


def test_zero_rows_skip_the_upload_and_leave_the_status_as_it_was(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home(tmp_path, monkeypatch, ("LEFT JOIN KPS_R_UNIT /* as of */ u ON a.UNIT_CODE = u.UNIT_CODE\n",
                                     "LEFT JOIN KPS_R_UNIT /* as of */ u ON a.UNIT_CODE = u.UNIT_CODE WHERE r.SHOP_CODE = 'none'\n"))  # fmt: skip
    out = tmp_path / "out"
    first = opened("01_extract", out)
    shown = [first.extract(), first.rejected(), first.samples(), first.announce()]
    assert "0 rows staged" in repr(shown[0])
    assert "Zero rows" in repr(shown[3])
    second = opened("02_upload", out)
    assert "nothing to upload" in repr(second.plan_upload())
    assert "Warning: zero rows" in repr(second.upload())
    third = opened("03_reconcile", out)
    assert "nothing to do" in repr(third.verdict())
    assert not sent(world)


def test_a_deleted_result_file_is_fetched_again(world: World, tmp_path: Path) -> None:
    run_all(tmp_path)
    (lost,) = (tmp_path / "r/product_price/salesforce/logs").glob("*_success.csv")
    before = sorted(lost.read_bytes().splitlines())
    lost.unlink()
    third = opened("03_reconcile", tmp_path)
    assert "fetched again" in repr(third.fetch_missing())
    assert sorted(lost.read_bytes().splitlines()) == before
    assert "Verdict: complete" in repr(third.verdict())


def test_books_that_do_not_balance_end_in_an_error(world: World, tmp_path: Path) -> None:
    run_all(tmp_path)
    (results,) = (tmp_path / "r/product_price/salesforce/logs").glob("*_success.csv")
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    results.write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(Ora2sfError, match="do not balance"):
        opened("03_reconcile", tmp_path).verdict()


def run_all(outputs: Path) -> None:
    first = opened("01_extract", outputs)
    first.extract()
    first.announce()
    second = opened("02_upload", outputs)
    second.plan_upload()
    second.upload()
    assert opened("03_reconcile", outputs).fetch_missing().tone == "good"


def test_a_connections_file_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "connections.toml"
    file.write_text('[oracle_tms]\nhost = "h"\n')
    file.chmod(stat.S_IRUSR | stat.S_IRGRP)
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(file))
    with pytest.raises(ConnectionFieldError, match="chmod 600"):
        opened("01_extract", tmp_path / "out").sign_in_oracle()


def test_a_full_or_lost_disk_stops_before_anything_is_sent(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened("01_extract", tmp_path)
    run.check_table()
    monkeypatch.setattr("ora2sf.batches.os.fsync", _no_space)
    with pytest.raises(RunFolderError, match="No space left"):
        run.extract()
    assert run.ledger.extraction() is None
    assert not sent(world)


def _no_space(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_a_source_that_grows_while_it_is_read_is_read_as_of_one_moment(world: World, tmp_path: Path) -> None:
    run = opened("01_extract", tmp_path)
    run.source.freeze()
    count = run.source.count(run.config.count())
    with (
        oracledb.connect(user="TMS", password=PASSWORD, dsn=world.oracle.dsn) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("INSERT INTO KPS_R_UNIT VALUES ('PC', 'twice')")
        other.commit()
        assert run.source.count(run.config.count()) == count
        run.source.freeze()
        assert run.source.count(run.config.count()) > count
        cursor.execute("DELETE FROM KPS_R_UNIT WHERE UNIT_DESC = 'twice'")
        other.commit()
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("change", [("order_by = [", 'order_by = ["NOWHERE",'), ("r.BARCODE,", "r.BARKODE,")])
def test_what_oracle_refuses_in_the_source_is_found_before_the_read_and_the_status_says_failed(
    change: tuple[str, str], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home(tmp_path, monkeypatch, change)
    with pytest.raises(SourceError, match="ORA-00904"):
        opened("01_extract", tmp_path / "out").check_table()
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Failed"


def test_a_source_that_ends_in_a_comment_is_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home(tmp_path, monkeypatch, ("u.UNIT_CODE\n", "u.UNIT_CODE -- the unit\n"))
    run = opened("01_extract", tmp_path / "out")
    assert "fits" in repr(run.check_table())
    assert "rows staged" in repr(run.extract())


def test_a_check_that_fails_after_the_upload_leaves_the_status_of_the_upload(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(tmp_path / "out")
    opened("03_reconcile", tmp_path / "out").verdict()
    describe = SalesforceClient.describe
    monkeypatch.setattr(SalesforceClient, "describe", lambda *a: describe(*a) | {"createable": False})
    with pytest.raises(PreflightError, match="may not write Product2"):
        opened("01_extract", tmp_path / "out").check_table()
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "In Progress"


def test_rows_that_are_all_rejected_have_a_verdict_of_their_own(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home(tmp_path, monkeypatch, ("length = 255\n", "length = 1\n"))
    first = opened("01_extract", tmp_path / "out")
    first.extract()
    assert "Failed" in repr(first.announce())
    assert "Verdict: all rejected" in repr(opened("03_reconcile", tmp_path / "out").verdict())


@pytest.mark.parametrize("reference", ["a-b", "x" * 81, "a.b", "ü"])
def test_a_reference_that_cannot_stand_in_an_address_is_refused_at_once(
    reference: str, tmp_path: Path
) -> None:
    refused(ParameterError, "letters, digits and _", outputs=str(tmp_path), external_ref=reference)


def test_no_two_run_ids_share_a_reference_and_the_longest_has_one(tmp_path: Path) -> None:
    names = ("2025-11", "2025.11", "2025_11", "x" * 80)
    references = {opened("01_extract", tmp_path, run_id=name).external_ref for name in names}
    assert len(references) == len(names)
    assert "product_price_2025_11" in references
    assert max(map(len, references)) <= 80


@pytest.mark.parametrize(
    ("name", "value"), [("outputs", Path("x")), ("batch_size", True), ("table", 5), ("batch_size", [1])]
)
def test_a_parameter_of_another_kind_is_refused_and_not_ignored(name: str, value: Any) -> None:
    refused(ParameterError, f"{name} arrived as the {type(value).__name__}", **{name: value})


@pytest.mark.parametrize("change", [{"sf_object": "a b"}, {"external_id_field": "Name"}])
def test_an_object_or_key_that_cannot_be_used_is_refused_without_the_whole_table_file(
    change: dict[str, str], tmp_path: Path
) -> None:
    assert len(refused(ParameterError, *change.values(), outputs=str(tmp_path), **change)) < 600


def test_while_one_is_at_work_on_a_slice_another_can_look_at_the_books_and_change_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "BEAT", 0.05)
    first, second = opened("01_extract", tmp_path), opened("01_extract", tmp_path)
    with first._alone(), pytest.raises(ClaimedError, match="held by another process"):
        second.extract()
    assert "rows staged" in repr(second.extract())
    with first._alone():
        before = {path: path.read_bytes() for path in first.folder.glob("*.json*")}
        looks = opened("03_reconcile", tmp_path)
        assert f"nothing is recorded: process {os.getpid()} on" in repr(looks)
        assert "not sent" in repr(looks.balance())
        for refused_call in (looks.verdict, looks.fetch_missing, lambda: opened("02_upload", tmp_path)):
            with pytest.raises(ClaimedError, match=f"process {os.getpid()} on"):
                refused_call()
        assert {path: path.read_bytes() for path in first.folder.glob("*.json*")} == before


def test_an_interrupt_before_the_last_count_leaves_books_that_balance(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened("01_extract", tmp_path, batch_size=1000)
    first.extract()
    first.announce()
    opened("02_upload", tmp_path, start_batch=3).upload()
    with monkeypatch.context() as patch:
        patch.setattr(SalesforceClient, "count", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened("02_upload", tmp_path).upload()
    run = opened("03_reconcile", tmp_path)
    run.fetch_missing()
    assert "target COUNT after - before = created" in repr(run.balance())
    assert "Verdict: complete" in repr(run.verdict())


def _interrupted(*_: Any) -> int:
    raise KeyboardInterrupt


def test_a_session_that_oracle_lost_is_not_met_again_in_the_same_kernel(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OracleSource.batches, "__defaults__", (500,))
    run = opened("01_extract", tmp_path)
    world.oracle.faults.add("drop-fin", at="fetch", call=1)
    with pytest.raises(SourceUnavailable):
        run.extract()
    assert "rows staged" in repr(run.extract())


def test_a_folder_with_results_but_without_a_ledger_is_refused_and_nothing_is_sent_twice(
    world: World, tmp_path: Path
) -> None:
    run_all(tmp_path)
    jobs = len(world.org.jobs())
    (tmp_path / "r/product_price/ledger.sqlite").unlink()
    with pytest.raises(LedgerError, match="the ledger of this run is gone"):
        opened("01_extract", tmp_path).extract()
    assert len(world.org.jobs()) == jobs


def test_a_damaged_result_file_is_fetched_again(world: World, tmp_path: Path) -> None:
    run_all(tmp_path)
    (damaged,) = (tmp_path / "r/product_price/salesforce/logs").glob("*_success.csv")
    damaged.write_bytes(damaged.read_bytes()[:-50])
    third = opened("03_reconcile", tmp_path)
    assert "fetched again" in repr(third.fetch_missing())
    assert "Verdict: complete" in repr(third.verdict())


def test_an_error_of_an_earlier_try_does_not_stay_in_the_status_record(world: World, tmp_path: Path) -> None:
    with pytest.raises(PreflightError):
        opened("01_extract", tmp_path, sf_object="Produkt2").check_table()
    run = opened("01_extract", tmp_path)
    run.extract()
    run.announce()
    (record,) = world.org.rows("TMS_Daily_Sales_File__c")
    assert (record["TMS_Status__c"], record["TMS_Errors__c"]) == ("New", None)
