"""The Lua scripts, by name."""

from importlib.resources import files

from redis.commands.core import AsyncScript

from memsvc.store.redis.url import Connection


def script(connection: Connection, name: str) -> AsyncScript:
    """Return a script of ours, ready to be called; it is loaded when Redis does not know it."""
    source = files("memsvc.store.redis").joinpath(f"lua/{name}.lua").read_text()
    made: AsyncScript = connection.register_script(source)
    return made
