"""Makes a backup's tenants again, on any deployment that reads their format."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from memsvc_client import AlreadyExistsError, MemoryClient, MemsvcError

from memsvc.backup import check
from memsvc.backup.directory import Directory
from memsvc.backup.manifest import Saved

Told = Callable[[int, int], object]
"""Called with the tenants that are done, and how many there are."""


class Restored(NamedTuple):
    """What became of one tenant of a backup."""

    tenant: str
    outcome: str
    """`restored`, `adopted` (its state is of other numerics, taken as it is), `exists`, or what went wrong."""

    @property
    def failed(self) -> bool:
        """Whether it is not there as it was."""
        return self.outcome not in {"restored", "adopted"}


def restore(client: MemoryClient, directory: Directory, tenants: Sequence[Saved], told: Told) -> list[Restored]:
    """Make tenants of their files. One that exists is left as it is; what fails for one leaves the others alone.

    A file that is not the one that its manifest names is refused, even one that the server would take.

    Raises:
        MemsvcError: the server cannot be reached.
    """
    outcomes = []
    for done, saved in enumerate(tenants):
        told(done, len(tenants))
        if wrong := check.fault(directory, saved):
            outcomes.append(Restored(saved.tenant, f"{saved.file}: {wrong}"))
            continue
        try:
            imported = client.import_tenant(directory.file(saved))
            outcomes.append(Restored(saved.tenant, "adopted" if imported.adopted else "restored"))
        except AlreadyExistsError:
            outcomes.append(Restored(saved.tenant, "exists"))
        except OSError as error:
            outcomes.append(Restored(saved.tenant, str(error)))
        except MemsvcError as error:
            if error.reason == "UNREACHABLE":
                raise
            outcomes.append(Restored(saved.tenant, str(error)))
    told(len(tenants), len(tenants))
    return outcomes
