"""API keys: made, checked, rotated, revoked, and seen by everyone who follows the store."""

import asyncio
import hashlib
import re

import pytest

from memsvc.auth import keyring
from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KEPT_US, STALE_S, KeyRing
from memsvc.auth.keys import ApiKey, new_secret
from memsvc.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from tests.conformance.stores import Clock
from tests.double.store import Data, MemoryStore

GRANTS = (Grant("foo/*", frozenset({Right.READ, Right.WRITE})), Grant("bar", frozenset({Right.ADMIN})))
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def store(clock) -> MemoryStore:
    return MemoryStore(Data(), clock)


@pytest.fixture
async def ring(store, clock, seconds) -> KeyRing:
    ring = KeyRing(store, clock, seconds)
    await ring.refresh()
    return ring


def reason(ring: KeyRing, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as caught:
        ring.principal(token)
    assert not token or token not in str(caught.value)
    return caught.value.reason


async def test_a_key_is_its_makers_until_it_is_revoked(ring):
    key, token = await ring.create("billing", GRANTS, None)
    assert re.fullmatch(rf"msk_{key.id}_[0-9a-f]{{64}}", token)
    principal = ring.principal(token)
    assert (principal.name, principal.grants) == (f"key:{key.id}", GRANTS)
    principal.check_standing()
    assert (await ring.revoke(key.id)).revoked_us is not None
    assert reason(ring, token) == "CREDENTIAL_REVOKED"
    with pytest.raises(UnauthenticatedError):
        principal.check_standing()


async def test_every_secret_is_another(ring):
    made = {(await ring.create("same", GRANTS, None))[1] for _ in range(50)}
    assert len({token.split("_")[1] for token in made}) == len({token.split("_")[2] for token in made}) == 50


async def test_what_is_not_a_key_is_nobodys(ring):
    key, token = await ring.create("billing", GRANTS, None)
    other, _ = await ring.create("other", GRANTS, None)
    secret = token.rpartition("_")[2]
    wrong = [new_secret(key.id), new_secret("0" * 16), f"msk_{other.id}_{secret}", token[:-1], token + "0"]
    wrong += [token.upper(), "msk_", "msk__", f"msk_{key.id}", f"msk_{key.id}_", "", "é" * 30, token.replace("0", "٠")]
    assert {reason(ring, value) for value in wrong if value != token} == {"CREDENTIAL_INVALID"}


async def test_an_unknown_id_is_compared_as_a_known_one_is(ring, monkeypatch):
    key, token = await ring.create("billing", GRANTS, None)
    compared = []
    genuine = keyring.hmac.compare_digest
    monkeypatch.setattr(keyring.hmac, "compare_digest", lambda a, b: compared.append(len(b)) or genuine(a, b))
    for value in (new_secret(key.id), new_secret("0" * 16), "nonsense"):
        compared.clear()
        reason(ring, value)
        assert compared == [32]
    compared.clear()
    ring.principal(token)
    assert compared


async def test_the_store_holds_no_secret(ring, store):
    _, token = await ring.create("billing", GRANTS, None)
    kept = b"".join((await store.credentials()).bodies.values())
    assert token.encode() not in kept
    assert token.rpartition("_")[2].encode() not in kept
    assert bytes.fromhex(token.rpartition("_")[2]) not in kept
    assert hashlib.sha256(token.encode()).digest() in kept


async def test_reprs_tell_nothing_of_a_secret(ring):
    key, token = await ring.create("billing", GRANTS, None)
    digest = hashlib.sha256(token.encode()).digest()
    shown = repr(key) + repr(ring.principal(token)) + repr(ring.all())
    assert token not in shown
    assert repr(digest)[2:-1] not in shown
    assert digest.hex() not in shown


async def test_a_key_expires(ring, clock):
    key, token = await ring.create("billing", GRANTS, clock.now_us + HOUR_US)
    principal = ring.principal(token)
    clock.now_us += HOUR_US - 1
    principal.check_standing()
    clock.now_us += 1
    assert reason(ring, token) == "CREDENTIAL_EXPIRED"
    with pytest.raises(UnauthenticatedError):
        principal.check_standing()
    with pytest.raises(FailedPreconditionError) as caught:
        await ring.rotate(key.id, 0)
    assert caught.value.reason == "KEY_ENDED"
    with pytest.raises(InvalidArgumentError) as wrong:
        await ring.create("late", GRANTS, clock.now_us)
    assert wrong.value.field == "expire_time"


async def test_a_rotated_keys_older_secret_ends_with_the_overlap(ring, clock):
    key, first = await ring.create("billing", GRANTS, None)
    rotated, second = await ring.rotate(key.id, HOUR_US)
    assert (rotated.id, rotated.grants, rotated.rotated_us) == (key.id, GRANTS, clock.now_us)
    assert ring.principal(first) == ring.principal(second)
    clock.now_us += HOUR_US
    ring.principal(second)
    assert reason(ring, first) == "CREDENTIAL_EXPIRED"


async def test_a_rotation_without_overlap_ends_every_older_secret(ring):
    key, first = await ring.create("billing", GRANTS, None)
    held = ring.principal(first)
    _, second = await ring.rotate(key.id, HOUR_US)
    _, third = await ring.rotate(key.id, 0)
    assert [reason(ring, token) for token in (first, second)] == ["CREDENTIAL_INVALID"] * 2
    ring.principal(third)
    with pytest.raises(UnauthenticatedError):
        held.check_standing()


@pytest.mark.parametrize("overlap_us", [-1, keyring.MAX_OVERLAP_US + 1, 2**64])
async def test_an_overlap_has_an_end(ring, overlap_us):
    key, first = await ring.create("billing", GRANTS, None)
    with pytest.raises(InvalidArgumentError) as wrong:
        await ring.rotate(key.id, overlap_us)
    assert wrong.value.field == "overlap"
    ring.principal(first)


async def test_a_later_rotation_prolongs_no_older_secret(ring, clock):
    key, first = await ring.create("billing", GRANTS, None)
    await ring.rotate(key.id, HOUR_US)
    clock.now_us += HOUR_US - SECOND_US
    await ring.rotate(key.id, HOUR_US)
    ring.principal(first)
    clock.now_us += SECOND_US
    assert reason(ring, first) == "CREDENTIAL_EXPIRED"


async def test_a_key_has_few_secrets_at_a_time(ring, clock):
    key, _ = await ring.create("billing", GRANTS, None)
    for _ in range(keyring.MAX_SECRETS - 1):
        await ring.rotate(key.id, HOUR_US)
    with pytest.raises(FailedPreconditionError) as caught:
        await ring.rotate(key.id, HOUR_US)
    assert caught.value.reason == "KEY_ROTATED_TOO_OFTEN"
    clock.now_us += HOUR_US
    await ring.rotate(key.id, HOUR_US)


async def test_a_key_that_is_not_there_cannot_be_changed(ring):
    for change in (ring.rotate("0" * 16, 0), ring.revoke("0" * 16)):
        with pytest.raises(NotFoundError):
            await change


async def test_to_revoke_again_changes_nothing(ring, store, clock):
    key, _ = await ring.create("billing", GRANTS, None)
    revoked = await ring.revoke(key.id)
    version = await store.credentials_version()
    clock.now_us += HOUR_US
    assert await ring.revoke(key.id) == revoked
    assert await store.credentials_version() == version


async def test_what_ended_long_ago_is_dropped_by_the_next_change(ring, clock):
    key, _ = await ring.create("billing", GRANTS, None)
    brief, _ = await ring.create("brief", GRANTS, clock.now_us + HOUR_US)
    await ring.revoke(key.id)
    clock.now_us += KEPT_US - 1
    await ring.create("a", GRANTS, None)
    assert {key.id, brief.id} <= {each.id for each in ring.all()}
    clock.now_us += HOUR_US + 1
    await ring.create("b", GRANTS, None)
    assert [each.name for each in sorted(ring.all(), key=lambda each: each.name)] == ["a", "b"]


async def test_there_are_only_so_many(ring, monkeypatch):
    monkeypatch.setattr(keyring, "MAX_KEYS", 2)
    await ring.create("a", GRANTS, None)
    key, _ = await ring.create("b", GRANTS, None)
    with pytest.raises(FailedPreconditionError) as caught:
        await ring.create("c", GRANTS, None)
    assert caught.value.reason == "TOO_MANY_KEYS"
    await ring.revoke(key.id)


@pytest.mark.parametrize(
    ("name", "grants", "field"), [("", GRANTS, "name"), ("a\0", GRANTS, "name"), ("a", (), "grants")]
)
async def test_a_wrong_argument_is_named(ring, name, grants, field):
    with pytest.raises(InvalidArgumentError) as caught:
        await ring.create(name, grants, None)
    assert caught.value.field == field


async def test_two_rings_on_one_store_change_beside_each_other(store, clock, seconds):
    rings = [KeyRing(store, clock, seconds) for _ in range(3)]
    made = await asyncio.gather(*(ring.create(str(i), GRANTS, None) for i, ring in enumerate(rings)))
    for ring in rings:
        await ring.refresh()
        assert {ring.principal(token).name for _, token in made} == {f"key:{key.id}" for key, _ in made}
    await rings[0].revoke(made[2][0].id)
    await rings[1].refresh()
    assert reason(rings[1], made[2][1]) == "CREDENTIAL_REVOKED"


async def test_a_table_that_went_back_is_read_all_the_same(ring, store):
    """A store that was put back from a backup has fewer changes behind it."""
    _, token = await ring.create("a", GRANTS, None)
    earlier = store._data.credentials
    _, later = await ring.create("b", GRANTS, None)
    store._data.credentials = earlier
    await ring.refresh()
    ring.principal(token)
    assert reason(ring, later) == "CREDENTIAL_INVALID"


async def test_a_ring_that_hears_nothing_trusts_nobody(ring, store, seconds):
    _, token = await ring.create("billing", GRANTS, None)
    principal = ring.principal(token)
    seconds.now += STALE_S
    principal.check_standing()
    seconds.now += 0.1
    for ask in (lambda: ring.principal(token), principal.check_standing):
        with pytest.raises(UnavailableError) as caught:
            ask()
        assert caught.value.reason == "KEYS_STALE"
    await ring.refresh()
    principal.check_standing()


async def test_a_ring_that_was_never_read_trusts_nobody(store, clock):
    with pytest.raises(UnavailableError):
        KeyRing(store, clock).principal(new_secret("0" * 16))


async def test_following_survives_a_store_that_is_away(ring, store, monkeypatch):
    monkeypatch.setattr(keyring, "FOLLOW_S", 0.001)
    asked = asyncio.Event()
    failures = iter([UnavailableError("away"), UnavailableError("away")])
    genuine = store.credentials_version

    async def version():
        if (error := next(failures, None)) is not None:
            raise error
        asked.set()
        return await genuine()

    monkeypatch.setattr(store, "credentials_version", version)
    following = asyncio.create_task(ring.follow())
    await asyncio.wait_for(asked.wait(), 30)
    following.cancel()


async def test_a_body_that_does_not_read_is_nobodys_and_stays(ring, store):
    key, token = await ring.create("billing", GRANTS, None)
    await store.change_credentials(1, {"newer": b"\xff", "damaged": b"\x01nonsense"})
    _, other = await ring.create("other", GRANTS, None)
    ring.principal(token)
    ring.principal(other)
    assert {"newer", "damaged", key.id} <= set((await store.credentials()).bodies)
    for body in (b"", b"\xff", b"\x01", b"\x01\x90", b"\x01\xc1"):
        with pytest.raises(DataLossError):
            ApiKey.decode("id", body)


async def test_a_key_survives_its_encoding(ring, clock):
    key, _ = await ring.create("billing", GRANTS, clock.now_us + HOUR_US)
    key, _ = await ring.rotate(key.id, HOUR_US)
    key = await ring.revoke(key.id)
    assert ApiKey.decode(key.id, key.encode()) == key
