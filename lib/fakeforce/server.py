"""A running org: the parts put together, and uvicorn in a thread."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from .app import Api, App, Seen
from .auth import ORG_ID, USERNAME, Auth
from .clock import Clock, stamp
from .errors import FakeforceError
from .faults import Faults
from .ids import record_id
from .ingest import Ingest
from .jobs import USER_ID, Job
from .queries import Queries
from .rest import Rest
from .schema import load
from .settings import Settings
from .store import Store

if TYPE_CHECKING:
    from .tls import Tls


class Org:
    """A Salesforce org for tests; made by ``serve``."""

    def __init__(
        self,
        schema: str | Path,
        *,
        state: str | Path | None,
        client_id: str,
        client_secret: str,
        seed: int,
        clock: datetime | None = None,
    ) -> None:
        self.schema = load(schema)
        self.clock = Clock(clock)
        self.settings = Settings()
        self.faults = Faults()
        self.calls: list[Seen] = []
        self.url = ""
        self.ca_file: str | None = None  # with https: what a client must trust
        self._store = Store(self.schema, state)
        self._store.meta("seed", str(seed))
        self._auth = Auth(self._store, self.clock, self.settings, client_id, client_secret)
        self._ingest = Ingest(self._store, self.clock, self.settings, self.faults, user=USER_ID, seed=seed)
        self._queries = Queries(self._store, self.clock, self.settings, self.faults)
        self._rest = Rest(self._store, self.clock, self.settings, USER_ID)
        self._seed_builtins()
        self.app = App(
            Api(
                self.schema, self._store, self.clock, self.settings, self.faults,
                self._auth, self._ingest, self._queries, self._rest, self.calls,
            )
        )  # fmt: skip

    def _seed_builtins(self) -> None:
        """The user and the organization that clients ask for."""
        now = stamp(self.clock.now())
        common = {"CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now, "IsDeleted": 0}
        user = {"Username": USERNAME, "Name": "Integration User", "Email": USERNAME, "IsActive": 1}
        organization = {
            "Name": "Fakeforce", "InstanceName": "FF0",
            "OrganizationType": "Developer Edition", "IsSandbox": 0,
        }  # fmt: skip
        for name, record, own in (("User", USER_ID, user), ("Organization", ORG_ID, organization)):
            obj = self.schema.objects[name]
            if self._store.count(obj) == 0:
                values = common | {"CreatedById": USER_ID, "LastModifiedById": USER_ID} | own
                with self._store.transaction() as con:
                    self._store.insert(con, obj, list(values), [[1, record, *values.values()]])
        self._seed_field_definitions(common)

    def _seed_field_definitions(self, common: dict[str, Any]) -> None:
        """FieldDefinition says what describe says; it is written anew, as the schema may have changed."""
        obj = self.schema.objects["FieldDefinition"]
        rows: list[list[Any]] = []
        given: dict[str, Any] = {}
        for owner in self.schema.objects.values():
            for f in owner.fields:
                given = common | {
                    "Name": f.name, "CreatedById": USER_ID, "LastModifiedById": USER_ID,
                    "DurableId": f"{owner.name}.{f.name}", "QualifiedApiName": f.name,
                    "DeveloperName": f.name.removesuffix("__c"), "EntityDefinitionId": owner.name,
                    "Label": f.label, "DataType": f.type,
                    "IsPolymorphicForeignKey": int(len(f.reference_to) > 1), "IsNillable": int(f.nillable),
                    "IsIndexed": int(f.id_lookup or f.unique), "IsCalculated": int(bool(f.formula)),
                }  # fmt: skip
                number = len(rows) + 1
                rows.append([number, record_id(obj.key_prefix, number), *given.values()])
        with self._store.transaction() as con:
            con.execute(f'DELETE FROM "{obj.name}"')
            self._store.insert(con, obj, list(given), rows)

    def rows(self, name: str) -> Iterator[dict[str, str | None]]:
        """Every record of an object: field name to exact text or None."""
        return self._store.rows(self._rest.object(name))

    def count(self, name: str) -> int:
        """Number of records of an object."""
        return self._store.count(self._rest.object(name))

    def jobs(self) -> list[Job]:
        """Every ingest job as stored: id, state, object, processed, failed, error, ..."""
        return self._ingest.jobs()

    def query_jobs(self) -> list[Job]:
        """Every query job as stored: id, state, query, processed, error, ..."""
        return self._queries.jobs()

    @property
    def most_jobs(self) -> int:
        """Ingest jobs that had not ended, at their most."""
        return self._ingest.most_jobs

    @property
    def most_uploads(self) -> int:
        """Uploads on the wire at once, at their most."""
        return self._ingest.most_uploads

    def use_up(self, rows: int) -> bool:
        """Count an ingest job of so many rows toward the daily limits without its rows; False, and nothing counted, beyond them."""
        return self._ingest.use_up(rows)

    def used(self) -> tuple[int, int]:
        """Internal batches and records of ingest jobs in the last 24 hours."""
        return self._ingest.batches_used(), self._ingest.records_used()

    def expire_tokens(self) -> None:
        """Every token issued so far is refused from now on."""
        self._auth.expire_all()

    def change(self, **settings: Any) -> None:
        """Switch settings, e.g. ``change(hold_jobs=True)``."""
        self.settings.change(settings)
        self._ingest.wake()
        self._queries.wake()

    def hold_jobs(self, after_batches: int = 0) -> None:
        """Jobs stay in InProgress after that many internal batches, until ``release_jobs``."""
        self.change(hold_after_batches=after_batches, hold_jobs=True)

    def release_jobs(self) -> None:
        """Held jobs go on."""
        self.change(hold_jobs=False)

    def wait_idle(self, timeout: float = 30.0) -> bool:
        """Wait until no job can be worked on; False when the time is over."""
        return self._ingest.worker.wait_idle(timeout) and self._queries.worker.wait_idle(timeout)

    def start(self) -> None:
        """Start the workers; unfinished jobs of the state file go on."""
        self._ingest.worker.start()
        self._queries.worker.start()

    def stop(self) -> None:
        """Stop the workers and close the files."""
        self._ingest.worker.stop()
        self._queries.worker.stop()
        self._store.close()


class _Server(uvicorn.Server):
    """uvicorn, asked five times as often whether to end: tests start and stop many orgs."""

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            await asyncio.sleep(0.02)


def check_loopback(host: str) -> None:
    """Refuse any address that is not this machine's own. Raises FakeforceError."""
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise FakeforceError(f"fakeforce listens on loopback only, not on {host!r}; use 127.0.0.1")


