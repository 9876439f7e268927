"""Where backups lie: manifests, and the tenants' files that they share.

20261126T083000.000000Z.json   a backup, there once all of it is
tenants/UID-SEQ-DIGEST.memsvc  a tenant up to a record, as `memsvc export` writes it
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from memsvc.backup.error import BackupError
from memsvc.backup.manifest import Manifest, Saved

PRIVATE = 0o700
"""Texts are in it."""

# What is called otherwise is somebody else's: it is no backup, and nobody asked for it to be deleted.
_BACKUP = re.compile(r"\d{8}T\d{6}\.\d{6}Z", re.ASCII)
_FILE = re.compile(r"[0-9a-f]{1,64}-\d+-[0-9a-f]{16}\.memsvc|begun\.part|\.memsvc-\w+\.part", re.ASCII)
"""A tenant's file, whole or begun."""


class Directory:
    """A directory of backups. Reading it changes nothing there.

    Args:
        path: where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._tenants = path, path / "tenants"

    def make(self) -> None:
        """Make what is not there of it, for this user alone.

        Raises:
            OSError: it cannot be made.
        """
        for folder in (self.path, self._tenants):  # one by one: parents would be made for everybody
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that writes here.

        Raises:
            BackupError: another one is at it.
        """
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"{self.path}: another backup is under way there") from None
            yield

    def names(self) -> list[str]:
        """Return what the backups are called, the oldest first.

        Raises:
            BackupError: there is no such directory.
        """
        if not self.path.is_dir():
            raise BackupError(f"{self.path}: there is no such directory")
        return sorted(path.stem for path in self.path.glob("*.json") if _BACKUP.fullmatch(path.stem))

    def newest(self) -> Manifest | None:
        """Return the newest backup, if there is one.

        Raises:
            BackupError: it cannot be read.
        """
        names = self.names()
        return self.read(names[-1]) if names else None

    def read(self, name: str) -> Manifest:
        """Return a backup.

        Raises:
            BackupError: there is none of that name, or it cannot be read.
        """
        if name not in self.names():
            raise BackupError(f"{self.path}: there is no backup {name}")
        path = self.path / f"{name}.json"
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            where = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False)[:3])
            raise BackupError(f"{path}: no manifest of a backup, or of a newer version ({where})") from None

    def file(self, saved: Saved) -> Path:
        """Return where a tenant's file is."""
        return self._tenants / saved.file

    def holds(self, saved: Saved) -> bool:
        """Whether a tenant's file is there, and as long as it should be."""
        path = self.file(saved)
        return path.is_file() and path.stat().st_size == saved.size

    def begun(self) -> Path:
        """Return where a file may lie until it is checked."""
        return self._tenants / "begun.part"

    def keep(self, begun: Path, saved: Saved) -> None:
        """Give a checked file its name."""
        begun.replace(self.file(saved))

    def write(self, manifest: Manifest) -> None:
        """Make a backup complete, safe from a crash."""
        made, name = tempfile.mkstemp(dir=self.path, prefix=".", suffix=".part")
        with os.fdopen(made, "w") as file:
            file.write(manifest.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        for folder in (self._tenants, self.path):
            if folder is self.path:
                Path(name).replace(self.path / f"{manifest.name}.json")
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def prune(self, keep: int) -> list[str]:
        """Delete all but the newest backups, and the files that only they need; return what they were called."""
        names = self.names()
        gone = names[: max(0, len(names) - keep)]
        needed = {saved.file for name in names[len(gone) :] for saved in self.read(name).tenants}
        for name in gone:
            (self.path / f"{name}.json").unlink()
        for path in self._tenants.glob("*"):
            if path.name not in needed and _FILE.fullmatch(path.name):
                path.unlink()
        return gone
