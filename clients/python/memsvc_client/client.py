"""The blocking client."""

from __future__ import annotations  # gRPC's classes take type arguments in their stubs only

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Self, TypeVar

import grpc

from memsvc.v1.memory_pb2_grpc import MemoryServiceStub
from memsvc.v1.tenants_pb2_grpc import TenantServiceStub
from memsvc_client import _replies, _requests, _stream
from memsvc_client._channel import open_channel
from memsvc_client._core import Core, Page, PageRequest
from memsvc_client._exchange import Exchange
from memsvc_client._retry import RetryPolicy
from memsvc_client.errors import AlreadyExistsError
from memsvc_client.types import Entry, Item, Recall, Receipt, StoredEntry, Tenant, TenantStats

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_PageRequest = TypeVar("_PageRequest", bound=PageRequest)
_Page = TypeVar("_Page", bound=Page)


class MemoryClient:
    """Writes text into tenants' memories and recalls it.

        with MemoryClient("127.0.0.1:50051") as client:
            client.create_tenant("ada", exist_ok=True)
            client.write("ada", [Entry("The key is under the mat.", session="home")])
            for hit in client.recall("ada", "Where is the key?"):
                print(hit.score, hit.text)

    Threads may share a client. Every call may be tried again within its timeout, and none takes effect twice: entries
    get their ids here, and what creates or deletes carries a request id.

    Args:
        target: the server's address.
        timeout: seconds that a call may take, all its tries together; each call takes its own as `timeout`.
        retry: how to try again.

    Raises:
        MemsvcError: from every call; the module `memsvc_client.errors` draws the tree.
    """

    def __init__(self, target: str, *, timeout: float = 30.0, retry: RetryPolicy | None = None) -> None:
        self._core = Core(target, timeout, retry or RetryPolicy())
        self._channel = open_channel(target)
        self._memory = MemoryServiceStub(self._channel)
        self._tenants = TenantServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.target!r})"

    def close(self) -> None:
        """Close the connection. Calls under way fail."""
        self._channel.close()

    def create_tenant(self, tenant: str, exist_ok: bool = False, *, timeout: float | None = None) -> None:
        """Create a tenant.

        Raises:
            AlreadyExistsError: there is one of this id, unless `exist_ok`.
        """
        try:
            self._call(self._tenants.CreateTenant, _requests.create_tenant(tenant), timeout)
        except AlreadyExistsError:
            if not exist_ok:
                raise

    def write(
        self,
        tenant: str,
        entries: Entry | str | Iterable[Entry | str],
        wait: Literal["durable", "applied"] = "durable",
        *,
        timeout: float | None = None,
    ) -> Receipt:
        """Write a batch of at most 1,000 entries and 4 MiB: all of them or none. A str is an entry of that text.

        Args:
            tenant: whose memory.
            entries: the batch.
            wait: until the batch is on disk, or until it is recallable too: surprise and gate share are then known.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an entry is wrong; nothing is written.
            NotFoundError: no such tenant.
            AlreadyExistsError: an id is known with other content; nothing is written.
        """
        request = _requests.write(tenant, entries, wait)
        return _replies.receipt(self._call(self._memory.Write, request, timeout), applied=wait == "applied")

    def write_stream(
        self, tenant: str, entries: Iterable[Item], *, timeout: float | None = None
    ) -> Generator[Receipt, None, None]:
        """Write many batches over one stream; yield a receipt for each batch, in order, as it becomes durable.

        Entries are gathered into batches; a list among them is a batch of its own. They are taken from the iterable as
        receipts are taken from here, a bounded way ahead of them; while the iterable waits, so do receipts: `write`
        suits a trickle better. A stream that breaks is resumed. Closing the generator ends it; what has no receipt then
        may or may not be written.

        Args:
            tenant: whose memory.
            entries: what to write; may be endless.
            timeout: seconds that the server may leave a batch without an answer, in place of the client's.

        Raises:
            InvalidArgumentError: an entry is wrong; batches before it may be written.
            NotFoundError: no such tenant.
            AlreadyExistsError: an id is known with other content; batches before it are written.
        """
        items = [entries] if isinstance(entries, Entry | str) else entries
        seconds = self._core.seconds(timeout)
        return _stream.write_stream(self._core, self._memory.WriteStream, Exchange(tenant), items, seconds)

    def recall(  # noqa: PLR0917  its arguments are the contract's
        self,
        tenant: str,
        query: str,
        k: int = 10,
        session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        neighbours: int = 0,
        min_seq: int | None = None,
        max_tokens: int | None = None,
        *,
        timeout: float | None = None,
    ) -> Recall:
        """Return the entries that a query asks for, best first.

        Args:
            tenant: whose memory.
            query: what to look for.
            k: how many hits at most.
            session: only this session.
            role: only this role.
            after: only entries whose time is at or after this one.
            before: only entries whose time is before this one.
            metadata: only entries whose metadata match, for example `{"lang": "en", "page": {"$gte": 3}}`.
            neighbours: how many entries before and after each hit in its session to return with it.
            min_seq: wait until this record is applied; 0 waits for none, None for all committed when the call arrives.
            max_tokens: also return a context for a prompt, of at most this many tokens.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            NotFoundError: no such tenant.
            OutOfRangeError: `min_seq` is beyond the log's head.
        """
        entry_filter = _requests.entry_filter(session, role, after, before, metadata)
        request = _requests.recall(tenant, query, k, entry_filter, neighbours, min_seq, max_tokens)
        return _replies.recall(self._call(self._memory.Recall, request, timeout))

    def get_entry(self, tenant: str, id: str, *, timeout: float | None = None) -> StoredEntry:
        """Return one entry.

        Raises:
            NotFoundError: no such tenant or entry.
        """
        return _replies.entry(self._call(self._memory.GetEntry, _requests.get_entry(tenant, id), timeout))

    def list_entries(  # noqa: PLR0917
        self,
        tenant: str,
        session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Iterator[StoredEntry]:
        """Yield the entries that match, in seq order. The filter is that of `recall`; `timeout` is for each page."""
        request = _requests.list_entries(tenant, _requests.entry_filter(session, role, after, before, metadata))
        pages = self._pages(self._memory.ListEntries, request, self._core.seconds(timeout))
        return (_replies.entry(message) for page in pages for message in page.entries)

    def stats(self, tenant: str, *, timeout: float | None = None) -> TenantStats:
        """Return a tenant's live figures.

        Raises:
            NotFoundError: no such tenant.
        """
        return _replies.stats(self._call(self._tenants.GetTenant, _requests.get_stats(tenant), timeout).stats)

    def list_tenants(self, *, timeout: float | None = None) -> Iterator[Tenant]:
        """Yield all tenants in the byte order of their ids. `timeout` is for each page."""
        pages = self._pages(self._tenants.ListTenants, _requests.list_tenants(), self._core.seconds(timeout))
        return (_replies.tenant(message) for page in pages for message in page.tenants)

    def delete_tenant(self, tenant: str, *, timeout: float | None = None) -> None:
        """Delete a tenant with its log, memory and index.

        Raises:
            NotFoundError: no such tenant.
        """
        self._call(self._tenants.DeleteTenant, _requests.delete_tenant(tenant), timeout)

    def _call(
        self, method: grpc.UnaryUnaryMultiCallable[_Request, _Reply], request: _Request, timeout: float | None
    ) -> _Reply:
        retry = self._core.retry(timeout)
        while True:
            try:
                return method(request, timeout=retry.remaining)
            except grpc.RpcError as failure:
                delay = self._core.pause(retry, failure)
            time.sleep(delay)

    def _pages(
        self, method: grpc.UnaryUnaryMultiCallable[_PageRequest, _Page], request: _PageRequest, timeout: float
    ) -> Iterator[_Page]:
        more = True
        while more:
            page = self._call(method, request, timeout)
            yield page
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)
