"""The settings that the retriever, the tools and the chat model have in common."""

from typing import Any

from memsvc_client import MemoryClient
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from memsvc_langchain import _tenants
from memsvc_langchain._memory import Memory


class Connected(BaseModel):
    """A server, and whose memory there. With `client` async methods call it in a thread."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    target: str | None = None
    """The server's address, or several; not with `client`."""
    client: MemoryClient | None = Field(default=None, exclude=True, repr=False)
    """A client that its maker closes."""
    tenant: str | None = None
    """Whose memory; when None whom the context of an agent's or a graph's run names."""
    tenant_key: str = "user_id"
    """What the context calls it: a key, or an attribute."""
    create: bool = True
    """Whether a tenant that is not there is created."""

    _memory: Memory = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Make the client.

        Raises:
            ValueError: neither a target nor a client is given, or both are.
        """
        super().model_post_init(context)
        self._memory = Memory(self.target, self.client, create=self.create)

    def _tenant(self) -> str:
        return _tenants.of_run(self.tenant_key) if self.tenant is None else self.tenant
