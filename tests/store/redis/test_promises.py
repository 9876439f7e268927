"""What is asked of a Redis before it is trusted: each weakness is found on a real server, and said with its cure."""

import re
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError, NoPermissionError

from memsvc.errors import FailedPreconditionError
from memsvc.store.redis import promises
from memsvc.store.redis.fenced import Fence
from memsvc.store.redis.files import Files
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.snapshots import TenantSnapshots
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import connect, parse
from memsvc.store.types import RecordKind, Snapshot
from tests.conformance.stores import payload
from tests.redis_server import LOOPBACK, RedisCluster, RedisServer, RedisUser


async def weak(url: str) -> dict[str, promises.Promise]:
    """The promises that are not kept, by name."""
    connection = connect(parse(url), "reads")
    try:
        return {promise.name: promise for promise in await promises.check(connection, Keys())}
    finally:
        await connection.aclose()


async def test_a_durable_server_is_trusted(server, connection) -> None:
    assert await promises.check(connection, Keys()) == []
    promises.refuse([])
    surveyed = {promise.name: promise.found for promise in await promises.survey(connection, Keys())}
    assert surveyed["appendfsync"] == "always"
    assert surveyed["connected_replicas"] == "0"


DOCS = Path(__file__).parents[3] / "docs" / "redis.md"


