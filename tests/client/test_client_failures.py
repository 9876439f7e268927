"""What both clients do when a call cannot be made or fails."""

import copy
import math
import socket
from collections import UserDict
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import memsvc_client
import pytest
from fake_server import Fail, Hang
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, RetryInfo
from grpc import StatusCode
from memsvc_client import (
    DeadlineExceededError,
    Entry,
    InvalidArgumentError,
    MemsvcError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    RetryPolicy,
    UnavailableError,
)

NAIVE = datetime(2024, 5, 6)
UNAVAILABLE = Fail(StatusCode.UNAVAILABLE, "store down", [ErrorInfo(reason="STORE_DOWN")])


def retry_info(seconds):
    delay = Duration()
    delay.FromMilliseconds(int(seconds * 1000))
    return RetryInfo(retry_delay=delay)


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


CLASSES = {
    kind.default_code: kind
    for kind in vars(memsvc_client).values()
    if isinstance(kind, type) and issubclass(kind, MemsvcError)
}


@pytest.mark.parametrize("code", [code for code in StatusCode if code is not StatusCode.OK], ids=lambda code: code.name)
def test_every_code_has_its_error(client, fake, code):
    fake.fail("Recall", *[Fail(code, "it says why", [ErrorInfo(reason="WHY")])] * 4)
    with pytest.raises(MemsvcError) as raised:
        client.recall("ada", "q")
    assert type(raised.value) is CLASSES.get(code, MemsvcError)
    assert (raised.value.code, raised.value.reason, str(raised.value)) == (code, "WHY", "it says why")


def test_what_a_server_that_stops_cuts_off_is_tried_again(client, fake):
    """gRPC then says that the call was cancelled, which nobody did."""
    fake.fail("Write", Fail(StatusCode.CANCELLED, "CANCELLED"))
    client.write("ada", [Entry("the text", id="1")])
    assert set(fake.tenants["ada"]) == {"1"}
    assert len(fake.asked("Write")) == 2


def test_an_error_carries_what_the_server_says(client, fake):
    details = [
        Help(links=[{"url": "unknown kinds are skipped"}]),
        ErrorInfo(reason="BEYOND_HEAD", domain="memsvc", metadata={"head_seq": "7"}),
        BadRequest(field_violations=[{"field": "min_seq", "description": "beyond"}, {"field": "other"}]),
        retry_info(2.5),
    ]
    fake.fail("Recall", Fail(StatusCode.OUT_OF_RANGE, "min_seq: beyond", details))
    with pytest.raises(OutOfRangeError) as raised:
        client.recall("ada", "q", min_seq=9)
    error = raised.value
    assert (error.reason, error.metadata, error.field) == ("BEYOND_HEAD", {"head_seq": "7"}, "min_seq")
    assert error.retry_after == 2.5
    assert vars(copy.copy(error)) == vars(error)


@pytest.mark.parametrize("trailer", [b"\xff\xff\xff", b""])
def test_details_that_cannot_be_read_do_not_hide_the_error(client, fake, trailer):
    fake.fail("Recall", Fail(StatusCode.DATA_LOSS, "lost", trailers=(("grpc-status-details-bin", trailer),)))
    with pytest.raises(memsvc_client.DataLossError, match="lost") as raised:
        client.recall("ada", "q")
    assert (raised.value.reason, raised.value.field, raised.value.retry_after) == ("DATA_LOSS", None, None)


def test_an_unreachable_server_is_named_with_the_way_to_start_one(connect):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        client = connect(target)
        for call in (lambda: client.stats("ada"), lambda: list(client.write_stream("ada", ["x"]))):
            with pytest.raises(UnavailableError) as raised:
                call()
            assert str(raised.value) == f"no memsvc server answers at {target}; start one with `memsvc serve`"
            assert raised.value.reason == "UNREACHABLE"


def test_a_call_ends_at_its_timeout(client, fake):
    fake.fail("Recall", Hang())
    with pytest.raises(DeadlineExceededError, match="did not answer in time"):
        client.recall("ada", "q", timeout=0.2)


def test_the_client_timeout_is_the_default(connect, fake):
    fake.fail("Recall", Hang())
    with pytest.raises(DeadlineExceededError):
        connect(fake.target, timeout=0.2).recall("ada", "q")


