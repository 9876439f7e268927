"""Duplicates merged, through the client and over the wire."""

import grpc
import pytest
from memsvc_client import AsyncMemoryClient, Entry, InvalidArgumentError, MemoryClient

from memsvc.v1.tenants_pb2 import CreateTenantRequest
from memsvc.v1.types_pb2 import Policies, Tenant
from tests.serving import Server

TEXT = "the river froze over at noon"


def test_a_text_is_recalled_once_with_the_ids_of_the_others(client: MemoryClient) -> None:
    client.create_tenant("merging", duplicates="merge")
    others = [Entry(f"thing {i} is at the harbour", id=f"e{i}") for i in range(12)]
    client.write("merging", [*others, *(Entry(TEXT, id=f"r{i}", session=f"s{i}") for i in range(12))])
    found = client.recall("merging", "where is the river that froze", k=10)
    (hit,) = [hit for hit in found if hit.text == TEXT]
    assert len(found) == 10
    assert sorted([hit.id, *hit.also]) == sorted(f"r{i}" for i in range(12))
    (only,) = client.recall("merging", TEXT, k=1, session="s7")
    assert (only.id, only.also, only.entry.session) == ("r7", (), "s7")
    assert (client.stats("merging").entries, client.stats("merging").merged) == (24, 11)
    assert len(list(client.list_entries("merging"))) == 24


def test_the_policy_changes_on_a_living_tenant(client: MemoryClient) -> None:
    client.create_tenant("later")
    (made,) = [tenant for tenant in client.list_tenants() if tenant.tenant == "later"]
    assert made.policies.duplicates == "keep"
    client.write("later", [Entry(TEXT, id="a")])
    assert client.update_tenant("later", duplicates="merge").policies.duplicates == "merge"
    client.write("later", [Entry(TEXT.upper(), id="b")])
    (hit,) = client.recall("later", TEXT)
    assert {hit.id, *hit.also} == {"a", "b"}
    assert client.update_tenant("later", duplicates="keep").policies.duplicates == "keep"
    client.write("later", [Entry(TEXT, id="c")])
    assert len(client.recall("later", TEXT)) == 2
    assert client.verify("later").equal


async def test_asyncio_sees_the_same(server: Server) -> None:
    async with AsyncMemoryClient(server.target) as client:
        await client.create_tenant("async", duplicates="merge")
        await client.write("async", [Entry(TEXT, id="a"), Entry(f" {TEXT}", id="b")])
        (hit,) = await client.recall("async", TEXT)
        assert {hit.id, *hit.also} == {"a", "b"}
        assert (await client.stats("async")).merged == 1


def test_a_policy_that_is_none_is_named(client: MemoryClient, stubs) -> None:
    with pytest.raises(InvalidArgumentError, match="duplicates: must be one of keep, merge"):
        client.create_tenant("wrong", duplicates="drop")
    tenant = Tenant(tenant="wrong", policies=Policies(duplicates=7))
    with pytest.raises(grpc.RpcError) as refused:
        stubs.tenants.CreateTenant(CreateTenantRequest(tenant=tenant))
    assert "tenant.policies.duplicates" in refused.value.details()
