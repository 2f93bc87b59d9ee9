"""``open_campaign``: the noun of ``05_campaign``; it shows where a campaign stands and writes its report. It changes no slice."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from ora2sf import overview, planfile, report_page
from ora2sf.campaign_model import CampaignReport, Group, SliceLine
from ora2sf.connections import project_root
from ora2sf.errors import Exit, RunFolderError
from ora2sf.evidence import HTML, JSON
from ora2sf.parameters import CampaignParameters, read_campaign_parameters
from ora2sf.private import private_files
from ora2sf.report import Link, Shown, Tone, glue

#: Colours of the bar of slices.
_COLOURS: dict[Group, str] = {
    "done": "#2e7d32",
    "exceptions": "#d99a2b",
    "tried": "#d99a2b",
    "failed": "#b3261e",
    "parked": "#7d5ba6",
    "at work": "#3a6ea5",
    "waiting": "#d5dbe1",
}


def open_campaign(names: Mapping[str, Any]) -> Campaign:
    """Opens the campaign that a notebook's parameters name; it may be running.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
    """
    return Campaign(read_campaign_parameters(names), project_root())


class Campaign:
    """A campaign to look at; all cells show it as it was at the first look."""

    def __init__(self, parameters: CampaignParameters, root: Path) -> None:
        self.parameters = parameters
        self.run = root / parameters.outputs / parameters.run_id

    @cached_property
    def report(self) -> CampaignReport:
        """What was found on disk.

        Raises:
            RunFolderError: the run has neither a plan nor a slice.
        """
        return overview.look(self.run)

    def __repr__(self) -> str:
        return repr(self._shown())

    def _repr_html_(self) -> str:
        return self._shown()._repr_html_()

    def _shown(self) -> Shown:
        found = self.report
        plan = "a frozen plan" if found.plan else "no frozen plan"
        at_work = f" It is carried out by {found.running}." if found.running else ""
        rows = [{"parameter": name, "value": value} for name, value in self.parameters]
        return Shown(f"Campaign {found.run_id}: {len(found.slices)} slices, {plan}.{at_work}", rows)

    def slices(self) -> Shown:
        """Every slice: state, counts, rate, when it is expected to be done, and its report."""
        rows = [
            line_of(one) | {"report": self._link(one.report, "report"), "notebooks": self._notebooks(one)}
            for one in self.report.slices
        ]
        return Shown(self.report.verdict.sentence + end_of(self.report), rows, self._tone)

    def _notebooks(self, one: SliceLine) -> list[Link]:
        return [
            link for path in one.notebooks if (link := self._link(path, path.rpartition("/")[2][:2])) != ""
        ]

    def _link(self, path: str | None, text: str) -> Link | Literal[""]:
        """A link that works where the notebook is looked at: beside the report, or in JupyterLab where it was opened."""
        if path is None:
            return ""
        opened = Path(
            os.environ.get("JPY_SESSION_NAME", "")
        )  # the notebook's own path, set by Jupyter Server
        base = opened.parent if opened.is_file() else self.run / planfile.FOLDER
        return Link(text, os.path.relpath(self.run / path, base))

    def waits(self) -> Shown:
        """What is not done, and why."""
        rows = [
            {"slice": one.slice, "state": one.state, "why": one.detail}
            for one in self.report.slices
            if one.group in {"waiting", "parked", "at work"}
        ]
        return Shown("Nothing waits." if not rows else f"{len(rows)} slices are not at their end.", rows)

    def budget(self) -> Shown:
        """The org's limits of 24 hours: what is used, what is left, what is still needed."""
        rows = budget_of(self.report)
        if not rows:
            return Shown("Nobody has asked the org for its limits yet.")
        short = [one.limit for one in self.report.budget if one.needed is not None and one.needed > one.left]
        said = f" The rest takes more than is left now of {', '.join(short)}: it waits for that to come back." if short else ""  # fmt: skip
        return Shown(f"As the org said last, with what runs have begun since.{said}", rows, "warning" if short else "plain")  # fmt: skip

    def failures(self) -> Shown:
        """Slices that somebody has to look at, each with its reason and the next step."""
        found = self.report.failures
        rows = [{"slice": f.slice, "state": f.state, "reason": f.reason, "next step": f.next_step} for f in found]  # fmt: skip
        return Shown(f"{len(found)} slices failed or stopped early." if found else "No slice failed.", rows, "bad" if found else "good")  # fmt: skip

    def exceptions(self) -> Shown:
        """Rows that did not arrive in slices that are done, by table and reason."""
        found = self.report.exceptions
        rows = [one.model_dump() for one in found[: report_page.MOST_LINES]]
        total = sum(one.rows for one in found)
        if not total:
            return Shown("No row is known that did not arrive.", tone="good")
        return Shown(f"{total:,} rows did not arrive, for {len(found)} reasons; each row stands in its slice's logs.", rows, "warning")  # fmt: skip

    def verdict(self) -> Shown:
        """The verdict; also in ``campaign/report.html`` and ``report.json``, and recorded in the notebook."""
        found = self.report
        folder = write(self.run, found)
        glue("campaign", found.verdict.model_dump() | {"slices": len(found.slices), "totals": found.totals.model_dump()})  # fmt: skip
        return Shown(
            f"Verdict: {found.verdict.verdict}. {found.verdict.sentence}{end_of(found)}\nReport: {folder / HTML}",
            tone=self._tone,
        )

    @property
    def _tone(self) -> Tone:
        return _tone(self.report)


