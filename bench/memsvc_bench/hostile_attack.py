"""The tenant who means harm: all that a credential of its own lets it do. A process of its own.

floods             calls as fast as they are answered, with the largest queries and the most hits
huge batches       up to the limits, and past them
slow readers       streams whose answers nobody reads: exports, events, acknowledgements
half-open streams  calls that never say anything, and connections that never make one
abandoned calls    the caller is gone before the answer
connections        opened and closed again
"""

import asyncio
import random
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import grpc

from memsvc.limits import MAX_BATCH_ENTRIES, MAX_K, MAX_MESSAGE_BYTES, MAX_TEXT_BYTES
from memsvc.v1 import memory_pb2, memory_pb2_grpc, tenants_pb2, tenants_pb2_grpc, types_pb2
from memsvc_bench.hostile_load import OWN_CONNECTION, WORDS
from memsvc_bench.hostile_process import answer

TENANT = "hostile"
PATIENCE_S = 30.0
REST_S = 0.05
"""Between two attempts that were refused: what every client does, and less than a server would ask for."""
HOLD_S = 5.0
"""How long a stream is left open and silent."""
OPTIONS = [*OWN_CONNECTION, ("grpc.max_send_message_length", 64 << 20)]


async def _admitted(call: Callable[[], Awaitable[object]]) -> None:
    """Make a call of ours, as soon as the tenant's quota has recovered from what the attack used of it."""
    while True:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(1.0)
        else:
            return


