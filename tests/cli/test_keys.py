"""`memsvc keys`, on a server through a fake client, and on stores themselves."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from memsvc_client import Key, NewKey, NotFoundError, PermissionDeniedError

from memsvc.store.sqlite import SqliteStore
from tests.conformance.stores import redis_for_tests

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key(
    id="0123456789abcdef",
    name="billing\x1b[2J",
    grants={"team/*": ("read", "write"), "desk": ("admin",)},
    create_time=NOON,
    expire_time=None,
    revoke_time=None,
    rotate_time=None,
)
SECRET = f"msk_{KEY.id}_{'0' * 64}"


@pytest.fixture
def keys(fake, monkeypatch):
    """A fake client with keys."""

    def note(method, answer):
        def call(*args, **kwargs):
            fake._called(method, args=args, **kwargs)
            return answer

        monkeypatch.setattr(fake, method, call, raising=False)

    note("create_key", NewKey(key=KEY, secret=SECRET))
    note("rotate_key", NewKey(key=KEY, secret=SECRET))
    note("revoke_key", KEY)
    note("list_keys", [KEY])
    return fake


def test_a_key_cannot_end_after_the_last_year_there_is(keys, memsvc):
    ran = memsvc("keys", "create", "billing", "--grant", "*=read", "--expire", "9999999d")
    assert ran.code == 2
    assert "--expire" in ran.err
    assert not keys.asked


def test_a_secret_is_alone_on_stdout(keys, memsvc):
    ran = memsvc("keys", "create", "billing", "--grant", "team/*=read,write", "--grant", "a=b=admin")
    assert (ran.code, ran.out) == (0, SECRET + "\n")
    assert SECRET not in ran.err
    assert "0123456789abcdef" in ran.err
    assert "\x1b" not in ran.err
    ((method, asked),) = keys.asked
    assert method == "create_key"
    assert asked["args"] == ("billing", {"team/*": ("read", "write"), "a=b": ("admin",)}, None)


def test_a_key_is_made_to_expire(keys, memsvc):
    before = datetime.now(UTC)
    assert memsvc("keys", "create", "x", "--grant", "*=read", "--grant", "*=read,admin", "--expire", "2d").code == 0
    ((_, asked),) = keys.asked
    _, grants, at = asked["args"]
    assert grants == {"*": ("read", "admin")}
    assert timedelta(days=2) <= at - before < timedelta(days=2, hours=1)


def test_rotation_has_an_overlap(keys, memsvc):
    for options, overlap in (((), timedelta(hours=1)), (("--overlap", "0"), timedelta(0))):
        ran = memsvc("keys", "rotate", KEY.id, *options)
        assert (ran.code, ran.out) == (0, SECRET + "\n")
        assert keys.asked[-1] == ("rotate_key", {"args": (KEY.id, overlap)})


def test_json_has_everything(keys, memsvc):
    shown = memsvc("keys", "create", "x", "--grant", "*=read", "--json").json
    assert shown["secret"] == SECRET
    assert shown["key"]["grants"] == {"team/*": ["read", "write"], "desk": ["admin"]}
    assert memsvc("keys", "list", "--json").json == {"keys": [shown["key"]]}
    assert memsvc("keys", "revoke", KEY.id, "--yes", "--json").json == shown["key"]


def test_revoking_asks_first(keys, memsvc):
    assert memsvc("keys", "revoke", KEY.id, stdin="n\n").code != 0
    assert not keys.asked
    ran = memsvc("keys", "revoke", KEY.id, stdin="y\n")
    assert ran.code == 0
    assert "is revoked" in ran.out


@pytest.mark.parametrize("grant", ["team", "=read", "team=", "team=own", "team=read,", "team=read;write"])
def test_what_is_no_grant_is_refused(keys, memsvc, grant):
    ran = memsvc("keys", "create", "x", "--grant", grant)
    assert ran.code == 2
    assert not keys.asked


def test_a_refusal_of_the_server_ends_the_command(keys, memsvc):
    keys.fail["create_key"] = [PermissionDeniedError("the credential does not reach so far")]
    ran = memsvc("keys", "create", "x", "--grant", "*=read")
    assert (ran.code, ran.out) == (1, "")
    keys.fail["rotate_key"] = [NotFoundError("there is no key of that id")]
    assert memsvc("keys", "rotate", "x").code == 1


@pytest.fixture(params=["sqlite", "redis"])
def where(request, tmp_path):
    """The options that name a store of each kind."""
    if request.param == "sqlite":
        return ["--data", str(tmp_path / "data")]
    return ["--store", f"{redis_for_tests().url}?prefix=cli{tmp_path.name}".replace("_", "")]


def test_the_first_key_is_made_on_the_store_itself(memsvc, where):
    ran = memsvc("keys", "create", "boss", "--grant", "*=read,write,admin", "--expire", "1d", *where)
    assert ran.code == 0, ran.err
    mark, id, secret = ran.out.strip().split("_")
    assert (mark, len(id), len(secret)) == ("msk", 16, 64)
    (key,) = memsvc("keys", "list", "--json", *where).json["keys"]
    assert (key["id"], key["name"], key["grants"]) == (id, "boss", {"*": ["admin", "read", "write"]})
    assert key["expire_time"] is not None
    assert secret not in json.dumps(key)
    rotated = memsvc("keys", "rotate", id, *where).out.strip()
    assert rotated.startswith(f"msk_{id}_")
    assert not rotated.endswith(secret)
    assert memsvc("keys", "revoke", id, "--yes", *where).code == 0
    ran = memsvc("keys", "rotate", id, *where)
    assert ran.code == 1
    assert "revoked or expired" in ran.err
    assert memsvc("keys", "revoke", "0" * 16, "--yes", *where).code == 1
    ran = memsvc("keys", "list", *where)
    assert "revoked" in ran.out
    assert "boss" in ran.out
    assert memsvc("keys", "create", "x", "--grant", "a*=read", *where).code == 2


def test_a_data_directory_that_a_server_holds_is_left_alone(memsvc, tmp_path):
    store = SqliteStore.open(tmp_path / "data")
    try:
        ran = memsvc("keys", "create", "x", "--grant", "*=read", "--data", str(tmp_path / "data"))
    finally:
        store._resources.close()
    assert ran.code == 1
    assert "in use by process" in ran.err


def test_a_directory_of_something_else_has_no_keys_and_stays_as_it_is(memsvc, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    tmp_path.chmod(0o755)
    for arguments in (["list"], ["rotate", "x"], ["revoke", "x", "--yes"]):
        ran = memsvc("keys", *arguments, "--data", str(tmp_path))
        assert ran.code == 2
        assert "no data directory" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert memsvc("keys", "create", "x", "--grant", "*=read", "--data", str(tmp_path)).code == 0


def test_a_directory_that_is_not_there_has_no_keys(memsvc, tmp_path):
    for arguments in (["list"], ["rotate", "x"], ["revoke", "x", "--yes"]):
        ran = memsvc("keys", *arguments, "--data", str(tmp_path / "typo"))
        assert ran.code == 2
        assert "there is no directory" in ran.err
    assert not (tmp_path / "typo").exists()
    assert memsvc("keys", "list", "--data", str(tmp_path), "--store", "redis://x").code == 2
