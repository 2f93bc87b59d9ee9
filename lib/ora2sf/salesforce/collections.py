"""Small sets: a staged file goes in as many calls as it has 200 rows, without a job.

sObject Collections, upsert
(https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections_upsert.htm).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from ora2sf.batches import PlainText
from ora2sf.counting import count_results
from ora2sf.errors import NotFoundError, RunFolderError, TargetError, TargetUnavailable
from ora2sf.fields import SET_NULL
from ora2sf.ledger import KINDS, Kind
from ora2sf.salesforce.auth import TryAgain
from ora2sf.salesforce.bulk import JobEnd, Journal, ResultFile, SalesforceBulkLoader
from ora2sf.salesforce.rest import SalesforceClient

#: Records of one call (the page above).
MOST_RECORDS = 200
_NUMBERS = frozenset({"double", "currency", "percent", "int"})
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # RFC 8259

Answer = dict[str, Any]


class SalesforceCollectionsLoader(SalesforceBulkLoader):
    """Upserts staged files with sObject Collections, and leaves the same three result files as a job does.

    The answer to a call is all that Salesforce tells, and it keeps none. So the three files are the record of it: while they
    are not all on disk the file was not loaded, and is loaded again, which an upsert allows. What an earlier call had
    created already is told by its date then, because the repeated one finds it there.

    Args:
        since: the org's time when its records were counted before the first call.
    """

    def __init__(
        self,
        client: SalesforceClient | str,
        sobject: str,
        external_id_field: str,
        *,
        since: dt.datetime,
        **settings: Any,
    ) -> None:
        super().__init__(client, sobject, external_id_field, **settings)
        if self.operation != "upsert":
            raise ValueError(
                f"sObject Collections are not used for {self.operation}: repeating it is not safe"
            )
        self._since = since

    # what a job would do

    def load_file(
        self,
        file: Path,
        journal: Journal | None = None,
        *,
        size: int | None = None,
        sha256: str | None = None,
    ) -> JobEnd:
        """Loads one file; arguments and journal as for a job.

        Raises:
            RunFolderError: the file is not what was staged.
            TargetError: Salesforce refuses a call as a whole.
            TargetUnavailable: no answer after all tries; the next run repeats the file.
        """
        journal = journal or Journal()
        self._may_go_on()
        header, rows = _staged(file, size, sha256)
        records = [self._record(row) for row in rows.iter_rows(named=True)]
        journal.intended()
        name = journal.name or f"C{file.name.partition('.')[0]}"
        journal.created(name)
        journal.uploaded()
        journal.closing()
        self._save(name, header, rows, self._answers(records, rows[self.external_id_field], journal))
        journal.closed()
        return self.follow(name, journal)

    def job(self, job_id: str) -> dict[str, Any]:
        """``JobComplete`` if the answers are on disk, else ``Open``: then it is loaded again."""
        there = all(self._path(job_id, kind).is_file() for kind in KINDS)
        return {"id": job_id, "state": "JobComplete" if there else "Open"}

    def close_job(self, job_id: str) -> None:
        """There is nothing to close."""

    def abort_job(self, job_id: str) -> None:
        """There is nothing to abort."""

    def wait_for_job(self, job_id: str) -> JobEnd:
        """How the calls ended, from the files."""
        counts = {file.kind: file.count.rows for file in self.fetch_results(job_id)}
        return JobEnd(job_id, "JobComplete", counts["success"] + counts["failed"], counts["failed"], "")

    def fetch_results(self, job_id: str) -> tuple[ResultFile, ...]:
        """The three files.

        Raises:
            NotFoundError: one is gone, and Salesforce does not keep the answers.
        """
        paths = {kind: self._path(job_id, kind) for kind in KINDS}
        if gone := [path.name for path in paths.values() if not path.is_file()]:
            raise NotFoundError(
                f"{', '.join(gone)} is not in {self._logs}, and Salesforce does not keep what it answered to a composite call.",
                "Restore it from a backup.",
            )
        return tuple(
            ResultFile(kind, path, hashlib.sha256(path.read_bytes()).hexdigest(), count_results(path))
            for kind, path in paths.items()
        )

    def fetch_again(self, job_id: str) -> tuple[ResultFile, ...]:
        """Nobody has the answers but the files themselves, so a changed one must not be taken for them.

        Raises:
            NotFoundError: always.
        """
        raise NotFoundError(
            f"Salesforce does not keep what it answered to {job_id}, which was a composite call.",
            "Restore the files from a backup.",
        )

    def _path(self, job_id: str, kind: Kind) -> Path:
        return self._logs / f"{self.sobject}_{job_id}_{kind}.csv"

    # the calls

    def _answers(self, records: Sequence[str], keys: pl.Series, journal: Journal) -> list[Answer]:
        answers: list[Answer] = []
        for at in range(0, len(records), MOST_RECORDS):
            some = records[at : at + MOST_RECORDS]
            try:
                got, lost = self._call(some)
            except TargetError as error:
                if not at and not journal.repeats:
                    journal.given_up(error.what)
                raise
            if lost or journal.repeats:
                self._correct(got, keys[at : at + MOST_RECORDS])
            answers += got
        return answers

    def _call(self, records: Sequence[str]) -> tuple[list[Answer], bool]:
        """The answer for each record, and whether an earlier try may have been carried out without an answer."""
        path = f"/composite/sobjects/{quote(self.sobject, safe='')}/{quote(self.external_id_field, safe='')}"
        text = f'{{"allOrNone":false,"records":[{",".join(records)}]}}'.encode()
        tries = itertools.count()

        def once() -> Any:
            next(tries)
            headers = {"Content-Type": "application/json; charset=UTF-8"}
            sent = self._client.send("PATCH", path, body=lambda: _Text(text), headers=headers, repeat=False)
            try:
                return self._client.parsed(sent)
            except TargetError as error:  # carried out, and the answer came in pieces: the same as none
                raise TryAgain(error.what, error.next_step) from None

        answers = self._client.retrying()(once)
        if not _one_each(answers, len(records)):
            raise TargetUnavailable(
                f"Salesforce answers {len(records)} records of {self.sobject} with something else than as many results.",
                "Run again with the same run_id: the records are sent again. If it stays so, set small_set = 0 in a new run.",
            )
        return answers, next(tries) > 1

    def _correct(self, answers: Sequence[Answer], keys: pl.Series) -> None:
        """Marks what an earlier call, whose answer was lost, has created."""
        done = [i for i, answer in enumerate(answers) if answer["success"]]
        asked = [keys[i] for i in done]
        found = self._client.existing(self.sobject, self.external_id_field, asked, since=self._since)
        made = {self._folded(key) for key in found}
        for i, key in zip(done, asked, strict=True):
            answers[i]["created"] = answers[i].get("created") or self._folded(key) in made

    def _folded(self, key: str) -> str:
        return (
            key.strip() if self._fields[self.external_id_field].get("caseSensitive") else key.strip().lower()
        )

    # values as JSON

    @cached_property
    def _fields(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self._client.describe(self.sobject)["fields"]}

    def _record(self, row: dict[str, str | None]) -> str:
        """One staged row as a JSON object: an empty cell is left out, ``#N/A`` is null."""
        attributes = json.dumps({"type": self.sobject})
        cells = [self._member(name, text) for name, text in row.items() if text is not None]
        return f'{{"attributes":{attributes},{",".join(cells)}}}'

    def _member(self, name: str, text: str) -> str:
        if "." in name:
            return self._reference(name, text)
        kind = self._fields.get(name, {}).get("type", "")
        return f"{json.dumps(name)}:{_value(text, kind)}"

    def _reference(self, header: str, text: str) -> str:
        """A parent by its external id: ``"Parent__r":{"Key__c":…}``; none is the field itself as null."""
        kind, _, path = header.rpartition(":")
        relationship, _, key = path.partition(".")
        field = next(f for f in self._fields.values() if f.get("relationshipName") == relationship)
        if text == SET_NULL:
            return f"{json.dumps(field['name'])}:null"
        parent = kind or field["referenceTo"][0]
        named = f'"attributes":{json.dumps({"type": parent})},' if kind else ""
        return f"{json.dumps(relationship)}:{{{named}{json.dumps(key)}:{_value(text, self._parent_type(parent, key))}}}"

    def _parent_type(self, parent: str, key: str) -> str:
        if (parent, key) not in self._parents:
            described = self._client.describe(parent)["fields"]
            self._parents[parent, key] = next((f["type"] for f in described if f["name"] == key), "")
        return self._parents[parent, key]

    @cached_property
    def _parents(self) -> dict[tuple[str, str], str]:
        return {}

    # the files

    def _save(self, name: str, header: str, rows: pl.DataFrame, answers: Sequence[Answer]) -> None:
        good = pl.Series([bool(answer["success"]) for answer in answers], dtype=pl.Boolean)
        told = pl.DataFrame(
            {
                "sf__Id": [str(answer.get("id") or "") for answer in answers],
                "sf__Created": ["true" if answer.get("created") else "false" for answer in answers],
                "sf__Error": [_error(answer) for answer in answers],
            },
            schema=dict.fromkeys(("sf__Id", "sf__Created", "sf__Error"), pl.String),
        )
        try:
            _write(self._path(name, "unprocessed"), header, rows.clear())
            failed = pl.concat([told.select("sf__Id", "sf__Error"), rows], how="horizontal").filter(~good)
            _write(self._path(name, "failed"), f'"sf__Id","sf__Error",{header}', failed)
            success = pl.concat([told.select("sf__Id", "sf__Created"), rows], how="horizontal").filter(good)
            _write(self._path(name, "success"), f'"sf__Id","sf__Created",{header}', success)
        except OSError as error:
            raise RunFolderError(
                f"The results of {name} cannot be saved in {self._logs}: {error.strerror or error}.",
                "Check the disk and the permissions of the run's folder, then run again with the same run_id.",
            ) from None


class _Text(io.BytesIO):
    """A request body of known length."""

    def __len__(self) -> int:
        return len(self.getbuffer())


def _staged(file: Path, size: int | None, sha256: str | None) -> tuple[str, pl.DataFrame]:
    """Header line and rows of a staged file, if it is as it was staged."""
    text = PlainText(file, size)
    try:
        plain = text.read()
    finally:
        text.close()
    if sha256 is not None and hashlib.sha256(plain).hexdigest() != sha256:
        raise RunFolderError(
            f"{file} cannot be sent: its text is not the one that was staged.",
            "Extract again with a new run_id.",
        )
    return plain.partition(b"\n")[0].decode(), pl.read_csv(plain, infer_schema=False)


def _value(text: str, kind: str) -> str:
    """A cell as a JSON value of the field's type, digit by digit; what is none of its type stays text, for Salesforce to refuse."""
    if text == SET_NULL:
        return "null"
    if kind in _NUMBERS and _NUMBER.fullmatch(text):
        return text
    if kind == "boolean" and text in {"true", "false"}:
        return text
    return json.dumps(text, ensure_ascii=False)


def _one_each(answers: Any, records: int) -> bool:
    """The answer has a result for each record, by which the two are joined: results have their order."""
    whole = isinstance(answers, list) and len(answers) == records
    return whole and all(isinstance(one, dict) and isinstance(one.get("success"), bool) for one in answers)


def _error(answer: Answer) -> str:
    """The errors of a record as a result file of a job writes them: ``CODE:message:Field1,Field2 --``."""
    return " ".join(_grammar(error) for error in answer.get("errors") or ())


def _grammar(error: dict[str, Any]) -> str:
    fields = ",".join(error.get("fields") or ())
    return (
        f"{error.get('statusCode', 'UNKNOWN')}:{error.get('message', '')}:{fields + ' ' if fields else ''}--"
    )


def _write(path: Path, header: str, rows: pl.DataFrame) -> None:
    """A result file as a job's: the staged header as it is, every cell in quotes."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(header.encode() + b"\n")
        rows.fill_null("").write_csv(file, include_header=False, quote_style="always")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
