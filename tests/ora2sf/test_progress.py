"""Progress: one display that changes in place in the lab, a line every few seconds elsewhere, and never silence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from ora2sf import progress as subject
from ora2sf.progress import duration, progress

WORK = """
from ora2sf import progress
progress.LINES = progress.IN_PLACE = 0.05
with progress.progress("extract t", "rows") as bar:
    bar.reset(10**12)
    while bar.told < 4:
        bar.update(3)
"""
STATE = r"extract t: [\d,]+ of 1,000,000,000,000 rows \(0 %\), [\d,]+ rows/s, [\d.]+ s, about .* left"
END = r"extract t: [\d,]+ rows, [\d.]+ s, [\d,]+ rows/s"


def executed(folder: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> list[Any]:
    """Outputs of the work in a kernel that was started from within JupyterLab."""
    monkeypatch.setenv(subject.LAB_VARIABLE, "lab/01_extract.ipynb")
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WORK)])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, str(folder / "in.ipynb"))
    done = papermill.execute_notebook(
        str(folder / "in.ipynb"), str(folder / "out.ipynb"), engine_name=engine, progress_bar=False
    )
    outputs: list[Any] = done.cells[-1].outputs
    return outputs


def test_in_batch_progress_is_a_line_now_and_then_in_one_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output,) = executed(tmp_path, monkeypatch, "ora2sf")
    assert output.output_type == "stream"
    *states, end = output.text.splitlines()
    assert 4 <= len(states) <= 6
    assert all(re.fullmatch(STATE, line) for line in states), states
    assert re.fullmatch(END, end)


def test_in_the_lab_progress_is_one_display_that_is_changed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output,) = executed(
        tmp_path, monkeypatch, "nbclient"
    )  # papermill's own, which leaves the kernel's environment
    assert output.output_type == "display_data"
    assert re.fullmatch(END, output.data["text/plain"])  # the last state; those before it are gone
    assert "<progress" not in output.data["text/html"]


def test_a_day_of_work_is_some_hundred_lines_and_never_silent_for_more_than_a_minute() -> None:
    elapsed, pauses = 0.0, []
    while elapsed < 24 * 3600:
        pauses.append(subject._Lines.pause(elapsed))
        elapsed += pauses[-1]
    assert pauses[0] == subject.LINES == 5
    assert max(pauses) == subject.SLOWEST == 60
    assert len(pauses) < 2_000


def test_work_of_an_instant_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("look", "rows", 5) as bar:
        bar.update(5)
    assert capsys.readouterr().out == ""


def test_work_without_numbers_is_shown_too_and_says_what_it_waits_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LINES", 0.01)
    with progress("write the report") as bar:
        bar.note = lambda: "3 jobs in flight"
        while bar.told < 2:
            pass
    first, *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"write the report: [\d.]+ s(, 3 jobs in flight)?", first)
    assert re.fullmatch(r"write the report: [\d.]+ s", last)


def test_work_that_was_interrupted_says_how_far_it_came(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LINES", 0.01)

    def work() -> None:
        with progress("upload", "rows", 1_000) as bar:
            bar.update(400)
            while not bar.told:
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("upload: 400 of 1,000 rows (40 %)")
    assert re.fullmatch(r"upload: stopped after 400 rows, [\d.]+ s, [\d,]+ rows/s", last)


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.24, "4.2 s"), (80, "80 s"), (720, "12 min"), (11_100, "3 h 05 min")]
)
def test_a_duration_is_said_as_a_person_would(seconds: float, said: str) -> None:
    assert duration(seconds) == said
