"""What the end-to-end tests on Redis share: whose a tenant is, and clients that never stop writing."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from memsvc_client import Entry, MemoryClient

from memsvc.v1.tenants_pb2 import GetTenantRequest
from tests.serving import Server, Stubs

PATIENCE_S = 60.0

T = TypeVar("T")


def owned(server: Server, tenants: Sequence[str]) -> list[str]:
    """Return those of the tenants that a server serves itself now."""
    with Stubs(server.target) as stubs:
        return [tenant for tenant in tenants if _serves(stubs, tenant)]


def _serves(stubs: Stubs, tenant: str) -> bool:
    try:
        stubs.tenants.GetTenant(GetTenantRequest(tenant=tenant, read_mask=FieldMask(paths=["uid"])))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def until(found: Callable[[], T]) -> T:
    """Return what a question finds, once that is something."""
    end = time.monotonic() + PATIENCE_S
    while not (answer := found()):
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.05)
    return answer


class Load:
    """A thread for each of some tenants, that writes one batch of numbered entries after another.

    Attributes:
        acknowledged: by tenant, the record of every acknowledged id, in order.
    """

    def __init__(self, client: MemoryClient, tenants: Sequence[str]) -> None:
        self._client = client
        self.acknowledged: dict[str, dict[str, int]] = {tenant: {} for tenant in tenants}
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(len(tenants))
        self._writers: list[Future[None]] = []

    def _write(self, tenant: str) -> None:
        number = 0
        while not self._ended.wait(0.01):
            batch = [Entry(f"line {n} of {tenant}: {n * 7919 % 1009}", id=str(n)) for n in range(number, number + 3)]
            receipt = self._client.write(tenant, batch, timeout=PATIENCE_S / 2)
            self.acknowledged[tenant] |= dict(zip(receipt.ids, receipt.seqs, strict=True))
            number += len(batch)

    def more(self, count: int) -> None:
        """Return once so many more entries of every tenant are acknowledged."""
        wanted = {tenant: len(seqs) + count for tenant, seqs in self.acknowledged.items()}

        def there() -> bool:
            for writer in self._writers:
                if writer.done():
                    writer.result()
            return all(len(self.acknowledged[tenant]) >= least for tenant, least in wanted.items())

        until(there)

    def check(self, tenant: str) -> None:
        """Check that every acknowledged entry is there once, in its record, in the order in which it was written."""
        listed = list(self._client.list_entries(tenant))
        numbers = [int(entry.id) for entry in listed]
        assert numbers == sorted(set(numbers))
        seqs = {entry.id: entry.seq for entry in listed}
        assert seqs | self.acknowledged[tenant] == seqs

    def __enter__(self) -> Self:
        self._writers = [self._pool.submit(self._write, tenant) for tenant in self.acknowledged]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._pool.shutdown()
        if error is None:
            for writer in self._writers:
                writer.result()
