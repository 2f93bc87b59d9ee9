"""A table of one's own, the same day: drafted from the dictionary, decided, checked, and migrated with every value proven."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest

from fakeoracle import serve as serve_oracle
from ora2sf import cli, open_run
from ora2sf.errors import Exit
from ora2sf_demo import history, source
from world import PASSWORD, ROOT, World, fresh_world

TABLE, OBJECT = "KPS_R_EMAIL_TENANT", "KPS_EmailTenant__c"


@pytest.fixture(scope="module")
def sales_world() -> Iterator[World]:
    """The demo servers with a small sales history."""
    with serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as oracle:
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as database:
            history.fill(database, history.parts(60))
        with fresh_world(oracle, source.Rows()) as made:
            yield made


@pytest.fixture
def home(sales_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder without a table file."""
    (tmp_path / "tables").mkdir()
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decided(text: str) -> str:
    """The file after a person has looked at each mark: the address is EMAIL, the flag is ACTIVE, the rest is right."""
    assert set(re.findall(r'^field = "(\w+)"$', text, re.MULTILINE)) >= {"Email_Address__c", "Is_Active__c"}
    return re.sub(r"[ \t]*# decide:.*", "", text)


def test_a_drafted_table_is_decided_checked_and_migrated(
    home: Path, sales_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"TMS.{TABLE}", "--object", OBJECT, "--key", "CON_CODE", "SHOP_CODE", "SEQ"]
    file = home / "tables" / "tenants.toml"
    assert cli.main(["tables", "new", *arguments, "-o", str(file)]) == Exit.COMPLETE
    file.write_text(decided(file.read_text(encoding="utf-8")), encoding="utf-8")
    assert cli.main(["tables", "check"]) == Exit.COMPLETE
    assert "1 table file checked, nothing is wrong." in capsys.readouterr().out
    assert cli.main(["doctor", "--tables", "tenants"]) == Exit.COMPLETE
    names = {"run_id": "own", "table": "tenants"}
    verdict = migrated(names)
    loaded = {row["External_ID__c"]: row for row in sales_world.org.rows(OBJECT)}
    rows = source_rows(sales_world)
    rejected = len(rows) - len(loaded)
    assert f"{len(rows)} in the source, {len(loaded)} staged, {rejected} rejected" in verdict
    assert f"All {len(loaded)} rows that have to be in the org are there, with every value." in verdict
    assert len(loaded) > 400
    for con_code, shop_code, seq, name in rows:
        if record := loaded.get(f"{con_code.strip()}|{shop_code}|{seq}"):
            assert record["Names__c"] == name


def source_rows(world: World) -> list[tuple[str, str, int, str | None]]:
    with oracledb.connect(user="TMS", password=PASSWORD, dsn=world.oracle.dsn) as database:
        cursor = database.cursor()
        return list(cursor.execute(f"select con_code, shop_code, seq, names from {TABLE}").fetchall())


def migrated(names: dict[str, str]) -> str:
    """What the three notebooks do; the verdict."""
    run = open_run("01_extract", names)
    for step in (run.check_table, run.extract, run.check_data, run.announce):
        step()
    run = open_run("02_upload", names)
    run.plan_upload()
    run.upload()
    run = open_run("03_reconcile", names)
    for step in (run.fetch_missing, run.balance, run.compare, run.totals):
        step()
    return str(run.verdict())
