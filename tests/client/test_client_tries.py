"""What both clients try again, as often as is right and as it was."""

import math
from datetime import UTC, datetime

import pytest
from client_calls import CHANGES
from fake_server import Fail, retry_info
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode
from memsvc_client import Entry, MemsvcError, ResourceExhaustedError, RetryPolicy, UnavailableError

UNAVAILABLE = Fail(StatusCode.UNAVAILABLE, "store down", [ErrorInfo(reason="STORE_DOWN")])
FULL = StatusCode.RESOURCE_EXHAUSTED


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


@pytest.mark.parametrize(("method", "args", "settings", "rpc"), CHANGES)
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
