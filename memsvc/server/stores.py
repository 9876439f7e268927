"""Which store a server is on."""

from memsvc.errors import FailedPreconditionError
from memsvc.server.config import Settings
from memsvc.store.base import Store
from memsvc.store.sqlite import SqliteStore


async def open_store(settings: Settings, address: str) -> Store:
    """Open the store that the settings name, for a process that listens on an address.

    Raises:
        MemsvcError: it cannot be opened, or promises too little.
    """
    if not (url := settings.store.get_secret_value()):
        return SqliteStore.open(settings.data)
    try:
        from memsvc.store.redis.store import RedisOptions, RedisStore  # noqa: PLC0415  # an extra
        from memsvc.store.redis.url import parse  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            "a store in Redis needs its client: pip install 'memsvc[redis]'", reason="EXTRA_MISSING"
        ) from error
    options = RedisOptions(
        address=settings.advertise or address,
        shards=settings.shards,
        lease_s=settings.lease_s,
        allow_weak=settings.allow_weak_durability,
    )
    return await RedisStore.open(parse(url), options)


def store_name(settings: Settings) -> str:
    """Return the store as it may be logged."""
    if not (url := settings.store.get_secret_value()):
        return str(settings.data)
    from memsvc.store.redis.url import parse  # noqa: PLC0415  # an extra

    return str(parse(url))
