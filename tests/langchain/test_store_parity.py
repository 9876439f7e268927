"""The same cases on LangGraph's own store and on ours."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from memsvc_langchain import MemsvcStore


class OnALoop(MemsvcStore):
    """Ours by way of its coroutines."""

    runner: asyncio.Runner

    def batch(self, ops):
        return self.runner.run(self.abatch(ops))


@pytest.fixture(params=["in memory", "memsvc", "memsvc on a loop"])
def store(request, server, client) -> Iterator[BaseStore]:
    if request.param == "in memory":
        yield InMemoryStore()
    elif request.param == "memsvc":
        yield MemsvcStore(client=client, tenant=str(uuid.uuid4()))
    else:
        ours = OnALoop(server.target, tenant=str(uuid.uuid4()))
        with asyncio.Runner() as ours.runner:
            yield ours


def keys(items) -> list[str]:
    return [item.key for item in items]


VALUES = [
    {},
    {"text": "plain"},
    {"text": "", "empty": [], "nothing": None, "object": {}},
    {"n": 1, "x": 1.5, "big": 2**53, "yes": True, "no": False},
    {"deep": {"a": [{"b": [1, [2, {"c": None}]]}]}},
    {"né": "ÄÖÜ 漢字 🦉 \u202e", "quote\"'\\": "\n\t\r", "%": "_%*?[]"},
    {"namespace": "x", "key": "y", "value": "z", "namespace0": "w"},
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_comes_back_as_it_was(store, value):
    before = datetime.now(UTC)
    store.put(("a", "b"), "k", value)
    item = store.get(("a", "b"), "k")
    assert (item.value, item.key, item.namespace) == (value, "k", ("a", "b"))
    assert before <= item.created_at <= item.updated_at <= datetime.now(UTC)
    (found,) = store.search(("a",))
    assert found.value == value


def test_what_is_not_there_is_none(store):
    assert store.get(("a",), "k") is None
    assert store.search(("a",)) == []
    assert store.search((), query="anything") == []


def test_a_put_replaces_all_of_the_value(store):
    store.put(("a",), "k", {"x": 1, "y": 2})
    store.put(("a",), "k", {"x": 3})
    assert store.get(("a",), "k").value == {"x": 3}
    assert len(store.search(("a",))) == 1


def test_a_value_may_come_back_to_what_it_was(store):
    for value in ({"x": 1}, {"x": 2}, {"x": 1}):
        store.put(("a",), "k", value)
        assert store.get(("a",), "k").value == value


def test_an_equal_value_is_an_update_too(store):
    store.put(("a",), "k", {"x": 1})
    first = store.get(("a",), "k").updated_at
    store.put(("a",), "k", {"x": 1})
    assert store.get(("a",), "k").updated_at > first


def test_what_is_deleted_is_gone(store):
    store.put(("a",), "k", {"text": "the secret"})
    store.put(("a",), "other", {"text": "stays"})
    store.delete(("a",), "k")
    assert store.get(("a",), "k") is None
    assert keys(store.search(("a",))) == ["other"]
    assert keys(store.search((), query="the secret")) in ([], ["other"])


def test_a_delete_of_nothing_is_none(store):
    store.delete(("a",), "k")
    store.put(("a",), "k", {"x": 1})
    store.delete(("a",), "k")
    store.delete(("a",), "k")
    assert store.get(("a",), "k") is None


def test_what_was_deleted_can_be_put_again_and_again(store):
    for i in range(4):
        store.put(("a",), "k", {"x": i})
        assert store.get(("a",), "k").value == {"x": i}
        assert len(store.search(("a",))) == 1
        store.delete(("a",), "k")
        assert store.get(("a",), "k") is None
    store.put(("a",), "k", {"x": 9})
    store.put(("a",), "k", {"x": 10})
    assert [item.value for item in store.search(("a",))] == [{"x": 10}]


def test_a_key_belongs_to_its_namespace(store):
    for namespace in (("a",), ("b",), ("a", "b"), ("ab",), ("b", "a")):
        store.put(namespace, "k", {"of": list(namespace)})
    for namespace in (("a",), ("b",), ("a", "b"), ("ab",), ("b", "a")):
        assert store.get(namespace, "k").value == {"of": list(namespace)}
    store.delete(("a",), "k")
    assert store.get(("a", "b"), "k").value == {"of": ["a", "b"]}


def test_where_a_label_ends_and_a_key_begins_counts(store):
    store.put(("a",), "b", {"x": 1})
    store.put(("a", "b"), "", {"x": 2})
    store.put(("a,b",), "", {"x": 3})
    store.put(('a","b',), "", {"x": 4})
    assert store.get(("a",), "b").value == {"x": 1}
    assert store.get(("a", "b"), "").value == {"x": 2}
    assert store.get(("a,b",), "").value == {"x": 3}
    assert store.get(('a","b',), "").value == {"x": 4}


NEIGHBOURS = ["foo", "foobar", "fo", "foo_", "foo%", "FOO", "foo ", " foo", "foo/bar", "foo:bar", "foo*", "fooé", "🦉"]


METACHARACTERS = ["%", "_", "*", "?", "[a-z]", "\\", "'; DROP TABLE store; --", "$ne", "né"]


@pytest.mark.parametrize("label", [*NEIGHBOURS, *METACHARACTERS])
def test_a_prefix_matches_whole_labels_and_nothing_else(store, label):
    labels = {*NEIGHBOURS, label, "x"}
    for each in sorted(labels):
        store.put((each,), "k", {"of": each})
        store.put((each, "child"), "k", {"of": each})
        store.put(("root", each), "k", {"of": "root"})
    assert {item.namespace for item in store.search((label,), limit=100)} == {(label,), (label, "child")}
    assert {item.namespace for item in store.search(("root", label), limit=100)} == {("root", label)}
    assert store.search((label, "none"), limit=100) == []


@pytest.mark.parametrize("key", ["a@example.org", "a/b", "a.b", "", " ", "🦉", "x" * 5000, "%", "né", "null"])
def test_a_key_is_any_text(store, key):
    store.put(("a",), key, {"x": 1})
    store.put(("a",), f"{key}~", {"x": 2})
    assert store.get(("a",), key).value == {"x": 1}
    store.delete(("a",), key)
    assert store.get(("a",), key) is None
    assert store.get(("a",), f"{key}~").value == {"x": 2}


ITEMS = {
    "a": {"n": 1, "kind": "red", "tags": ["x", "y"], "deep": {"on": True, "to": 1}},
    "b": {"n": 2.5, "kind": "blue", "tags": ["x"], "deep": {"on": False}},
    "c": {"n": 10, "kind": "red", "tags": [], "deep": {}},
    "d": {"n": -1, "kind": "né", "tags": ["y", "x"], "deep": {"on": True, "to": 2}},
}
FILTERS = [
    ({"kind": "red"}, "ac"),
    ({"kind": "rED"}, ""),
    ({"kind": "né"}, "d"),
    ({"n": 1}, "a"),
    ({"n": 1.0}, "a"),
    ({"n": {"$eq": 2.5}}, "b"),
    ({"n": {"$ne": 1}}, "bcd"),
    ({"n": {"$gt": 1}}, "bc"),
    ({"n": {"$gte": 1}}, "abc"),
    ({"n": {"$lt": 1}}, "d"),
    ({"n": {"$lte": 1}}, "ad"),
    ({"n": {"$gt": 0, "$lt": 3}}, "ab"),
    ({"n": {"$gte": 1}, "kind": "red"}, "ac"),
    ({"tags": ["x", "y"]}, "a"),
    ({"tags": []}, "c"),
    ({"deep": {"on": True}}, "ad"),
    ({"deep": {"on": True, "to": {"$gt": 1}}}, "d"),
    ({"none": {"$ne": 1}}, "abcd"),
    ({"none": "x"}, ""),
    ({"none": None}, "abcd"),
    ({}, "abcd"),
]


@pytest.mark.parametrize(("conditions", "expected"), FILTERS, ids=range(len(FILTERS)))
def test_a_filter(store, conditions, expected):
    for key, value in ITEMS.items():
        store.put(("a",), key, value)
    assert "".join(keys(store.search(("a",), filter=conditions))) == expected


def test_an_operator_that_is_none(store):
    store.put(("a",), "k", {"x": 1})
    with pytest.raises(ValueError, match=r"\$near"):
        store.search(("a",), filter={"x": {"$near": 1}})


def test_items_come_in_the_order_in_which_they_were_first_put(store):
    for namespace, key in ((("b",), "2"), (("a",), "9"), (("b",), "1"), (("a",), "0")):
        store.put(namespace, key, {"x": 1})
    store.put(("b",), "2", {"x": 2})
    assert [(item.namespace, item.key) for item in store.search(())] == [
        (("b",), "2"),
        (("b",), "1"),
        (("a",), "9"),
        (("a",), "0"),
    ]


@pytest.mark.parametrize(("limit", "offset"), [(10, 0), (3, 0), (3, 3), (3, 9), (3, 10), (0, 0), (100, 4)])
def test_pages(store, limit, offset):
    for i in range(10):
        store.put(("a",), str(i), {"even": i % 2 == 0})
    assert keys(store.search(("a",), limit=limit, offset=offset)) == [*"0123456789"][offset : offset + limit]
    even = store.search(("a",), filter={"even": True}, limit=limit, offset=offset)
    assert keys(even) == [*"02468"][offset : offset + limit]


def test_ten_is_the_limit_unless_one_is_given(store):
    for i in range(12):
        store.put(("a",), str(i), {"i": i})
    assert len(store.search(())) == 10


SPACES = [("a",), ("a", "b"), ("a", "b", "c"), ("a", "bc"), ("ab",), ("x", "b", "c"), ("é", "🦉")]
LISTINGS = [
    ({}, sorted(SPACES)),
    ({"prefix": ("a",)}, [("a",), ("a", "b"), ("a", "b", "c"), ("a", "bc")]),
    ({"prefix": ("a", "b")}, [("a", "b"), ("a", "b", "c")]),
    ({"prefix": ("a", "*")}, [("a", "b"), ("a", "b", "c"), ("a", "bc")]),
    ({"prefix": ("*", "b")}, [("a", "b"), ("a", "b", "c"), ("x", "b", "c")]),
    ({"suffix": ("c",)}, [("a", "b", "c"), ("x", "b", "c")]),
    ({"suffix": ("b", "*")}, [("a", "b", "c"), ("x", "b", "c")]),
    ({"suffix": ("b",)}, [("a", "b")]),
    ({"prefix": ("a",), "suffix": ("c",)}, [("a", "b", "c")]),
    ({"max_depth": 1}, [("a",), ("ab",), ("x",), ("é",)]),
    ({"max_depth": 2}, [("a",), ("a", "b"), ("a", "bc"), ("ab",), ("x", "b"), ("é", "🦉")]),
    ({"limit": 2}, sorted(SPACES)[:2]),
    ({"limit": 3, "offset": 2}, sorted(SPACES)[2:5]),
    ({"offset": 99}, []),
    ({"prefix": ("none",)}, []),
    ({"prefix": ("a", "b", "c", "d")}, []),
]


@pytest.mark.parametrize(("asked", "expected"), LISTINGS, ids=range(len(LISTINGS)))
def test_namespaces(store, asked, expected):
    for namespace in SPACES:
        store.put(namespace, "k", {"x": 1})
        store.put(namespace, "l", {"x": 1})
    assert store.list_namespaces(**asked) == expected


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",), ("a", ""), ("langgraph", "x")])
def test_namespaces_that_are_refused(store, namespace):
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {"x": 1})
    assert store.list_namespaces() == []


def test_a_batch_reads_before_it_writes(store):
    store.put(("a",), "k", {"x": 1})
    results = store.batch(
        [
            PutOp(("a",), "k", {"x": 2}),
            GetOp(("a",), "k"),
            PutOp(("a",), "k", {"x": 3}),
            SearchOp(("a",)),
            PutOp(("b",), "new", {"x": 4}),
            ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("*",)),)),
            PutOp(("a",), "none", None),
        ]
    )
    assert [result is None for result in results] == [True, False, True, False, True, False, True]
    assert results[1].value == {"x": 1}
    assert [item.value for item in results[3]] == [{"x": 1}]
    assert results[5] == [("a",)]
    assert store.get(("a",), "k").value == {"x": 3}
    assert store.get(("b",), "new").value == {"x": 4}


def test_an_empty_batch(store):
    assert store.batch([]) == []


async def test_the_same_from_a_running_loop(store):
    await store.aput(("a", "b"), "k", {"x": 1})
    assert (await store.aget(("a", "b"), "k")).value == {"x": 1}
    assert keys(await store.asearch(("a",), filter={"x": 1})) == ["k"]
    assert await store.alist_namespaces() == [("a", "b")]
    await store.adelete(("a", "b"), "k")
    assert await store.aget(("a", "b"), "k") is None


@pytest.mark.parametrize("query", ["", None])
def test_an_empty_query_is_none(store, query):
    store.put(("a",), "k", {"x": 1})
    (item,) = store.search(("a",), query=query)
    assert item.score is None
