"""What a caller of the server relies on, over the wire."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from memsvc_client import AsyncMemoryClient, Entry

from memsvc.v1.memory_pb2 import (
    ListEntriesRequest,
    WriteStreamBatch,
    WriteStreamFlush,
    WriteStreamOpen,
    WriteStreamRequest,
)
from memsvc.v1.tenants_pb2 import CreateTenantRequest, GetTenantRequest, ListTenantsRequest
from memsvc.v1.types_pb2 import Entry as EntryMessage
from memsvc.v1.types_pb2 import Filter, MemoryConfig, Tenant

LANGUAGES = {
    "Chinese": ("昨天我们在杭州西湖边看了荷花", "荷花"),
    "Japanese": ("駅前の図書館は日曜日に休みです", "図書館"),
    "Arabic": ("ذهبنا أمس إلى المكتبة الكبيرة", "المكتبة"),
    "Russian": ("Вчера мы купили самовар на ярмарке", "самовар"),
    "French": ("Élodie a cuisiné une crème brûlée", "brûlée"),
    "decomposed": ("Le cafe\u0301 est ferme\u0301", "café"),
    "Thai": ("เมื่อวานฝนตกหนักมาก", "ฝนตก"),
    "emoji": ("Dinner tonight: 🍕 with friends", "🍕"),
    "German": ("Die Straße nach Süden ist gesperrt", "STRASSE"),
}


@pytest.fixture(scope="module")
def languages(server):
    with server.client() as client:
        client.create_tenant("languages")
        filler = [Entry(f"ordinary note number {i} about nothing in particular", id=f"f{i}") for i in range(30)]
        client.write("languages", [*(Entry(text, id=name) for name, (text, _) in LANGUAGES.items()), *filler])
    return "languages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_any_language_is_found_by_a_word_and_comes_back_intact(client, languages, language) -> None:
    text, word = LANGUAGES[language]
    hit = client.recall(languages, word, k=1)[0]
    assert (hit.id, hit.text) == (language, text)
    assert hit.parts.lexical > 0


@pytest.mark.parametrize("tenant", ["a@b.example", "x/y/z", "🦊", "tenants/x", "%2F", " ", "é" * 128])
def test_any_name_is_a_tenant_and_an_entry(client, stubs, tenant) -> None:
    client.create_tenant(tenant)
    client.write(tenant, [Entry("hello there", id=tenant)])
    assert client.get_entry(tenant, tenant).text == "hello there"
    (listed,) = stubs.memory.ListEntries(ListEntriesRequest(tenant=tenant)).entries
    assert listed.name.isascii()
    assert listed.name.count("/") == 3
    client.delete_tenant(tenant)


def test_everything_written_comes_back_as_given(client) -> None:
    client.create_tenant("given")
    time = datetime(2023, 5, 8, 13, 56, 0, 123456, UTC)
    metadata = {"z": 1, "a": 1.0, "big": 2**60, "nested": {"ü": [None, True]}, "text": "x"}
    entry = Entry(
        "It's a  text\n\twith \u0000 control", id="e", session="s/1", role="user", time=time, metadata=metadata
    )
    client.write("given", [entry])
    back = client.get_entry("given", "e")
    assert (back.text, back.session, back.role, back.time) == (entry.text, "s/1", "user", time)
    assert back.metadata == metadata
    assert list(back.metadata) == list(metadata)
    assert isinstance(back.metadata["z"], int)
    assert isinstance(back.metadata["a"], float)
    client.write("given", [Entry("no time of its own", id="n")])
    stamped = client.get_entry("given", "n").time
    assert abs(stamped - datetime.now(UTC)) < timedelta(minutes=5)


def test_pages_hold_every_entry_once_in_order(client, stubs) -> None:
    client.create_tenant("pages")
    client.write("pages", [Entry(f"entry {i}", id=f"{i}", session="even" if i % 2 == 0 else "odd") for i in range(25)])
    for page_size, filter, expected in ((4, None, range(25)), (3, Filter(session="odd"), range(1, 25, 2))):
        seen, token = [], ""
        while True:
            page = stubs.memory.ListEntries(
                ListEntriesRequest(tenant="pages", filter=filter, page_size=page_size, page_token=token)
            )
            seen += [entry.id for entry in page.entries]
            assert len(page.entries) <= page_size
            token = page.next_page_token
            if not token:
                break
        assert seen == [str(i) for i in expected]


def test_a_page_token_is_good_for_its_request_only(client, stubs) -> None:
    client.create_tenant("tokens")
    client.write("tokens", [Entry(f"entry {i}") for i in range(5)])
    token = stubs.memory.ListEntries(ListEntriesRequest(tenant="tokens", page_size=2)).next_page_token
    with pytest.raises(grpc.RpcError) as refused:
        stubs.memory.ListEntries(ListEntriesRequest(tenant="tokens", filter=Filter(session="x"), page_token=token))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    client.delete_tenant("tokens")
    client.create_tenant("tokens")
    with pytest.raises(grpc.RpcError) as refused:
        stubs.memory.ListEntries(ListEntriesRequest(tenant="tokens", page_size=2, page_token=token))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_large_entries_are_listed_within_the_message_size(client) -> None:
    client.create_tenant("large")
    metadata = {"padding": "x" * 15_000}
    for i in range(4):
        client.write("large", [Entry("short", id=f"{i}-{j}", metadata=metadata) for j in range(45)])
    assert len(list(client.list_entries("large"))) == 180


def test_tenants_are_listed_in_byte_order_over_pages(client, stubs) -> None:
    names = [f"order-{name}" for name in ("a", "B", "é", "z", "aa")]
    for name in names:
        client.create_tenant(name)
    listed, token = [], ""
    while True:
        page = stubs.tenants.ListTenants(ListTenantsRequest(page_size=2, page_token=token))
        listed += [tenant.tenant for tenant in page.tenants]
        token = page.next_page_token
        if not token:
            break
    assert [name for name in listed if name.startswith("order-")] == sorted(names, key=str.encode)
    assert len(listed) == len(set(listed))


def test_a_request_id_makes_create_and_delete_safe_to_repeat(stubs) -> None:
    create = CreateTenantRequest(tenant=Tenant(tenant="once", memory=MemoryConfig(layers=3)), request_id="r1")
    first = stubs.tenants.CreateTenant(create)
    assert stubs.tenants.CreateTenant(create) == first
    assert first.memory.layers == 3
    with pytest.raises(grpc.RpcError) as refused:
        stubs.tenants.CreateTenant(CreateTenantRequest(tenant=Tenant(tenant="once"), request_id="r2"))
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_read_mask_leaves_out_the_figures(client, stubs) -> None:
    client.create_tenant("mask")
    masked = stubs.tenants.GetTenant(
        GetTenantRequest(tenant="mask", read_mask=FieldMask(paths=["tenant", "stats.entries"]))
    )
    assert masked.tenant == "mask"
    assert not masked.uid
    assert masked.HasField("stats")
    assert not masked.stats.state_hash
    assert stubs.tenants.GetTenant(GetTenantRequest(tenant="mask")).stats.state_hash


def test_live_figures_are_the_same_without_a_hash(client) -> None:
    client.create_tenant("live")
    client.write("live", ["something to count"], wait="applied")
    figures = client.stats("live")
    assert figures.state_hash
    assert client.stats("live", live=True) == dataclasses.replace(figures, state_hash="")


def test_a_stream_acknowledges_in_order_and_answers_the_flush_last(client, stubs) -> None:
    client.create_tenant("stream")
    requests = [
        WriteStreamRequest(open=WriteStreamOpen(tenant="stream")),
        *(
            WriteStreamRequest(batch=WriteStreamBatch(entries=[EntryMessage(id=f"{i}", text=f"t {i}")]))
            for i in range(50)
        ),
        WriteStreamRequest(flush=WriteStreamFlush(token=7)),
    ]
    responses = list(stubs.memory.WriteStream(iter(requests)))
    assert [r.WhichOneof("message") for r in responses] == ["opened", *["ack"] * 50, "flushed"]
    assert [r.ack.results[0].id for r in responses[1:-1]] == [f"{i}" for i in range(50)]
    assert responses[-1].flushed.token == 7
    assert responses[-1].committed_seq == responses[-2].ack.seq
    seqs = [r.committed_seq for r in responses]
    assert seqs == sorted(seqs)
    assert all(r.window > 0 for r in responses)


def test_many_writers_and_readers_at_once(server) -> None:
    async def run() -> None:
        async with AsyncMemoryClient(server.target) as client:
            await client.create_tenant("crowd")

            async def writer(i: int) -> None:
                for j in range(10):
                    receipt = await client.write(
                        "crowd", [Entry(f"writer {i} says code{i}x{j}", id=f"{i}-{j}", session=str(i))]
                    )
                    found = await client.recall("crowd", f"code{i}x{j}", k=1)
                    assert found[0].id == f"{i}-{j}"
                    assert found.applied_seq >= receipt.seq

            await asyncio.gather(*map(writer, range(8)))
            assert (await client.stats("crowd")).entries == 80

    asyncio.run(run())


def test_a_wait_past_the_deadline_says_how_far_it_got(tmp_path) -> None:
    from memsvc.v1.memory_pb2 import RecallRequest
    from tests.serving import Server, Stubs

    with (
        Server(tmp_path / "data", encoder="minilm") as server,
        server.client() as client,
        Stubs(server.target) as stubs,
    ):
        client.create_tenant("slow")
        receipt = client.write("slow", [Entry("word " * 1_000, id=str(i)) for i in range(8)])
        with pytest.raises(grpc.RpcError) as late:
            stubs.memory.Recall(RecallRequest(tenant="slow", query="word", min_seq=receipt.seq), timeout=0.3)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not client.recall("slow", "word", min_seq=0), "nothing of the record shows before all of it"


def test_health_and_reflection(server, stubs) -> None:
    health = health_pb2_grpc.HealthStub(stubs.channel)
    for service in ("", "liveness", "memsvc.v1.MemoryService"):
        assert (
            health.Check(health_pb2.HealthCheckRequest(service=service)).status
            == health_pb2.HealthCheckResponse.SERVING
        )
    services = ProtoReflectionDescriptorDatabase(stubs.channel).get_services()
    assert {"memsvc.v1.MemoryService", "memsvc.v1.TenantService"} <= set(services)
