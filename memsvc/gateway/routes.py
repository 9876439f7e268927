"""Which HTTP request is which call: one table, from which requests are served and the OpenAPI document is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from memsvc.v1 import generate_pb2, memory_pb2, tenants_pb2

SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for module in (memory_pb2, tenants_pb2, generate_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
WHOLE = "*"
"""Stands for the whole message where a route says which field its body is."""
_TENANT, _ENTRY = "/v1/tenants/{tenant}", "/v1/tenants/{tenant}/entries/{id}"
_NOWHERE_ELSE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One of them.

    What the path and the body do not say of the message is taken from the query, each field by its path
    (`filter.session`); with a body that is the whole message there is no query.
    """

    verb: str
    path: str
    """Its template; each name in braces is one percent-encoded segment."""
    call: str
    """The method's name."""
    body: str = ""
    """The message's field that the body is; `*` for the whole, empty for none."""
    places: Mapping[str, str] = field(default_factory=lambda: _NOWHERE_ELSE)
    """Where the path's names stand in the message, where that is not a field of that name."""

    @cached_property
    def method(self) -> MethodDescriptor:
        """The call."""
        return next(s.methods_by_name[self.call] for s in SERVICES if self.call in s.methods_by_name)

    @property
    def rpc(self) -> str:
        """The call's path in gRPC."""
        return f"/{self.method.containing_service.full_name}/{self.call}"

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of messages."""
        return bool(self.method.server_streaming)

    @property
    def asks(self) -> Descriptor:
        """The request's type."""
        return self.method.input_type

    @property
    def answers(self) -> Descriptor:
        """The answer's type."""
        return self.method.output_type

    def place(self, name: str) -> str:
        """Return the path in the message of a name in the path."""
        return self.places.get(name, name)


ROUTES: tuple[Route, ...] = (
    Route(verb="GET", path="/v1/tenants", call="ListTenants"),
    Route(verb="POST", path="/v1/tenants", call="CreateTenant", body="tenant"),
    Route(verb="GET", path=_TENANT, call="GetTenant"),
    Route(verb="PATCH", path=_TENANT, call="UpdateTenant", body="tenant", places={"tenant": "tenant.tenant"}),
    Route(verb="DELETE", path=_TENANT, call="DeleteTenant"),
    Route(verb="POST", path=f"{_TENANT}/entries", call="Write", body=WHOLE),
    Route(verb="GET", path=f"{_TENANT}/entries", call="ListEntries"),
    Route(verb="GET", path=_ENTRY, call="GetEntry"),
    Route(verb="PUT", path=_ENTRY, call="UpdateEntry", body="entry", places={"id": "entry.id"}),
    Route(verb="DELETE", path=_ENTRY, call="DeleteEntry"),
    Route(verb="POST", path=f"{_TENANT}/recall", call="Recall", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/generate", call="Generate", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/feedback", call="Feedback", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/forget", call="Forget", body=WHOLE),
    Route(verb="GET", path=f"{_TENANT}/erasures/{{operation}}", call="GetErasure"),
    Route(verb="GET", path=f"{_TENANT}/events", call="WatchTenant"),
    Route(verb="POST", path=f"{_TENANT}/verify", call="VerifyTenant", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/restart", call="HotRestart", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/restore", call="RestoreTenant", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/restore/confirm", call="ConfirmRestore", body=WHOLE),
    Route(verb="POST", path=f"{_TENANT}/restore/undo", call="UndoRestore", body=WHOLE),
)


def new(kind: Descriptor) -> Message:
    """Return an empty message of a type."""
    return GetMessageClass(kind)()
