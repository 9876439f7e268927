"""API keys, as the clients make and show them."""

from datetime import UTC, datetime, timedelta

import pytest
from fake_server import COMMIT_SECONDS, Fail, Hang
from grpc import StatusCode
from memsvc_client import (
    DeadlineExceededError,
    InvalidArgumentError,
    Key,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

MADE = datetime.fromtimestamp(COMMIT_SECONDS, UTC)
GRANTS = {"team/*": ["read", "write"], "desk": "admin"}


def test_a_key_is_made_with_its_secret(client, fake):
    expire = MADE + timedelta(days=1)
    new = client.create_key("billing", GRANTS, expire)
    assert new.secret == "msk_0000000000000000_first"
    assert new.key == Key(
        id="0" * 16,
        name="billing",
        grants={"team/*": ("read", "write"), "desk": ("admin",)},
        create_time=MADE,
        expire_time=expire,
        revoke_time=None,
        rotate_time=None,
    )
    assert new.secret not in repr(new)
    (request,) = fake.asked("CreateKey")
    assert [(grant.tenant, list(grant.rights)) for grant in request.grants] == [("team/*", [1, 2]), ("desk", [3])]


def test_a_key_lives_through_its_changes(client, fake):
    id = client.create_key("billing", {"*": ["read"]}).key.id
    rotated = client.rotate_key(id, timedelta(minutes=2))
    assert rotated.secret == f"msk_{id}_second"
    assert rotated.key.rotate_time == MADE + timedelta(seconds=1)
    client.rotate_key(id, 0.5)
    assert [request.overlap.ToTimedelta() for request in fake.asked("RotateKey")] == [
        timedelta(minutes=2),
        timedelta(seconds=0.5),
    ]
    assert client.revoke_key(id).revoke_time == MADE + timedelta(seconds=2)
    for change in (lambda: client.rotate_key("nothing", 0), lambda: client.revoke_key("nothing")):
        with pytest.raises(NotFoundError):
            change()


def test_every_page_of_keys_is_read(client, fake):
    made = [client.create_key(str(i), {"*": ["read"]}).key for i in range(7)]
    assert list(client.list_keys()) == made
    assert len(fake.asked("ListKeys")) == 3


@pytest.mark.parametrize("late", [False, True], ids=["refused", "reply lost"])
def test_what_makes_a_secret_is_asked_for_once(client, fake, late):
    """A second try would make a second secret, and the first would be nobody's."""
    id = client.create_key("billing", {"*": ["read"]}).key.id
    for method, call in (
        ("CreateKey", lambda: client.create_key("other", {"*": ["read"]})),
        ("RotateKey", lambda: client.rotate_key(id, 0)),
    ):
        before = len(fake.asked(method))
        fake.fail(method, Fail(StatusCode.UNAVAILABLE, late=late))
        with pytest.raises(UnavailableError):
            call()
        assert len(fake.asked(method)) == before + 1


def test_a_revocation_and_a_page_are_asked_for_again(client, fake):
    id = client.create_key("billing", {"*": ["read"]}).key.id
    fake.fail("RevokeKey", Fail(StatusCode.UNAVAILABLE, late=True))
    assert client.revoke_key(id).revoke_time is not None
    fake.fail("ListKeys", Fail(StatusCode.UNAVAILABLE))
    assert len(list(client.list_keys())) == 1


@pytest.mark.parametrize(
    ("call", "rpc"),
    [
        (lambda client: client.create_key("x", {"*": "read"}, timeout=0.1), "CreateKey"),
        (lambda client: list(client.list_keys(timeout=0.1)), "ListKeys"),
        (lambda client: client.rotate_key("x", 0, timeout=0.1), "RotateKey"),
        (lambda client: client.revoke_key("x", timeout=0.1), "RevokeKey"),
    ],
)
def test_every_call_has_a_deadline(client, fake, call, rpc):
    fake.fail(rpc, Hang())
    with pytest.raises(DeadlineExceededError):
        call(client)


@pytest.mark.parametrize(
    ("method", "args", "field"),
    [
        ("create_key", (None, GRANTS), "name"),
        ("create_key", ("x", {}), "grants"),
        ("create_key", ("x", ["*"]), "grants"),
        ("create_key", ("x", {"*": []}), "grants"),
        ("create_key", ("x", {"*": ["own"]}), "grants"),
        ("create_key", ("x", {"*": "reed"}), "grants"),
        ("create_key", ("x", {7: "read"}), "grants"),
        ("create_key", ("x", GRANTS, datetime(2026, 1, 1)), "expire"),
        ("rotate_key", (None, 0), "id"),
        ("rotate_key", ("x", -1), "overlap"),
        ("rotate_key", ("x", "1h"), "overlap"),
        ("revoke_key", (7,), "id"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(client, fake, method, args, field):
    with pytest.raises(InvalidArgumentError) as raised:
        getattr(client, method)(*args)
    assert raised.value.field == field
    assert not fake.calls


@pytest.mark.parametrize(
    ("code", "kind"),
    [(StatusCode.UNAUTHENTICATED, UnauthenticatedError), (StatusCode.PERMISSION_DENIED, PermissionDeniedError)],
)
def test_a_refusal_is_final(client, fake, code, kind):
    fake.fail("Recall", Fail(code))
    with pytest.raises(kind):
        client.recall("ada", "q")
    assert len(fake.asked("Recall")) == 1
