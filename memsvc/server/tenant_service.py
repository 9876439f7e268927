"""TenantService: each method is validate, ask the engine, convert."""

from typing import Any, TypeAlias

import grpc
from google.protobuf import empty_pb2, field_mask_pb2

from memsvc import limits
from memsvc.engine.engine import Engine
from memsvc.errors import InvalidArgumentError
from memsvc.memory.config import Gate, MemoryConfig
from memsvc.server import convert, validate
from memsvc.v1 import tenants_pb2, tenants_pb2_grpc, types_pb2

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

GATES: dict[int, Gate] = {number: gate for gate, number in convert.GATES.items()}  # type: ignore[misc]  # keys of GATES are gates


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
        request_id = validate.name("request_id", request.request_id, limits.MAX_REQUEST_ID_BYTES, required=False)
        row = await self._engine.create_tenant(tenant, self._memory(request.tenant.memory), request_id)
        return convert.tenant(row, self._dim)

    def _memory(self, asked: types_pb2.MemoryConfig) -> MemoryConfig:
        """Return the server's default with what was asked for.

        Raises:
            InvalidArgumentError: a value is out of its range.
        """
        fields = [field for field in ("layers", "theta", "eta", "half_life", "gate_value") if asked.HasField(field)]
        changes: dict[str, Any] = {field: getattr(asked, field) for field in fields}
        if asked.HasField("gate") and asked.gate != types_pb2.GATE_POLICY_UNSPECIFIED:
            if asked.gate not in GATES:
                raise InvalidArgumentError("tenant.memory.gate", "is none of this version's policies")
            changes["gate"] = GATES[asked.gate]
        default = self._engine.config.memory
        try:
            return MemoryConfig(**{**{name: getattr(default, name) for name in default.__slots__}, **changes})
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
        message = convert.tenant(await self._engine.get_tenant(tenant), self._dim)
        if any(path in {"*", "stats"} or path.startswith("stats.") for path in paths):
            hashed = any(path in {"*", "stats", "stats.state_hash"} for path in paths)
            message.stats.CopyFrom(convert.stats(await self._engine.stats(tenant, state_hash=hashed)))
        if paths == ["*"]:
            return message
        masked = types_pb2.Tenant()
        mask.MergeMessage(message, masked)
        return masked

    async def ListTenants(
        self, request: tenants_pb2.ListTenantsRequest, context: Context
    ) -> tenants_pb2.ListTenantsResponse:
        """List tenants."""
        limit = validate.between("page_size", request.page_size, 1, limits.MAX_PAGE_SIZE, default=100)
        after = validate.read_page_token(request.page_token) or ""
        if not isinstance(after, str):
            raise InvalidArgumentError("page_token", "was not returned by this method")
        rows = await self._engine.store.list_tenants(after, limit + 1)
        more = len(rows) > limit
        return tenants_pb2.ListTenantsResponse(
            tenants=[convert.tenant(row, self._dim) for row in rows[:limit]],
            next_page_token=validate.page_token(rows[limit - 1].tenant) if more else "",
        )

    async def DeleteTenant(self, request: tenants_pb2.DeleteTenantRequest, context: Context) -> empty_pb2.Empty:
        """Delete a tenant."""
        tenant = validate.name("tenant", request.tenant)
        request_id = validate.name("request_id", request.request_id, limits.MAX_REQUEST_ID_BYTES, required=False)
        await self._engine.delete_tenant(tenant, request_id)
        return empty_pb2.Empty()
