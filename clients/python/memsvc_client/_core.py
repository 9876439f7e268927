"""What both clients share beside messages: timeouts, tries, and what a failure means."""

from dataclasses import dataclass
from typing import Protocol

import grpc

from memsvc_client import _requests, _status
from memsvc_client._retry import Retry, RetryPolicy
from memsvc_client.errors import DeadlineExceededError, InvalidArgumentError, MemsvcError, UnavailableError

GRACE = 1.0
"""Seconds that a server has to end a stream in which everything is durable already."""


class PageRequest(Protocol):
    """Asks for a page of a list."""

    page_token: str


class Page(Protocol):
    """A page of a list."""

    next_page_token: str


class StreamBroken(Exception):  # noqa: N818  it never reaches a caller: it only carries what does
    """A connection of a write stream failed. Never raised by the caller's own items, whatever they read from."""

    def __init__(self, failure: grpc.RpcError | None) -> None:
        super().__init__()
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Core:
    """The settings of one client.

    Raises:
        InvalidArgumentError: a setting is wrong; names the field.
    """

    target: str
    timeout: float
    policy: RetryPolicy

    def __post_init__(self) -> None:
        if not isinstance(self.target, str) or not self.target:
            raise InvalidArgumentError('target: must be an address, for example "127.0.0.1:50051"', field="target")
        _requests.seconds(self.timeout)

    def seconds(self, timeout: float | None) -> float:
        """Return the timeout of one call."""
        return self.timeout if timeout is None else _requests.seconds(timeout)

    def retry(self, timeout: float | None) -> Retry:
        """Return the tries of one call that starts now."""
        return Retry(self.policy, self.seconds(timeout))

    def pause(self, retry: Retry, failure: grpc.RpcError | None) -> float:
        """Return the seconds to wait before the next try.

        Args:
            retry: the tries so far.
            failure: how the last one failed; None for a stream that ended before it was over, and nobody knows why.

        Raises:
            MemsvcError: the failure is final.
        """
        error: MemsvcError
        if failure is None:
            error = UnavailableError(f"{self.target} ended the stream before it was over", reason="STREAM_ENDED")
        else:
            error = self.error(failure)
        delay = retry.delay(error)
        if delay is None:
            raise error from failure
        return delay

    def error(self, failure: grpc.RpcError) -> MemsvcError:
        """Return what the failure of a call means that is not tried again."""
        return _status.to_error(failure, self.target)

    def silence(self, timeout: float) -> DeadlineExceededError:
        """Return the error for a stream in which the server says nothing."""
        return DeadlineExceededError(f"{self.target} left a stream without an answer for {timeout:g} s")
