"""What a group of operations writes, and its form for the script. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgpack

from memsvc.store.redis.transaction import Cell, Command, Field, Transaction, Value

FIELDS = 512
"""Fields and values in one command, an even number: Lua unpacks a few thousand arguments at most."""


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
        writes: list[tuple[Field, ...]] = []
        hashes: dict[tuple[str, str], list[Field]] = {}  # by command and key
        for cell, value in self.changed.items():
            key, name = cell
            data = value if value is None or isinstance(value, bytes) else value.encode()
            if name is not None:
                fields = hashes.setdefault(("HDEL" if data is None else "HSET", key), [])
                fields += (name,) if data is None else (name, data)
            elif data is None:
                writes.append(("UNLINK", place(key)))
            elif cell in self.lifetimes:
                writes.append(("SET", place(key), data, "PX", self.lifetimes[cell]))
            else:
                writes.append(("SET", place(key), data))
        writes += [(command, place(key), *given) for command, key, given in self.commands]
        # Hashes come last: should Redis break off, no index names what is not there.
        for (command, key), fields in hashes.items():
            at = place(key)
            writes += [(command, at, *fields[start : start + FIELDS]) for start in range(0, len(fields), FIELDS)]
        # Redis's own msgpack knows no other strings.
        packed: bytes = msgpack.packb((presumed, writes), use_bin_type=False)
        return Packed(list(places), packed)
