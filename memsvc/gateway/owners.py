"""The other processes of a deployment, which own what this one does not."""

from contextlib import AbstractAsyncContextManager

from memsvc_client import TLS
from memsvc_client._access import Access
from memsvc_client._addresses import is_loopback
from memsvc_client._peers import AioPeer, AioPeers


class Owners:
    """Reaches them as a client would, with what its callers show and nothing of this process's own.

    Args:
        tls: whether connections to them are encrypted, and whose certificates count; None reaches none.
        plaintext: whether what callers show may leave this machine unencrypted.

    Raises:
        InvalidArgumentError: a file of `tls` cannot be used.
    """

    def __init__(self, tls: bool | TLS | None, *, plaintext: bool) -> None:
        self._peers = AioPeers(Access(None, tls or False, allow_plaintext_key=False))
        self._any = tls is not None
        self._anywhere = bool(tls) or plaintext

    def reaches(self, address: str) -> bool:
        """Whether a call may go to an address."""
        return self._any and (self._anywhere or is_loopback(address))

    def at(self, address: str) -> AbstractAsyncContextManager[AioPeer]:
        """Hold the process at an address that is reached."""
        return self._peers.at(address)

    async def close(self) -> None:
        """End it. Calls under way fail."""
        await self._peers.close()
