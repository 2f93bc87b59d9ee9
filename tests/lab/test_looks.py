"""What looks wrong is found, each kind of it, and what looks right is not."""

from __future__ import annotations

import pytest
from browser import Browser, looks

WELL = """<h1>Rows</h1><p>All 5 are there.</p>
<svg role="img" aria-label="Rows" viewBox="0 0 100 40" width="200"><rect width="20" height="20"/><text x="30" y="15" font-size="10">5</text></svg>"""


def found(browser: Browser, body: str) -> list[str]:
    with browser.new_page(viewport={"width": 1100, "height": 800}) as page:
        page.set_content(f"<!doctype html><body>{body}</body>")
        return looks(page.locator("body"))


def test_a_page_that_looks_right_has_no_findings(browser: Browser) -> None:
    assert found(browser, WELL) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<div style="width:50px;overflow:hidden;white-space:nowrap">a text that is too long for it</div>', "clipped at its side"),
        ('<div style="height:10px;overflow:hidden">a<br>b<br>c</div>', "clipped below"),
        ('<div style="overflow-x:auto"><table><tr><td style="min-width:2000px">x</table></div>', "wider than its place"),
        ('<div style="width:1500px;text-align:right"><span style="position:absolute;left:1200px">away</span></div>', "beyond the right edge"),
        ('<img alt="a plot" src="data:image/png;base64,">', "did not load"),
        ('<svg role="img" aria-label="a" width="0" viewBox="0 0 9 9"><rect width="5" height="5"/></svg>', "has no size"),
        ('<svg role="img" aria-label="Rates" width="90" height="90"></svg>', "an empty picture: Rates"),
        ('<svg role="img" width="90" height="90"><rect width="5" height="5"/></svg>', "has no text for those who do not see it"),
        ("<table><thead><tr><th>a</th></tr></thead><tbody></tbody></table>", "an empty table"),
        ("<figure></figure>", "empty"),
        ('<p style="font-size:9px">small</p>', "too small (9.0 px)"),
        ('<svg viewBox="0 0 200 50" width="100"><rect width="9" height="9"/><text y="20" font-size="14">small</text></svg>', "too small (7.0 px)"),
        ('<p style="color:#999">pale</p>', "hard to read (2.8 : 1)"),
        ('<div style="background:#111"><p style="color:#333">dark</p></div>', "hard to read"),
        ('<p style="opacity:.4">pale</p>', "hard to read"),
        ('<svg viewBox="0 0 100 50" width="300"><rect width="9" height="9"/><text x="80" y="20">outside</text></svg>', "outside its picture"),
        ('<svg viewBox="0 0 100 50" width="300"><rect width="9" height="9"/><text x="9" y="20">one</text><text x="12" y="22">two</text></svg>', "overlapping"),
    ],
)  # fmt: skip
def test_what_looks_wrong_is_found(browser: Browser, body: str, said: str) -> None:
    assert any(one.startswith(said) for one in found(browser, body)), found(browser, body)
