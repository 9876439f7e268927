"""What is raised where this process does not, or no longer, own a shard."""

from memsvc.errors import UnavailableError


class NotOwnerError(UnavailableError):
    """Another process owns the tenant's shard, or none does now."""

    default_reason = "NOT_OWNER"

    def __init__(self, owner: str = "") -> None:
        told = f"another process serves this tenant: {owner}" if owner else "no process serves this tenant just now"
        super().__init__(told, metadata={"owner": owner} if owner else None)


class FencedError(NotOwnerError):
    """A write came too late: another process owns the shard since. Nothing was written."""
