"""The server's life: listen, warm up, serve, drain."""

import asyncio
import gc
import logging
import signal
import sys
from contextlib import suppress

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from memsvc import failpoints, limits
from memsvc.engine import heap
from memsvc.engine.engine import Engine
from memsvc.errors import UnavailableError
from memsvc.server import listener
from memsvc.server.config import Settings
from memsvc.server.health import Health
from memsvc.server.interceptors import CallInterceptor
from memsvc.server.memory_service import MemoryService
from memsvc.server.stores import open_store, store_name
from memsvc.server.tenant_service import TenantService
from memsvc.store.base import Store
from memsvc.v1 import memory_pb2, memory_pb2_grpc, tenants_pb2, tenants_pb2_grpc

log = structlog.get_logger("memsvc.server")

OPTIONS = [
    ("grpc.max_receive_message_length", limits.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 2 * limits.MAX_MESSAGE_BYTES),
    # Two servers on one port would share its calls without a word.
    ("grpc.so_reuseport", 0),
    # A stalled stream buffers 5 MiB with the probe, 124 KiB without.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
]


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        MemsvcError: the data directory, the encoder or the port cannot be had, or the failpoints cannot be read.
    """
    _configure_logging(settings)
    if armed := failpoints.armed():
        log.warning("failpoints are armed: this process is to fail", sites=sorted(armed))
    heap.prepare()
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, on the running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    calls = CallInterceptor()
    server = listener.server([calls], OPTIONS)
    # Before the store is opened: a process is known to others by its port, and a port of ours is nobody else's.
    address = _listen(server, settings)
    store = await open_store(settings, address)
    try:
        await _serve(settings, server, calls, store, stop, address=address)
    finally:
        await store.close()


def _listen(server: grpc.aio.Server, settings: Settings) -> str:
    """Take the port; return host and port.

    Raises:
        UnavailableError: it cannot be had.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError as error:
        raise UnavailableError(f"port {settings.port} on {settings.host} cannot be had; is it taken?") from error
    return f"{host}:{port}"


async def _serve(
    settings: Settings,
    server: grpc.aio.Server,
    calls: CallInterceptor,
    store: Store,
    stop: asyncio.Event,
    *,
    address: str,
) -> None:
    engine = Engine(store, settings.engine())
    health = Health(calls)
    memory = MemoryService(engine)
    memory_pb2_grpc.add_MemoryServiceServicer_to_server(memory, server)
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(TenantService(engine), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    names = [module.DESCRIPTOR.services_by_name for module in (memory_pb2, tenants_pb2, health_pb2)]
    services = [service.full_name for by_name in names for service in by_name.values()]
    reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server)
    await server.start()
    await health.alive()
    try:
        await engine.start()
    except BaseException:
        await server.stop(None)
        raise
    # What was loaded stays: a collection need not walk the million objects of the libraries, which takes half a second
    # and, as they are so many, would come too rarely to free the views of tenants that were let go.
    gc.collect()
    gc.freeze()
    await health.ready()
    watch = asyncio.create_task(health.watch(store))
    log.info("serving", address=address, store=store_name(settings), encoder=settings.encoder)
    print(f"memsvc listening on {address}", flush=True)

    await stop.wait()
    log.info("draining")
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    await health.drain()
    memory.draining.set()
    await server.stop(settings.drain_s)
    await engine.close()
    log.info("stopped")


def _configure_logging(settings: Settings) -> None:
    """Structured logs on stderr: ids and figures, never text or secrets."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")
    renderer = structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
