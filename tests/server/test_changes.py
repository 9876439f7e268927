"""Settings, revisions, deletions, erasure and events, through the client and over the wire."""

import itertools
import queue
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from memsvc_client import Entry, Event, FailedPreconditionError, InvalidArgumentError, MemoryClient, NotFoundError

from memsvc.v1.memory_pb2 import ForgetRequest
from memsvc.v1.tenants_pb2 import GetTenantRequest, UpdateTenantRequest
from memsvc.v1.types_pb2 import MemoryConfig, Tenant
from tests.serving import Server


def turns(n: int, start: int = 0) -> list[Entry]:
    return [
        Entry(f"turn {i} is about thing {i * 7919 % 997}", id=f"e{i}", session="s") for i in range(start, start + n)
    ]


def test_a_tenant_is_made_from_a_preset_and_changed_while_it_lives(client: MemoryClient) -> None:
    client.create_tenant("preset", preset="dialogue", theta=0.01)
    changed = client.update_tenant("preset", eta=0.98, half_life=500, gate="quantile", gate_value=0.5)
    assert (changed.memory.layers, changed.memory.eta, changed.memory.half_life) == (6, 0.98, 500)
    # A change of eta keeps the effective step.
    assert changed.memory.theta == pytest.approx(0.01 * 0.02 / 0.004)
    assert changed.memory.gate == "quantile"
    client.write("preset", turns(5), wait="applied")
    seq = client.hot_restart("preset")
    client.write("preset", turns(5, start=5), wait="applied")
    stats = client.stats("preset")
    assert stats.head_seq == seq + 1
    assert (stats.restarts, stats.restart_tokens_left > 0) == (1, True)
    verified = client.verify("preset")
    assert verified.equal
    assert verified.state_hash == client.state_hash("preset")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"layers": 3}, "layers"),
        ({"eta": 2.0}, "eta"),
        ({"restart_tokens": 0}, "restart_tokens"),
        ({"window": 1_023}, "memory.window"),
        ({"window": (1 << 20) + 1}, "memory.window"),
    ],
)
def test_a_wrong_setting_is_named_and_changes_nothing(client: MemoryClient, settings, field) -> None:
    client.create_tenant("wrong", exist_ok=True)
    before = client.stats("wrong").head_seq
    with pytest.raises(InvalidArgumentError, match=field):
        client.update_tenant("wrong", **settings)
    assert client.stats("wrong").head_seq == before
    with pytest.raises(InvalidArgumentError, match="preset"):
        client.create_tenant("nothing", preset="novel")


def test_a_window_is_the_presets_or_ones_own_and_no_part_of_the_state(client: MemoryClient) -> None:
    for preset, window in (("default", 131_072), ("long-doc", 131_072), ("genomics", 65_536), ("dialogue", 131_072)):
        client.create_tenant(f"window {preset}", preset=preset)
        client.create_tenant(f"own {preset}", preset=preset, window=4096)
        shown = {each.tenant: each.memory.window for each in client.list_tenants()}
        assert (shown[f"window {preset}"], shown[f"own {preset}"]) == (window, 4096)
    with pytest.raises(InvalidArgumentError, match=r"memory\.window"):
        client.create_tenant("too wide", window=(1 << 20) + 1)
    for tenant in ("window default", "own default"):
        client.write(tenant, turns(60))
    assert client.update_tenant("own default", window=2048).memory.window == 2048
    for tenant in ("window default", "own default"):
        client.write(tenant, turns(60, start=60))
    assert client.state_hash("own default") == client.state_hash("window default")
    assert client.verify("own default").equal


