"""What our store does beyond LangGraph's own: it lasts, expires, searches, and destroys."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import memsvc_langchain
import pytest
from langgraph.store.base import PutOp
from memsvc_client import InvalidArgumentError, MemoryClient, NotFoundError
from memsvc_langchain import MemsvcStore, namespace_label

from tests.serving import Server


@pytest.fixture
def store(client, tenant) -> MemsvcStore:
    return MemsvcStore(client=client, tenant=tenant)


def keys(items) -> list[str]:
    return [item.key for item in items]


def test_a_query_finds_by_what_is_said(store):
    store.put(("users", "ada"), "drink", {"memory": "takes her tea without milk"})
    store.put(("users", "ada"), "pet", {"memory": "has a parrot called Olu"})
    store.put(("users", "bob"), "drink", {"memory": "takes his tea with milk"})
    found = store.search(("users", "ada"), query="tea with milk")
    assert keys(found) == ["drink", "pet"]
    assert found[0].score > found[1].score
    assert keys(store.search(("users", "ada"), query="tea", limit=1, offset=1)) == ["pet"]
    assert keys(store.search(("users",), query="parrot Olu", filter={"memory": {"$ne": "x"}}, limit=1)) == ["pet"]


async def test_a_search_finds_what_no_answer_holds_and_page_after_page_has_it_all(server, tenant):
    store = MemsvcStore(server.target, tenant=tenant, fields=["memory"])
    large = "x" * 15_000
    await store.abatch(PutOp(("a",), f"{i}", {"memory": f"parrot {i}", "more": large}) for i in range(300))
    store.put(("a",), "best", {"memory": "parrot gattaca", "more": ""})
    whole = keys(store.search(("a",), query="parrot gattaca", limit=400))
    assert (whole[0], len(whole), len(set(whole))) == ("best", 301, 301)
    some = keys(store.search(("a",), query="parrot gattaca", filter={"more": {"$ne": ""}}, limit=400))
    assert some == whole[1:]
    pages = [await store.asearch(("a",), query="parrot gattaca", limit=120, offset=at) for at in range(0, 480, 120)]
    assert [key for page in pages for key in keys(page)] == whole
    scores = [item.score for page in pages for item in page]
    assert scores == sorted(scores, reverse=True)


def test_a_page_may_begin_where_a_recall_ends(store, monkeypatch):
    monkeypatch.setattr(memsvc_langchain.store, "MAX_HITS", 8)
    for i in range(30):
        store.put((f"{i % 3}",), f"{i}", {"memory": f"parrot {i}"}, index=None if i % 5 else False)
    whole = store.search((), query="parrot 7", limit=40)
    assert [item.score is None for item in whole] == [False] * 24 + [True] * 6
    assert len({item.key for item in whole}) == 30
    pages = [store.search((), query="parrot 7", limit=4, offset=at) for at in range(0, 36, 4)]
    assert [key for page in pages for key in keys(page)] == keys(whole)
    assert keys(store.search(("1",), query="parrot 7", limit=40)) == [
        item.key for item in whole if int(item.key) % 3 == 1
    ]


def test_what_expired_takes_no_place_of_a_page(store):
    for i in range(6):
        store.put(("a",), f"soon {i}", {"memory": "parrot gattaca"}, ttl=0.2 / 60)
        store.put(("a",), f"{i}", {"memory": f"parrot {i}"})
    time.sleep(0.3)
    assert len(store.search(("a",), query="parrot gattaca", limit=6)) == 6


def test_more_of_one_time_than_an_answer_holds_is_an_error(store, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 3, 1, tzinfo=tz)

    monkeypatch.setattr(memsvc_langchain.store, "MAX_HITS", 8)
    monkeypatch.setattr(memsvc_langchain._items, "datetime", Stopped)
    for i in range(9):
        store.put(("a",), f"{i}", {"memory": f"parrot {i}"})
    assert len(store.search(("a",), query="parrot", limit=8)) == 8
    with pytest.raises(InvalidArgumentError, match="limit"):
        store.search(("a",), query="parrot", limit=9)


def test_only_some_fields_are_searched(client, tenant):
    store = MemsvcStore(client=client, tenant=tenant, fields=["memory"])
    store.put(("a",), "one", {"memory": "the parrot", "note": "gattaca"})
    store.put(("a",), "two", {"memory": "the boiler", "note": "parrot"})
    store.put(("a",), "none", {"note": "parrot"})
    store.put(("a",), "all", {"note": "parrot"}, index=["note"])
    store.put(("a",), "never", {"memory": "parrot"}, index=False)
    found = store.search(("a",), query="parrot")
    assert set(keys(found)[:2]) == {"one", "all"}
    assert [item.key for item in found if item.score is None] == ["none", "never"]
    assert store.get(("a",), "one").value == {"memory": "the parrot", "note": "gattaca"}


def test_what_is_shown_is_the_newest_revision_alone(store):
    store.put(("a",), "k", {"memory": "the old parrot"})
    store.put(("a",), "k", {"memory": "the new boiler"})
    (item,) = store.search(("a",), query="parrot")
    assert item.value == {"memory": "the new boiler"}
    assert item.created_at < item.updated_at


def test_an_item_expires_after_its_minutes(store):
    store.put(("a",), "later", {"x": 2}, ttl=10)
    for namespace in (("a",), ("b",)):
        store.put(namespace, "soon", {"x": 1}, ttl=0.01 / 60)
    time.sleep(0.1)
    assert store.get(("a",), "later").value == {"x": 2}
    assert store.get(("a",), "soon") is None
    assert keys(store.search(())) == ["later"]
    assert keys(store.search((), query="x")) == ["later"]
    assert store.list_namespaces() == [("a",)]
    store.put(("a",), "soon", {"x": 4})
    assert store.get(("a",), "soon").value == {"x": 4}


def test_a_key_that_came_and_went_many_times_is_found(store):
    for i in range(20):
        store.put(("a",), "k", {"i": i})
        assert store.get(("a",), "k").value == {"i": i}
        store.put(("a",), "k", {"i": -i})
        assert store.get(("a",), "k").value == {"i": -i}
        store.delete(("a",), "k")
        assert store.get(("a",), "k") is None


def test_an_item_that_was_forgotten_can_be_put_again(store, client, tenant):
    store.put(("a",), "k", {"x": 1})
    client.forget(tenant, ids=[entry.id for entry in client.list_entries(tenant)])
    assert store.get(("a",), "k") is None
    store.put(("a",), "k", {"x": 2})
    assert store.get(("a",), "k").value == {"x": 2}


def test_an_item_that_left_because_there_are_too_many_says_so(store, client, tenant):
    client.create_tenant(tenant, max_entries=10)
    for i in range(20):
        store.put(("a",), str(i), {"x": i})
    here = set(keys(store.search((), limit=20)))
    assert 0 < len(here) <= 10
    for key in map(str, range(20)):
        if key in here:
            assert store.get(("a",), key).value == {"x": int(key)}
        else:
            with pytest.raises(NotFoundError, match="max_entries"):
                store.get(("a",), key)


def test_an_item_that_left_because_there_are_too_many_can_be_deleted(store, client, tenant):
    client.create_tenant(tenant, max_entries=10)
    for i in range(20):
        store.put(("a",), str(i), {"x": i})
    here = set(keys(store.search((), limit=20)))
    left = next(key for key in map(str, range(20)) if key not in here)
    store.delete(("a",), left)
    assert store.get(("a",), left) is None
    assert left not in {entry.metadata["key"] for entry in client.list_entries(tenant, include_evicted=True)}
    store.put(("a",), left, {"x": "again"})


def test_what_expired_and_was_hidden_by_the_server_can_be_put_again(store, client, tenant):
    store.put(("a",), "k", {"x": 1}, ttl=0.1 / 60)
    while list(client.list_entries(tenant)):
        time.sleep(0.1)
    store.put(("a",), "k", {"x": 2})
    assert store.get(("a",), "k").value == {"x": 2}


def test_a_time_to_live_for_all(client, tenant):
    store = MemsvcStore(client=client, tenant=tenant, default_ttl=10)
    store.put(("a",), "k", {"x": 1})
    store.put(("a",), "forever", {"x": 1}, ttl=None)
    assert [each.expire is None for each in client.list_entries(tenant)] == [False, True]
    (entry,) = [each for each in client.list_entries(tenant) if each.expire]
    assert 9 * 60 < (entry.expire - datetime.now(UTC)).total_seconds() <= 600


@pytest.mark.parametrize("deleted", [0, 1, 5])
def test_many_who_put_the_same_key_at_once_leave_one_item(store, client, tenant, deleted):
    for _ in range(deleted):
        store.put(("a",), "k", {"x": 0})
        store.delete(("a",), "k")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.put(("a",), "k", {"i": i}), range(24)))
    (item,) = store.search(("a",))
    assert item.value == store.get(("a",), "k").value
    assert item.value["i"] in range(24)
    assert len(list(client.list_entries(tenant))) == 1


def test_puts_and_deletes_that_race_end_in_one_item_or_none(store):
    def change(i: int) -> None:
        store.put(("a",), "k", {"i": i}) if i % 3 else store.delete(("a",), "k")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(30)))
    store.put(("a",), "k", {"i": "last"})
    assert [item.value for item in store.search(("a",))] == [{"i": "last"}]
    store.delete(("a",), "k")
    assert store.search(("a",)) == []


def test_two_tenants_never_see_each_other(client):
    ada, bob = (MemsvcStore(client=client, tenant=f"{name}@x/{uuid.uuid4()}") for name in ("ada", "bob"))
    ada.put(("a",), "k", {"secret": "the key is under the mat"})
    assert bob.get(("a",), "k") is None
    assert bob.search(()) == []
    assert bob.search((), query="the key is under the mat") == []
    assert bob.list_namespaces() == []
    bob.delete(("a",), "k")
    assert ada.get(("a",), "k") is not None


def test_entries_that_are_no_items_are_left_alone(store, client, tenant):
    store.put(("a",), "k", {"x": 1})
    client.write(tenant, "a line of a conversation")
    assert keys(store.search(())) == ["k"]
    assert keys(store.search((), query="a line of a conversation")) == ["k"]
    assert store.list_namespaces() == [("a",)]


def test_the_weights_learn_only_when_they_are_told_to(client, tenant):
    client.create_tenant(tenant)
    before = client.stats(tenant).tokens
    MemsvcStore(client=client, tenant=tenant).put(("a",), "k", {"x": "gattaca"})
    assert client.stats(tenant).tokens == before
    MemsvcStore(client=client, tenant=tenant, learn=True).put(("a",), "l", {"x": "gattaca"})
    assert client.stats(tenant).tokens > before


def test_what_is_deleted_is_destroyed(tmp_path):
    with Server(tmp_path / "data") as server:
        with server.client() as client:
            store = MemsvcStore(client=client, tenant="ada")
            store.put(("a",), "k", {"text": "xyzzy-plugh-1"})
            store.put(("a",), "k", {"text": "xyzzy-plugh-2"})
            store.put(("a",), "l", {"text": "stays"})
            store.delete(("a",), "k")
        assert server.stop() == 0
    files = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir() if path.is_file())
    assert b"xyzzy-plugh" not in files
    assert b"stays" in files


def test_items_outlive_the_server(tmp_path):
    server = Server(tmp_path / "data")
    for kill in (True, False):
        with server, MemoryClient(server.target) as client:
            store = MemsvcStore(client=client, tenant="ada")
            if kill:
                store.put(("a",), "k", {"x": 1})
                server.kill()
            else:
                assert store.get(("a",), "k").value == {"x": 1}


def test_a_tenant_is_made_only_where_that_is_wanted(client, tenant):
    with pytest.raises(NotFoundError):
        MemsvcStore(client=client, tenant=tenant, create=False).put(("a",), "k", {"x": 1})
    assert MemsvcStore(client=client, tenant=tenant).search((), query="x") == []
    MemsvcStore(client=client, tenant=tenant, create=False).put(("a",), "k", {"x": 1})


def test_any_text_can_be_a_label(store):
    labels = [namespace_label(text) for text in ("ada@example.org", "ada@example%2Eorg", "ada@example", "🦉.")]
    assert len(set(labels)) == 4
    for label in labels:
        store.put(("users", label), "k", {"of": label})
    assert [item.value["of"] for item in store.search(("users", labels[0]))] == [labels[0]]


@pytest.mark.parametrize("value", ["text", 3, {"x": object()}, {"x": float("nan")}, {"x": "y" * 70_000}])
def test_a_value_that_is_refused_changes_nothing(store, value):
    store.put(("a",), "k", {"x": 1})
    with pytest.raises((TypeError, ValueError)):
        store.put(("a",), "k", value)
    assert store.get(("a",), "k").value == {"x": 1}


def test_a_value_larger_than_metadata_may_be(store):
    value = {"x": "long " * 10_000}
    store.put(("a",), "k", value)
    assert store.get(("a",), "k").value == value
    with pytest.raises(InvalidArgumentError):
        store.put(("a",), "l", value, index=["x"])
    assert store.get(("a",), "l") is None


def test_a_target_or_a_client(server, tenant):
    store = MemsvcStore(server.target, tenant=tenant)
    store.put(("a",), "k", {"x": 1})
    assert store.get(("a",), "k").value == {"x": 1}
    with pytest.raises(ValueError, match="target"):
        MemsvcStore(tenant=tenant)
    with server.client() as client, pytest.raises(ValueError, match="client"):
        MemsvcStore(server.target, client=client, tenant=tenant)
