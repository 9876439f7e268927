"""What comes of reading damaged bytes is one error, whatever it was that the damage did."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack

from memsvc.errors import DataLossError, InvalidArgumentError

READING = (
    AttributeError,
    InvalidArgumentError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
    msgpack.UnpackException,
    struct.error,
)
"""What reading raises where bytes are not what they should be: a type, a name, a number or a length that is another."""


@contextmanager
def told_as(what: str) -> Iterator[None]:
    """Turn what reading raises into DataLossError, with this message.

    Raises:
        DataLossError: what was read is damaged.
    """
    try:
        yield
    except READING as error:
        raise DataLossError(what) from error
