"""Every notebook in JupyterLab's own page, as its defaults are: all cells run, nothing fails, and it looks right by day and by night."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import ROOT, Browser, Lab, Page, looks, shoot

NOTEBOOKS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
_ENDED = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(one => one.textContent);
    const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
    return prompts.length > 0 && !prompts.some(one => one.includes('*')) && (failed || prompts.every(one => /\\d/.test(one)))
        && !!document.querySelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]');
}"""


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A page that reaches this machine and nothing else."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    away: list[str] = []
    opened.on(
        "request", lambda request: away.append(request.url) if "://127.0.0.1" not in request.url else None
    )
    yield opened
    opened.close()
    assert not [url for url in away if url.startswith(("http", "ws"))]


def open_notebook(page: Page, lab: Lab, name: str) -> None:
    page.goto(f"{lab.url}/lab/tree/lab/{name}.ipynb?reset&token={lab.token}")
    page.wait_for_selector(
        '.jp-StatusBar-TextItem:has-text("| Idle")', timeout=60_000
    )  # the kernel has answered


def run_all(page: Page) -> None:
    """Run › Run All Cells, to the end; then the notebook is saved."""
    page.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
    page.wait_for_function(_ENDED, polling=300, timeout=180_000)
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")


def code(lab: Lab, name: str) -> list[Any]:
    """The code cells of a notebook as the lab saved it."""
    return [
        cell for cell in nbformat.read(lab.notebooks / f"{name}.ipynb", 4).cells if cell.cell_type == "code"
    ]


def assert_well(cells: list[Any]) -> None:
    for cell in cells:
        assert cell.execution_count, cell.source
        kinds = [output.output_type for output in cell.outputs]
        assert "error" not in kinds, cell.outputs
        assert "stream" not in kinds, (
            cell.outputs
        )  # progress is one display that changes, and nothing else prints
        assert "Traceback" not in json.dumps(cell.outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom_with_its_defaults_and_can_be_read(
    name: str, page: Page, lab: Lab, tmp_path: Path
) -> None:
    open_notebook(page, lab, name)
    run_all(page)
    assert_well(code(lab, name))
    outputs = page.locator(".jp-Notebook")
    found = {}
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
        found[theme] = [one for part in page.locator(".jp-OutputArea-output").all() for one in looks(part)]
        shoot(page, tmp_path / f"{name} {theme}.png")
    assert outputs.count() == 1
    assert found == {"JupyterLab Light": [], "JupyterLab Dark": []}


def test_progress_of_long_work_is_one_display_that_was_changed_in_place(lab: Lab) -> None:
    shown = [cell.outputs[0] for cell in code(lab, "01_extract") if cell.source == "run.extract()"]
    assert [output.output_type for output in shown] == ["display_data"]
    assert re.fullmatch(
        r"extract product_price: [\d,]+ rows, [\d.]+ s, [\d,]+ rows/s", shown[0].data["text/plain"]
    )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_run_all_a_second_time_resumes(name: str, page: Page, lab: Lab) -> None:
    open_notebook(page, lab, name)
    run_all(page)
    cells = code(lab, name)
    assert_well(cells)
    told = json.dumps([cell.outputs for cell in cells])
    resumed = {
        "01_extract": "already extracted",
        "02_upload": "every batch is settled",
        "03_reconcile": "complete with exceptions",
    }
    assert resumed.get(name, "") in told


def test_git_sees_nothing_of_a_lab_session(lab: Lab) -> None:
    changed = subprocess.run(
        ["git", "status", "--porcelain", "notebooks"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert changed.stdout == ""
    assert (
        re.search("Traceback", "".join(path.read_text() for path in lab.outputs.rglob("log.jsonl"))) is None
    )
