"""From messages to what a caller gets."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from types import MappingProxyType

from google.protobuf.timestamp_pb2 import Timestamp

from memsvc.v1 import memory_pb2, types_pb2
from memsvc_client.types import Hit, MemoryConfig, Recall, Receipt, ScoreParts, Span, StoredEntry, Tenant, TenantStats

_GATES = MappingProxyType(
    {
        types_pb2.GATE_POLICY_OFF: "off",
        types_pb2.GATE_POLICY_FIXED: "fixed",
        types_pb2.GATE_POLICY_QUANTILE: "quantile",
    }
)


def entry(message: types_pb2.Entry) -> StoredEntry:
    """Return an entry as the server keeps it."""
    return StoredEntry(
        text=message.text,
        id=message.id,
        session=message.session or None,
        role=message.role or None,
        time=_time(message.time),
        metadata=json.loads(message.metadata_json or "{}"),
        seq=message.seq,
        commit_time=_time(message.commit_time),
    )


def receipt(message: memory_pb2.WriteResponse, *, applied: bool = False) -> Receipt:
    """Return what became of a batch, with its figures if it was waited for until applied."""
    results = message.results
    surprise = tuple(r.surprise if r.HasField("surprise") else None for r in results)
    gate_share = tuple(r.gate_share if r.HasField("gate_share") else None for r in results)
    return Receipt(
        seq=message.seq,
        ids=tuple(result.id for result in results),
        seqs=tuple(result.seq for result in results),
        skipped=tuple(result.skipped for result in results),
        surprise=surprise if applied else None,
        gate_share=gate_share if applied else None,
    )


def recall(message: memory_pb2.RecallResponse) -> Recall:
    """Return the answer to a recall."""
    return Recall(tuple(map(_hit, message.hits)), applied_seq=message.applied_seq, context=message.context)


def tenant(message: types_pb2.Tenant) -> Tenant:
    """Return a tenant."""
    memory = message.memory
    config = MemoryConfig(
        layers=memory.layers if memory.HasField("layers") else None,
        theta=memory.theta if memory.HasField("theta") else None,
        eta=memory.eta if memory.HasField("eta") else None,
        half_life=memory.half_life if memory.HasField("half_life") else None,
        gate=_GATES.get(memory.gate),
        gate_value=memory.gate_value if memory.HasField("gate_value") else None,
    )
    return Tenant(tenant=message.tenant, uid=message.uid, create_time=_time(message.create_time), memory=config)


def stats(message: types_pb2.TenantStats) -> TenantStats:
    """Return a tenant's figures."""
    return TenantStats(
        entries=message.entries,
        passages=message.passages,
        tokens=message.tokens,
        tail_tokens=message.tail_tokens,
        head_seq=message.head_seq,
        applied_seq=message.applied_seq,
        snapshot_seq=message.snapshot_seq,
        pending_bytes=message.pending_bytes,
        unknown_token_share=message.unknown_token_share,
        surprise_mean=message.surprise_mean,
        surprise_recent=message.surprise_recent,
        gate_share=message.gate_share,
        gate_threshold=message.gate_threshold,
        chunks=message.chunks,
        curvature_bounded=message.curvature_bounded,
        clipped=message.clipped,
        radius_projected=message.radius_projected,
        skipped=message.skipped,
        weight_norms=tuple(message.weight_norms),
        state_hash=message.state_hash,
        fingerprint=message.fingerprint,
        warnings=tuple(message.warnings),
    )


def _hit(message: memory_pb2.Hit) -> Hit:
    parts, passage = message.parts, message.passage
    return Hit(
        entry=entry(message.entry),
        score=message.score,
        parts=ScoreParts(parts.surprise, parts.cosine, parts.lexical, parts.context),
        span=Span(passage.start, passage.end),
        before=_entries(message.before),
        after=_entries(message.after),
    )


def _entries(messages: Iterable[types_pb2.Entry]) -> tuple[StoredEntry, ...]:
    return tuple(map(entry, messages))


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
