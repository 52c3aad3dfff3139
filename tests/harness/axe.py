"""Runs axe-core in a page, for WCAG 2.2 at level AA."""

from __future__ import annotations

from typing import Any, Final

from playwright.async_api import Page

from tests.harness.paths import TESTS

AXE: Final = TESTS / "node" / "node_modules" / "axe-core" / "axe.min.js"
SIZES: Final = ((320, 640), (390, 844), (1280, 800))
RUN: Final = """async (runOnly) => {
    const rules = runOnly ? {} : { "label-content-name-mismatch": { enabled: true }, "target-size": { enabled: true } };
    runOnly ??= ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    const found = await axe.run(document, { runOnly, rules, resultTypes: ["violations"], preload: false });
    return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => [id, node.html, node.failureSummary]));
}"""
"""The two named rules are of WCAG 2.2 AA, and off by default."""
CONTRAST: Final = ("color-contrast",)
ALL: Final = [(size, theme, rules) for size in SIZES for theme, rules in (("light", None), ("dark", CONTRAST))]
"""Size, theme, and the rules, None for all: themes differ only in colours."""
FEW: Final = [(SIZES[0], "light", None), (SIZES[-1], "dark", CONTRAST)]
PAINTED: Final = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def axe_missing() -> bool:
    return not AXE.is_file()


async def violations(page: Page, *, everywhere: bool) -> list[Any]:
    """Those of the page as it is: width, theme, rule, HTML, explanation. `everywhere`: at each size in both themes,
    else the smallest and the largest size in one."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text())
    size = page.viewport_size
    found: list[Any] = []
    for (width, height), theme, rules in ALL if everywhere else FEW:
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("(theme) => (document.documentElement.dataset.theme = theme)", theme)
        await page.evaluate(PAINTED)
        found += [[width, theme, *each] for each in await page.evaluate(RUN, rules)]
    if size is not None:
        await page.set_viewport_size(size)
    return found
