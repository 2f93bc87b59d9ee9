"""Chromium without a window: pages opened as a person would see them, and what is wrong with how they look."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / ".browser"))  # behind everything else: this environment's own packages win

from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, Locator, Page, sync_playwright  # noqa: E402

#: Debian calls it chromium, others otherwise.
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
_LOOKS = (Path(__file__).parent / "looks.js").read_text(encoding="utf-8")
_MOST_BYTES = 300_000


@dataclass(frozen=True)
class Lab:
    """Where the lab is: its address with the token, its notebooks, and its runs."""

    url: str
    token: str
    notebooks: Path
    outputs: Path


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


def looks(part: Locator) -> list[str]:
    """What is clipped, empty, too small, too pale, or overlaps in a part of a page."""
    found: list[str] = part.evaluate(_LOOKS)
    return found


def shoot(page: Page, path: Path, *, top: int = 0, height: int | None = None) -> None:
    """A picture of the page from ``top`` on, ``height`` pixels of it; colours are reduced until it is small."""
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture = picture.crop((0, top, picture.width, min(top + (height or picture.height), picture.height)))
    for colours in (256, 128, 64, 32):
        small = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        if small.tell() <= _MOST_BYTES:
            break
    path.write_bytes(small.getvalue())
