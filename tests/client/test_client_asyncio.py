"""What only the asyncio client has."""

import asyncio
import itertools

import pytest
from fake_server import Hang
from grpc import StatusCode
from memsvc_client import AsyncMemoryClient, MemsvcError


async def test_write_stream_takes_an_async_iterable(fake):
    async def source():
        for i in range(100):
            await asyncio.sleep(0)
            yield str(i)

    async with AsyncMemoryClient(fake.target) as client:
        receipts = [receipt async for receipt in client.write_stream("ada", source())]
    assert [len(receipt.ids) for receipt in receipts] == [64, 36]
    assert fake.texts("ada") == [str(i) for i in range(100)]


async def test_a_source_is_iterated_in_one_task(fake):
    """Such as a source that holds a timeout open across its items needs."""
    tasks = set()

    async def source():
        async with asyncio.timeout(20):
            for i in range(5):
                tasks.add(asyncio.current_task())
                yield [str(i)]

    async with AsyncMemoryClient(fake.target) as client:
        assert len([receipt async for receipt in client.write_stream("ada", source())]) == 5
    assert tasks == {asyncio.current_task()}


async def test_calls_run_side_by_side(fake):
    async with AsyncMemoryClient(fake.target) as client:
        await asyncio.gather(*(client.write("ada", f"{i}") for i in range(20)))
    assert sorted(fake.texts("ada")) == sorted(str(i) for i in range(20))


async def test_a_cancelled_call_ends(fake):
    fake.fail("Recall", Hang())
    async with AsyncMemoryClient(fake.target) as client:
        task = asyncio.create_task(client.recall("ada", "q"))
        while not fake.asked("Recall"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancelled_stream_ends_its_call(fake):
    async def source():
        yield ["a"]
        await asyncio.Event().wait()

    async def consume(client):
        async for _ in client.write_stream("ada", source()):
            pass

    async with AsyncMemoryClient(fake.target) as client:
        task = asyncio.create_task(consume(client))
        while not fake.tenants["ada"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.over.wait, 10)


async def test_closing_the_client_ends_its_streams(fake):
    client = AsyncMemoryClient(fake.target)
    stream = client.write_stream("ada", ([str(i)] for i in itertools.count()))
    await anext(stream)
    await client.close()
    with pytest.raises(MemsvcError) as raised:
        async for _ in stream:
            pass
    assert raised.value.code is StatusCode.CANCELLED


async def test_closing_the_client_fails_the_calls_under_way_and_cancels_nobody(fake):
    fake.fail("Recall", Hang())
    fake.fail("ListEntries", Hang())
    client = AsyncMemoryClient(fake.target)
    calls = [asyncio.create_task(each) for each in (client.recall("ada", "q"), anext(client.list_entries("ada")))]
    while not (fake.asked("Recall") and fake.asked("ListEntries")):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await client.close()
    for failure in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(failure, MemsvcError)
        assert failure.code is StatusCode.CANCELLED


@pytest.mark.parametrize("ticks", [1, 5, 20])
async def test_closing_the_client_before_a_stream_is_connected_fails_it(fake, tmp_path, ticks):
    file = tmp_path / "ada.memsvc"
    file.write_bytes(b"x" * 1_000_000)
    client = AsyncMemoryClient(fake.target, timeout=15)
    calls = [
        anext(client.write_stream("ada", ["x"])),
        client.import_tenant(file),
        client.export_tenant("ada", tmp_path / "f"),
    ]
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(ticks):
        await asyncio.sleep(0)
    await client.close()
    await asyncio.wait(tasks, timeout=30)
    failures = [task.exception() if task.done() and not task.cancelled() else None for task in tasks]
    assert [getattr(failure, "code", None) for failure in failures] == [StatusCode.CANCELLED] * 3


async def test_a_client_can_be_made_outside_of_its_loop(fake):
    client = await asyncio.to_thread(AsyncMemoryClient, fake.target)
    async with client:
        await client.write("ada", "x")
    assert fake.texts("ada") == ["x"]
