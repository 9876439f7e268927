"""The server under attack, and a tenant in it that nobody may touch: what must hold, whatever is sent."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from memsvc_client import Entry, MemoryClient, MemsvcError

from memsvc_bench import fuzz_audit
from memsvc_bench.fuzz_messages import TENANTS, Call, Method
from memsvc_bench.server_process import ServerProcess

CANARY = "nobody names me"
"""No seed has it, and no damage makes it."""
ANSWER = "the parrot of the harbour master speaks Basque"
EXPORTED = "exported"
QUESTION = "which language does the parrot speak?"
MEMORY_BYTES = 256 << 20
"""What the server may hold of views and weights, by its own setting."""
GROWTH_BYTES = MEMORY_BYTES + (768 << 20)
"""What it may grow by, resident, from when it is warm: its views and weights up to their limit; calls under way, of up
to 4 MiB each and a few times that once they are decoded; snapshots of tenants on their way to the disk; and what the
allocators keep of all this. A message of a few bytes that says it has gigabytes would show."""
PATIENCE_S = 60.0
"""How long any answer may take, here and on a busy machine; past it the server hangs."""
ENDLESS_S = 0.05
"""How long the caller of a method whose answers never end listens."""
DRAIN_S = 5.0
UNPICKLED = fuzz_audit.MARK
FAULT = re.compile(rf"\[error\s*\]|\[critical\s*\]|Traceback|{re.escape(UNPICKLED)}|Fatal Python error|panic")
"""What no line of the log may have: errors of memsvc's own, exceptions that nothing caught, and what was unpickled."""
BAD = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
"""Codes that say that the fault is the server's."""


BROKEN_OFF = "Internal error from Core"
"""What gRPC's client says, not the server, of a call that was ended while it was still sending; or CANCELLED."""


AGAIN = "folded afresh"
"""Of a call whose tenant was deleted or restored in place meanwhile; what makes a view fail else is logged."""
KNOWN = re.compile(
    r"^Invalid encoding on .*?^UnicodeDecodeError:"
    r"|^ExecuteBatchError raised in core.*?^grpc._cython.cygrpc.ExecuteBatchError:",
    re.MULTILINE | re.DOTALL,
)
"""What gRPC itself logs of a header that is not UTF-8, and of a caller who is gone before the answer."""


class Violation(Exception):  # noqa: N818 - not an error of the program, but what it looks for
    """Something that must hold does not."""


class Target:
    """A server with a tenant that must stay as it is.

    Args:
        server: runs.
        client: is connected to it.

    Raises:
        MemsvcError: it does not serve.
    """

    def __init__(self, server: ServerProcess, client: MemoryClient) -> None:
        self.server, self._client = server, client
        self._pid, self._read = server.pid, 0
        self.looks = 0
        client.create_tenant(CANARY)
        for tenant in TENANTS[:4]:
            client.create_tenant(tenant)
        notes = [Entry(f"note {i} says {i * 7919 % 10007}", id=f"n{i}", session="notes") for i in range(40)]
        client.write(CANARY, [*notes, Entry(ANSWER, id="secret")], wait="applied")
        client.recall(CANARY, QUESTION)
        self._known = self._state()
        self.most_bytes = self.warm_bytes = most_bytes(server.pid) or 0

    def check(self) -> None:
        """Look at all that must hold at any time.

        Raises:
            Violation: something does not.
        """
        self.looks += 1
        if self.server.ends_within(0) or self.server.pid != self._pid:
            raise Violation(f"the server ended with {self.server.returncode}:\n{self.log_tail()}")
        if (most := most_bytes(self.server.pid)) is None:  # it is ending at this moment
            self.server.ends_within(PATIENCE_S)
            raise Violation(f"the server ended with {self.server.returncode}:\n{self.log_tail()}")
        self.most_bytes = most
        if most > self.warm_bytes + GROWTH_BYTES:
            raise Violation(f"the server grew from {self.warm_bytes >> 20} to {most >> 20} MiB")
        self.check_log()
        try:
            hits = self._client.recall(CANARY, QUESTION, k=1, timeout=PATIENCE_S).hits
            state = self._state()
        except MemsvcError as error:
            raise Violation(f"the canary is not answered: {error.reason}: {error}") from error
        if [hit.entry.text for hit in hits] != [ANSWER]:
            raise Violation("the canary's recall is wrong")
        if state != self._known:
            raise Violation(f"the canary's state was {self._known} and is {state}")

    def export(self, entries: int) -> bytes:
        """Return a tenant of so many short entries as a file, with a snapshot; weights are in it from a dozen on.

        Raises:
            RuntimeError: no snapshot of it was made in time.
        """
        self._client.create_tenant(EXPORTED)
        notes = [Entry(f"note {i} of the day", session=f"s{i % 3}", metadata={"page": i}) for i in range(entries)]
        self._client.write(EXPORTED, notes, wait="applied")
        end = time.monotonic() + PATIENCE_S
        while not self._client.stats(EXPORTED).snapshots:
            if time.monotonic() > end:
                raise RuntimeError("the server made no snapshot")
            time.sleep(0.1)
        file = self.server.data.with_name("exported")
        self._client.export_tenant(EXPORTED, file, overwrite=True)
        self._client.delete_tenant(EXPORTED)
        return file.read_bytes()

    def check_log(self) -> None:
        """Look at what was logged since the last time.

        Raises:
            Violation: there is a fault among it.
        """
        with self.server.log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().decode(errors="replace")
            self._read = log.tell()
        if fault := fault_in(lines):
            raise Violation(f"the log says: {fault}")

    def log_tail(self) -> str:
        """Return the end of the log."""
        return self.server.log.read_bytes()[-6000:].decode(errors="replace")

    def check_drain(self) -> None:
        """Ask it to end, and look how it does.

        Raises:
            Violation: it does not end in time, or not with 0.
        """
        self.server.send(signal.SIGTERM)
        if not self.server.ends_within(DRAIN_S + PATIENCE_S):
            raise Violation(f"the server does not end when it is asked to:\n{self.log_tail()}")
        if (code := self.server.returncode) != 0:
            raise Violation(f"the server ended with {code}")
        self.check_log()

    def tidy(self) -> None:
        """Delete every tenant but the canary: what is sent makes new ones all the time."""
        for tenant in list(self._client.list_tenants(timeout=PATIENCE_S)):
            if tenant.tenant != CANARY:
                try:
                    self._client.delete_tenant(tenant.tenant, timeout=PATIENCE_S)
                except MemsvcError as error:
                    if error.reason not in {"NOT_FOUND", "TENANT_NOT_FOUND"}:
                        raise Violation(f"a tenant cannot be deleted: {error.reason}: {error}") from error
        for name in TENANTS[:4]:
            self._client.create_tenant(name, timeout=PATIENCE_S)

    def _state(self) -> tuple[str, int, int]:
        stats = self._client.stats(CANARY, timeout=PATIENCE_S)
        return stats.state_hash, stats.head_seq, stats.entries


