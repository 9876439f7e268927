"""What one operation reads and writes of a shard. Pure.

An operation is a plain function of a transaction. It asks for cells, a key or a field of a hash; where one was not read
yet, `Unread` names all that it asked for, the committer reads them for all operations of a group at once and calls the
operation again. What is most likely not there is not read at all: the commit looks, and if it is there after all the
operation is called again, once it is read. So it must do nothing but read and write the transaction until it returns.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from memsvc.store.redis.keys import ShardKeys


class Cell(NamedTuple):
    """A key, or a field of a hash."""

    key: str
    field: bytes | str | int | None = None


class Write(NamedTuple):
    """A command of Redis."""

    command: str
    key: str
    arguments: tuple[bytes | str | int, ...]


class Unread(Exception):  # noqa: N818  # no error: the operation is called again
    """Cells that must be read first."""

    def __init__(self, cells: set[Cell]) -> None:
        super().__init__(len(cells))
        self.cells = cells


class Transaction:
    """One operation's reads and writes.

    Args:
        keys: of the shard.
        epoch: of its owner.
        now_us: what time it is.
        known: what was read or written before, by cell; None where there is nothing.
        presumes: whether it may take a cell for absent that the commit looks at.
    """

    def __init__(
        self, keys: ShardKeys, epoch: int, now_us: int, known: Mapping[Cell, bytes | None], *, presumes: bool = False
    ) -> None:
        self.keys, self.epoch, self.now_us, self._presumes = keys, epoch, now_us, presumes
        self.writes: list[Write] = []
        self.changed: dict[Cell, bytes | None] = {}
        """Cells as this operation leaves them."""
        self.presumed: dict[Cell, None] = {}
        """Cells that it took for absent."""
        self._known = known

    # --- reading --------------------------------------------------------------------------------------------------

    def want(self, cells: Iterable[Cell]) -> None:
        """Have cells read together, before they are asked for one by one."""
        if missing := {cell for cell in cells if cell not in self.changed and cell not in self._known}:
            raise Unread(missing)

    def presume_absent(self, cells: Iterable[Cell]) -> None:
        """Take cells for absent, where they are not known and may be presumed; have the others read."""
        if not self._presumes:
            self.want(cells)
            return
        for cell in cells:
            if cell not in self.changed and cell not in self._known:
                self.presumed[cell] = None

    def get(self, key: str) -> bytes | None:
        """Return the value of a key."""
        return self._cell(Cell(key))

    def hget(self, key: str, field: bytes | str | int) -> bytes | None:
        """Return a field of a hash."""
        return self._cell(Cell(key, field))

    def _cell(self, cell: Cell) -> bytes | None:
        if cell in self.changed:
            return self.changed[cell]
        if cell in self.presumed:
            return None
        try:
            return self._known[cell]
        except KeyError:
            raise Unread({cell}) from None

    # --- writing --------------------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes, expire_ms: int | None = None) -> None:
        """Write a key."""
        self.changed[Cell(key)] = value
        self._write("SET", key, value, *(() if expire_ms is None else ("PX", expire_ms)))

    def delete(self, key: str) -> None:
        """Delete a key that is no hash."""
        self.changed[Cell(key)] = None
        self._write("UNLINK", key)

    def hset(self, key: str, field: bytes | str | int, value: bytes) -> None:
        """Write a field of a hash."""
        self.changed[Cell(key, field)] = value
        self._write("HSET", key, field, value)

    def hdel(self, key: str, field: bytes | str | int) -> None:
        """Delete a field of a hash."""
        self.changed[Cell(key, field)] = None
        self._write("HDEL", key, field)

    def xadd(self, key: str, id: str, value: bytes) -> None:
        """Append to a stream."""
        self._write("XADD", key, id, "r", value)

    def zadd(self, key: str, score: int, member: bytes | str) -> None:
        """Put into a sorted set."""
        self._write("ZADD", key, score, member)

    def zrem(self, key: str, member: bytes | str) -> None:
        """Take out of a sorted set."""
        self._write("ZREM", key, member)

    def sadd(self, key: str, member: str) -> None:
        """Put into a set."""
        self._write("SADD", key, member)

    def srem(self, key: str, member: str) -> None:
        """Take out of a set."""
        self._write("SREM", key, member)

    def _write(self, command: str, key: str, *arguments: bytes | str | int) -> None:
        self.writes.append(Write(command, key, arguments))
