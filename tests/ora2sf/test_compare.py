"""Is every row in the org, with every value? Rows go there over HTTP, somebody meddles, and the comparison has to say so."""

from __future__ import annotations

import csv
import hashlib

import polars as pl
import pytest
from staged import calls

from ora2sf import comparison_report
from ora2sf.batches import BatchWriter, RejectedFile
from ora2sf.compare import Given, compare
from ora2sf.convert import Rejected
from ora2sf.equality import How
from ora2sf.errors import ParameterError, RunFolderError, TargetError
from ora2sf.ledger import Ledger
from ora2sf.rounds import Rounds
from ora2sf.salesforce import BulkQuery, SalesforceBulkLoader
from ora2sf.tables import TableConfig
from ora2sf.upload import plan, upload

OBJECT, KEY = "KPS_SalesPay__c", "External_ID__c"
PARENT = "KPS_SalesM__r.External_ID__c"
FIELDS = [
    {"field": KEY, "type": "key", "columns": ["ID"], "length": 200},
    {"field": "KPS_SalesM__c", "type": "lookup", "columns": ["SALE"], "object": "KPS_SalesM__c",
     "external_id_field": KEY, "length": 200},
    {"field": "Pos_No__c", "column": "POS", "type": "text", "length": 50},
    {"field": "Sales_Date__c", "column": "DAY", "type": "date"},
    {"field": "Payment_Amt__c", "column": "AMT", "type": "decimal", "precision": 18, "scale": 2},
    {"field": "Oracle_Created_Date__c", "column": "MADE", "type": "datetime", "null": "#N/A"},
]  # fmt: skip
CONFIG = TableConfig.model_validate(
    {"table": "pay", "object": OBJECT, "external_id_field": KEY, "source": {"table": "PAY"}, "fields": FIELDS}
)


def row(number, **changes):
    """One staged row; a value of None is an empty cell."""
    values = {
        KEY: f"P|{number:04d}", PARENT: f"S{number % 3}", "Pos_No__c": f"จุด {number}, \"x\"",
        "Sales_Date__c": f"2025-01-{number % 28 + 1:02d}", "Payment_Amt__c": f"{number * 1000003}.07",
        "Oracle_Created_Date__c": f"2025-01-{number % 28 + 1:02d}T17:00:00.000Z",
    }  # fmt: skip
    return values | changes


class Sent:
    """The folder of a slice of payments, and the steps on it."""

    def __init__(self, folder, client):
        self.client, self.folder = client, folder
        self.data, self.logs = folder / "data", folder / "logs"
        self.data.mkdir(parents=True)
        self.logs.mkdir()
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.rejected = self.logs / "pay_rejected.csv"
        for parent in ("S0", "S1", "S2"):
            client.send("PATCH", f"/sobjects/KPS_SalesM__c/{KEY}/{parent}", json={})

    def stage(self, rows, *, batch_size=10_000, rejected=()):
        writer = BatchWriter(self.data, "pay", CONFIG.header, KEY, batch_size)
        writer.add(pl.DataFrame(list(rows), schema=dict.fromkeys(CONFIG.header, pl.String)))
        batches = writer.finish()
        refused = RejectedFile(self.rejected)
        refused.add(Rejected(n, key, "F", "rule", "v") for n, key in enumerate(rejected))
        refused.finish()
        count = sum(batch.rows for batch in batches)
        totals = {
            "source_count": count,
            "rows_read": count,
            "rows_staged": count,
            "rows_rejected": len(rejected),
        }
        number = self.ledger.start_extraction("f")
        self.ledger.finish_extraction(number, batches, {}, **totals, consistency="none")

    def send(self, start_batch=1, operation="upsert", rounds=None):
        loader = SalesforceBulkLoader(
            self.client, OBJECT, KEY, operation=operation, logs=self.logs, poll_interval=0.02
        )
        upload(plan(self.ledger, start_batch), self.ledger, loader, self.data, rounds=rounds)

    def compare(self, mode="full", rules="trimming, line breaks", memory=256, config=CONFIG, **changes):
        given = Given(
            config,
            self.ledger,
            self.data,
            self.logs,
            self.folder,
            self.rejected,
            self.client.describe(OBJECT),
            **changes,
        )
        bulk = BulkQuery(self.client, self.folder / "target", poll_interval=0.02)
        return compare(given, self.client, How.read(mode, rules, memory), bulk)

    def list(self, kind):
        with (self.logs / f"pay_{kind}.csv").open(encoding="utf-8", newline="") as file:
            return [tuple(line) for line in list(csv.reader(file))[1:]]


