"""The Lua scripts, by name."""

from importlib.resources import files

from redis.commands.core import AsyncScript

from memsvc.store.redis.url import Connection


def script(connection: Connection, name: str) -> AsyncScript:
    """Return a script of ours, ready to be called; it is loaded when Redis does not know it."""
    made: AsyncScript = connection.register_script(source(name))
    return made


def source(name: str) -> str:
    """Return the text of a script of ours."""
    return files("memsvc.store.redis").joinpath(f"lua/{name}.lua").read_text()
