"""Every route against a real server, each answer held against the OpenAPI document."""

import asyncio
import json
from urllib.parse import quote

import httpx2
import pytest
from memsvc_client import Entry

from tests.gateway.http import conforms, events, http, problem
from tests.observability.eventually import eventually
from tests.serving import Server

NO_METADATA = {"entries": [{"text": "x", "metadataJson": "["}]}
NO_JSON = {"content-type": "text/plain"}
ODD = ["ada@example.com", "team/a b", "日本 🌊", "a:recall", "50%", "entries?x=#1"]


def path(*segments: str) -> str:
    return "/v1/tenants/" + "/".join(quote(each, safe="") for each in segments)


def write(client: httpx2.Client, tenant: str, **entries: str) -> None:
    """Make a tenant with entries, by their ids."""
    conforms("CreateTenant", client.post("/v1/tenants", json={"tenant": tenant}))
    if not entries:
        return
    batch = [{"id": id, "text": text, "session": "s"} for id, text in entries.items()]
    done = client.post(f"{path(tenant)}/entries", json={"entries": batch, "wait": "WRITE_WAIT_APPLIED"})
    assert [each["id"] for each in conforms("Write", done)["results"]] == list(entries)


def test_health_says_so(client) -> None:
    for where in ("/v1/health", "/v1/health/live"):
        assert client.get(where).json() == {"status": "SERVING"}