@pytest.fixture
def sent(tmp_path, org, client):
    one = Sent(tmp_path / "slice", client)
    with one.ledger:
        yield one


@pytest.fixture
def arrived(sent):
    """Fifty rows in three batches, all in the org."""
    sent.stage((row(n) for n in range(50)), batch_size=20)
    sent.send()
    return sent


def change(client, number, **values):
    client.send("PATCH", f"/sobjects/{OBJECT}/{KEY}/P%7C{number:04d}", json=values)


def remove(client, number):
    (record,) = client.records(OBJECT, ["Id"], KEY, [f"P|{number:04d}"])
    client.send("DELETE", f"/sobjects/{OBJECT}/{record['Id']}")


def test_rows_that_all_arrived_are_proven(arrived):
    found = arrived.compare()
    assert (found.proven, found.contradicted) == (True, False)
    assert (found.expected, found.looked_at, found.in_target) == (50, 50, 50)
    assert [arrived.list(kind) for kind in ("differences", "missing", "extra", "not_compared")] == [[]] * 4
    assert (
        comparison_report.sentence(found)
        == "All 50 rows that have to be in the org are there, with every value."
    )


def test_one_missing_one_too_many_and_three_changed_values_are_found_and_nothing_else(arrived, client):
    remove(client, 7)
    change(client, 777, Pos_No__c="nobody sent this")
    change(client, 11, Payment_Amt__c=11000033.08)
    change(client, 23, Pos_No__c='จุด 23, "X"')
    change(client, 42, Oracle_Created_Date__c="2025-01-15T18:00:00.000Z")
    found = arrived.compare()
    assert (found.missing, found.extra, found.different, found.different_values) == (1, 1, 3, 3)
    assert [line[0] for line in arrived.list("missing")] == ["P|0007"]
    assert [line[::2] for line in arrived.list("extra")] == [("P|0777", "neither staged nor rejected")]
    assert arrived.list("differences") == [
        ("P|0011", "Payment_Amt__c", "11000033.07", "1.100003308E7"),
        ("P|0023", "Pos_No__c", 'จุด 23, "x"', 'จุด 23, "X"'),
        ("P|0042", "Oracle_Created_Date__c", "2025-01-15T17:00:00.000Z", "2025-01-15T18:00:00.000Z"),
    ]
    assert (found.proven, found.contradicted) == (False, True)
    said = comparison_report.sentence(found)
    assert "1 missing, 1 too many, 3 different, in 3 value(s)" in said
    for key in ("P|0007 is missing", "P|0777", "P|0011", "P|0023", "P|0042"):
        assert key in said
    for name, kept in found.files.items():
        assert kept["sha256"] == hashlib.sha256((arrived.logs / name).read_bytes()).hexdigest()


def test_a_later_comparison_asks_anew_and_its_lists_replace_the_old_ones(arrived, client, org):
    remove(client, 7)
    assert arrived.compare().missing == 1
    change(client, 7, **{key: value for key, value in row(7).items() if key not in {KEY, PARENT}} | {
        "Payment_Amt__c": 7000021.07, "KPS_SalesM__r": {KEY: "S1"}})  # fmt: skip
    assert arrived.compare().proven
    assert arrived.list("missing") == []
    assert len(calls(org, "POST", "/jobs/query")) == 2


