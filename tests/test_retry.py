"""``04_retry``: rows that failed or were rejected are told by reason, fixed in one of three ways, and sent again, and only those."""

from __future__ import annotations

import csv
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import papermill
import pytest

from fakeoracle import serve as serve_oracle
from mending import BAD, BOXED, GOOD, LONG, MENDED, TABLE, TWICE, WRONG_DAY, Mending, client, mending
from ora2sf.errors import BalanceError, EditedFileError, LedgerError, ParameterError, RunFolderError
from ora2sf.ledger import Ledger
from ora2sf.retry import changes
from ora2sf.tables import TableConfig
from world import PASSWORD, ROOT


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    with serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as found:
        yield found


@pytest.fixture
def place(oracle: Any, tmp_path: Path) -> Iterator[Mending]:
    with mending(oracle, tmp_path, GOOD + BAD) as made:
        yield made


@pytest.fixture
def dirty(oracle: Any, tmp_path: Path) -> Iterator[Mending]:
    with mending(oracle, tmp_path, GOOD + BAD + TWICE + WRONG_DAY) as made:
        yield made


def test_what_waits_is_told_by_code_field_and_rule_and_nothing_is_sent(dirty: Mending) -> None:
    jobs = len(dirty.load().org.jobs())
    run, shown = dirty.retry()
    assert shown.startswith("8 rows wait, for 5 reason(s) (all).")
    assert "3 rows are not in it: another row has their key, they have none" in shown
    for words in (
        (
            "failed",
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "Unit__c",
            " 2 ",
            "m01",
            "not among those of a restricted",
        ),
        ("rejected", "REJECTED", "Name__c", " 3 ", "longer than 20", "Change the field's rule"),
        ("rejected", "Ext__c", " 1 ", "d01", "a later row counts", "Nothing, if the row that counts"),
        ("rejected", "Day__c", " 1 ", "w01", "31/12/2568"),
        ("rejected", "Ext__c", " 1 ", "empty key", "Correct the source"),
    ):
        assert any(all(word in line for word in words) for line in shown.splitlines()), words
    assert len(dirty.org.jobs()) == jobs
    assert run.ledger.fixes() == []
    exported = {row["Ext__c"]: row for row in dirty.exported()}
    assert set(exported) == {"m01", "m02", "m03", "m04", "w01"}  # what can be put right in one row
    assert exported["m02"]["Name__c"] == "Old, “quoted”"
    assert exported["m03"] | {"Name__c": LONG, "Day__c": "2025-02-03"} == exported["m03"]
    assert exported["w01"]["Day__c"] == "31/12/2568"  # as the source has it, where nothing fits
    assert exported["w01"]["retry_field"] == "Day__c"
    assert stat.S_IMODE(dirty.export.stat().st_mode) == 0o600


