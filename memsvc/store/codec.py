"""Manifests of snapshots: msgpack between a version byte and a checksum. Pure."""

import hashlib
from dataclasses import dataclass

import msgpack

from memsvc import damage
from memsvc.errors import DataLossError

FORMAT = 1
"""First byte of every sealed body. A reader refuses what is newer than it knows."""

DIGEST_BYTES = 32


def digest(data: bytes) -> bytes:
    """Return the BLAKE2b checksum of a blob."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def seal(body: bytes) -> bytes:
    """Return version byte, body and the checksum of both."""
    sealed = bytes([FORMAT]) + body
    return sealed + digest(sealed)


def unseal(data: bytes) -> bytes:
    """Return the body of sealed bytes.

    Raises:
        DataLossError: the checksum is wrong, or the format is newer.
    """
    sealed, checksum = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if not sealed or digest(sealed) != checksum:
        raise DataLossError("its checksum is wrong")
    if sealed[0] != FORMAT:
        raise DataLossError(f"it has format {sealed[0]}; this version reads {FORMAT}")
    return sealed[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What one snapshot is made of."""

    uid: str
    seq: int
    meta: bytes
    blobs: dict[str, bytes]
    """Name to checksum, in the order given."""

    def encode(self) -> bytes:
        """Return the sealed manifest."""
        body: bytes = msgpack.packb([self.uid, self.seq, self.meta, list(self.blobs.items())])
        return seal(body)

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """Read a sealed manifest.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        with damage.told_as("it does not unpack"):
            uid, seq, meta, blobs = msgpack.unpackb(unseal(data))
            return cls(uid=uid, seq=seq, meta=meta, blobs=dict(blobs))
