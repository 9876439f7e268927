"""Two servers on one Redis, called over HTTP: whichever gateway is asked, a tenant is reached."""

import httpx2

from tests.e2e.on_redis import owned, until
from tests.gateway.http import conforms, http
from tests.redis_server import RedisServer
from tests.serving import Server

NAMES = [f"team/{i}" for i in range(16)]


def entries(tenant: str) -> str:
    return f"/v1/tenants/{tenant.replace('/', '%2F')}/entries"


def write(client: httpx2.Client, tenant: str, id: str) -> None:
    conforms("Write", client.post(entries(tenant), json={"entries": [{"id": id, "text": f"gattaca {id}"}]}))


def test_a_gateway_follows_tenants_to_another_server_and_back(tmp_path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        settings = {"store": redis.url, "http_port": 0, "lease_s": 1.5}
        with Server(tmp_path / "home", **settings) as home, http(home) as client:
            for name in NAMES:
                conforms("CreateTenant", client.post("/v1/tenants", json={"tenant": name}))
            with Server(tmp_path / "guest", **settings) as guest:
                theirs = until(lambda: owned(guest, NAMES))
                for tenant in theirs:
                    write(client, tenant, "there")
                with http(guest) as other:
                    for tenant in set(NAMES) - set(theirs):
                        write(other, tenant, "there")
                    hits = client.post(entries(theirs[0]).replace("entries", "recall"), json={"query": "gattaca"})
                    assert [hit["entry"]["id"] for hit in conforms("Recall", hits)["hits"]] == ["there"]
                assert guest.stop() == 0
            for tenant in NAMES:  # some of them nobody's for a moment
                write(client, tenant, "back")
                listed = conforms("ListEntries", client.get(entries(tenant)))["entries"]
                assert [entry["id"] for entry in listed] == ["there", "back"]