def make_server(
    org: Org, host: str, port: int, tls: Tls | None = None
) -> tuple[uvicorn.Server, socket.socket]:
    """A uvicorn server for the org and its bound socket; sets ``org.url`` and ``org.ca_file``."""
    check_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that say TCP; without it each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)  # a client may connect before uvicorn runs
    except OSError:
        listener.close()
        raise
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    org.url = f"{'https' if tls else 'http'}://{shown}:{listener.getsockname()[1]}"
    org.ca_file = str(tls.ca) if tls else None
    config = uvicorn.Config(
        org.app, lifespan="off", access_log=False, log_level="warning", proxy_headers=False,
        server_header=False, date_header=False, timeout_graceful_shutdown=2, timeout_keep_alive=60, ws="none",
        ssl_certfile=tls.cert if tls else None, ssl_keyfile=tls.key if tls else None,
    )  # fmt: skip
    return _Server(config), listener


@contextmanager
def running(org: Org, server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """Worker and HTTP server run in threads while the block runs; then everything is closed."""
    thread = threading.Thread(target=server.run, args=([listener],), name="fakeforce-http", daemon=True)
    try:
        org.start()
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=30)
    finally:
        listener.close()
        org.stop()


@contextmanager
def serve(
    schema: str | Path,
    *,
    state: str | Path | None = None,
    client_id: str = "demo-client",
    client_secret: str = "demo-secret",  # noqa: S107 - the secret of an org that exists only here
    port: int = 0,
    seed: int = 1,
    clock: datetime | None = None,
    tls: bool | str | Path = False,
    cert: str | Path | None = None,
    key: str | Path | None = None,
) -> Iterator[Org]:
    """An org on 127.0.0.1 while the block runs; ``clock`` is the time it begins with.

    ``tls``: https, with certificates in that folder, or in one that goes away for ``True``; ``cert`` and ``key``:
    https with these. ``org.ca_file`` says what clients must trust.
    Raises SchemaError, FakeforceError for certificates, or OSError for a taken port.
    """
    scratch = tempfile.mkdtemp(prefix="fakeforce-tls-") if tls is True else None
    try:
        files = tls_files(scratch or (tls or None), cert, key)  # type: ignore[arg-type]
        org = Org(
            schema, state=state, client_id=client_id, client_secret=client_secret, seed=seed, clock=clock
        )
        try:
            server, listener = make_server(org, "127.0.0.1", port, files)
        except OSError:
            org.stop()
            raise
        with running(org, server, listener):
            yield org
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def tls_files(folder: str | Path | None, cert: str | Path | None, key: str | Path | None) -> Tls | None:
    """The files for https, None for http. Raises FakeforceError for options that do not fit together."""
    if folder and (cert or key):
        raise FakeforceError(
            "a folder for certificates and a given certificate exclude each other; choose one"
        )
    if bool(cert) != bool(key):
        raise FakeforceError("a certificate needs its key and a key its certificate; give both")
    if not folder and not cert:
        return None
    from .tls import given, made_in  # cryptography takes a while to load, and http needs none of it

    return given(cert, key) if cert and key else made_in(str(folder))
