"""Sends calls, files and raw bytes to a server, many at a time, and looks at it between."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError

from memsvc.v1 import memory_pb2, tenants_pb2, types_pb2
from memsvc_bench import fuzz_http2
from memsvc_bench.fuzz_files import PATH as IMPORT
from memsvc_bench.fuzz_http2 import Wire
from memsvc_bench.fuzz_messages import Call, Method, named
from memsvc_bench.fuzz_replay import Step
from memsvc_bench.fuzz_server import Target, Violation, send

TOGETHER = 16
"""Inputs under way."""
LOOK = 250
"""Inputs between two looks at the server."""
TIDY = 5_000
"""Inputs between two times that the tenants that they made are deleted."""
MOST_HELD = 64
"""Connections that stay open and silent at a time."""
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


class Found(NamedTuple):
    """A violation, and what had been sent."""

    why: str
    steps: list[Step]
    """The one input that did it, or all since the server was looked at last."""


class Attack:
    """Sends one input after another.

    Args:
        target: what to send to.
        methods: what it has.

    Attributes:
        sent: inputs by kind.
        codes: what calls ended with, by code.
    """

    def __init__(self, target: Target, methods: Sequence[Method]) -> None:
        self._target, self._methods = target, {method.path: method for method in methods}
        self.sent, self.codes = Counter[str](), Counter[str]()
        self._held: list[asyncio.StreamWriter] = []

    def run(self, count: int, step: Callable[[int], Step]) -> Found | None:
        """Send so many inputs, each by its number; return what was violated first, None if nothing was."""
        for first in range(0, count, LOOK):
            steps = [step(number) for number in range(first, min(first + LOOK, count))]
            if (found := asyncio.run(self._send_all(steps))) is not None:
                return found
            try:
                self._target.check()
                if first // TIDY != (first + LOOK) // TIDY:
                    self._target.tidy()
            except Violation as violation:
                return Found(str(violation), steps)
        return None

    async def _send_all(self, steps: Sequence[Step]) -> Found | None:
        queue, found = iter(steps), list[Found]()

        async def work() -> None:
            for step in queue:
                if found:
                    return
                try:
                    await self._send(channel, step)
                except Violation as violation:
                    found.append(Found(f"{violation}\n{self._target.log_tail()}", [step]))
                except OSError:
                    self.codes["NO_CONNECTION"] += 1

        async with grpc.aio.insecure_channel(self._target.server.target, options=OPTIONS) as channel:
            await asyncio.gather(*(work() for _ in range(TOGETHER)))
        while self._held:
            fuzz_http2.end(self._held.pop())
        return found[0] if found else None

    async def _send(self, channel: grpc.aio.Channel, step: Step) -> None:
        match step:
            case Wire():
                self.sent[f"HTTP/2: {step.kind}"] += 1
                await fuzz_http2.send(self._target.server.target, step, self._held)
                while len(self._held) > MOST_HELD:
                    fuzz_http2.end(self._held.pop(0))
            case Call(path=path):
                imported = path == IMPORT and step.makes != ""
                self.sent["files" if imported else path] += 1
                code = await self._call(channel, step)
                if imported and code == "OK":
                    self.sent["files that were taken"] += 1
                    for probe in probes(step.makes):
                        await self._call(channel, probe)

    async def _call(self, channel: grpc.aio.Channel, call: Call) -> str:
        try:
            code = await send(channel, named(call, self._methods), call)
        except DecodeError as error:
            raise Violation(f"{call.path}: an answer is no message of its type") from error
        self.codes[code] += 1
        return code


def probes(tenant: str) -> list[Call]:
    """Return what a tenant made of a file is asked: it is one like any other."""
    memory, tenants = "/memsvc.v1.MemoryService", "/memsvc.v1.TenantService"
    entry = types_pb2.Entry(text="a note that is written after the import " * 40, session="s1")
    applied = memory_pb2.WRITE_WAIT_APPLIED
    calls = [
        (
            f"{memory}/Recall",
            memory_pb2.RecallRequest(tenant=tenant, query="the note of the day", neighbours=2, max_tokens=99),
        ),
        (f"{memory}/ListEntries", memory_pb2.ListEntriesRequest(tenant=tenant, include_evicted=True)),
        (f"{memory}/Write", memory_pb2.WriteRequest(tenant=tenant, entries=[entry], wait=applied)),
        (f"{memory}/Recall", memory_pb2.RecallRequest(tenant=tenant, query="a note", as_of=types_pb2.AsOf(seq=2))),
        (f"{tenants}/VerifyTenant", tenants_pb2.VerifyTenantRequest(tenant=tenant)),
        (f"{tenants}/GetTenant", tenants_pb2.GetTenantRequest(tenant=tenant)),
        (f"{tenants}/ExportTenant", tenants_pb2.ExportTenantRequest(tenant=tenant)),
        (f"{tenants}/DeleteTenant", tenants_pb2.DeleteTenantRequest(tenant=tenant)),
    ]
    return [Call(path, [request.SerializeToString()]) for path, request in calls]
