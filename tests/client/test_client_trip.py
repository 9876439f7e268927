"""Addresses, routes and open channels, without a network."""

import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from memsvc_client import (
    InvalidArgumentError,
    RetryPolicy,
    UnavailableError,
    _addresses,
    _channel,
    _peers,
    _routes,
)
from memsvc_client._routes import Routes
from memsvc_client._trip import Trip

TARGETS = ("a:1", "b:2", "c:3")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:50051",
        "localhost:1",
        "memsvc-0.memsvc.svc.cluster.local:65535",
        "memsvc_1:50051",
        "[::1]:50051",
        "unix:80",
    ],
)
def test_a_host_and_a_port(address):
    assert _addresses.is_host_and_port(address)
    assert _channel._uri(address) == f"dns:///{address}", "no scheme of gRPC's"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        ":50051",
        "host:",
        "host:0",
        "host:065",
        "host:65536",
        "host:50051/x",
        "host:50051,other:50051",
        "host:50051\n",
        "ho st:50051",
        "-host:50051",
        "user@host:50051",
        "http://host:80",
        "dns:///host:80",
        "unix:/tmp/socket",
        "unix:///tmp/socket",
        "ipv4:127.0.0.1:50051",
        "::1:50051",
        "[::1]",
        "[x]:1",
        "höst:50051",
        "host:٥٠",
        "h" * 254 + ":1",
    ],
)
def test_what_is_no_host_and_port(address):
    assert not _addresses.is_host_and_port(address)
    assert _channel._uri(address) == address


@given(st.text())
def test_no_text_of_a_process_becomes_anything_but_a_name_and_a_port(text):
    if _addresses.is_host_and_port(text):
        host, _, port = text.rpartition(":")
        assert not set(host) & set("/@?#%,; ")
        assert 1 <= int(port) <= 65535


@pytest.mark.parametrize("target", ["", " ", "a:1,", ",", [], ["a:1", ""], [7], 7, None, {"a:1"}, b"a:1"])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(InvalidArgumentError) as raised:
        _addresses.targets(target)
    assert raised.value.field == "target"


def test_targets_keep_their_order_each_once():
    assert _addresses.targets("b:2, a:1,b:2") == ("b:2", "a:1") == _addresses.targets(["b:2", "a:1", "b:2"])
    assert _addresses.targets("unix:/tmp/socket") == ("unix:/tmp/socket",)


def test_a_route_is_for_its_tenant_only_until_it_is_left():
    routes = Routes(TARGETS)
    routes.learn("t", "o:9")
    assert [routes.of(tenant) for tenant in ("t", "u", None)] == ["o:9", "a:1", "a:1"]
    routes.leave("t", "a:1")
    assert [routes.of(tenant) for tenant in ("t", "u", None)] == ["o:9", "b:2", "b:2"]
    routes.leave("t", "o:9")
    assert routes.of("t") == "b:2"


def test_one_that_was_left_by_another_call_is_not_left_again():
    routes = Routes(TARGETS)
    routes.leave(None, "a:1")
    routes.leave(None, "a:1")
    assert routes.of(None) == "b:2"


def test_owners_follow_the_configured_addresses_and_those_come_again():
    routes = Routes(TARGETS)
    routes.learn("t", "o:9")
    routes.learn("u", "b:2")
    seen = []
    for _ in range(6):
        seen.append(routes.of(None))
        routes.leave(None, seen[-1])
    assert seen == ["a:1", "b:2", "c:3", "o:9", "a:1", "b:2"]


def test_routes_are_bounded_and_the_least_lately_used_goes_first():
    routes = Routes(TARGETS)
    for i in range(_routes.MOST_TENANTS):
        routes.learn(f"t{i}", f"o{i}:9")
    routes.of("t0")
    routes.learn("new", "o:9")
    assert [routes.of(tenant) for tenant in ("t0", "t1", "t2", "new")] == ["o0:9", "a:1", "o2:9", "o:9"]
    passed = 0
    while routes.of(None) != "a:1" or not passed:
        routes.leave(None, routes.of(None))
        passed += 1
    assert passed == len(TARGETS) + _routes.MOST_OWNERS


@given(
    st.lists(
        st.tuples(st.sampled_from(["learn", "leave"]), st.sampled_from("tu"), st.sampled_from([*TARGETS, "o:9", "p:9"]))
    )
)
def test_there_is_always_someone_to_ask_and_all_configured_ones_come_round(steps):
    routes = Routes(TARGETS)
    for step, tenant, address in steps:
        getattr(routes, step)(tenant, address)
    seen = set()
    for _ in range(10):
        seen.add(routes.of(None))
        routes.leave(None, routes.of(None))
    assert seen >= set(TARGETS)


def not_owner(owner):
    """The failure of a call that went to the wrong process."""
    info = AnyMessage()
    info.Pack(ErrorInfo(reason="NOT_OWNER", metadata={"owner": owner}))
    status = status_pb2.Status(code=StatusCode.UNAVAILABLE.value[0], details=[info])
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailers)


def test_a_stream_that_got_on_may_go_to_and_fro_without_a_pause():
    trip = Trip(Routes(TARGETS), RetryPolicy(attempts=1), "t", 30.0)
    for at, owner in ((0, 1), (1, 0), (0, 2), (2, 0)):
        assert trip.begin() == TARGETS[at]
        trip.renew()
        assert trip.pause(not_owner(TARGETS[owner])) == 0
    assert trip.begin() == TARGETS[0]
    assert trip.pause(not_owner(TARGETS[1])) == 0
    assert trip.begin() == TARGETS[1]
    with pytest.raises(UnavailableError):
        trip.pause(not_owner(TARGETS[0]))


def pool():
    opened = []
    return _peers._Pool(lambda address: opened.append(address) or address), opened


def test_a_channel_is_opened_once_and_kept():
    peers, opened = pool()
    for _ in range(3):
        assert peers.take("a") == "a"
        assert peers.give_back("a") == []
    assert opened == ["a"]
    assert peers.close() == ["a"]


def test_the_least_lately_used_idle_channel_is_closed_for_one_too_many():
    peers, opened = pool()
    addresses = [str(i) for i in range(_peers.MOST_OPEN)]
    for address in addresses:
        peers.take(address)
    for address in addresses[1:]:
        assert peers.give_back(address) == []
    peers.take("1")
    assert peers.give_back("1") == []
    peers.take("new")
    assert peers.give_back("new") == ["2"], "0 is in use, 1 was used just now"
    peers.take("2")
    assert opened[-2:] == ["new", "2"]
    assert set(peers.close()) == {*addresses, "new"}, "2 in use again, and none had to go for it yet"


def test_channels_in_use_stay_however_many():
    peers, _ = pool()
    addresses = [str(i) for i in range(2 * _peers.MOST_OPEN)]
    for address in addresses:
        peers.take(address)
    closed = [each for address in addresses for each in peers.give_back(address)]
    assert closed == addresses[: _peers.MOST_OPEN]
