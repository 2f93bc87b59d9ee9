"""docs/images anew: each notebook as papermill leaves it, and the report; and what is wrong with how they look. ``make screenshots``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import CHROMIUM, ROOT, Browser, chromium, looks, shoot

from ora2sf.notebooks import execute
from ora2sf_demo.servers import servers

IMAGES = ROOT / "docs/images"
PRODUCTS, LINES = 100_000, 20_000
#: Notebook → the heading at which its picture begins, and how many pixels it goes down.
CUTS = {
    "00_plan": ("Live counts", 1000),
    "01_extract": ("Read, convert, stage", 1250),
    "02_upload": ("Upload", 1060),
    "03_reconcile": ("The balance", 1180),
    "04_retry": ("What waits", 760),
    "05_campaign": ("Slices", 1000),
    "90_rollback": ("What would be deleted", 640),
}
_REPORT = 1000
CAMPAIGN, TABLES = "history", ("kps_r_pos_supplier", "kps_r_email_tenant", "kps_t_preinv", "kps_t_preinv_detail", "kps_t_sales_m")  # fmt: skip
_WIDE, _TELEPHONE = 1100, 390


def main() -> int:
    """Runs everything once on servers of its own; 1 if something does not look right."""
    if CHROMIUM is None:
        print(
            "Chromium is not installed (Debian: apt install chromium): no pictures are made.", file=sys.stderr
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="ora2sf_") as home, chromium() as browser:
        folder = Path(home)
        with servers(folder / "state", PRODUCTS, LINES) as connections:
            os.environ |= {"ORA2SF_CONNECTIONS": str(connections), "ORA2SF_HOME": str(ROOT)}
            found = _notebooks(browser, folder / "outputs")
        found += _reports(browser, folder / "outputs")
    print("\n".join(found) or "Nothing is clipped, empty or hard to read.")
    return 1 if found else 0


def _notebooks(browser: Browser, outputs: Path) -> list[str]:
    found = []
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(source.stem, flush=True)
        folder = outputs / "executed"
        given = {"outputs": str(outputs)}
        if source.stem == "05_campaign":
            _campaign(outputs)
            given["run_id"] = CAMPAIGN
        execute(source.stem, folder, given, progress_bar=False)
        found += _picture(
            browser, folder / f"{source.stem}.html", source.stem, *CUTS.get(source.stem, ("", _REPORT))
        )
    return found


def _campaign(outputs: Path) -> None:
    """A campaign of some tables, planned, frozen and carried out."""
    print(f"{CAMPAIGN}: {', '.join(TABLES)}", flush=True)
    line = ["run", *TABLES, "--run-id", CAMPAIGN, "--outputs", str(outputs)]
    ended = subprocess.run([sys.executable, "-m", "ora2sf", *line], stdout=subprocess.DEVNULL, check=False)
    if ended.returncode not in {0, 3}:  # the source has rows that no org takes, which 3 says
        raise SystemExit(f"ora2sf {' '.join(line)} ended with {ended.returncode}.")


def _reports(browser: Browser, outputs: Path) -> list[str]:
    """The reports of the slice and of the campaign, on a telephone, too."""
    found = _picture(browser, outputs / "demo/product_price/report.html", "report", "", _REPORT)
    found += _looks(browser, outputs / "demo/product_price/report.html", _TELEPHONE)
    page = outputs / CAMPAIGN / "campaign/report.html"
    return found + _picture(browser, page, "campaign_report", "", _REPORT) + _looks(browser, page, _TELEPHONE)


def _picture(browser: Browser, page: Path, name: str, heading: str, height: int) -> list[str]:
    with browser.new_page(viewport={"width": _WIDE, "height": 900}) as opened:
        opened.goto(page.as_uri())
        top = opened.get_by_role("heading", name=heading, exact=True).bounding_box() if heading else None
        shoot(opened, IMAGES / f"{name}.png", top=int(top["y"]) - 12 if top else 0, height=height)
        return [f"{name}: {one}" for one in looks(opened.locator("body"))]


def _looks(browser: Browser, page: Path, width: int) -> list[str]:
    with browser.new_page(viewport={"width": width, "height": 900}) as opened:
        opened.goto(page.as_uri())
        return [f"{page.parent.name}, {width} px wide: {one}" for one in looks(opened.locator("body"))]


if __name__ == "__main__":
    sys.exit(main())
