"""What the log answers, read beside the commits. Each value is whole; two of them may be of two moments.

What that can mean is an entry that was replaced or erased between its state and its payload: then it is read again, or
left out, as if it had been asked for later.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from memsvc.errors import DataLossError
from memsvc.store.hashes import id_hash, tenant_hash
from memsvc.store.redis.keys import BUCKET, ShardKeys, TenantKeys
from memsvc.store.redis.log_write import decode_copies, plain_request
from memsvc.store.redis.rows import (
    Head,
    Known,
    Meta,
    Row,
    Standing,
    StoredRecord,
    decode_entry,
    decode_erasure,
    decode_outcome,
    operation_parts,
)
from memsvc.store.redis.url import Connection
from memsvc.store.refusals import forgotten, gone, no_tenant
from memsvc.store.requests import REQUEST_US, Operation, Outcome
from memsvc.store.types import EntryState, Erasure, Origin, Record, Span, StoredEntry, TenantRow

PAGE_RECORDS = 256
PAGE_BUCKETS = 8
PAGE_PAYLOADS = 64
"""Values asked for in one command: an entry may have 64 KiB."""
ATTEMPTS = 8
"""How often a value is read again that changed meanwhile."""
TENANT_BYTES, ENTRY_BYTES = 5000, 450
"""What a tenant and an entry take in Redis beside what a caller wrote.

