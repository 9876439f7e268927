"""A tenant's context memory on Redis: whoever takes the tenant over has it, to the bit."""

import pytest
from memsvc_client import Entry, FailedPreconditionError, MemoryClient

from tests.backbone.titans_mac.build import save
from tests.e2e.on_redis import PATIENCE_S, owned, until
from tests.redis_server import RedisUser
from tests.serving import Server

TEXTS = [f"the code of box {i} is {i * 7919 % 1009}, and it stands at {i * 104729 % 997}" for i in range(12)]
LEASE_S = 1.5


def answered(client: MemoryClient) -> str:
    return "".join(token.text for token in client.generate("t", "the code of box 3 is", max_tokens=24))


def test_it_outlives_an_owner_that_is_killed_and_one_that_hands_over(tmp_path) -> None:
    model = save(tmp_path / "models" / "small.safetensors")
    settings = {"backbone": f"titans-mac:{model}", "lease_s": LEASE_S, "snapshot_min_tokens": 1, "snapshot_idle_s": 0.2}
    with RedisUser(tmp_path / "redis") as redis:
        with Server(tmp_path / "first", store=redis.url, **settings) as first, first.client() as client:
            client.create_tenant("t", context_memory="small")
            client.write("t", [Entry(text) for text in TEXTS[:8]])
            until(lambda: (stats := client.stats("t")).snapshot_seq == stats.head_seq)
            client.write("t", [Entry(text) for text in TEXTS[8:]])
            hashed, said = client.state_hash("t"), answered(client)
            first.kill()
        with Server(tmp_path / "second", store=redis.url, **settings) as second, second.client() as client:
            assert client.state_hash("t", timeout=PATIENCE_S) == hashed
            assert answered(client) == said
            with Server(tmp_path / "third", store=redis.url, **settings) as third, third.client() as other:
                assert second.stop() == 0
                until(lambda: owned(third, ["t"]))
                assert other.state_hash("t", timeout=PATIENCE_S) == hashed
                assert answered(other) == said
                verified = other.verify("t")
                assert verified.state_hash == verified.folded_hash == hashed
                assert third.stop() == 0
        with Server(tmp_path / "fourth", store=redis.url) as fourth, fourth.client() as client:
            until(lambda: owned(fourth, ["t"]))
            with pytest.raises(FailedPreconditionError, match="small@") as failure:
                client.write("t", Entry("more"))
            assert failure.value.reason == "NO_CONTEXT_MODEL"
