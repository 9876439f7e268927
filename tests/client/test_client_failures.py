"""What both clients do when a call fails."""

import copy
import socket

import memsvc_client
import pytest
from fake_server import Fail, Hang, retry_info
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help
from grpc import StatusCode
from memsvc_client import (
    DeadlineExceededError,
    Entry,
    MemsvcError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)

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
