"""The staged rows against the org, before anything is sent: what would fail, how often, and what does not fit at all.

What would fail every row stops the run; everything else is counted and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ora2sf import keys
from ora2sf.fields import LookupField
from ora2sf.profile import Profiler
from ora2sf.salesforce import SalesforceClient
from ora2sf.tables import TableConfig

#: Types whose length is a limit for the text (sObject Describe: length).
SIZED = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "combobox", "multipicklist"})
_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """Something that Salesforce would refuse.

    Attributes:
        field: the field at fault, or empty; what: why, as half a sentence; rows: how many would fail.
        of: how many there are in all; if every one would fail, the run stops.
        examples: a few of the values at fault, each with its rows or a row's key.
    """

    field: str
    what: str
    rows: int
    of: int
    examples: tuple[str, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether nothing would be left to load."""
        return self.rows >= self.of > 0

    def __str__(self) -> str:
        examples = f", such as {', '.join(self.examples[:_EXAMPLES])}" if self.examples else ""
        named = f"{self.field}: " if self.field else ""
        return f"{named}{self.what} ({self.rows:,} of {self.of:,} rows){examples}"


@dataclass(frozen=True)
class Lookup:
    """What became of one lookup field's references.

    Attributes:
        parents, rows: records that are referred to, and rows that do.
        staged: of the parents, those that this run staged itself.
        asked: whether Salesforce was asked for the others; not beyond ``max_parents_asked``.
        orphans, orphan_rows: parents that are in neither, and rows that refer to them; None if that is not known.
        examples: a few orphans, each with the key of a row that refers to it.
    """

    field: str
    object: str
    external_id_field: str
    parents: int
    rows: int
    staged: int
    asked: bool
    orphans: int | None
    orphan_rows: int | None
    examples: tuple[str, ...]

    def __str__(self) -> str:
        others = self.parents - self.staged
        said = "in Salesforce" if self.asked else "not asked for (max_parents_asked)"
        return f"{self.parents:,} record(s) of {self.object}: {self.staged:,} staged in this run, {others:,} {said}"


def profiler(config: TableConfig, describe: Mapping[str, Any], *, in_full: bool = True) -> Profiler:
    """A profiler that knows what Salesforce keeps of each field, and counts the values of restricted picklists."""
    fields = {entry["name"]: entry for entry in describe.get("fields", ())}
    kept = {
        name: int(entry["length"])
        for name, entry in fields.items()
        if entry["type"] in SIZED and entry["length"]
    }
    restricted = frozenset(name for name, entry in fields.items() if entry.get("restrictedPicklist"))
    return Profiler(config, kept, restricted, in_full=in_full)


def case_sensitive(config: TableConfig, targets: Mapping[str, Mapping[str, Any] | None]) -> frozenset[str]:
    """The lookup fields whose parents' external id is case-sensitive; arguments as for :func:`ora2sf.preflight.check`."""
    return frozenset(
        spec.field
        for spec in config.fields
        if isinstance(spec, LookupField)
        for entry in (targets.get(spec.object) or {}).get("fields", ())
        if entry["name"] == spec.external_id_field and entry.get("caseSensitive")
    )


def of_rejected(read: int, staged: int, counts: Sequence[tuple[str, str, int]]) -> Iterator[Finding]:
    """One finding if the table file's own rules let no row pass."""
    if read and not staged:
        reasons = tuple(f"{field}: {rule} ({rows:,} rows)" for field, rule, rows in counts[:_EXAMPLES])
        yield Finding("", "every row is rejected before upload", read, read, reasons)


def of_values(profiles: Sequence[Mapping[str, Any]], describe: Mapping[str, Any]) -> Iterator[Finding]:
    """What the values themselves would be refused for; ``profiles`` as ``preflight.json`` keeps them."""
    fields = {entry["name"]: entry for entry in describe.get("fields", ())}
    for profile in profiles:
        if entry := fields.get(profile["field"]):
            yield from (one for one in _of_field(profile, entry) if one.rows)


def _of_field(profile: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[Finding]:
    name, rows = profile["field"], profile["rows"]
    if entry["createable"] and not entry["nillable"] and not entry["defaultedOnCreate"]:
        yield Finding(name, "Salesforce requires it, and it is empty", profile["nulls"], rows)
    longer = f"longer than the {entry.get('length')} characters that Salesforce keeps"
    yield Finding(name, longer, profile["too_long"], rows)
    if entry.get("restrictedPicklist"):
        active = {choice["value"] for choice in entry["picklistValues"] if choice["active"]}
        lacking = {value: n for value, n in profile["values"].items() if value not in active}
        more = f", and {profile['uncounted']:,} rows were not looked at" if profile["uncounted"] else ""
        what = f"the restricted picklist lacks {len(lacking)} value(s){more}"
        named = tuple(f"{value!r} ({n:,} rows)" for value, n in lacking.items())
        yield Finding(name, what, sum(lacking.values()), rows, named)


def lookups(
    config: TableConfig,
    client: SalesforceClient,
    data: Path,
    run: Path,
    exact: frozenset[str],
    most: int,
    told: Callable[[int], object] = lambda _: None,
) -> list[Lookup]:
    """What every lookup field refers to.

    Args:
        data: folder of the staged files.
        run: the run's folder, with what it staged of other tables.
        exact: from :func:`case_sensitive`.
        most: parents of one field that Salesforce is asked for; with more of them it is not asked at all.
        told: how many more parents Salesforce is asked for.
    """
    specs = (spec for spec in config.fields if isinstance(spec, LookupField))
    references = keys.reference_file(data, config.table)
    return [_lookup(spec, client, references, run, most, told, exact=spec.field in exact) for spec in specs]


def _lookup(
    spec: LookupField,
    client: SalesforceClient,
    references: Path,
    run: Path,
    most: int,
    told: Callable[[int], object],
    *,
    exact: bool,
) -> Lookup:
    staged = keys.key_files(run, object=spec.object, field=spec.external_id_field)
    found = keys.parents(references, spec.field, staged, most)
    asked = found.elsewhere <= most
    orphans = _absent(spec, client, found.listed, told, exact=exact) if asked else []
    return Lookup(
        field=spec.field,
        object=spec.object,
        external_id_field=spec.external_id_field,
        parents=found.distinct,
        rows=found.rows,
        staged=found.distinct - found.elsewhere,
        asked=asked,
        orphans=len(orphans) if asked else None,
        orphan_rows=sum(one.rows for one in orphans) if asked else None,
        examples=tuple(f"{one.value} (row {one.key}, {one.rows:,} rows)" for one in orphans[:_EXAMPLES]),
    )


def _absent(
    spec: LookupField,
    client: SalesforceClient,
    listed: list[keys.Parent],
    told: Callable[[int], object],
    *,
    exact: bool,
) -> list[keys.Parent]:
    def values() -> Iterator[str]:
        for one in listed:
            yield one.value
            told(1)  # when the next one is wanted

    present = client.existing(spec.object, spec.external_id_field, values())
    there = pl.DataFrame({"key": list(present)}, schema={"key": pl.String})
    known = set(there.select(keys.folded(pl.col("key"), case_sensitive=exact)).to_series())
    return [one for one in listed if one.folded not in known]


def of_lookups(found: Sequence[Lookup], rows: int) -> Iterator[Finding]:
    """Orphans: Salesforce refuses the whole row whose reference it cannot resolve."""
    for one in found:
        if one.orphan_rows:
            what = (
                f"{one.orphans:,} record(s) of {one.object} are neither in Salesforce nor staged in this run"
            )
            yield Finding(one.field, what, one.orphan_rows, rows, one.examples)
