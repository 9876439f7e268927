"""The past, restores, files, feedback, expiry and policies, through the client and over the wire."""

import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from memsvc_client import (
    AlreadyExistsError,
    DeadlineExceededError,
    Entry,
    FailedPreconditionError,
    InvalidArgumentError,
    MemoryClient,
    NotFoundError,
    OutOfRangeError,
)

from memsvc.v1.memory_pb2 import FeedbackRequest, ListEntriesRequest, RecallRequest
from memsvc.v1.tenants_pb2 import (
    ConfirmRestoreRequest,
    ExportTenantRequest,
    ImportTenantRequest,
    UndoRestoreRequest,
)
from tests.server.test_changes import turns
from tests.serving import Server, Stubs


def found(client: MemoryClient, tenant: str, **options) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in client.recall(tenant, "thing 7", k=100, **options)]


def test_the_past_answers_as_it_did(client: MemoryClient) -> None:
    client.create_tenant("past", snapshots="all")
    client.write("past", turns(5), wait="applied")
    then, at = found(client, "past"), client.stats("past").head_seq
    moment = datetime.now(UTC)
    time.sleep(0.01)
    client.write("past", turns(5, 5), wait="applied")
    client.update_entry("past", Entry("revised", id="e1"))
    assert found(client, "past", as_of=at) == then == found(client, "past", as_of=moment)
    assert found(client, "past") != then
    assert client.get_entry("past", "e1", as_of=at).text.startswith("turn 1")
    assert client.get_entry("past", "e1").text == "revised"
    assert [e.id for e in client.list_entries("past", as_of=moment)] == [f"e{i}" for i in range(5)]
    with pytest.raises(OutOfRangeError):
        client.recall("past", "x", as_of=99)
    with pytest.raises(InvalidArgumentError, match="min_seq"):
        client.recall("past", "x", as_of=1, min_seq=1)


def test_an_unset_moment_is_refused(client, stubs) -> None:
    client.create_tenant("unset")
    request = RecallRequest(tenant="unset", query="x")
    request.as_of.SetInParent()
    with pytest.raises(grpc.RpcError, match="as_of: must be a seq or a time"):
        stubs.memory.Recall(request)
    listing = ListEntriesRequest(tenant="unset", include_evicted=True)
    listing.as_of.seq = 1
    with pytest.raises(grpc.RpcError, match="include_evicted"):
        stubs.memory.ListEntries(listing)


def test_a_past_that_takes_long_says_how_far_it_is(client: MemoryClient) -> None:
    client.create_tenant("long")
    for start in range(0, 3000, 500):
        client.write("long", turns(500, start), wait="applied")
    with pytest.raises(DeadlineExceededError) as caught:
        client.recall("long", "thing 7", as_of=6, timeout=0.05)
    folded, to = (int(caught.value.metadata.get(key, 0)) for key in ("folded_seq", "as_of_seq"))
    assert folded <= to <= 6
    assert len(client.recall("long", "thing 7", k=10, as_of=6, timeout=60)) == 10


def test_a_tenant_is_restored_beside_and_in_place(client: MemoryClient) -> None:
    client.create_tenant("restored")
    at = client.write("restored", turns(5), wait="applied").seq
    then = client.state_hash("restored")
    client.write("restored", turns(5, 5), wait="applied")
    now = client.state_hash("restored")
    client.restore("restored", at, as_tenant="restored beside")
    assert client.state_hash("restored beside") == then
    with pytest.raises(AlreadyExistsError):
        client.restore("restored", at, as_tenant="restored beside")
    client.restore("restored", at)
    assert client.state_hash("restored") == then
    assert client.stats("restored").restore_pending
    with pytest.raises(FailedPreconditionError, match="confirm"):
        client.forget("restored", ["e1"])
    client.undo_restore("restored")
    assert client.state_hash("restored") == now
    client.restore("restored", at)
    client.confirm_restore("restored")
    assert client.state_hash("restored") == then
    with pytest.raises(FailedPreconditionError):
        client.undo_restore("restored")
    assert "tenant restored beside" not in client.forget("restored", ["e1"]).copies, (
        "what it was is gone, its notes too"
    )


def test_a_file_goes_out_and_comes_in(client: MemoryClient, tmp_path) -> None:
    client.create_tenant("out", max_entries=50)
    client.write("out", turns(60), wait="applied")
    size = client.export_tenant("out", tmp_path / "out.memsvc")
    assert size == (tmp_path / "out.memsvc").stat().st_size
    made = client.import_tenant(tmp_path / "out.memsvc", as_tenant="in")
    assert (made.tenant.tenant, made.adopted) == ("in", False)
    assert client.state_hash("in") == client.state_hash("out")
    assert client.stats("in").evicted == client.stats("out").evicted == 15
    (copy,) = client.forget("out", ["e1"]).copies
    assert copy.startswith("export of ")
    (tmp_path / "bad").write_bytes((tmp_path / "out.memsvc").read_bytes()[:-3])
    with pytest.raises(InvalidArgumentError, match="cut short"):
        client.import_tenant(tmp_path / "bad", as_tenant="never")
    with pytest.raises(NotFoundError):
        client.stats("never")


