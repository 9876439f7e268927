"""The server's life: listen, warm up, serve, drain."""

import asyncio
import gc
import os
import signal
import sys
import tomllib

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError

from memsvc import failpoints, limits
from memsvc.auth.keyring import KeyRing
from memsvc.engine import heap
from memsvc.engine.engine import Engine
from memsvc.recall import pages
from memsvc.server import addresses, listener, logs, users
from memsvc.server.answering import answering
from memsvc.server.audit import Audit
from memsvc.server.auth_service import AuthService
from memsvc.server.authentication import AuthInterceptor
from memsvc.server.config import CONFIG_VARIABLE, Settings
from memsvc.server.credentials import followed_keys, make_authenticator
from memsvc.server.generate_service import GenerateService
from memsvc.server.generation_quotas import GenerationQuotas
from memsvc.server.health import Health
from memsvc.server.http import open_gateway
from memsvc.server.interceptors import CallInterceptor
from memsvc.server.memory_service import MemoryService
from memsvc.server.quota_interceptor import QuotaInterceptor
from memsvc.server.quotas import Quotas
from memsvc.server.storage_quotas import StorageQuotas
from memsvc.server.stores import open_store, store_name
from memsvc.server.tenant_service import TenantService
from memsvc.server.watch import Watch
from memsvc.server.writing_quotas import WritingQuotas
from memsvc.tasks import end
from memsvc.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    generate_pb2,
    generate_pb2_grpc,
    memory_pb2,
    memory_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
)

log = structlog.get_logger("memsvc.server")

SWITCH_S = 0.0001
"""A thread that computes gives way to one that waits after so long; Python's 5 ms fall due at every step of the event
loop that lets go of the interpreter, and a call has many."""
SERVED = (memory_pb2, tenants_pb2, generate_pb2, auth_pb2, health_pb2)
OPTIONS = [
    ("grpc.max_receive_message_length", limits.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 2 * limits.MAX_MESSAGE_BYTES),
    # Two servers on one port would share its calls without a word.
    ("grpc.so_reuseport", 0),
    # A stalled stream buffers 5 MiB with the probe, 124 KiB without.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.keepalive_permit_without_calls", 1),
    # Half of what the client waits between pings: clocks differ, and whoever pings too often is cut off.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        MemsvcError: the data directory, the encoder, a certificate or the port cannot be had, or the failpoints cannot
            be read.
    """
    logs.configure(settings.log_level, as_json=settings.log_json)
    if armed := failpoints.armed():
        log.warning("failpoints are armed: this process is to fail", sites=sorted(armed))
    if settings.open_sides:
        log.warning("whoever reaches the port is served", host=settings.host, without=settings.open_sides)
    heap.prepare()
    pages.folder = None if settings.store.get_secret_value() else settings.data
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, on the running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watch, quotas = Watch(settings), Quotas(settings.quotas)
    if CONFIG_VARIABLE in os.environ:  # without a file there is nothing to read anew, and a hangup ends the server
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload, quotas, settings)
    calls, auth = CallInterceptor(watch.telemetry), AuthInterceptor(Audit())
    # Quotas count for whom the interceptor before them has found to call.
    server = listener.server([calls, auth, QuotaInterceptor(quotas)], OPTIONS)
    # Before the store is opened: a process is known to others by its port, and a port of ours is nobody else's.
    address = addresses.listen(server, settings)
    with open_gateway(settings, server, auth.knows) as gateway:
        if settings.while_held is not None:
            users.watch(settings.while_held, stop)
        store = watch.store(await open_store(settings, address))
        try:
            async with followed_keys(settings, store) as keys:
                auth.open(None if keys is None else await make_authenticator(settings, keys))
                engine, health = Engine(store, settings.engine(), watch.telemetry), Health(calls, watch.telemetry)
                engine.thread.meter = WritingQuotas(quotas).meter
                holdings = StorageQuotas(quotas, engine.reads)
                memory = MemoryService(engine, holdings)
                async with watch.over(engine), answering(settings) as backbone:
                    if backbone is not None:
                        engine.caches.append(backbone.forget)
                    generate = GenerateService(engine, backbone, holdings, GenerationQuotas(quotas))
                    generate_pb2_grpc.add_GenerateServiceServicer_to_server(generate, server)
                    async with gateway:
                        await _serve(settings, server, engine, health, memory, stop=stop, keys=keys, address=address)
        finally:
            await store.close()


async def _serve(
    settings: Settings,
    server: grpc.aio.Server,
    engine: Engine,
    health: Health,
    memory: MemoryService,
    *,
    stop: asyncio.Event,
    keys: KeyRing | None,
    address: str,
) -> None:
    memory_pb2_grpc.add_MemoryServiceServicer_to_server(memory, server)
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(TenantService(engine), server)
    auth_pb2_grpc.add_AuthServiceServicer_to_server(AuthService(keys), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    if not settings.auth:  # it would have to be asked for a credential too, and the protos are at hand elsewhere
        names = [module.DESCRIPTOR.services_by_name for module in SERVED]
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
    watch = asyncio.create_task(health.watch(engine.store))
    log.info("serving", address=address, store=store_name(settings), encoder=settings.encoder)
    print(f"memsvc listening on {address}", flush=True)

    await stop.wait()
    log.info("draining")
    engine.store.retire()
    await end(watch)
    await health.drain()
    memory.draining.set()
    await server.stop(settings.drain_s)
    await engine.close()
    log.info("stopped")


def reload(quotas: Quotas, settings: Settings) -> None:
    """Take the quotas from the settings as they are now; those that are wrong change nothing."""
    try:
        config = settings.quotas_now()
    except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        log.error("the settings cannot be read: the quotas stay as they are", reason=_why(error))
    else:
        quotas.change(config)
        log.info("the quotas are read anew", tenants=len(config.tenants), principals=len(config.principals))


def _why(error: Exception) -> str:
    """Return what is wrong, without the values: a secret may be among them."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return str(error)
