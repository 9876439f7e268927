"""A real browser for tests: Debian's chromium, driven by playwright, which brings none of its own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, sync_playwright


def binary() -> str:
    """Return where chromium is, or skip the test."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium: install it (apt-get install chromium) to run this test")
    return found


@contextmanager
def browsing() -> Iterator[Page]:
    """Give a page; once it is left, nothing went wrong in it that it did not expect.

    What it complains of is in `page.complaints`: exceptions, refusals by its policy, and everything else that the
    browser's console calls an error.
    """
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary(), args=["--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(10_000)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        try:
            yield page
            assert complaints == []
        finally:
            browser.close()
