"""Who calls, and may they: asked for every method, unary and streaming, before anything else is done for them.

A credential in the metadata is looked at before the request is read, let alone parsed. Then each message that names a
tenant is held against the method's rule. What is refused is refused without a look at the store, and in the same words
whether the tenant exists or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, TypeAlias

import grpc
import structlog

from memsvc import names
from memsvc.auth.authenticator import Authenticator, missing
from memsvc.auth.keys import is_id
from memsvc.auth.principal import ANYONE, Principal
from memsvc.auth.rules import RULES, Rule, at
from memsvc.errors import MemsvcError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from memsvc.server.audit import Audit
from memsvc.server.errors import abort, code
from memsvc.server.handlers import Context, Handler, Many, Once, wrapped
from memsvc.server.principal import become
from memsvc.v1 import auth_pb2, tenants_pb2

log = structlog.get_logger("memsvc.auth")

AUTHORIZATION = "authorization"
OURS = "/memsvc."
OPEN_TO_ALL = ("/grpc.health.v1.Health/",)
"""Probes have no credentials."""


Who: TypeAlias = Callable[[Context], Principal]


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Lets in who may call. Until `open` that is nobody: a server is made before the store that has its keys.

    Args:
        audit: is told of actions and refusals.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._authenticator: Authenticator | None = None
        self._is_open = False

    def open(self, authenticator: Authenticator | None) -> None:
        """Let in whom the authenticator knows; with None nobody is asked, and everybody may do all."""
        self._authenticator, self._is_open = authenticator, True

    async def knows(self, metadata: Sequence[tuple[str, str]]) -> bool:
        """Whether what a call brings along is a valid credential, or none is needed: for who would read a request."""
        try:
            await self._who(metadata)
        except MemsvcError:
            return False
        return True

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the method's handler behind the checks, or one that refuses without reading a request."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN_TO_ALL):
            return handler
        rule = RULES.get(method)
        if rule is None:
            if self._authenticator is None and not method.startswith(OURS):
                return handler
            log.error("a method has no rule, so it is refused", method=method)
            return self._refusing(method, PermissionDeniedError("this method is not served", reason="NO_RULE"))
        try:
            who = await self._who(handler_call_details.invocation_metadata)
        except MemsvcError as error:
            return self._refusing(method, error)
        call = partial(_Call, self._audit, method, rule, who)
        return wrapped(handler, partial(_once, call), partial(_many, call))

    async def _who(self, metadata: Any) -> Who:
        """Return what says who calls: the metadata, or, where they say nothing, the connection.

        Raises:
            UnauthenticatedError: nobody that is known.
            UnavailableError: nobody can tell now.
        """
        if not self._is_open:
            raise UnavailableError("the server is starting", reason="NOT_READY")
        authenticator = self._authenticator
        if authenticator is None:
            return lambda _: ANYONE
        values = [value for name, value in metadata or () if name == AUTHORIZATION]
        if not values and not authenticator.knows_connections:
            raise missing()
        if not values:
            return lambda context: authenticator.of_peer(context.auth_context())
        if len(values) > 1 or not isinstance(values[0], str):
            raise UnauthenticatedError("authorization: must be given once", reason="CREDENTIAL_INVALID")
        principal = await authenticator.of_header(values[0])
        return lambda _: principal

    def _refusing(self, method: str, error: MemsvcError) -> Handler:
        async def refuse(_: Any, context: Context) -> Any:
            self._audit.unknown(method, code(error).name, error.reason, context.peer())
            if method.startswith(OURS):
                raise error
            await abort(context, error)  # nobody else turns it into a status

        # Whatever shape the method has: of this one gRPC reads no request before it asks for the answer.
        return grpc.stream_unary_rpc_method_handler(refuse)


class _Call:
    """One call.

    Args:
        audit: is told of it.
        method: its full name.
        rule: the method's.
        who: says who makes it.
        context: gRPC's.

    Raises:
        UnauthenticatedError: nobody that is known makes it.
    """

    def __init__(self, audit: Audit, method: str, rule: Rule, who: Who, context: Context) -> None:
        self._audit, self._method, self._rule = audit, method, rule
        try:
            self.principal = who(context)
        except MemsvcError as error:
            audit.unknown(method, code(error).name, error.reason, context.peer())
            raise
        self._first: Any = None
        self._told: dict[str, str] = {}
        become(self.principal)

    @contextmanager
    def audited(self) -> Iterator[None]:
        """Tell the audit log what comes of the call, if it is to know."""
        try:
            yield
        except BaseException as error:
            refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
            if refused or self._rule.audited:
                self._audit.called(self.principal.name, self._method, _outcome(error), **self._about())
            raise
        if self._rule.audited:
            self._audit.called(self.principal.name, self._method, grpc.StatusCode.OK.name, **self._about())

    def _about(self) -> dict[str, str]:
        """Return what an audit line says of the call. Most calls have none, and do not pay for it."""
        return {**({} if self._first is None else _about(self._rule, self._first)), **self._told}

    def note(self, response: Any) -> None:
        """Take into the audit line what the answer alone says: the id of a new key, the tenant that a file names."""
        match response:
            case auth_pb2.CreateKeyResponse():
                self._told["id"] = response.key.id
            case tenants_pb2.ImportTenantResponse():
                self._told["tenant"] = response.tenant.tenant

    def admit(self, request: Any) -> Any:
        """Return the request, or the iterator of them, if it may be made."""
        if isinstance(request, AsyncIterator):
            self._rule.check_rights(self.principal)  # a stream may end before it says anything
            return self._each_admitted(request)
        self._check(request, first=True)
        return request

    async def _each_admitted(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        first = True
        async for request in requests:
            self.principal.check_standing()
            self._check(request, first=first)
            first = False
            yield request

    def _check(self, message: Any, *, first: bool) -> None:
        if first:
            self._first = message
        self._rule.check(self.principal, message, first=first)


def _once(begin: Callable[[Context], _Call], behaviour: Once) -> Once:
    async def call(request: Any, context: Context) -> Any:
        made = begin(context)
        with made.audited():
            response = await behaviour(made.admit(request), context)
            made.note(response)
            return response

    return call


def _many(begin: Callable[[Context], _Call], behaviour: Many) -> Many:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        made = begin(context)
        with made.audited():
            answers: Any = behaviour(made.admit(request), context)
            async with aclosing(answers) as responses:
                async for response in responses:
                    made.principal.check_standing()  # a stream may outlive its credential
                    yield response

    return call


def _about(rule: Rule, message: Any) -> dict[str, str]:
    """Return what an audit line says of a request. Not the whole of a key that somebody sent for its id."""
    paths = {"tenant": rule.tenant, **{path: path for path in rule.also}}
    # What deduplicates a change is another id than that of the call, which is in every line.
    paths |= {"id": "id"} if not rule.tenant else {"dedupe_id": "request_id"}
    fields = message.DESCRIPTOR.fields_by_name
    found = {name: at(message, path) for name, path in paths.items() if path and path.split(".")[0] in fields}
    return {name: value for name, value in found.items() if (is_id if name == "id" else names.is_name)(value)}


def _outcome(error: BaseException) -> str:
    if isinstance(error, MemsvcError):
        return code(error).name
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED.name
    return grpc.StatusCode.INTERNAL.name
