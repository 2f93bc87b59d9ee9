"""When a staged value and a value of the org are the same: every rule of the comparison, as SQL of DuckDB.

The type of the org's field decides how its values are compared: numbers by value, in exact decimals; dates; datetimes as
instants; booleans; everything else as text. What cannot be read as its type is compared as text, so that it is never
taken for empty. Docs: docs/reconcile.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ora2sf.errors import ParameterError
from ora2sf.fields import SET_NULL, KeyField, LookupField
from ora2sf.tables import TableConfig

Mode = Literal["full", "aggregates", "counts", "sample"]
Kind = Literal["text", "number", "boolean", "date", "datetime", "key", "lookup"]
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("double", "currency", "percent", "int", "long"), "number"),
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
}
#: Kinds with a SUM, a MIN and a MAX.
MEASURED: frozenset[Kind] = frozenset({"number", "date", "datetime"})

#: What Salesforce itself does to a value → where that is documented. Each can be switched off (``compare_rules``).
RULES: dict[str, str] = {
    # "Salesforce trims leading and trailing white spaces in field values", on the page about newline characters, too:
    # "Many browsers transform newline characters to \r\n"; what comes through an API is kept as it is
    "trimming": "https://developer.salesforce.com/docs/platform/change-data-capture/guide/cdc-data-diff-event-fields-considerations.html",
    "line breaks": "https://developer.salesforce.com/docs/platform/change-data-capture/guide/cdc-data-diff-event-fields-considerations.html",
}
#: What became of a cell that is not the same on both sides; besides these, the names of rules that explain it.
DIFFERENT, LEFT, DEFAULT, CASE = "different", "left as it was", "the org's default", "letter case"
BOTH = " and ".join(RULES)

_BLANKS = r"E' \t\r\n\f\x0B'"
_NUMBER = "DECIMAL(38, 18)"  # a number of Salesforce has 18 digits at most, on either side of the point
_MOMENT = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?"


@dataclass(frozen=True)
class How:
    """How a comparison is made.

    Attributes:
        mode: ``full`` reads every record back; ``aggregates`` asks the org for sums; ``counts`` for its COUNT only;
            ``sample`` looks at ``size`` rows, the same ones for the same ``seed``.
        rules: names of :data:`RULES` that are switched on.
        memory_mb: what DuckDB may use.
    """

    mode: Mode = "full"
    size: int = 0
    seed: int = 1
    rules: frozenset[str] = frozenset(RULES)
    memory_mb: int = 512

    @property
    def reach(self) -> tuple[int, int]:
        """How much it can see, to be put in order: what one found, only one with the same reach or more can refute."""
        return (("counts", "aggregates", "sample", "full").index(self.mode), self.size)

    @classmethod
    def read(cls, mode: str, rules: str, memory_mb: int) -> How:
        """The parameters ``compare``, ``compare_rules`` and ``compare_memory_mb``.

        Raises:
            ParameterError: one of them says something else.
        """
        found = re.fullmatch(r"(full|aggregates|counts)|sample\(([0-9]{1,7})(?:, *([0-9]{1,9}))?\)", mode)
        if not found or found[2] == "0":
            raise ParameterError(
                f"compare = {mode!r} is not known.",
                "Use full, aggregates, counts, sample(1000) or sample(1000, 7).",
            )
        names = [] if rules.strip() in {"", "none"} else [name.strip() for name in rules.split(",")]
        if unknown := sorted(set(names) - set(RULES)):
            raise ParameterError(
                f"compare_rules names {', '.join(map(repr, unknown))}, which is no rule.",
                f"Use some of: {', '.join(RULES)}; or none.",
            )
        chosen: Any = found[1] or "sample"
        return cls(chosen, int(found[2] or 0), int(found[3] or 1), frozenset(names), memory_mb)


@dataclass(frozen=True)
class Compared:
    """One field as it is compared.

    Attributes:
        field: its API name; staged: the header cell in staged files; target: the column of the read-back.
        leaves: an empty staged cell leaves the field as it is in a record that exists.
        exact: upper and lower case are different; of a key or lookup whose field is case-sensitive.
        default: what the org puts in a new record where the cell is empty; ``unknown_default``: it may be anything.
    """

    field: str
    staged: str
    target: str
    kind: Kind
    leaves: bool
    exact: bool = True
    default: str | None = None
    unknown_default: bool = False


def compared_fields(
    config: TableConfig, describe: Mapping[str, Any], exact_lookups: frozenset[str]
) -> tuple[list[Compared], dict[str, str]]:
    """The fields of a table file as they are compared, and field → why it is not.

    Args:
        describe: of the object.
        exact_lookups: lookup fields whose parents' external id is case-sensitive.
    """
    entries = {entry["name"]: entry for entry in describe.get("fields", ())}
    found, skipped = [], dict[str, str]()
    for spec in config.fields:
        entry = entries.get(spec.field, {})
        kind: Kind = _KINDS.get(str(entry.get("type")), "text")
        exact, path, null = True, spec.header, getattr(spec, "null", "leave")
        if isinstance(spec, LookupField):
            if spec.polymorphic:
                skipped[spec.field] = (
                    "a bulk query cannot tell the external id of a reference to several objects"
                )
                continue
            kind, exact = "lookup", spec.field in exact_lookups
        elif isinstance(spec, KeyField):
            kind, exact = "key", bool(entry.get("caseSensitive"))
        default, unknown = _default(entry)
        found.append(Compared(spec.field, spec.header, path, kind, null == "leave", exact, default, unknown))
    return found, skipped


def _default(entry: Mapping[str, Any]) -> tuple[str | None, bool]:
    """What a new record gets, and whether that cannot be told (sObject Describe: defaultValue, defaultValueFormula)."""
    if entry.get("type") == "boolean":
        return ("true" if entry.get("defaultValue") in {True, "true"} else "false"), False
    for choice in entry.get("picklistValues") or ():
        if choice.get("defaultValue"):
            return str(choice["value"]), False
    if entry.get("defaultValue") is not None:
        return str(entry["defaultValue"]), False
    return None, bool(entry.get("defaultValueFormula") or entry.get("defaultedOnCreate"))


# one value


def name(column: str) -> str:
    """A column's name as SQL writes it."""
    return '"' + column.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def staged_value(column: str) -> str:
    """A staged cell; empty and ``#N/A`` are null (Bulk API 2.0 guide: Prepare CSV Files)."""
    return f"nullif(nullif({name(column)}, ''), {literal(SET_NULL)})"


def target_value(column: str) -> str:
    """A cell of a read-back; empty is null: an org keeps no empty text."""
    return f"nullif({name(column)}, '')"


def folded(text: str, *, exact: bool) -> str:
    """A key as Salesforce compares it; the same rule as :func:`ora2sf.keys.folded`."""
    trimmed = f"trim({text}, {_BLANKS})"
    return trimmed if exact else f"lower({trimmed})"


def typed(kind: Kind, text: str) -> str | None:
    """A text as a value of its kind; null if it is not one. None for kinds that are compared as text."""
    match kind:
        case "number":
            return _number(text)
        case "date":
            return f"CASE WHEN regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') THEN TRY_CAST({text} AS DATE) END"
        case "datetime":
            return _instant(text)
    return None


def _number(text: str) -> str:
    """An exact decimal; never a rounded one: a text with finer decimals than the type holds is no number here.

    The org writes doubles as Java does: 9.12260031E8 (Bulk API 2.0 guide: quick start).
    """
    value = f"TRY_CAST({text} AS {_NUMBER})"
    decimals = f"strlen(rtrim(regexp_extract({text}, '[.]([0-9]+)E', 1), '0'))"
    power = f"TRY_CAST(regexp_extract({text}, 'E(.*)$', 1) AS INTEGER)"
    return f"""CASE
        WHEN strlen({text}) <= 19 AND NOT contains({text}, 'E') AND NOT contains({text}, 'e') AND NOT contains({text}, '_')
            THEN {value}
        WHEN regexp_full_match({text}, '[+-]?[0-9]+([.][0-9]{{0,18}}0*)?') THEN {value}
        WHEN regexp_full_match({text}, '[+-]?[0-9][.][0-9]{{1,17}}E-?[0-9]{{1,2}}') AND {decimals} - {power} <= 18
            THEN {value}
        END"""


