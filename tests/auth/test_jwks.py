"""An issuer's keys: read again when they may have changed, and not because somebody sends nonsense."""

import asyncio
import json
import warnings

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from memsvc.auth import jwks_sources
from memsvc.auth.jwks import AGAIN_S, KNOWN_ALGORITHMS, TRUST_S, KeySet
from memsvc.auth.tokens import JwtTokens, TokenConfig
from memsvc.errors import UnauthenticatedError, UnavailableError
from tests.auth.issuer import AUDIENCE, NAME, HttpsServer, Issuer

REFRESH_S = 300.0


class Published:
    """A source that counts, and a clock."""

    def __init__(self, document: object) -> None:
        self.document: object = document
        self.asked = 0
        self.now = 1000.0
        self.hold: asyncio.Event | None = None

    async def __call__(self) -> bytes:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.document, Exception):
            raise self.document
        return self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()

    def keys(self, *algorithms: str) -> KeySet:
        return KeySet(self, algorithms or ("RS256", "ES256", "EdDSA"), REFRESH_S, lambda: self.now)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def published(issuer) -> Published:
    return Published(issuer.document)


async def unknown(keys: KeySet, id: str, algorithm: str = "RS256") -> None:
    with pytest.raises(UnauthenticatedError):
        await keys.key(id, algorithm)


async def test_a_key_is_read_once_for_many_calls(published):
    keys = published.keys()
    await keys.start()
    for _ in range(100):
        assert (await keys.key("RS256", "RS256")).key_id == "RS256"
    assert published.asked == 1


async def test_an_unknown_key_is_looked_for_and_not_too_often(published):
    keys = published.keys()
    await keys.start()
    published.now += AGAIN_S
    await asyncio.gather(*(unknown(keys, str(i)) for i in range(50)))
    assert published.asked == 2
    published.now += AGAIN_S - 0.1
    await unknown(keys, "other")
    assert published.asked == 2
    published.now += 0.2
    await unknown(keys, "other")
    assert published.asked == 3


async def test_a_new_key_of_the_issuers_is_found(published):
    published.document = {"keys": published.document["keys"][1:]}
    keys = published.keys()
    await keys.start()
    await unknown(keys, "RS256")
    published.document = Issuer().document
    published.now += AGAIN_S
    assert await keys.key("RS256", "RS256")


async def test_what_is_known_serves_while_the_keys_are_read_again(published):
    keys = published.keys()
    await keys.start()
    published.hold = asyncio.Event()
    published.now += REFRESH_S + 1
    for _ in range(3):
        assert await keys.key("RS256", "RS256")
    published.document = {"keys": []}
    published.hold.set()
    await keys._reading
    assert published.asked == 2
    await unknown(keys, "RS256")


@pytest.mark.parametrize("trouble", [OSError("away"), b"", b"\xff", b"[]", b'{"keys": 7}', b"[" * 100_000])
async def test_an_issuer_in_trouble_is_trusted_for_a_day(published, trouble):
    keys = published.keys()
    await keys.start()
    published.document = trouble
    for _ in range(4):
        published.now += TRUST_S / 4
        assert await keys.key("RS256", "RS256")
        await keys._reading
    published.now += 1
    for ask in (lambda: keys.key("RS256", "RS256"), lambda: asyncio.sleep(0, keys.check("RS256", "RS256"))):
        with pytest.raises(UnavailableError) as caught:
            await ask()
        assert caught.value.reason == "ISSUER_UNREACHABLE"
    published.document = Issuer().document
    published.now += AGAIN_S
    assert await keys.key("RS256", "RS256")


