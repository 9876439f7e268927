"""TenantService: each method is validate, ask the engine, convert."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf import empty_pb2, field_mask_pb2

from memsvc import limits
from memsvc.auth.grants import Right
from memsvc.auth.rules import denied
from memsvc.engine.engine import Engine
from memsvc.errors import DeadlineExceededError, InvalidArgumentError
from memsvc.memory.config import Gate, MemoryConfig
from memsvc.memory.presets import preset
from memsvc.server import convert, principal, validate
from memsvc.server.interceptors import deadline
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import decode_create
from memsvc.v1 import tenants_pb2, tenants_pb2_grpc, types_pb2

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

GATES: dict[int, Gate] = {number: gate for gate, number in convert.GATES.items()}  # type: ignore[misc]  # keys of GATES are gates

MESSAGE_BYTES = 256 << 10
"""Of a file in one message."""
SETTINGS = (
    "layers",
    "theta",
    "eta",
    "half_life",
    "gate_value",
    "drift",
    "drift_sigma",
    "drift_windows",
    "restart_tokens",
    "window",
)
"""The fields of a MemoryConfig message that are a memory's settings as they are."""
RETENTIONS = {number: retention for retention, number in convert.RETENTIONS.items()}
DUPLICATES = {number: duplicates for duplicates, number in convert.DUPLICATES.items()}
CHANGEABLE = {
    *(f"memory.{name}" for name in (*SETTINGS, "gate")),
    *(f"policies.{field.name}" for field in types_pb2.Policies.DESCRIPTOR.fields),
}
"""What the mask of an update may name."""
SHOWN = 100
"""Characters of what it does name that an error repeats: a client takes no more than some KB of words."""


