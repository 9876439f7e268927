"""Payloads of forgotten entries destroyed, in slices: each function is one operation on a transaction of a shard."""

from collections.abc import Sequence

from memsvc.failpoints import hit
from memsvc.store.redis.log_end import find_meta, find_row, meta_cell, shrink
from memsvc.store.redis.transaction import Transaction
from memsvc.store.types import EntryState

SLICE_ENTRIES = 256


def erase_slice(tx: Transaction, *, uid: str, numbers: Sequence[int]) -> int:
    """Destroy the forgotten ones of these entries. Return the bytes of payload; to repeat it does no harm."""
    if find_row(tx, uid) is None:
        return 0
    hit("erase.payloads")
    keys = tx.keys.tenant(uid)
    tx.want(meta_cell(tx, uid, number) for number in numbers)
    destroyed, data = 0, 0
    for number in numbers:
        meta = find_meta(tx, uid, number)
        if meta is None or meta.state is not EntryState.FORGOTTEN:
            continue
        tx.delete(keys.payload(number))
        tx.hdel(keys.bucket(number), number)
        destroyed += meta.size
        data += meta.data_size
    if data:
        shrink(tx, uid, data)
    return destroyed
