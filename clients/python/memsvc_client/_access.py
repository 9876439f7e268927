"""What a client shows to servers, and on what connections."""

from __future__ import annotations  # gRPC's classes take type arguments in their stubs only

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from memsvc_client import _addresses, _tls, _values
from memsvc_client._tls import TLS

if TYPE_CHECKING:
    import grpc

_KEY = re.compile(r"[\x21-\x7e]+")


class Access:
    """Encryption and the API key, the same towards every server, also one that another names.

    Args:
        api_key: the key, or what returns it; None where servers ask for none.
        tls: whether connections are encrypted, and how.
        allow_plaintext_key: whether the key may leave this machine without encryption.

    Raises:
        InvalidArgumentError: one of them is wrong, or a file of `tls`; names the field.
    """

    def __init__(self, api_key: str | Callable[[], str] | None, tls: bool | TLS, allow_plaintext_key: bool) -> None:
        self._key = None if api_key is None else _Key(api_key)
        if not isinstance(tls, bool | TLS):
            raise _values.wrong("tls", f"must be a bool or a TLS, not {type(tls).__name__}")
        self.credentials: grpc.ChannelCredentials | None = None
        if tls:
            self.credentials = _tls.credentials(TLS() if tls is True else tls)
        self._plaintext = _values.boolean("allow_plaintext_key", allow_plaintext_key)

    def check(self, addresses: Iterable[str]) -> None:
        """See that the key goes to none of these addresses where others could read it on the way.

        Raises:
            InvalidArgumentError: it would.
        """
        if self._key is None or self.credentials is not None or self._plaintext:
            return
        for address in addresses:
            if not _addresses.stays_here(address):
                raise _values.wrong(
                    "api_key",
                    f"would go to {address} unencrypted; set tls, or allow_plaintext_key if the network is safe",
                )

    def over(self, channel: Any) -> Any:
        """Return a channel, blocking or asyncio, as far as stubs use one; its calls carry the key."""
        return channel if self._key is None else _Keyed(channel, self._key)


class _Key:
    """A key that shows in no representation, trace or message."""

    def __init__(self, api_key: str | Callable[[], str]) -> None:
        if not callable(api_key):
            _check(api_key)
        self._get = api_key if callable(api_key) else lambda: api_key

    def beside(self, metadata: Iterable[tuple[str, str]] | None) -> tuple[tuple[str, str], ...]:
        """Return what a call carries: the key, and what it carries anyway.

        Raises:
            InvalidArgumentError: what returns the key returned none.
        """
        return (*(metadata or ()), ("authorization", f"Bearer {_check(self._get())}"))


def _check(key: object) -> str:
    # gRPC would repeat what it cannot send in its own words.
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _values.wrong("api_key", "must be of visible ASCII characters, without spaces")
    return key


class _Keyed:
    """Credentials of gRPC's for calls exist on encrypted channels only, and cost a change of threads; this does not."""

    def __init__(self, channel: Any, key: _Key) -> None:
        self._channel, self._key = channel, key

    def unary_unary(self, *args: Any, **kwargs: Any) -> _KeyedMethod:
        return _KeyedMethod(self._channel.unary_unary(*args, **kwargs), self._key)

    def unary_stream(self, *args: Any, **kwargs: Any) -> _KeyedMethod:
        return _KeyedMethod(self._channel.unary_stream(*args, **kwargs), self._key)

    def stream_unary(self, *args: Any, **kwargs: Any) -> _KeyedMethod:
        return _KeyedMethod(self._channel.stream_unary(*args, **kwargs), self._key)

    def stream_stream(self, *args: Any, **kwargs: Any) -> _KeyedMethod:
        return _KeyedMethod(self._channel.stream_stream(*args, **kwargs), self._key)


class _KeyedMethod:
    def __init__(self, method: Any, key: _Key) -> None:
        self._method, self._key = method, key

    def __call__(self, *args: Any, metadata: Any = None, **kwargs: Any) -> Any:
        return self._method(*args, metadata=self._key.beside(metadata), **kwargs)

    def future(self, *args: Any, metadata: Any = None, **kwargs: Any) -> Any:
        return self._method.future(*args, metadata=self._key.beside(metadata), **kwargs)
