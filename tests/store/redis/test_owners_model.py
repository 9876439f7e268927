"""Any sequence of calls and owners, against the same small model: who is deposed and does not know writes nothing."""

from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from memsvc.errors import MemsvcError, UnavailableError
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from memsvc.store.types import RecordKind, Snapshot
from tests.conformance.stores import Clock
from tests.conformance.test_model import StoreMachine, ids
from tests.redis_server import RedisServer
from tests.store.redis.test_ownership import LONG_S


async def open_as_one(server: RedisServer, directory: Path, clock: Clock) -> RedisStore:
    """Open as the process of one address: another of that address counts as gone, whatever it believes."""
    url = f"{server.url}?prefix={directory.parent.name}"
    return await RedisStore.open(parse(url), RedisOptions(address="one:1", shards=1, lease_s=LONG_S, clock_us=clock))


class OwnersMachine(StoreMachine):
    """Beside what any store does: a new owner, one that is late with all it does, and a Redis that dies."""

    server: RedisServer
    uids = StoreMachine.uids

    def __init__(self) -> None:
        super().__init__()
        self.late: RedisStore | None = None

    @rule()
    def take_over(self) -> None:
        """The owner is not told."""
        self.forget_the_late_one()
        self.late = self.store
        self.open()

    @rule()
    def crash_and_recover(self) -> None:
        """The owner is gone without a word."""
        self.take_over()
        self.forget_the_late_one()

    @rule()
    def redis_dies(self) -> None:
        self.server.kill()
        self.server.start()

    @precondition(lambda self: self.late is not None)
    @rule(uid=uids, body=st.binary(max_size=8))
    def append_too_late(self, uid: str, body: bytes) -> None:
        if uid in self.tenants:
            with pytest.raises(UnavailableError):
                self.call(self.late.append(uid, RecordKind.NUMERICS, body))

    @precondition(lambda self: self.late is not None)
    @rule(uid=uids, id=ids)
    def forget_too_late(self, uid: str, id: str) -> None:
        if uid in self.tenants and self.tenants[uid].revisions(id):
            with pytest.raises(MemsvcError):  # it may know, or believe, that the id is forgotten
                self.call(self.late.forget(uid, [id], ""))

    @precondition(lambda self: self.late is not None)
    @rule(uid=uids)
    def save_too_late(self, uid: str) -> None:
        if uid in self.tenants:
            with pytest.raises(UnavailableError):
                self.call(self.late.save(uid, Snapshot(seq=9, meta=b"late", blobs={"late": b"late"})))

    def forget_the_late_one(self) -> None:
        if self.late is not None:
            self.call(self.late.close())
            self.late = None

    def teardown(self) -> None:
        self.forget_the_late_one()
        super().teardown()


def test_every_sequence_of_owners_agrees_with_the_model(server) -> None:
    class Machine(OwnersMachine):
        factory = staticmethod(partial(open_as_one, server))

    Machine.server = server
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
