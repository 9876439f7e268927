"""`memsvc health` against real servers."""

import json
from collections.abc import Iterator

import pytest

from memsvc.cli import health as health_module
from tests.certificates import Authority
from tests.serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    pair = Authority(tmp_path_factory.mktemp("certificates")).issue()
    with Server(tmp_path_factory.mktemp("health") / "data", tls_cert=pair.cert, tls_key=pair.key) as server:
        server.ca = pair.cert.with_name("authority.crt")
        yield server


def test_a_server_that_serves_is_healthy(memsvc, server):
    ran = memsvc("health", "--target", server.target, "--tls-ca", server.ca, "--json")
    assert (ran.code, ran.json) == (0, {server.target: "SERVING"})
    assert memsvc("health", "--target", server.target, "--tls-ca", server.ca, "--live").code == 0


def test_a_key_in_the_environment_is_not_shown_to_whoever_is_asked(memsvc, server, monkeypatch):
    """Where it would not be shown in the clear either, the question is none about the key."""
    monkeypatch.setenv("MEMSVC_API_KEY", "planted")
    ran = memsvc("health", "--target", server.target, "--tls-ca", server.ca)
    assert (ran.code, "planted" in ran.out + ran.err) == (0, False)
    assert memsvc("health", "--target", "192.0.2.1:1", "--timeout", "0.2").code == 3


def test_a_server_that_cannot_be_reached_says_why(memsvc, server):
    ran = memsvc("health", "--target", server.target)
    assert (ran.code, "may ask for TLS" in ran.err) == (3, True)
    ran = memsvc("health", "--target", "127.0.0.1:1")
    assert (ran.code, "no memsvc server answers" in ran.err) == (3, True)


def test_each_of_several_addresses_is_asked(memsvc, server):
    """The first that does not answer is not the end of it."""
    target = f"127.0.0.1:1,{server.target}"
    ran = memsvc("health", "--target", target, "--tls-ca", server.ca, "--json")
    assert (ran.code, ran.json) == (1, {"127.0.0.1:1": "UNREACHABLE", server.target: "SERVING"})
    assert "no memsvc server answers" in ran.err
    ran = memsvc("health", "--target", target, "--tls-ca", server.ca)
    assert [line.split() for line in ran.out.splitlines()][1:] == [
        ["127.0.0.1:1", "UNREACHABLE"],
        [server.target, "SERVING"],
    ]
    assert memsvc("health", "--target", "127.0.0.1:1", "--json").json == {"127.0.0.1:1": "UNREACHABLE"}


def test_an_address_is_shown_as_it_is(memsvc, monkeypatch):
    """Brackets with a letter behind them are no markup."""
    monkeypatch.setattr(health_module, "_ask", lambda *_: "SERVING")
    assert "[fd00::1]:50051" in memsvc("health", "--target", "[fd00::1]:50051").out


def test_a_server_that_starts_lives_and_does_not_serve(memsvc):
    """As between its first word and its last preparation."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    servicer.set("liveness", health_pb2.HealthCheckResponse.SERVING)
    starting = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, starting)
    target = f"127.0.0.1:{starting.add_insecure_port('127.0.0.1:0')}"
    starting.start()
    ran = memsvc("health", "--target", target, "--json")
    assert (ran.code, json.loads(ran.out)) == (1, {target: "NOT_SERVING"})
    assert memsvc("health", "--target", target, "--live").code == 0
    starting.stop(None).wait()