async def test_the_settings_that_the_documentation_shows_are_trusted(tmp_path) -> None:
    (block,) = re.findall(r"```conf\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "shown.conf").write_text(block)
    spoiled = {"appendonly": "no", "appendfsync": "no", "no_appendfsync_on_rewrite": "yes"}
    with RedisServer(tmp_path / "redis", **spoiled, include=tmp_path / "shown.conf") as server:
        assert await weak(server.url) == {}


async def test_the_user_that_the_documentation_shows_may_do_what_is_needed(tmp_path) -> None:
    (rules,) = re.findall(r"`ACL SETUSER memsvc on >PASSWORD (.*?)`", DOCS.read_text())
    with RedisUser(tmp_path / "redis", rules=rules) as server:
        assert await weak(server.url) == {}
        connection = connect(parse(server.url), "bulk")
        shard = Keys().shard(0)
        await connection.set(shard.epoch, 1)
        snapshots = TenantSnapshots(connection, shard.tenant("0000aa"), "0000aa", Fence(shard.epoch, 1))
        for seq in range(1, 4):
            await snapshots.save(Snapshot(seq=seq, meta=b"", blobs={f"own{seq}": b"x"}))
        assert (await snapshots.load()).snapshot.seq == 3
        assert await Files(connection).rewrite()
        with pytest.raises(NoPermissionError):
            await connection.set("of another", b"x")
        await connection.aclose()


@pytest.mark.parametrize(
    ("options", "name", "found"),
    [
        ({"appendonly": "no"}, "appendonly", "no"),
        ({"appendfsync": "everysec"}, "appendfsync", "everysec"),
        ({"appendfsync": "no"}, "appendfsync", "no"),
        ({"no_appendfsync_on_rewrite": "yes"}, "no-appendfsync-on-rewrite", "yes"),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy", "allkeys-lru"),
    ],
)
async def test_a_weak_setting_is_found_and_its_cure_cures(tmp_path, options, name, found) -> None:
    with RedisServer(tmp_path / "redis", **options) as server:
        (promise,) = (await weak(server.url)).values()
        assert (promise.name, promise.found) == (name, found)
        with pytest.raises(FailedPreconditionError) as caught:
            promises.refuse([promise])
        assert caught.value.reason == "STORE_WEAK"
        for said in (name, promise.risk, promise.fix, "--allow-weak-durability"):
            assert said in str(caught.value)
        command = promise.fix.partition(",")[0].split()
        assert command[:2] == ["CONFIG", "SET"]
        assert server.command(*command) == b"+OK\r\n"
        assert await weak(server.url) == {}


async def test_every_weakness_is_named_at_once(tmp_path) -> None:
    with RedisServer(tmp_path / "redis", appendonly="no", appendfsync="everysec") as server:
        found = await weak(server.url)
        with pytest.raises(FailedPreconditionError) as caught:
            promises.refuse(list(found.values()))
    assert set(found) == {"appendonly", "appendfsync"}
    assert caught.value.metadata == {"weak": "appendonly,appendfsync"}


async def test_a_replica_is_not_trusted_and_its_primary_says_what_it_promises(server, connection, tmp_path) -> None:
    with RedisServer(tmp_path / "replica", replicaof=f"{LOOPBACK} {server.port}") as replica:
        while b"master_link_status:up" not in replica.command("INFO", "replication"):
            pass
        assert set(await weak(replica.url)) == {"role"}
        (told,) = [p for p in await promises.survey(connection, Keys()) if p.name == "connected_replicas"]
    assert told.kept
    assert told.found == "1"
    assert "primary alone" in told.risk


async def test_what_a_user_may_not_see_is_a_weakness_of_its_own(tmp_path) -> None:
    with RedisUser(tmp_path / "redis", rules="~* &* +@all -config") as server:
        found = await weak(server.url)
        assert set(found) == {"appendfsync", "no-appendfsync-on-rewrite"}, "the rest is in INFO"
        assert {promise.found for promise in found.values()} == {promises.UNSEEN}
        assert "+config|get" in found["appendfsync"].fix


async def least(directory: Path) -> str:
    """The rules of a user who may do what the cures say, and no more."""
    with RedisUser(directory / "asked", rules="+@connection") as server:
        found = await weak(server.url)
    cures = found["appendfsync"].fix, found["commands"].fix
    return " ".join(["+@connection", *re.findall(r"[~+][^ ,)]+", " ".join(cures))])


async def test_the_least_that_a_user_needs_is_what_the_cure_says(tmp_path) -> None:
    with RedisUser(tmp_path / "redis", rules=await least(tmp_path)) as server:
        assert await weak(server.url) == {}
        store = await RedisStore.open(parse(server.url), RedisOptions(shards=1))
        tenant = await store.create_tenant("tenant", b"", b"", "create")
        soon = payload("b", learn=False, expire_us=1)
        await store.append(tenant.uid, RecordKind.WRITE, b"", (payload("a"), soon), request_id="append")
        await store.update(tenant.uid, payload("a", "new"), "update")
        await store.feedback(tenant.uid, ["a"], b"", "feedback")
        await store.expire(10)
        assert [entry.payload.id for entry in await store.scan(tenant.uid, 0, 10)] == ["a"]
        assert (await store.entry_by_id(tenant.uid, "a")).payload.data == b"data of new"
        assert len(await store.read(tenant.uid, 0, 1 << 20)) == 5
        for seq in (3, 4, 5):
            await store.save(tenant.uid, Snapshot(seq=seq, meta=b"", blobs={f"own{seq}": b"x"}))
        assert (await store.load(tenant.uid)).snapshot.seq == 5
        erasure, _ = await store.forget(tenant.uid, ["a"], "forget")
        await store.erase(tenant.uid, erasure.first_seq)
        await store.finish_erasure(erasure.operation, b"receipt")
        await store.copies(tenant.uid)
        staged = await store.stage(await store.origin(tenant.uid), "copy")
        await store.discard(staged)
        await store.delete_tenant(tenant.uid, "delete")
        assert await store.list_tenants("", 10) == []
        await store.check()
        await store.close()


@pytest.mark.parametrize("command", ["xadd", "hset", "unlink", "evalsha", "watch"])
async def test_a_command_that_the_user_may_not_run_is_named_before_anything_is_written(tmp_path, command) -> None:
    with RedisUser(tmp_path / "redis", rules=f"~* &* +@all -{command}") as server:
        (promise,) = (await weak(server.url)).values()
        assert promise.name == "commands"
        assert command.upper() in promise.found
        assert f"+{command}" in promise.fix
        for allow_weak in (False, True):
            with pytest.raises(FailedPreconditionError) as caught:
                await RedisStore.open(parse(server.url), RedisOptions(allow_weak=allow_weak))
            assert command.upper() in str(caught.value)
            assert caught.value.reason == "STORE_WEAK"
            assert ("--allow-weak-durability" in str(caught.value)) is not allow_weak


async def test_a_command_that_is_renamed_is_missed(tmp_path) -> None:
    with RedisServer(tmp_path / "redis", rename_command='ZREMRANGEBYSCORE ""') as server:
        (promise,) = (await weak(server.url)).values()
        assert promise.found == "without ZREMRANGEBYSCORE"


async def test_a_user_of_other_keys_is_told_which_are_ours(tmp_path) -> None:
    with RedisUser(tmp_path / "redis", rules="~other:* &* +@all") as server:
        (promise,) = (await weak(server.url)).values()
        assert "~memsvc:*" in promise.fix


async def test_settings_that_are_not_told_are_seen_in_the_report(tmp_path) -> None:
    options = {"rename_command": 'CONFIG ""', "appendonly": "no", "maxmemory_policy": "allkeys-lfu"}
    with RedisServer(tmp_path / "redis", **options) as server:
        found = await weak(server.url)
        assert found["appendonly"].found == "not that (aof_enabled is 0)"
        assert found["maxmemory-policy"].found == "not that (maxmemory_policy is allkeys-lfu)"


async def test_a_user_who_sees_nothing_trusts_nothing(tmp_path) -> None:
    with RedisUser(tmp_path / "redis", rules="+@connection") as server:
        found = await weak(server.url)
    assert "SCRIPT|LOAD" in found.pop("commands").found
    assert {promise.found for promise in found.values()} == {promises.UNSEEN}
    assert len(found) == 7


async def test_every_primary_of_a_cluster_is_asked(tmp_path) -> None:
    with RedisCluster(tmp_path / "redis", appendfsync="no") as server:
        (promise,) = (await weak(server.url)).values()
    assert promise.node == f"{LOOPBACK}:{server.port}"
    assert str(promise).startswith(f"{promise.node}: appendfsync is no, wanted is always: ")


async def test_a_server_that_does_not_answer_is_not_taken_for_one_that_refuses(server) -> None:
    server.kill()
    with pytest.raises(ConnectionError):
        await weak(server.url)