def test_what_is_useful_stays_and_the_rest_says_that_it_left(client: MemoryClient) -> None:
    client.create_tenant("full", max_entries=10)
    client.write("full", turns(10), wait="applied")
    for _ in range(8):
        client.feedback("full", ["e0", "e1"])
    client.write("full", turns(3, 10), wait="applied")
    stay = [e.id for e in client.list_entries("full")]
    assert len(stay) == 9
    assert {"e0", "e1"} <= set(stay)
    assert [e.id for e in client.list_entries("full", include_evicted=True)] == [f"e{i}" for i in range(13)]
    gone = next(f"e{i}" for i in range(13) if f"e{i}" not in stay)
    with pytest.raises(NotFoundError) as caught:
        client.get_entry("full", gone)
    assert caught.value.reason == "EVICTED"
    assert client.update_tenant("full", max_entries=100).policies.max_entries == 100
    assert client.get_entry("full", gone).id == gone


def test_a_time_to_live_is_kept(client: MemoryClient) -> None:
    client.create_tenant("mayfly", ttl=timedelta(seconds=1))
    far = datetime(2200, 1, 1, tzinfo=UTC)
    client.write("mayfly", [Entry("short", id="short"), Entry("long", id="long", expire=far)])
    assert client.get_entry("mayfly", "long").expire == far
    for _ in range(60):
        if [e.id for e in client.list_entries("mayfly")] == ["long"]:
            break
        time.sleep(0.1)
    with pytest.raises(NotFoundError) as caught:
        client.get_entry("mayfly", "short")
    assert caught.value.reason == "EXPIRED"


def test_snapshots_are_counted_and_told(tmp_path) -> None:
    with Server(tmp_path / "data", snapshot_min_tokens=1, snapshot_idle_s=0.1) as server, server.client() as client:
        client.create_tenant("kept", snapshots="all")
        events = client.watch("kept")
        for i in range(3):
            client.write("kept", turns(30, 30 * i), wait="applied")
            at = client.stats("kept").head_seq
            assert next(e for e in events if e.kind == "snapshot").figures["at"] == at
        stats = client.stats("kept")
        assert stats.snapshots == 3
        assert stats.snapshot_bytes > 0


def test_what_was_answered_is_answered_again(client: MemoryClient, stubs) -> None:
    """Retries of calls whose reply was lost, as a client sends them."""
    client.create_tenant("again")
    at = client.write("again", turns(5), wait="applied").seq
    client.write("again", turns(5, 5), wait="applied")
    now = client.state_hash("again")
    client.restore("again", at)
    undo = UndoRestoreRequest(tenant="again", request_id="undo again")
    first = stubs.tenants.UndoRestore(undo)
    assert stubs.tenants.UndoRestore(undo) == first
    assert client.state_hash("again") == now
    client.restore("again", at)
    confirm = ConfirmRestoreRequest(tenant="again", request_id="confirm again")
    for _ in range(2):
        stubs.tenants.ConfirmRestore(confirm)
    for other in (UndoRestoreRequest(tenant="again"), UndoRestoreRequest(tenant="again", request_id="another")):
        with pytest.raises(grpc.RpcError, match="no restore waits"):
            stubs.tenants.UndoRestore(other)
    for call in (
        lambda: stubs.tenants.UndoRestore(UndoRestoreRequest(tenant="again", request_id="x" * 65)),
        lambda: stubs.tenants.ConfirmRestore(ConfirmRestoreRequest(tenant="again", request_id="x" * 65)),
        lambda: stubs.tenants.ImportTenant(iter([ImportTenantRequest(request_id="x" * 65)])),
    ):
        with pytest.raises(grpc.RpcError, match="request_id"):
            call()


def test_a_file_comes_in_once_for_each_request(client: MemoryClient, stubs, tmp_path) -> None:
    client.create_tenant("source")
    client.write("source", turns(20), wait="applied")
    client.export_tenant("source", tmp_path / "file")
    data = (tmp_path / "file").read_bytes()

    def imported(request_id: str):
        first = ImportTenantRequest(as_tenant="once", request_id=request_id, data=data[:1000])
        return stubs.tenants.ImportTenant(iter([first, ImportTenantRequest(data=data[1000:])]))

    made = imported("import once")
    assert imported("import once") == made
    with pytest.raises(grpc.RpcError, match="exists"):
        imported("import twice")
    for field in ({"request_id": "late"}, {"as_tenant": "late"}, {"rebuild": True}):
        late = iter([ImportTenantRequest(data=data), ImportTenantRequest(**field)])
        with pytest.raises(grpc.RpcError, match=f"{next(iter(field))}: is for the first message only"):
            stubs.tenants.ImportTenant(late)


def test_an_export_says_about_how_long_it_is(tmp_path) -> None:
    with Server(tmp_path / "data", snapshot_min_tokens=1, snapshot_idle_s=0.1) as server, server.client() as client:
        client.create_tenant("long", snapshots="all")
        events = client.watch("long")
        for i in range(4):
            client.write("long", turns(100, 100 * i), wait="applied")
            next(e for e in events if e.kind == "snapshot")
        events.close()
        with Stubs(server.target) as stubs:
            parts = list(stubs.tenants.ExportTenant(ExportTenantRequest(tenant="long")))
        size = sum(len(part.data) for part in parts)
        assert len(parts) > 1
        assert 0.5 * size < parts[0].total_bytes < 2 * size
        assert not any(part.total_bytes for part in parts[1:])


def test_feedback_that_says_nothing_is_refused(client: MemoryClient, stubs) -> None:
    client.create_tenant("mute")
    client.write("mute", Entry("x", id="1"))
    with pytest.raises(grpc.RpcError, match="useful: must be set"):
        stubs.memory.Feedback(FeedbackRequest(tenant="mute", ids=["1"]))
    assert stubs.memory.Feedback(FeedbackRequest(tenant="mute", ids=["1"], useful=False)).seq == 3
    with pytest.raises(InvalidArgumentError, match="1001; must have 1 to 1000"):
        client.feedback("mute", ["1"] * 1001)
