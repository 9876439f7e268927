"""The past of a tenant, in both clients: asked, listed, and brought back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from fake_server import Fail
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode
from memsvc_client import DeadlineExceededError, Entry, FailedPreconditionError, OutOfRangeError, Tenant

NOON = datetime(2024, 5, 6, 12, 0, 0, 123456, tzinfo=UTC)
THERE = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))


@pytest.fixture
def held(client, fake):
    client.write("ada", [Entry(str(i), id=str(i)) for i in range(5)])
    return fake


ASKING = [
    ("Recall", lambda client, as_of: client.recall("ada", "where?", as_of=as_of)),
    ("GetEntry", lambda client, as_of: client.get_entry("ada", "1", as_of)),
    ("ListEntries", lambda client, as_of: list(client.list_entries("ada", as_of=as_of))),
]


@pytest.mark.parametrize(("rpc", "ask"), ASKING, ids=[rpc for rpc, _ in ASKING])
def test_a_moment_is_a_record_or_a_time(client, held, rpc, ask):
    ask(client, 3)
    request = held.asked(rpc)[-1]
    assert (request.as_of.WhichOneof("moment"), request.as_of.seq) == ("seq", 3)
    ask(client, THERE)
    request = held.asked(rpc)[-1]
    assert request.as_of.WhichOneof("moment") == "time"
    assert request.as_of.time.ToDatetime(tzinfo=UTC) == NOON
    ask(client, 0)
    assert held.asked(rpc)[-1].as_of.WhichOneof("moment") == "seq"
    ask(client, None)
    assert not held.asked(rpc)[-1].HasField("as_of")


def test_every_page_of_the_past_is_of_the_same_moment(client, held):
    assert len(list(client.list_entries("ada", as_of=1))) == 5
    assert [request.as_of.seq for request in held.asked("ListEntries")] == [1, 1]


def test_evicted_entries_are_listed_when_they_are_asked_for(client, held):
    list(client.list_entries("ada"))
    list(client.list_entries("ada", include_evicted=True))
    assert [request.include_evicted for request in held.asked("ListEntries")] == [False, False, True, True]


def test_a_past_that_is_not_folded_in_time_says_how_far_it_is(client, fake):
    info = ErrorInfo(reason="FOLDING", metadata={"folded_seq": "40", "as_of_seq": "90"})
    fake.fail("Recall", Fail(StatusCode.DEADLINE_EXCEEDED, "the past is not folded yet", [info]))
    with pytest.raises(DeadlineExceededError, match="the past is not folded yet") as raised:
        client.recall("ada", "where?", as_of=90)
    assert raised.value.metadata == {"folded_seq": "40", "as_of_seq": "90"}
    assert len(fake.asked("Recall")) == 1
    client.recall("ada", "where?", as_of=90)  # goes on from there


def test_a_recall_of_the_past_is_tried_again_as_it_was(client, fake):
    fake.fail("Recall", Fail(StatusCode.UNAVAILABLE), Fail(StatusCode.UNAVAILABLE))
    client.recall("ada", "where?", as_of=NOON)
    first, *others = fake.asked("Recall")
    assert others == [first, first]


def test_a_moment_to_come_is_out_of_range(client, fake):
    fake.fail("Recall", Fail(StatusCode.OUT_OF_RANGE, "as_of: beyond the head"))
    with pytest.raises(OutOfRangeError, match="as_of"):
        client.recall("ada", "where?", as_of=10**6)


def test_restore_in_its_own_place_returns_the_tenant(client, held):
    tenant = client.restore("ada", 3)
    assert isinstance(tenant, Tenant)
    assert (tenant.tenant, tenant.uid) == ("ada", "restored-2")
    (request,) = held.asked("RestoreTenant")
    assert (request.tenant, request.to.WhichOneof("moment"), request.to.seq) == ("ada", "seq", 3)
    assert request.as_tenant == ""


def test_restore_as_another_tenant_names_it(client, held):
    assert client.restore("ada", THERE, "eve").tenant == "eve"
    (request,) = held.asked("RestoreTenant")
    assert request.to.time.ToDatetime(tzinfo=UTC) == NOON
    assert request.as_tenant == "eve"
    assert held.texts("eve") == held.texts("ada")


def test_a_restore_is_confirmed_or_undone(client, fake):
    assert client.confirm_restore("ada") is None
    assert fake.asked("ConfirmRestore")[0].tenant == "ada"
    assert client.undo_restore("ada").uid == "before"
    assert fake.asked("UndoRestore")[0].tenant == "ada"


@pytest.mark.parametrize(("method", "rpc"), [("confirm_restore", "ConfirmRestore"), ("undo_restore", "UndoRestore")])
def test_where_nothing_waits_it_is_said(client, fake, method, rpc):
    fake.fail(rpc, Fail(StatusCode.FAILED_PRECONDITION, "none is parked", [ErrorInfo(reason="NO_RESTORE_PENDING")]))
    with pytest.raises(FailedPreconditionError) as raised:
        getattr(client, method)("ada")
    assert raised.value.reason == "NO_RESTORE_PENDING"
