"""The settings of authentication: whose tokens and which certificates are taken, and how far they reach."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from memsvc.auth.grants import MAX_GRANTS, Grant, Right
from memsvc.errors import InvalidArgumentError

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class GrantSettings(BaseModel):
    """Rights on the tenants that match a pattern."""

    model_config = ConfigDict(extra="forbid")

    tenant: str
    rights: frozenset[Right]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.grant()
        return self

    def grant(self) -> Grant:
        """Return the grant.

        Raises:
            ValueError: there is no such pattern, or no right.
        """
        try:
            return Grant(self.tenant, self.rights)
        except InvalidArgumentError as error:
            raise ValueError(str(error)) from None


Grants = Annotated[list[GrantSettings], Field(min_length=1, max_length=MAX_GRANTS)]


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("must be an https URL: whoever could change the keys on their way could call as anybody")
    return url


class JwtSettings(BaseModel):
    """Whose tokens are taken."""

    model_config = ConfigDict(extra="forbid")

    issuer: Annotated[str, Field(min_length=1)]
    """The tokens' `iss`, exactly."""
    audience: Annotated[str, Field(min_length=1)]
    """What their `aud` is or has."""
    jwks_file: Path | None = None
    """The issuer's keys, in a file."""
    jwks_url: Annotated[str, AfterValidator(_https)] | None = None
    """The issuer's keys, at an https URL."""
    ca_file: Path | None = None
    """The authorities that the URL's certificate may be of; the system's otherwise."""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256", "ES256"]
    """With which tokens may be signed."""
    leeway_s: float = Field(30.0, ge=0, le=300)
    """How far the issuer's clock may differ."""
    claim: Annotated[str, Field(min_length=1)] = "memsvc"
    """Which claim has the grants."""
    refresh_s: float = Field(300.0, ge=10)
    """After so long the keys are read again."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("needs jwks_file or jwks_url, one of them")
        return self


class ClientSettings(BaseModel):
    """A client that is known by its certificate."""

    model_config = ConfigDict(extra="forbid")

    subject: str = ""
    """The certificate's subject, as RFC 2253 writes it."""
    dns: str = ""
    """Or a name of a host among its alternative names."""
    uri: str = ""
    """Or a URI there."""
    grants: Grants

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if sum(map(bool, (self.subject, self.dns, self.uri))) != 1:
            raise ValueError("needs subject, dns or uri, one of them")
        return self
