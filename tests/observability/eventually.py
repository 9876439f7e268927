"""What some task brings about after the call that a test made."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(holds: Callable[[], Found], seconds: float = 20.0) -> Found:
    """Wait until something holds; return what it gave."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.05)
    return found
