"""A server on a unix socket, for its user alone."""

import stat

import pytest
from memsvc_client import MemoryClient
from pydantic import ValidationError

from memsvc.server.addresses import MAX_SOCKET_BYTES
from memsvc.server.config import Settings
from tests.serving import Server, refused


def test_it_serves_there_and_its_user_alone_may_connect(tmp_path):
    path = tmp_path / "memsvc.sock"
    with Server(tmp_path / "data", listen=f"unix:{path}") as server:
        assert server.target == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with MemoryClient(server.target, api_key="it-stays-on-this-machine") as client:
            client.create_tenant("ada")
            assert [each.tenant for each in client.list_tenants()] == ["ada"]
        assert "listens on" in refused(Server(tmp_path / "other", listen=server.target))
        with server.client() as client:
            assert [each.tenant for each in client.list_tenants()] == ["ada"]
        server.kill()
        server.start()  # over the socket that was left behind


def test_a_path_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / ("x" * MAX_SOCKET_BYTES)
    assert f"listen: the path of a unix socket has at most {MAX_SOCKET_BYTES} bytes" in refused(
        Server(tmp_path / "data", listen=f"unix:{path}")
    )


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    assert "cannot be made" in refused(Server(tmp_path / "data", listen=f"unix:{tmp_path}/none/memsvc.sock"))


@pytest.mark.parametrize(
    "settings",
    [
        {"listen": "/run/memsvc.sock"},
        {"listen": "unix:"},
        {"listen": "unix:/run/a", "tls_cert": "a", "tls_key": "b"},
        {"listen": "unix:/run/a", "store": "redis://127.0.0.1"},
    ],
)
def test_settings_that_do_not_fit(settings):
    with pytest.raises(ValidationError, match="listen"):
        Settings(**settings)


def test_the_host_says_who_reaches_http_beside_it():
    assert Settings(listen="unix:/run/a", host="192.0.2.1").open_sides == ()
    assert Settings(listen="unix:/run/a", http_port=0).open_sides == ()
    beyond = Settings(listen="unix:/run/a", http_port=0, host="192.0.2.1", insecure_expose=True)
    assert beyond.open_sides == ("authentication", "TLS")
