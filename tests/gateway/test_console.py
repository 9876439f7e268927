"""The console's page, in a real browser and as it is sent."""

from collections.abc import Iterator

import pytest
from memsvc_client import Entry, NotFoundError
from playwright.sync_api import Browser, Page, Route, expect
from pydantic import ValidationError

from memsvc.server.config import Settings
from tests.gateway.browser import browsing, clean_page, nameless
from tests.gateway.http import http, problem, url
from tests.serving import Server

ADMIN = "an-administrators-key-of-the-file-0123456789"
MARKUP = "<img src=x onerror=alert(1)> the shed <b>needs</b> paint"
TEXTS = {
    "key-1": "Where did you leave the spare key?",
    "key-2": "Under the third flower pot.",
    "boiler": "The boiler was serviced by Mr Okafor.",
    "markup": MARKUP,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("admin") / "key"
    file.write_text(ADMIN)
    settings = {"http_port": 0, "console": "true", "auth": "true", "auth_admin_key_file": file}
    with Server(tmp_path_factory.mktemp("console") / "data", **settings) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def client(server) -> Iterator:
    with server.client(api_key=ADMIN) as client:
        yield client


@pytest.fixture
def tenant(client, request) -> str:
    """A tenant of the test's own, each entry of which has a record of its own."""
    name = f"test/{request.node.name}"
    client.create_tenant(name)
    for id, text in TEXTS.items():
        client.write(name, [Entry(text, id=id, session="notes", role="user")], wait="applied")
    return name


@pytest.fixture
def page(server, browser) -> Iterator[Page]:
    """The page, at its question for a key."""
    with clean_page(browser) as page:
        page.goto(f"{url(server)}/console")
        yield page


def sign_in(page: Page, key: str = ADMIN) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def look(page: Page, tenant: str, view: str = "Entries") -> None:
    """Sign in, and open a view of a tenant."""
    sign_in(page)
    page.get_by_role("link", name=tenant).click()
    if view != "Entries":
        page.get_by_role("navigation").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", name=f"{view} of {tenant}")).to_be_focused()


def test_a_wrong_key_is_refused_and_a_right_one_is_kept_nowhere(page, tenant) -> None:
    sign_in(page, "msk_wrong_key")
    expect(page.get_by_role("alert")).to_contain_text("credential")
    expect(page.get_by_text(tenant)).to_have_count(0)
    sign_in(page)
    expect(page.get_by_role("link", name=tenant)).to_be_visible()
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.reload()
    expect(page.get_by_label("API key")).to_be_focused()


def test_the_keyboard_alone_finds_an_entry(page, tenant) -> None:
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type(ADMIN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tenants")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type(tenant)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Entries of {tenant}")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("spare key")
    page.keyboard.press("Enter")
    first = page.get_by_role("row").nth(1)
    expect(page.get_by_role("status")).to_contain_text("4 best for “spare key”")
    expect(first).to_contain_text(TEXTS["key-1"])


def test_what_was_asked_last_is_shown_whichever_answer_comes_last(page, tenant) -> None:
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    page.route("**/entries?*", hold)
    look(page, tenant)
    page.get_by_label("Search").fill("spare key")
    page.keyboard.press("Enter")
    status = page.get_by_role("status")
    expect(status).to_contain_text("4 best for “spare key”")
    with page.expect_response("**/entries?*") as listing:
        late[0].continue_()
    listing.value.finished()
    # Time for the page to have shown it, if it would: its answers are dealt with before that of a later request.
    page.evaluate("fetch('/console/icon.svg').then(answer => answer.text())")
    assert "4 best for “spare key”" in status.inner_text()


def test_markup_in_a_text_is_shown_as_text(page, tenant) -> None:
    look(page, tenant)
    expect(page.get_by_text(MARKUP)).to_be_visible()
    assert page.locator("main img, main td b").count() == 0


def test_forget_asks_and_then_erases(page, tenant, client) -> None:
    look(page, tenant)
    forget = page.get_by_role("button", name="Forget key-2")
    forget.click()
    assert nameless(page) == []
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(forget).to_be_focused()
    assert client.get_entry(tenant, "key-2").text == TEXTS["key-2"]
    forget.click()
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    expect(page.get_by_text("bytes of text destroyed")).to_be_visible()
    expect(page.get_by_text(TEXTS["key-2"])).to_have_count(0)
    with pytest.raises(NotFoundError):
        client.get_entry(tenant, "key-2")


def test_the_slider_shows_the_past_and_a_restore_of_it_can_be_undone(page, tenant, client) -> None:
    look(page, tenant)
    expect(page.get_by_text(MARKUP)).to_be_visible()
    page.get_by_role("slider", name="Moment").press("ArrowLeft")
    expect(page.get_by_role("status")).to_contain_text("as of record")
    expect(page.get_by_text(MARKUP)).to_have_count(0)
    expect(page.get_by_text(TEXTS["boiler"])).to_be_visible()
    page.get_by_role("button", name="Restore this moment").click()
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    undo = page.get_by_role("button", name="Undo the restore")
    undo.click()
    assert [entry.id for entry in client.list_entries(tenant)] == ["key-1", "key-2", "boiler"]
    page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(page.get_by_text(MARKUP)).to_be_visible()
    expect(undo).to_have_count(0)


def test_recall_has_parts_beside_the_order_of_cosine(page, tenant) -> None:
    look(page, tenant, "Recall")
    page.get_by_label("Question").fill("spare key")
    page.keyboard.press("Enter")
    hits, alone = (page.get_by_role("table").nth(i).locator("tbody tr") for i in range(2))
    expect(hits).to_have_count(4)
    for row in hits.all():
        score, *parts = map(float, row.locator("td").all_inner_texts()[2:])
        assert score == pytest.approx(sum(parts), abs=0.03)
    by_cosine = [float(row.locator("td").nth(2).inner_text()) for row in alone.all()]
    assert len(by_cosine) == 4
    assert by_cosine == sorted(by_cosine, reverse=True)
    assert nameless(page) == []


def test_a_recall_without_a_hit_says_nothing_of_cosine(page, client) -> None:
    client.create_tenant("test/empty")
    look(page, "test/empty", "Recall")
    page.get_by_label("Question").fill("spare key")
    page.keyboard.press("Enter")
    expect(page.get_by_text("There are no hits to sort.")).to_be_visible()
    expect(page.get_by_text("Cosine tells none")).to_have_count(0)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_no_browser_can_ask_for_is_said(page, client, name) -> None:
    client.create_tenant(name)
    try:
        sign_in(page)
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("No browser can ask for a tenant")
    finally:
        client.delete_tenant(name)


def test_an_event_is_seen_arriving_in_chart_and_table(page, tenant, client) -> None:
    look(page, tenant, "Live")
    expect(page.get_by_role("img", name="Surprise and gate share")).to_be_visible()
    client.hot_restart(tenant)
    expect(page.get_by_role("cell", name="restart", exact=True)).to_be_visible()
    expect(page.locator("svg line.mark")).to_have_count(1)
    page.get_by_text("The figures as a table").press("Enter")
    expect(page.get_by_role("table", name="Figures of the last two minutes").locator("tbody tr").first).to_be_visible()
    assert nameless(page) == []


def test_the_live_view_goes_on_once_a_server_that_was_away_answers_again(server, browser, tenant, client) -> None:
    page = browser.new_page()  # whose failed requests are no fault
    page.goto(f"{url(server)}/console")
    away = {"status": 503, "content_type": "application/problem+json", "body": '{"detail": "away for a moment"}'}
    page.route("**/events", lambda route: route.fulfill(**away), times=1)
    page.route("**/*surpriseRecent*", lambda route: route.fulfill(**away), times=1)
    look(page, tenant, "Live")
    client.hot_restart(tenant)
    expect(page.get_by_role("cell", name="restart", exact=True)).to_be_visible()
    page.get_by_text("The figures as a table").press("Enter")
    expect(page.get_by_role("table", name="Figures of the last two minutes").locator("tbody tr").first).to_be_visible()
    expect(page.locator("#alert")).to_be_empty()
    page.close()


def test_an_event_is_told_once_where_the_stream_ends_and_begins_again(server, browser, tenant, client) -> None:
    client.hot_restart(tenant)
    page = browser.new_page()
    page.goto(f"{url(server)}/console")
    with page.expect_request("**/events?fromSeq=*") as asked:
        event = '{"seq": "6", "kind": "restart", "figures": {}}'
        stream = {"status": 200, "content_type": "text/event-stream", "body": f"event: event\ndata: {event}\n\n"}
        page.route("**/events", lambda route: route.fulfill(**stream))
        look(page, tenant, "Live")
    assert asked.value.url.endswith("fromSeq=6")
    client.hot_restart(tenant)
    expect(page.get_by_role("table", name="Events").locator("tbody tr")).to_have_count(2)
    page.close()


def test_the_files_run_no_script_but_their_own_and_are_only_for_known_hosts(server) -> None:
    with http(server) as asks:
        for path in ("/console", "/console/", "/console/app.js"):
            answer = asks.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            problem(asks.get(path, headers={"host": "evil.example"}), 421, "HOST_UNKNOWN")
        for path in ("/console/..%2fapp.py", "/console/%2e%2e/app.py", "/console/none.js"):
            problem(asks.get(path), 404, "NOT_FOUND")


def test_a_console_needs_http() -> None:
    with pytest.raises(ValidationError, match="console: is served over HTTP; set http_port"):
        Settings(console=True)
