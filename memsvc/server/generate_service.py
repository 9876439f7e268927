"""GenerateService: recall, answer, and, where that is asked for, remember both."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration

from memsvc import limits
from memsvc.auth.grants import Right
from memsvc.auth.rules import denied
from memsvc.backbone.base import Backbone, Piece, Usage
from memsvc.engine.admission import batch_size
from memsvc.engine.engine import Engine
from memsvc.engine.results import Recalled
from memsvc.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from memsvc.observer import Observer
from memsvc.server import convert
from memsvc.server.generate_request import Asked, parse
from memsvc.server.generation_quotas import GenerationQuotas
from memsvc.server.interceptors import deadline, not_applied
from memsvc.server.principal import current
from memsvc.server.storage_quotas import StorageQuotas
from memsvc.store.types import Payload
from memsvc.tenant.record import Content, decode_create, encode_payload
from memsvc.v1 import generate_pb2, generate_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

REASONS = {"stop": generate_pb2.FINISH_REASON_STOP, "length": generate_pb2.FINISH_REASON_LENGTH}


class GenerateService(generate_pb2_grpc.GenerateServiceServicer):
    """Answers from memories.

    Args:
        engine: recalls and remembers.
        backbone: answers; None where none is configured.
        holdings: let in what a tenant may hold.
        quotas: count what is generated.
    """

    def __init__(
        self, engine: Engine, backbone: Backbone | None, holdings: StorageQuotas, quotas: GenerationQuotas
    ) -> None:
        self._engine, self._backbone, self._holdings, self._quotas = engine, backbone, holdings, quotas

    async def Generate(
        self, request: generate_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[generate_pb2.GenerateResponse]:
        """Answer."""
        clock = _Clock(self._engine.thread.observer)
        asked = parse(request)
        if asked.remember and not current().may(Right.WRITE, asked.tenant):
            raise denied()
        row = await self._engine.get_tenant(asked.tenant)
        window = decode_create(row.config, width=1).memory.window
        backbone = self._chosen()
        self._quotas.begin(asked.tenant)
        try:
            async with await deadline(context):
                found = await self._recall(asked, asked.context_tokens or backbone.context_tokens(window))
        except TimeoutError:
            raise not_applied(self._engine.reads.applied_seq(asked.tenant)) from None
        clock.recalled()
        yield _recalled(asked.tenant, found)
        memory = partial(self._engine.reads.context_memory, asked.tenant, asked.min_seq)
        prompt = replace(asked.prompt, context=found.context, tenant=row.uid, memory=memory, window=window)
        answer, counted = list[str](), 0
        async with aclosing(backbone.generate(prompt)) as events:
            async for event in events:
                match event:
                    case Piece(text):
                        if counted:
                            await self._quotas.wait(asked.tenant)
                        else:
                            clock.said()
                        answer.append(text)
                        counted += 1
                        yield generate_pb2.GenerateResponse(text=text)
                    case Usage() as usage:
                        self._quotas.settle(asked.tenant, usage.completion_tokens - counted)
                        remembered = await self._remember(asked, "".join(answer)) if asked.remember else 0
                        yield clock.finished(usage, remembered)
                        return
        raise UnavailableError("the model's answer broke off", reason="BACKBONE_FAILED")

    def _chosen(self) -> Backbone:
        if self._backbone is None:
            raise FailedPreconditionError(
                "this server has no language model: start it with --backbone openai:<base url>, hf:<folder or name> or "
                "titans-mac:<file, folder or name>",
                reason="NO_BACKBONE",
            )
        return self._backbone

    async def _recall(self, asked: Asked, max_tokens: int) -> Recalled:
        if asked.k == 0:
            if asked.min_seq:
                await self._engine.reads.wait(asked.tenant, asked.min_seq)
            return Recalled(applied_seq=0, hits=(), context="")
        return await self._engine.reads.recall(
            asked.tenant,
            asked.query,
            k=asked.k,
            filter=asked.filter,
            min_seq=asked.min_seq,
            max_tokens=max_tokens,
        )

    async def _remember(self, asked: Asked, answer: str) -> int:
        """Write the last message and the answer as one record; returns its seq, 0 where there is no answer."""
        if not answer.strip():
            return 0
        payloads = [
            *_payloads(asked.prompt.messages[-1].text, "user", asked.session),
            *_payloads(answer, "assistant", asked.session),
        ]
        with await self._holdings.reserve(asked.tenant, len(payloads), batch_size(payloads)) as room:
            return (await self._engine.write(asked.tenant, payloads, settled=room.close)).seq


def _payloads(text: str, role: str, session: str) -> list[Payload]:
    """Return the entries of one turn: one, or as many as a long text takes."""
    return [
        encode_payload(uuid.uuid4().hex, Content(text=part, role=role, session=session), id_assigned=True)
        for part in _parts(text)
    ]


def _parts(text: str) -> list[str]:
    """Cut a text into parts that an entry can hold, none of them empty."""
    parts, data = list[str](), text.encode()
    while data:
        part = data[: limits.MAX_TEXT_BYTES].decode(errors="ignore")
        parts.append(part)
        data = data[len(part.encode()) :]
    return parts


def _recalled(tenant: str, found: Recalled) -> generate_pb2.GenerateResponse:
    hits = [convert.hit(tenant, hit) for hit in found.hits]
    recalled = generate_pb2.Recalled(hits=hits, context=found.context, applied_seq=found.applied_seq)
    if recalled.ByteSize() > limits.MAX_MESSAGE_BYTES:
        raise InvalidArgumentError("recall.k", "what was recalled would pass 4 MiB; ask for fewer hits")
    return generate_pb2.GenerateResponse(recalled=recalled)


class _Clock:
    """What took how long, from the request on.

    Args:
        observer: hears of it too.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._began = self._recalled = self._said = time.monotonic()

    def recalled(self) -> None:
        """What was asked for is recalled."""
        self._recalled = self._said = time.monotonic()
        self._observer.took("generate.recall", self._began, self._recalled)

    def said(self) -> None:
        """The first piece came."""
        self._said = time.monotonic()
        self._observer.took("generate.first", self._recalled, self._said)

    def finished(self, usage: Usage, remembered: int) -> generate_pb2.GenerateResponse:
        """Return the last event."""
        now = time.monotonic()
        self._observer.took("generate.rest", self._said, now, tokens=usage.completion_tokens)
        return generate_pb2.GenerateResponse(
            finished=generate_pb2.Finished(
                reason=REASONS[usage.finish],
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                completion_tokens=usage.completion_tokens,
                recall_time=_duration(self._recalled - self._began),
                first_text_time=_duration(self._said - self._began),
                total_time=_duration(now - self._began),
                remembered_seq=remembered,
            )
        )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
