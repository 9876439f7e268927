"""MemoryService: each method is validate, ask the engine, convert."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import grpc

from memsvc import limits
from memsvc.engine.admission import batch_size
from memsvc.engine.engine import Engine
from memsvc.engine.results import Recalled, Written
from memsvc.engine.turnstile import Turnstile
from memsvc.errors import DeadlineExceededError, InvalidArgumentError, NotFoundError, UnavailableError
from memsvc.recall.filter import Filter
from memsvc.server import convert, principal, validate
from memsvc.server.interceptors import deadline, not_applied
from memsvc.server.storage_quotas import StorageQuotas
from memsvc.store.types import Payload
from memsvc.v1 import memory_pb2, memory_pb2_grpc, types_pb2

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

HITS_AT_ONCE = 32
"""Hits that are made into messages before other calls have their turn: each may bring twenty neighbours."""
BATCHES_IN_FLIGHT = 64
"""Batches of one stream on their way to the disk."""


class MemoryService(memory_pb2_grpc.MemoryServiceServicer):
    """Writes and recalls.

    Args:
        engine: does it.
        holdings: let in what a tenant may hold.
    """

    def __init__(self, engine: Engine, holdings: StorageQuotas) -> None:
        self._engine, self._holdings = engine, holdings
        self._checks = Turnstile(1)
        self.draining = asyncio.Event()
        """Set at a shutdown: open write streams end after what they have under way."""

    @property
    def _dim(self) -> int:
        return self._engine.thread.runner.encoder.dim

    async def Write(self, request: memory_pb2.WriteRequest, context: Context) -> memory_pb2.WriteResponse:
        """Append a batch."""
        tenant = validate.name("tenant", request.tenant)
        # A payload takes half of what its message does, at least.
        self._engine.check_room(tenant, request.ByteSize() // 2)
        payloads = await self._checked(tenant, "entries", request.entries)
        applied = request.wait == memory_pb2.WRITE_WAIT_APPLIED
        try:
            async with await deadline(context):
                with await self._holdings.reserve(tenant, len(payloads), batch_size(payloads)) as room:
                    written = await self._engine.write(tenant, payloads, applied=applied, settled=room.close)
        except TimeoutError:
            raise DeadlineExceededError(
                "the deadline passed while waiting; write again under the same ids to learn what became of the batch"
            ) from None
        return convert.write_response(written)

    async def WriteStream(
        self, request_iterator: AsyncIterator[memory_pb2.WriteStreamRequest], context: Context
    ) -> AsyncIterator[memory_pb2.WriteStreamResponse]:
        """Append many batches."""
        try:
            first = await anext(request_iterator)
        except StopAsyncIteration:
            return
        if first.WhichOneof("message") != "open":
            raise InvalidArgumentError("open", "must be the first message of the stream")
        tenant = validate.name("tenant", first.open.tenant)
        answers: asyncio.Queue[int | asyncio.Task[Written] | BaseException | None] = asyncio.Queue(BATCHES_IN_FLIGHT)
        window = await self._engine.window(tenant)
        yield memory_pb2.WriteStreamResponse(window=window, opened=memory_pb2.WriteStreamOpened())
        reader = asyncio.create_task(self._read_stream(tenant, request_iterator, answers))
        committed = 0
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                response = memory_pb2.WriteStreamResponse()
                if isinstance(answer, int):
                    response.flushed.token = answer
                else:
                    written = await asyncio.shield(answer)
                    committed = max(committed, written.seq)
                    response.ack.CopyFrom(convert.write_response(written))
                response.committed_seq = committed
                response.window = await self._engine.window(tenant)
                yield response
        finally:
            reader.cancel()

    async def _read_stream(
        self,
        tenant: str,
        requests: AsyncIterator[memory_pb2.WriteStreamRequest],
        answers: "asyncio.Queue[int | asyncio.Task[Written] | BaseException | None]",
    ) -> None:
        """Put what is to be answered into the queue, in order; None at the end of the stream."""
        try:
            drained = asyncio.create_task(self.draining.wait())
            try:
                while (request := await _next(requests, drained)) is not None:
                    match request.WhichOneof("message"):
                        case "batch":
                            payloads = await self._checked(tenant, "batch.entries", request.batch.entries)
                            await answers.put(await self._write_waiting(tenant, payloads))
                        case "flush":
                            await answers.put(request.flush.token)
                        case "open":
                            raise InvalidArgumentError("open", "must be the first message of the stream only")
                        case _:
                            raise InvalidArgumentError("message", "must be set")
            finally:
                drained.cancel()
            await answers.put(None)
        except Exception as error:
            await answers.put(error)

    async def _checked(self, tenant: str, field: str, entries: Sequence[types_pb2.Entry]) -> list[Payload]:
        """Check a batch; of each tenant one at a time, so that others have their turn in between."""
        async with self._checks.passing(tenant):
            return validate.payloads(field, entries, self._dim)

    async def _write_waiting(self, tenant: str, payloads: Sequence[Payload]) -> "asyncio.Task[Written]":
        room = await self._holdings.reserve(tenant, len(payloads), batch_size(payloads))
        try:
            return await self._engine.write_waiting(tenant, payloads, room.close)
        except BaseException:
            room.close()
            raise

    async def Recall(self, request: memory_pb2.RecallRequest, context: Context) -> memory_pb2.RecallResponse:
        """Find entries."""
        tenant = validate.name("tenant", request.tenant)
        query = validate.text("query", request.query)
        k = validate.between("k", request.k, 1, limits.MAX_K, default=10)
        neighbours = validate.between("neighbours", request.neighbours, 0, limits.MAX_NEIGHBOURS)
        max_tokens = validate.between("max_tokens", request.max_tokens, 0, limits.MAX_CONTEXT_TOKENS)
        filter = validate.filter(request.filter) if request.HasField("filter") else None
        min_seq = validate.min_seq(request)
        as_of = validate.as_of("as_of", request.as_of) if request.HasField("as_of") else None
        if as_of is not None and min_seq is not None:
            raise InvalidArgumentError("min_seq", "must not be set with as_of: the past waits for nothing")
        try:
            async with await deadline(context):
                found = await self._engine.reads.recall(
                    tenant,
                    query,
                    k=k,
                    filter=filter,
                    min_seq=min_seq,
                    neighbours=neighbours,
                    max_tokens=max_tokens,
                    as_of=as_of,
                )
                async with self._engine.questions.passing(tenant):
                    return await _response(tenant, found)
        except TimeoutError:
            raise self._late(tenant, past=as_of is not None) from None

    def _late(self, tenant: str, *, past: bool) -> DeadlineExceededError:
        if past:
            progress = self._engine.reads.fold_of_the_past(tenant)
            return DeadlineExceededError(
                "the deadline passed while the past was folded; it goes on, so ask again",
                metadata={}
                if progress is None
                else dict(zip(("folded_seq", "as_of_seq"), map(str, progress), strict=True)),
            )
        return not_applied(self._engine.reads.applied_seq(tenant))

    async def GetEntry(self, request: memory_pb2.GetEntryRequest, context: Context) -> types_pb2.Entry:
        """Return one entry."""
        tenant = validate.name("tenant", request.tenant)
        id = validate.name("id", request.id)
        as_of = validate.as_of("as_of", request.as_of) if request.HasField("as_of") else None
        return convert.entry(tenant, await self._engine.reads.get_entry(tenant, id, as_of))

    async def ListEntries(
        self, request: memory_pb2.ListEntriesRequest, context: Context
    ) -> memory_pb2.ListEntriesResponse:
        """List entries in seq order."""
        tenant = validate.name("tenant", request.tenant)
        limit = validate.between("page_size", request.page_size, 1, limits.MAX_PAGE_SIZE, default=100)
        filter = validate.filter(request.filter)
        as_of = validate.as_of("as_of", request.as_of) if request.HasField("as_of") else None
        if as_of is not None and request.include_evicted:
            raise InvalidArgumentError("include_evicted", "must not be set with as_of")
        row = await self._engine.get_tenant(tenant)
        asked = memory_pb2.ListEntriesRequest(
            filter=request.filter, as_of=request.as_of, include_evicted=request.include_evicted
        )
        shape = hashlib.sha256(asked.SerializeToString(deterministic=True)).hexdigest()[:16]
        after = validate.read_page_token(request.page_token, 0, row.uid, shape)
        async with self._engine.questions.passing(tenant):
            entries, more = await self._engine.reads.list_entries(
                tenant,
                after,
                limit,
                filter,
                limits.MAX_MESSAGE_BYTES // 2,
                as_of=as_of,
                evicted=request.include_evicted,
            )
        return memory_pb2.ListEntriesResponse(
            entries=[convert.entry(tenant, stored) for stored in entries],
            next_page_token="" if more is None else validate.page_token(row.uid, shape, more),
        )

    async def UpdateEntry(
        self, request: memory_pb2.UpdateEntryRequest, context: Context
    ) -> memory_pb2.UpdateEntryResponse:
        """Append a new revision."""
        tenant = validate.name("tenant", request.tenant)
        validate.name("entry.id", request.entry.id)
        request_id = validate.request_id(request.request_id)
        payload = validate.payload("entry", request.entry, self._dim)
        with await self._holdings.reserve(tenant, 0, batch_size([payload])):
            seq = await self._engine.changes.update_entry(tenant, payload, request_id)
        return memory_pb2.UpdateEntryResponse(seq=seq)

    async def DeleteEntry(
        self, request: memory_pb2.DeleteEntryRequest, context: Context
    ) -> memory_pb2.DeleteEntryResponse:
        """Hide an entry."""
        tenant, id = validate.name("tenant", request.tenant), validate.name("id", request.id)
        request_id = validate.request_id(request.request_id)
        seq, kept = await self._engine.changes.delete_entry(tenant, id, request_id)
        return memory_pb2.DeleteEntryResponse(seq=seq, text_kept=kept)

    async def Forget(self, request: memory_pb2.ForgetRequest, context: Context) -> memory_pb2.Erasure:
        """Begin to erase entries."""
        tenant = validate.name("tenant", request.tenant)
        if len(request.ids) > limits.MAX_FORGET_IDS:
            raise InvalidArgumentError("ids", f"has {len(request.ids)}; at most {limits.MAX_FORGET_IDS} are accepted")
        ids = [validate.name(f"ids[{i}]", id) for i, id in enumerate(request.ids)]
        filter = validate.filter(request.filter) if request.HasField("filter") else None
        if not ids and (filter is None or filter == Filter()):
            raise InvalidArgumentError("filter", "must have a condition where there are no ids")
        request_id = validate.request_id(request.request_id)
        erased = await self._engine.changes.forget(tenant, ids, filter, request_id)
        return convert.erasure(erased, principal.current())

    async def Feedback(self, request: memory_pb2.FeedbackRequest, context: Context) -> memory_pb2.FeedbackResponse:
        """Say of entries whether they were useful."""
        tenant = validate.name("tenant", request.tenant)
        if not 1 <= len(request.ids) <= limits.MAX_FEEDBACK_IDS:
            raise InvalidArgumentError("ids", f"has {len(request.ids)}; must have 1 to {limits.MAX_FEEDBACK_IDS}")
        if not request.HasField("useful"):
            raise InvalidArgumentError("useful", "must be set")
        ids = [validate.name(f"ids[{i}]", id) for i, id in enumerate(request.ids)]
        request_id = validate.request_id(request.request_id)
        seq = await self._engine.changes.feedback(tenant, ids, request_id, useful=request.useful)
        return memory_pb2.FeedbackResponse(seq=seq)

    async def GetErasure(self, request: memory_pb2.GetErasureRequest, context: Context) -> memory_pb2.Erasure:
        """Return how far an erasure is."""
        operation = validate.name("operation", request.operation)
        if not request.tenant:
            return convert.erasure(await self._engine.changes.erasure(operation), principal.current())
        tenant = validate.name("tenant", request.tenant)
        try:
            erased = await self._engine.changes.erasure(operation)
        except NotFoundError:
            erased = None
        if erased is None or erased.tenant != tenant:  # in the same words, or it would tell of other tenants
            raise NotFoundError("operation: the tenant has none of that name", reason="OPERATION_NOT_FOUND")
        return convert.erasure(erased, principal.current())


async def _next(
    requests: AsyncIterator[memory_pb2.WriteStreamRequest], drained: "asyncio.Task[Any]"
) -> memory_pb2.WriteStreamRequest | None:
    """Return the next message, or None at the end of the stream.

    Raises:
        UnavailableError: the server is shutting down.
    """
    reading = asyncio.ensure_future(anext(requests, None))
    done, _ = await asyncio.wait({reading, drained}, return_when=asyncio.FIRST_COMPLETED)
    if reading in done:
        return await reading
    reading.cancel()
    raise UnavailableError("the server is shutting down; write what was not acknowledged again", reason="DRAINING")


async def _response(tenant: str, found: Recalled) -> memory_pb2.RecallResponse:
    hits, size = list[memory_pb2.Hit](), len(found.context)
    for hit in found.hits:
        hits.append(convert.hit(tenant, hit))
        size += hits[-1].ByteSize()
        if size > limits.MAX_MESSAGE_BYTES:
            raise InvalidArgumentError("k", "the answer would pass 4 MiB; ask for fewer hits or neighbours")
        if len(hits) % HITS_AT_ONCE == 0:
            await asyncio.sleep(0)
    response = memory_pb2.RecallResponse(applied_seq=found.applied_seq, hits=hits, context=found.context)
    if response.ByteSize() > limits.MAX_MESSAGE_BYTES:
        raise InvalidArgumentError("k", "the answer would pass 4 MiB; ask for fewer hits or neighbours")
    return response
