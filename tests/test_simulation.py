"""A whole campaign without a row: it comes to its end inside the limits, and a scheduler that ignores them does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ora2sf.campaign import Used
from ora2sf.plan import Need
from ora2sf_demo.simulate import simulate


def test_a_campaign_of_a_year_ends_inside_every_limit_and_its_calendar_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(tmp_path / "c", years=1, scale=100) == 0
    told = capsys.readouterr().out
    assert "1,601,622 rows in 50 slices and 48 jobs, by their ledgers" in told
    assert "No limit was passed on any day, and every slice came to its end." in told
    assert "2026-01-05" in told
    assert "2026-01-06" in told


def test_a_scheduler_that_does_not_count_is_found_out_by_the_org(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Used, "room", lambda *_: Need(batches=10**9, records=10**9, calls=10**9))
    monkeypatch.setattr("ora2sf_demo.simulate.Simulated.known", lambda _: None)
    assert simulate(tmp_path / "c", years=1, scale=100) == 1
    told = capsys.readouterr().out
    assert "the org refused kps_t_sales" in told
    assert "is more than" in told