@pytest.mark.parametrize("late", [False, True], ids=["refused", "reply lost"])
def test_a_write_is_tried_again_and_written_once(client, fake, late):
    failure = Fail(StatusCode.UNAVAILABLE, late=late)
    fake.fail("Write", failure, failure)
    receipt = client.write("ada", ["a", "b"])
    assert fake.texts("ada") == ["a", "b"]
    assert receipt.skipped == (late, late)
    requests = fake.asked("Write")
    assert len(requests) == 3
    assert all(request == requests[0] for request in requests)
    assert list(receipt.ids) == [entry.id for entry in requests[0].entries]


@pytest.mark.parametrize(
    ("method", "args", "rpc"),
    [
        ("create_tenant", ("new",), "CreateTenant"),
        ("delete_tenant", ("ada",), "DeleteTenant"),
        ("recall", ("ada", "q"), "Recall"),
        ("stats", ("ada",), "GetTenant"),
        ("hot_restart", ("ada",), "HotRestart"),
        ("verify", ("ada",), "VerifyTenant"),
        ("update_entry", ("ada", Entry("new", id="known")), "UpdateEntry"),
        ("delete_entry", ("ada", "known"), "DeleteEntry"),
        ("forget", ("ada", "known"), "Forget"),
        ("feedback", ("ada", "known"), "Feedback"),
        ("restore", ("ada", 1), "RestoreTenant"),
        ("confirm_restore", ("ada",), "ConfirmRestore"),
        ("undo_restore", ("ada",), "UndoRestore"),
        ("get_entry", ("ada", "known", datetime(2024, 5, 6, tzinfo=UTC)), "GetEntry"),
    ],
)
def test_every_call_is_tried_again_as_it_was(client, fake, method, args, rpc):
    client.write("ada", Entry("old", id="known"))
    fake.fail(rpc, UNAVAILABLE)
    getattr(client, method)(*args)
    first, second = fake.asked(rpc)
    assert first == second


@pytest.mark.parametrize(
    ("method", "args", "settings", "rpc"),
    [
        ("create_tenant", ("new",), {}, "CreateTenant"),
        ("update_tenant", ("ada",), {"eta": 0.5}, "UpdateTenant"),
        ("delete_tenant", ("ada",), {}, "DeleteTenant"),
        ("hot_restart", ("ada",), {}, "HotRestart"),
        ("update_entry", ("ada", Entry("new", id="known")), {}, "UpdateEntry"),
        ("delete_entry", ("ada", "known"), {}, "DeleteEntry"),
        ("forget", ("ada", "known"), {}, "Forget"),
        ("feedback", ("ada", "known"), {}, "Feedback"),
        ("restore", ("ada", 1), {}, "RestoreTenant"),
        ("confirm_restore", ("ada",), {}, "ConfirmRestore"),
        ("undo_restore", ("ada",), {}, "UndoRestore"),
    ],
)
def test_what_changes_something_does_so_once_and_each_call_anew(client, fake, method, args, settings, rpc):
    """A lost reply is asked for again under the request's id; another call has another."""
    client.write("ada", Entry("old", id="known"))
    before = fake.seq
    fake.fail(rpc, Fail(StatusCode.UNAVAILABLE, late=True), Fail(StatusCode.UNAVAILABLE, late=True))
    getattr(client, method)(*args, **settings)
    assert fake.seq <= before + 1
    requests = fake.asked(rpc)
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    assert 1 <= len(requests[0].request_id) <= 64
    fake.fail(rpc, Fail(StatusCode.ABORTED))
    with pytest.raises(MemsvcError):
        getattr(client, method)(*args, **settings)
    assert fake.asked(rpc)[-1].request_id not in {"", requests[0].request_id}


@pytest.mark.parametrize(
    ("method", "args", "settings"),
    [
        ("update_tenant", ("nobody",), {"eta": 0.5}),
        ("hot_restart", ("nobody",), {}),
        ("verify", ("nobody",), {}),
        ("state_hash", ("nobody",), {}),
        ("update_entry", ("ada", Entry("x", id="nothing")), {}),
        ("delete_entry", ("ada", "nothing"), {}),
        ("forget", ("nobody", "1"), {}),
        ("get_erasure", ("nothing",), {}),
        ("feedback", ("ada", "nothing"), {}),
        ("restore", ("nobody", 1), {}),
        ("confirm_restore", ("nobody",), {}),
        ("undo_restore", ("nobody",), {}),
    ],
)
def test_what_is_not_there_is_not_found(client, method, args, settings):
    with pytest.raises(NotFoundError):
        getattr(client, method)(*args, **settings)


