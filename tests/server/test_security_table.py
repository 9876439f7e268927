"""docs/security.md's table: every call, with every kind of credential, does what the page says.

Each call is about a tenant below `foo/`. What is refused is then done by an administrator: a refusal changes nothing.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KeyRing
from memsvc.auth.keys import new_secret
from memsvc.auth.rules import RULES
from memsvc.store.clock import wall_clock_us
from memsvc.store.sqlite import SqliteStore
from memsvc.v1 import tenants_pb2
from memsvc.v1.types_pb2 import Tenant
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
"""Keys: on which tenants, with which rights, and the column of the page that is about them."""
UNKNOWN = ("none", "wrong secret", "unknown id", "expired", "revoked")


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
    keys = {"none": "", "unknown id": new_secret("0" * 16)}

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
    with Server(path / "data", auth=True) as server, Stubs(server.target, keys["everything"]) as admin:
        place = Place(server, admin, keys)
        source = place.tenant()
        for name in (*NEIGHBOURS, *OTHERS):
            if not name.endswith("*"):
                admin.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=name)))
        parts = admin.tenants.ExportTenant(tenants_pb2.ExportTenantRequest(tenant=source))
        place.file = b"".join(part.data for part in parts)
        yield place


def code_of(call: Call, stubs: Stubs) -> tuple[str, object]:
    try:
        return "OK", call(stubs)
    except grpc.RpcError as error:
        return error.code().name, None


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
def test_who_is_unknown_gets_nothing(place, method, kind):
    call = caller_of(method)(place)
    with Stubs(place.server.target, place.keys[kind]) as stubs:
        assert code_of(call, stubs) == ("UNAUTHENTICATED", None)
    call(place.admin)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", TABLE)
def test_every_kind_of_key_gets_what_the_page_says(place, method, kind):
    patterns, _, column = KINDS[kind]
    said = TABLE[method][column] if column else "own" if method in {"ListTenants", "ListKeys"} else "yes"
    call = caller_of(method)(place)
    with Stubs(place.server.target, place.keys[kind]) as stubs:
        code, shown = code_of(call, stubs)
    if said == "no":
        assert code == "PERMISSION_DENIED"
        call(place.admin)
        return
    assert code == "OK"
    if said == "own":
        inside = {name for name in shown if name.startswith("foo/")}
        assert bool(inside) == (patterns in (MINE, ["*"])), "its own, and what is not its own it does not see"
        assert ("elsewhere" in shown) != bool(inside)
        if patterns == MINE:
            assert inside == shown
