"""The second fold of an erasure: it takes the place of the view that serves, and gives back what it reserved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memsvc.engine.engine import Engine
from memsvc.engine.opened import OpenTenant
from tests.engine.conftest import create, state, turns
from tests.engine.test_erasure import erased
from tests.engine.test_leaving import attached, until
from tests.engine.test_successor import fail


@asynccontextmanager
async def folded(engine: Engine, monkeypatch) -> AsyncIterator[None]:
    """An erasure under way: its second fold has all, and is about to take the view's place."""
    followed, go = asyncio.Event(), asyncio.Event()
    follow = OpenTenant.follow

    async def halted(self, *args):
        await follow(self, *args)
        followed.set()
        await go.wait()
        await follow(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(OpenTenant, "follow", halted)
        await engine.changes.forget("t", ["e0"], None, "forget")
        await followed.wait()
        yield
    go.set()


async def test_what_was_reserved_for_a_fold_that_writers_went_on_beside_is_given_back(engine, monkeypatch) -> None:
    await create(engine, chunk=16)
    await engine.write("t", turns(20), applied=True)
    async with folded(engine, monkeypatch):
        await engine.write("t", turns(5, 20), applied=True)
    (operation,) = [erasure.operation for erasure in await engine.store.unfinished_erasures()]
    await erased(engine, operation)
    await engine.shut("t")
    await engine.residency.round()
    assert engine.residency.reserved == 0


async def test_a_view_that_failed_is_not_what_an_erasure_is_done_with(engine, monkeypatch) -> None:
    await create(engine, chunk=16)
    await engine.write("t", turns(20), applied=True)
    async with folded(engine, monkeypatch):
        before = engine.find("t")
        fail(engine)
        await until(lambda: before.failure is not None)
        await state(engine)  # another has the text of the log, which is not destroyed yet
    (operation,) = [erasure.operation for erasure in await engine.store.unfinished_erasures()]
    await erased(engine, operation)
    verified = await engine.changes.verify("t")
    assert verified.state_hash == verified.folded_hash
    assert len(attached(engine)) == 1


async def test_a_tenant_that_is_deleted_while_it_forgets_leaves_no_view(engine, monkeypatch) -> None:
    await create(engine, chunk=16)
    await engine.write("t", turns(20), applied=True)
    async with folded(engine, monkeypatch):
        await engine.delete_tenant("t", "delete")
    await until(lambda: not engine.eraser._under_way)
    await until(lambda: not attached(engine))