def test_a_lookup_is_compared_by_the_parents_external_id(arrived, client):
    change(client, 5, KPS_SalesM__r={KEY: "S0"})
    found = arrived.compare()
    assert arrived.list("differences") == [("P|0005", "KPS_SalesM__c", "S2", "S0")]
    assert found.by_field == {"KPS_SalesM__c": 1}


def test_keys_are_matched_in_any_case_as_the_org_matches_them(sent, client):
    change(client, 1, Pos_No__c="old")
    sent.stage([row(1, **{KEY: "p|0001", PARENT: "s1"})])
    sent.send()
    found = sent.compare()
    assert (found.missing, found.extra, found.different, found.expected) == (0, 0, 0, 1)
    assert found.explained["letter case"] >= 1
    assert found.proven


def test_an_empty_cell_leaves_an_old_record_as_it_was_and_is_counted(sent, client):
    for number in (1, 2, 3):
        change(
            client, number, Pos_No__c="old", Payment_Amt__c=5, Oracle_Created_Date__c="2020-01-01T00:00:00Z"
        )
    empty = {"Pos_No__c": None, "Payment_Amt__c": None}
    sent.stage([row(1, **empty), row(2, Oracle_Created_Date__c="#N/A"), row(3), row(4, **empty)])
    sent.send()
    found = sent.compare()
    assert found.proven, found.examples
    assert found.explained == {"left as it was": 2}
    assert not any(line.differs for line in found.lines)


def test_a_new_record_must_not_have_a_value_where_the_cell_was_empty(sent, client):
    sent.stage([row(1, Pos_No__c=None), row(2, Oracle_Created_Date__c="#N/A")])
    sent.send()
    assert sent.compare().proven
    change(client, 1, Pos_No__c="from nowhere")
    change(client, 2, Oracle_Created_Date__c="2020-01-01T00:00:00Z")
    sent.compare()
    assert sent.list("differences") == [
        ("P|0001", "Pos_No__c", "", "from nowhere"),
        ("P|0002", "Oracle_Created_Date__c", "#N/A", "2020-01-01T00:00:00.000Z"),
    ]


def test_trimmed_blanks_are_counted_and_are_differences_when_the_rule_is_off(sent):
    sent.stage([row(1, Pos_No__c="  a "), row(2, Pos_No__c="   "), row(3)])
    sent.send()
    found = sent.compare()
    assert (found.proven, found.explained) == (True, {"trimming": 2})
    strict = sent.compare(rules="none")
    assert (strict.contradicted, strict.different) == (True, 2)


def test_rows_that_failed_or_were_not_sent_are_listed_and_not_missing(sent, client):
    change(client, 3, Pos_No__c="old")
    rows = [row(n, **({PARENT: "nobody"} if n in {2, 3} else {})) for n in range(10)]
    sent.stage([*rows, row(10), row(11)], batch_size=10)
    sent.send()
    assert sent.compare().expected == 10
    second = sent.ledger.last_attempt(2).id  # batches side by side may begin in either order
    sent.ledger._db.execute("DELETE FROM result WHERE attempt = ?", (second,))
    sent.ledger._db.execute("UPDATE attempt SET state = 'given_up' WHERE id = ?", (second,))
    found = sent.compare()
    assert (found.missing, found.different, found.extra, found.expected) == (0, 0, 0, 8)
    assert found.staged == {
        "created": 8,
        "updated": 0,
        "failed": 2,
        "unprocessed": 0,
        "unknown": 0,
        "not sent": 2,
    }
    assert sent.list("not_compared") == [
        ("P|0002", "failed", "no"),
        ("P|0003", "failed", "yes, with other values"),
        ("P|0010", "not sent", "yes"),
        ("P|0011", "not sent", "yes"),
    ]


def test_the_record_of_a_rejected_row_is_not_one_too_many(sent, client):
    change(client, 99, Pos_No__c="an older run brought it")
    sent.stage([row(1)], rejected=["p|0099", "", "P|0001"])
    sent.send()
    found = sent.compare()
    assert (found.proven, found.rejected_there, found.extra) == (True, 1, 0)


