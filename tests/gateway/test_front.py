"""Under which names a server answers, and to which pages."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from memsvc.errors import FailedPreconditionError
from memsvc.server.config import Settings
from memsvc.server.http import open_gateway
from tests.gateway.http import http, problem, url
from tests.serving import Server, refused

PAGE = "https://app.example"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory) -> Iterator[Server]:
    """A server that is told of a name and of a page."""
    settings = {"http_port": 0, "http_hosts": '["memory.example"]', "http_origins": f'["{PAGE}"]'}
    with Server(tmp_path_factory.mktemp("front") / "data", **settings) as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "LOCALHOST", "[::1]:80"])
def test_loopback_has_its_names(client, host) -> None:
    assert client.get("/v1/tenants", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::2]", "", "x@localhost"]
)
def test_another_name_is_refused_on_loopback_too(client, host) -> None:
    problem(client.get("/v1/tenants", headers={"host": host}), 421, "HOST_UNKNOWN")


@pytest.mark.parametrize("path", ["/v1/tenants", "/v1/health", "/v1/openapi.json", "/nowhere"])
def test_no_page_calls_unless_it_is_told_of(client, path) -> None:
    for origin in ("http://evil.example", "null", PAGE, "http://127.0.0.1:1"):
        answer = client.get(path, headers={"origin": origin})
        problem(answer, 403, "ORIGIN_UNKNOWN")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_page_of_this_very_server_calls(client, server) -> None:
    assert client.get("/v1/tenants", headers={"origin": url(server)}).status_code == 200


def test_a_page_that_is_told_of_calls(open_server) -> None:
    with http(open_server) as client:
        answer = client.get("/v1/tenants/none", headers={"origin": PAGE, "host": "Memory.Example:8080"})
        problem(answer, 404, "TENANT_NOT_FOUND")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        asks = {"access-control-request-method": "PUT", "access-control-request-headers": "authorization,content-type"}
        assert client.options("/v1/tenants/t/entries/e", headers={"origin": PAGE, **asks}).status_code == 200
        problem(client.options("/v1/tenants", headers={"origin": "http://evil.example", **asks}), 403, "ORIGIN_UNKNOWN")
        problem(client.get("/v1/tenants", headers={"host": "other.example"}), 421, "HOST_UNKNOWN")


def test_the_flag_takes_the_port_before_anything_else(tmp_path, server) -> None:
    taken = url(server).rpartition(":")[2]
    command = [sys.executable, "-m", "memsvc.cli.main", "serve", "--data", tmp_path / "data", "--port", "0"]
    ran = subprocess.run([*command, "--http", taken], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, f"http_port {taken}" in ran.stderr.replace("\n", " ")) == (1, True), ran.stderr
    assert not (tmp_path / "data").exists()


def test_an_extra_that_is_missing_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "memsvc.gateway.gateway", None)
    given = Settings(http_port=0)
    with pytest.raises(FailedPreconditionError, match=r"memsvc\[http\]") as caught, open_gateway(given, None, None):
        pass
    assert caught.value.reason == "EXTRA_MISSING"


def test_a_socket_that_cannot_be_made_is_named(tmp_path, monkeypatch) -> None:
    (deep := tmp_path / ("d" * 120)).mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    assert "is TMPDIR there, and short?" in refused(Server(tmp_path / "data", http_port=0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"http_origins": ["*"]}, "http_origins"),
        ({"http_origins": ["https://app.example/"]}, "http_origins"),
        ({"http_hosts": ["a b"]}, "http_hosts"),
        ({"http_port": 0, "host": "0.0.0.0"}, "loopback"),
        ({"http_port": 0, "host": "0.0.0.0", "listen": "unix:/run/a"}, "no authentication and no TLS"),
        ({"http_port": 0, "host": "0.0.0.0", "listen": "unix:/run/a", "auth": True}, "loopback"),
        ({"http_port": 0, "host": "0.0.0.0", "insecure_expose": True}, "http_hosts"),
    ],
)  # fmt: skip
def test_settings_that_would_open_too_much_are_refused(settings, said) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(**settings)
