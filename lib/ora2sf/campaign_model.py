"""What ``campaign/report.json`` holds; its published schema is made of these models (docs/campaign_report.schema.json)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ora2sf.fields import Strict

#: What a slice counts as in the verdict of its campaign.
Group = Literal["done", "exceptions", "tried", "failed", "parked", "at work", "waiting"]


def _said(text: str) -> Any:
    return Field(description=text)


class Counts(Strict):
    """Rows; null where that is not known (yet)."""

    planned: int | None = _said("by the plan's COUNT")
    source: int | None = _said("by the COUNT of the extraction")
    staged: int | None
    rejected: int | None = _said("refused before upload")
    success: int | None = _said("as far as result files are here")
    failed: int | None = _said("refused by Salesforce; while it is sent, less what was sent again")
    target: int | None = _said("COUNT in Salesforce after the upload; windows of one table share it")


class SliceLine(Strict):
    """One slice."""

    slice: str = _said("its folder below the run's: the table, and the window if there is one")
    table: str
    window: str | None
    object: str = _said("API name in Salesforce")
    phase: int | None = _said("null without a plan")
    group: Group = _said("what it counts as in the verdict")
    state: str = _said("in words, such as proven; true when the report was made")
    step: str = _said("the notebook that ran last, or runs")
    since: str = _said("when that was noted, UTC")
    exit: int = _said("exit code of a command that stands for this slice")
    detail: str = _said("an error, who works on it, or what it waits for")
    next_step: str = _said("what to do about an error")
    counts: Counts
    read_per_second: float | None = _said("rows of the extraction")
    sent_per_second: float | None = _said("rows, from the first job to the last results")
    left: int | None = _said("rows that are still to be read or sent")
    end: str | None = _said("when it is expected to be done, UTC; null if it is, or if nobody can know")
    consistency: str | None = _said("campaign, slice or none: of how wide a moment the rows are")
    report: str | None = _said("report.html, below the run's folder")
    digest: str | None = _said("of its report.json, which that file holds itself")
    notebooks: list[str] = _said("executed notebooks as HTML, below the run's folder")


class Limit(Strict):
    """One limit of the org."""

    limit: str
    allowed: int = _said("in 24 hours; of storage, at all")
    reserve: int = _said("left to others")
    used: int = _said("by everybody: as the org said at the last check, and what runs here began since")
    ours: int | None = _said("of it by this run, in 24 hours; null if it cannot be told")
    left: int = _said("neither used nor reserved; below zero where the reserve is begun")
    needed: int | None = _said("by slices that are not done; null without a plan")
    checked: str = _said("when the org was asked, UTC")


class Failure(Strict):
    """A slice that somebody has to look at, or that stopped early."""

    slice: str
    state: str
    reason: str
    next_step: str


class Exceptions(Strict):
    """Rows of one table that did not arrive, for one reason."""

    table: str
    kind: Literal["rejected", "failed"] = _said("before upload, or by Salesforce")
    reason: str
    rows: int


class Verdict(Strict):
    """What came of the campaign so far."""

    verdict: str = _said(
        "proven, complete, complete with exceptions, tried, failed, running, parked or waiting"
    )
    exit: int = _said("exit code of ora2sf status")
    sentence: str


class CampaignReport(Strict):
    """report.json of a campaign."""

    version: Literal[1] = 1
    made: str = _said("UTC")
    run_id: str
    plan: str | None = _said(
        "SHA-256 that the plan was frozen with; null without one, or if it is not frozen"
    )
    running: str | None = _said("the process on this machine that carries it out")
    verdict: Verdict
    end: str | None = _said(
        "when the last slice is expected to be done, UTC; null if all are, or nobody can know"
    )
    rates: str = _said("where the rates come from that this rests on")
    totals: Counts = _said("sums; null where a slice's number is not known")
    slices: list[SliceLine]
    budget: list[Limit]
    failures: list[Failure]
    exceptions: list[Exceptions] = _said("most rows first")
