"""Entry numbers as a record's row keeps them: 8 bytes each, little-endian. Pure."""

import struct
from collections.abc import Sequence

_NUMBER_BYTES = 8


def pack(numbers: Sequence[int]) -> bytes:
    """Return numbers as bytes; none for none."""
    return struct.pack(f"<{len(numbers)}q", *numbers)


def unpack(data: bytes) -> tuple[int, ...]:
    """Return the numbers that were packed."""
    return struct.unpack(f"<{len(data) // _NUMBER_BYTES}q", data)
