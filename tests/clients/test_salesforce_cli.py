"""The Salesforce CLI, `sf data …`, as an administrator uses it."""

import csv
import json

import pytest

UPSERT = ("data", "upsert", "bulk", "-s", "Product2", "-i", "ProductCode", "--line-ending", "LF")


class Cli:
    """The CLI on a machine, logged in to the org."""

    def __init__(self, machine, org):
        self.machine, self.org = machine, org
        self.json(
            *("org", "login", "access-token", "--instance-url", org.url, "--no-prompt", "--alias", "emu"),
            SF_ACCESS_TOKEN=org.token,
        )

    def json(self, *arguments, ok=True, **environment):
        ended = self.machine.run("sf", *arguments, "--json", ok=ok, **environment)
        return json.loads(ended.stdout or ended.stderr)

    def data(self, *arguments, ok=True):
        """``sf data …`` on the org; with ``ok`` its result, else its error."""
        found = self.json("data", *arguments, "-o", "emu", ok=ok)
        return found["result"] if ok else found

    def query(self, text):
        return self.data("query", "-q", text)["records"]

    def results(self, job):
        """(rows of the success file, rows of the file of failed rows) that `bulk results` writes."""
        told = self.data("bulk", "results", "-i", job)
        return told, *(self._rows(told.get(key)) for key in ("successFilePath", "failedFilePath"))

    def _rows(self, name):
        if name is None:
            return []
        with (self.machine.home / name).open(encoding="utf-8", newline="") as source:
            return list(csv.DictReader(source))

    def file(self, name, text):
        path = self.machine.home / name
        path.write_text(text, encoding="utf-8", newline="\n")
        return path


@pytest.fixture(scope="module")
def sf(machine, org):
    return Cli(machine, org)


@pytest.fixture
def loaded(sf, load):
    """Four rows sent by `sf data upsert bulk`, two of them refused; the id of the job."""
    refused = sf.data(*UPSERT[1:], "-f", str(load.write(sf.machine.home)), "-w", "5", ok=False)
    assert refused["name"] == "FailedRecordDetailsError"
    assert "failed to process 2 records" in refused["message"]
    return refused["data"]["jobId"]


def test_an_upsert_with_refused_rows_says_so_and_its_results_are_written_to_files(sf, org, load, loaded):
    told, successful, failed = sf.results(loaded)
    assert (told["processedRecords"], told["successfulRecords"], told["failedRecords"]) == (4, 2, 2)
    assert (told["operation"], told["object"], told["status"]) == ("upsert", "Product2", "JobComplete")
    load.check_results(successful, failed)
    load.check_org(org)


def test_a_query_reads_the_rows_back_as_json_and_as_a_table(sf, org, load, loaded):
    text = (
        f"SELECT Id, ProductCode, Name, CreatedBy.Name FROM Product2 WHERE ProductCode LIKE '{load.prefix}%'"
    )
    held = org.rows(load.prefix)
    found = {record["ProductCode"]: record for record in sf.query(text)}
    assert {code: record["Name"] for code, record in found.items()} == {c: r["Name"] for c, r in held.items()}
    assert {record["CreatedBy"]["Name"] for record in found.values()} == {"Integration User"}
    shown = sf.machine.run("sf", "data", "query", "-q", text, "-o", "emu", "--result-format", "csv").stdout
    table = list(csv.DictReader(shown[shown.index("Id,") :].splitlines()))
    assert {row["ProductCode"]: row["Id"] for row in table} == {c: r["Id"] for c, r in held.items()}
    assert {row["CreatedBy.Name"] for row in table} == {"Integration User"}


def test_a_count_is_shown(sf, org, load, loaded):
    found = sf.query(f"SELECT COUNT(Id) n FROM Product2 WHERE ProductCode LIKE '{load.prefix}%'")
    assert [record["n"] for record in found] == [2]


