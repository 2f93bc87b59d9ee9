"""Asks both sides for what a draft of a table file needs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from ora2sf.catalog import read_catalog
from ora2sf.connections import get_connection
from ora2sf.dictionary import Table, read_table
from ora2sf.draft_new import Wished, draft_new
from ora2sf.drafting import Draft
from ora2sf.errors import NotFoundError, TableFileError
from ora2sf.oracle import OracleSource
from ora2sf.salesforce import SalesforceClient
from ora2sf.tables import TableConfig


def drafted(
    source: str, sobject: str, wished: Wished, folder: Path, conn_ids: tuple[str, str], *, sample: bool
) -> Draft:
    """The draft for ``OWNER.TABLE`` and an object.

    Args:
        folder: of the table files that are there; a reference to what one of them fills is made as its key is.
        sample: also look at some rows.

    Raises:
        TableFileError: there is no such table, object or time zone; what is near is named.
        Ora2sfError: whatever the two servers refuse.
    """
    if wished.time_zone and wished.time_zone not in available_timezones():
        raise TableFileError(f"There is no time zone {wished.time_zone}.", "Write it like Asia/Bangkok.")
    client = SalesforceClient(conn_ids[1])
    try:
        found = _described(client, sobject)
        targets = {name: _target(client, name) for name in sorted(_referred(found))}
    finally:
        client.close()
    return draft_new(_read(source, conn_ids[0], sample=sample), found, wished, _known(folder), targets)


def _read(name: str, conn_id: str, *, sample: bool) -> Table:
    with OracleSource(get_connection(conn_id)) as source:
        return read_table(source, name, sample=sample)


def _described(client: SalesforceClient, sobject: str) -> dict[str, Any]:
    try:
        return client.describe(sobject)
    except NotFoundError:
        names = {name.casefold(): name for name in client.objects()}
        near = difflib.get_close_matches(sobject.casefold(), names, n=3, cutoff=0.7)
        hint = f"Did you mean {' or '.join(names[one] for one in near)}? " if near else ""
        raise TableFileError(
            f"Salesforce has no object {sobject}, or the run-as user may not see it.",
            f"{hint}Give its API name; a permission set with Read on the object makes it seen.",
        ) from None


def _referred(found: Mapping[str, Any]) -> set[str]:
    """Objects that references of the user's own point to."""
    return {
        name
        for field in found["fields"]
        if field["type"] == "reference"
        and field["createable"]
        and field["name"] not in {"OwnerId", "RecordTypeId"}
        for name in field["referenceTo"]
    }


def _target(client: SalesforceClient, sobject: str) -> dict[str, Any] | None:
    try:
        return client.describe(sobject)
    except NotFoundError:
        return None


def _known(folder: Path) -> list[TableConfig]:
    """The table files that are there and valid; a folder without any is no reason to fail."""
    try:
        return read_catalog(folder).in_order()
    except TableFileError:
        return []
