"""Errors as problem details (RFC 9457), with what the gRPC status says: code, reason, field, delay."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Self

from grpc import StatusCode
from memsvc_client import MemsvcError
from starlette.responses import JSONResponse

from memsvc.errors import InvalidArgumentError
from memsvc.gateway.transcode import json_path

MEDIA_TYPE = "application/problem+json"

STATUSES: Mapping[StatusCode, HTTPStatus] = MappingProxyType(
    {
        StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
        StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
        StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
        StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
        StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
        StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
        StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
        StatusCode.ABORTED: HTTPStatus.CONFLICT,
        StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
        StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
        StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""As `google.rpc.Code` has them; whatever is not here is our fault, and 500."""
PASSING: Mapping[str, float] = MappingProxyType({"NOT_OWNER": 1.0, "UNREACHABLE": 1.0})
"""Reasons of what passes by itself, and seconds after which to try again: a tenant changes hands, or its owner died."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What went wrong, as the caller hears it."""

    status: HTTPStatus
    detail: str
    code: StatusCode
    reason: str
    field: str | None = None
    retry_after: float | None = None
    """Seconds."""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, error: MemsvcError) -> Self:
        """Return the problem of a call that failed."""
        known = error.retry_after is not None and math.isfinite(error.retry_after)
        return cls(
            status=STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR),
            detail=str(error),
            code=error.code,
            reason=error.reason,
            field=None if error.field is None else json_path(error.field),
            retry_after=error.retry_after if known else PASSING.get(error.reason),
            metadata={name: value for name, value in error.metadata.items() if name != "field"},
        )

    @classmethod
    def invalid(cls, error: InvalidArgumentError) -> Self:
        """Return the problem of a request that is no call."""
        code = StatusCode.INVALID_ARGUMENT
        return cls(status=STATUSES[code], detail=str(error), code=code, reason=error.reason, field=error.field)

    def members(self, request_id: str) -> dict[str, Any]:
        """Return the details as JSON has them; what is not known is not there."""
        found = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "code": self.code.name,
            "reason": self.reason,
            "field": self.field,
            "retryAfter": self.retry_after,
            "metadata": dict(self.metadata) or None,
            "requestId": request_id,
        }
        return {name: value for name, value in found.items() if value is not None}

    def response(self, request_id: str) -> JSONResponse:
        """Return the answer."""
        headers = dict(self.headers)
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["retry-after"] = str(math.ceil(self.retry_after))
        return JSONResponse(self.members(request_id), self.status, headers, MEDIA_TYPE)


class RefusedError(Exception):
    """A request that reaches no call.

    Args:
        status: of the answer.
        reason: UPPER_SNAKE_CASE, stable, for programs.
        detail: what is wrong, in words.
        headers: that the answer has besides.
    """

    def __init__(
        self, status: HTTPStatus, reason: str, detail: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(detail)
        code = _CODES.get(status, StatusCode.INVALID_ARGUMENT)
        self.problem = Problem(status=status, detail=detail, code=code, reason=reason, headers=headers)


_CODES: Mapping[HTTPStatus, StatusCode] = MappingProxyType(
    {
        HTTPStatus.FORBIDDEN: StatusCode.PERMISSION_DENIED,
        HTTPStatus.NOT_FOUND: StatusCode.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED: StatusCode.UNIMPLEMENTED,
        HTTPStatus.REQUEST_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
        HTTPStatus.SERVICE_UNAVAILABLE: StatusCode.UNAVAILABLE,
        HTTPStatus.INTERNAL_SERVER_ERROR: StatusCode.INTERNAL,
    }
)
"""What gRPC would call what HTTP alone can refuse."""
