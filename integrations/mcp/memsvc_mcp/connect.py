"""How the server of the protocol reaches memsvc: one that runs, or one of its own."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from memsvc_client import TLS, AsyncMemoryClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where, and as whom."""

    target: str | None = None
    """The server's address, or several with commas between; None starts one of its own."""
    data: Path
    """Directory of the own one."""
    api_key: str | None = field(default=None, repr=False)
    """What the server asks for, if anything."""
    tls: bool = False
    """Whether the connection is encrypted."""
    tls_ca: Path | None = None
    """Authority of the server's certificate."""

    async def open(self) -> AsyncMemoryClient:
        """Return a client.

        Raises:
            MemsvcError: a setting is wrong, or the own server cannot be started.
        """
        if self.target is None:
            return await AsyncMemoryClient.embedded(self.data)
        return AsyncMemoryClient(
            self.target, api_key=self.api_key, tls=TLS(ca=self.tls_ca) if self.tls_ca else self.tls
        )


def default_data() -> Path:
    """Return the directory of a server of one's own: of the user's, as clients start us anywhere."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "memsvc"
