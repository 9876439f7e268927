"""Records: what goes in comes out, equal content has equal hashes, damage is noticed."""

from dataclasses import asdict

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.errors import DataLossError
from memsvc.memory.config import MemoryConfig
from memsvc.store.types import Payload
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import (
    FORMAT,
    Content,
    decode_create,
    decode_numerics,
    decode_payload,
    encode_create,
    encode_numerics,
    encode_payload,
    reconfigured,
)

CONTENTS = st.builds(
    Content,
    text=st.text(min_size=1),
    session=st.text(),
    role=st.text(max_size=5),
    time_us=st.none() | st.integers(-(2**55), 2**55),
    metadata_json=st.sampled_from(["", '{"a": 1}']),
    vector=st.binary(max_size=16),
)


@given(st.text(min_size=1), CONTENTS)
def test_payload_round_trip(id, content) -> None:
    payload = encode_payload(id, content)
    assert decode_payload(payload) == content
    assert payload.id == id


@given(CONTENTS, CONTENTS, st.sampled_from("ab"), st.sampled_from("ab"))
def test_the_hash_tells_contents_apart(one, other, id, other_id) -> None:
    same = encode_payload(id, one).content_hash == encode_payload(other_id, other).content_hash
    assert same == ((id, one) == (other_id, other))


@given(CONTENTS)
def test_an_assigned_id_leaves_no_trace_in_the_hash(content) -> None:
    one, other = (encode_payload(id, content, id_assigned=True) for id in ("x", "y"))
    assert one.content_hash == other.content_hash
    assert one.content_hash != encode_payload("x", content).content_hash


def test_bodies_round_trip() -> None:
    config = MemoryConfig(layers=8, eta=0.98, half_life=100.0, width=384)
    policies = Policies(max_entries=5, ttl_us=7, snapshots="all")
    assert decode_create(encode_create(config, "f"), 384) == (config, "f", Policies(), "")
    assert decode_create(encode_create(config, "f", policies), 384) == (config, "f", policies, "")
    assert decode_create(encode_create(config, "f"), 96)[0].width == 96, "the width is the encoder's"
    assert decode_numerics(encode_numerics("g", 7)) == ("g", 7)


def test_a_tenant_made_before_windows_could_be_set_has_the_default() -> None:
    settings = {name: value for name, value in asdict(MemoryConfig()).items() if name not in {"width", "window"}}
    body = bytes([FORMAT]) + msgpack.packb([settings, "f", asdict(Policies())])
    assert decode_create(body, 384).memory == MemoryConfig(window=131_072)
    changed = reconfigured(body, {"window": 4096}, {})
    assert decode_create(changed, 384).memory == MemoryConfig(window=4096)


@pytest.mark.parametrize("data", [b"", b"\x02\x91\x01", b"\x01", b"\x01\x91\x01", b"\x01\xc1", b"\x01\xa1"])
def test_damage_is_data_loss(data) -> None:
    with pytest.raises(DataLossError):
        decode_payload(Payload(id="x", content_hash=b"", data=data))
    with pytest.raises(DataLossError):
        decode_create(data, 8)
