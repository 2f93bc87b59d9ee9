"""The contenders of bench/upload.py that are written in Python; each imports only what it needs, as memory is measured.

python bench/upload_contenders.py "bare loop" | ora2sf [plain|gzip [batches]] | simple-salesforce
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

STAGED, ORG, TOKEN = Path(os.environ["STAGED"]), os.environ["ORG"], os.environ["TOKEN"]
JOB = {"object": "Sales_Line__c", "operation": "upsert", "externalIdFieldName": "External_ID__c"}
JOBS_AT_ONCE, UPLOADS_AT_ONCE = 15, 4
LOOK = 0.2


def ora2sf(how: str = "plain", batches: str = "") -> None:
    """The real thing: ledger, journal, hashes, files that are synced."""
    from ora2sf.ledger import Ledger
    from ora2sf.salesforce import SalesforceBulkLoader, SalesforceClient
    from ora2sf.upload import plan, upload

    shutil.copy(STAGED / "ledger.sqlite", "ledger.sqlite")
    client = SalesforceClient("salesforce_api")
    loader = SalesforceBulkLoader(
        client, JOB["object"], JOB["externalIdFieldName"], logs=Path("logs"), gzip_upload=how == "gzip",
        max_concurrent_jobs=JOBS_AT_ONCE, max_concurrent_uploads=UPLOADS_AT_ONCE,
    )  # fmt: skip
    with Ledger(Path("ledger.sqlite")) as ledger:
        plans = plan(ledger)
        upload(plans[: int(batches) if batches else None], ledger, loader, STAGED / "data")
    client.close()


def bare_loop() -> None:
    """The same files, calls and concurrency, and the results saved; nothing is recorded, checked or tried again."""
    uploads = threading.BoundedSemaphore(UPLOADS_AT_ONCE)
    mine = threading.local()

    def one(path: Path) -> None:
        mine.caller = getattr(mine, "caller", None) or _Caller()
        caller = mine.caller
        job = caller.json("POST", "/jobs/ingest", JOB | {"contentType": "CSV", "lineEnding": "LF"})["id"]
        with uploads:
            caller.put(f"/jobs/ingest/{job}/batches", path)
        caller.json("PATCH", f"/jobs/ingest/{job}", {"state": "UploadComplete"})
        while caller.json("GET", f"/jobs/ingest/{job}")["state"] != "JobComplete":
            time.sleep(LOOK)
        for kind, name in (
            ("successfulResults", "success"),
            ("failedResults", "failed"),
            ("unprocessedrecords", "unprocessed"),
        ):
            caller.save(f"/jobs/ingest/{job}/{kind}", Path("logs") / f"{job}_{name}.csv")

    with ThreadPoolExecutor(JOBS_AT_ONCE) as pool:
        list(pool.map(one, sorted((STAGED / "data").glob("*.csv.gz"))))


class _Caller:
    """One connection that stays open: http.client costs less than any other client."""

    def __init__(self) -> None:
        from http.client import HTTPConnection

        self._http = HTTPConnection(ORG.removeprefix("http://"), blocksize=1 << 20)

    def _ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        given = {"Authorization": f"Bearer {TOKEN}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        self._http.request(method, f"/services/data/v66.0{path}", body, given)
        answer = self._http.getresponse()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status}")
        return answer

    def json(self, method: str, path: str, body: object = None) -> Any:
        """A small call."""
        text = None if body is None else json.dumps(body)
        return json.loads(self._ask(method, path, text, Content_Type="application/json").read())

    def put(self, path: str, file: Path) -> None:
        """The file's plain text, streamed."""
        from isal import igzip

        size = int.from_bytes(file.read_bytes()[-4:], "little")
        with igzip.open(file, "rb") as stream:
            self._ask("PUT", path, stream, Content_Type="text/csv", Content_Length=str(size)).read()

    def save(self, path: str, target: Path) -> None:
        """A download, streamed."""
        from isal import igzip

        answer = self._ask("GET", path, Accept="text/csv", Accept_Encoding="gzip")
        with target.open("wb") as file:
            shutil.copyfileobj(igzip.IGzipFile(fileobj=answer), file, 1 << 20)


def simple_salesforce() -> None:
    """The one file, cut by the client itself, with its own settings; then the results of each job."""
    from simple_salesforce import Salesforce

    org = Salesforce(instance_url=ORG, session_id=TOKEN, version="66.0")
    org.bulk2_url = f"{ORG}/services/data/v66.0/jobs/"  # it takes every org for one that speaks https
    handler = org.bulk2.Sales_Line__c
    jobs = handler.upsert(csv_file=str(STAGED / "all.csv"), external_id_field=JOB["externalIdFieldName"])
    for job in jobs:
        name = job["job_id"]
        handler.get_successful_records(name, file=f"logs/{name}_success.csv")
        handler.get_failed_records(name, file=f"logs/{name}_failed.csv")
        handler.get_unprocessed_records(name, file=f"logs/{name}_unprocessed.csv")


if __name__ == "__main__":
    {"ora2sf": ora2sf, "bare loop": bare_loop, "simple-salesforce": simple_salesforce}[sys.argv[1]](
        *sys.argv[2:]
    )
