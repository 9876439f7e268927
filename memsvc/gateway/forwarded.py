"""What of an HTTP request goes on to its call beside the message: credential, deadline, ids."""

import re
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import Headers

from memsvc.errors import InvalidArgumentError
from memsvc.gateway.routes import Route

REQUEST_ID = "x-request-id"
TIMEOUT = "grpc-timeout"
AUTHORIZATION = "authorization"
PASSED = (AUTHORIZATION, "traceparent")
"""Headers that are metadata of the call, as they are."""

DEFAULT_S, ANSWER_S = 30.0, 600.0
"""Deadlines of calls whose callers name none: of those that answer once, and of whole answers of a model."""
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNSENDABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """Goes on to the call."""

    request_id: str
    metadata: tuple[tuple[str, str], ...]
    timeout: float | None
    """Seconds; None for a stream that has no end."""

    @classmethod
    def of(cls, route: Route, headers: Headers, request_id: str) -> Self:
        """Take it from the headers.

        Raises:
            InvalidArgumentError: the deadline cannot be read.
        """
        # What gRPC could not send is replaced, so that the service says what it says to a wrong credential.
        passed = [(name, _UNSENDABLE.sub("?", value)) for name in PASSED for value in headers.getlist(name)]
        return cls(
            request_id=request_id,
            metadata=((REQUEST_ID, request_id), *passed),
            timeout=_seconds(headers.get(TIMEOUT), route),
        )


def _seconds(given: str | None, route: Route) -> float | None:
    if given is None:
        return {"WatchTenant": None, "Generate": ANSWER_S}.get(route.call, DEFAULT_S)
    found = _TIMEOUT.fullmatch(given)
    if found is None:
        raise InvalidArgumentError(TIMEOUT, "must be up to eight digits and a unit (H, M, S, m, u or n), such as 30S")
    return int(found[1]) * _UNITS[found[2]]