class Attack:
    """Many connections, each at one of the kinds, one after the other.

    Args:
        target: where the server listens.
        connections: how many.
        seed: of all that is random.
    """

    def __init__(self, target: str, connections: int, seed: int) -> None:
        self._target = target
        self._channels = [grpc.aio.insecure_channel(target, options=OPTIONS) for _ in range(connections)]
        self._rng = random.Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._did = Counter[str]()
        self._kinds = (
            self._flood_recalls,
            self._flood_writes,
            self._huge_batch,
            self._too_much,
            self._export_unread,
            self._watch_unread,
            self._acks_unread,
            self._silent_stream,
            self._silent_import,
            self._abandon,
            self._connect,
        )

    async def act(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out an order: `prepare`, `go`, or `pause`; of the last, say what was done and what was answered."""
        if "prepare" in order:
            await self._prepare()
        elif "go" in order:
            self._did = Counter()
            self._tasks = [asyncio.create_task(self._go_on(i, channel)) for i, channel in enumerate(self._channels)]
        else:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # With all that it still had to be folded: else the others would not be alone.
            await self._delete()
            await self._create()
        return {"did": self._did}

    async def _prepare(self) -> None:
        await self._create()
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels))

    async def _create(self) -> None:
        stub = tenants_pb2_grpc.TenantServiceStub(self._channels[0])
        request = tenants_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(tenant=TENANT))
        await _admitted(lambda: stub.CreateTenant(request, timeout=PATIENCE_S))

    async def _delete(self) -> None:
        stub = tenants_pb2_grpc.TenantServiceStub(self._channels[0])
        request = tenants_pb2.DeleteTenantRequest(tenant=TENANT, request_id=secrets.token_hex(8))
        await _admitted(lambda: stub.DeleteTenant(request, timeout=PATIENCE_S))

    async def _go_on(self, number: int, channel: grpc.aio.Channel) -> None:
        kind = self._kinds[number % len(self._kinds)]
        while True:
            self._did[f"kind: {kind.__name__.strip('_').replace('_', ' ')}"] += 1
            try:
                await kind(channel)
                self._did["OK"] += 1
            except grpc.aio.AioRpcError as error:
                self._did[error.code().name] += 1
                await asyncio.sleep(REST_S)
            except OSError:
                self._did["NO_CONNECTION"] += 1
                await asyncio.sleep(REST_S)
            kind = self._rng.choice(self._kinds)

    # --- the kinds ----------------------------------------------------------------------------------------------------

    async def _flood_recalls(self, channel: grpc.aio.Channel) -> None:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        query = self._text(MAX_TEXT_BYTES if self._rng.random() < 0.2 else 200)
        request = memory_pb2.RecallRequest(tenant=TENANT, query=query, k=MAX_K, neighbours=10)
        await asyncio.gather(*(stub.Recall(request, timeout=PATIENCE_S) for _ in range(8)))

    async def _flood_writes(self, channel: grpc.aio.Channel) -> None:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        await asyncio.gather(*(self._write(stub, [self._text(100)]) for _ in range(8)))

    async def _huge_batch(self, channel: grpc.aio.Channel) -> None:
        if self._rng.random() < 0.5:
            texts = [self._text(20)] * MAX_BATCH_ENTRIES
        else:
            texts = [self._text(MAX_TEXT_BYTES)] * (MAX_MESSAGE_BYTES // MAX_TEXT_BYTES - 1)
        await self._write(memory_pb2_grpc.MemoryServiceStub(channel), texts)

    async def _too_much(self, channel: grpc.aio.Channel) -> None:
        texts = self._rng.choice(([self._text(20)] * (MAX_BATCH_ENTRIES + 1), [self._text(MAX_TEXT_BYTES)] * 100))
        await self._write(memory_pb2_grpc.MemoryServiceStub(channel), texts)

    async def _export_unread(self, channel: grpc.aio.Channel) -> None:
        call = tenants_pb2_grpc.TenantServiceStub(channel).ExportTenant(tenants_pb2.ExportTenantRequest(tenant=TENANT))
        await self._leave_open(call)

    async def _watch_unread(self, channel: grpc.aio.Channel) -> None:
        call = tenants_pb2_grpc.TenantServiceStub(channel).WatchTenant(tenants_pb2.WatchTenantRequest(tenant=TENANT))
        await self._leave_open(call)

    async def _acks_unread(self, channel: grpc.aio.Channel) -> None:
        call = memory_pb2_grpc.MemoryServiceStub(channel).WriteStream()
        entry = types_pb2.Entry(text=self._text(500))
        batch = memory_pb2.WriteStreamRequest(batch=memory_pb2.WriteStreamBatch(entries=[entry] * 20))
        try:
            async with asyncio.timeout(HOLD_S):
                await call.write(self._opening())
                while True:
                    await call.write(batch)
                    self._did["entries taken from a stream"] += 20
        except TimeoutError:
            pass
        finally:
            call.cancel()

    async def _silent_stream(self, channel: grpc.aio.Channel) -> None:
        call = memory_pb2_grpc.MemoryServiceStub(channel).WriteStream()
        if self._rng.random() < 0.5:
            await call.write(self._opening())
        await self._leave_open(call)

    async def _silent_import(self, channel: grpc.aio.Channel) -> None:
        async def nothing() -> AsyncIterator[tenants_pb2.ImportTenantRequest]:
            yield tenants_pb2.ImportTenantRequest(as_tenant=f"{TENANT}-2", data=b"MEMSVC")
            await asyncio.sleep(2 * HOLD_S)

        await self._leave_open(tenants_pb2_grpc.TenantServiceStub(channel).ImportTenant(nothing()))

    async def _abandon(self, channel: grpc.aio.Channel) -> None:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        for _ in range(8):
            request = memory_pb2.RecallRequest(tenant=TENANT, query=self._text(2000), k=MAX_K)
            call = stub.Recall(request, timeout=PATIENCE_S)
            await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.01)))
            call.cancel()

    async def _connect(self, channel: grpc.aio.Channel) -> None:
        host, _, port = self._target.rpartition(":")
        for _ in range(8):
            _, writer = await asyncio.open_connection(host, int(port))
            with suppress(OSError):
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[: self._rng.randrange(25)])
            await asyncio.sleep(0.01)
            writer.transport.abort()

    # --- parts of them ------------------------------------------------------------------------------------------------

    async def _write(self, stub: Any, texts: list[str]) -> None:
        request = memory_pb2.WriteRequest(tenant=TENANT, entries=[types_pb2.Entry(text=text) for text in texts])
        await stub.Write(request, timeout=PATIENCE_S)
        self._did["entries taken"] += len(texts)

    async def _leave_open(self, call: Any) -> None:
        try:
            await asyncio.sleep(HOLD_S)
        finally:
            call.cancel()

    def _opening(self) -> memory_pb2.WriteStreamRequest:
        return memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant=TENANT))

    def _text(self, size: int) -> str:
        words = " ".join(self._rng.choices(WORDS, k=min(400, size // 5 + 1)))
        return (words + " ") * (size // (len(words) + 1)) or words[:size]


async def _main(target: str, connections: str, seed: str) -> None:
    attack = Attack(target, int(connections), int(seed))
    await answer(attack.act)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
