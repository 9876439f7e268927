"""What a group of operations writes, and its form for the script. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgpack

from memsvc.store.redis.transaction import Cell, Command, Field, Transaction, Value

FIELDS = 256
"""In one command: Lua unpacks a few thousand arguments at most."""


class Packed(NamedTuple):
    """What the script takes."""

    keys: list[str]
    data: bytes
    """What it does with them."""


@dataclass(slots=True)
class Commit:
    """Everything that operations, one after the other, leave behind. Cells are written once, as the last left them."""

    changed: dict[Cell, Value] = field(default_factory=dict)
    lifetimes: dict[Cell, int] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    presumed: list[Cell] = field(default_factory=list)
    """Cells that are absent, or nothing may be written."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.commands or self.presumed)

    def add(self, tx: Transaction) -> None:
        """Add what one more operation wrote."""
        self.changed.update(tx.changed)
        self.lifetimes.update(tx.lifetimes)
        self.commands += tx.commands
        self.presumed += tx.presumed

    def packed(self, keys: Iterable[str]) -> Packed:
        """Return it for the script, whose first keys are these."""
        places = {key: place for place, key in enumerate(keys, 1)}

        def place(key: str) -> int:
            return places.setdefault(key, len(places) + 1)

        presumed = [(place(key),) if name is None else (place(key), name) for key, name in self.presumed]
        writes = [(command, place(key), *given) for command, key, given in self._writes()]
        # Redis's own msgpack knows no other strings.
        data: bytes = msgpack.packb((presumed, writes), use_bin_type=False)
        return Packed(list(places), data)

    def _writes(self) -> Iterator[Command]:
        """Yield all commands. Hashes come last: should Redis break off, no index names what is not there."""
        put: dict[str, list[Field]] = {}
        dropped: dict[str, list[Field]] = {}
        for cell, value in self.changed.items():
            key, name = cell
            data = value if value is None or isinstance(value, bytes) else value.encode()
            if name is None:
                yield _key(key, data, self.lifetimes.get(cell))
            elif data is None:
                dropped.setdefault(key, []).append(name)
            else:
                put.setdefault(key, []).extend((name, data))
        yield from self.commands
        for command, hashes, size in (("HSET", put, 2 * FIELDS), ("HDEL", dropped, FIELDS)):
            for key, names in hashes.items():
                for at in range(0, len(names), size):
                    yield command, key, tuple(names[at : at + size])


def _key(key: str, data: bytes | None, lifetime: int | None) -> Command:
    if data is None:
        return "UNLINK", key, ()
    return "SET", key, (data,) if lifetime is None else (data, "PX", lifetime)