async def test_a_caller_that_is_gone_does_not_end_the_reading_for_others(published):
    keys = published.keys()
    published.hold = asyncio.Event()
    first, second = (asyncio.create_task(keys.key("RS256", "RS256")) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    published.hold.set()
    assert await second
    assert published.asked == 1


async def test_keys_that_cannot_sign_tokens_are_passed_over(issuer):
    own = issuer.document["keys"][0]
    published = Published(
        {
            "keys": [
                None,
                {**own, "kid": "for encryption", "use": "enc"},
                {**own, "kid": 7},
                {name: value for name, value in own.items() if name != "kid"},
                {**own, "kid": "another algorithm", "alg": "RS512"},
                {**own, "kid": "unknown type", "kty": "XYZ"},
                {**own, "kid": "no type", "kty": None},
                {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
                {"kty": "oct", "k": "c2VjcmV0", "kid": "shared too"},
                {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
                {"kty": "EC", "kid": "broken curve", "crv": "P-256", "x": "AA", "y": "AA"},
                {**own, "kid": "good", "use": "sig", "alg": "RS256"},
            ]
        }
    )
    keys = published.keys(*KNOWN_ALGORITHMS)
    await keys.start()
    assert set(keys._keys) == {("good", "RS256"), ("another algorithm", "RS512")}


async def test_a_curve_has_its_algorithm(issuer):
    issuer = Issuer()
    for curve in (ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()):
        issuer.add(curve.name, ec.generate_private_key(curve))
    keys = Published(issuer.document).keys(*KNOWN_ALGORITHMS)
    await keys.start()
    found = {id: algorithm for id, algorithm in keys._keys if algorithm.startswith("E")}
    assert found == {"ES256": "ES256", "EdDSA": "EdDSA", "secp384r1": "ES384", "secp521r1": "ES512"}


def test_no_algorithm_is_symmetric():
    assert not [name for name in KNOWN_ALGORITHMS if name.startswith("HS") or name.lower() == "none"]


async def test_a_file_is_read_anew(tmp_path, issuer):
    path = issuer.write(tmp_path / "keys.json")
    read = jwks_sources.file(path)
    assert json.loads(await read()) == issuer.document
    path.write_bytes(b"x" * (jwks_sources.MAX_BYTES + 1))
    with pytest.raises(OSError, match="too large"):
        await read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await read()


@pytest.fixture
def https(tmp_path, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HttpsServer(tmp_path) as server:
        yield server


async def test_a_url_is_read_over_https(https, issuer):
    https.answer = (200, {}, json.dumps(issuer.document).encode())
    assert json.loads(await jwks_sources.url(https.url, https.ca_file)()) == issuer.document
    with pytest.raises(OSError, match="certificate"):
        await jwks_sources.url(https.url)()
    assert https.asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, b"{}"),
        (500, {}, b"{}"),
        (204, {}, b""),
        (301, {"Location": "https://127.0.0.1:1/"}, b""),
        (302, {"Location": "http://127.0.0.1:1/"}, b""),
        (307, {"Location": "file:///etc/hostname"}, b""),
        (200, {}, b"x" * (jwks_sources.MAX_BYTES + 1)),
    ],
)
async def test_nothing_else_is_an_answer(https, answer):
    https.answer = answer
    with pytest.raises(OSError, match=r"answers|too large"):
        await jwks_sources.url(https.url, https.ca_file)()
    assert https.asked == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1/keys", "file:///etc/hostname", "ftp://x/", "keys", "HTTPS:/x"])
def test_only_https_is_read(address):
    with pytest.raises(ValueError, match="https"):
        jwks_sources.url(address)


async def test_an_issuer_that_hangs_is_given_up(https, monkeypatch):
    monkeypatch.setattr(jwks_sources, "TIMEOUT_S", 0.2)
    https.answer = (200, {"Content-Length": "100", "Hang": "yes"}, b"x")
    with pytest.raises(TimeoutError):
        await jwks_sources.url(https.url, https.ca_file)()


async def test_half_an_answer_is_none(https):
    https.answer = (200, {"Content-Length": "100"}, b"{}")
    with pytest.raises(OSError, match="cut short"):
        await jwks_sources.url(https.url, https.ca_file)()


async def test_a_weak_key_is_not_trusted(issuer):
    """A signature by a key of 1,024 bits is as good as none."""
    weak = Issuer()
    weak.add("weak", rsa.generate_private_key(65537, 1024))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which is about the very key
        token = weak.token("weak", algorithm="RS256")
    keys = Published(weak.document).keys()
    await keys.start()
    with pytest.raises(UnauthenticatedError):
        await JwtTokens(TokenConfig(issuer=NAME, audience=AUDIENCE), keys).principal(token)
