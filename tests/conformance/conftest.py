"""A store of each kind, on a directory of its own, that a test may close and open again."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from memsvc.store.base import Store
from memsvc.store.types import TenantRow
from tests.conformance.stores import FACTORIES, Clock

Reopen = Callable[[], Awaitable[Store]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=sorted(FACTORIES))
async def reopen(request, tmp_path, clock) -> AsyncIterator[Reopen]:
    """Close the store that is open, if any, and open it on the same data."""
    opened: list[Store] = []

    async def reopen() -> Store:
        if opened:
            await opened[-1].close()
        opened.append(await FACTORIES[request.param](tmp_path / "data", clock))
        return opened[-1]

    yield reopen
    if opened:
        await opened[-1].close()


@pytest.fixture
async def store(reopen) -> Store:
    return await reopen()


@pytest.fixture
async def tenant(store) -> TenantRow:
    return await store.create_tenant("tenant", b"config", b"created", "")
