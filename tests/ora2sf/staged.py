"""What the tests of the Salesforce side share: a staged slice, a look into the org, a server that answers as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl

from fakeforce import Org
from ora2sf.batches import BatchWriter, RejectedFile
from ora2sf.ledger import Batch, Ledger
from ora2sf.reconcile import Balance, balance, outcomes
from ora2sf.rounds import Rounds
from ora2sf.salesforce import JobEnd, SalesforceBulkLoader, SalesforceClient
from ora2sf.upload import plan, upload

KEY = "demo+key"
SECRET = "s3cret/with+signs=&% ก"
OBJECT, FIELD = "Product2", "ProductCode"
HEADER = ("ProductCode", "Name")
#: Rows that may pass are sent again at once.
QUICK = Rounds(pause=0)


class Slice:
    """The folder of one slice, and the steps on it."""

    def __init__(self, folder: Path, client: SalesforceClient) -> None:
        self.client, self.operation = client, "upsert"
        self.data, self.logs = folder / "data", folder / "logs"
        self.data.mkdir()
        self.logs.mkdir()
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.rejected = self.logs / "product_rejected.csv"

    def stage(self, rows: int, batch_size: int = 100, header: tuple[str, ...] = HEADER) -> list[str]:
        """Stages rows as an extraction does; returns their keys."""
        keys = [f"P{number:05d}" for number in range(rows)]
        columns = {name: [f"สินค้า {key}" for key in keys] for name in header} | {FIELD: keys}
        writer = BatchWriter(self.data, "product", header, FIELD, batch_size)
        writer.add(pl.DataFrame(columns, schema=dict.fromkeys(header, pl.String)))
        RejectedFile(self.rejected).finish()
        extraction = self.ledger.start_extraction("fingerprint")
        totals = {"source_count": rows, "rows_read": rows, "rows_staged": rows, "rows_rejected": 0}
        self.ledger.finish_extraction(extraction, writer.finish(), {}, **totals, consistency="none")
        return keys

    def loader(self, **changes: Any) -> SalesforceBulkLoader:
        settings = {"logs": self.logs, "poll_interval": 0.02, "sobject": OBJECT, "operation": self.operation}
        settings |= changes
        return SalesforceBulkLoader(self.client, external_id_field=FIELD, **settings)

    def upload(
        self,
        *,
        start_batch: int = 1,
        rounds: Rounds | None = QUICK,
        may_begin: Callable[[Batch], None] = lambda _batch: None,
        **changes: Any,
    ) -> list[JobEnd]:
        """One run of the upload step, from whatever the ledger says."""
        plans, loader = plan(self.ledger, start_batch), self.loader(**changes)
        return upload(plans, self.ledger, loader, self.data, rounds=rounds, may_begin=may_begin)

    def states(self) -> list[str]:
        return [attempt.state for attempt in self.ledger.attempts()]

    def books(self, *, before: int | None = 0, after: int | None = None, shared: bool = False) -> Balance:
        extraction = self.ledger.extraction()
        assert extraction
        return balance(
            extraction,
            outcomes(self.ledger, self.data, self.logs, FIELD),
            self.rejected,
            target_before=before if after is not None else None,
            target_after=after,
            shared_target=shared,
        )


def keys_in(org: Org) -> list[str | None]:
    """Every key in the org, as often as it is there."""
    return sorted(row[FIELD] for row in org.rows(OBJECT))


def calls(org: Org, method: str, path: str) -> list[int]:
    """The statuses of the calls of that method whose path ends so."""
    return [seen.status for seen in org.calls if seen.method == method and seen.path.endswith(path)]


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[str]:
    """A server that answers every request as the function does; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self, body)

        do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - names that http.server looks for

        def log_message(self, *_given: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(
    request: BaseHTTPRequestHandler,
    status: int,
    body: str | bytes = b"",
    kind: str = "application/json",
    **headers: str,
) -> None:
    """Writes an answer."""
    data = body.encode() if isinstance(body, str) else body
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request.send_response(status)
    for name, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | given).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)
