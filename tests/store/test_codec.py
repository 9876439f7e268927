"""Manifests: whole, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.errors import DataLossError
from memsvc.store.codec import FORMAT, Manifest, digest, seal, unseal

manifests = st.builds(
    Manifest,
    uid=st.text(max_size=32),
    seq=st.integers(0, 2**63 - 1),
    meta=st.binary(max_size=64),
    blobs=st.dictionaries(st.text(max_size=8), st.binary(min_size=32, max_size=32), max_size=4),
)


@given(manifests)
def test_a_manifest_comes_back(manifest) -> None:
    decoded = Manifest.decode(manifest.encode())
    assert decoded == manifest
    assert list(decoded.blobs) == list(manifest.blobs)


@given(manifests, st.data())
def test_no_change_of_a_byte_goes_unnoticed(manifest, data) -> None:
    sealed = bytearray(manifest.encode())
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataLossError):
        Manifest.decode(bytes(sealed))


@given(st.binary(max_size=100), st.integers(0, 130))
def test_what_is_cut_is_refused(body, length) -> None:
    sealed = seal(body)
    assert unseal(sealed) == body
    if length < len(sealed):
        with pytest.raises(DataLossError):
            unseal(sealed[:length])


def test_a_newer_format_is_named() -> None:
    newer = bytes([FORMAT + 1]) + b"body"
    with pytest.raises(DataLossError, match=f"format {FORMAT + 1}"):
        unseal(newer + digest(newer))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x01"])
def test_a_sound_seal_on_something_else_is_refused(body) -> None:
    with pytest.raises(DataLossError):
        Manifest.decode(seal(body))
