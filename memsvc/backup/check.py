"""Reads a tenant's file as an import would, and believes nothing."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from memsvc.backup.directory import Directory
from memsvc.backup.error import BackupError
from memsvc.backup.manifest import Manifest, Saved
from memsvc.damage import READING
from memsvc.errors import InvalidArgumentError
from memsvc.store.hashes import id_hash
from memsvc.tenant.archive import Header, Reader

PART_BYTES = 1 << 20


class Problem(NamedTuple):
    """What is wrong with a tenant's file."""

    tenant: str
    file: str
    what: str


def read(path: Path, uid: str) -> Saved:
    """Read a file from its beginning to its end; return what it holds.

    Raises:
        BackupError: it is damaged, cut short, no export, or holds what it says is forgotten.
        OSError: it cannot be read.
    """
    reader, digest, size = Reader(most_snapshot_bytes=None), hashlib.sha256(), 0
    header: Header | None = None
    head_seq = 0
    forgotten: frozenset[bytes] = frozenset()
    try:
        with path.open("rb") as file:
            while data := file.read(PART_BYTES):
                size += len(data)
                digest.update(data)
                for item in reader.feed(data):
                    if isinstance(item, Header):
                        header, forgotten = item, frozenset(item.origin.forgotten)
                        continue
                    head_seq = item.seq
                    if header is not None and forgotten:
                        ids = (entry.payload.id for entry in item.entries)
                        if any(id_hash(header.origin.id_key, id) in forgotten for id in ids):
                            raise BackupError("the file holds an entry that is forgotten, which no import takes")
        reader.finish()
    except InvalidArgumentError as error:
        raise BackupError(error.description) from error
    except READING as error:
        raise BackupError("the file is damaged: a part of it is none") from error
    if header is None:
        raise BackupError("the file is empty")
    return Saved(tenant=header.tenant, uid=uid, head_seq=head_seq, size=size, sha256=digest.hexdigest())


def fault(directory: Directory, saved: Saved) -> str:
    """Return what is wrong with a tenant's file, or nothing."""
    try:
        same = read(directory.file(saved), saved.uid) == saved
    except (BackupError, OSError) as error:
        return str(error)
    return "" if same else "the file is not the one that was written"


def problems(directory: Directory, manifest: Manifest) -> list[Problem]:
    """Return what is wrong with a backup."""
    found = ((saved, fault(directory, saved)) for saved in manifest.tenants)
    return [Problem(saved.tenant, saved.file, what) for saved, what in found if what]