class TenantService(tenants_pb2_grpc.TenantServiceServicer):
    """Creates, shows and deletes tenants."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def _dim(self) -> int:
        return self._engine.thread.runner.encoder.dim

    async def CreateTenant(self, request: tenants_pb2.CreateTenantRequest, context: Context) -> types_pb2.Tenant:
        """Create a tenant."""
        tenant = validate.name("tenant.tenant", request.tenant.tenant)
        request_id = validate.request_id(request.request_id)
        memory, policies = self._memory(request.tenant.memory), _policies(request.tenant)
        model = validate.model("tenant.context_memory", request.tenant.context_memory)
        row = await self._engine.create_tenant(tenant, memory, request_id, policies, model)
        return convert.tenant(row, self._dim)

    def _memory(self, asked: types_pb2.MemoryConfig) -> MemoryConfig:
        """Return the server's default, or a preset, with what was asked for.

        Raises:
            InvalidArgumentError: a value is out of its range.
        """
        try:
            base = preset(asked.preset or "default", self._engine.config.memory)
            return MemoryConfig(**{**{name: getattr(base, name) for name in base.__slots__}, **_settings(asked)})
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"tenant.{error.field}", error.description) from None

    async def GetTenant(self, request: tenants_pb2.GetTenantRequest, context: Context) -> types_pb2.Tenant:
        """Return one tenant."""
        tenant = validate.name("tenant", request.tenant)
        mask = request.read_mask if request.HasField("read_mask") else field_mask_pb2.FieldMask(paths=["*"])
        paths = list(mask.paths)
        known = types_pb2.Tenant.DESCRIPTOR
        if paths != ["*"] and not field_mask_pb2.FieldMask(paths=paths).IsValidForDescriptor(known):
            raise InvalidArgumentError("read_mask", "names a field that a tenant does not have")
        row = await self._engine.get_tenant(tenant)
        message = convert.tenant(row, self._dim)
        if paths == ["stats.head_seq"]:  # the store knows: nothing need be opened
            message.stats.head_seq = await self._engine.store.head(row.uid)
        elif any(path.split(".")[0] in {"*", "stats"} for path in paths):
            hashed = any(path in {"*", "stats", "stats.state_hash"} for path in paths)
            try:
                async with await deadline(context):
                    stats = await self._engine.reads.stats(tenant, state_hash=hashed)
            except TimeoutError:
                raise self._late(tenant) from None
            message.stats.CopyFrom(convert.stats(stats))
        if paths == ["*"]:
            return message
        masked = types_pb2.Tenant()
        mask.MergeMessage(message, masked)
        return masked

    def _late(self, tenant: str) -> DeadlineExceededError:
        applied = self._engine.reads.applied_seq(tenant)
        return DeadlineExceededError(
            "the deadline passed before the tenant's view reached the log's head; without stats.state_hash in the "
            "read_mask the figures wait for nothing",
            metadata={} if applied is None else {"applied_seq": str(applied)},
        )

    async def ListTenants(
        self, request: tenants_pb2.ListTenantsRequest, context: Context
    ) -> tenants_pb2.ListTenantsResponse:
        """List the tenants that the caller may read."""
        limit = validate.between("page_size", request.page_size, 1, limits.MAX_PAGE_SIZE, default=100)
        after = validate.read_page_token(request.page_token, "")
        # Others are not even looked at, so that neither time nor a page's token tells of them.
        rows = await self._engine.store.list_tenants(after, limit + 1, principal.current().spans(Right.READ))
        more = len(rows) > limit
        return tenants_pb2.ListTenantsResponse(
            tenants=[convert.tenant(row, self._dim) for row in rows[:limit]],
            next_page_token=validate.page_token(rows[limit - 1].tenant) if more else "",
        )

    async def DeleteTenant(self, request: tenants_pb2.DeleteTenantRequest, context: Context) -> empty_pb2.Empty:
        """Delete a tenant."""
        tenant = validate.name("tenant", request.tenant)
        request_id = validate.request_id(request.request_id)
        await self._engine.delete_tenant(tenant, request_id)
        return empty_pb2.Empty()

    async def UpdateTenant(self, request: tenants_pb2.UpdateTenantRequest, context: Context) -> types_pb2.Tenant:
        """Change how a tenant's memory learns."""
        tenant = validate.name("tenant.tenant", request.tenant.tenant)
        request_id = validate.request_id(request.request_id)
        if not request.update_mask.paths:
            await self._check_fixed(tenant, request.tenant)
        asked = {f"memory.{name}": value for name, value in _settings(request.tenant.memory).items()}
        asked |= {f"policies.{name}": value for name, value in _kept(request.tenant).items()}
        chosen = _masked(asked, request)
        memory, policies = (
            {path.removeprefix(part): value for path, value in chosen.items() if path.startswith(part)}
            for part in ("memory.", "policies.")
        )
        try:
            row = await self._engine.changes.update_tenant(tenant, memory, request_id, _named(policies))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"tenant.{error.field}", error.description) from None
        return convert.tenant(row, self._dim)

    async def _check_fixed(self, tenant: str, asked: types_pb2.Tenant) -> None:
        """Return unless a change asks for what only a creation can have. What the tenant has already may come along.

        Raises:
            InvalidArgumentError: it does.
        """
        if asked.memory.HasField("preset"):
            raise InvalidArgumentError("tenant.memory.preset", "is for creation only: name the settings to change")
        if not asked.context_memory:
            return
        row = await self._engine.get_tenant(tenant)
        if asked.context_memory != decode_create(row.config, self._dim).context_memory:
            raise InvalidArgumentError("tenant.context_memory", "is fixed at creation: create another tenant with it")

    async def RestoreTenant(self, request: tenants_pb2.RestoreTenantRequest, context: Context) -> types_pb2.Tenant:
        """Bring a tenant's past back."""
        tenant = validate.name("tenant", request.tenant)
        as_tenant = validate.name("as_tenant", request.as_tenant, required=False)
        request_id = validate.request_id(request.request_id)
        row = await self._engine.copies.restore(tenant, validate.as_of("to", request.to), as_tenant, request_id)
        return convert.tenant(row, self._dim)

    async def ConfirmRestore(self, request: tenants_pb2.ConfirmRestoreRequest, context: Context) -> empty_pb2.Empty:
        """Destroy what a restored tenant was before."""
        tenant = validate.name("tenant", request.tenant)
        await self._engine.copies.confirm(tenant, validate.request_id(request.request_id))
        return empty_pb2.Empty()

    async def UndoRestore(self, request: tenants_pb2.UndoRestoreRequest, context: Context) -> types_pb2.Tenant:
        """Put a restored tenant back."""
        tenant = validate.name("tenant", request.tenant)
        row = await self._engine.copies.undo(tenant, validate.request_id(request.request_id))
        return convert.tenant(row, self._dim)

    async def ExportTenant(
        self, request: tenants_pb2.ExportTenantRequest, context: Context
    ) -> AsyncIterator[tenants_pb2.ExportTenantResponse]:
        """Stream a tenant as one file."""
        tenant = validate.name("tenant", request.tenant)
        total = await self._engine.copies.exported_bytes(tenant)
        async with aclosing(self._engine.copies.export(tenant)) as parts:
            async for data in _parts(parts):
                yield tenants_pb2.ExportTenantResponse(data=data, total_bytes=total)
                total = 0

    async def ImportTenant(
        self, requests: AsyncIterator[tenants_pb2.ImportTenantRequest], context: Context
    ) -> tenants_pb2.ImportTenantResponse:
        """Make a tenant of an exported file."""
        first = await anext(requests, tenants_pb2.ImportTenantRequest())
        as_tenant = validate.name("as_tenant", first.as_tenant, required=False)
        request_id = validate.request_id(first.request_id)

        async def parts() -> AsyncIterator[bytes]:
            yield first.data
            async for request in requests:
                for field in ("as_tenant", "rebuild", "request_id"):
                    if getattr(request, field):
                        raise InvalidArgumentError(field, "is for the first message only")
                yield request.data

        made = await self._engine.copies.import_(parts(), as_tenant, request_id, _check_name, rebuild=first.rebuild)
        return tenants_pb2.ImportTenantResponse(
            tenant=convert.tenant(made.row, self._dim), head_seq=made.head_seq, adopted=made.adopted
        )

    async def HotRestart(
        self, request: tenants_pb2.HotRestartRequest, context: Context
    ) -> tenants_pb2.HotRestartResponse:
        """Restart a memory's learning."""
        tenant = validate.name("tenant", request.tenant)
        request_id = validate.request_id(request.request_id)
        return tenants_pb2.HotRestartResponse(seq=await self._engine.changes.hot_restart(tenant, request_id))

    async def WatchTenant(
        self, request: tenants_pb2.WatchTenantRequest, context: Context
    ) -> AsyncIterator[types_pb2.Event]:
        """Stream a tenant's events."""
        tenant = validate.name("tenant", request.tenant)
        async with aclosing(self._engine.changes.watch(tenant, request.from_seq)) as events:
            async for event in events:
                yield types_pb2.Event(seq=event.seq, kind=event.kind, figures=event.figures)

    async def VerifyTenant(
        self, request: tenants_pb2.VerifyTenantRequest, context: Context
    ) -> tenants_pb2.VerifyTenantResponse:
        """Fold a tenant's log afresh and compare."""
        tenant = validate.name("tenant", request.tenant)
        found = await self._engine.changes.verify(tenant)
        return tenants_pb2.VerifyTenantResponse(
            seq=found.seq,
            state_hash=found.state_hash,
            folded_hash=found.folded_hash,
            equal=found.state_hash == found.folded_hash,
        )


