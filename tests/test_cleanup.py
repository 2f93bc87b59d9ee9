"""``ora2sf cleanup``: staged data goes after the verdict; what an auditor needs stays, and every command says what is gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mending import BAD, GOOD, Mending, mending
from ora2sf import cli, events, evidence
from ora2sf.cleanup import after_campaign, clean_run
from ora2sf.errors import Exit, LedgerError
from ora2sf.ledger import Ledger


@pytest.fixture
def place(oracle_and_rows: Any, tmp_path: Path) -> Iterator[Mending]:
    with mending(oracle_and_rows[0], tmp_path, GOOD) as found:
        yield found


@pytest.fixture(scope="module")
def made(oracle_and_rows: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mending]:
    """A slice that was proven; tests work on copies of it."""
    with mending(oracle_and_rows[0], tmp_path_factory.mktemp("made"), GOOD) as found:
        found.load()
        reconciled(found)
        yield found


@pytest.fixture
def proven(made: Mending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mending:
    home = Path(shutil.copytree(made.home, tmp_path / "home"))
    monkeypatch.setenv("ORA2SF_HOME", str(home))
    return Mending(home, made.org, made.environment)


def reconciled(place: Mending, **parameters: Any) -> None:
    run = place.open("03_reconcile", **parameters)
    run.fetch_missing()
    run.balance()
    run.compare()
    run.verdict()


def command(*arguments: object) -> int:
    return cli.main([str(one) for one in arguments])


def there(place: Mending) -> set[str]:
    found = {path.relative_to(place.folder).as_posix() for path in place.folder.rglob("*") if path.is_file()}
    return found - {"log.jsonl", "status.json"}


def test_without_yes_it_shows_what_would_go_and_removes_nothing(
    proven: Mending, capsys: pytest.CaptureFixture[str]
) -> None:
    before = there(proven)
    assert command("cleanup", proven.folder.parent) == Exit.COMPLETE
    said = capsys.readouterr().out
    assert there(proven) == before
    assert "item   proven" in said
    assert "would go" in said
    assert said.endswith("Nothing was removed: add --yes.\n")


def test_after_a_proven_verdict_staged_data_goes_and_everything_an_auditor_needs_stays(
    proven: Mending, capsys: pytest.CaptureFixture[str]
) -> None:
    before = there(proven)
    kept = {name: (proven.folder / name).read_bytes() for name in before if not evidence.may_go(name)}
    assert command("cleanup", proven.folder.parent, "--yes") == Exit.COMPLETE
    assert {name.split("/")[1] for name in before - there(proven)} == {"data", "target"}
    assert not list((proven.folder / "salesforce/data").iterdir())
    del kept["ledger.sqlite"]  # notes what was done
    assert {name: (proven.folder / name).read_bytes() for name in kept} == kept
    assert any(name.endswith("_success.csv") for name in kept)
    assert {"report.json", "report.html", "comparison.json", "preflight.json"} <= set(kept)
    capsys.readouterr()
    assert command("verify", proven.folder.parent) == Exit.COMPLETE
    said = capsys.readouterr().out
    assert "Staged data of 1 slice was removed after the verdict (ora2sf cleanup)." in said
    assert "Nothing has changed." in said
    listed = evidence.report(proven.folder)
    assert listed is not None
    hashes = {one["path"]: one["sha256"] for one in listed["files"]["entries"]}
    assert all(len(hashes[name]) == 64 for name in before - there(proven))


def test_verify_still_finds_what_was_changed_or_lost_afterwards(proven: Mending) -> None:
    clean_run(proven.folder, remove=True)
    success = next(proven.logs.glob("*_success.csv"))
    success.unlink()
    assert evidence.verify(proven.folder).problems == {
        success.relative_to(proven.folder).as_posix(): "missing"
    }


def test_every_command_afterwards_says_that_the_data_is_gone_and_what_to_do(
    proven: Mending, capsys: pytest.CaptureFixture[str]
) -> None:
    report = (proven.folder / "report.json").read_bytes()
    command("cleanup", proven.folder.parent, "--yes")
    capsys.readouterr()
    for step in ("01_extract", "02_upload", "03_reconcile"):
        with pytest.raises(
            LedgerError, match=r"(?s)was removed on .* after the verdict proven.*Nothing is left to do"
        ):
            proven.open(step)
    with pytest.raises(LedgerError, match=r"(?s)was removed on .* load them with a new run_id"):
        proven.open("04_retry")
    assert command("status", proven.folder.parent) == Exit.COMPLETE
    assert "its staged data was removed on" in capsys.readouterr().out
    assert command("report", proven.folder.parent) == Exit.COMPLETE
    assert "proven" in capsys.readouterr().out
    assert (proven.folder / "report.json").read_bytes() == report
    assert command("cleanup", proven.folder.parent, "--yes") == Exit.COMPLETE
    assert "nothing is left to remove" in capsys.readouterr().out
    (line,) = (one for one in events.read(proven.folder / "log.jsonl") if one["event"] == "data_removed")
    assert (line["step"], line["verdict"]) == ("cleanup", "proven")


def test_a_run_can_be_rolled_back_after_its_data_was_removed(place: Mending) -> None:
    place.load()
    reconciled(place)
    clean_run(place.folder, remove=True)
    assert "Verdict: rolled back." in place.rolled_back()
    assert list(place.org.rows("Item__c")) == []


def test_what_is_not_proven_stays_unless_somebody_says_so(
    place: Mending, oracle_and_rows: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from mending import fill

    fill(oracle_and_rows[0], GOOD + BAD)
    place.load()
    before = there(place)
    assert command("cleanup", place.folder, "--yes", "--also-unproven") == Exit.FAILED
    assert "not reconciled: without its staged data nobody could go on" in capsys.readouterr().out
    assert there(place) == before
    reconciled(place)
    assert command("cleanup", place.folder, "--yes") == Exit.FAILED
    assert "complete with exceptions is no proof: --also-unproven removes it" in capsys.readouterr().out
    assert command("cleanup", place.folder, "--yes", "--also-unproven") == Exit.COMPLETE
    assert not list((place.folder / "salesforce/data").iterdir())
    with pytest.raises(LedgerError, match="after the verdict complete with exceptions"):
        place.open("04_retry")


def test_a_verdict_is_none_any_more_when_something_was_sent_after_it(proven: Mending) -> None:
    with Ledger(proven.folder / "ledger.sqlite") as ledger:
        ledger.intend(1)
    (found,) = clean_run(proven.folder, also_unproven=True, remove=True)
    assert found.refusal.startswith("not reconciled")
    assert not found.removed


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("salesforce/data/item_00001.csv.gz", "(changed)"),
        ("report.json", "report.json is changed"),
        ("salesforce/logs", "(missing)"),
    ],
)
def test_nothing_goes_from_a_slice_whose_files_are_not_as_the_report_says(
    proven: Mending, name: str, problem: str
) -> None:
    path = proven.folder / name
    if path.is_dir():
        next(path.glob("*_success.csv")).unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    before = there(proven)
    (found,) = clean_run(proven.folder, remove=True)
    assert problem in found.refusal
    assert there(proven) == before


def test_nothing_goes_while_a_process_holds_the_slice(proven: Mending) -> None:
    with Ledger(proven.folder / "ledger.sqlite") as ledger, ledger.claimed():
        (found,) = clean_run(proven.folder, remove=True)
    assert found.refusal.startswith(f"held by process {os.getpid()}")


def test_keys_stay_as_long_as_another_slice_of_the_run_may_look_into_them(proven: Mending) -> None:
    other = proven.folder.parent / "child"
    other.mkdir()
    Ledger(other / "ledger.sqlite").close()
    chosen, refused = clean_run(proven.folder.parent, remove=True)[::-1]
    assert (chosen.waiting, chosen.removed) == (("child",), True)
    assert refused.refusal
    assert [path.name for path in (proven.folder / "salesforce/data").iterdir()] == ["item_keys.parquet"]
    assert evidence.verify(proven.folder).problems == {}
    (other / "status.json").write_text(json.dumps({"step": "03_reconcile", "state": "complete"}))
    (again,) = clean_run(proven.folder, remove=True)
    assert (again.waiting, len(again.files)) == ((), 1)
    assert not list((proven.folder / "salesforce/data").iterdir())


def test_a_removal_that_was_killed_looks_like_one_and_goes_on(
    proven: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, gone = Path.unlink, []

    def killed(path: Path, **given: Any) -> None:
        if gone:
            raise KeyboardInterrupt
        gone.append(path)
        unlink(path, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            clean_run(proven.folder, remove=True)
    assert evidence.verify(proven.folder) == evidence.Checked(evidence.verify(proven.folder).files, {}, 1)
    with pytest.raises(LedgerError, match="was removed on"):
        proven.open("02_upload")
    (rest,) = clean_run(proven.folder, remove=True)
    assert rest.removed
    assert not list((proven.folder / "salesforce/data").iterdir())


def test_a_campaign_ends_with_the_staged_data_of_its_proven_slices_removed(proven: Mending) -> None:
    run = proven.folder.parent
    (run / "child").mkdir()
    Ledger(run / "child/ledger.sqlite").close()
    said = after_campaign(run, ["item", "child", "not_begun"])
    assert said.startswith("Staged data of 1 of 2 slice(s) was removed: ")
    assert said.endswith("says why others keep theirs.")
    assert not list((proven.folder / "salesforce/data").glob("*.csv.gz"))
    assert after_campaign(run, ["not_begun"]) == "Staged data of 0 of 0 slice(s) was removed: 0.0 MB."


def test_a_table_that_is_not_there_is_an_error(proven: Mending, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("cleanup", proven.folder.parent, "itme") == Exit.FAILED
    assert "There is no slice itme.\nNext step: There are: item." in capsys.readouterr().err


def test_the_key_of_each_id_that_a_delete_names_stays() -> None:
    assert evidence.may_go("salesforce/data/item_00001.csv.gz")
    assert evidence.may_go("salesforce/data/tmp/x")
    assert evidence.may_go("salesforce/target/p1.csv.gz")
    assert not evidence.may_go("salesforce/data/item_00001.ids.csv")
    assert not evidence.may_go("salesforce/logs/Item__c_750_success.csv")
    assert not evidence.may_go("report.json")
