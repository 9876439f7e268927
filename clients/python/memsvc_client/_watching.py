"""A watch without I/O: where to go on after a broken stream, and which events were handed out already."""

import time
from collections import Counter
from collections.abc import Callable

import grpc

from memsvc.v1 import tenants_pb2, types_pb2
from memsvc_client import _replies, _requests
from memsvc_client._core import Core
from memsvc_client.types import Event

RESTORED = "restored"
"""The kind of event that says that a tenant was put to a record, which may be one behind those told already."""


class Watching:
    """One caller's watch, over as many connections as it takes.

    A record may have several events, and a stream may break between two of them. The next one therefore begins before
    the last record seen, and what it repeats of that record is left out.

    Args:
        core: the client's settings.
        tenant: whose events.
        from_seq: only events of records after this one.
        timeout: seconds that a server may be away. A connection that held as long, or brought something new, puts an
            end to the troubles before it.
        clock: seconds, monotone.

    Raises:
        InvalidArgumentError: an argument is wrong; names the field.
    """

    def __init__(
        self,
        core: Core,
        tenant: str,
        from_seq: int | None,
        timeout: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._request = _requests.watch(tenant, from_seq)
        self._trip = core.trip(tenant, timeout)
        self._broken = False
        self._began = 0.0
        self._news = False
        self._seq = 0
        self._seen: Counter[bytes] = Counter()
        self._repeats: Counter[bytes] = Counter()

    def restart(self) -> tuple[str, tenants_pb2.WatchTenantRequest]:
        """Begin on a new connection; return the address that it goes to, and its request."""
        self._began, self._news = self._clock(), False
        self._repeats = self._seen.copy()
        if self._seq:
            self._request.from_seq = self._seq - 1
        return self._trip.begin(), self._request

    def receive(self, message: types_pb2.Event) -> Event | None:
        """Take a message; return its event unless it was handed out already."""
        key = message.SerializeToString(deterministic=True)
        if message.kind == RESTORED:  # the log may be shorter now, and what follows that record is new
            self._request.from_seq, self._seq, self._seen = message.seq, 0, Counter()
        elif message.seq > self._seq:
            self._seq, self._seen, self._repeats = message.seq, Counter(), Counter()
        elif message.seq == self._seq and self._repeats[key]:
            self._repeats[key] -= 1
            return None
        if message.seq == self._seq:
            self._seen[key] += 1
        self._news = True
        return _replies.event(message)

    def pause(self, failure: grpc.RpcError | None) -> float:
        """Return the seconds to wait before the next connection.

        Args:
            failure: how the last one failed; None when the server ended it as if that were all.

        Raises:
            MemsvcError: the failure is final.
        """
        if not self._broken or self._news or self._clock() - self._began >= self._trip.timeout:
            self._trip.renew()
        self._broken = True
        return self._trip.pause(failure)
