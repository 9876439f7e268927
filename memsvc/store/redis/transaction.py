"""What one operation reads and writes of a shard. Pure.

An operation is a plain function of a transaction. It asks for cells, a key or a field of a hash; where one was not read
yet, `Unread` names all that it asked for, the committer reads them for all operations of a group at once and calls the
operation again. What is most likely not there is not read at all: the commit looks, and if it is there after all the
operation is called again, once it is read. So it must do nothing but read and write the transaction until it returns.
"""

from collections.abc import Iterable, MutableMapping
from typing import Protocol, Self, TypeAlias, TypeVar

from memsvc.store.redis.keys import ShardKeys

Field: TypeAlias = bytes | str | int
Cell: TypeAlias = tuple[str, Field | None]
"""A key with None, or a hash's key with a field. A plain tuple: one record makes a dozen."""
Command: TypeAlias = tuple[str, str, tuple[Field, ...]]
"""A command of Redis, its key, and what else it is given."""


class Decoded(Protocol):
    """What may be in a cell in place of its bytes, so that a group decodes it once and encodes it once."""

    def encode(self) -> bytes:
        """Return it as bytes."""
        ...

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read it."""
        ...


Value: TypeAlias = bytes | Decoded | None
"""What a cell holds; None for nothing."""
D = TypeVar("D", bound=Decoded)


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
        known: what was read or written before; what is decoded of it takes its place.
        presumes: whether it may take a cell for absent that the commit looks at.
    """

    def __init__(
        self,
        keys: ShardKeys,
        epoch: int,
        now_us: int,
        known: MutableMapping[Cell, Value],
        *,
        presumes: bool = False,
    ) -> None:
        self.keys, self.epoch, self.now_us, self._presumes = keys, epoch, now_us, presumes
        self.changed: dict[Cell, Value] = {}
        """Cells as this operation leaves them."""
        self.lifetimes: dict[Cell, int] = {}
        """Milliseconds until Redis drops one of them, if it does."""
        self.commands: list[Command] = []
        """What is written beside cells."""
        self.presumed: dict[Cell, None] = {}
        """Cells that it took for absent."""
        self._known = known

    # --- reading --------------------------------------------------------------------------------------------------

    def want(self, cells: Iterable[Cell]) -> None:
        """Have cells read together, before they are asked for one by one."""
        if missing := {cell for cell in cells if cell not in self._known and cell not in self.changed}:
            raise Unread(missing)

    def presume_absent(self, cells: Iterable[Cell]) -> None:
        """Take cells for absent, where they are not known and may be presumed; have the others read."""
        if not self._presumes:
            self.want(cells)
            return
        for cell in cells:
            if cell not in self._known and cell not in self.changed:
                self.presumed[cell] = None

    def get(self, key: str) -> bytes | None:
        """Return the value of a key."""
        return self.hget(key, None)

    def hget(self, key: str, field: Field | None) -> bytes | None:
        """Return a field of a hash."""
        value = self._cell((key, field))
        return value if value is None or isinstance(value, bytes) else value.encode()

    def find(self, key: str, field: Field, kind: type[D]) -> D | None:
        """Return a field of a hash, decoded.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        cell = key, field
        value = self._cell(cell)
        if value is None or isinstance(value, kind):
            return value
        decoded = kind.decode(value if isinstance(value, bytes) else value.encode())
        (self.changed if cell in self.changed else self._known)[cell] = decoded
        return decoded

    def _cell(self, cell: Cell) -> Value:
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
        """Write a key: one that is dropped by itself always so."""
        self.changed[key, None] = value
        if expire_ms is not None:
            self.lifetimes[key, None] = expire_ms

    def delete(self, key: str) -> None:
        """Delete a key that is no hash."""
        self.changed[key, None] = None

    def hset(self, key: str, field: Field, value: bytes | Decoded) -> None:
        """Write a field of a hash."""
        self.changed[key, field] = value

    def hdel(self, key: str, field: Field) -> None:
        """Delete a field of a hash."""
        self.changed[key, field] = None

    def xadd(self, key: str, id: str, value: bytes) -> None:
        """Append to a stream."""
        self.commands.append(("XADD", key, (id, "r", value)))

    def zadd(self, key: str, score: int, member: bytes | str) -> None:
        """Put into a sorted set."""
        self.commands.append(("ZADD", key, (score, member)))

    def zrem(self, key: str, member: bytes | str) -> None:
        """Take out of a sorted set."""
        self.commands.append(("ZREM", key, (member,)))

    def sadd(self, key: str, member: str) -> None:
        """Put into a set."""
        self.commands.append(("SADD", key, (member,)))

    def srem(self, key: str, member: str) -> None:
        """Take out of a set."""
        self.commands.append(("SREM", key, (member,)))
