"""What a store promises about credentials: one small table for the whole deployment, whatever shards there are.

The store knows nothing of what is in a credential: ids and bytes.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol


class CredentialTable(NamedTuple):
    """Every credential of a deployment, as of one version."""

    version: int
    """Grows by one with each change; 0 before the first."""
    bodies: Mapping[str, bytes]
    """By id."""


class Credentials(Protocol):
    """Credentials, changed by whoever saw them last."""

    async def credentials(self) -> CredentialTable:
        """Return the whole table.

        Raises:
            UnavailableError: the store cannot be read.
        """
        ...

    async def credentials_version(self) -> int:
        """Return the table's version; a fraction of the table's cost, for it is asked once a second.

        Raises:
            UnavailableError: the store cannot be read.
        """
        ...

    async def change_credentials(self, version: int, put: Mapping[str, bytes], drop: Collection[str] = ()) -> int:
        """Put and drop credentials, all of them or none, durably; return the version that this makes.

        Args:
            version: of the table that the change rests on.
            put: bodies by id, new ones or in place of older ones.
            drop: ids to forget; one that is not there is none the less gone.

        Raises:
            FailedPreconditionError: the table is of another version by now (reason CREDENTIALS_CHANGED); nothing is
                changed.
            UnavailableError: the store cannot write; in Redis it may have been written all the same.
        """
        ...
