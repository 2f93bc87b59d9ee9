"""What a comparison found, in sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from ora2sf import totals as sums
from ora2sf.compare import Found
from ora2sf.report import Shown, Tone

_SUM_OF = {"number": "", "date": " days since 1970", "datetime": " ms since 1970"}


def sentence(found: Found) -> str:
    """Whether everything is there, complete without the table below it."""
    if found.contradicted:
        return _contradiction(found)
    if not any(found.staged.values()):
        return "Nothing is staged, so there is nothing to compare."
    match found.how.mode:
        case "full":
            if not found.looked_at:
                return f"No row has to be in the org. {_unsettled(found)}".strip()
            fields = "every value" if not found.skipped else f"every value but {', '.join(found.skipped)}"
            said = f"All {found.looked_at:,} rows that have to be in the org are there, with {fields}."
            return f"{said} {_unsettled(found)}".strip()
        case "sample":
            rule = f"seed {found.how.seed}"
            return f"A sample of {found.looked_at:,} of {found.expected:,} rows ({rule}) is in the org, with every value."
        case "aggregates":
            known = sum(line.target is not None for line in found.lines)
            return f"The org's totals of {known} of {len(found.lines)} fields are those of the staged rows; no row was looked at."
    due = f"{found.expected:,} rows have" if found.expected else "No row has"
    return f"{due} to be in the org, which has {found.in_target:,}; no row was looked at."


def _contradiction(found: Found) -> str:
    counts: tuple[tuple[int, str], ...] = (
        (found.missing, "missing"),
        (found.extra, "too many"),
        (found.different, f"different, in {found.different_values:,} value(s)"),
    )
    if not any(number for number, _ in counts):
        counts = ((sum(line.differs for line in found.lines), "field(s) with other totals"),)
    what = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    first = f" First: {'; '.join(found.examples)}." if found.examples else ""
    return f"The org does not hold what was sent: {what}.{first}"


def _unsettled(found: Found) -> str:
    """Rows of whose outcome nothing is known: the org says what became of them."""
    unknown = found.staged.get("unknown", 0)
    if not unknown:
        return ""
    there = found.there.get("unknown", 0)
    return f"{unknown:,} row(s) are in no result file; {there:,} of them are in the org: {'; '.join(found.examples)}."


def shown(found: Found) -> Shown:
    """The sentence, and the numbers behind it."""
    tone: Tone = "bad" if found.contradicted else "good" if found.proven else "warning"
    return Shown(sentence(found), list(_rows(found)), tone)


def _rows(found: Found) -> Iterator[dict[str, Any]]:
    yield {"what": "rows that have to be in the org", "number": found.expected}
    if found.in_target is not None:
        yield {"what": "records in the org", "number": found.in_target}
    if found.how.mode in {"full", "sample"}:
        yield {"what": "rows compared", "number": found.looked_at}
        yield {"what": "equal", "number": found.looked_at - found.missing - found.different}
        for number, what, file in (
            (found.missing, "missing", "missing"),
            (found.extra, "too many", "extra"),
            (found.different, "different", "differences"),
        ):
            yield {"what": what, "number": number, "listed in": _file(found, file) if number else ""}
    for outcome in ("failed", "unprocessed", "unknown", "not sent"):
        if number := found.staged.get(outcome, 0):
            line = {"what": f"not compared: {outcome}", "number": number}
            if found.how.mode == "full":  # a sample asks for none of them
                line |= {"listed in": _file(found, "not_compared"), "note": f"{found.there.get(outcome, 0):,} of them in the org"}  # fmt: skip
            yield line
    if found.rejected_there:
        yield {"what": "records of rejected rows", "number": found.rejected_there}
    if found.others:
        yield {"what": "records of others", "number": found.others}
    for name, number in found.by_field.items():
        yield {"what": f"{name}: different values", "number": number}
    for rule, number in found.explained.items():
        yield {"what": _explanation(rule), "number": number}
    for name, why in found.skipped.items():
        yield {"what": f"{name}: not compared", "note": why}


def _explanation(rule: str) -> str:
    if rule in {"left as it was", "the org's default"}:
        return f"values staged empty: {rule}"
    return (
        "values equal without regard to letter case"
        if rule == "letter case"
        else f"values equal after {rule}"
    )


def _file(found: Found, kind: str) -> str:
    return next((name for name in found.files if name.endswith(f"_{kind}.csv")), "")


def totals(found: Found | None) -> Shown:
    """The totals of both sides, field by field."""
    if found is None or not found.lines:
        return Shown("No totals were compared.")
    unequal = [line.field for line in found.lines if line.differs]
    unknown = [line.field for line in found.lines if line.target is None]
    said = f"{len(found.lines) - len(unequal) - len(unknown)} of {len(found.lines)} fields have the same totals on both sides"
    said += f"; they differ in {', '.join(unequal)}." if unequal else "."
    tone: Tone = "bad" if unequal else "warning" if unknown else "good"
    return Shown(said, [row for line in found.lines for row in _sides(line)], tone)


def _sides(line: sums.Line) -> Iterator[dict[str, Any]]:
    mark = "?" if line.target is None else "✗" if line.differs else "✓"
    yield {"": mark, **_side(line, "staged", line.staged), "note": line.note}
    if line.differs and line.target:
        yield _side(line, "org", line.target)


def _side(line: sums.Line, side: str, total: sums.Total) -> dict[str, Any]:
    added = "" if total.sum is None else f"{_grouped(total.sum)}{_SUM_OF[line.kind]}"
    return {"field": line.field, "side": side, "COUNT": total.count, "SUM": added,
            "MIN": total.smallest, "MAX": total.largest}  # fmt: skip


def _grouped(number: Decimal) -> str:
    return f"{number:,f}"
