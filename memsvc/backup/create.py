"""Makes a backup while the deployment serves: every tenant as it is when its turn comes."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from memsvc_client import FailedPreconditionError, MemoryClient, NotFoundError

from memsvc.backup import check
from memsvc.backup.directory import Directory
from memsvc.backup.manifest import Manifest, Saved

Told = Callable[[int, int], object]
"""Called with the tenants that are done, and how many there are."""

ERASED_WITHIN_S = 600.0
"""How long a tenant's erasure may take before the backup is given up."""
AGAIN_S = 1.0


class Created(NamedTuple):
    """A backup that was made."""

    manifest: Manifest
    written: int
    """Tenants whose files are new; the others had not changed since the last backup."""
    bytes: int
    """Of the new files."""


def create(client: MemoryClient, directory: Directory, told: Told) -> Created:
    """Back up all tenants. One whose log is as long as at the last backup is not read again.

    Raises:
        MemsvcError: the server refused, or cannot be reached; the backups before stay as they are.
        OSError: the directory cannot be written.
        BackupError: what was written does not verify, or another backup is under way there.
    """
    directory.make()
    with directory.alone():
        last = directory.newest()
        tenants = [(tenant.tenant, tenant.uid) for tenant in client.list_tenants()]
        saved: list[Saved] = []
        written = size = 0
        for done, (tenant, uid) in enumerate(tenants):
            told(done, len(tenants))
            try:
                before = None if last is None else last.of(uid)
                if before is not None and directory.holds(before) and client.head_seq(tenant) == before.head_seq:
                    saved.append(before)
                    continue
                saved.append(now := _save(client, directory, tenant, uid))
            except NotFoundError:  # it was deleted meanwhile
                continue
            written, size = written + 1, size + now.size
        told(len(tenants), len(tenants))
        manifest = Manifest(made=datetime.now(UTC), tenants=tuple(saved))
        directory.write(manifest)
        return Created(manifest, written, size)


def _save(client: MemoryClient, directory: Directory, tenant: str, uid: str) -> Saved:
    begun = directory.begun()
    give_up = time.monotonic() + ERASED_WITHIN_S
    while True:
        try:
            client.export_tenant(tenant, begun, overwrite=True)
            break
        except FailedPreconditionError as error:
            if error.reason != "ERASURE_PENDING" or time.monotonic() > give_up:
                raise
            time.sleep(AGAIN_S)
    saved = check.read(begun, uid)
    directory.keep(begun, saved)
    return saved