def test_the_document_is_served(client) -> None:
    found = client.get("/v1/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    assert found["info"]["title"] == "memsvc"


@pytest.mark.parametrize("name", ODD)
def test_a_tenant_and_an_entry_of_any_name_live_and_die(client, server, name) -> None:
    tenant = f"life of {name}"
    write(client, tenant, **{name: "gattaca is in here"})
    hits = conforms("Recall", client.post(path(tenant, "recall"), json={"query": "gattaca", "k": 1}))["hits"]
    assert [hit["entry"]["id"] for hit in hits] == [name]
    with server.client() as other:
        assert other.get_entry(tenant, name).text == "gattaca is in here"
    assert conforms("GetEntry", client.get(path(tenant, "entries", name)))["text"] == "gattaca is in here"
    changed = client.put(path(tenant, "entries", name), json={"text": "tacgatta"}, params={"requestId": "r"})
    again = client.put(path(tenant, "entries", name), json={"text": "tacgatta"}, params={"requestId": "r"})
    assert conforms("UpdateEntry", changed) == conforms("UpdateEntry", again)
    assert client.get(path(tenant, "entries", name)).json()["text"] == "tacgatta"
    assert conforms("DeleteEntry", client.delete(path(tenant, "entries", name)))["textKept"]
    problem(client.get(path(tenant, "entries", name)), 404, "DELETED")
    assert conforms("DeleteTenant", client.delete(path(tenant))) == {}
    problem(client.get(path(tenant)), 404, "TENANT_NOT_FOUND")


def test_tenants_are_listed_page_by_page_and_changed(client) -> None:
    for name in ("list a", "list b", "list c"):
        write(client, name)
    first = conforms("ListTenants", client.get("/v1/tenants", params={"pageSize": 2}))
    assert len(first["tenants"]) == 2
    token = first["nextPageToken"]
    second = conforms("ListTenants", client.get("/v1/tenants", params={"pageSize": 1000, "pageToken": token}))
    names = [each["tenant"] for each in first["tenants"] + second["tenants"]]
    assert {"list a", "list b", "list c"} <= set(names)
    assert len(names) == len(set(names))
    done = client.patch(
        path("list a"), json={"policies": {"maxEntries": 5}}, params={"updateMask": "policies.maxEntries"}
    )
    assert conforms("UpdateTenant", done)["policies"]["maxEntries"] == "5"
    asked = conforms("GetTenant", client.get(path("list a"), params={"readMask": "policies,stats.headSeq"}))
    assert (asked["policies"]["maxEntries"], "memory" in asked) == ("5", False)


def test_entries_are_listed_and_filtered(client) -> None:
    write(client, "entries", a="one", b="two", c="three")
    client.post(path("entries", "entries"), json={"entries": [{"id": "d", "text": "x", "metadataJson": '{"page": 3}'}]})
    asked = {"filter.session": "s", "pageSize": 2}
    first = conforms("ListEntries", client.get(path("entries", "entries"), params=asked))
    assert [each["id"] for each in first["entries"]] == ["a", "b"]
    asked["pageToken"] = first["nextPageToken"]
    assert [each["id"] for each in client.get(path("entries", "entries"), params=asked).json()["entries"]] == ["c"]
    by_page = {"filter.metadataJson": json.dumps({"page": {"$gte": 3}})}
    assert [each["id"] for each in client.get(path("entries", "entries"), params=by_page).json()["entries"]] == ["d"]


def test_what_is_forgotten_is_gone_and_the_erasure_tells(client) -> None:
    write(client, "forget", a="gattaca", b="tacatac")
    erasure = conforms("Forget", client.post(path("forget", "forget"), json={"ids": ["a"]}))
    while erasure["state"] == "ERASURE_STATE_RUNNING":
        erasure = conforms("GetErasure", client.get(path("forget", "erasures", erasure["operation"])))
    assert erasure["stateHashBefore"] != erasure["stateHashAfter"]
    problem(client.get(path("forget", "entries", "a")), 404, "FORGOTTEN")
    assert client.get(path("forget", "entries", "b")).json()["text"] == "tacatac"


def test_feedback_verification_restart_and_restore(client) -> None:
    write(client, "past", a="gattaca")
    seq = conforms("Feedback", client.post(path("past", "feedback"), json={"ids": ["a"], "useful": True}))["seq"]
    assert conforms("VerifyTenant", client.post(path("past", "verify")))["equal"]
    assert int(conforms("HotRestart", client.post(path("past", "restart"), json={}))["seq"]) > int(seq)
    client.post(path("past", "entries"), json={"entries": [{"id": "late", "text": "late"}]})
    for ending, left in (("undo", 200), ("confirm", 404)):
        asked = {"to": {"seq": seq}}
        assert conforms("RestoreTenant", client.post(path("past", "restore"), json=asked))["tenant"] == "past"
        assert client.get(path("past", "entries", "late")).status_code == 404
        conforms(f"{ending.capitalize()}Restore", client.post(path("past", "restore", ending)))
        assert client.get(path("past", "entries", "late")).status_code == left


async def test_events_come_as_they_happen_until_the_caller_leaves(client, server) -> None:
    write(client, "watched", a="gattaca")
    async with httpx2.AsyncClient(base_url=str(client.base_url), timeout=30, trust_env=False) as caller:
        named = {"x-request-id": "the-watcher"}
        async with caller.stream("GET", path("watched", "events"), headers=named) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            await caller.post(path("watched", "restart"))
            seen = ""
            async for text in answer.aiter_text():
                seen += text
                if "restart" in seen:
                    break
    (name, data), *_ = events(seen)
    assert (name, json.loads(data)["kind"]) == ("event", "restart")

    def left() -> list[str]:
        return [line for line in server.log.splitlines() if "WatchTenant" in line and "the-watcher" in line]

    assert "code=CANCELLED" in (await asyncio.to_thread(eventually, left))[0]


def test_what_is_written_at_once_is_there_for_other_clients(client, server) -> None:
    write(client, "other")
    big = [{"id": str(i), "text": "gattaca " * 100} for i in range(1000)]
    assert len(json.dumps(big)) > 500_000
    assert client.post(path("other", "entries"), json={"entries": big}).status_code == 200
    with server.client() as grpc:
        assert sum(1 for _ in grpc.list_entries("other")) == 1000
        grpc.write("other", [Entry("last", id="last")])
    assert len(client.get(path("other", "entries"), params={"pageSize": 1000}).json()["entries"]) == 1000
    assert client.get(path("other", "entries", "last")).status_code == 200


@pytest.mark.parametrize(
    ("verb", "where", "options", "status", "reason", "field"),
    [
        ("GET", "/v1/tenants/none", {}, 404, "TENANT_NOT_FOUND", None),
        ("POST", "/v1/tenants", {"json": {"tenant": "errors"}}, 409, "TENANT_EXISTS", None),
        ("POST", "/v1/tenants/errors/entries", {"json": {"entries": [{"id": "a", "text": "x"}]}}, 409, None, None),
        ("POST", "/v1/tenants/errors/entries", {"json": {"entries": [{"text": ""}]}}, 400, None, "entries[0].text"),
        ("POST", "/v1/tenants/errors/entries", {"json": NO_METADATA}, 400, None, "entries[0].metadataJson"),
        ("POST", "/v1/tenants/errors/recall", {"json": {"query": "x", "k": 5000}}, 400, "INVALID_ARGUMENT", "k"),
        ("POST", "/v1/tenants/errors/recall", {"json": {"query": "x", "minSeq": 9999}}, 400, "OUT_OF_RANGE", None),
        ("POST", "/v1/tenants/errors/recall", {"content": b"{"}, 400, "INVALID_ARGUMENT", "body"),
        ("POST", "/v1/tenants/errors/recall", {"content": b'{"filter": "\\ud800"}'}, 400, "INVALID_ARGUMENT", "body"),
        ("POST", "/v1/tenants/errors/recall", {"content": b"{}", "headers": NO_JSON}, 415, "NOT_JSON", None),
        ("POST", "/v1/tenants/errors/recall", {"content": b" " * (4 * 2**20 + 1)}, 413, "BODY_TOO_LARGE", None),
        ("POST", "/v1/tenants/errors/forget", {"json": {}}, 400, "INVALID_ARGUMENT", "filter"),
        ("POST", "/v1/tenants/errors/generate", {"json": {"messages": [{"text": "x"}]}}, 400, "NO_BACKBONE", None),
        ("POST", "/v1/tenants/errors/restore/undo", {}, 400, None, None),
        ("GET", "/v1/tenants/errors?pageSize=5", {}, 400, "INVALID_ARGUMENT", "pageSize"),
        ("GET", "/v1/tenants/%ff", {}, 400, "INVALID_ARGUMENT", "tenant"),
        ("GET", "/v1/tenants/%00", {}, 400, "INVALID_ARGUMENT", "tenant"),
        ("GET", "/v1/tenants/errors", {"headers": {"grpc-timeout": "soon"}}, 400, "INVALID_ARGUMENT", "grpc-timeout"),
        ("GET", "/v1/tenants/errors/entries/a/", {}, 404, "NOT_FOUND", None),
        ("GET", "/v1/tenants//entries", {}, 404, "NOT_FOUND", None),
        ("GET", "/nowhere", {}, 404, "NOT_FOUND", None),
        ("PATCH", "/v1/tenants", {"json": {}}, 405, "METHOD_NOT_ALLOWED", None),
    ],
)  # fmt: skip
def test_errors_are_problems(client, verb, where, options, status, reason, field) -> None:
    if client.get("/v1/tenants/errors").status_code == 404:
        write(client, "errors", a="gattaca")
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    answer = client.request(verb, where, headers=headers, **options)
    found = problem(answer, status, reason or answer.json()["reason"])
    assert found["field" if field else "title"] == (field or answer.reason_phrase)
    if status == 405:
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_a_deadline_is_the_calls(client) -> None:
    write(client, "late")
    problem(client.get(path("late"), headers={"grpc-timeout": "1n"}), 504, "DEADLINE_EXCEEDED")


def test_a_request_id_is_the_calls(client, server) -> None:
    answer = client.get("/v1/tenants/none", headers={"x-request-id": "from-the-caller"})
    assert problem(answer, 404, "TENANT_NOT_FOUND")["requestId"] == "from-the-caller"
    odd = client.get("/v1/tenants/none", headers={"x-request-id": "not one"})
    assert odd.headers["x-request-id"] != "not one"
    for named in ("from-the-caller", odd.headers["x-request-id"]):
        assert any("GetTenant" in line and f"request_id={named}" in line for line in server.log.splitlines())


async def test_many_at_once_get_each_their_own(client) -> None:
    tenants = ("many", "many/b")
    for tenant in tenants:
        write(client, tenant, **{f"{tenant} {i}": f"gattaca {tenant} {i}" for i in range(5)})
    async with httpx2.AsyncClient(base_url=str(client.base_url), timeout=60, trust_env=False) as caller:

        async def ids(tenant: str) -> set[str]:
            answer = await caller.post(path(tenant, "recall"), json={"query": "gattaca", "k": 20})
            return {hit["entry"]["id"] for hit in answer.json()["hits"]}

        found = await asyncio.gather(*(ids(tenant) for tenant in tenants * 40))
    for tenant, seen in zip(tenants * 40, found, strict=True):
        assert seen == {f"{tenant} {i}" for i in range(5)}


def test_head_is_get_without_a_body(client) -> None:
    answer = client.head("/v1/tenants")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_stream_has_no_head(client) -> None:
    write(client, "headless", a="gattaca")
    answer = client.head(path("headless", "events"))
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "GET", b"")
    assert client.get(path("headless")).status_code == 200  # on the same connection


def test_no_answer_is_kept_or_guessed_at(client) -> None:
    answer = client.get("/v1/tenants")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_nothing_that_is_said_stands_in_the_log(server) -> None:
    secret = "quite-a-secret-text"
    with http(server, key=secret) as client:
        write(client, "quiet", a=secret)
        client.post(path("quiet", "recall"), json={"query": secret})
        client.post(path("quiet", "entries"), json={"entries": [{"text": "x", "time": secret}]})
        client.post(path("quiet", "entries"), content=secret.encode(), headers={"content-type": "application/json"})
    assert secret not in server.log


def test_it_ends_cleanly_with_streams_open(tmp_path) -> None:
    with Server(tmp_path / "data", http_port=0, drain_s=0.5) as server, http(server) as client:
        write(client, "t", a="x")
        with client.stream("GET", path("t", "events")) as answer:
            assert answer.status_code == 200
            assert server.stop() == 0
            assert "Traceback" not in server.log
            ended = events("".join(answer.iter_text()))
    assert [(name, json.loads(data)["code"]) for name, data in ended] == [("error", "UNAVAILABLE")]