@pytest.mark.parametrize("why", ["shared", "window"])
def test_others_records_are_no_ones_business_in_a_shared_object_or_of_a_part_of_a_table(arrived, client, why):
    change(client, 777, Pos_No__c="theirs", Payment_Amt__c=10**9)
    config = CONFIG.model_copy(update={"shared_target": why == "shared"})
    found = arrived.compare(config=config, whole=why != "window")
    assert (found.proven, found.others, found.extra) == (True, 1, 0)
    assert not any(line.differs for line in found.lines)


def test_a_row_in_no_result_file_is_named_with_what_the_org_says_of_it(sent, org, client):
    org.faults.add("drop-result", path="successful", rows=2)
    sent.stage(row(n) for n in range(20))
    sent.send()
    (lost,) = {line.staged["unknown"] for line in [sent.compare()]}
    assert lost == 2
    keys = [line[0] for line in sent.list("not_compared")]
    remove(client, int(keys[0][2:]))
    found = sent.compare()
    assert found.examples == [
        f"{keys[0]} is in no result file, and not in the org",
        f"{keys[1]} is in no result file, and in the org",
    ]
    assert (found.expected, found.extra, found.missing) == (18, 0, 0)


def test_a_row_that_was_sent_again_counts_by_its_last_result(arrived, sent, org):
    org.faults.add("lock-rows", object=OBJECT, rows=9)
    other = Sent(sent.folder / "again", sent.client)
    with other.ledger:
        other.stage((row(n) for n in range(50)), batch_size=20)
        other.send(rounds=Rounds(pause=0))
        assert [batch.rows for batch in other.ledger.all_batches() if batch.round] == [9]
        found = other.compare()
    assert (found.proven, found.expected, found.staged["failed"]) == (True, 50, 0)


def test_a_row_whose_result_was_lost_and_that_a_look_found_has_to_be_there(sent, org):
    inserting = CONFIG.model_copy(update={"operation": "insert"})
    sent.stage([row(n) for n in range(5)])
    org.faults.add("drop-result", object=OBJECT)
    sent.send(operation="insert", rounds=Rounds(pause=0))
    assert [(one.rows, one.found) for one in sent.ledger.lookups().values()] == [(1, 1)]
    found = sent.compare(config=inserting)
    assert (found.proven, found.expected, found.staged["created"]) == (True, 5, 5)


# totals


def test_totals_are_exact_on_both_sides(arrived, client):
    found = arrived.compare()
    amount = next(line for line in found.lines if line.field == "Payment_Amt__c")
    assert str(amount.staged.sum) == str(amount.target.sum) == f"{sum(range(50)) * 1000003 + 3}.5"
    assert (amount.staged.smallest, amount.staged.largest, amount.staged.count) == ("0.07", "49000147.07", 50)
    change(client, 11, Payment_Amt__c=11000033.08)
    assert [line.field for line in arrived.compare().lines if line.differs] == ["Payment_Amt__c"]


def test_the_org_can_be_asked_for_its_totals_instead_of_its_rows(arrived, client, org):
    found = arrived.compare("aggregates")
    assert (found.contradicted, found.proven) == (False, False)
    assert [line.field for line in found.lines] == [
        "Sales_Date__c",
        "Payment_Amt__c",
        "Oracle_Created_Date__c",
    ]
    assert all(line.target and line.target.count == 50 for line in found.lines)
    assert calls(org, "POST", "/jobs/query") == []
    change(client, 11, Payment_Amt__c=11000033.08)
    assert [line.field for line in arrived.compare("aggregates").lines if line.differs] == ["Payment_Amt__c"]


def test_totals_of_the_org_are_not_compared_where_it_holds_more_than_this_slice(arrived, client):
    change(client, 777, Payment_Amt__c=1)
    found = arrived.compare("aggregates")
    assert not found.contradicted
    assert "the org's sums are of all 51 records" in found.lines[0].note


# other ways


