"""When to ask again for an erasure that is under way."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memsvc_client.errors import DeadlineExceededError, MemsvcError

FIRST = 0.2
"""Seconds before the first question; each one after it waits twice as long."""
MOST = 2.0
"""Seconds of the longest wait."""
_LEAST = 0.001


class Polls:
    """The questions for one erasure, from now on. An error says which erasure it is: it goes on without its caller.

    Args:
        timeout: seconds for all of them together.
        clock: seconds, monotone.
    """

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self._deadline = clock() + timeout
        self._delay = FIRST

    @property
    def remaining(self) -> float:
        """Seconds left, always above 0, as a timeout has to be."""
        return max(_LEAST, self._deadline - self._clock())

    def delay(self, operation: str) -> float:
        """Return the seconds to wait before the next question.

        Raises:
            DeadlineExceededError: the time is over.
        """
        left = self._deadline - self._clock()
        if left <= 0:
            raise self._late(operation)
        delay = min(self._delay, left)
        self._delay = min(2 * self._delay, MOST)
        return delay

    @contextmanager
    def asking(self, operation: str) -> Iterator[None]:
        """Let an error of the question inside name the erasure.

        Raises:
            DeadlineExceededError: the time is over.
        """
        try:
            yield
        except DeadlineExceededError as error:
            raise self._late(operation) from error
        except MemsvcError as error:
            error.metadata["operation"] = operation
            raise

    def _late(self, operation: str) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"the erasure {operation} is not done after {self._timeout:g} s; it goes on, and get_erasure says how far",
            metadata={"operation": operation},
        )
