"""Haystacks: English prose that every Python has, in its manual and in the docstrings of its library."""

import ast
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HELD_OUT = 8
"""One document in so many is kept for tests, by its checksum."""
_CODE = 8
"""One file in so many is there as source, too."""
_LEAST = 200
"""Characters of a document that is worth having."""


class Document(NamedTuple):
    """One text."""

    name: str
    text: str


def documents(*, test: bool, code: bool = False) -> list[Document]:
    """Return the documents for tests, or those for training, ordered by name.

    Args:
        test: which.
        code: some of the library's source, too: names and numbers that state no fact.
    """
    # One of those that say the same: it could be on both sides otherwise.
    found = {document.text: document for document in (*_manual(), *_library(code=code))}
    return sorted(document for document in found.values() if _held_out(document) == test)


def _held_out(document: Document) -> bool:
    return zlib.crc32(document.text.encode()) % _HELD_OUT == 0


def _manual() -> Iterator[Document]:
    # Present wherever `help()` is.
    from pydoc_data.topics import topics  # noqa: PLC0415  # half a megabyte

    for name, text in topics.items():
        if len(text) >= _LEAST:
            yield Document(f"topic {name}", _plain(text))


def _library(*, code: bool) -> Iterator[Document]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library).as_posix()
        if name.split("/")[0] in {"site-packages", "test", "lib2to3"} or "/tests/" in name:
            continue
        text = docstrings(path)
        if text is None:
            continue
        if text:
            yield Document(f"module {name}", text)
        if code and zlib.crc32(name.encode()) % _CODE == 0:
            yield Document(f"source {name}", _plain(path.read_text(encoding="utf-8")))


def docstrings(path: Path) -> str | None:
    """Return a Python file's docstrings, as prose; nothing where they are short, None where it is no Python."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # files that are meant to be wrong
        return None
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    strings = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    text = "\n\n".join(string for string in strings if string)
    return _plain(text) if len(text) >= _LEAST else ""


def _plain(text: str) -> str:
    """Return it in lines of prose: what is laid out by blanks says nothing here."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
