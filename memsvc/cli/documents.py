"""Documents to ingest: which files there are, what they are called, and the entries they become."""

import codecs
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from memsvc_client import Entry

from memsvc.cli.outline import grammar_of
from memsvc.cli.split import split
from memsvc.limits import MAX_SESSION_BYTES

STDIN = "-"
"""The path that means standard input."""
_SNIFF_BYTES = 8_192


class Source(NamedTuple):
    """A file to read."""

    path: Path | None
    """None is standard input."""
    name: str
    """What the document is called, its session apart from that one's limits."""
    size: int
    """Bytes; 0 while they are not known."""


class Document(NamedTuple):
    """One text to remember."""

    name: str
    """What it is called: a path with `/`. Its suffix tells how to cut it."""
    text: str


class NotTextError(Exception):
    """A file is no text; the message says why."""


def find(paths: Sequence[str], *, stdin_name: str = "stdin") -> list[Source]:
    """List the files under these paths, in the order of their names, a folder's files before its folders.

    A file in a folder is called by its path from the folder's parent, whatever way the folder was named; a file given
    by itself by its path as given. Hidden files and folders in a folder are left out, and links to folders are not
    followed.

    Args:
        paths: files, folders, or `-` for standard input.
        stdin_name: what to call standard input.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: a path is empty, or two different files would be called the same.
    """
    sources: dict[str, Source] = {}
    for given in paths:
        for source in _sources(given, stdin_name):
            other = sources.setdefault(source.name, source)
            if not _same_file(other.path, source.path):
                raise ValueError(
                    f"{other.path or 'standard input'} and {source.path or 'standard input'} would both be called "
                    f"{source.name!r}; ingest them into different tenants, or name the folder above both"
                )
    return list(sources.values())


def decode(data: bytes) -> str:
    """Return the text of a file: UTF-8, a byte order mark left out.

    Raises:
        NotTextError: it is something else, or empty.
    """
    if b"\0" in data[:_SNIFF_BYTES]:
        raise NotTextError("binary")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise NotTextError("not UTF-8") from None
    if not text.strip():
        raise NotTextError("empty")
    return text


def entries(document: Document) -> list[Entry]:
    """Cut a document into entries.

    Each passage's id is a hash of the document's name, the passage's text and how often that text came before, so that
    the same passage of the same document has the same id wherever it stands. Metadata: `source` (the name), `position`
    (0 for the first passage), `start` (the offset of its first character), `heading` where there is one.
    """
    session = session_of(document.name)
    seen: Counter[str] = Counter()
    result = []
    for position, piece in enumerate(split(document.text, grammar_of(PurePosixPath(document.name).suffix))):
        metadata = {"source": document.name, "position": position, "start": piece.start}
        if piece.heading:
            metadata["heading"] = " > ".join(piece.heading)
        id = _hash("\0".join([document.name, str(seen[piece.text]), piece.text]))
        seen[piece.text] += 1
        result.append(Entry(piece.text, id=id, session=session, metadata=metadata))
    return result


def session_of(name: str) -> str:
    """Return the session for a document: its name, or the end of it after a hash of all of it where it is too long."""
    data = name.encode()
    if len(data) <= MAX_SESSION_BYTES:
        return name
    prefix = f"{_hash(name)[:12]}…"
    tail = data[len(prefix.encode()) - MAX_SESSION_BYTES :]
    return prefix + tail.decode(errors="ignore")


def clean_name(path: str) -> str:
    """Return a path as a document's name: with `/`, normalised, and without what UTF-8 or an id cannot hold."""
    name = os.fsencode(os.path.normpath(path)).decode(errors="replace").replace(os.sep, "/")
    return "".join("�" if unicodedata.category(c) == "Cc" else c for c in name)


def _sources(given: str, stdin_name: str) -> Iterator[Source]:
    if given == STDIN:
        yield Source(None, clean_name(stdin_name), 0)
        return
    if not given:  # a variable of a script that is not set; it would be the folder that we are in
        raise ValueError("a path is empty; say . for the folder that you are in")
    path = Path(given)
    if not path.is_dir():
        yield Source(path, clean_name(given), path.stat().st_size)
        return
    root = path.resolve()
    for file in _walk(root):
        yield Source(file, clean_name(str(file.relative_to(root.parent))), file.stat().st_size)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            # A broken link or a device is nothing to read.
            if not name.startswith(".") and path.is_file():
                yield path


def _same_file(one: Path | None, other: Path | None) -> bool:
    return one == other or (one is not None and other is not None and one.samefile(other))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
