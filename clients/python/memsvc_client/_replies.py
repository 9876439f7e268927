"""From messages to what a caller gets."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from memsvc.v1 import generate_pb2, memory_pb2, tenants_pb2, types_pb2
from memsvc_client import _settings
from memsvc_client.types import (
    Deletion,
    Event,
    ForgetReceipt,
    Hit,
    Imported,
    Recall,
    Receipt,
    ScoreParts,
    Span,
    StoredEntry,
    Tenant,
    TenantStats,
    Token,
    Usage,
    Verification,
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
        learn=message.learn if message.HasField("learn") else True,
        expire=_time(message.expire_time) if message.HasField("expire_time") else None,
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


def token(message: generate_pb2.GenerateResponse) -> Token:
    """Return the next of an answer."""
    match message.WhichOneof("event"):
        case "recalled":
            found = message.recalled
            return Token(recalled=Recall(tuple(map(_hit, found.hits)), found.applied_seq, found.context))
        case "finished":
            return Token(usage=_usage(message.finished))
        case _:  # text, or what a newer server says
            return Token(message.text)


def _usage(message: generate_pb2.Finished) -> Usage:
    return Usage(
        finish="length" if message.reason == generate_pb2.FINISH_REASON_LENGTH else "stop",
        prompt_tokens=message.prompt_tokens,
        cached_tokens=message.cached_tokens,
        completion_tokens=message.completion_tokens,
        recall_time=message.recall_time.ToTimedelta(),
        first_text_time=message.first_text_time.ToTimedelta(),
        total_time=message.total_time.ToTimedelta(),
        remembered_seq=message.remembered_seq or None,
    )


def tenant(message: types_pb2.Tenant) -> Tenant:
    """Return a tenant."""
    return Tenant(
        tenant=message.tenant,
        uid=message.uid,
        create_time=_time(message.create_time),
        memory=_settings.memory(message.memory),
        policies=_settings.policies(message.policies),
        context_memory=message.context_memory or None,
    )


def imported(message: tenants_pb2.ImportTenantResponse) -> Imported:
    """Return what became of a file."""
    return Imported(tenant(message.tenant), message.head_seq, message.adopted)


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
        restarts=message.restarts,
        restart_tokens_left=message.restart_tokens_left,
        residency=message.residency,
        memory_bytes=message.memory_bytes,
        stored_bytes=message.stored_bytes,
        evicted=message.evicted,
        snapshots=message.snapshots,
        snapshot_bytes=message.snapshot_bytes,
        restore_pending=message.restore_pending,
        merged=message.merged,
    )


def deletion(message: memory_pb2.DeleteEntryResponse) -> Deletion:
    """Return what became of an entry that was deleted."""
    return Deletion(message.seq, message.text_kept)


def erasure(message: memory_pb2.Erasure) -> ForgetReceipt:
    """Return how far an erasure is."""
    return ForgetReceipt(
        operation=message.operation,
        done=message.state == memory_pb2.ERASURE_STATE_DONE,
        state_hash_before=message.state_hash_before or None,
        state_hash_after=message.state_hash_after or None,
        entries=message.entries,
        bytes_destroyed=message.bytes_destroyed,
        folded_records=message.folded_records,
        total_records=message.total_records,
        copies=tuple(message.copies),
        files_pending=message.files_pending,
    )


def event(message: types_pb2.Event) -> Event:
    """Return something that happened to a memory."""
    return Event(message.seq, message.kind, dict(message.figures))


def verification(message: tenants_pb2.VerifyTenantResponse) -> Verification:
    """Return what a verification found."""
    return Verification(message.seq, message.state_hash, message.folded_hash, message.equal)


def _hit(message: memory_pb2.Hit) -> Hit:
    parts, passage = message.parts, message.passage
    return Hit(
        entry=entry(message.entry),
        score=message.score,
        parts=ScoreParts(parts.surprise, parts.cosine, parts.lexical, parts.context),
        span=Span(passage.start, passage.end),
        before=_entries(message.before),
        after=_entries(message.after),
        also=tuple(message.also),
    )


def _entries(messages: Iterable[types_pb2.Entry]) -> tuple[StoredEntry, ...]:
    return tuple(map(entry, messages))


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
