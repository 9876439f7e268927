"""One tenant's calls wait for each other, in their order, and never for another tenant's."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.engine.turnstile import Turnstile
from memsvc.errors import ResourceExhaustedError


@given(
    calls=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 8), st.integers(0, 3), st.booleans()), max_size=40),
    capacity=st.integers(1, 6),
)
def test_no_more_than_fits_is_inside_and_all_come_in_order(calls, capacity) -> None:
    async def run() -> None:
        turnstile, inside = Turnstile(capacity), {"a": 0, "b": 0}
        entered: dict[str, list[int]] = {"a": [], "b": []}

        async def call(number: int, tenant: str, weight: int, steps: int) -> None:
            async with turnstile.passing(tenant, weight):
                inside[tenant] += min(weight, capacity)
                entered[tenant].append(number)
                try:
                    assert inside[tenant] <= capacity
                    for _ in range(steps):
                        await asyncio.sleep(0)
                finally:
                    inside[tenant] -= min(weight, capacity)

        tasks = []
        for number, (tenant, weight, steps, leaves) in enumerate(calls):
            tasks.append(asyncio.create_task(call(number, tenant, weight, steps)))
            if leaves:
                await asyncio.sleep(0)
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(not task.cancelled() or calls[i][3] for i, task in enumerate(tasks))
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        assert all(order == sorted(order) for order in entered.values())
        assert turnstile.tenants == 0, "nothing of anybody is kept"

    asyncio.run(run())


async def test_who_waits_does_not_hold_up_another_tenant() -> None:
    turnstile = Turnstile(1)
    async with turnstile.passing("busy"):
        waiting = asyncio.create_task(turnstile.passing("busy").__aenter__())
        await asyncio.sleep(0)
        async with turnstile.passing("quiet"):
            assert not waiting.done()
        waiting.cancel()


async def test_too_many_that_wait_are_refused_with_a_delay() -> None:
    turnstile = Turnstile(1, most_waiting=2)
    async with turnstile.passing("busy"):
        waiting = [asyncio.create_task(turnstile.passing("busy").__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhaustedError) as refusal:
            await turnstile.passing("busy").__aenter__()
        assert refusal.value.reason == "TENANT_BUSY"
        assert refusal.value.retry_after > 0
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(10), turnstile.passing("quiet"):
            pass
