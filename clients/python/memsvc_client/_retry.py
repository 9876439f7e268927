"""When a failed call is tried again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from memsvc_client.errors import InvalidArgumentError, MemsvcError, ResourceExhaustedError, UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a client tries again, always within the call's timeout.

    A server that names a delay is obeyed until the timeout, and a tenant that changes hands is waited for. Otherwise
    UNAVAILABLE is tried `attempts` times in all, with exponential backoff and jitter, and RESOURCE_EXHAUSTED is final:
    a limit that time does not lift.

    Raises:
        InvalidArgumentError: a value is out of its range; names the field.
    """

    attempts: int = 6
    """Tries in all, the first included; with 1 no call is tried again."""
    first: float = 0.1
    """Seconds of the first backoff; each one after it is twice as long."""
    most: float = 2.0
    """Seconds of the longest backoff."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidArgumentError("attempts: must be 1 or more", field="attempts")
        if not 0 < self.first <= self.most:
            raise InvalidArgumentError("first: must be above 0 and not above `most`", field="first")


class Retry:
    """The tries of one call, from now on.

    Args:
        policy: how to try again.
        timeout: seconds for all tries together.
        clock: seconds, monotone.
        uniform: draws the jitter.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._uniform = uniform
        self._deadline = clock() + timeout
        self._failures = 0

    @property
    def remaining(self) -> float:
        """Seconds left for the call, 0 at least."""
        return max(0.0, self._deadline - self._clock())

    def delay(self, error: MemsvcError, *, patient: bool = False) -> float | None:
        """Return the seconds to wait before the next try, None when `error` is final.

        Args:
            error: how the last one failed.
            patient: UNAVAILABLE is known to pass, and tried until the timeout.
        """
        self._failures += 1
        policy, named = self._policy, error.retry_after
        if policy.attempts == 1 or not isinstance(error, UnavailableError | ResourceExhaustedError):
            return None
        if named is not None:
            delay = named + self._uniform(0, policy.first)
        elif isinstance(error, UnavailableError) and (patient or self._failures < policy.attempts):
            backoff = min(policy.most, policy.first * 2.0 ** min(self._failures - 1, 64))
            delay = self._uniform(backoff / 2, backoff)
        else:
            return None
        return delay if delay < self.remaining else None
