"""From what the engine returns to messages."""

from urllib.parse import quote

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from memsvc.auth.grants import Right
from memsvc.auth.principal import Principal
from memsvc.engine.reads import time_of
from memsvc.engine.results import Erased, Hit, Stats, Written
from memsvc.memory.config import MemoryConfig
from memsvc.store.types import Retention, StoredEntry, TenantRow
from memsvc.tenant.policies import Duplicates, Policies
from memsvc.tenant.record import decode_create, decode_payload
from memsvc.v1 import memory_pb2, types_pb2

GATES = {
    "off": types_pb2.GATE_POLICY_OFF,
    "fixed": types_pb2.GATE_POLICY_FIXED,
    "quantile": types_pb2.GATE_POLICY_QUANTILE,
}


RETENTIONS = {
    Retention.NONE: types_pb2.SNAPSHOT_RETENTION_NONE,
    Retention.LOG_SPACED: types_pb2.SNAPSHOT_RETENTION_LOG_SPACED,
    Retention.ALL: types_pb2.SNAPSHOT_RETENTION_ALL,
}

DUPLICATES = {
    Duplicates.KEEP: types_pb2.DUPLICATE_POLICY_KEEP,
    Duplicates.MERGE: types_pb2.DUPLICATE_POLICY_MERGE,
}


OUT_OF_REACH = "a tenant out of reach"
"""What a receipt has for a copy of which its reader may not know more than that there is one."""


def timestamp(us: int) -> Timestamp:
    """Return microseconds since the epoch as a Timestamp."""
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1_000)


def tenant_name(tenant: str) -> str:
    """Return a tenant's resource name."""
    return f"tenants/{quote(tenant, safe='')}"


def entry(tenant: str, stored: StoredEntry) -> types_pb2.Entry:
    """Return an entry."""
    content = decode_payload(stored.payload)
    return types_pb2.Entry(
        name=f"{tenant_name(tenant)}/entries/{quote(stored.payload.id, safe='')}",
        id=stored.payload.id,
        text=content.text,
        session=content.session,
        role=content.role,
        time=timestamp(time_of(stored, content)),
        metadata_json=content.metadata_json,
        seq=stored.seq,
        commit_time=timestamp(stored.commit_us),
        learn=stored.payload.learn,
        expire_time=None if stored.payload.expire_us is None else timestamp(stored.payload.expire_us),
    )


def hit(tenant: str, value: Hit) -> memory_pb2.Hit:
    """Return a hit."""
    ranked = value.ranked
    return memory_pb2.Hit(
        entry=entry(tenant, value.entry),
        score=ranked.score,
        parts=memory_pb2.ScoreParts(
            surprise=ranked.surprise, cosine=ranked.cosine, lexical=ranked.lexical, context=ranked.context
        ),
        passage=memory_pb2.Span(start=ranked.span[0], end=ranked.span[1]),
        before=[entry(tenant, e) for e in value.before],
        after=[entry(tenant, e) for e in value.after],
        also=value.also,
    )


def write_response(written: Written) -> memory_pb2.WriteResponse:
    """Return what became of a batch."""
    response = memory_pb2.WriteResponse(seq=written.seq)
    for i, (id, seq, skipped) in enumerate(zip(written.ids, written.seqs, written.skipped, strict=True)):
        result = response.results.add(id=id, seq=seq, skipped=skipped)
        if written.surprise is not None and (surprise := written.surprise[i]) is not None:
            result.surprise, result.gate_share = surprise
    return response


def memory(config: MemoryConfig) -> types_pb2.MemoryConfig:
    """Return a memory's settings."""
    return types_pb2.MemoryConfig(
        layers=config.layers,
        theta=config.theta,
        eta=config.eta,
        half_life=config.half_life,
        gate=GATES[config.gate],
        gate_value=config.gate_value,
        drift=config.drift,
        drift_sigma=config.drift_sigma,
        drift_windows=config.drift_windows,
        restart_tokens=config.restart_tokens,
        window=config.window,
    )


def policies(value: Policies) -> types_pb2.Policies:
    """Return what a tenant keeps."""
    return types_pb2.Policies(
        max_entries=value.max_entries,
        ttl=Duration(seconds=value.ttl_us // 1_000_000, nanos=value.ttl_us % 1_000_000 * 1_000),
        snapshots=RETENTIONS[value.retention],
        duplicates=DUPLICATES[Duplicates(value.duplicates)],
    )


def tenant(row: TenantRow, width: int) -> types_pb2.Tenant:
    """Return a tenant without its figures."""
    created = decode_create(row.config, width)
    return types_pb2.Tenant(
        name=tenant_name(row.tenant),
        tenant=row.tenant,
        uid=row.uid,
        create_time=timestamp(row.created_us),
        memory=memory(created.memory),
        policies=policies(created.policies),
        context_memory=created.context_memory,
    )


def stats(value: Stats) -> types_pb2.TenantStats:
    """Return a tenant's figures."""
    totals = value.totals
    stepped = totals.stepped or 1
    mean = totals.surprise / stepped
    return types_pb2.TenantStats(
        entries=value.entries,
        passages=value.passages,
        tokens=totals.tokens,
        tail_tokens=value.tail_tokens,
        head_seq=value.head_seq,
        applied_seq=value.applied_seq,
        snapshot_seq=value.snapshot_seq,
        pending_bytes=value.pending_bytes,
        unknown_token_share=totals.unknown / totals.tokens if totals.tokens else 0.0,
        surprise_mean=mean,
        surprise_recent=totals.recent or mean,
        gate_share=totals.wrote / stepped,
        gate_threshold=value.gate_threshold,
        chunks=totals.chunks,
        curvature_bounded=totals.bounded,
        clipped=totals.clipped,
        radius_projected=totals.projected,
        skipped=totals.skipped,
        weight_norms=value.weight_norms,
        state_hash=value.state_hash,
        fingerprint=value.fingerprint,
        warnings=value.warnings,
        restarts=totals.restarts,
        restart_tokens_left=value.restart_left,
        evicted=value.evicted,
        snapshots=value.snapshots[0],
        snapshot_bytes=value.snapshots[1],
        restore_pending=value.restore_pending,
        residency=value.residency,
        memory_bytes=value.memory_bytes,
        stored_bytes=value.stored_bytes,
        merged=value.merged,
    )


def erasure(value: Erased, reader: Principal) -> memory_pb2.Erasure:
    """Return how far an erasure is, in the words of what its reader may know."""
    done, total = value.progress
    message = memory_pb2.Erasure(
        operation=value.erasure.operation,
        tenant=value.tenant,
        state=memory_pb2.ERASURE_STATE_RUNNING,
        seq=value.erasure.seq,
        entries=value.erasure.entries,
        folded_records=done,
        total_records=total,
        copies=[_copy(each, reader) for each in value.copies],
    )
    if (receipt := value.receipt) is not None:
        message.state = memory_pb2.ERASURE_STATE_DONE
        message.state_hash_before, message.state_hash_after = receipt.hash_before, receipt.hash_after
        message.bytes_destroyed, message.files_pending = receipt.bytes_destroyed, receipt.files_pending
    return message


def _copy(made: str, reader: Principal) -> str:
    kind, _, tenant = made.partition(" ")
    return OUT_OF_REACH if kind == "tenant" and not any(reader.may(right, tenant) for right in Right) else made
