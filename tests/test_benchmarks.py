"""The benchmarks run, say what they measure, and keep what they print; how fast anything is stands in no test."""

from __future__ import annotations

import re
import subprocess
import sys
from types import ModuleType

import pytest

from world import ROOT

BENCH = ROOT / "bench"
#: What a Makefile's target runs.
SCRIPTS = dict(
    re.findall(r"^(bench-[a-z-]+): .*\n\t@\$\(BENCH\)/(\w+\.py)", (ROOT / "Makefile").read_text(), re.M)
)
DOCUMENT = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import measuring

    return measuring


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCH / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", sorted(SCRIPTS.values()))
def test_every_benchmark_says_what_it_measures_and_can_keep_its_table(script):
    said = run(script, "--help")
    assert f"python bench/{script}" in said
    assert "--keep" in said


@pytest.mark.parametrize("target", sorted(SCRIPTS))
def test_every_benchmark_is_described(target):
    assert f"make {target}" in DOCUMENT


def test_the_results_that_the_document_names_are_kept():
    named = re.findall(r"\.\./bench/results/[\w.-]+", DOCUMENT)
    assert named
    for link in named:
        assert (ROOT / "docs" / link).is_file(), link


def test_the_extraction_is_compared_on_a_small_table_and_its_stages_are_counted():
    said = run("extract.py", "--rows", "2000", "--rounds", "1", "--without-others")
    for name in ("ours", "driver alone"):
        assert re.search(rf"^{name} +\d+\.\d\d", said, re.M), said
    assert re.search(r"ours .* of the driver's speed", said)
    for stage in (
        "driver: decode",
        "conversion",
        "encode as CSV",
        "gzip",
        "hash and write",
        "profile",
        "keys",
        "ledger",
    ):
        assert re.search(rf"^  {re.escape(stage)} +\d", said, re.M), said


def test_the_three_notebooks_steps_are_measured_from_end_to_end():
    said = run("end_to_end.py", "--rows", "500")
    for step in ("01_extract", "02_upload", "03_reconcile", "all three"):
        assert re.search(rf"^ +500  {step} +\d+\.\d\d", said, re.M), said


def test_what_a_benchmark_prints_is_kept_with_day_machine_versions_and_command(
    measuring, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    with measuring.kept("some", keep=True):
        print("the table")
    (path,) = tmp_path.iterdir()
    text = path.read_text(encoding="utf-8")
    assert re.fullmatch(r"some-\d{4}-\d\d-\d\d\.md", path.name)
    assert "the table" in text
    assert "the table" in capsys.readouterr().out
    for part in (r"\d+ × .*GiB.*load at the start", r"Python 3\.\d+.*polars \d", r"\$ python bench/some\.py"):
        assert re.search(part, text), text


def test_without_keep_nothing_is_written(measuring, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    with measuring.kept("some", keep=False):
        print("the table")
    assert not list(tmp_path.iterdir())


def test_the_ratios_are_of_the_medians_and_name_nothing_beside_ours(measuring, capsys):
    runs = {
        "ours": [{"wall": wall, "cpu": 2.0, "peak": 100.0} for wall in (1.0, 2.0, 9.0)],
        "theirs": [{"wall": wall, "cpu": 8.0, "peak": 50.0} for wall in (4.0, 6.0, 7.0)],
    }
    measuring.show(runs, 1_000, "ours")
    _, ours, theirs = capsys.readouterr().out.splitlines()
    assert ours.split() == ["ours", "2.00", "1.00", "9.00", "2.00", "500", "100"]
    assert theirs.split()[-3:] == ["3.00", "4.00", "0.50"]