def _check_name(tenant: str) -> None:
    """Return if the caller may make a tenant of that id, which may come from a file.

    Raises:
        PermissionDeniedError: it may not.
    """
    caller = principal.current()
    if not (caller.may(Right.WRITE, tenant) and caller.may(Right.ADMIN, tenant)):
        raise denied()


async def _parts(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the same bytes in messages of a size that goes well."""
    waiting = bytearray()
    async for frame in frames:
        waiting += frame
        while len(waiting) >= MESSAGE_BYTES:
            yield bytes(waiting[:MESSAGE_BYTES])
            del waiting[:MESSAGE_BYTES]
    if waiting:
        yield bytes(waiting)


def _settings(asked: types_pb2.MemoryConfig) -> dict[str, Any]:
    """Return the settings that a message has.

    Raises:
        InvalidArgumentError: the gate's policy is unknown.
    """
    settings: dict[str, Any] = {field.name: value for field, value in asked.ListFields() if field.name in SETTINGS}
    if asked.HasField("gate") and asked.gate != types_pb2.GATE_POLICY_UNSPECIFIED:
        if asked.gate not in GATES:
            raise InvalidArgumentError("tenant.memory.gate", "is none of this version's policies")
        settings["gate"] = GATES[asked.gate]
    return settings


def _kept(asked: types_pb2.Tenant) -> dict[str, Any]:
    """Return the policies that a message has.

    Raises:
        InvalidArgumentError: one is out of its range.
    """
    message, kept = asked.policies, dict[str, Any]()
    if message.HasField("max_entries"):
        kept["max_entries"] = message.max_entries
    if message.HasField("ttl"):
        kept["ttl"] = message.ttl.seconds * 1_000_000 + message.ttl.nanos // 1_000
    if message.HasField("snapshots") and message.snapshots != types_pb2.SNAPSHOT_RETENTION_UNSPECIFIED:
        if message.snapshots not in RETENTIONS:
            raise InvalidArgumentError("tenant.policies.snapshots", "is none of this version's")
        kept["snapshots"] = RETENTIONS[message.snapshots].value
    if message.HasField("duplicates") and message.duplicates != types_pb2.DUPLICATE_POLICY_UNSPECIFIED:
        if message.duplicates not in DUPLICATES:
            raise InvalidArgumentError("tenant.policies.duplicates", "is none of this version's")
        kept["duplicates"] = DUPLICATES[message.duplicates].value
    return kept


def _policies(asked: types_pb2.Tenant) -> Policies:
    """Return the policies that a message has, with the default's for those that it has not.

    Raises:
        InvalidArgumentError: one is out of its range.
    """
    kept = _named(_kept(asked))
    try:
        return Policies(**kept)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"tenant.{error.field}", error.description) from None


def _named(policies: dict[str, Any]) -> dict[str, Any]:
    """Return a message's policies under their names in `Policies`."""
    return {"ttl_us" if name == "ttl" else name: value for name, value in policies.items()}


def _masked(asked: dict[str, Any], request: tenants_pb2.UpdateTenantRequest) -> dict[str, Any]:
    """Return those of the settings, by path, that the mask names, all without one.

    Raises:
        InvalidArgumentError: the mask names what cannot be changed or is not there, or there is nothing to change.
    """
    chosen: dict[str, Any] = {}
    for path in list(request.update_mask.paths) or ["memory", "policies"]:
        if path in {"memory", "policies"}:
            chosen |= {name: value for name, value in asked.items() if name.startswith(f"{path}.")}
        elif path not in CHANGEABLE:
            raise InvalidArgumentError(
                "update_mask", f"{path[:SHOWN]} cannot be changed; the fields of memory and policies can"
            )
        elif path not in asked:
            raise InvalidArgumentError(f"tenant.{path}", "must be set: the mask names it")
        else:
            chosen[path] = asked[path]
    if not chosen:
        raise InvalidArgumentError("tenant.memory", "must have a setting to change")
    return chosen
