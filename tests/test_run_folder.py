"""docs/run-folder.md is held to the code: every file that runs leave, every column and setting of a ledger, every move."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from mending import BAD, GOOD, WRONG_DAY, Mending, mending
from ora2sf.ledger import MOVES, Ledger, State
from world import ROOT

PAGE = (ROOT / "docs/run-folder.md").read_text(encoding="utf-8")


def cells(heading: str) -> list[list[str]]:
    """The lines of the table under a heading."""
    part = PAGE[PAGE.index(f"\n{heading}\n") :]
    lines = re.search(r"\n\|[^\n]*\n\|[-|]*\n((?:\|[^\n]*\n)+)", part)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_moves_is_that_of_the_ledger() -> None:
    listed = {
        (names(before)[0] if names(before) else None): frozenset(names(after))
        for before, after, _ in cells("### What an attempt may do")
    }
    assert listed == MOVES
    assert set(get_args(State)) == {name for name in listed if name}


def test_every_column_of_the_ledger_has_its_meaning(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            f"{table}.{column}"
            for table in tables
            for _, column, *_ in database.execute(f"PRAGMA table_info({table})")
        }
        (version,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    assert {name for first, _ in cells("### Tables") for name in names(first)} == columns
    assert f"the schema ({version})" in PAGE


def test_every_setting_that_the_code_records_is_listed() -> None:
    listed = {name for first, _ in cells("### Settings") for name in names(first)}
    found = set[str]()
    for path in (ROOT / "lib/ora2sf").rglob("*.py"):
        found |= set(
            re.findall(r'ledger\.(?:record|settle|setting|forget)\(\s*"([a-z_]+)"', path.read_text("utf-8"))
        )
    assert len(found) > 15
    assert found - listed == set()


@pytest.fixture
def full(oracle_and_rows: Any, tmp_path: Path) -> Iterator[Mending]:
    with mending(oracle_and_rows[0], tmp_path, GOOD + BAD + WRONG_DAY) as place:
        place.load()
        place.retry("list")
        place.edit([row | {"Unit__c": "Box"} for row in place.exported() if row["Ext__c"].startswith("m01")])
        place.retry("csv")
        place.retry("exclude", error_code="REJECTED", reason="no day")
        run = place.open("03_reconcile")
        run.fetch_missing()
        run.compare()
        run.verdict()
        place.rolled_back()
        yield place


def test_every_file_that_a_run_leaves_is_listed(full: Mending) -> None:
    listed = {
        name
        for heading in ("## Files of a slice", "## Files of the campaign")
        for first, *_ in cells(heading)
        for name in names(first)
    }
    forms = [
        re.compile(
            re.sub(
                r"<[^>]+>",
                "[^/]+",
                re.escape(name).replace(r"\<", "<").replace(r"\>", ">").replace(r"\[_<window>\]", ""),
            )
        )
        for name in listed
    ]
    left = [path for path in full.folder.parent.rglob("*") if path.is_file()]
    shown = {
        path.relative_to(full.folder if full.folder in path.parents else full.folder.parent).as_posix()
        for path in left
    }
    assert len(shown) > 20
    assert {name for name in shown if not any(form.fullmatch(name) for form in forms)} == set()
    with sqlite3.connect(full.folder / "ledger.sqlite") as database:
        settings = {name for (name,) in database.execute("SELECT name FROM setting")}
    database.close()
    described = {name for first, _ in cells("### Settings") for name in names(first)}
    assert {re.sub(r"^invocation \d+$", "invocation <number>", name) for name in settings} <= described
