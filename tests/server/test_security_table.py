"""docs/security.md's table: every call, with every kind of credential, does what the page says.

Each call is about a tenant below `foo/`. What is refused is then done by an administrator: a refusal changes nothing.
Keys and tokens of another issuer give the same; certificates are in test_client_certificates.py, for a server asks all
its clients for them or none.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from memsvc_client._status import to_error

from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KeyRing
from memsvc.auth.keys import new_secret
from memsvc.auth.rules import RULES
from memsvc.store.clock import wall_clock_us
from memsvc.store.sqlite import SqliteStore
from memsvc.v1 import tenants_pb2
from memsvc.v1.types_pb2 import Tenant
from tests.auth.issuer import AUDIENCE, NAME, Issuer
from tests.server.every_call import Call, Place, caller_of
from tests.serving import Server, Stubs

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
DAY_US = 24 * 3600 * 1_000_000

MINE, NEIGHBOURS, OTHERS = ["foo/*"], ["foo", "foobar", "foobar/*", "foob/*", "fo", "fo/*"], ["zoo", "zoo/*"]
ALL = frozenset(Right)
KINDS: dict[str, tuple[list[str], frozenset[Right], str]] = {
    "read": (MINE, frozenset({Right.READ}), "read"),
    "write": (MINE, frozenset({Right.WRITE}), "write"),
    "admin": (MINE, frozenset({Right.ADMIN}), "admin"),
    "neighbour": (NEIGHBOURS, ALL, "elsewhere"),
    "other": (OTHERS, ALL, "elsewhere"),
    "all three": (MINE, ALL, ""),
    "everything": (["*"], ALL, ""),
}
"""Grants: on which tenants, with which rights, and the column of the page that is about them."""
UNKNOWN = {
    "none": "CREDENTIAL_MISSING",
    "wrong secret": "CREDENTIAL_INVALID",
    "unknown id": "CREDENTIAL_INVALID",
    "expired": "CREDENTIAL_EXPIRED",
    "revoked": "CREDENTIAL_REVOKED",
    "forged token": "CREDENTIAL_INVALID",
    "token for another": "CREDENTIAL_INVALID",
    "expired token": "CREDENTIAL_EXPIRED",
}
"""Credentials that are none, and the reason that whoever sends one is told."""
DENIED = ("PERMISSION_DENIED", "PERMISSION_DENIED", "the credential does not reach so far")
"""Code, reason and words: the same, whatever is there."""


def page() -> dict[str, dict[str, str]]:
    """The page's table: by call, what its columns say."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("|") and line.count("|") == 8
    ]
    head, _, *body = rows
    return {cells[0]: dict(zip(head, cells, strict=True)) for cells in body}


TABLE = page()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    path = tmp_path_factory.mktemp("table")
    issuer = Issuer()
    everything = [{"tenant": "*", "rights": [right.value for right in Right]}]
    keys = {
        "none": "",
        "unknown id": new_secret("0" * 16),
        "forged token": issuer.token(memsvc=everything)[:-8] + "AAAAAAAA",
        "token for another": issuer.token(memsvc=everything, aud="another"),
        "expired token": issuer.token(memsvc=everything, exp=1),
        "token of nothing": issuer.token(),
    }
    for kind, (patterns, rights, _) in KINDS.items():
        named = [{"tenant": pattern, "rights": [right.value for right in rights]} for pattern in patterns]
        keys[f"{kind} (token)"] = issuer.token(memsvc=named)

    async def fill() -> None:
        """Make keys on the store, some of them long ago."""
        store = SqliteStore.open(path / "data")
        for kind, (patterns, rights, _) in KINDS.items():
            grants = tuple(Grant(pattern, rights) for pattern in patterns)
            _, keys[kind] = await KeyRing(store).create(kind, grants, None)
        grants = (Grant("*", ALL),)
        now = wall_clock_us()
        _, keys["expired"] = await KeyRing(store, lambda: now - DAY_US).create("expired", grants, now - DAY_US // 2)
        revoked, keys["revoked"] = await KeyRing(store).create("revoked", grants, None)
        await KeyRing(store).revoke(revoked.id)
        await store.close()

    asyncio.run(fill())
    keys["wrong secret"] = new_secret(keys["everything"].split("_")[1])
    jwt = {"issuer": NAME, "audience": AUDIENCE, "jwks_file": issuer.write(path / "jwks.json")}
    settings = {f"auth_jwt__{name}": value for name, value in jwt.items()}
    with Server(path / "data", auth=True, **settings) as server, Stubs(server.target, keys["everything"]) as admin:
        place = Place(server, admin, keys)
        source = place.tenant()
        for name in (*NEIGHBOURS, *OTHERS):
            if not name.endswith("*"):
                admin.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=name)))
        parts = admin.tenants.ExportTenant(tenants_pb2.ExportTenantRequest(tenant=source))
        place.file = b"".join(part.data for part in parts)
        yield place


def refusal(call: Call, stubs: Stubs) -> tuple[str, str, str]:
    """Make a call that is refused; return the code, the reason and the words."""
    with pytest.raises(grpc.RpcError) as caught:
        call(stubs)
    error = to_error(caught.value, "the server")
    return caught.value.code().name, error.reason, str(error)


def test_the_page_has_every_call_and_what_the_rules_say():
    named = {method.rpartition("/")[2]: rule for method, rule in RULES.items()}
    assert TABLE.keys() == named.keys()
    for method, rule in named.items():
        row = TABLE[method]
        assert row["needs"].split(", ") == [right.value for right in rule.rights]
        fields = {path for path in (rule.tenant, *rule.also) if path}
        assert set(re.findall(r"`([\w.]+)`", row["on"])) == fields
        (alone,) = {right.value for right in rule.rights} if len(rule.rights) == 1 else {""}
        for right in ("read", "write", "admin"):
            assert (row[right] != "no") == (right == alone)


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("method", TABLE)
def test_who_is_unknown_gets_nothing_and_is_told_why(place, method, kind):
    call = caller_of(method)(place)
    with Stubs(place.server.target, place.keys[kind]) as stubs:
        assert refusal(call, stubs)[:2] == ("UNAUTHENTICATED", UNKNOWN[kind])
    call(place.admin)


@pytest.mark.parametrize("method", TABLE)
def test_a_token_without_grants_reaches_nothing(place, method):
    call = caller_of(method)(place)
    with Stubs(place.server.target, place.keys["token of nothing"]) as stubs:
        assert refusal(call, stubs) == DENIED
    call(place.admin)


@pytest.mark.parametrize("by", ["key", "token"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", TABLE)
def test_every_kind_of_credential_gets_what_the_page_says(place, method, kind, by):
    patterns, _, column = KINDS[kind]
    said = TABLE[method][column] if column else "own" if method in {"ListTenants", "ListKeys"} else "yes"
    call = caller_of(method)(place)
    with Stubs(place.server.target, place.keys[kind if by == "key" else f"{kind} (token)"]) as stubs:
        if said == "no":
            assert refusal(call, stubs) == DENIED
            call(place.admin)
            return
        shown = call(stubs)
    if said == "own":
        inside = {name for name in shown if name.startswith("foo/")}
        assert bool(inside) == (patterns in (MINE, ["*"])), "its own, and what is not its own it does not see"
        assert ("elsewhere" in shown) != bool(inside)
        if patterns == MINE:
            assert inside == shown
