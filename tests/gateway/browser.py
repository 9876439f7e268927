"""A real browser for tests: Debian's chromium, driven by playwright, which brings none of its own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

PATIENCE_MS = 30_000
"""Of a machine that has other things to do."""
NAMED = {
    "button",
    "link",
    "textbox",
    "searchbox",
    "slider",
    "image",
    "dialog",
    "region",
    "navigation",
    "progressbar",
    "table",
}
"""Roles of what nobody can use, or find, who is not told what it is."""


def binary() -> str:
    """Return where chromium is, or skip the test."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium: install it (apt-get install chromium) to run this test")
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    executable = binary()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def clean_page(browser: Browser) -> Iterator[Page]:
    """Give a page; once it is left, the browser has complained of nothing but that a key was missing or wrong.

    It would of exceptions, of what the page's policy refuses, and of what cannot be loaded.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    try:
        yield page
        assert [text for text in complaints if "status of 401" not in text] == []
    finally:
        page.close()


def nameless(page: Page) -> list[str]:
    """Return the roles of what a screen reader is told no name of, by chromium's own reckoning."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED]
    assert shown
    return [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")]