def test_filters_choose_by_code_and_field(dirty: Mending) -> None:
    dirty.load()
    for given, keys in (
        ({"error_code": "REJECTED"}, {"m03", "m04", "w01"}),
        ({"error_field": "Day__c"}, {"w01"}),
        ({"error_code": "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "error_field": "Unit__c"}, {"m01", "m02"}),
    ):
        dirty.retry(**given)
        assert {row["Ext__c"] for row in dirty.exported()} == keys


def test_a_changed_rule_converts_failed_and_rejected_rows_again_and_the_run_ends_clean(
    place: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.load()
    before = place.books()
    assert (before["verdict"], before["failed"], before["rejected"]) == ("complete with exceptions", 2, 2)
    monkeypatch.delenv("AIRFLOW_CONN_ORACLE_TMS")  # nothing is read again
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(place.home / "none.toml"))
    old = TableConfig.load("item", place.home / "tables").fingerprint
    place.table(MENDED)
    untouched = place.held("Id", "LastModifiedDate")
    place.org.clock.push(60)
    run, shown = place.retry("table", reason="the old unit is a piece")
    assert "2 that failed and 2 that were rejected converted again" in shown
    assert "Unit__c.values: None → {'Old': 'Piece'" in shown
    assert (
        place.held("Name__c", "Unit__c", "Amount__c", "Day__c", "Code__c").items()
        >= {
            "m02": ("Old, “quoted”", "Piece", "2.00", "2025-02-02", "0042"),
            "m03": (LONG[:20], "Box", "3.00", "2025-02-03", "1"),
            "m04": (LONG[:20], "Piece", "4.00", "2025-02-04", "2"),
        }.items()
    )
    assert place.held("Id", "LastModifiedDate").items() >= untouched.items()  # only those were sent
    (fix,) = run.ledger.fixes()
    assert (fix.old_fingerprint, fix.fingerprint) == (old, run.config.fingerprint)
    assert (fix.way, fix.failed, fix.rejected, fix.reason) == ("table", 2, 2, "the old unit is a piece")
    books = place.books()
    assert (books["verdict"], books["staged"], books["recovered"]) == ("complete", len(GOOD + BAD), 2)
    assert (books["success"], books["created"], books["rejected"]) == (19, 19, 0)
    (record,) = place.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Uploaded"
    assert "No row waits" in repr(place.open("04_retry").triage())


def test_with_the_table_file_as_it_is_failed_rows_are_sent_again_because_the_org_was_corrected(
    place: Mending,
) -> None:
    place.load()
    assert "0 that" not in place.retry("table", error_code="INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")[1]
    books = place.books()
    assert (books["failed"], books["success"]) == (2, 15)  # it was not, and each counts once
    assert [job["processed"] for job in place.org.jobs()][-1] == 2


def test_a_row_that_loses_against_another_with_its_key_is_never_sent(dirty: Mending) -> None:
    dirty.load()
    dirty.table(MENDED)
    _, shown = dirty.retry("table")
    assert "another row has this key, or there is none" in shown
    assert dirty.held("Name__c").items() >= {"d01": "later", "d02": "later"}.items()
    books = dirty.books()
    assert (books["recovered"], books["rejected"], books["verdict"]) == (2, 4, "complete with exceptions")


CHANGES = {
    "source (order)": ('"K", "AMOUNT"', '"K"'),
    "duplicates": ('"last"', '"first"'),
    "object": ('"Item__c"', '"Part__c"'),
    "source (table)": ('table = "ITEM"', 'table = "OTHER"'),
    "the rule of Ext__c": ('columns = ["K"]', 'columns = ["CODE"]'),
    "the fields and their order": ('field = "Code__c"', 'field = "Other__c"'),
    "source_time_zone": ("Asia/Bangkok", "UTC"),
    "operation": ('table = "item"', 'table = "item"\noperation = "insert"'),
}


@pytest.mark.parametrize("named", CHANGES)
def test_what_decides_which_rows_these_are_may_not_change(tmp_path: Path, named: str) -> None:
    configs = []
    for text in (TABLE, TABLE.replace(*CHANGES[named], 1)):
        (tmp_path / "item.toml").write_text(text, encoding="utf-8")
        configs.append(TableConfig.load("item", tmp_path))
    with pytest.raises(LedgerError, match=f"differs in {named.partition(' (')[0]}"):
        changes(*configs)


def test_a_changed_table_file_has_one_door(place: Mending) -> None:
    place.load()
    place.table(MENDED)
    for step, given in (("02_upload", {}), ("03_reconcile", {}), ("04_retry", {"fix": "csv"})):
        with pytest.raises(LedgerError, match='fix = "table"'):
            place.open(step, **given)
    assert 'fix = "table" would take over: Name__c.on_misfit' in repr(place.open("04_retry").triage())
    place.table(MENDED.replace('"last"', '"first"'))
    assert "differs in duplicates" in repr(place.open("04_retry").triage())
    with pytest.raises(LedgerError, match="differs in duplicates"):
        place.open("04_retry", fix="table").fix()
    place.table(MENDED)
    place.retry("table")
    assert "already extracted" in repr(place.open("01_extract").extract())
    place.table(TABLE)
    with pytest.raises(LedgerError, match="has changed"):
        place.open("02_upload")


def test_the_file_may_come_back_from_a_spreadsheet_with_fewer_rows(place: Mending) -> None:
    place.load().retry()
    rows = {row["Ext__c"]: row for row in place.exported()}
    names = [
        "Unit__c",
        "Name__c",
        "Ext__c",
        "retry_code",
        "Day__c",
        "Code__c",
        "Amount__c",
    ]  # some notes are gone
    lines = [";".join(names)]
    for key, changed in (("m03", {"Name__c": '"two\r\nlines; ""x"""'}), ("m01", {"Unit__c": "Box"})):
        row = rows[key] | changed
        lines.append(";".join(row[name] for name in names))
    place.export.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    _, shown = place.retry("csv", reason="asked the shop")
    assert "1 that failed and 1 that were rejected taken from the edited file" in shown
    assert "left as it was: not in the file" in shown
    assert "changed: Name__c" in shown
    assert (
        place.held("Unit__c", "Name__c").items()
        >= {
            "m01": ("Box", "Old one"),
            "m03": ("Box", 'two\nlines; "x"'),
        }.items()
    )
    books = place.books()
    assert (books["failed"], books["rejected"], books["recovered"], books["staged"]) == (1, 1, 1, 18)
    assert (place.logs / "item_fix_1_edited.csv").is_file()
    place.retry()
    assert {row["Ext__c"] for row in place.exported()} == {"m02", "m04"}


def test_edits_are_not_written_over_and_a_row_edited_twice_starts_from_its_first_edit(place: Mending) -> None:
    place.load().retry()
    rows = [row | {"Unit__c": "Bag"} for row in place.exported() if row["Ext__c"] == "m01"]
    place.edit(rows)
    assert "holds edits and is left as it is" in place.retry()[1]
    assert place.exported() == rows
    place.retry("csv")
    place.retry()
    (again,) = [row for row in place.exported() if row["Ext__c"] == "m01"]
    assert again["Unit__c"] == "Bag"
    assert "bad value for restricted picklist field: Bag" in again["retry_message"]
    place.edit([again | {"Unit__c": "Box"}])
    place.retry("csv")
    assert place.held("Unit__c")["m01"] == "Box"
    books = place.books()
    assert (books["success"], books["failed"], books["staged"]) == (16, 1, 17)


def first(rows: list[dict[str, str]], **changes: str) -> list[dict[str, str]]:
    return [rows[0] | changes, *rows[1:]]


def as_text(rows: list[dict[str, str]]) -> str:
    return "\n".join(",".join(line) for line in (list(rows[0]), *(list(row.values()) for row in rows))) + "\n"


FAULTS: dict[str, tuple[Callable[[list[dict[str, str]]], list[dict[str, str]] | bytes], str]] = {
    "an unknown key": (lambda rows: first(rows, Ext__c="k99"), r"line 2: Ext__c 'k99' is no row that failed"),
    "a key of a row that was accepted": (lambda rows: first(rows, Ext__c="k01"), r"'k01' is no row"),
    "a key twice": (lambda rows: first(rows, Ext__c="m02"), r"line 3: Ext__c m02 stands in line 2 as well"),
    "a row without key": (lambda rows: first(rows, Ext__c=""), r"line 2: Ext__c is empty"),
    "too long a text": (lambda rows: first(rows, Name__c="x" * 21), r"line 2: .*Name__c = 'x+': write 1 to 20"),
    "a day of a spreadsheet": (lambda rows: first(rows, Day__c="1/2/25"), r"Day__c = '1/2/25': write it like"),
    "a day too late": (lambda rows: first(rows, Day__c="2568-01-01"), r"write a day from 1700-01-01 to 2199"),
    "a number with letters": (lambda rows: first(rows, Amount__c="1,5 €"), r"Amount__c = .*digits before"),
    "lost zeros": (lambda rows: first(rows, Code__c="7"), r"line 2: .*'7' was '007': a spreadsheet takes leading"),
    "a rejected row as it was": (lambda rows: rows, r"line 4: .*m03: Name__c = .*: write 1 to 20"),
    "a column lost": (
        lambda rows: [{k: v for k, v in row.items() if k != "Day__c"} for row in rows],
        r"line 1: no column Day__c",
    ),
    "a cell too many": (
        lambda rows: as_text(first(rows, Name__c="a,b", retry_message="", retry_meaning="")).encode(),
        r"line 2: 12 cells, but the header has 11",
    ),
    "a broken quote": (lambda rows: as_text(first(rows, Name__c='"open')).encode(), r"line 2: .*quote"),
    "another encoding": (lambda rows: as_text(rows).encode("utf-16"), r"is not UTF-8"),
    "an empty file": (lambda _: b"", r"line 1: no column|line 1: the file is empty"),
}  # fmt: skip


@pytest.fixture(scope="module")
def listed(
    oracle: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mending, list[dict[str, str]]]]:
    with mending(oracle, tmp_path_factory.mktemp("listed"), GOOD + BAD) as made:
        made.load().retry()
        yield made, sorted(made.exported(), key=lambda row: row["Ext__c"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault_is_refused_with_its_line_and_nothing_is_sent(
    listed: tuple[Mending, list[dict[str, str]]], fault: str
) -> None:
    made, rows = listed
    change, said = FAULTS[fault]
    changed = change(rows)
    if isinstance(changed, bytes):
        made.export.write_bytes(changed)
    else:
        made.edit(changed)
    jobs = len(made.org.jobs())
    run = made.open("04_retry", fix="csv")
    with pytest.raises(EditedFileError, match=said) as caught:
        run.fix()
    assert caught.value.next_step
    assert run.ledger.fixes() == []
    assert len(made.org.jobs()) == jobs
    assert "Nothing was sent" in repr(run.resubmit())


def test_excluded_rows_have_a_reason_and_a_line_of_their_own_in_the_books(dirty: Mending) -> None:
    dirty.load()
    with pytest.raises(ParameterError, match="No reason"):
        dirty.retry("exclude", error_code="REJECTED")
    with pytest.raises(ParameterError, match="Which rows"):
        dirty.retry("exclude", reason="all of them")
    dirty.retry("exclude", error_code="REJECTED", error_field="Day__c", reason="the shop is closed")
    _, shown = dirty.retry("exclude", error_field="Unit__c", reason="unit not sold, says “Ann”")
    assert "rows read = staged + rejected + excluded" in shown
    assert "successful + failed + unprocessed + unknown + not sent + excluded" in shown
    with (dirty.logs / "item_excluded.csv").open(encoding="utf-8", newline="") as file:
        lines = {row["key"]: row for row in csv.DictReader(file)}
    assert {key: (row["was"], row["reason"]) for key, row in lines.items()} == {
        "w01": ("rejected", "the shop is closed"),
        "m01": ("failed", "unit not sold, says “Ann”"),
        "m02": ("failed", "unit not sold, says “Ann”"),
    }
    assert all(row["who"] and row["at"] for row in lines.values())
    books = dirty.books()
    assert (books["excluded"], books["excluded_rejected"], books["failed"]) == (2, 1, 0)
    assert books["verdict"] == "complete with exceptions"
    dirty.retry()
    assert {row["Ext__c"] for row in dirty.exported()} == {"m03", "m04"}


def test_a_fix_that_was_not_sent_any_more_is_sent_before_the_next_one(place: Mending) -> None:
    place.load()
    place.table(MENDED)
    place.open("04_retry", fix="table").fix()  # and the process ends
    assert "incomplete" in place.books()["verdict"]
    run, shown = place.retry("table")
    assert "An earlier fix is not at its end: its 1 batch(es) are sent now" in shown
    assert len(run.ledger.fixes()) == 1
    assert place.books()["verdict"] == "complete"


def test_fixed_rows_that_meet_a_lock_have_their_rounds_anew(
    place: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ora2sf.rounds.Rounds.pause_before", lambda *_: 0.0)
    place.load()
    place.table(MENDED)
    lock = {"error": "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access", "rows": 4, "object": "Item__c"}
    place.org.faults.add("lock-rows", times=3, **lock)
    run, _ = place.retry("table")
    assert [batch.round for batch in run.ledger.all_batches()] == [0, 0, 1, 2, 3, 4]
    assert place.books()["verdict"] == "complete"


def test_a_fix_that_ended_before_the_ledger_knew_of_it_is_none(
    place: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.load()
    place.table(MENDED)
    run = place.open("04_retry", fix="table")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add_fix", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.fix()
    run, shown = place.retry("table")
    assert "Fix 1: 2 that failed and 2 that were rejected" in shown
    assert len(run.ledger.fixes()) == 1
    assert place.books()["verdict"] == "complete"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fix", ["table", "csv"])
def test_the_rows_of_a_parent_stay_in_one_batch(oracle: Any, tmp_path: Path, fix: str) -> None:
    rows = [(f"k{n:02}", "Tea", "Box", n, "01/02/2025", f"b{n % 4}") for n in range(12)]
    with mending(oracle, tmp_path, rows) as place:
        place.table(BOXED)
        client().send("PATCH", "/sobjects/Box__c/Ext__c/b0", json={})
        place.load().retry()
        for name in ("b1", "b2", "b3"):
            client().send("PATCH", f"/sobjects/Box__c/Ext__c/{name}", json={})
        place.edit(
            sorted(place.exported(), key=lambda row: row["Ext__c"]) if fix == "csv" else place.exported()
        )
        run, _ = place.retry(fix)
        sent = [batch for batch in run.ledger.all_batches() if batch.round == 1]
        assert [(one.first_parent, one.last_parent, one.rows) for one in sent] == [
            (name, name, 3) for name in ("b1", "b2", "b3")
        ]
        assert run.ledger.parents_met() == []
        assert place.books()["verdict"] == "complete"


def test_a_fix_waits_until_the_upload_is_at_its_end(place: Mending) -> None:
    place.table(TABLE.replace('[status]\nfile_name_field = "TMS_Name__c"\n', ""))
    place.open("01_extract").extract()
    place.open("02_upload", start_batch=2).upload()
    with pytest.raises(LedgerError, match=r"1 batch\(es\) are not settled"):
        place.open("04_retry", fix="table").fix()


def test_a_list_of_fixed_rows_that_was_changed_does_not_balance(place: Mending) -> None:
    place.load().retry("exclude", error_field="Unit__c", reason="no")
    path = place.logs / "item_fix_1.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("no", "yes"), encoding="utf-8")
    with pytest.raises(BalanceError, match="changed since they were fetched"):
        place.books()


def test_without_the_source_columns_failed_rows_can_still_be_edited(place: Mending) -> None:
    place.load(keep_source="no")
    with pytest.raises(RunFolderError, match="were not kept"):
        place.retry("table")
    place.retry(error_code="INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
    place.edit([row | {"Unit__c": "Box"} for row in place.exported()])
    place.retry("csv")
    assert place.held("Unit__c").items() >= {"m01": "Box", "m02": "Box"}.items()


def test_the_notebook_itself_takes_a_run_to_a_clean_verdict(place: Mending) -> None:
    place.load()
    place.table(MENDED)
    for name, given in (("04_retry", {"fix": "table"}), ("03_reconcile", {})):
        papermill.execute_notebook(
            str(ROOT / "notebooks" / f"{name}.ipynb"),
            str(place.folder / f"{name}.ipynb"),
            {"run_id": "r", "table": "item", "outputs": "outputs", **given},
            engine_name="ora2sf",
            progress_bar=False,
        )
    assert "Verdict: proven. 19 in the source" in (place.folder / "03_reconcile.ipynb").read_text()
    with Ledger(place.folder / "ledger.sqlite") as ledger:
        assert ledger.parents_met() == []
        assert [fix.way for fix in ledger.fixes()] == ["table"]
