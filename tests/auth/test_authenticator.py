"""From the metadata of a call to who calls: whatever is sent, it is somebody or nobody."""

import asyncio
import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.auth.authenticator import AdminKey, Authenticator
from memsvc.auth.grants import Grant, Right
from memsvc.auth.jwks import KeySet
from memsvc.auth.keyring import KeyRing
from memsvc.auth.tokens import JwtTokens, TokenConfig
from memsvc.errors import FailedPreconditionError, MemsvcError, UnauthenticatedError
from tests.auth.issuer import AUDIENCE, NAME, Issuer
from tests.double.store import Data, MemoryStore

ADMIN = secrets.token_hex(16)


class Everything:
    """An authenticator that takes every kind of credential, and one valid credential of each."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self.ring = KeyRing(MemoryStore(Data(), lambda: 1), monotonic=lambda: 0.0)
        self.authenticator: Authenticator
        self.valid: list[str] = []

    async def open(self) -> "Everything":
        async def source() -> bytes:
            return json.dumps(self.issuer.document).encode()

        keys = KeySet(source, ("RS256", "ES256"), 300.0, lambda: 100.0)
        await keys.start()
        tokens = JwtTokens(TokenConfig(issuer=NAME, audience=AUDIENCE), keys)
        _, key = await self.ring.create("key", (Grant("*", frozenset(Right)),), None)
        self.authenticator = Authenticator(self.ring, AdminKey(f"{ADMIN}\n"), tokens)
        self.valid = [key, ADMIN, self.issuer.token(), self.issuer.token("ES256")]
        return self


@pytest.fixture(scope="module")
def everything() -> Everything:
    return asyncio.run(Everything().open())


async def test_each_kind_of_credential_is_somebodys(everything):
    found = [await everything.authenticator.of_header(f"Bearer {token}") for token in everything.valid]
    assert [principal.name.partition(":")[0] for principal in found] == ["key", "admin-file", "jwt", "jwt"]


@given(data=st.data())
def test_whatever_else_is_sent_is_nobodys(everything, data):
    valid = data.draw(st.sampled_from(everything.valid))
    # Not the last: some bits of a signature's last character mean nothing.
    place = data.draw(st.integers(0, len(valid) - 2))
    what = data.draw(st.characters(min_codepoint=0x21, max_codepoint=0x7E))
    mutated = data.draw(
        st.sampled_from(
            [valid[:place] + what + valid[place + 1 :], valid[:place] + valid[place + 1 :], valid[:place] + what * 3]
        )
    )
    if mutated in everything.valid:
        return
    with pytest.raises(UnauthenticatedError) as caught:
        asyncio.run(everything.authenticator.of_header(f"Bearer {mutated}"))
    assert len(mutated) < 8 or mutated not in str(caught.value)


@given(st.text())
def test_no_header_is_a_fault_of_ours(everything, header):
    with pytest.raises(MemsvcError):
        asyncio.run(everything.authenticator.of_header(header))


@pytest.mark.parametrize("content", ["", "x" * 31, "é" * 40, "two words of thirty-two characters", "\x00" * 40])
def test_an_admins_file_holds_a_secret(content):
    with pytest.raises(FailedPreconditionError) as caught:
        AdminKey(content)
    assert not content or content not in str(caught.value)


async def test_an_admins_key_may_look_like_any_other():
    key = f"msk_{'0' * 16}_{'0' * 64}"
    authenticator = Authenticator(KeyRing(MemoryStore(Data(), lambda: 1)), AdminKey(key))
    principal = await authenticator.of_header(f"Bearer {key}")
    assert principal.name == "admin-file"
    assert key not in repr(principal)
