"""The same figures of a deployment in Redis, whose parts processes own."""

from memsvc_client import Entry

from tests.observability.eventually import eventually
from tests.observability.scrape import Scrape
from tests.redis_server import RedisServer
from tests.serving import Server


def test_what_a_process_owns_and_what_redis_cannot_do_shows(tmp_path) -> None:
    (tmp_path / "redis").mkdir()
    with (
        RedisServer(tmp_path / "redis") as redis,
        Server(tmp_path / "data", store=redis.url, shards=4, lease_s=2, metrics_port=0) as server,
        server.client() as client,
    ):
        client.create_tenant("t")
        client.write("t", [Entry("a thing")], wait="applied")
        seen = eventually(lambda: (s := Scrape(server)).value("memsvc_shards") == 4 and s)
        assert seen.value("memsvc_store_seconds_count", operation="append") == 1
        assert seen.value("memsvc_shard_losses_total") == seen.total("memsvc_store_failures_total") == 0
        assert seen.value("memsvc_ready") == 1
        redis.kill()
        eventually(lambda: Scrape(server).value("memsvc_ready") == 0)
        assert Scrape(server).total("memsvc_store_failures_total") > 0
        redis.start()
        eventually(lambda: Scrape(server).value("memsvc_ready") == 1)
        eventually(lambda: Scrape(server).value("memsvc_shards") == 4)
