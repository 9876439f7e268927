"""Tokens of another issuer: which are taken, for whom, and how far they reach."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from memsvc.auth import tokens
from memsvc.auth.grants import Grant, Right
from memsvc.auth.jwks import KeySet
from memsvc.auth.tokens import JwtTokens, TokenConfig
from memsvc.errors import UnauthenticatedError, UnavailableError
from tests.auth.issuer import AUDIENCE, NAME, Issuer

CONFIG = TokenConfig(issuer=NAME, audience=AUDIENCE)
GRANTS = [{"tenant": "foo/*", "rights": ["read", "write"]}, {"tenant": "bar", "rights": ["admin"]}]


class Clock:
    def __init__(self) -> None:
        self.now = time.time()
        self.monotonic = 1000.0


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def reader(issuer, clock) -> JwtTokens:
    async def source() -> bytes:
        return json.dumps(issuer.document).encode()

    keys = KeySet(source, ("RS256", "PS256", "ES256", "EdDSA"), 300.0, lambda: clock.monotonic)
    await keys.start()
    return JwtTokens(CONFIG, keys, lambda: clock.now)


async def refused(reader: JwtTokens, token: str) -> UnauthenticatedError:
    with pytest.raises(UnauthenticatedError) as caught:
        await reader.principal(token)
    assert not token or token not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("id", "algorithm"), [("RS256",) * 2, ("RS256", "PS256"), ("ES256",) * 2, ("EdDSA",) * 2])
async def test_a_token_says_who_calls_and_how_far_it_reaches(reader, issuer, id, algorithm):
    principal = await reader.principal(issuer.token(id, algorithm=algorithm, memsvc=GRANTS))
    assert principal.name == "jwt:ada"
    assert principal.grants == (
        Grant("foo/*", frozenset({Right.READ, Right.WRITE})),
        Grant("bar", frozenset({Right.ADMIN})),
    )
    principal.check_standing()


@pytest.mark.parametrize("id", ["RS256", "ES256", "EdDSA"])
async def test_a_key_that_is_given_with_its_private_half_checks_signatures(issuer, id):
    careless = Issuer()
    careless.document["keys"].clear()
    careless.add(id, careless.private[id], private=True)
    assert "d" in careless.document["keys"][0]

    async def source() -> bytes:
        return json.dumps(careless.document).encode()

    keys = KeySet(source, [id], 300.0)
    await keys.start()
    reader = JwtTokens(CONFIG, keys)
    assert (await reader.principal(careless.token(id))).name == "jwt:ada"
    await refused(reader, issuer.token(id))


async def test_an_audience_may_be_one_of_several(reader, issuer):
    assert (await reader.principal(issuer.token(aud=["other", AUDIENCE], memsvc=GRANTS))).grants


async def test_a_token_without_grants_reaches_nothing(reader, issuer):
    assert (await reader.principal(issuer.token())).grants == ()
    assert (await reader.principal(issuer.token(memsvc=[]))).grants == ()


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": f"{NAME}/"},
        {"iss": None},
        {"iss": [NAME]},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"sub": None},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
    ],
)
async def test_every_claim_has_to_fit(reader, issuer, claims):
    # pyjwt itself would not sign what is no claim of its kind.
    now = int(time.time())
    base = {"iss": NAME, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "memsvc": GRANTS, **claims}
    payload = {name: value for name, value in base.items() if value is not None}
    token = jwt.api_jws.encode(json.dumps(payload).encode(), issuer.private["RS256"], "RS256", {"kid": "RS256"})
    assert (await refused(reader, token)).reason == "CREDENTIAL_INVALID"


async def test_a_token_expires_after_the_leeway(reader, issuer, clock):
    long_ago, just_now = int(clock.now) - 31, int(clock.now) - 5
    assert (await refused(reader, issuer.token(exp=long_ago))).reason == "CREDENTIAL_EXPIRED"
    principal = await reader.principal(token := issuer.token(exp=just_now, memsvc=GRANTS))
    clock.now += 30
    with pytest.raises(UnauthenticatedError) as caught:
        principal.check_standing()
    assert caught.value.reason == "CREDENTIAL_EXPIRED"
    assert (await refused(reader, token)).reason == "CREDENTIAL_EXPIRED", "also one that is kept in mind"


def parts(token: str) -> list[str]:
    return token.split(".")


def packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def test_nothing_is_taken_that_the_issuer_did_not_sign(reader, issuer):
    head, body, signature = parts(issuer.token(memsvc=GRANTS))
    wider = packed({**jwt.decode(f"{head}.{body}.{signature}", options={"verify_signature": False}), "memsvc": []})
    public = issuer.private["RS256"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def with_mac(algorithm: str, secret: bytes) -> str:
        signed = f"{packed({'alg': algorithm, 'kid': 'RS256', 'typ': 'JWT'})}.{body}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    stranger = rsa.generate_private_key(65537, 2048)
    claims = {"iss": NAME, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 600, "memsvc": GRANTS}
    forged = [
        f"{head}.{wider}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{packed({'alg': 'none', 'kid': 'RS256'})}.{body}.",
        f"{packed({'alg': 'None', 'kid': 'RS256'})}.{body}.",
        f"{packed({'kid': 'RS256'})}.{body}.{signature}",
        # The published key taken for a shared secret.
        with_mac("HS256", pem),
        with_mac("HS256", json.dumps(issuer.document["keys"][0]).encode()),
        jwt.encode(claims, stranger, "RS256", headers={"kid": "RS256"}),
        jwt.encode(claims, stranger, "RS256", headers={"kid": "stranger", "jku": "https://stranger.example/keys"}),
        # Another key's id, another algorithm's name.
        issuer.token("RS256", headers={"kid": "ES256"}),
        issuer.token("ES256", headers={"kid": "RS256"}),
        issuer.token("RS256", algorithm="RS512"),
        issuer.token("RS256", headers={"kid": None}),
        issuer.token("RS256", headers={"crit": ["x"], "x": 1}),
        f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.{body}.{signature}",
        f"{packed({'alg': ['RS256'], 'kid': 'RS256'})}.{body}.{signature}",
        f"{packed({'alg': 'RS256', 'kid': ['RS256']})}.{body}.{signature}",
        f"{packed([])}.{body}.{signature}",
        "a.b.c",
        "...",
        "é.é.é",
        "",
    ]
    for token in forged:
        assert (await refused(reader, token)).reason == "CREDENTIAL_INVALID"


@pytest.mark.parametrize(
    "claim",
    [
        "foo",
        {"tenant": "foo", "rights": ["read"]},
        ["foo"],
        [{"tenant": "foo"}],
        [{"tenant": "foo", "rights": "read"}],
        [{"tenant": "foo", "rights": ["own"]}],
        [{"tenant": "foo", "rights": [["read"]]}],
        [{"tenant": "foo", "rights": []}],
        [{"tenant": "f*", "rights": ["read"]}],
        [{"tenant": "", "rights": ["read"]}],
        [{"tenant": 7, "rights": ["read"]}],
        [{"tenant": "\ud800", "rights": ["read"]}],
        [{"tenant": "foo", "rights": ["read"], "more": 1}],
        [{"tenant": "foo", "rights": ["read"]}] * 65,
        [{"tenant": "foo", "rights": ["read"]}, None],
    ],
)
async def test_a_claim_that_is_no_list_of_grants_is_said_so(reader, issuer, claim):
    error = await refused(reader, issuer.token(memsvc=claim))
    assert error.reason == "CREDENTIAL_INVALID"
    assert str(error).startswith("the token cannot be used: ")
    assert "memsvc" in str(error)


@pytest.mark.parametrize("sub", ["", "x" * 257, "a\nb", "\ud800"])
async def test_a_subject_can_be_written_into_a_log(reader, issuer, sub):
    assert "sub" in str(await refused(reader, issuer.token(sub=sub)))


async def test_the_claim_is_the_one_that_is_set(issuer, reader):
    other = JwtTokens(TokenConfig(issuer=NAME, audience=AUDIENCE, claim="https://x.example/grants"), reader._keys)
    principal = await other.principal(issuer.token(memsvc=GRANTS, **{"https://x.example/grants": GRANTS[1:]}))
    assert [grant.tenant for grant in principal.grants] == ["bar"]


async def test_tokens_are_kept_in_mind_up_to_a_number(reader, issuer, monkeypatch):
    monkeypatch.setattr(tokens, "KNOWN_TOKENS", 2)
    verified = []
    genuine = jwt.decode
    monkeypatch.setattr(tokens.jwt, "decode", lambda *args, **kwargs: verified.append(1) or genuine(*args, **kwargs))
    made = [issuer.token(sub=str(i), memsvc=GRANTS) for i in range(3)]
    for token in (made[0], made[0], made[1], made[0], made[2], made[0], made[1]):
        await reader.principal(token)
    assert len(verified) == 4
    assert len(reader._known) == 2


async def test_what_is_refused_is_not_kept(reader, issuer):
    for _ in range(3):
        await refused(reader, issuer.token(iss="other"))
    assert not reader._known


async def test_a_key_that_its_issuer_withdrew_ends_what_it_signed(issuer, clock):
    documents = [issuer.document, {"keys": issuer.document["keys"][1:]}]

    async def source() -> bytes:
        return json.dumps(documents[0]).encode()

    keys = KeySet(source, ("RS256", "ES256"), 300.0, lambda: clock.monotonic)
    await keys.start()
    reader = JwtTokens(CONFIG, keys, lambda: clock.now)
    principal = await reader.principal(token := issuer.token(memsvc=GRANTS))
    del documents[0]
    clock.monotonic += 301
    principal.check_standing()  # it serves while the keys are read
    await keys._reading
    with pytest.raises(UnauthenticatedError):
        principal.check_standing()
    assert (await refused(reader, token)).reason == "CREDENTIAL_INVALID"


async def test_an_issuer_that_was_never_reached_is_said_so(issuer):
    async def source() -> bytes:
        raise OSError("away")

    keys = KeySet(source, ("RS256",), 300.0)
    await keys.start()
    with pytest.raises(UnavailableError) as caught:
        await JwtTokens(CONFIG, keys).principal(issuer.token())
    assert caught.value.reason == "ISSUER_UNREACHABLE"
