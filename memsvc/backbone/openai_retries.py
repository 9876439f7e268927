"""Further attempts at what failed before anything came of it."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memsvc.backbone.openai_errors import FAILURES, TIMEOUT, Failure
from memsvc.errors import DeadlineExceededError

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
"""Before the second attempt, twice that before the third, and so on; up to half of it is taken off by chance."""

T = TypeVar("T")


class Retries:
    """Attempts until one does not fail.

    Args:
        more: attempts after the first.
        within_s: for all of them, and the waits between them.
        failure: says what an exception comes to.
    """

    def __init__(self, more: int, *, within_s: float, failure: Callable[[Exception], Failure]) -> None:
        self._more, self._within_s, self._failure = more, within_s, failure

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what an attempt returns.

        Raises:
            MemsvcError: what the last of them came to; at once where a further one is of no use, or where the server
                asks for a wait that would take too long.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._within_s
        try:
            async with asyncio.timeout_at(deadline):
                for made in itertools.count():
                    try:
                        return await attempt()
                    except FAILURES as error:
                        failed = self._failure(error)
                    wait = _backoff(made) if failed.wait is None else failed.wait
                    if not failed.again or made == self._more or loop.time() + wait >= deadline:
                        raise failed.error
                    await asyncio.sleep(wait)
        except TimeoutError:
            raise DeadlineExceededError(
                f"the model's server sent nothing for {self._within_s:g} s", reason=TIMEOUT
            ) from None
        raise AssertionError("it returned or raised")


def _backoff(made: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**made) * random.uniform(0.5, 1)  # noqa: S311  no secret
