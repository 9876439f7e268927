"""What one backup holds. Pure."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FORMAT: Literal[1] = 1

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]
"""A uid or a digest: no path can be made of it."""


class Saved(BaseModel):
    """One tenant, as it is in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str
    uid: Hex
    head_seq: int = Field(ge=1)
    """The last record in the file."""
    size: int = Field(ge=1)
    """Of the file, in bytes."""
    sha256: Hex
    """Of the file."""

    @property
    def file(self) -> str:
        """The file's name: what lies in a log up to a record never changes under one uid, but for what is destroyed."""
        return f"{self.uid}-{self.head_seq}-{self.sha256[:16]}.memsvc"


class Manifest(BaseModel):
    """One backup: which tenants there were, and where each of them is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    made: datetime
    """When it was complete, in UTC."""
    tenants: tuple[Saved, ...]

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.made.strftime("%Y%m%dT%H%M%S.%fZ")

    def of(self, uid: str) -> Saved | None:
        """Return the tenant of that uid."""
        return next((saved for saved in self.tenants if saved.uid == uid), None)
