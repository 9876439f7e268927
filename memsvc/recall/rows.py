"""Entries as columns: what an index appends, and what a segment of it stores."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from memsvc import damage
from memsvc.errors import DataLossError
from memsvc.recall.metadata import parse_object
from memsvc.recall.words import entry_terms
from memsvc.values import Values

FORMAT = 2
"""First byte of a segment. A reader refuses what is newer than it knows."""

_ALIGNMENT = 8
HASH_BYTES = 32
KEY_BYTES = 16


class NewEntry(NamedTuple):
    """An entry to index. Its metadata must have passed `metadata.parse_object`."""

    number: int
    seq: int
    time_us: int
    session: str
    """Empty: the entry stands alone."""
    role: str
    text: str
    metadata_json: str
    vectors: NDArray[np.float32]
    """[p, d] unit rows, one for each passage; at least one, or none where it repeats another."""
    spans: NDArray[np.int32]
    """[p, 2] start and end of each passage in the text, in code points."""
    tokens: int
    """Of the text; what one that repeats another says does not count."""
    content_hash: bytes = bytes(32)
    """Of what the caller gave."""
    learn: bool = True
    """Whether the entry's tokens may go through the memory."""
    text_key: bytes = bytes(KEY_BYTES)
    """Equal of two entries if their texts count as equal."""
    repeats: int | None = None
    """The number of an entry whose text it shares."""


class Rows(NamedTuple):
    """n entries, and the m texts that they brought. Strings are numbered within; the tables of strings come last."""

    number: NDArray[np.int64]
    seq: NDArray[np.int64]
    time_us: NDArray[np.int64]
    tokens: NDArray[np.int32]
    length: NDArray[np.int32]
    """[n], code points."""
    content_hash: NDArray[np.uint8]
    """[n, 32]"""
    learn: NDArray[np.bool_]
    text: NDArray[np.int64]
    """[n], the number of each entry's text in the index."""
    text_key: NDArray[np.uint8]
    """[n, 16]"""
    passages: NDArray[np.int32]
    """[m], how many passages each text has."""
    vectors: NDArray[np.float32]
    """[p, d]"""
    spans: NDArray[np.int32]
    """[p, 2]"""
    session: NDArray[np.uint32]
    role: NDArray[np.uint32]
    term_count: NDArray[np.int32]
    """[m], how many distinct terms each text has."""
    term: NDArray[np.uint32]
    times: NDArray[np.uint32]
    key_count: NDArray[np.int32]
    """[n], how many metadata keys each entry has."""
    key: NDArray[np.uint32]
    value: NDArray[np.uint32]
    sessions: list[str]
    roles: list[str]
    terms: list[str]
    keys: list[str]
    values: list[str]
    """Metadata values as JSON."""


def gather(entries: Sequence[NewEntry], texts: Sequence[int], dim: int) -> Rows:
    """Lay out entries as columns.

    Args:
        entries: those that repeat none bring their texts.
        texts: the number of each entry's text in the index.
        dim: the width of the vectors.

    Raises:
        InvalidArgumentError: an entry's metadata is not a JSON object.
    """
    sessions, roles, terms, keys, values = (_Table() for _ in range(5))
    own = [entry for entry in entries if entry.repeats is None]
    counts = [Counter(entry_terms(entry.text)) for entry in own]
    metadata = [parse_object(entry.metadata_json, "metadata_json") for entry in entries]
    return Rows(
        number=np.array([e.number for e in entries], np.int64),
        seq=np.array([e.seq for e in entries], np.int64),
        time_us=np.array([e.time_us for e in entries], np.int64),
        tokens=np.array([e.tokens for e in entries], np.int32),
        length=np.array([len(e.text) for e in entries], np.int32),
        content_hash=np.frombuffer(b"".join(e.content_hash for e in entries), np.uint8).reshape(-1, HASH_BYTES),
        learn=np.array([e.learn for e in entries], bool),
        text=np.array(texts, np.int64),
        text_key=np.frombuffer(b"".join(e.text_key for e in entries), np.uint8).reshape(-1, KEY_BYTES),
        passages=np.array([len(e.vectors) for e in own], np.int32),
        vectors=np.concatenate([np.empty((0, dim), np.float32), *(e.vectors for e in own)]),
        spans=np.concatenate([np.empty((0, 2), np.int32), *(e.spans for e in own)]),
        session=sessions.numbers(e.session for e in entries),
        role=roles.numbers(e.role for e in entries),
        term_count=np.array([len(c) for c in counts], np.int32),
        term=terms.numbers(term for c in counts for term in c),
        times=np.array([n for c in counts for n in c.values()], np.uint32),
        key_count=np.array([len(m) for m in metadata], np.int32),
        key=keys.numbers(key for m in metadata for key in m),
        value=values.numbers(json.dumps(v, sort_keys=True) for m in metadata for v in m.values()),
        sessions=list(sessions),
        roles=list(roles),
        terms=list(terms),
        keys=list(keys),
        values=list(values),
    )


