"""The files of exports and imports. One that is written is whole, or not there."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeAlias

from memsvc.v1.tenants_pb2 import ImportTenantRequest
from memsvc_client import _values

PART_BYTES = 256 * 1024
"""Bytes of a file that one message carries."""

Progress: TypeAlias = Callable[[int, int], object]
"""Called with the bytes that are done, and about how many there are."""


class NewFile:
    """A file in the making. It grows beside its place under another name, and `commit` puts it there.

    Only its owner may read it, because a tenant's texts are in it.

    Args:
        path: where it shall be.
        overwrite: whether there may be a file already.

    Raises:
        InvalidArgumentError: the path is none.
        FileExistsError: there is one already.
        OSError: it cannot be made.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, path: str | Path, overwrite: bool) -> None:
        self.size = 0
        self._path = local(path)
        self._overwrite = _values.boolean("overwrite", overwrite)
        self._check()
        made, name = tempfile.mkstemp(prefix=".memsvc-", suffix=".part", dir=self._path.parent)
        self._temporary = Path(name)
        self._file = os.fdopen(made, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk, met once more by what is still buffered
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> int:
        """Append bytes; return how many there are now."""
        self._file.write(data)
        self.size += len(data)
        return self.size

    def restart(self) -> None:
        """Begin anew."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0

    def commit(self) -> None:
        """Put the file in its place, safe from a crash.

        Raises:
            FileExistsError: there is one meanwhile.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._check()
        self._temporary.replace(self._path)
        if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be synchronised, and need not
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _check(self) -> None:
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        if not self._overwrite and os.path.lexists(self._path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self._path))


class Source:
    """A file to import, and the messages that carry it.

    Args:
        path: where it is.
        first: the first message, without bytes.

    Raises:
        InvalidArgumentError: the path is none.
        OSError: it cannot be read.

    Attributes:
        size: its bytes, 0 where nobody can say.
    """

    def __init__(self, path: str | Path, first: ImportTenantRequest) -> None:
        self._first = first
        self._file = local(path).open("rb")
        self.size = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def messages(self) -> Iterator[ImportTenantRequest]:
        """Yield what is still to be read; an empty file in one message, for the server to refuse."""
        self._first.data = self._file.read(PART_BYTES)
        yield self._first
        while data := self._file.read(PART_BYTES):
            yield ImportTenantRequest(data=data)

    def restart(self) -> None:
        """Begin anew.

        Raises:
            OSError: it can be read only once.
        """
        self._file.seek(0)


def local(path: str | Path) -> Path:
    """Return a path of this machine.

    Raises:
        InvalidArgumentError: it is none.
    """
    if not isinstance(path, str | Path):
        raise _values.wrong("path", f"must be a str or a Path, not {type(path).__name__}")
    if not path or path == Path():
        raise _values.wrong("path", "must name a file")
    return Path(path)