def test_a_sample_looks_at_the_same_rows_for_the_same_seed(arrived, client, org):
    change(client, 11, Payment_Amt__c=11000033.08)
    assert arrived.compare("sample(50)").different == 1
    seen = {arrived.compare(f"sample(10, {seed})").different for seed in (1, 2, 3, 4)}
    assert seen == {0, 1}
    some = arrived.compare("sample(10, 3)")
    assert (some.looked_at, some.expected, some.proven, some.extra) == (10, 50, False, 0)
    assert calls(org, "POST", "/jobs/query") == []


def test_counts_look_at_no_row(arrived):
    found = arrived.compare("counts")
    assert (found.expected, found.in_target, found.proven, found.contradicted) == (50, 50, False, False)
    assert "no row was looked at" in comparison_report.sentence(found)


@pytest.mark.parametrize("given", [("half", ""), ("sample(0)", ""), ("sample", ""), ("full", "rounding")])
def test_a_mode_or_rule_that_does_not_exist_is_refused(given):
    with pytest.raises(ParameterError, match=r"rounding|half|sample"):
        How.read(*given, 64)


# what may go wrong


def test_a_page_that_lacks_a_line_is_fetched_once_more(arrived, org):
    org.faults.add("drop-result", path="query")
    assert arrived.compare().proven


def test_a_page_that_always_lacks_a_line_proves_nothing(arrived, org):
    org.faults.add("drop-result", path="query", times=0)
    with pytest.raises(TargetError, match="holds 49 records where Salesforce announced 50"):
        arrived.compare()


def test_a_read_back_from_before_a_further_upload_is_not_used(sent, client, org):
    sent.stage((row(n) for n in range(20)), batch_size=10)
    sent.send(start_batch=2)
    org.faults.add("drop-result", path="query", times=0)
    with pytest.raises(TargetError):
        sent.compare()
    org.faults.clear()
    sent.send()
    found = sent.compare()
    assert (found.proven, found.expected) == (True, 20)
    assert len(calls(org, "POST", "/jobs/query")) == 2


def test_a_staged_file_that_was_changed_or_is_gone_is_named(arrived):
    first, second, _ = sorted(arrived.data.glob("*.csv.gz"))
    second.write_bytes(first.read_bytes()[: len(first.read_bytes()) // 2])
    with pytest.raises(RunFolderError):
        arrived.compare()
    second.unlink()
    with pytest.raises(RunFolderError, match=second.name):
        arrived.compare()


def test_a_source_without_a_row_says_nothing_of_what_the_org_has(sent, client, org):
    change(client, 1, Pos_No__c="of an earlier run")
    sent.stage([])
    found = sent.compare()
    assert (found.expected, found.extra, found.contradicted, found.proven) == (0, 0, False, False)
    assert comparison_report.sentence(found) == "Nothing is staged, so there is nothing to compare."
    assert calls(org, "POST", "/jobs/query") == []


def test_a_delete_leaves_nothing_whose_values_could_be_compared_so_records_are_counted(arrived, org):
    deleting = CONFIG.model_copy(update={"operation": "delete"})
    found = arrived.compare(config=deleting)
    assert (found.how.mode, found.in_target, found.proven) == ("counts", 50, False)
    assert calls(org, "POST", "/jobs/query") == []


def test_records_beside_those_that_an_update_names_are_no_surplus(arrived, client):
    updating = CONFIG.model_copy(update={"operation": "update"})
    change(client, 777, Pos_No__c="of others")
    found = arrived.compare(config=updating)
    assert (found.extra, found.others, found.proven) == (0, 1, True)


def test_rows_that_an_update_has_no_record_for_are_failed_here_as_in_the_books(sent, client):
    change(client, 1, Pos_No__c="old")
    sent.stage(row(n) for n in range(3))
    sent.send(operation="update", rounds=Rounds(pause=0))
    found = sent.compare(config=CONFIG.model_copy(update={"operation": "update"}))
    assert (found.staged["updated"], found.staged["failed"], found.staged["unknown"]) == (1, 2, 0)
    assert sent.list("not_compared") == [("P|0000", "failed", "no"), ("P|0002", "failed", "no")]
