"""What both clients refuse before anything is sent."""

import math
from collections import UserDict
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from grpc import StatusCode
from memsvc_client import Entry, InvalidArgumentError, RetryPolicy

NAIVE = datetime(2024, 5, 6)

LOOP = {}
LOOP["self"] = LOOP
DEEP = {}
for _ in range(10_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (Entry("x", time=NAIVE), "time"),
        (Entry("x", time="2024-05-06"), "time"),
        (Entry("x", time=datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))), "time"),
        (Entry("x", id=""), "id"),
        (Entry("x", id=7), "id"),
        (Entry(b"x"), "text"),
        (Entry(None), "text"),
        (Entry("lone \ud800"), "text"),
        (Entry("x", session="\udfff"), "session"),
        (Entry("x", role=1), "role"),
        (Entry("x", metadata=[1]), "metadata"),
        (Entry("x", metadata=None), "metadata"),
        (Entry("x", metadata="{}"), "metadata"),
        (Entry("x", metadata={"a": math.nan}), "metadata"),
        (Entry("x", metadata={"a": [math.inf]}), "metadata"),
        (Entry("x", metadata={"a": NAIVE}), "metadata"),
        (Entry("x", metadata={1: "a"}), "metadata"),
        (Entry("x", metadata={"a": [{1: "a"}]}), "metadata"),
        (Entry("x", metadata={"a": "\ud800"}), "metadata"),
        (Entry("x", metadata=LOOP), "metadata"),
        (Entry("x", metadata=DEEP), "metadata"),
        (Entry("x", learn=None), "learn"),
        (Entry("x", learn=1), "learn"),
        (Entry("x", expire=NAIVE), "expire"),
        (Entry("x", expire=timedelta(days=1)), "expire"),
    ],
)
def test_a_wrong_entry_is_refused_before_anything_is_sent(client, fake, entry, field):
    with pytest.raises(InvalidArgumentError) as raised:
        client.write("ada", ["fine", entry])
    assert raised.value.field == f"entries[1].{field}"
    assert str(raised.value).startswith(f"entries[1].{field}: ")
    assert raised.value.code is StatusCode.INVALID_ARGUMENT
    assert isinstance(raised.value, ValueError)
    with pytest.raises(InvalidArgumentError):
        list(client.write_stream("ada", [[entry]]))
    assert fake.tenants["ada"] == {}
    assert not fake.asked("Write")


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "field"),
    [
        ("write", ("ada", []), {}, "entries"),
        ("write", ("ada", 7), {}, "entries"),
        ("write", ("ada", b"bytes"), {}, "entries"),
        ("write", ("ada", {"text": "x"}), {}, "entries"),
        ("write", ("ada", ["x", 7]), {}, "entries[1]"),
        ("write", ("ada", ["x"], "later"), {}, "wait"),
        ("write", ("ada", ["x" * 60_000] * 80), {}, "entries"),
        ("write", (7, "x"), {}, "tenant"),
        ("write", ("\ud800", "x"), {}, "tenant"),
        ("write_stream", (7, ["x"]), {}, "tenant"),
        ("recall", ("ada", 7), {}, "query"),
        ("recall", ("ada", "q"), {"k": 0}, "k"),
        ("recall", ("ada", "q"), {"k": 2**31}, "k"),
        ("recall", ("ada", "q"), {"k": True}, "k"),
        ("recall", ("ada", "q"), {"k": 1.5}, "k"),
        ("recall", ("ada", "q"), {"neighbours": -1}, "neighbours"),
        ("recall", ("ada", "q"), {"min_seq": -1}, "min_seq"),
        ("recall", ("ada", "q"), {"max_tokens": 0}, "max_tokens"),
        ("recall", ("ada", "q"), {"after": NAIVE}, "after"),
        ("recall", ("ada", "q"), {"before": NAIVE}, "before"),
        ("recall", ("ada", "q"), {"session": 1}, "session"),
        ("recall", ("ada", "q"), {"metadata": [("a", 1)]}, "metadata"),
        ("recall", ("ada", "q"), {"timeout": 0}, "timeout"),
        ("recall", ("ada", "q"), {"as_of": -1}, "as_of"),
        ("recall", ("ada", "q"), {"as_of": 2**63}, "as_of"),
        ("recall", ("ada", "q"), {"as_of": True}, "as_of"),
        ("recall", ("ada", "q"), {"as_of": 1.5}, "as_of"),
        ("recall", ("ada", "q"), {"as_of": "2024-05-06"}, "as_of"),
        ("recall", ("ada", "q"), {"as_of": NAIVE}, "as_of"),
        ("get_entry", ("ada", "1", NAIVE), {}, "as_of"),
        ("list_entries", ("ada",), {"as_of": NAIVE}, "as_of"),
        ("list_entries", ("ada",), {"include_evicted": 1}, "include_evicted"),
        ("feedback", (7, "1"), {}, "tenant"),
        ("feedback", ("ada", []), {}, "ids"),
        ("feedback", ("ada", ["1", 2]), {}, "ids[1]"),
        ("feedback", ("ada", None), {}, "ids"),
        ("feedback", ("ada", "1", None), {}, "useful"),
        ("restore", (7, 1), {}, "tenant"),
        ("restore", ("ada", None), {}, "to"),
        ("restore", ("ada", NAIVE), {}, "to"),
        ("restore", ("ada", 1, ""), {}, "as_tenant"),
        ("restore", ("ada", 1, 7), {}, "as_tenant"),
        ("restore", ("ada", 1), {"timeout": 0}, "timeout"),
        ("confirm_restore", (7,), {}, "tenant"),
        ("undo_restore", (7,), {}, "tenant"),
        ("export_tenant", (7, "file"), {}, "tenant"),
        ("export_tenant", ("ada", 7), {}, "path"),
        ("export_tenant", ("ada", ""), {}, "path"),
        ("export_tenant", ("ada", "file", 1), {}, "overwrite"),
        ("import_tenant", (b"file",), {}, "path"),
        ("import_tenant", ("",), {}, "path"),
        ("import_tenant", ("file", ""), {}, "as_tenant"),
        ("import_tenant", ("file", None, 1), {}, "rebuild"),
        ("import_tenant", ("file",), {"timeout": 0}, "timeout"),
        ("stats", ("ada",), {"timeout": math.nan}, "timeout"),
        ("stats", ("ada",), {"timeout": math.inf}, "timeout"),
        ("get_entry", ("ada", None), {}, "id"),
        ("delete_tenant", (None,), {}, "tenant"),
        ("create_tenant", ("new",), {"thetta": 0.1}, "thetta"),
        ("create_tenant", ("new",), {"preset": 7}, "preset"),
        ("create_tenant", ("new",), {"layers": 2.0}, "layers"),
        ("create_tenant", ("new",), {"layers": 2**31}, "layers"),
        ("create_tenant", ("new",), {"theta": "0.1"}, "theta"),
        ("create_tenant", ("new",), {"theta": True}, "theta"),
        ("create_tenant", ("new",), {"eta": None}, "eta"),
        ("create_tenant", ("new",), {"half_life": 10**400}, "half_life"),
        ("create_tenant", ("new",), {"gate": "median"}, "gate"),
        ("create_tenant", ("new",), {"gate": []}, "gate"),
        ("create_tenant", ("new",), {"drift": 1}, "drift"),
        ("create_tenant", ("new",), {"drift_windows": -1}, "drift_windows"),
        ("create_tenant", ("new",), {"drift_windows": 2**31}, "drift_windows"),
        ("create_tenant", ("new",), {"restart_tokens": 2**63}, "restart_tokens"),
        ("create_tenant", ("new",), {"window": 2**31}, "window"),
        ("create_tenant", ("new",), {"max_entries": 1.5}, "max_entries"),
        ("create_tenant", ("new",), {"ttl": "30d"}, "ttl"),
        ("create_tenant", ("new",), {"ttl": True}, "ttl"),
        ("create_tenant", ("new",), {"ttl": -1}, "ttl"),
        ("create_tenant", ("new",), {"ttl": timedelta(-1)}, "ttl"),
        ("create_tenant", ("new",), {"ttl": math.nan}, "ttl"),
        ("create_tenant", ("new",), {"ttl": math.inf}, "ttl"),
        ("create_tenant", ("new",), {"ttl": 1e300}, "ttl"),
        ("create_tenant", ("new",), {"snapshots": "some"}, "snapshots"),
        ("update_tenant", ("ada",), {}, "settings"),
        ("update_tenant", ("ada",), {"preset": "default"}, "preset"),
        ("update_tenant", ("ada",), {"gate_values": 0.5}, "gate_values"),
        ("update_tenant", (7,), {"eta": 0.5}, "tenant"),
        ("hot_restart", (7,), {}, "tenant"),
        ("verify", (7,), {}, "tenant"),
        ("state_hash", (7,), {}, "tenant"),
        ("watch", (7,), {}, "tenant"),
        ("watch", ("ada", -1), {}, "from_seq"),
        ("watch", ("ada", 1.5), {}, "from_seq"),
        ("watch", ("ada",), {"timeout": 0}, "timeout"),
        ("update_entry", ("ada", "text"), {}, "entry"),
        ("update_entry", ("ada", Entry("x")), {}, "id"),
        ("update_entry", ("ada", Entry("x", id="")), {}, "id"),
        ("update_entry", ("ada", Entry("x", id=7)), {}, "id"),
        ("update_entry", ("ada", Entry("\ud800", id="1")), {}, "entry.text"),
        ("update_entry", ("ada", Entry("x" * 2**22, id="1")), {}, "entry"),
        ("delete_entry", ("ada", None), {}, "id"),
        ("forget", ("ada",), {}, "ids"),
        ("forget", ("ada", None), {"metadata": {}}, "ids"),
        ("forget", ("ada", []), {}, "ids"),
        ("forget", ("ada", []), {"session": "s"}, "ids"),
        ("forget", ("ada", ["1", 2]), {}, "ids[1]"),
        ("forget", ("ada", b"12"), {}, "ids"),
        ("forget", ("ada", {"id": "1"}), {}, "ids"),
        ("forget", ("ada", 7), {}, "ids"),
        ("forget", ("ada", "1"), {"after": NAIVE}, "after"),
        ("forget", ("ada", "1"), {"timeout": 0}, "timeout"),
        ("get_erasure", (None,), {}, "operation"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(client, fake, method, args, kwargs, field):
    with pytest.raises(InvalidArgumentError) as raised:
        getattr(client, method)(*args, **kwargs)
    assert raised.value.field == field
    assert not fake.calls


def test_a_refusal_never_shows_text(client):
    with pytest.raises(InvalidArgumentError) as raised:
        client.write("ada", Entry("secret \ud800", metadata={"a": "secret"}))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("metadata", [MappingProxyType({"a": 1}), UserDict({"a": 1})])
def test_any_mapping_can_be_metadata(client, fake, metadata):
    client.write("ada", Entry("x", metadata=metadata))
    assert fake.asked("Write")[0].entries[0].metadata_json == '{"a":1}'


@pytest.mark.parametrize(
    ("options", "field"),
    [({"timeout": 0}, "timeout"), ({"timeout": "1"}, "timeout")],
)
def test_a_wrong_setting_is_refused(connect, options, field):
    with pytest.raises(InvalidArgumentError) as raised:
        connect("127.0.0.1:1", **options)
    assert raised.value.field == field
    with pytest.raises(InvalidArgumentError):
        RetryPolicy(attempts=0)
    with pytest.raises(InvalidArgumentError):
        RetryPolicy(first=2.0, most=1.0)
