"""The tenants who mean no harm: they write and recall at a steady rate, and time it. A process of its own.

Calls begin when they are due, whether or not those before are answered, and count from then on: a server that stalls is
not spared the calls that would have come meanwhile.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import grpc

from memsvc.v1 import memory_pb2, memory_pb2_grpc, tenants_pb2, tenants_pb2_grpc, types_pb2
from memsvc_bench.hostile_process import answer

PATIENCE_S = 30.0
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
WORDS = ("harbour", "ledger", "Lisbon", "parrot", "winter", "copper", "museum", "ferry", "orchard", "signal", "tariff")
K = 5


def name(number: int) -> str:
    """Return a tenant's id."""
    return f"tenant-{number}"


class Load:
    """Many connections of many tenants.

    Args:
        target: where the server listens.
        tenants: how many.
        connections: how many, over all tenants.
        rate: calls a second, half of them writes.
        seed: of all that is random.
    """

    def __init__(self, target: str, tenants: int, connections: int, rate: float, seed: int) -> None:
        self._channels = [grpc.aio.insecure_channel(target, options=OWN_CONNECTION) for _ in range(connections)]
        self._stubs = [memory_pb2_grpc.MemoryServiceStub(channel) for channel in self._channels]
        self._tenants, self._rate, self._rng = tenants, rate, random.Random(seed)
        self._latencies: dict[str, list[float]] = {}
        self._failed = Counter[str]()

    async def act(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out an order: `prepare`, or be at it for so many `seconds`."""
        if "prepare" in order:
            await self._prepare()
            return {}
        self._latencies, self._failed = {"write": [], "recall": []}, Counter()
        await self._run(order["seconds"])
        return {"latencies": self._latencies, "failed": self._failed}

    async def _prepare(self) -> None:
        tenants = tenants_pb2_grpc.TenantServiceStub(self._channels[0])
        for number in range(self._tenants):
            await tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(tenant=name(number))))
        for number in range(self._tenants):
            await self._write(number, number % len(self._stubs), 20)
        await asyncio.gather(*(self._recall(number % self._tenants, number) for number in range(len(self._stubs))))

    async def _run(self, seconds: float) -> None:
        end, due = time.monotonic() + seconds, time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while (due := due + self._rng.expovariate(self._rate)) < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                kind = self._rng.choice(("write", "recall"))
                tasks.create_task(self._timed(kind, due))

    async def _timed(self, kind: str, due: float) -> None:
        tenant, connection = self._rng.randrange(self._tenants), self._rng.randrange(len(self._stubs))
        try:
            await (self._write(tenant, connection, 2) if kind == "write" else self._recall(tenant, connection))
        except grpc.aio.AioRpcError as error:
            self._failed[f"{kind}: {error.code().name}"] += 1
        self._latencies[kind].append(1000 * (time.monotonic() - due))

    async def _write(self, tenant: int, connection: int, entries: int) -> None:
        batch = [types_pb2.Entry(text=self._sentence(), session=f"s{self._rng.randrange(9)}") for _ in range(entries)]
        request = memory_pb2.WriteRequest(tenant=name(tenant), entries=batch)
        await self._stubs[connection].Write(request, timeout=PATIENCE_S)

    async def _recall(self, tenant: int, connection: int) -> None:
        request = memory_pb2.RecallRequest(tenant=name(tenant), query=self._sentence(), k=K)
        await self._stubs[connection].Recall(request, timeout=PATIENCE_S)

    def _sentence(self) -> str:
        return " ".join(self._rng.choices(WORDS, k=12))


async def _main(target: str, tenants: str, connections: str, rate: str, seed: str) -> None:
    load = Load(target, int(tenants), int(connections), float(rate), int(seed))
    await answer(load.act)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
