"""What a group writes is what its operations would have written one after the other."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from memsvc.store.clock import wall_clock_us
from memsvc.store.redis.commit import FIELDS
from memsvc.store.redis.committer import Committer, Place
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.url import connect, parse
from memsvc.store.redis.wire import Wire

KEYS = Keys().shard(0)
Model = dict[tuple[str, str | None], bytes]


@pytest.fixture
async def committer(server, connection) -> AsyncIterator[Committer]:
    await connection.mset({KEYS.epoch: "1", KEYS.commit: "1-0"})
    wire, reads = Wire(connect(parse(server.url), "log")), connect(parse(server.url), "reads")
    place = Place(wire, reads, KEYS, 1, wall_clock_us)
    committer = Committer(place, is_held=lambda: True, lost=lambda: None)
    yield committer
    await committer.close()
    await wire.aclose()
    await reads.aclose()


def changes(rng: random.Random, model: Model) -> Callable[[Transaction], None]:
    """An operation on a few cells, done to the model too."""
    steps = []
    for _ in range(rng.randrange(1, 6)):
        key, field = rng.choice("abc"), rng.choice((None, "x", "y", "z"))
        value = rng.randbytes(rng.choice((0, 3, 900))) if rng.random() < 0.6 else None
        cell = (key if field is None else f"hash {key}", field)
        steps.append((*cell, value))
        if value is None:
            model.pop(cell, None)
        else:
            model[cell] = value

    def operation(tx: Transaction) -> None:
        for key, field, value in steps:
            if field is None:
                tx.delete(key) if value is None else tx.set(key, value)
            else:
                tx.hdel(key, field) if value is None else tx.hset(key, field, value)

    return operation


@pytest.mark.parametrize("seed", range(10))
async def test_a_group_leaves_what_its_operations_would_one_by_one(committer, connection, seed) -> None:
    rng, model = random.Random(seed), Model()
    for _ in range(4):
        operations = [changes(rng, model) for _ in range(rng.randrange(1, 12))]
        await asyncio.gather(*map(committer.run, operations))
        found = Model()
        for key in "abc":
            if (value := await connection.get(key)) is not None:
                found[key, None] = value
            for field, value in (await connection.hgetall(f"hash {key}")).items():
                found[f"hash {key}", field.decode()] = value
        assert found == model


async def test_a_hash_takes_more_fields_than_one_command_has_room_for(committer, connection) -> None:
    fields = range(5 * FIELDS + 1)
    await committer.run(lambda tx: [tx.hset("hash", field, b"%d" % field) for field in fields])
    assert await connection.hgetall("hash") == {b"%d" % field: b"%d" % field for field in fields}
    await committer.run(lambda tx: [tx.hdel("hash", field) for field in fields[1:]])
    assert await connection.hgetall("hash") == {b"0": b"0"}


async def test_a_key_with_a_lifetime_is_dropped_by_redis(committer, connection) -> None:
    await committer.run(lambda tx: tx.set("key", b"value", expire_ms=600_000))
    assert 0 < await connection.pttl("key") <= 600_000