@pytest.mark.parametrize(
    ("method", "args", "settings", "rpc"),
    [
        ("update_tenant", ("ada",), {"eta": 0.5}, "UpdateTenant"),
        ("hot_restart", ("ada",), {}, "HotRestart"),
        ("verify", ("ada",), {}, "VerifyTenant"),
        ("update_entry", ("ada", Entry("x", id="1")), {}, "UpdateEntry"),
        ("delete_entry", ("ada", "1"), {}, "DeleteEntry"),
        ("forget", ("ada", "1"), {}, "Forget"),
        ("get_erasure", ("1",), {}, "GetErasure"),
        ("feedback", ("ada", "1"), {}, "Feedback"),
        ("restore", ("ada", 1), {}, "RestoreTenant"),
        ("confirm_restore", ("ada",), {}, "ConfirmRestore"),
        ("undo_restore", ("ada",), {}, "UndoRestore"),
    ],
)
def test_every_call_has_a_deadline(client, fake, method, args, settings, rpc):
    fake.fail(rpc, Hang())
    with pytest.raises(DeadlineExceededError):
        getattr(client, method)(*args, **settings, timeout=0.1)


def test_a_list_goes_on_from_the_page_that_failed(client, fake):
    client.write("ada", [Entry(str(i), id=str(i)) for i in range(8)])
    fake.fail("ListEntries", None, UNAVAILABLE)
    assert [entry.id for entry in client.list_entries("ada")] == [str(i) for i in range(8)]
    assert [request.page_token for request in fake.asked("ListEntries")] == ["", "3", "3", "6"]


def test_tries_are_bounded(client, fake):
    fake.fail("Recall", *[UNAVAILABLE] * 9)
    with pytest.raises(UnavailableError, match="store down") as raised:
        client.recall("ada", "q")
    assert raised.value.reason == "STORE_DOWN"
    assert len(fake.asked("Recall")) == 4


@pytest.mark.parametrize(
    "code", [StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED]
)
def test_what_time_does_not_heal_is_not_tried_again(client, fake, code):
    fake.fail("Recall", Fail(code), Fail(code))
    with pytest.raises(MemsvcError):
        client.recall("ada", "q")
    assert len(fake.asked("Recall")) == 1


FULL = StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "failure",
    [
        Fail(FULL, details=[ErrorInfo(reason="QUEUE_FULL"), retry_info(0.01)]),
        Fail(FULL, trailers=(("grpc-retry-pushback-ms", "10"),)),
        Fail(StatusCode.UNAVAILABLE, details=[retry_info(0.01)]),
    ],
    ids=["retry info", "pushback", "unavailable"],
)
def test_a_server_that_names_a_delay_is_obeyed_beyond_the_bound(client, fake, failure):
    fake.fail("Write", *[failure] * 9)
    client.write("ada", "x")
    assert len(fake.asked("Write")) == 10
    assert fake.texts("ada") == ["x"]


@pytest.mark.parametrize(
    ("failure", "retry_after"),
    [
        (Fail(FULL), None),
        (Fail(FULL, trailers=(("grpc-retry-pushback-ms", "-1"),)), math.inf),
        (Fail(FULL, trailers=(("grpc-retry-pushback-ms", "soon"),)), math.inf),
        (Fail(FULL, details=[retry_info(3600)]), 3600),
        (Fail(FULL, details=[retry_info(0.01)], trailers=(("grpc-retry-pushback-ms", "3600000"),)), 3600),
        (Fail(StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "-1"),)), math.inf),
    ],
    ids=["no delay", "negative", "unreadable", "beyond the timeout", "the longer counts", "unavailable, negative"],
)
def test_a_delay_that_cannot_be_waited_for_is_reported_at_once(client, fake, failure, retry_after):
    fake.fail("Write", failure)
    with pytest.raises((ResourceExhaustedError, UnavailableError)) as raised:
        client.write("ada", "x")
    assert raised.value.retry_after == retry_after
    assert len(fake.asked("Write")) == 1


def test_one_attempt_means_no_second(connect, fake):
    fake.fail("Write", Fail(FULL, details=[retry_info(0.01)]), UNAVAILABLE)
    client = connect(fake.target, retry=RetryPolicy(attempts=1))
    with pytest.raises(ResourceExhaustedError):
        client.write("ada", "x")
    with pytest.raises(UnavailableError):
        client.write("ada", "x")
