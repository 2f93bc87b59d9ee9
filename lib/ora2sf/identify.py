"""Update and delete name a record by its Id (Bulk API 2.0 guide: Prepare CSV Files), so the Ids are asked for by key.

An ``update`` sends the staged columns behind ``Id``; a ``delete`` sends ``Id`` alone, and which key it stands for is kept
beside the batch. A key that no record has is left out of the job: its row ends as one that no result file knows and is looked up
like all of those.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from isal import igzip

from ora2sf.batches import encode, read_staged
from ora2sf.ledger import Batch
from ora2sf.results import ids_path
from ora2sf.salesforce import SalesforceBulkLoader, SalesforceClient

ID = "Id"
#: Operations that need the record's Id.
BY_ID = frozenset({"update", "delete"})


@dataclass(frozen=True)
class Sendable:
    """What goes over the wire for a batch: ``size`` and ``sha256`` are those of the plain text."""

    path: Path
    rows: int
    size: int
    sha256: str


def sendable(batch: Batch, loader: SalesforceBulkLoader, data: Path) -> Sendable:
    """The file of a batch as its operation needs it; a batch whose key is the Id itself is sent as it is."""
    if loader.operation not in BY_ID or loader.external_id_field == ID:
        return Sendable(data / batch.file, batch.rows, batch.bytes, batch.sha256)
    key = loader.external_id_field
    staged = read_staged(data, batch)
    known = ids(loader.client, loader.sobject, key, staged[key])
    found = staged.with_columns(Id=known).filter(pl.col("Id").is_not_null())
    if loader.operation == "delete":
        _write(found.select("Id", pl.col(key).alias("key")), ids_path(data, batch))
        found = found.select("Id")
    found = found.select("Id", pl.exclude("Id"))
    path = data / f"{batch.file.removesuffix('.csv.gz')}.sent.csv.gz"
    text = (",".join(found.columns) + "\n").encode() + encode(found)
    part = path.with_name(path.name + ".part")
    with igzip.open(part, "wb", compresslevel=1) as file:
        file.write(text)
    part.replace(path)
    return Sendable(path, found.height, len(text), hashlib.sha256(text).hexdigest())


def ids(client: SalesforceClient, sobject: str, field: str, keys: pl.Series) -> pl.Series:
    """The Id of the record that has each key, compared as Salesforce does; null where there is none."""
    described = client.describe(sobject)["fields"]
    exact = any(one["name"] == field and one["caseSensitive"] for one in described)
    pairs = list(client.ids(sobject, field, keys))
    known = pl.DataFrame(pairs, schema={"key": pl.String, "Id": pl.String}, orient="row")
    asked = pl.DataFrame({"key": keys})
    fold = pl.col("key").str.strip_chars()
    fold = fold if exact else fold.str.to_lowercase()
    there = known.select(fold, "Id").unique("key")
    return asked.select(fold).join(there, on="key", how="left", maintain_order="left")["Id"]


def _write(rows: pl.DataFrame, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    rows.write_csv(part)
    part.replace(path)