def test_an_upsert_can_be_left_and_taken_up_again(sf, org, load):
    begun = sf.data(*UPSERT[1:], "-f", str(load.write(sf.machine.home)))
    job = begun["jobInfo"]["id"]
    ended = sf.json("data", "upsert", "resume", "--job-id", job, "--wait", "1")["result"]
    assert ended["jobInfo"]["state"] == "JobComplete"
    assert (ended["jobInfo"]["numberRecordsProcessed"], ended["jobInfo"]["numberRecordsFailed"]) == (4, 2)
    load.check_results(ended["records"]["successfulResults"], ended["records"]["failedResults"])
    assert ended["records"]["unprocessedRecords"] == []
    load.check_org(org)


def test_an_update_by_id_changes_rows_and_names_the_one_that_is_not_there(sf, org, load, loaded):
    first = org.rows(load.prefix)[f"{load.prefix}1"]["Id"]
    path = sf.file("update.csv", f"Id,Name\n{first},Renamed\n01tFf0zzzzzzzzzAAA,Nobody\n")
    refused = sf.data(
        "update", "bulk", "-s", "Product2", "-f", str(path), "--line-ending", "LF", "-w", "5", ok=False
    )
    told, successful, failed = sf.results(refused["data"]["jobId"])
    assert (told["successfulRecords"], told["failedRecords"]) == (1, 1)
    assert [(row["Id"], row["sf__Created"]) for row in successful] == [(first, "false")]
    assert [row["Name"] for row in failed] == ["Nobody"]
    assert org.rows(load.prefix)[f"{load.prefix}1"]["Name"] == "Renamed"


def test_an_import_inserts_rows(sf, org, load):
    path = sf.file("import.csv", f"ProductCode,Name\n{load.prefix}1,One\n{load.prefix}2,Two\n")
    told = sf.data("import", "bulk", "-s", "Product2", "-f", str(path), "--line-ending", "LF", "-w", "5")
    assert (told["processedRecords"], told["successfulRecords"], told["failedRecords"]) == (2, 2, 0)
    assert {code: row["Name"] for code, row in org.rows(load.prefix).items()} == {
        f"{load.prefix}1": "One",
        f"{load.prefix}2": "Two",
    }


def test_a_delete_by_id_removes_rows(sf, org, load, loaded):
    ids = [row["Id"] for row in org.rows(load.prefix).values()]
    path = sf.file("delete.csv", "\n".join(["Id", *ids]) + "\n")
    told = sf.data("delete", "bulk", "-s", "Product2", "-f", str(path), "--line-ending", "LF", "-w", "5")
    assert told["jobInfo"]["numberRecordsProcessed"] == len(ids) == 2
    assert org.rows(load.prefix) == {}


def test_a_file_with_an_unknown_column_fails_the_job_with_its_name(sf, load):
    path = sf.file("wrong.csv", f"ProductCode,Nam\n{load.prefix}1,One\n")
    refused = sf.data(*UPSERT[1:], "-f", str(path), "-w", "5", ok=False)
    assert "InvalidBatch : Field name not found : Nam" in refused["message"]


def test_a_wrong_query_shows_the_servers_message(sf):
    refused = sf.data("query", "-q", "SELECT Nope__c FROM Product2", ok=False)
    assert refused["name"] == "INVALID_FIELD"
    assert "Nope__c" in refused["message"]


def test_a_bulk_query_is_exported_to_a_file(sf, org, load, loaded):
    text = f"SELECT Id, ProductCode FROM Product2 WHERE ProductCode LIKE '{load.prefix}%'"
    told = sf.data("export", "bulk", "-q", text, "--output-file", "export.csv", "-w", "5")
    assert told["totalSize"] == 2
    with (sf.machine.home / "export.csv").open(encoding="utf-8", newline="") as source:
        rows = {row["ProductCode"]: row["Id"] for row in csv.DictReader(source)}
    assert rows == {code: row["Id"] for code, row in org.rows(load.prefix).items()}
