"""What msgpack packed, taken value by value, so that nothing is made before it is known to belong.

An empty list takes 64 times in memory what it takes in a file. Whoever made a file: it comes to no more than a small
multiple of its size.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgpack

MOST_DEPTH = 8
"""Lists and maps within one another: more than any value here has."""


class Values:
    """Some bytes' values, in order.

    Args:
        data: all of them.
        unicode_errors: what becomes of strings that are no UTF-8, as `bytes.decode` has it.
    """

    def __init__(self, data: bytes, unicode_errors: str = "strict") -> None:
        none = {"max_array_len": 0, "max_map_len": 0, "max_ext_len": 0}
        size = len(data) or 1
        self._data = data
        self._unpacker = msgpack.Unpacker(read_size=size, max_buffer_size=size, unicode_errors=unicode_errors, **none)
        self._unpacker.feed(data)

    def take(self) -> Any:
        """Return the next value, which is no list and no map.

        Raises:
            ValueError: it is one.
        """
        value = self._unpacker.unpack()
        if isinstance(value, list | dict):  # an empty one
            raise ValueError("a list where none belongs")
        return value

    def length(self) -> int:
        """Enter a list; return how many values it has."""
        length: int = self._unpacker.read_array_header()
        return length

    def each(self, is_one: Callable[[Any], bool]) -> Iterator[Any]:
        """Enter a list; yield its values, if every one is what it has to be.

        Raises:
            TypeError: one is not.
        """
        for _ in range(self.length()):
            if not is_one(value := self.take()):
                raise TypeError("a value of another kind")
            yield value

    def whole(self, most: int) -> Any:
        """Return the next value, whatever it is, with all that is in it.

        Args:
            most: values, lists and maps that it may have in all.

        Raises:
            ValueError: it has more, or more than MOST_DEPTH within one another.
        """
        left = most

        def value(depth: int) -> Any:
            nonlocal left
            left -= 1
            if left < 0 or depth > MOST_DEPTH:
                raise ValueError("more values than belong")
            lead = self._data[self._unpacker.tell()]
            if lead & 0xF0 == 0x90 or lead in (0xDC, 0xDD):
                return [value(depth + 1) for _ in range(self.length())]
            if lead & 0xF0 == 0x80 or lead in (0xDE, 0xDF):
                return {self.take(): value(depth + 1) for _ in range(self._unpacker.read_map_header())}
            return self.take()

        return value(1)

    def end(self) -> None:
        """Check that all were taken.

        Raises:
            ValueError: there are more.
        """
        if self._unpacker.tell() != len(self._data):
            raise ValueError("more than its values")