def pack(rows: Rows) -> bytes:
    """Return the rows as bytes: a version byte, a msgpack header with its length, and the arrays, little-endian."""
    arrays: list[bytes] = []
    header: list[Any] = []
    for item in rows:
        if isinstance(item, list):
            header.append(item)
            continue
        data = item.astype(item.dtype.newbyteorder("<"), copy=False).tobytes()
        header.append([item.dtype.newbyteorder("<").str, list(item.shape)])
        arrays += [data, bytes(-len(data) % _ALIGNMENT)]
    head = msgpack.packb(header, unicode_errors="surrogatepass")
    lead = bytes([FORMAT]) + len(head).to_bytes(_ALIGNMENT - 1, "little")
    return b"".join([lead, head, bytes(-len(head) % _ALIGNMENT), *arrays])


def unpack(data: bytes) -> Rows:
    """Return the rows that `pack` wrote, as views of the bytes where possible.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    if not data or data[0] != FORMAT:
        raise DataLossError(f"a segment of format {data[:1].hex() or 'nothing'}; this version reads {FORMAT:02x}")
    try:
        size = int.from_bytes(data[1:_ALIGNMENT], "little")
        at = _ALIGNMENT + size + -size % _ALIGNMENT
        header = Values(data[_ALIGNMENT : _ALIGNMENT + size], unicode_errors="surrogatepass")
        if header.length() != len(Rows._fields):
            raise ValueError("another number of arrays")
        items: list[Any] = []
        for _ in Rows._fields[: -len(_TABLES)]:
            kind, shape = header.whole(MOST_OF_AN_ARRAY)
            count = int(np.prod(shape, dtype=np.int64))
            items.append(np.frombuffer(data, np.dtype(kind), count, at).reshape(shape))
            at += count * np.dtype(kind).itemsize
            at += -at % _ALIGNMENT
        rows = Rows(*items, *(list(header.each(_is_name)) for _ in _TABLES))
        header.end()
    except damage.READING as error:
        raise DataLossError("a segment of the index does not unpack") from error
    if at != len(data) or not _consistent(rows):
        raise DataLossError("a segment of the index does not fit together")
    return rows


_TABLES = ("sessions", "roles", "terms", "keys", "values")
MOST_OF_AN_ARRAY = 8
"""Values of which the header tells of an array: the kind, the shape, and what is in it."""


def _is_name(value: object) -> bool:
    return isinstance(value, str)


def _consistent(rows: Rows) -> bool:
    n, m, p = len(rows.number), len(rows.passages), len(rows.vectors)
    columns = (
        rows.seq,
        rows.time_us,
        rows.tokens,
        rows.length,
        rows.learn,
        rows.text,
        rows.session,
        rows.role,
        rows.key_count,
    )
    numbered = (
        (rows.session, rows.sessions),
        (rows.role, rows.roles),
        (rows.term, rows.terms),
        (rows.key, rows.keys),
        (rows.value, rows.values),
    )
    return (
        all(c.shape == (n,) for c in columns)
        and rows.passages.shape == rows.term_count.shape == (m,)
        and rows.vectors.ndim == 2
        and rows.content_hash.shape == (n, HASH_BYTES)
        and rows.text_key.shape == (n, KEY_BYTES)
        and rows.spans.shape == (p, 2)
        and (rows.passages.min(initial=1) > 0 and rows.passages.sum() == p)
        and rows.term_count.sum() == len(rows.term) == len(rows.times)
        and rows.key_count.sum() == len(rows.key) == len(rows.value)
        and all(not len(ids) or ids.max() < len(table) for ids, table in numbered)
    )


def localise(numbers: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[np.uint32], list[str]]:
    """Return the numbers of names as numbers of those among them that occur, and these, in the order of first use.

    How the names are numbered in all is another thing once what is destroyed is left out: equal rows are equal bytes.
    """
    used, first, local = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order))
    return place[local], [names[i] for i in used[order].tolist()]


class _Table(dict[str, int]):
    """Strings, numbered in the order of their first use."""

    def numbers(self, strings: Any) -> NDArray[np.uint32]:
        return np.fromiter((self.setdefault(s, len(self)) for s in strings), np.uint32)
