"""The hashes that stand for what may not lie in an index, whose rows SQLite may leave copies of. Pure."""

import hashlib

HASH_BYTES = 16


def tenant_hash(tenant: str) -> bytes:
    """Return what stands for a tenant's id."""
    return plain_hash(tenant.encode())


def id_hash(key: bytes, id: str) -> bytes:
    """Return what stands for an entry's id: worthless once the tenant's key is destroyed."""
    return _keyed(key, b"id", id.encode())


def request_hash(key: bytes, uid: str, request_id: str) -> bytes:
    """Return what stands for a request_id inside a tenant, whose copies have the same key; empty for an empty one."""
    return _keyed(key, b"request", _joined((uid.encode(), request_id.encode()))) if request_id else b""


def asked_hash(key: bytes, *parts: bytes) -> bytes:
    """Return what stands for what a request asked: kinds, bodies and ids, never content."""
    return _keyed(key, b"asked", _joined(parts))


def content_hash_left(key: bytes, content_hash: bytes) -> bytes:
    """Return what a destroyed payload leaves of its content hash: no longer than that, so that its row only shrinks."""
    return _keyed(key, b"content", content_hash)[: len(content_hash)]


def plain_hash(*parts: bytes) -> bytes:
    """Return a hash without a key."""
    return hashlib.blake2b(_joined(parts), digest_size=HASH_BYTES).digest()


def _keyed(key: bytes, purpose: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=key, person=purpose, digest_size=HASH_BYTES).digest()


def _joined(parts: tuple[bytes, ...]) -> bytes:
    # Lengths in front: no two lists of parts hash alike.
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)
