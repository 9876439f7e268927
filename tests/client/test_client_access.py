"""API keys and files of certificates in both clients: when the key is shown, and that it is shown nowhere else."""

import logging
import traceback
from pathlib import Path

import pytest
from fake_server import Fail, FakeServer
from grpc import StatusCode
from memsvc_client import TLS, InvalidArgumentError, MemsvcError
from memsvc_client._access import Access

from tests.certificates import Authority

KEY = "msk_planted-0123456789abcdef"
BEARER = f"Bearer {KEY}"


def test_every_call_shows_the_key(connect, fake, tmp_path):
    client = connect(fake.target, api_key=KEY)
    client.create_tenant("bob")
    client.write("ada", ["x"])
    list(client.write_stream("ada", ["y", "z"]))
    list(client.list_entries("ada"))
    fake.watches.append([Fail(StatusCode.FAILED_PRECONDITION, "that is all")])
    with pytest.raises(MemsvcError, match="that is all"):
        list(client.watch("ada"))
    fake.exported.append([b"part", b"part"])
    client.export_tenant("ada", tmp_path / "file")
    client.import_tenant(tmp_path / "file", "eve")
    methods = {"CreateTenant", "Write", "WriteStream", "ListEntries", "WatchTenant", "ExportTenant", "ImportTenant"}
    assert {method for method, _ in fake.keys} == methods
    assert {key for _, key in fake.keys} == {BEARER}


def test_without_a_key_none_is_shown(connect, fake):
    connect(fake.target).stats("ada")
    assert fake.keys == [("GetTenant", None)]


def test_a_key_that_changes_is_asked_for_at_every_call(connect, fake):
    keys = iter(["first", "second"])
    client = connect(fake.target, api_key=lambda: next(keys))
    client.stats("ada")
    client.stats("ada")
    assert [key for _, key in fake.keys] == ["Bearer first", "Bearer second"]


def test_what_the_source_of_a_key_raises_is_raised(connect, fake):
    def broken() -> str:
        raise OSError("the vault is shut")

    with pytest.raises(OSError, match="the vault is shut"):
        connect(fake.target, api_key=broken).stats("ada")
    assert fake.keys == []


def test_the_owner_of_a_tenant_is_reached_and_shown_the_same(connect, tmp_path):
    authority = Authority(tmp_path)
    first, owner = FakeServer(), FakeServer(tenants={"ada": {}})
    target = first.start(authority.issue("first"))
    first.elsewhere["ada"] = owner.start(authority.issue("owner"))
    try:
        connect(target, api_key=KEY, tls=TLS(ca=authority.ca)).write("ada", "x")
    finally:
        first.stop()
        owner.stop()
    assert owner.texts("ada") == ["x"]
    assert first.keys == owner.keys == [("Write", BEARER)]


@pytest.mark.parametrize(
    "target", ["10.0.0.7:50051", "memsvc.example:50051", "dns:///localhost:50051", "[2001:db8::1]:1"]
)
def test_the_key_does_not_leave_the_machine_in_the_clear(connect, target):
    with pytest.raises(InvalidArgumentError, match="unencrypted") as raised:
        connect(["127.0.0.1:1", target], api_key=KEY)
    assert (raised.value.field, KEY in str(raised.value)) == ("api_key", False)
    connect(target, api_key=KEY, allow_plaintext_key=True)
    connect(target, api_key=KEY, tls=True)
    connect(target)


@pytest.mark.parametrize("target", ["127.0.0.1:50051", "127.9.9.9:1", "localhost:50051", "[::1]:50051"])
def test_on_this_machine_the_key_may_be_in_the_clear(connect, target):
    connect(target, api_key=KEY)


def test_an_owner_on_another_machine_is_not_shown_the_key_in_the_clear(connect, fake):
    fake.elsewhere["ada"] = "192.0.2.1:50051"
    with pytest.raises(InvalidArgumentError, match=r"192\.0\.2\.1:50051 unencrypted"):
        connect(fake.target, api_key=KEY).stats("ada")


@pytest.mark.parametrize("key", ["", "two words", "newline\n", "umläut", 7, b"bytes"])
@pytest.mark.parametrize("called", [False, True])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(connect, fake, caplog, key, called):
    with pytest.raises(InvalidArgumentError, match="api_key: must be") as raised:
        connect(fake.target, api_key=(lambda: key) if called else key).stats("ada")
    assert key == "" or str(key) not in str(raised.value)
    assert fake.keys == []


def test_the_key_shows_in_no_representation_error_or_log(connect, fake, caplog):
    caplog.set_level(logging.DEBUG)
    client = connect(fake.target, api_key=KEY)
    shown = [repr(client), str(client)]
    for code in StatusCode:
        if code not in (StatusCode.OK, StatusCode.UNAVAILABLE):
            fake.fail("GetTenant", Fail(code))
            with pytest.raises(MemsvcError) as raised:
                client.stats("ada")
            shown += traceback.format_exception(raised.value)
            shown.append(repr(vars(raised.value)))
    access = Access(KEY, False, False)
    shown += [repr(access), repr(vars(access)), repr(access.over(object()))]
    assert len(fake.keys) > 10
    assert KEY not in "".join(shown)
    assert KEY not in caplog.text


def test_settings_of_tls_that_cannot_be_are_refused(connect, tmp_path):
    authority = Authority(tmp_path)
    own, garbage = authority.issue(), tmp_path / "garbage"
    garbage.write_text("nothing")
    with pytest.raises(InvalidArgumentError, match="key: a certificate needs its key"):
        TLS(cert=own.cert)
    with pytest.raises(InvalidArgumentError, match="cert: a certificate needs its key"):
        TLS(key=own.key)
    for tls, says in [
        (TLS(ca=tmp_path / "none"), "ca: .*none cannot be read: No such file"),
        (TLS(ca=garbage), "ca: .*garbage holds no certificate"),
        (TLS(cert=garbage, key=own.key), "cert: .* no pair"),
        (TLS(cert=own.cert, key=authority.issue("other").key), "cert: .* no pair"),
        ("yes", "tls: must be a bool or a TLS"),
    ]:
        with pytest.raises(InvalidArgumentError, match=says):
            connect("127.0.0.1:1", tls=tls)


def test_a_client_that_is_made_needs_its_files_no_more(connect, tmp_path: Path):
    authority = Authority(tmp_path)
    client = connect("127.0.0.1:1", tls=TLS(ca=str(authority.ca)))
    authority.ca.unlink()
    with pytest.raises(MemsvcError):
        client.stats("ada", timeout=0.5)
