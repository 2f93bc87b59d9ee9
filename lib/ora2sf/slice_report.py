"""``report.json`` and ``report.html`` of one slice, made of its ledger and files alone."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ora2sf import evidence, reconcile, report_page
from ora2sf import report_model as model
from ora2sf.batches import PlainText
from ora2sf.claim import now, this_process
from ora2sf.errors import VERDICTS, BalanceError, Exit, RunFolderError
from ora2sf.evidence import COMPARISON, HTML, JSON, LEDGER
from ora2sf.ledger import KINDS, Attempt, Batch, Extraction, Invocation, Kind, Ledger
from ora2sf.meanings import meaning
from ora2sf.plan import internal_batches
from ora2sf.provenance import UNKNOWN, commit, versions
from ora2sf.redaction import redactor
from ora2sf.results import rows_by_attempt

NOT_RECONCILED = "not reconciled"
_MOST_NAMED = 5
_SENTENCES = {
    "complete": "Every row of the source is in Salesforce as far as the result files say, and the books balance.",
    "proven": "Every row of the source is in Salesforce: every value was read back and is the same.",
    "deleted": "No record that the source names is in Salesforce any more, as the result files say, and the books balance.",
    "complete with exceptions": "The books balance. Some rows were rejected before upload or refused by Salesforce, each with its reason.",
    "trial": "Only some rows of the slice were read, as was asked for. These are in Salesforce, as far as was looked; nothing is said of the others.",
    "trial with exceptions": "Only some rows of the slice were read, as was asked for. Some of these were rejected or refused, each with its reason; nothing is said of the others.",
    "nothing to do": "The source has no rows for this slice.",
    "all rejected": "Every row was rejected before upload; nothing was sent.",
    "incomplete": "Some rows were not sent, or Salesforce did not look at them. Run 02_upload again with the same run_id.",
    "does not balance": "Do not trust this load: both sides of an equation below differ.",
    "does not reconcile": "Do not trust this load: Salesforce does not hold what was sent.",
    NOT_RECONCILED: "Nobody has checked the books since the last upload. Run 03_reconcile.",
}


@dataclass(frozen=True)
class Result:
    """What 03_reconcile found: the books and, by error, the rows that Salesforce refused."""

    books: reconcile.Balance
    failures: pl.DataFrame
    verdict: str


# what a run records for the report


def note_invocation(ledger: Ledger, invocation: int, parameters: Mapping[str, Any], root: Path) -> None:
    """Records what one opening of a notebook works with; a secret among the parameters is replaced."""
    clean = redactor().clean(dict(parameters))
    facts = versions() | {"host": this_process().host, "commit": commit(root), "parameters": clean}
    ledger.record(f"invocation {invocation}", json.dumps(facts, ensure_ascii=False))


def note_server(ledger: Ledger, **facts: str) -> None:
    """Records what a server said of itself, by the names of :class:`report_model.Servers`."""
    for name, value in facts.items():
        ledger.record(name, value)


def note_verdict(ledger: Ledger, verdict: str) -> None:
    """Records a verdict together with the state of the books that it is about."""
    ledger.record("verdict", json.dumps({"verdict": verdict, "books": ledger.digest()}))


# making it


def write(folder: Path, ledger: Ledger, found: Result) -> model.Report:
    """Writes both files; the page first, because the other one holds its checksum.

    Raises:
        RunFolderError: nothing was extracted yet, or the files cannot be written.
    """
    entries = evidence.evidence(folder)
    report = _report(folder, ledger, found, entries)
    try:
        _replace(folder / HTML, report_page.render(report))
        files = report.files.model_copy(
            update={"entries": [*entries, evidence.record(folder, folder / HTML)]}
        )
        whole = report.model_copy(update={"files": files})
        text = evidence.signed(whole.model_dump_json(indent=1) + "\n")
        _replace(folder / JSON, text)
    except OSError as error:
        raise RunFolderError(
            f"The report in {folder} cannot be written: {error.strerror}.",
            "Free some disk space, or correct the folder's rights; then run `ora2sf report` on it.",
        ) from None
    return whole.model_copy(update={"digest": evidence.digest_in(text)})


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def rebuild(folder: Path) -> model.Report:
    """Makes the report anew, from the ledger and the files as they are now; one whose staged data was removed stays as it is.

    The books are counted again. The verdict is the one of 03_reconcile, unless something has changed since.

    Raises:
        RunFolderError: there is no ledger, nothing was extracted, or a file of the books is gone.
        BalanceError: a staged file was changed; no report is made of it.
    """
    if not (folder / LEDGER).is_file():
        raise RunFolderError(f"{folder} holds no {LEDGER}.", "Name the folder of a slice.")
    if gone := evidence.removed(folder):
        return _kept(folder, str(gone["at"]))
    with Ledger(folder / LEDGER) as ledger:
        return write(folder, ledger, _recount(folder, ledger))


def _kept(folder: Path, at: str) -> model.Report:
    found = evidence.report(folder)
    if found is None:
        raise RunFolderError(
            f"{folder / JSON} is gone or was changed, and cannot be made anew: the staged data was removed on {at[:10]}.",
            "Restore it from a backup.",
        )
    return model.Report.model_validate(found)


def _recount(folder: Path, ledger: Ledger) -> Result:
    data, logs = folder / "salesforce" / "data", folder / "salesforce" / "logs"
    key = ledger.setting("external_id_field") or ""
    _check_staged(folder, data, ledger)
    before, after = ledger.setting("target_before"), ledger.setting("target_after")
    rejected = logs / f"{ledger.setting('table')}_rejected.csv"
    books = reconcile.balance(
        _extraction(ledger, folder),
        reconcile.outcomes(ledger, data, logs, key),
        rejected,
        target_before=int(before) if before else None,
        target_after=int(after) if after else None,
        shared_target=ledger.setting("shared_target") == "True",
        since=reconcile.fixed(ledger, logs, rejected),
    )
    return Result(books, reconcile.failures(ledger, data, logs, key), _verdict_now(ledger, books))


def _check_staged(folder: Path, data: Path, ledger: Ledger) -> None:
    altered = [batch.file for batch in _batches(ledger).values() if _is_altered(data, batch)]
    if altered:
        raise BalanceError(
            f"{folder}: {len(altered)} staged file(s) do not hold what was staged: {', '.join(altered[:_MOST_NAMED])}.",
            "No report is made of changed files. Restore them from a backup, or keep the folder for the investigation.",
        )


def _is_altered(data: Path, batch: Batch) -> bool:
    """Whether a staged file is there and does not hold what was staged."""
    if not (data / batch.file).is_file():
        return False  # the books name it
    found = hashlib.sha256()
    text = PlainText(data / batch.file, batch.bytes)
    try:
        for block in text:
            found.update(block)
    except RunFolderError:
        return True
    finally:
        text.close()
    return found.hexdigest() != batch.sha256


def _verdict_now(ledger: Ledger, books: reconcile.Balance) -> str:
    """What 03_reconcile came to, if that still stands; books that no longer balance say so themselves."""
    noted = ledger.verdict()
    return books.verdict if noted and books.verdict == "does not balance" else noted or NOT_RECONCILED


def _extraction(ledger: Ledger, folder: Path) -> Extraction:
    done = ledger.extraction()
    if done is None:
        raise RunFolderError(f"{folder}: nothing is extracted yet.", "Run 01_extract with its run_id first.")
    return done


def _report(folder: Path, ledger: Ledger, found: Result, entries: list[evidence.Evidence]) -> model.Report:
    done, jobs = _extraction(ledger, folder), jobs_of(ledger)
    clean = redactor().clean
    return model.Report(
        version=1,
        digest="0" * 64,
        made=now(),
        slice=_slice(ledger, folder),
        verdict=_verdict(found.verdict, deletes=ledger.setting("operation") == "delete"),
        consistency=done.consistency,
        whole=_whole(ledger, done),
        balance=balance_of(found.books),
        comparison=_comparison(folder, ledger),
        errors=_errors(found.failures),
        rejected=_counts(ledger, "rejected"),
        changed=_counts(ledger, "changed"),
        timings=model.Timings(extraction=_extracted(done), upload=_uploaded(jobs), jobs=jobs),
        budget=_budget(ledger, folder),
        servers=_servers(ledger),
        invocations=[_invocation(ledger, one, clean) for one in ledger.steps()],
        files=model.Files(rule=evidence.RULE, ledger_sha256=ledger.digest(), entries=entries),
    )


def _whole(ledger: Ledger, done: Extraction) -> int | None:
    whole = int(ledger.setting("whole_count") or 0)
    return whole if whole > done.source_count else None


def _slice(ledger: Ledger, folder: Path) -> model.Slice:
    names = ("run_id", "table", "object", "external_id_field", "operation")
    values = {name: ledger.setting(name) or "" for name in names}
    parts = folder.resolve().parts
    below = parts[parts.index(values["run_id"]) :] if values["run_id"] in parts else parts[-1:]
    return model.Slice(**values, folder="/".join(below))


def _verdict(verdict: str, *, deletes: bool) -> model.Verdict:
    code = VERDICTS.get(verdict, Exit.NOT_RECONCILED)
    sentence = _SENTENCES.get("deleted" if deletes and verdict == "complete" else verdict, "")
    return model.Verdict(verdict=verdict, exit=int(code), sentence=sentence)


def balance_of(books: reconcile.Balance) -> model.Balance:
    """The books as the report holds them."""
    names = [name for name in model.Balance.model_fields if name != "equations"]
    equations = [
        model.Equation(name=c.name, left=c.left, right=c.right, holds=c.holds, enforced=c.enforced)
        for c in books.checks
    ]
    return model.Balance(**{name: getattr(books, name) for name in names}, equations=equations)


def _comparison(folder: Path, ledger: Ledger) -> model.Comparison | None:
    """What the comparison noted in ``comparison.json``; None if it was not made, or before something more was sent."""
    path = folder / COMPARISON
    if not path.is_file():
        return None
    try:
        noted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if noted.get("books", books := ledger.digest()) != books:
            return None
        same = {name: noted[name] for name in model.Comparison.model_fields if name in noted}
        own = {
            "made": noted["compared"],
            "files": sorted(name for name, facts in noted["files"].items() if facts["rows"]),
        }
        lines = [_aggregate(line) for line in noted.get("lines", [])]
        return model.Comparison.model_validate({"examples": []} | same | own | {"aggregates": lines})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{path} is not what a comparison writes ({type(error).__name__}).", "Run 03_reconcile again."
        ) from None


def _aggregate(line: Mapping[str, Any]) -> dict[str, Any]:
    same = {name: line.get(name) for name in ("field", "staged", "target")}
    equal = None if line.get("target") is None else not line.get("differs")
    return {**same, "equal": equal, "note": line.get("note", "")}


def _errors(failures: pl.DataFrame) -> list[model.ErrorClass]:
    return [model.ErrorClass(**row, meaning=meaning(row["code"])) for row in failures.to_dicts()]


def _counts(ledger: Ledger, kind: Any) -> list[model.RuleCount]:
    return [model.RuleCount(field=f, rule=r, number=n) for f, r, n in ledger.counts(kind)]


# times


def jobs_of(ledger: Ledger) -> list[model.Job]:
    """Every attempt of the load, by batch, with its times and rows."""
    batches = _batches(ledger)
    times, rows = ledger.times(), rows_by_attempt(ledger)
    return [
        _job(attempt, batches[attempt.batch], times.get(attempt.id, {}), rows.get(attempt.id, {}))
        for attempt in sorted(ledger.attempts(), key=lambda one: (one.batch, one.id))
        if attempt.batch in batches
    ]


def _batches(ledger: Ledger) -> dict[int, Batch]:
    """Every batch of the load by number, those of rows that were sent again, too."""
    return {batch.number: batch for batch in ledger.all_batches()}


def _job(attempt: Attempt, batch: Batch, times: Mapping[str, str], rows: Mapping[Kind, int]) -> model.Job:
    seconds = _seconds(times.get("created"), times.get("ended"))
    return model.Job(
        batch=attempt.batch,
        rows=batch.rows,
        job_id=attempt.job_id,
        state=attempt.job_state or attempt.state,
        **{name: times.get(name) for name in ("created", "closed", "ended", "fetched")},
        seconds=seconds,
        rows_per_second=_rate(batch.rows, seconds),
        **{kind: rows.get(kind) for kind in KINDS},
        message=attempt.message,
    )


def _extracted(done: Extraction) -> model.Phase:
    seconds = _seconds(done.started, done.ended)
    rate = _rate(done.rows_read, seconds)
    return model.Phase(
        started=done.started, ended=done.ended, seconds=seconds, rows=done.rows_read, rows_per_second=rate
    )


def _uploaded(jobs: list[model.Job]) -> model.Phase | None:
    begun = [job.created for job in jobs if job.created]
    if not begun:
        return None
    fetched = [job for job in jobs if job.fetched]
    ended = max((job.fetched or "" for job in fetched), default=None)
    rows, seconds = sum(job.rows for job in fetched), _seconds(min(begun), ended)
    rate = _rate(rows, seconds)
    return model.Phase(started=min(begun), ended=ended, seconds=seconds, rows=rows, rows_per_second=rate)


def _seconds(begun: str | None, ended: str | None) -> float | None:
    if not begun or not ended:
        return None
    return round((dt.datetime.fromisoformat(ended) - dt.datetime.fromisoformat(begun)).total_seconds(), 3)


def _rate(rows: int, seconds: float | None) -> float | None:
    return round(rows / seconds, 1) if seconds else None


# budget, servers, invocations


def _budget(ledger: Ledger, folder: Path) -> model.Budget:
    batches = _batches(ledger)
    times, attempts = ledger.times(), ledger.attempts()
    sent = [
        batches[one.batch] for one in attempts if one.batch in batches and "closed" in times.get(one.id, {})
    ]
    return model.Budget(
        jobs=sum(one.job_id is not None for one in attempts if one.batch in batches),
        rows_sent=sum(batch.rows for batch in sent),
        internal_batches=sum(internal_batches(batch.rows) for batch in sent),
        bytes_sent=sum(batch.bytes for batch in sent),
        calls=_calls(ledger),
        limits=_limits(folder),
    )


def _calls(ledger: Ledger) -> int:
    return sum(one.calls for one in ledger.uses(""))


def _limits(folder: Path) -> list[model.Limit]:
    """What the last check of the limits noted in ``preflight.json``; nothing if there is none to read."""
    try:
        needs = json.loads((folder / "preflight.json").read_text(encoding="utf-8"))["limits"]["needs"]
        return [model.Limit(limit=one["limit"], needed=one["needed"], left=one["left"]) for one in needs]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _servers(ledger: Ledger) -> model.Servers:
    return model.Servers(**{name: ledger.setting(name) or "" for name in model.Servers.model_fields})


def _invocation(ledger: Ledger, one: Invocation, clean: Any) -> model.Invocation:
    facts = json.loads(ledger.setting(f"invocation {one.id}") or "{}")
    return model.Invocation(
        step=one.name,
        started=one.started,
        ended=one.ended,
        outcome=clean(one.outcome),
        host=facts.get("host", UNKNOWN),
        python=facts.get("python", UNKNOWN),
        system=facts.get("system", UNKNOWN),
        packages=facts.get("packages", {}),
        commit=facts.get("commit", UNKNOWN),
        parameters=facts.get("parameters", {}),
    )
