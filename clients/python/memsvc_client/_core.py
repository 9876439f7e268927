"""What both clients share beside messages: whom to ask, timeouts and tries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import grpc

from memsvc_client import _addresses, _requests
from memsvc_client._access import Access
from memsvc_client._retry import RetryPolicy
from memsvc_client._routes import Routes
from memsvc_client._trip import Trip

if TYPE_CHECKING:
    from memsvc_client._embedded import Embedded

GRACE = 1.0
"""Seconds that a server has to end a stream in which everything is durable already."""

ANSWER_S = 600.0
"""Seconds that a whole answer may take, unless a caller says otherwise."""

START_S = 120.0
"""Seconds that an embedded server may take to serve, unless a caller says otherwise: it loads its encoder."""

ONE_TRY = RetryPolicy(attempts=1)


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


class Core:
    """The settings of one client, and what it learnt of who owns which tenant.

    Raises:
        InvalidArgumentError: a setting is wrong; names the field.
    """

    def __init__(self, target: str | Sequence[str], timeout: float, policy: RetryPolicy, access: Access) -> None:
        self._routes = Routes(_addresses.targets(target))
        access.check(self._routes.targets)
        self._timeout = _requests.seconds(timeout)
        self._policy = policy

    @property
    def target(self) -> str:
        """The configured addresses."""
        return ",".join(self._routes.targets)

    def seconds(self, timeout: float | None) -> float:
        """Return the timeout of one call."""
        return self._timeout if timeout is None else _requests.seconds(timeout)

    def trip(self, tenant: str | None, timeout: float | None, *, once: bool = False) -> Trip:
        """Return the tries of one call that starts now, about a tenant or none; with `once` a single one."""
        return Trip(self._routes, ONE_TRY if once else self._policy, tenant, self.seconds(timeout))


def open_embedded(path: str | Path, config: str | Path | None, timeout: float) -> Embedded:
    """Return a hold on the server of a directory, and start it if there is none.

    Raises:
        MemsvcError: as `Embedded` says.
    """
    from memsvc_client._embedded import Embedded  # noqa: PLC0415  # where there is no flock, the rest works

    return Embedded(path, config, _requests.seconds(timeout))
