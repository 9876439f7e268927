"""The asyncio client: the twin of `client`."""
# ruff: noqa: ASYNC109  the timeout goes to the server too, as a deadline

from __future__ import annotations  # gRPC's classes take type arguments in their stubs only

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

import grpc
import grpc.aio

from memsvc.v1.memory_pb2 import ERASURE_STATE_DONE
from memsvc_client import (
    _aio_generate,
    _aio_stream,
    _aio_transfer,
    _aio_watch,
    _files,
    _generate_request,
    _keys,
    _replies,
    _requests,
)
from memsvc_client._access import Access
from memsvc_client._core import ANSWER_S, START_S, Core, Page, PageRequest, open_embedded
from memsvc_client._exchange import Exchange
from memsvc_client._files import Progress
from memsvc_client._peers import AioPeer, AioPeers
from memsvc_client._polls import Polls
from memsvc_client._retry import RetryPolicy
from memsvc_client._tls import TLS
from memsvc_client._tracing import Tracer
from memsvc_client._watching import Watching
from memsvc_client.errors import AlreadyExistsError
from memsvc_client.types import (
    Deletion,
    Entry,
    Event,
    ForgetReceipt,
    Imported,
    Item,
    Key,
    Message,
    Moment,
    NewKey,
    Recall,
    Receipt,
    StoredEntry,
    Tenant,
    TenantSettings,
    TenantStats,
    Token,
    Verification,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from memsvc.v1.memory_pb2 import ListEntriesRequest
    from memsvc_client._embedded import Embedded

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_PageRequest = TypeVar("_PageRequest", bound=PageRequest)
_Page = TypeVar("_Page", bound=Page)


class AsyncMemoryClient:
    """Writes text into tenants' memories and recalls it; `MemoryClient` for asyncio, method for method.

        async with AsyncMemoryClient("127.0.0.1:50051") as client:
            await client.write("ada", "The key is under the mat.")
            recall = await client.recall("ada", "Where is the key?")
            async for entry in client.list_entries("ada"):
                print(entry.text)

    A client belongs to the event loop that it is first used in. It connects at its first call.

    Args:
        target: the server's address, or several, as for `MemoryClient`.
        timeout: seconds that a call may take, all its tries together; each call takes its own as `timeout`.
        retry: how to try again.
        api_key: as for `MemoryClient`; what returns it runs on the event loop.
        tls: whether connections are encrypted, and how, as for `MemoryClient`.
        allow_plaintext_key: let the key leave this machine without TLS.
        tracing: whether calls are traced with OpenTelemetry, by the program's provider of tracers or the given one; the
            trace goes on in the server.

    Raises:
        MemsvcError: from every call; the module `memsvc_client.errors` draws the tree.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        api_key: str | Callable[[], str] | None = None,
        tls: bool | TLS = False,
        allow_plaintext_key: bool = False,
        tracing: TracerProvider | bool = False,
    ) -> None:
        access = Access(api_key, tls, allow_plaintext_key)
        self._core = Core(target, timeout, retry or RetryPolicy(), access)
        self._peers = AioPeers(access, Tracer(tracing) if tracing else None)
        self._embedded: Embedded | None = None

    @classmethod
    async def embedded(
        cls,
        path: str | Path,
        *,
        config: str | Path | None = None,
        timeout: float = 30.0,
        start_timeout: float = START_S,
        retry: RetryPolicy | None = None,
        tracing: TracerProvider | bool = False,
    ) -> Self:
        """Return a client of a server of one's own for a directory, as `MemoryClient.embedded` does.

        async with await AsyncMemoryClient.embedded("memory") as client:
            ...
        """
        server = await asyncio.to_thread(open_embedded, path, config, start_timeout)
        client = cls(server.target, timeout=timeout, retry=retry, tracing=tracing)
        client._embedded, server.forked = server, client._peers.leave
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.target!r})"

    async def close(self) -> None:
        """Close all connections. Calls under way fail. An embedded server that has no other user ends."""
        await self._peers.close()
        if self._embedded is not None:
            self._embedded.close()

    async def create_tenant(
        self,
        tenant: str,
        exist_ok: bool = False,
        *,
        preset: str | None = None,
        context_memory: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[TenantSettings],
    ) -> None:
        """Create a tenant, as `MemoryClient.create_tenant` does."""
        request = _requests.create_tenant(tenant, preset, context_memory, settings)
        try:
            await self._call(tenant, lambda at: at.tenants.CreateTenant, request, timeout)
        except AlreadyExistsError:
            if not exist_ok:
                raise

    async def update_tenant(
        self, tenant: str, *, timeout: float | None = None, **settings: Unpack[TenantSettings]
    ) -> Tenant:
        """Change how a tenant's memory learns and what it keeps, as `MemoryClient.update_tenant` does."""
        request = _requests.update_tenant(tenant, settings)
        return _replies.tenant(await self._call(tenant, lambda at: at.tenants.UpdateTenant, request, timeout))

    async def hot_restart(self, tenant: str, *, timeout: float | None = None) -> int:
        """Restart the memory's learning by hand, as `MemoryClient.hot_restart` does."""
        return (await self._call(tenant, lambda at: at.tenants.HotRestart, _requests.hot_restart(tenant), timeout)).seq

    async def write(
        self,
        tenant: str,
        entries: Entry | str | Iterable[Entry | str],
        wait: Literal["durable", "applied"] = "durable",
        *,
        timeout: float | None = None,
    ) -> Receipt:
        """Write a batch, all of it or none, as `MemoryClient.write` does."""
        request = _requests.write(tenant, entries, wait)
        return _replies.receipt(
            await self._call(tenant, lambda at: at.memory.Write, request, timeout), applied=wait == "applied"
        )

    def write_stream(
        self, tenant: str, entries: Iterable[Item] | AsyncIterable[Item], *, timeout: float | None = None
    ) -> AsyncGenerator[Receipt, None]:
        """Write many batches over one stream, as `MemoryClient.write_stream` does; the iterable may be async."""
        items = [entries] if isinstance(entries, Entry | str) else entries
        exchange = Exchange(tenant)
        return _aio_stream.write_stream(self._peers, self._core.trip(tenant, timeout), exchange, items)

    async def recall(  # noqa: PLR0917
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
        as_of: Moment | None = None,
        *,
        timeout: float | None = None,
    ) -> Recall:
        """Return the entries that a query asks for, best first, as `MemoryClient.recall` does."""
        entry_filter = _requests.entry_filter(session, role, after, before, metadata)
        request = _requests.recall(tenant, query, k, entry_filter, neighbours, min_seq, max_tokens, as_of)
        return _replies.recall(await self._call(tenant, lambda at: at.memory.Recall, request, timeout))

    async def get_entry(
        self, tenant: str, id: str, as_of: Moment | None = None, *, timeout: float | None = None
    ) -> StoredEntry:
        """Return one entry, as `MemoryClient.get_entry` does."""
        request = _requests.get_entry(tenant, id, as_of)
        return _replies.entry(await self._call(tenant, lambda at: at.memory.GetEntry, request, timeout))

    def generate(  # noqa: PLR0917
        self,
        tenant: str,
        prompt: str | Sequence[Message | tuple[str, str]],
        max_tokens: int = 256,
        temperature: float = 0.0,
        stop: str | Iterable[str] = (),
        seed: int | None = None,
        remember: bool = False,
        *,
        top_p: float = 1.0,
        session: str | None = None,
        k: int = 10,
        max_context_tokens: int | None = None,
        query: str | None = None,
        min_seq: int | None = None,
        from_session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Token, None]:
        """Answer from a tenant's memory: yields what was recalled, then the answer piece by piece, last its usage.

        A call is tried again until its first event came, and never after: an answer is not to be pieced together.
        Closing the generator ends the call, and with it the model's work.

        Args:
            tenant: whose memory.
            prompt: a question, or a conversation whose last message is the user's: pairs of role and text.
            max_tokens: at most so many are generated.
            temperature: 0 takes the likeliest token every time.
            stop: the answer ends before the first of these.
            seed: the same prompt and seed give the same answer, as far as the model can promise that.
            remember: whether the last message and the answer become entries, once the answer is complete.
            top_p: tokens are drawn from the likeliest that make up so much.
            session: of what is remembered.
            k: at most so many entries are recalled; 0 recalls nothing.
            max_context_tokens: what they may take of the prompt; what suits the model when None.
            query: what to recall; the last message when None.
            min_seq: wait until this record is applied; 0 waits for none, None for all committed when the call arrives.
            role: only entries of this one; the next ones too are the filter of `recall`.
            after: only entries from then on.
            before: only entries before then.
            metadata: only entries with these values.
            from_session: only entries of this session.
            timeout: seconds for the whole answer; ten minutes when None.

        Raises:
            InvalidArgumentError: an argument is wrong, or the prompt too long; `field` names it.
            NotFoundError: no such tenant.
            OutOfRangeError: `min_seq` is beyond the log's head.
            FailedPreconditionError: the server has no language model (reason NO_BACKBONE), or it does not work.
            UnavailableError: the server, or the model's, is gone.
        """
        request = _generate_request.generate(
            tenant,
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            seed=seed,
            remember=remember,
            session=session,
            k=k,
            max_context_tokens=max_context_tokens,
            query=query,
            min_seq=min_seq,
            entry_filter=_requests.entry_filter(from_session, role, after, before, metadata),
        )
        trip = self._core.trip(tenant, ANSWER_S if timeout is None else timeout)
        return _aio_generate.generate(self._peers, trip, request)

    def list_entries(  # noqa: PLR0917
        self,
        tenant: str,
        session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        as_of: Moment | None = None,
        include_evicted: bool = False,
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[StoredEntry]:
        """Yield the entries that match, in seq order, as `MemoryClient.list_entries` does."""
        entry_filter = _requests.entry_filter(session, role, after, before, metadata)
        request = _requests.list_entries(tenant, entry_filter, as_of, include_evicted)
        return self._entries(tenant, request, self._core.seconds(timeout))

    async def update_entry(self, tenant: str, entry: Entry, *, timeout: float | None = None) -> int:
        """Replace an entry by a new revision under the same id, as `MemoryClient.update_entry` does."""
        return (
            await self._call(tenant, lambda at: at.memory.UpdateEntry, _requests.update_entry(tenant, entry), timeout)
        ).seq

    async def delete_entry(self, tenant: str, id: str, *, timeout: float | None = None) -> Deletion:
        """Hide an entry at once, as `MemoryClient.delete_entry` does."""
        request = _requests.delete_entry(tenant, id)
        return _replies.deletion(await self._call(tenant, lambda at: at.memory.DeleteEntry, request, timeout))

    async def forget(  # noqa: PLR0917
        self,
        tenant: str,
        ids: str | Iterable[str] | None = None,
        session: str | None = None,
        role: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        wait: bool = True,
        *,
        timeout: float | None = None,
    ) -> ForgetReceipt:
        """Erase entries with all their revisions, as `MemoryClient.forget` does."""
        polls = Polls(self._core.seconds(timeout))
        request = _requests.forget(tenant, ids, _requests.entry_filter(session, role, after, before, metadata))
        erasure = await self._call(tenant, lambda at: at.memory.Forget, request, timeout)
        while wait and erasure.state != ERASURE_STATE_DONE:
            await asyncio.sleep(polls.delay(erasure.operation))
            with polls.asking(erasure.operation):
                question = _requests.get_erasure(erasure.operation, tenant)
                erasure = await self._call(tenant, lambda at: at.memory.GetErasure, question, polls.remaining)
        return _replies.erasure(erasure)

    async def get_erasure(
        self, operation: str, tenant: str | None = None, *, timeout: float | None = None
    ) -> ForgetReceipt:
        """Return how far an erasure is, as `MemoryClient.get_erasure` does."""
        request = _requests.get_erasure(operation, tenant)
        return _replies.erasure(await self._call(tenant, lambda at: at.memory.GetErasure, request, timeout))

    async def feedback(
        self, tenant: str, ids: str | Iterable[str], useful: bool = True, *, timeout: float | None = None
    ) -> int:
        """Say of entries that they were useful, or not, as `MemoryClient.feedback` does."""
        return (
            await self._call(tenant, lambda at: at.memory.Feedback, _requests.feedback(tenant, ids, useful), timeout)
        ).seq

    async def stats(self, tenant: str, *, live: bool = False, timeout: float | None = None) -> TenantStats:
        """Return a tenant's figures, as `MemoryClient.stats` does."""
        request = _requests.get_stats(tenant, live)
        return _replies.stats((await self._call(tenant, lambda at: at.tenants.GetTenant, request, timeout)).stats)

    async def head_seq(self, tenant: str, *, timeout: float | None = None) -> int:
        """Return the seq of the last record of a tenant's log, as `MemoryClient.head_seq` does."""
        asked = _requests.get_head(tenant)
        return (await self._call(tenant, lambda at: at.tenants.GetTenant, asked, timeout)).stats.head_seq

    async def state_hash(self, tenant: str, *, timeout: float | None = None) -> str:
        """Return the hash of a tenant's state, as `MemoryClient.state_hash` does."""
        return (await self.stats(tenant, timeout=timeout)).state_hash

    async def verify(self, tenant: str, *, timeout: float | None = None) -> Verification:
        """Fold the tenant's log afresh and compare the hashes, as `MemoryClient.verify` does."""
        return _replies.verification(
            await self._call(tenant, lambda at: at.tenants.VerifyTenant, _requests.verify(tenant), timeout)
        )

    def watch(
        self, tenant: str, from_seq: int | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens to a tenant's memory, without end, as `MemoryClient.watch` does."""
        return _aio_watch.watch(self._peers, Watching(self._core, tenant, from_seq, timeout))

    def list_tenants(self, *, timeout: float | None = None) -> AsyncIterator[Tenant]:
        """Yield all tenants in the byte order of their ids, as `MemoryClient.list_tenants` does."""
        return self._each_tenant(self._core.seconds(timeout))

    async def delete_tenant(self, tenant: str, *, timeout: float | None = None) -> None:
        """Delete a tenant, as `MemoryClient.delete_tenant` does."""
        await self._call(tenant, lambda at: at.tenants.DeleteTenant, _requests.delete_tenant(tenant), timeout)

    async def restore(
        self, tenant: str, to: Moment, as_tenant: str | None = None, *, timeout: float | None = None
    ) -> Tenant:
        """Bring a tenant's past back, as `MemoryClient.restore` does."""
        request = _requests.restore(tenant, to, as_tenant)
        return _replies.tenant(await self._call(tenant, lambda at: at.tenants.RestoreTenant, request, timeout))

    async def confirm_restore(self, tenant: str, *, timeout: float | None = None) -> None:
        """Destroy what a restored tenant was before, as `MemoryClient.confirm_restore` does."""
        await self._call(tenant, lambda at: at.tenants.ConfirmRestore, _requests.confirm_restore(tenant), timeout)

    async def undo_restore(self, tenant: str, *, timeout: float | None = None) -> Tenant:
        """Put a restored tenant back to what it was before, as `MemoryClient.undo_restore` does."""
        return _replies.tenant(
            await self._call(tenant, lambda at: at.tenants.UndoRestore, _requests.undo_restore(tenant), timeout)
        )

    async def export_tenant(
        self,
        tenant: str,
        path: str | Path,
        overwrite: bool = False,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> int:
        """Write a tenant to one file, as `MemoryClient.export_tenant` does."""
        request = _requests.export_tenant(tenant)
        with _files.NewFile(path, overwrite) as file:
            await _aio_transfer.download(self._peers, self._core.trip(tenant, timeout), request, file, progress)
            return file.size

    async def import_tenant(
        self,
        path: str | Path,
        as_tenant: str | None = None,
        rebuild: bool = False,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Imported:
        """Make a tenant of an exported file, as `MemoryClient.import_tenant` does."""
        trip = self._core.trip(as_tenant, timeout)
        with _files.Source(path, _requests.import_tenant(as_tenant, rebuild)) as source:
            return _replies.imported(await _aio_transfer.upload(self._peers, trip, source, progress))

    async def _entries(self, tenant: str, request: ListEntriesRequest, timeout: float) -> AsyncIterator[StoredEntry]:
        async for page in self._pages(tenant, lambda at: at.memory.ListEntries, request, timeout):
            for message in page.entries:
                yield _replies.entry(message)

    async def _each_tenant(self, timeout: float) -> AsyncIterator[Tenant]:
        async for page in self._pages(None, lambda at: at.tenants.ListTenants, _requests.list_tenants(), timeout):
            for message in page.tenants:
                yield _replies.tenant(message)

    async def _each_key(self, timeout: float) -> AsyncIterator[Key]:
        async for page in self._pages(None, lambda at: at.auth.ListKeys, _keys.list_keys(), timeout):
            for message in page.keys:
                yield _keys.key(message)

    async def create_key(
        self,
        name: str,
        grants: Mapping[str, str | Iterable[str]],
        expire: datetime | None = None,
        *,
        timeout: float | None = None,
    ) -> NewKey:
        """Make an API key, as `MemoryClient.create_key` does."""
        request = _keys.create_key(name, grants, expire)
        reply = await self._call(None, lambda at: at.auth.CreateKey, request, timeout, once=True)
        return _keys.new_key(reply)

    def list_keys(self, *, timeout: float | None = None) -> AsyncIterator[Key]:
        """Yield the keys that the caller may administer, as `MemoryClient.list_keys` does."""
        return self._each_key(self._core.seconds(timeout))

    async def rotate_key(self, id: str, overlap: timedelta | float, *, timeout: float | None = None) -> NewKey:
        """Give a key another secret, as `MemoryClient.rotate_key` does."""
        request = _keys.rotate_key(id, overlap)
        reply = await self._call(None, lambda at: at.auth.RotateKey, request, timeout, once=True)
        return _keys.new_key(reply)

    async def revoke_key(self, id: str, *, timeout: float | None = None) -> Key:
        """Make a key worthless, as `MemoryClient.revoke_key` does."""
        return _keys.key(await self._call(None, lambda at: at.auth.RevokeKey, _keys.revoke_key(id), timeout))

    async def _call(
        self,
        tenant: str | None,
        method: Callable[[AioPeer], grpc.aio.UnaryUnaryMultiCallable[_Request, _Reply]],
        request: _Request,
        timeout: float | None,
        *,
        once: bool = False,
    ) -> _Reply:
        trip = self._core.trip(tenant, timeout, once=once)
        while True:
            try:
                async with self._peers.at(trip.begin()) as peer:
                    with _aio_stream.failing_when_closed():
                        return await method(peer)(request, timeout=trip.remaining)
            except grpc.RpcError as failure:
                delay = trip.pause(failure)
            await asyncio.sleep(delay)

    async def _pages(
        self,
        tenant: str | None,
        method: Callable[[AioPeer], grpc.aio.UnaryUnaryMultiCallable[_PageRequest, _Page]],
        request: _PageRequest,
        timeout: float,
    ) -> AsyncIterator[_Page]:
        more = True
        while more:
            page = await self._call(tenant, method, request, timeout)
            yield page
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)
