"""From HTTP to messages and back."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.gateway import transcode
from memsvc.gateway.routes import ROUTES
from memsvc.v1 import memory_pb2, types_pb2

ROUTE = {route.call: route for route in ROUTES}
HUGE = b"1" + b"0" * 400
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
entries = st.builds(
    types_pb2.Entry,
    id=texts,
    text=texts,
    seq=st.integers(-(2**63), 2**63 - 1),
    # Not the very largest: protobuf writes it rounded up, and does not read what it wrote.
    vector=st.lists(st.floats(-(2.0**126), 2.0**126, width=32), max_size=3),
    learn=st.none() | st.booleans(),
)


def refused(call: str, path: dict[str, str], query: list[tuple[str, str]], body: bytes) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        transcode.request(ROUTE[call], path, query, body)
    return caught.value


@given(
    st.builds(
        memory_pb2.WriteRequest, tenant=texts, entries=st.lists(entries, max_size=3), wait=st.sampled_from([0, 1, 2])
    )
)
def test_a_message_survives_the_way_to_json_and_back(message) -> None:
    path = {"tenant": message.tenant}
    assert transcode.request(ROUTE["Write"], path, [], transcode.to_json(message)) == message


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(texts | st.sampled_from(["entries", "text", "time", "id"]), inner, max_size=4)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_a_message_or_an_error(body) -> None:
    with suppress(InvalidArgumentError):
        assert transcode.request(ROUTE["Write"], {"tenant": "t"}, [], body).tenant == "t"


def test_a_query_sets_fields_by_their_paths() -> None:
    query = [("filter.session", "s"), ("pageSize", "5"), ("includeEvicted", "true"), ("asOf.seq", "4")]
    found = transcode.request(ROUTE["ListEntries"], {"tenant": "a/ö"}, query, b"")
    assert (found.tenant, found.filter.session, found.page_size, found.as_of.seq) == ("a/ö", "s", 5, 4)
    assert found.include_evicted
    masked = transcode.request(ROUTE["GetTenant"], {"tenant": "t"}, [("readMask", "stats.headSeq,memory")], b"")
    assert masked.read_mask.paths == ["stats.head_seq", "memory"]


def test_a_body_that_is_a_field_goes_with_a_path_and_a_query() -> None:
    path, query = {"tenant": "t", "id": "e"}, [("requestId", "r")]
    found = transcode.request(ROUTE["UpdateEntry"], path, query, b'{"text": "new", "id": "e"}')
    assert (found.tenant, found.entry.id, found.entry.text, found.request_id) == ("t", "e", "new", "r")


@pytest.mark.parametrize(
    ("call", "query", "body", "field"),
    [
        ("Write", [], b'{"entries": [{"txt": "x"}]}', "entries[0]"),
        ("Write", [], b'{"entries": [{"text": "x", "time": "noon"}]}', "entries[0].time"),
        ("Write", [], b'{"entries": [{"text": 5}]}', "entries.text"),
        ("Write", [], b'{"entries": [{"text": "\\ud800"}]}', "entries[0].text"),
        ("Write", [], b'{"tenant": "other"}', "tenant"),
        ("Write", [], b'{"entries": [], "entries": []}', "body"),
        ("Write", [], b"[]", "body"),
        ("Write", [], b"{", "body"),
        ("Write", [], b"\xff", "body"),
        ("Write", [], b"[" * 100_000, "body"),
        ("Write", [], b'{"entries": [' + b"{}," * 2048 + b"{}]}", "body"),
        ("Write", [("wait", "WRITE_WAIT_APPLIED")], b"{}", "wait"),
        ("GetTenant", [], b"{}", "body"),
        ("GetTenant", [("nope", "x")], b"", "nope"),
        ("GetTenant", [("tenant", "other")], b"", "tenant"),
        ("ListEntries", [("filter", "x")], b"", "filter"),
        ("ListEntries", [("filter.nope", "x")], b"", "filter.nope"),
        ("ListEntries", [("pageSize.x", "5")], b"", "pageSize.x"),
        ("ListEntries", [("pageSize", "many")], b"", "pageSize"),
        ("ListEntries", [("pageSize", "5"), ("pageSize", "6")], b"", "pageSize"),
        ("ListEntries", [("includeEvicted", "yes")], b"", "includeEvicted"),
        ("UpdateTenant", [], b'{"memory": {"eta": "much"}}', "tenant.memory.eta"),
        ("UpdateTenant", [("tenant.uid", "x")], b"{}", "tenant.uid"),
        ("UpdateTenant", [], b'{"memory": {"eta": %b}}' % HUGE, "body"),
        ("Write", [], b'{"entries": [{"vector": [%b]}]}' % HUGE, "body"),
        ("Generate", [], b'{"messages": [{"role": 1e400, "text": "x"}]}', "body"),
        ("Recall", [], b'{"query": "x", "filter": "\\ud800"}', "body"),
        ("Write", [], b'{"wait": "\\ud800"}', "body"),
        ("Write", [], b'{"\\ud800": 1}', "body"),
        ("UpdateTenant", [], b'{"policies": {"ttl": "\\ud800s"}}', "tenant.policies.ttl"),
    ],
)
def test_what_cannot_be_read_is_named(call, query, body, field) -> None:
    error = refused(call, {"tenant": "t"}, query, body)
    assert error.field == field
    assert str(error).encode()


def test_a_path_that_is_no_utf8_is_named() -> None:
    assert refused("GetTenant", {"tenant": "\udcff"}, [], b"").field == "tenant"
