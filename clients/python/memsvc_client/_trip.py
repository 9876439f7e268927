"""The tries of one call: which process each of them asks, and when."""

import grpc

from memsvc_client import _addresses, _status
from memsvc_client._retry import Retry, RetryPolicy
from memsvc_client._routes import Routes
from memsvc_client.errors import DeadlineExceededError, MemsvcError, UnavailableError

MOST_HOPS = 4
"""Owners that are followed without a pause."""


class Trip:
    """One call's way, from now on.

    A process that does not own the tenant says which one does, and that is asked at once; so is the next address when
    one cannot be reached. Whoever was asked already is asked again only after a pause, so that processes that name each
    other, or are all gone, are not asked without end. While processes answer that the tenant is another one's, it
    changes hands, and pauses follow each other until the timeout.

    Args:
        routes: the client's.
        policy: how to try again.
        tenant: whose owner to ask; None for what is no tenant's, or nobody knows yet.
        timeout: seconds for all tries together.
    """

    def __init__(self, routes: Routes, policy: RetryPolicy, tenant: str | None, timeout: float) -> None:
        self.timeout = timeout
        self._routes, self._policy, self._tenant = routes, policy, tenant
        self._retry = Retry(policy, timeout)
        self._address = ""
        self._owner: str | None = None
        self._asked: dict[str, None] = {}
        """Since the last pause, in order."""
        self._hops = 0
        self._disowned = False

    @property
    def remaining(self) -> float:
        """Seconds left for the call, 0 at least."""
        return self._retry.remaining

    def renew(self) -> None:
        """Put an end to the troubles so far: tries and time count from now on."""
        self._retry = Retry(self._policy, self.timeout)
        self._asked, self._hops, self._disowned = {self._address: None}, 0, False

    def begin(self) -> str:
        """Begin a try; return the address that it goes to."""
        self._address, self._owner = self._owner or self._routes.of(self._tenant), None
        self._asked[self._address] = None
        return self._address

    def pause(self, failure: grpc.RpcError | None) -> float:
        """Return the seconds to wait before the next try.

        Args:
            failure: how the last one failed; None for a stream that ended before it was over, and nobody knows why.

        Raises:
            MemsvcError: the failure is final.
        """
        error: MemsvcError
        if failure is None:
            error = UnavailableError(f"{self._address} ended the stream before it was over", reason="STREAM_ENDED")
        else:
            error = _status.to_error(failure, self._address)
        if self._follows(error):
            return 0.0
        if isinstance(error, UnavailableError | DeadlineExceededError):
            self._routes.leave(self._tenant, self._address)
        if error.reason in ("UNREACHABLE", "HANDSHAKE_FAILED") and self._policy.attempts > 1 and not self._went_round():
            return 0.0
        delay = self._retry.delay(error, patient=self._disowned)
        if delay is None:
            raise error from failure
        for address in self._asked:  # in vain, also those that named an owner
            self._routes.leave(self._tenant, address)
        self._asked, self._hops, self._disowned = {}, 0, False
        return delay

    def silence(self) -> DeadlineExceededError:
        """Return the error for a stream in which the server says nothing."""
        self._routes.leave(self._tenant, self._address)
        return DeadlineExceededError(f"{self._address} left a stream without an answer for {self.timeout:g} s")

    def _follows(self, error: MemsvcError) -> bool:
        """Take the owner that an error names for the next try, if that one was not asked yet."""
        if error.reason != "NOT_OWNER":
            return False
        self._disowned = True
        owner = error.metadata.get("owner", "")
        if not _addresses.is_host_and_port(owner) or owner in self._asked or self._hops == MOST_HOPS:
            return False
        self._routes.learn(self._tenant, owner)
        self._owner, self._hops = owner, self._hops + 1
        return True

    def _went_round(self) -> bool:
        return self._routes.of(self._tenant) in self._asked
