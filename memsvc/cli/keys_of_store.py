"""The keys of a store, for whoever has its files or its Redis: with the methods of the client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from memsvc_client.types import Key, NewKey

from memsvc.auth.grants import Grant, rights
from memsvc.auth.keyring import KeyRing
from memsvc.auth.keys import ApiKey
from memsvc.cli.output import FAILED, NO_SERVER, USAGE, fail
from memsvc.errors import InvalidArgumentError, MemsvcError, UnavailableError
from memsvc.store.credentials import Credentials

T = TypeVar("T")

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoredKeys:
    """A store's keys.

    Args:
        run: opens the store for one thing to do, and closes it.
    """

    def __init__(self, run: Callable[[Callable[[KeyRing], Coroutine[Any, Any, T]]], T]) -> None:
        self._run: Any = run

    def create_key(self, name: str, grants: Mapping[str, tuple[str, ...]], expire: datetime | None) -> NewKey:
        """Make a key."""
        made = tuple(Grant(tenant, rights("grants", values)) for tenant, values in grants.items())
        expires_us = None if expire is None else (expire - _EPOCH) // _MICROSECOND
        return _new(*self._run(lambda ring: ring.create(name, made, expires_us)))

    def list_keys(self) -> Iterator[Key]:
        """Yield the keys by their ids."""

        async def every(ring: KeyRing) -> list[ApiKey]:
            await ring.refresh()
            return ring.all()

        return map(_key, self._run(every))

    def rotate_key(self, id: str, overlap: timedelta) -> NewKey:
        """Give a key another secret."""
        return _new(*self._run(lambda ring: ring.rotate(id, overlap // _MICROSECOND)))

    def revoke_key(self, id: str) -> Key:
        """Make a key worthless."""
        return _key(self._run(lambda ring: ring.revoke(id)))


@contextmanager
def open_keys(data: Path | None, store: str | None, *, new: bool) -> Iterator[StoredKeys]:
    """Open the keys of a data directory or of a Redis; an error inside ends the command with one plain message.

    Args:
        data: the directory, or None.
        store: the URL of the Redis, or None.
        new: whether a store may be made in the directory.
    """

    def run(do: Callable[[KeyRing], Coroutine[Any, Any, T]]) -> T:
        async def main() -> T:
            async with _open(data, store, new=new) as credentials:
                return await do(KeyRing(credentials))

        return asyncio.run(main())

    try:
        yield StoredKeys(run)
    except InvalidArgumentError as error:
        fail(str(error), USAGE)
    except UnavailableError as error:
        fail(str(error), NO_SERVER)
    except MemsvcError as error:
        fail(str(error), FAILED)


@asynccontextmanager
async def _open(data: Path | None, store: str | None, *, new: bool) -> AsyncIterator[Credentials]:
    if data is not None:
        from memsvc.store.sqlite import SqliteStore  # noqa: PLC0415  # one of the two is needed
        from memsvc.store.sqlite.schema import LOG  # noqa: PLC0415

        if not new and not (data / LOG.name).exists():
            fail(f"{data} is no data directory: there is no {LOG.name} in it", USAGE)
        embedded = SqliteStore.open(data)
        try:
            yield embedded
        finally:
            await embedded.close()
        return
    try:
        from memsvc.store.redis.credentials import credentials_at  # noqa: PLC0415  # an extra
        from memsvc.store.redis.url import parse  # noqa: PLC0415
    except ModuleNotFoundError:
        fail("a store in Redis needs the client library: pip install 'memsvc[redis]'", USAGE)
    async with credentials_at(parse(store or "")) as credentials:
        yield credentials


def _key(key: ApiKey) -> Key:
    return Key(
        id=key.id,
        name=key.name,
        grants={grant.tenant: tuple(sorted(grant.rights)) for grant in key.grants},
        create_time=_time(key.created_us),
        expire_time=None if key.expires_us is None else _time(key.expires_us),
        revoke_time=None if key.revoked_us is None else _time(key.revoked_us),
        rotate_time=None if key.rotated_us is None else _time(key.rotated_us),
    )


def _new(key: ApiKey, secret: str) -> NewKey:
    return NewKey(key=_key(key), secret=secret)


def _time(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND
