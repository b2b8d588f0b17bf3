"""What axe, which knows the rules of accessible pages, says of a page."""

from typing import Any

from playwright.sync_api import Page

from tests.support.server import ROOT

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"


def complaints(page: Page) -> list[Any]:
    """All that axe finds wrong, in short. It is run beside the page's policy, as an extension would be."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
