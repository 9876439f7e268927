"""A tenant's memory for clients of the Model Context Protocol: tools and resources over stdio or HTTP."""

from memsvc_mcp.memory import Memory
from memsvc_mcp.server import make_server

__all__ = ["Memory", "make_server"]
