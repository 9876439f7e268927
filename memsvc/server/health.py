"""Health: liveness apart from readiness.

`liveness` is SERVING as soon as the event loop answers; `""` and the services' names are once the store can be read
and written and the engine is warm, and stop being so when the store fails or a shutdown begins.
"""

import asyncio

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from memsvc.errors import MemsvcError
from memsvc.observability.telemetry import Telemetry
from memsvc.server.interceptors import CallInterceptor
from memsvc.store.base import Store

log = structlog.get_logger("memsvc.health")

LIVENESS = "liveness"
READINESS = ("", "memsvc.v1.MemoryService", "memsvc.v1.TenantService", "memsvc.v1.AuthService")
CHECK_S = 5.0

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Keeps the health service's answers true."""

    def __init__(self, calls: CallInterceptor, telemetry: Telemetry) -> None:
        self.servicer = HealthServicer()
        self._calls, self._telemetry = calls, telemetry

    async def alive(self) -> None:
        """The loop answers; nothing is served yet."""
        await self.servicer.set(LIVENESS, SERVING)
        await self._set_ready(NOT_SERVING)

    async def watch(self, store: Store) -> None:
        """Be ready while the store is; never returns."""
        while True:
            try:
                await store.check()
            except MemsvcError as error:
                log.error("store not ready", reason=str(error))
                await self._set_ready(NOT_SERVING)
            else:
                await self._set_ready(SERVING)
            await asyncio.sleep(CHECK_S)

    async def ready(self) -> None:
        """Everything is warm."""
        self._calls.ready = True
        await self._set_ready(SERVING)

    async def drain(self) -> None:
        """A shutdown begins: take no new work."""
        await self._set_ready(NOT_SERVING)

    async def _set_ready(self, status: int) -> None:
        self._telemetry.ready(status == SERVING)
        for service in READINESS:
            await self.servicer.set(service, status)