def fault_in(lines: str) -> str:
    """Return the part of a server's log that begins with a fault, up to 4,000 characters; empty where there is none."""
    lines = KNOWN.sub("", lines)
    found = FAULT.search(lines)
    return "" if found is None else lines[found.start() : found.start() + 4000]


def most_bytes(pid: int | None) -> int | None:
    """Return what a process was resident with at most, so far; None when it is no more.

    Raises:
        RuntimeError: the system does not say.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as error:
        raise RuntimeError("this system does not tell a process's memory in /proc") from error
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


@contextmanager
def target(scratch: Path) -> Iterator[Target]:
    """Run a server to be attacked, over a directory of `scratch`."""
    options = ("--encoder", "kmer", "--threads", "1")
    environment = {
        "MEMSVC_MEMORY_BYTES": str(MEMORY_BYTES),
        "MEMSVC_SLOTS": "8",
        "PYTHONFAULTHANDLER": "1",
        "MEMSVC_SNAPSHOT_IDLE_S": "0.5",
        "MEMSVC_SNAPSHOT_MIN_TOKENS": "1",
        "MEMSVC_DRAIN_S": str(DRAIN_S),
        **fuzz_audit.environment(scratch / "audit"),
    }
    with (
        ServerProcess(scratch / "data", options, environment=environment) as server,
        MemoryClient(server.target, timeout=PATIENCE_S) as client,
    ):
        yield Target(server, client)


# --- calls ----------------------------------------------------------------------------------------------------------


async def send(channel: grpc.aio.Channel, method: Method, call: Call) -> str:
    """Make a call and return the code that it ended with; `LEFT` when it was the caller that ended it.

    Raises:
        Violation: the code is one that says that the fault is the server's, no answer came in time, or an answer is
            no message of its type.
    """
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    start = getattr(channel, kind)(method.path, request_serializer=None, response_deserializer=None)
    requests = _each(call.requests) if method.client_streaming else (call.requests or [b""])[0]
    sent = start(requests, timeout=PATIENCE_S)
    leave = call.leave_after_s
    if leave is None and method.endless:
        leave = ENDLESS_S
    began = time.monotonic()
    try:
        async with asyncio.timeout(leave):
            if method.server_streaming:
                async for answer in sent:
                    method.response.FromString(answer)
            else:
                method.response.FromString(await sent)
    except TimeoutError:
        sent.cancel()
        return "LEFT"
    except asyncio.CancelledError:
        # gRPC's client says so of a call that the server cancelled, too.
        if not sent.cancelled():
            raise
        return f"CANCELLED: {method.path}"
    except grpc.aio.AioRpcError as error:
        code = error.code()
        if method.client_streaming and (error.details() == BROKEN_OFF or code is grpc.StatusCode.CANCELLED):
            return "BROKEN_OFF"
        if code is grpc.StatusCode.CANCELLED:
            return f"CANCELLED: {method.path}"
        if code is grpc.StatusCode.UNAVAILABLE and AGAIN in (error.details() or ""):
            return "VIEW_FAILED"
        if code in BAD:
            raise Violation(f"{method.path}: {code.name}: {error.details()}") from None
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - began >= PATIENCE_S - 0.01:
            raise Violation(f"{method.path}: no answer in {PATIENCE_S:g} s") from None
        return code.name
    return "OK"


async def _each(requests: Sequence[bytes]) -> AsyncIterator[bytes]:
    for request in requests:
        yield request
