"""URLs of stores: what they may say, and that nothing repeats a secret."""

import string
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.store.redis.address import Address, Kind, is_url, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://db.example", Address(hosts=(("db.example", 6379),))),
        ("redis://db:7000/3", Address(hosts=(("db", 7000),), db=3)),
        ("redis://[::1]:7000?prefix=blue", Address(hosts=(("::1", 7000),), prefix="blue")),
        ("redis://:pw@db", Address(hosts=(("db", 6379),), password="pw")),
        ("redis://ada:p%40%2Fw@db", Address(hosts=(("db", 6379),), username="ada", password="p@/w")),
        ("rediss://db", Address(hosts=(("db", 6379),), tls=True)),
        ("unix:///run/redis.sock?db=2", Address(kind=Kind.UNIX, path="/run/redis.sock", db=2)),
        ("unix://:pw@/run/r.sock", Address(kind=Kind.UNIX, path="/run/r.sock", password="pw")),
        (
            "redis+sentinel://ada:pw@a,b:7/memory/1?sentinel_username=s&sentinel_password=t",
            Address(
                kind=Kind.SENTINEL,
                hosts=(("a", 26379), ("b", 7)),
                service="memory",
                db=1,
                username="ada",
                password="pw",
                sentinel_username="s",
                sentinel_password="t",
            ),
        ),
        ("rediss+cluster://a,b:7", Address(kind=Kind.CLUSTER, tls=True, hosts=(("a", 6379), ("b", 7)))),
    ],
)
def test_each_form_is_read(url, expected) -> None:
    assert is_url(url)
    assert parse(url) == expected


def test_a_directory_is_no_url() -> None:
    assert not is_url("/var/lib/memsvc")
    assert not is_url("memsvc-data")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://db", "scheme"),
        ("redis://", "host"),
        ("redis://:6379", "host"),
        ("redis://db:x", "port"),
        ("redis://db:0", "port"),
        ("redis://db:65536", "port"),
        ("redis://a,b", "several hosts"),
        ("redis://db/one", "database"),
        ("redis://db/1/2", "too many parts"),
        ("redis://db/1?db=2", "twice"),
        ("redis://db?colour=red", "unknown option; there are ca_certs"),
        ("redis://db?prefix", "NAME=VALUE"),
        ("redis://db?prefix=", "prefix is empty"),
        ("redis://db?prefix=a&prefix=b", "prefix is there twice"),
        ("redis://db?prefix={1}", "prefix must be"),
        ("redis://db?ca_certs=/etc/ca.crt", "needs TLS"),
        ("rediss://db?ca_certs=/no/such.crt", "ca_certs: there is no file /no/such.crt"),
        ("rediss://db?keyfile=/etc/x.key", "keyfile needs certfile"),
        ("redis://db?sentinel_password=x", "sentinel"),
        ("redis+sentinel://a", "service"),
        ("redis+cluster://a/1", "database 0 alone"),
        ("unix://run/redis.sock", "absolute"),
        ("redis://db?password_file=/no/such", "password_file: /no/such cannot be read"),
        ("redis://[::1", "not a URL"),
        ("redis://pw@db", "a user but no password"),
    ],
)
def test_what_is_wrong_is_named(url, said) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse(url)
    assert caught.value.field == "store"
    assert said in str(caught.value)


def test_a_password_may_come_from_a_file(tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    address = parse(f"redis://ada@db?password_file={secret}")
    assert (address.username, address.password) == ("ada", "s3cret")
    assert parse(f"redis://db?username=ada&password_file={secret}") == address
    sentinel = parse(f"redis+sentinel://db/memory?sentinel_password_file={secret}")
    assert (sentinel.sentinel_password, sentinel.password) == ("s3cret", "")
    with pytest.raises(InvalidArgumentError, match="password is there twice") as caught:
        parse(f"redis://:hunter2@db?password_file={secret}")
    assert "hunter2" not in str(caught.value)
    secret.write_text("\n")
    with pytest.raises(InvalidArgumentError, match="is empty"):
        parse(f"redis://db?password_file={secret}")


def test_an_address_shows_no_secret() -> None:
    address = parse("rediss+sentinel://ada:hunter2@a:7,[::1]:8/memory/3?sentinel_password=hunter3&prefix=blue")
    for shown in (repr(address), str(address), f"{address}", repr([address]), repr(replace(address, db=4))):
        assert "hunter" not in shown
    assert str(address) == "rediss+sentinel://ada:***@a:7,[::1]:8/memory/3?sentinel_password=***&prefix=blue"


secrets = st.text(string.ascii_letters + string.digits + "%&=+:@/?#[]!$ é", min_size=1).map("hunter2{}hunter2".format)


@given(secrets)
def test_any_password_that_is_encoded_comes_back_whole(secret) -> None:
    assert parse(f"redis://ada:{quote(secret, safe='')}@db:7/1").password == secret


@given(
    secrets,
    st.sampled_from(["redis://ada:{}@db:7/1", "redis+sentinel://:{}@a,b/memory", "unix://:{}@/run/r.sock"]),
)
def test_a_password_that_is_not_encoded_is_repeated_by_no_message(secret, form) -> None:
    try:
        address = parse(form.format(secret))
    except InvalidArgumentError as error:
        shown = f"{error}{error.__cause__}"
    else:
        shown = repr(address)
    assert "hunter2" not in shown
