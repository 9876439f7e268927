"""How a call ends that is refused."""

import weakref

import pytest

from memsvc.errors import InvalidArgumentError
from memsvc.server.errors import abort


class _EndedError(Exception):
    """Stands for gRPC's own."""


class _Context:
    """Keeps what ended the call in a cycle with itself, as gRPC's does."""

    async def abort(self, *_: object) -> None:
        self.ended = _EndedError()
        raise self.ended


class _Found:
    """What a handler found, a thousand hits, say."""


async def test_nothing_that_the_handler_held_waits_for_the_collector() -> None:
    context, held = _Context(), list[weakref.ref[_Found]]()

    async def handle() -> None:
        found = _Found()
        held.append(weakref.ref(found))
        try:
            raise ValueError("too many")
        except ValueError as error:
            raise InvalidArgumentError("k", "ask for fewer") from error

    async def call() -> None:
        try:
            await handle()
        except InvalidArgumentError as error:
            await abort(context, error)

    with pytest.raises(_EndedError):
        await call()
    assert held[0]() is None
