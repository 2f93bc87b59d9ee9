"""All table files of a folder, and whether they fit together."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ora2sf.errors import TableFileError
from ora2sf.fields import KeyField, LookupField
from ora2sf.tables import DECIDE, TABLE_NAME, TableConfig


@dataclass(frozen=True)
class Finding:
    """Something about one table file; a ``warning`` may be as it should be, a ``problem`` may not."""

    table: str
    kind: Literal["problem", "warning"]
    text: str


@dataclass(frozen=True)
class Catalog:
    """The table files of a folder.

    Attributes:
        tables: those that can be read, by name.
        broken: name → what is wrong with the file, for those that cannot.
        undecided: name → how often the file says that something is still to decide.
    """

    tables: Mapping[str, TableConfig]
    broken: Mapping[str, str]
    undecided: Mapping[str, int]

    def in_order(self) -> list[TableConfig]:
        """By phase, then by name."""
        return sorted(self.tables.values(), key=lambda config: (config.phase, config.table))

    def findings(self) -> list[Finding]:
        """Everything that is wrong with a file alone or beside the others, by table."""
        found = [
            *(Finding(table, "problem", text) for table, text in self.broken.items()),
            *self._names(),
            *self._undecided(),
            *self._dependencies(),
            *self._cycles(),
            *self._lookups(),
            *self._keys(),
        ]
        return sorted(found, key=lambda finding: (finding.table, finding.kind))

    def _names(self) -> Iterator[Finding]:
        for table in self.tables:
            if not TABLE_NAME.fullmatch(table):
                text = "the notebooks take only letters, digits and _ in the name of a table file"
                yield Finding(table, "problem", text)

    def _undecided(self) -> Iterator[Finding]:
        for table, number in self.undecided.items():
            if number:
                text = f'{number} comment(s) "{DECIDE}" mark what is still to decide'
                yield Finding(table, "warning", text)

    def _dependencies(self) -> Iterator[Finding]:
        """Phases run in order; inside a phase a table waits for those it depends on."""
        known = {*self.tables, *self.broken}
        for config in self.tables.values():
            for name in config.depends_on:
                if name not in known:
                    near = difflib.get_close_matches(name, known, n=1)
                    hint = f" (did you mean {near[0]}?)" if near else ""
                    yield Finding(config.table, "problem", f"depends_on names {name!r}: no such table{hint}")
                elif name in self.tables and not self._reaches(name, config.table):
                    phase = self.tables[name].phase
                    if config.phase < phase:
                        text = f"phase {config.phase} is before phase {phase} of {name}, which it depends on"
                        yield Finding(config.table, "problem", text)

    def _reaches(self, start: str, end: str) -> bool:
        return bool(self._path(start, end))

    def _path(self, start: str, end: str) -> list[str]:
        """The shortest way from one table to another along depends_on; empty if there is none."""
        ways, seen = [[start]], {start}
        for way in ways:
            if way[-1] == end:
                return way
            config = self.tables.get(way[-1])
            following = [name for name in (config.depends_on if config else ()) if name not in seen]
            seen.update(following)
            ways += [[*way, name] for name in following]
        return []

    def _cycles(self) -> Iterator[Finding]:
        """Each cycle once, at the first of its tables."""
        told: set[frozenset[str]] = set()
        for config in self.in_order():
            for name in config.depends_on:
                way = self._path(name, config.table)
                if way and frozenset(way) not in told:
                    told.add(frozenset(way))
                    shown = " → ".join([config.table, *way])
                    yield Finding(config.table, "problem", f"depends_on goes in a circle: {shown}")

    def _lookups(self) -> Iterator[Finding]:
        fillers = self._by_object()
        for config in self.tables.values():
            for field in config.fields:
                if not isinstance(field, LookupField):
                    continue
                for other in fillers[field.object.casefold()]:
                    if when := self._too_late(config, other):
                        text = f"{field.field} refers to {field.object}, which {other.table} fills {when}"
                        yield Finding(config.table, "warning", text)

    def _too_late(self, config: TableConfig, other: TableConfig) -> str:
        """When another table fills its object, if that may be too late for a table that refers to it."""
        if other.phase > config.phase:
            return f"later (phase {other.phase}, this one is {config.phase})"
        if other.phase == config.phase and not self._reaches(config.table, other.table):
            return f"side by side with this one (phase {config.phase}): name it in depends_on"
        return ""

    def _keys(self) -> Iterator[Finding]:
        """One external id names a record, whichever table it came from."""
        for configs in self._by_object().values():
            first = configs[0]
            for other in configs[1:]:
                if other.external_id_field != first.external_id_field:
                    text = (
                        f"fills {other.object} by {other.external_id_field}, and {first.table} fills it "
                        f"by {first.external_id_field}: use one external id field"
                    )
                    yield Finding(other.table, "problem", text)
                elif _joined_otherwise(first.key, other.key):
                    text = (
                        f"joins the key of {other.object} with {other.key.separator!r}, and {first.table} joins it with "
                        f"{first.key.separator!r}: a row of both would become two records"
                    )
                    yield Finding(other.table, "warning", text)

    def _by_object(self) -> defaultdict[str, list[TableConfig]]:
        found: defaultdict[str, list[TableConfig]] = defaultdict(list)
        for config in self.in_order():
            found[config.object.casefold()].append(config)
        return found


def _joined_otherwise(one: KeyField, other: KeyField) -> bool:
    """Whether the same columns make two keys of one row."""
    return len(one.columns) == len(other.columns) > 1 and one.separator != other.separator


def read_catalog(folder: Path) -> Catalog:
    """Reads every table file of a folder.

    Raises:
        TableFileError: there is no such folder, or it holds no table file.
    """
    names = sorted(path.stem for path in folder.glob("*.toml"))
    if not names:
        what = "holds no table file (*.toml)" if folder.is_dir() else "is no folder"
        raise TableFileError(f"{folder} {what}.", "Give the folder of the table files with --tables.")
    tables, broken, undecided = {}, {}, {}
    for name in names:
        try:
            tables[name] = TableConfig.load(name, folder)
        except TableFileError as error:
            broken[name] = error.what
            continue
        undecided[name] = (folder / f"{name}.toml").read_text(encoding="utf-8-sig").count(DECIDE)
    return Catalog(tables, broken, undecided)