def test_a_mask_that_names_nothing_it_may_is_refused(stubs, client) -> None:
    client.create_tenant("mask", exist_ok=True)
    for paths, memory in (
        (["uid"], {}),
        (["x" * 20_000], {}),
        (["memory.eta"], {}),
        ([], {}),
        (["memory.depth"], {"eta": 0.5}),
    ):
        request = UpdateTenantRequest(tenant=Tenant(tenant="mask", memory=MemoryConfig(**memory)))
        request.update_mask.paths.extend(paths)
        with pytest.raises(grpc.RpcError) as refused:
            stubs.tenants.UpdateTenant(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as refused:
        stubs.memory.Forget(ForgetRequest(tenant="mask"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_what_only_a_creation_can_have_is_refused_by_name(stubs, client) -> None:
    client.create_tenant("made", exist_ok=True)
    before = client.stats("made").head_seq
    for tenant, field in (
        (Tenant(tenant="made", memory=MemoryConfig(preset="dialogue", eta=0.5)), "tenant.memory.preset"),
        (Tenant(tenant="made", memory=MemoryConfig(eta=0.5), context_memory="text"), "tenant.context_memory"),
    ):
        with pytest.raises(grpc.RpcError, match=f"{field}: is f") as refused:
            stubs.tenants.UpdateTenant(UpdateTenantRequest(tenant=tenant))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert client.stats("made").head_seq == before
    # What a read returned may be sent back with a change in it.
    read = stubs.tenants.GetTenant(GetTenantRequest(tenant="made"))
    read.memory.eta = 0.5
    assert stubs.tenants.UpdateTenant(UpdateTenantRequest(tenant=read)).memory.eta == 0.5


def test_an_entry_is_replaced_and_hidden(client: MemoryClient) -> None:
    client.create_tenant("revise")
    client.write("revise", [Entry("the code is zzqx", id="a"), Entry("the colour is grue", id="b", learn=False)])
    client.update_entry("revise", Entry("the code is wwpy", id="a"))
    assert client.get_entry("revise", "a").text == "the code is wwpy"
    assert client.recall("revise", "the code is wwpy")[0].id == "a"
    assert not client.get_entry("revise", "b").learn
    assert client.delete_entry("revise", "a").text_kept
    assert not client.delete_entry("revise", "b").text_kept
    assert list(client.list_entries("revise")) == []
    assert len(client.recall("revise", "code")) == 0
    for id in ("a", "none"):
        with pytest.raises(NotFoundError) as gone:
            client.get_entry("revise", id)
        assert gone.value.reason == ("DELETED" if id == "a" else "ENTRY_NOT_FOUND")


def test_what_is_forgotten_is_as_if_it_had_never_been_written(tmp_path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        for tenant in ("t", "twin"):
            client.create_tenant(tenant)
            client.write(tenant, turns(60))
        client.write("t", [Entry("the password is zanzibar", id="p", metadata={"secret": True}, session="vault")])
        for tenant in ("t", "twin"):
            client.write(tenant, turns(60, start=60))
        receipt = client.forget("t", metadata={"secret": True})
        assert receipt.done
        assert receipt.entries == 1
        assert receipt.bytes_destroyed > 0
        client.write("twin", turns(1, start=120), wait="applied")
        client.write("t", turns(1, start=120), wait="applied")
        assert client.state_hash("t") == client.state_hash("twin")
        assert client.verify("t").equal
        assert client.get_erasure(receipt.operation) == receipt
        with pytest.raises(FailedPreconditionError) as refused:
            client.write("t", [Entry("the password is zanzibar", id="p")])
        assert refused.value.reason == "FORGOTTEN"
        server.stop()
        for file in (tmp_path / "data").iterdir():
            assert b"zanzibar" not in file.read_bytes()
            assert b"vault" not in file.read_bytes()


def test_what_is_forgotten_satisfies_all_that_is_given(client: MemoryClient) -> None:
    noon, hour = datetime(2026, 1, 1, 12, tzinfo=UTC), timedelta(hours=1)
    client.create_tenant("chosen")
    client.write(
        "chosen", [Entry(f"thing {i}", id=f"e{i}", session="ab"[i % 2], time=noon + i * hour) for i in range(8)]
    )
    for chosen, left in (
        ({"after": noon + 2 * hour, "before": noon + 5 * hour}, "01567"),
        ({"ids": ["e0", "e1"], "session": "b"}, "0567"),
        ({"session": "a", "before": noon + 7 * hour}, "57"),
    ):
        there = sum(1 for _ in client.list_entries("chosen"))
        assert client.forget("chosen", **chosen).entries == there - len(left)
        assert [entry.id for entry in client.list_entries("chosen")] == [f"e{i}" for i in left]
    assert client.verify("chosen").equal


def test_a_kill_in_the_middle_of_an_erasure_loses_nothing_of_it(tmp_path) -> None:
    with Server(tmp_path / "data") as server:
        with server.client() as client:
            for tenant in ("t", "twin"):
                client.create_tenant(tenant)
                client.write(tenant, turns(300))
            client.write("t", [Entry("the password is zanzibar", id="p")])
            receipt = client.forget("t", ids=["p"], wait=False)
        server.kill()
        server.start()
        with server.client() as client:
            assert client.forget("t", ids=["e5"]).done
            client.forget("twin", ids=["e5"])
            assert client.get_erasure(receipt.operation).done
            assert client.state_hash("t") == client.state_hash("twin")


def test_events_come_as_they_happen(client: MemoryClient) -> None:
    client.create_tenant("watched")
    client.update_tenant("watched", theta=0.1)
    events = client.watch("watched")
    assert next(events).kind == "configured"
    timer = threading.Timer(0.2, client.hot_restart, ["watched"])
    timer.start()
    event = next(events)
    events.close()
    timer.join()
    assert (event.kind, event.figures["tokens"]) == ("restart", 10_000)
    again = list(itertools.islice(client.watch("watched", from_seq=event.seq - 1), 1))
    assert again == [event]


def test_who_watches_a_tenant_hears_of_its_restore_and_of_what_comes_after(client: MemoryClient) -> None:
    """The log goes back behind what was told already."""
    client.create_tenant("put back")
    at = client.write("put back", turns(3), wait="applied").seq
    first = client.hot_restart("put back")
    heard: queue.Queue[Event] = queue.Queue()

    def watch() -> None:
        with suppress(NotFoundError):
            for event in client.watch("put back"):
                heard.put(event)

    watching = threading.Thread(target=watch)
    watching.start()
    assert heard.get(timeout=30) == Event(first, "restart", {"tokens": 10_000})
    client.restore("put back", at)
    assert heard.get(timeout=30) == Event(at, "restored", {"to": at})
    again = client.hot_restart("put back")
    assert again == at + 1 == first
    assert heard.get(timeout=30) == Event(again, "restart", {"tokens": 10_000})
    client.undo_restore("put back")
    assert heard.get(timeout=30) == Event(first, "restored", {"to": first})
    client.delete_tenant("put back")
    watching.join(30)
    assert heard.empty()