Measured on Redis 7.0 by `used_memory`, tenants of 0 to 1,000 entries of 200 bytes, each a record: 4,900 for one without
entries, mostly the first node of its stream, and 360 to 440 for each entry. One of 4,000 bytes takes 900: Redis rounds
sizes up. A request_id takes 200 more until it is forgotten.
"""
RECORD_BYTES = 64
"""What a record counts for beside its payload, so that empty ones do not make a read endless."""


class Reader:
    """Reads one shard.

    Args:
        connection: for reads.
        keys: of the shard.
    """

    def __init__(self, connection: Connection, keys: ShardKeys) -> None:
        self._keys = keys
        self._connection: Any = connection  # its types say bytes or text; it answers in bytes

    # --- tenants --------------------------------------------------------------------------------------------------

    async def row(self, uid: str) -> Row | None:
        """Return a tenant, whatever it is."""
        data = await self._connection.hget(self._keys.rows, uid)
        return None if data is None else Row.decode(data)

    async def living(self, uid: str) -> Row | None:
        """Return a living tenant."""
        row = await self.row(uid)
        return row if row is not None and row.standing is Standing.LIVING else None

    async def head(self, uid: str) -> Head:
        """Return the end of a tenant's log."""
        return Head.decode(await self._connection.hget(self._keys.heads, uid))

    async def get_tenant(self, tenant: str) -> TenantRow | None:
        """Return the living tenant of that id."""
        uid = await self._connection.get(self._keys.name(tenant_hash(tenant)))
        if uid is None:
            return None
        row = await self.living(uid.decode())
        return None if row is None else row.tenant(uid.decode())

    async def list_tenants(self, after: str, limit: int, within: Sequence[Span]) -> list[TenantRow]:
        """Return up to `limit` living tenants in byte order, of those within the spans."""
        names: list[bytes] = []
        for span in within:
            if span.end is not None and span.end <= after.encode():
                continue
            low = b"(" + after.encode() if after.encode() >= span.first else b"[" + span.first
            high = b"+" if span.end is None else b"(" + span.end
            room = limit - len(names)
            names += await self._connection.zrangebylex(self._keys.names, low, high, start=0, num=room)
            if len(names) == limit:
                break
        rows = [await self.get_tenant(name.decode()) for name in names]
        return [row for row in rows if row is not None]

    async def living_rows(self) -> dict[str, Row]:
        """Return all living tenants, by uid."""
        rows = await self._connection.hgetall(self._keys.rows)
        decoded = ((uid.decode(), Row.decode(data)) for uid, data in rows.items())
        return {uid: row for uid, row in decoded if row.standing is Standing.LIVING}

    async def heads(self) -> dict[str, int]:
        """Return the seq of the last record of every living tenant, by uid."""
        living = await self.living_rows()
        heads = await self._connection.hgetall(self._keys.heads)
        return {uid.decode(): Head.decode(data).seq for uid, data in heads.items() if uid.decode() in living}

    async def outcome(self, request_id: str, now_us: int) -> tuple[int, bytes | None, Outcome] | None:
        """Return operation, digest and outcome of a request outside any tenant, if it is remembered."""
        if not request_id:
            return None
        data = await self._connection.get(self._keys.request(plain_request(request_id)))
        if data is None:
            return None
        operation, digest, came = decode_outcome(data)
        return (operation, digest, came) if came.at_us > now_us - REQUEST_US else None

    async def find_deleted(self, tenant: str, request_id: str, now_us: int) -> bool:
        """Whether this request_id deleted a tenant of that id within 24 hours."""
        found = await self.outcome(request_id, now_us)
        return found is not None and found[0] == Operation.DELETE and found[1] == tenant_hash(tenant)

    async def published(self, tenant: str, request_id: str, now_us: int) -> TenantRow | None:
        """Return the living tenant of that id that was published with this request_id within 24 hours."""
        found = await self.outcome(request_id, now_us)
        if found is None or found[0] not in (Operation.PUBLISH, Operation.REPLACE):
            return None
        row = await self.living(found[2].uid)
        return row.tenant(found[2].uid) if row is not None and row.name == tenant else None

    async def origin(self, uid: str) -> Origin:
        """Return what a copy of the tenant takes over beside its records.

        Raises:
            NotFoundError: no such tenant.
        """
        if (row := await self.living(uid)) is None:
            raise no_tenant()
        hashes = []
        async for hashed, known in self._connection.hscan_iter(self._keys.tenant(uid).ids, count=1000):
            if not known:
                hashes.append(hashed)
        return Origin(
            created_us=row.created_us, config=row.config, id_key=row.id_key, forgotten=tuple(sorted(set(hashes)))
        )

    async def copies(self, uid: str) -> list[str]:
        """Return what was made of a tenant, in order."""
        if await self.living(uid) is None:
            return []
        return decode_copies(await self._connection.get(self._keys.tenant(uid).copies))

    async def size(self, uid: str) -> int:
        """Return about how many bytes the log of a tenant takes."""
        if await self.living(uid) is None:
            return 0
        head = await self.head(uid)
        return TENANT_BYTES + head.size + ENTRY_BYTES * head.number

    # --- records --------------------------------------------------------------------------------------------------

    async def seq_at(self, uid: str, time_us: int) -> int:
        """Return the seq of the last record committed at or before that time.

        Raises:
            NotFoundError: no such tenant.
        """
        if await self.living(uid) is None:
            raise no_tenant()
        head = await self.head(uid)
        low, high = 0, head.seq
        while low < high:
            middle = (low + high + 1) // 2
            records = await self._records(uid, head, middle, 1)
            if records and records[0].commit_us <= time_us:
                low = middle
            else:
                high = middle - 1
        return low

    async def read(self, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
        """Return whole records of a living tenant after that seq, in order."""
        if await self.living(uid) is None:
            return []
        head = await self.head(uid)
        taken: list[Record] = []
        size = 0
        # What the stream says of sizes counts payloads that are destroyed since: another page may have room.
        while page := await self._page(uid, head, after_seq, max_bytes - size):
            for record in await self._whole(uid, page):
                size += record.size + RECORD_BYTES
                if taken and size > max_bytes:
                    return taken
                taken.append(record)
                after_seq = record.seq
        return taken

    async def _page(self, uid: str, head: Head, after_seq: int, max_bytes: int) -> list[StoredRecord]:
        """Return some records, at least one if there is one, of no more bytes than that by what they once had."""
        taken: list[StoredRecord] = []
        for record in await self._records(uid, head, after_seq + 1, PAGE_RECORDS):
            max_bytes -= record.size + RECORD_BYTES
            if taken and max_bytes < 0:
                break
            taken.append(record)
        return taken

    async def record(self, uid: str, seq: int) -> Record:
        """Return one record of a tenant.

        Raises:
            NotFoundError: the tenant is gone.
        """
        records = await self._records(uid, await self.head(uid), seq, 1)
        if not records:
            raise no_tenant()
        return (await self._whole(uid, records))[0]

    async def _records(self, uid: str, head: Head, seq: int, count: int) -> list[StoredRecord]:
        if seq > head.seq:
            return []
        start = head.stream_id(seq)
        while True:
            found = await self._connection.xrange(self._keys.tenant(uid).log, start, "+", count)
            records = [StoredRecord.decode(id, fields[b"r"]) for id, fields in found]
            if not records or records[0].seq >= seq:
                return records
            # A later owner's than the one that the head remembers: it is at least where that one's would be.
            start = f"{found[0][0].partition(b'-')[0].decode()}-{seq}"

    async def _whole(self, uid: str, records: Sequence[StoredRecord]) -> list[Record]:
        numbers = [number for record in records for number in record.numbers]
        entries = {entry.number: entry for entry in await self._payloads(uid, numbers)}
        return [
            record.record(tuple(entries[number] for number in record.numbers if number in entries))
            for record in records
        ]

    async def numbers(self, uid: str) -> AsyncIterator[Sequence[int]]:
        """Yield the numbers that a tenant's records gave, whatever became of the entries, some records at a time.

        Of records and not all up to the last one: a copy's numbers may skip many that are not there any more. Where a
        record cannot be read, all: a damaged tenant can be deleted, too.
        """
        head, seq = await self.head(uid), 1
        try:
            while records := await self._records(uid, head, seq, PAGE_RECORDS):
                yield [number for record in records for number in record.numbers]
                seq = records[-1].seq + 1
        except DataLossError:
            yield range(1, head.number + 1)

    # --- entries --------------------------------------------------------------------------------------------------

    async def entries(self, uid: str, numbers: Sequence[int], as_of: int | None) -> list[StoredEntry]:
        """Return the entries of those numbers that live, or lived as of a record, in the order asked."""
        if await self.living(uid) is None:
            return []
        lived = await self._lived(self._keys.tenant(uid), numbers, as_of)
        return await self._payloads(uid, [number for number in numbers if number in lived])

    async def entry_by_id(self, uid: str, id: str, as_of: int | None) -> StoredEntry | None:
        """Return the entry of that id that lives, or lived as of a record.

        Raises:
            NotFoundError: it was deleted, expired or forgotten.
        """
        row = await self.living(uid)
        if row is None:
            return None
        keys = self._keys.tenant(uid)
        replaced = 0
        for _ in range(ATTEMPTS):
            data = await self._connection.hget(keys.ids, id_hash(row.id_key, id))
            if data is None:
                return None
            if not data:
                raise forgotten(id)
            number: int = Known.decode(data).current
            meta = await self._meta(keys, number)
            while meta is not None and as_of is not None and meta.seq > as_of:
                if not (number := meta.previous):
                    return None
                meta = await self._meta(keys, number)
            if meta is None:  # in a copy it may not be there; else it was erased just now
                continue
            if not meta.lived(as_of):
                if meta.state is EntryState.REPLACED and number != replaced:
                    replaced = number  # just now, or in a copy by what is not there
                    continue
                raise gone(id, meta.state)
            if entries := await self._payloads(uid, [number]):
                return entries[0]
            if as_of is not None:  # it lived then, but its text went with it
                raise gone(id, EntryState.DELETED)
        return None

    async def scan(self, uid: str, after_number: int, limit: int, as_of: int | None) -> list[StoredEntry]:
        """Return up to `limit` entries with greater numbers that live, or lived as of a record, in order."""
        if await self.living(uid) is None:
            return []
        keys, head = self._keys.tenant(uid), await self.head(uid)
        found: list[StoredEntry] = []
        start = after_number + 1
        while len(found) < limit:
            if start > head.number:
                head = await self.head(uid)  # an entry that was replaced meanwhile has a greater number now
            if start > head.number:
                break
            stop = min(head.number + 1, (start // BUCKET + PAGE_BUCKETS) * BUCKET)
            lived = await self._lived(keys, range(start, stop), as_of)
            while lived and len(found) < limit:
                page, lived = lived[: limit - len(found)], lived[limit - len(found) :]
                found += await self._payloads(uid, page)
            start = stop
        return found

    async def _lived(self, keys: TenantKeys, numbers: Iterable[int], as_of: int | None) -> list[int]:
        """Return which of these live, or lived as of a record."""
        buckets: dict[int, list[int]] = {}
        for number in dict.fromkeys(numbers):
            buckets.setdefault(number // BUCKET, []).append(number)
        if not buckets:
            return []
        async with self._connection.pipeline(transaction=False) as pipe:
            for in_bucket in buckets.values():
                pipe.hmget(keys.bucket(in_bucket[0]), in_bucket)
            metas = await pipe.execute()
        lived = []
        for in_bucket, values in zip(buckets.values(), metas, strict=True):
            lived += [n for n, data in zip(in_bucket, values, strict=True) if data and Meta.decode(data).lived(as_of)]
        return lived

    async def _meta(self, keys: TenantKeys, number: int) -> Meta | None:
        data = await self._connection.hget(keys.bucket(number), number)
        return None if data is None else Meta.decode(data)

    async def _payloads(self, uid: str, numbers: Sequence[int]) -> list[StoredEntry]:
        """Return what is there of these entries, in the order asked."""
        keys = self._keys.tenant(uid)
        found = []
        for at in range(0, len(numbers), PAGE_PAYLOADS):
            page = numbers[at : at + PAGE_PAYLOADS]
            values: list[Any] = await self._connection.mget([keys.payload(number) for number in page])
            found += [decode_entry(number, data) for number, data in zip(page, values, strict=True)]
        return [entry for entry in found if entry is not None]

    # --- erasures -------------------------------------------------------------------------------------------------

    async def erasure(self, operation: str) -> Erasure | None:
        """Return an erasure of a living tenant by its name."""
        uid, seq = operation_parts(operation)
        if await self.living(uid) is None:
            return None
        data = await self._connection.hget(self._keys.tenant(uid).erasures, seq)
        return None if data is None else decode_erasure(operation, data)

    async def unfinished(self) -> list[Erasure]:
        """Return every living tenant's erasures that are not done, in the order of their records."""
        operations = [operation.decode() for operation in await self._connection.smembers(self._keys.erasing)]
        erasures = [await self.erasure(operation) for operation in operations]
        return sorted((e for e in erasures if e is not None and not e.done), key=lambda e: (e.uid, e.seq))

    async def due(self, now_us: int, start: int, limit: int) -> list[tuple[str, int]]:
        """Return uid and number of entries whose time has come, the earliest first."""
        found = await self._connection.zrangebyscore(self._keys.due, "-inf", now_us, start=start, num=limit)
        return [(uid, int(number)) for uid, _, number in (member.decode().partition(":") for member in found)]

    async def members(self, key: str) -> list[str]:
        """Return a set of the shard."""
        return sorted(member.decode() for member in await self._connection.smembers(key))
