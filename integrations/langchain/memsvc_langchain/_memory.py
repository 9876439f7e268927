"""What every adapter is built on: a client, and tenants that are made when they are first used."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from memsvc_client import MemoryClient, Message, NotFoundError, StoredEntry, Token

_Value = TypeVar("_Value")


class Memory:
    """A blocking client, which belongs to no event loop and which threads may share.

    Args:
        target: the server's address, or several; not with `client`.
        client: a client that its maker closes.
        create: whether a tenant that is not there is created.

    Raises:
        ValueError: neither a target nor a client is given, or both are.
    """

    def __init__(self, target: str | None, client: MemoryClient | None, *, create: bool = True) -> None:
        if (target is None) == (client is None):
            raise ValueError('give either target, for example "127.0.0.1:50051", or client')
        self.client = client or MemoryClient(target or "")
        self._create = create

    def call(self, method: Callable[..., _Value], tenant: str, *arguments: Any, **options: Any) -> _Value:
        """Return what a method of the client's says of a tenant, which is created if it has to be.

        Raises:
            MemsvcError: as the method says.
        """
        try:
            return method(tenant, *arguments, **options)
        except NotFoundError as error:
            if not self._create or error.reason != "TENANT_NOT_FOUND":
                raise
        self.client.create_tenant(tenant, exist_ok=True)
        return method(tenant, *arguments, **options)

    def answer(self, tenant: str, prompt: Sequence[Message], **options: Any) -> Iterator[Token]:
        """Yield an answer of the server's language model, as `generate` does. Closing it ends the model's work."""

        def begin(tenant: str) -> tuple[Token, Generator[Token, None, None]]:
            tokens = self.client.generate(tenant, prompt, **options)
            return next(tokens), tokens  # whether there is such a tenant is known when the first is there

        first, rest = self.call(begin, tenant)
        with closing(rest):
            yield first
            yield from rest

    def listed(self, tenant: str, **conditions: Any) -> list[StoredEntry]:
        """Return a tenant's entries that match, in seq order; the conditions are those of `list_entries`."""
        return self.call(lambda tenant: list(self.client.list_entries(tenant, **conditions)), tenant)
