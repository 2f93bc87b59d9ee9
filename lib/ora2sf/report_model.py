"""What ``report.json`` holds; its published schema is made of these models (docs/report.schema.json)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ora2sf.evidence import Evidence


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _said(text: str) -> Any:
    return Field(description=text)


class Slice(_Part):
    """What was moved where."""

    run_id: str
    table: str = _said("the table file, without .toml")
    object: str = _said("API name in Salesforce")
    external_id_field: str
    operation: str = _said("what the jobs do; empty before the first upload")
    folder: str = _said("the slice's folder when the report was made, below the folder of runs")


class Verdict(_Part):
    """What came of it."""

    verdict: str = _said("such as complete; not reconciled if 03_reconcile has not come to one")
    exit: int = _said("exit code of a command that stands for this slice")
    sentence: str


class Equation(_Part):
    """One line of the balance."""

    name: str
    left: int
    right: int
    holds: bool
    enforced: bool = _said(
        "whether it decides the verdict; the count of a target that others write to does not"
    )


class Balance(_Part):
    """Each number counts rows; staged = success + failed + unprocessed + unknown + not_sent + excluded."""

    source: int = _said("COUNT in Oracle, in the same view as the rows")
    read: int
    rejected: int = _said("refused before upload")
    staged: int
    success: int = _said("created + updated + removed")
    created: int
    updated: int = _said("of a delete: there was no such record")
    removed: int = _said("deleted; part of success")
    failed: int = _said("refused by Salesforce")
    unprocessed: int = _said("never looked at by Salesforce")
    unknown: int = _said("in no result file")
    not_sent: int
    recovered: int = _said("of staged: rejected at first, then put right")
    excluded: int = _said("staged rows that somebody left out with a reason")
    excluded_rejected: int = _said("of rejected: left out with a reason")
    target_before: int | None = _said("COUNT in Salesforce before the first job; null if it was not taken")
    target_after: int | None
    equations: list[Equation]


class Total(_Part):
    """What one side holds of one field; numbers as exact text, null where there is none."""

    count: int = _said("values that are not empty")
    sum: str | None = _said("of dates in days since 1970, of datetimes in milliseconds since 1970")
    smallest: str | None
    largest: str | None


class Aggregate(_Part):
    """The totals of one field on both sides."""

    field: str
    staged: Total
    target: Total | None = _said("null if Salesforce did not tell")
    equal: bool | None
    note: str


class Comparison(_Part):
    """The staged rows compared with what Salesforce holds."""

    made: str = _said("UTC")
    mode: str = _said("such as full")
    proven: bool = _said("every row that has to be there was compared, in every field, and is the same")
    contradicted: bool = _said("Salesforce does not hold what was sent")
    expected: int = _said("rows that have to be in Salesforce")
    looked_at: int = _said("rows compared")
    missing: int
    extra: int
    different: int
    different_values: int
    by_field: dict[str, int] = _said("field to different values")
    explained: dict[str, int] = _said("why values count as equal though not the same text, to values")
    skipped: dict[str, str] = _said("field to why it was not compared")
    examples: list[str] = _said("the first differences, in words")
    files: list[str] = _said("lists of all of them, in salesforce/logs/; those without a line are left out")
    aggregates: list[Aggregate]


class ErrorClass(_Part):
    """Rows that Salesforce refused for one reason."""

    code: str
    fields: str
    rows: int
    meaning: str = _said("in plain words")
    message: str = _said("of one of the rows, as Salesforce returned it")
    key: str = _said("external id of that row")


class RuleCount(_Part):
    """How often a rule of the table file decided."""

    field: str
    rule: str
    number: int


class Job(_Part):
    """One attempt to load one batch with one job; times in UTC, null if that point was not reached."""

    batch: int
    rows: int
    job_id: str | None
    state: str = _said("Salesforce's, else the ledger's")
    created: str | None
    closed: str | None = _said("all data sent")
    ended: str | None = _said("Salesforce has worked through it")
    fetched: str | None = _said("its results are on disk")
    seconds: float | None = _said("created to ended")
    rows_per_second: float | None = _said("rows / seconds")
    success: int | None
    failed: int | None
    unprocessed: int | None
    message: str | None


class Phase(_Part):
    """One long act: extraction or upload."""

    started: str = _said("UTC")
    ended: str | None
    seconds: float | None
    rows: int
    rows_per_second: float | None


class Timings(_Part):
    """When things happened and how fast."""

    extraction: Phase
    upload: Phase | None = _said("first job created to last results fetched, pauses between runs included")
    jobs: list[Job]


class Limit(_Part):
    """One limit of the org as the last check saw it; 02_upload checks before and after."""

    limit: str
    needed: int
    left: int


class Budget(_Part):
    """What the upload took of the org's budget."""

    jobs: int = _said("created, empty and aborted ones too")
    rows_sent: int = _said("in jobs that were closed; a row that was sent twice counts twice")
    internal_batches: int = _said("pieces of 10,000 rows in those jobs")
    bytes_sent: int = _said("plain CSV in those jobs")
    calls: int | None = _said("API calls; null if they were not counted")
    limits: list[Limit]


class Invocation(_Part):
    """One opening of a notebook on this slice."""

    step: str
    started: str = _said("UTC")
    ended: str | None
    outcome: str | None = _said("ok, or the error of its last call")
    host: str
    python: str
    system: str
    packages: dict[str, str]
    commit: str = _said(
        'of the project\'s repository, "with changes" if files differ from it; unknown without one'
    )
    parameters: dict[str, str | int | None] = _said("in force; connections by name")


class Servers(_Part):
    """Who was talked to, as they said themselves; empty texts if 01 and 02 did not sign in."""

    oracle_version: str
    oracle_service: str
    oracle_user: str
    salesforce_url: str
    salesforce_org: str
    salesforce_user: str
    salesforce_api: str = _said("API version, such as v66.0")


class Files(_Part):
    """The evidence."""

    rule: str = _said("which files are listed")
    ledger_sha256: str = _said("of the ledger's content but for its notes of looks")
    entries: list[Evidence]


class Report(_Part):
    """report.json of one slice."""

    version: Literal[1]
    digest: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of this file with 64 zeros in the place of this value"
    )
    made: str = _said("UTC")
    slice: Slice
    verdict: Verdict
    consistency: str = _said("campaign, slice or none: of how wide a moment the rows are")
    whole: int | None = _said("rows of the slice by COUNT if only some of them were read; else null")
    balance: Balance
    comparison: Comparison | None = _said("null if it was not made")
    errors: list[ErrorClass]
    rejected: list[RuleCount] = _said("rows by their first fault")
    changed: list[RuleCount] = _said("values that a stated rule changed")
    timings: Timings
    budget: Budget
    servers: Servers
    invocations: list[Invocation] = _said("oldest first")
    files: Files