def _tone(found: CampaignReport) -> Tone:
    if found.verdict.exit in {Exit.COMPLETE, Exit.AT_WORK}:
        return "good" if found.verdict.exit == Exit.COMPLETE else "plain"
    return "warning" if report_page.tone(found.verdict.exit) == "warning" else "bad"


def line_of(one: SliceLine) -> dict[str, Any]:
    """One slice as a line of a table."""
    counts = one.counts
    return {
        "slice": one.slice,
        "state": one.state,
        "source": counts.source if counts.source is not None else counts.planned,
        "staged": counts.staged,
        "rejected": counts.rejected,
        "successful": counts.success,
        "failed": counts.failed,
        "target": counts.target,
        "rows/s": round(rate) if (rate := one.sent_per_second or one.read_per_second) else None,
        "expected (UTC)": one.end[:16].replace("T", " ") if one.end else None,
    }


def budget_of(found: CampaignReport) -> list[dict[str, Any]]:
    """The limits as lines of a table."""
    return [
        {
            "limit": one.limit, "allowed": one.allowed, "left to others": one.reserve, "used": one.used,
            "by this run": one.ours, "left": one.left, "still needed": one.needed, "org asked (UTC)": one.checked[:16].replace("T", " "),
        }
        for one in found.budget
    ]  # fmt: skip


def end_of(found: CampaignReport) -> str:
    """When it is expected to end, as a sentence; empty if that is not known."""
    if found.end is None:
        return ""
    rates = f", at rates that are {found.rates}" if found.rates else ""
    return f" Expected to end {found.end[:16].replace('T', ' ')} UTC{rates}."


def write(run: Path, found: CampaignReport) -> Path:
    """Writes both files into the campaign's folder; returns it.

    Raises:
        RunFolderError: they cannot be written.
    """
    folder = run / planfile.FOLDER
    page = report_page.template("campaign.html.jinja").render(
        r=found,
        tone={"plain": "good"}.get(_tone(found), _tone(found)),
        shares=_shares(found.slices),
        most=report_page.MOST_LINES,
    )
    try:
        with private_files():
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in ((HTML, page), (JSON, found.model_dump_json(indent=1) + "\n")):
                part = folder / f"{name}.{os.getpid()}.part"  # two may look at once
                part.write_text(text, encoding="utf-8", newline="\n")
                part.replace(folder / name)
    except OSError as error:
        raise RunFolderError(
            f"The report in {folder} cannot be written: {error.strerror}.",
            "Free some disk space, or correct the folder's rights; then run 05_campaign again.",
        ) from None
    return folder


def _shares(slices: Sequence[SliceLine]) -> list[tuple[float, str, str]]:
    """Percent, colour and name of each part of the bar."""
    number = {group: sum(one.group == group for one in slices) for group in get_args(Group)}
    return [
        (round(100 * count / len(slices), 3), _COLOURS[group], f"{count} {group}")
        for group, count in number.items()
        if count
    ]