def _instant(text: str) -> str:
    """A moment in UTC; an offset other than zero is taken away, which a cast would drop."""
    shift = f"""(60 * CAST(regexp_extract({text}, '[+-]([0-9]{{2}}):?[0-9]{{2}}$', 1) AS INTEGER)
        + CAST(right({text}, 2) AS INTEGER)) * CAST(regexp_extract({text}, '([+-])[0-9:]+$', 1) || '1' AS INTEGER)"""
    return f"""CASE
        WHEN regexp_full_match({text}, '{_MOMENT}(Z|[+-]00:?00)') THEN TRY_CAST({text} AS TIMESTAMP)
        WHEN regexp_full_match({text}, '{_MOMENT}[+-][0-9]{{2}}:?[0-9]{{2}}')
            THEN TRY_CAST({text} AS TIMESTAMP) - to_minutes({shift})
        END"""


def hashed(kind: Kind, text: str, value: str) -> str:
    """What of one field goes into the hash of its row.

    Args:
        text: the cell, null where it is empty; value: what :func:`typed` made of it, as SQL.
    """
    if kind == "boolean":
        return f"lower({text})"
    return f"{value}, CASE WHEN {value} IS NULL THEN {text} END" if kind in MEASURED else text


# one cell on both sides


def verdict(field: Compared, staged: str, target: str, created: str, rules: frozenset[str]) -> str:
    """What a cell is, as SQL: null if both sides are the same, else one of the words above.

    Args:
        staged: the staged cell as it stands; target: the org's; both SQL, null where they are empty.
        created: SQL that is true for a row that this run created.
        rules: the names of :data:`RULES` that are switched on.
    """
    value = f"nullif({staged}, {literal(SET_NULL)})"
    steps = [f"WHEN {_same(field, value, target)} THEN NULL"]
    if field.leaves:
        steps.append(f"WHEN {staged} IS NULL AND NOT {created} THEN {literal(LEFT)}")
    if field.unknown_default:
        steps.append(f"WHEN {staged} IS NULL AND {created} THEN {literal(DEFAULT)}")
    elif field.default is not None:
        given = _same(field, literal(field.default), target)
        steps.append(f"WHEN {staged} IS NULL AND {created} AND {given} THEN {literal(DEFAULT)}")
    if field.kind in {"key", "lookup"} and not field.exact:
        steps.append(f"WHEN lower({value}) = lower({target}) THEN {literal(CASE)}")
    if field.kind in {"text", "key", "lookup"}:
        steps += _explained(value, target, rules)
    return f"CASE {' '.join(steps)} ELSE {literal(DIFFERENT)} END"


def written_otherwise(staged: str, target: str) -> str:
    """Whether two cells are not the same text, as SQL; those that are need no verdict."""
    return f"nullif({staged}, {literal(SET_NULL)}) IS DISTINCT FROM {target}"


def _same(field: Compared, one: str, other: str) -> str:
    same = f"{one} IS NOT DISTINCT FROM {other}"
    if field.kind == "boolean":
        return f"({same} OR lower({one}) = lower({other}))"
    values = typed(field.kind, one), typed(field.kind, other)
    return f"({same} OR ({values[0]}) = ({values[1]}))" if values[0] else f"({same})"


def _explained(one: str, other: str, rules: frozenset[str]) -> list[str]:
    def after(text: str, *changes: str) -> str:
        if "line breaks" in changes:
            text = rf"replace({text}, E'\r\n', E'\n')"
        return f"nullif(trim({text}, {_BLANKS}), '')" if "trimming" in changes else text

    tries: list[tuple[str, tuple[str, ...]]] = [(rule, (rule,)) for rule in RULES if rule in rules]
    if len(tries) > 1:
        tries.append((BOTH, tuple(RULES)))
    return [
        f"WHEN {after(one, *used)} IS NOT DISTINCT FROM {after(other, *used)} THEN {literal(rule)}"
        for rule, used in tries
    ]
