"""Pictures of the console for the documentation, and how long it takes to load: `python -m tests.gateway.picture`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from memsvc_client import Entry, MemoryClient
from playwright.sync_api import Page, expect

from tests.gateway.browser import browsing, clean_page
from tests.gateway.http import url
from tests.serving import Server

IMAGES = Path(__file__).parents[2] / "docs" / "images"
QUESTION = "How do I get into the house?"
NOTES = [
    "Where did you leave the spare key?",
    "Under the third flower pot, behind the shed.",
    "The boiler was serviced by Mr Okafor in March.",
    "<b>Markup</b> is shown as what it is.",
    "Tea at four, no milk for Ada.",
    "Flower pots are cheaper at the market.",
    "Mr Okafor keeps a key to the house for emergencies.",
]
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def main() -> None:
    """Write them, with the encoder that a server has by default."""
    with TemporaryDirectory() as directory:
        settings = {"http_port": 0, "console": "true", "encoder": "minilm"}
        with Server(Path(directory) / "data", **settings) as server, server.client() as client, browsing() as browser:
            write(client)
            with clean_page(browser) as page:
                page.goto(f"{url(server)}/console/")
                times = [loaded(page) for _ in range(10)]
                print(f"loads in {sorted(times)[5]:.0f} ms (the median of ten, {min(times):.0f} to {max(times):.0f})")
                entries(page)
                recall(page)
                live(page, client)


def write(client: MemoryClient) -> None:
    """Write the notes, each as a record of its own."""
    client.create_tenant("ada")
    for i, text in enumerate(NOTES):
        client.write("ada", [Entry(text, id=f"note-{i}", session="notes", role="user")], wait="applied")


def loaded(page: Page) -> float:
    """Load the page; return the milliseconds until all of it was there."""
    page.reload(wait_until="load")
    expect(page.get_by_role("link", name="ada")).to_be_visible()
    return float(page.evaluate(LOADED))


def entries(page: Page) -> None:
    """A tenant's entries at a moment of the past."""
    page.get_by_role("link", name="ada").click()
    page.get_by_role("slider", name="Moment").press("ArrowLeft")
    expect(page.get_by_role("status")).to_contain_text("as of record")
    take(page, "console-entries")


def recall(page: Page) -> None:
    """A question, and what cosine alone would have found."""
    page.get_by_role("link", name="Recall").click()
    page.get_by_role("slider", name="Moment").press("End")
    page.get_by_label("Question").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("hits")
    take(page, "console")


def live(page: Page, client: MemoryClient) -> None:
    """Figures and events as they come."""
    page.get_by_role("link", name="Live").click()
    for i in range(20):
        client.write("ada", f"{NOTES[i % len(NOTES)]} It was said {i} times before that. " * 10, wait="applied")
        page.wait_for_timeout(500)
    client.hot_restart("ada")
    client.write("ada", "A change of subject: the ferry leaves at noon. " * 20, wait="applied")
    expect(page.get_by_role("cell", name="restart", exact=True)).to_be_visible()
    page.wait_for_timeout(5_000)
    take(page, "console-live")


def take(page: Page, name: str) -> None:
    """Write a picture of what is shown."""
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
