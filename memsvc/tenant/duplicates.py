"""Which texts count as equal, and which living entry has a text already."""

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Iterable

from memsvc.recall.rows import KEY_BYTES
from memsvc.recall.words import folded
from memsvc.tenant.record import Content


def text_key(content: Content) -> bytes:
    """Return a hash that is equal for entries whose text counts as equal: but for case, spaces and compatibility forms.

    A vector that was given counts as well, and so does whether the entry learns: the text of one that does not is
    destroyed with it, and the other must not need it.
    """
    digest = hashlib.blake2b(struct.pack("<?I", content.learn, len(content.vector)), digest_size=KEY_BYTES)
    digest.update(content.vector)
    digest.update(folded(content.text).encode())
    return digest.digest()


class LivingTexts:
    """The texts of the entries that live at a point of the stream. An evicted entry lives: it may come back.

    Args:
        entries: number and text's key of each, in the order of writing.
    """

    def __init__(self, entries: Iterable[tuple[int, bytes]]) -> None:
        self._keys: dict[int, bytes] = {}
        self._numbers: dict[bytes, list[int]] = {}
        """Ascending, per text."""
        for number, key in entries:
            self.add(number, key)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory are held."""
        return 120 * (len(self._keys) + len(self._numbers))

    def add(self, number: int, key: bytes) -> int | None:
        """Take in an entry; return the newest living one that has its text, None if there is none."""
        self._keys[number] = key
        numbers = self._numbers.setdefault(key, [])
        numbers.append(number)
        return numbers[-2] if len(numbers) > 1 else None

    def remove(self, numbers: Iterable[int]) -> None:
        """Let entries die; those that are not here, or dead, are passed over."""
        for number in numbers:
            if (key := self._keys.pop(number, None)) is None:
                continue
            alike = self._numbers[key]
            del alike[bisect_left(alike, number)]
            if not alike:
                del self._numbers[key]
