"""Which tenants are scrubbed, in what order, and when they are tried again."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from memsvc.engine.scrubber import Scrubber
from memsvc.errors import DataLossError, MemsvcError, NotFoundError, UnavailableError
from memsvc.store.types import Record, RecordKind
from memsvc.tasks import end


class Deployment:
    """Engine, store and keeper in one, as far as they are asked. A tenant with an error cannot be opened."""

    def __init__(self, errors: dict[str, MemsvcError]) -> None:
        self.keeper, self.errors = self, errors
        self.opened: Counter[str] = Counter()
        self.scrubbed: Counter[str] = Counter()
        self.head_seq, self.looks = 9, 0

    async def kept(self, uid: str) -> tuple[list[int], int]:
        return [5], 0

    async def entries(self, uid: str, numbers: tuple[int, ...], as_of: int) -> list:
        return []

    async def tenants_of(self, uids: set[str]) -> dict[str, str]:
        self.looks += 1
        return {uid: uid for uid in uids}

    @asynccontextmanager
    async def using(self, tenant: str):
        self.opened[tenant] += 1
        if (error := self.errors.get(tenant)) is not None:
            raise error
        self.name = tenant
        yield self

    async def wait_applied(self, seq: int) -> None:
        pass

    async def snapshot(self, tenant: "Deployment") -> None:
        self.scrubbed[tenant.name] += 1


@asynccontextmanager
async def scrubbing(errors: dict[str, MemsvcError]):
    deployment = Deployment(errors)
    scrubber = Scrubber(deployment, deployment)
    task = asyncio.create_task(scrubber.run())
    try:
        yield deployment, lambda uid, seq=7: scrubber.ended(uid, record(seq))
    finally:
        await end(task)


def record(seq: int) -> Record:
    return Record(seq=seq, commit_us=seq, kind=RecordKind.EXPIRE, about=(1,))


async def until(holds) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    assert holds()


async def test_those_that_cannot_be_opened_do_not_keep_the_others() -> None:
    damaged = {f"damaged{i}": DataLossError("the log cannot be read") for i in range(3)}
    async with scrubbing(damaged) as (deployment, ended):
        for uid in [*damaged, "whole"]:
            ended(uid)
        await until(lambda: deployment.scrubbed["whole"])
        assert deployment.opened == {**dict.fromkeys(damaged, 1), "whole": 1}


async def test_one_that_cannot_be_opened_is_not_tried_for_each_entry_that_expires() -> None:
    async with scrubbing({"damaged": DataLossError("the log cannot be read")}) as (deployment, ended):
        ended("damaged")
        await until(lambda: deployment.opened["damaged"])
        for seq in range(8, 20):
            ended("damaged", seq)
            ended("whole", seq)
            await until(lambda seq=seq: deployment.scrubbed["whole"] == seq - 7)
        assert deployment.opened["damaged"] == 1


async def test_it_is_tried_again_until_it_can_be_opened(monkeypatch) -> None:
    monkeypatch.setattr("memsvc.engine.scrubber.RETRY_S", 0.01)
    async with scrubbing({"t": UnavailableError("the store cannot read")}) as (deployment, ended):
        ended("t")
        await until(lambda: deployment.opened["t"] == 3)
        deployment.errors.clear()
        await until(lambda: deployment.scrubbed["t"])


async def test_what_is_deleted_or_another_s_is_not_tried_again(monkeypatch) -> None:
    monkeypatch.setattr("memsvc.engine.scrubber.RETRY_S", 0.01)
    others = {"gone": NotFoundError("deleted"), "moved": UnavailableError("another's", reason="NOT_OWNER")}
    async with scrubbing(others) as (deployment, ended):
        for uid in others:
            ended(uid)
        await until(lambda: len(deployment.opened) == len(others))
        await asyncio.sleep(0.1)
        assert deployment.opened == {"gone": 1, "moved": 1}


async def test_a_thousand_that_expire_at_once_are_looked_for_once() -> None:
    async with scrubbing({}) as (deployment, ended):
        for i in range(1000):
            ended(f"t{i}")
        await until(lambda: len(deployment.scrubbed) == 1000)
        assert deployment.looks == 1
