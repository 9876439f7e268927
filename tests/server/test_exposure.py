"""Beyond loopback a server listens only with authentication and TLS, wherever its settings come from."""

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from memsvc.server.config import Settings
from tests.certificates import Authority
from tests.serving import Server, refused

SERVE = [sys.executable, "-m", "memsvc.cli.main", "serve", "--encoder", "kmer", "--port", "0"]


def serve(tmp_path, *arguments, **settings) -> subprocess.CompletedProcess[str]:
    command = [*SERVE, "--data", str(tmp_path / "data"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **settings)


def test_a_store_that_is_no_url_is_a_wrong_argument(tmp_path) -> None:
    ran = serve(tmp_path, "--store", "http://localhost")
    assert (ran.returncode, "store: its scheme must be" in ran.stderr) == (2, True)


def test_a_flag_is_refused(tmp_path) -> None:
    ran = serve(tmp_path, "--host", "0.0.0.0")
    assert ran.returncode == 2
    said = ran.stderr.replace("\n", " ")
    assert "0.0.0.0 is not a loopback address, and there is no authentication and no TLS" in said
    assert "insecure_expose" in said
    assert not (tmp_path / "data").exists()


def test_the_environment_is_refused(tmp_path) -> None:
    assert "is not a loopback address" in refused(Server(tmp_path / "data", host="0.0.0.0"))


def test_a_file_is_refused(tmp_path) -> None:
    config = tmp_path / "memsvc.toml"
    config.write_text('host = "::"\n')
    ran = serve(tmp_path, "--config", config)
    assert (ran.returncode, "loopback" in ran.stderr) == (2, True)


@pytest.mark.parametrize("name", ["none.toml", ""])
def test_a_file_that_is_not_there_is_refused(tmp_path, name) -> None:
    file = tmp_path / name
    ran = serve(tmp_path, env={**os.environ, "MEMSVC_CONFIG": str(file)})
    said = f"error: MEMSVC_CONFIG: {file} cannot be read: there is no such file\n"
    assert (ran.returncode, ran.stderr) == (2, said)


def test_half_of_it_is_not_enough(tmp_path) -> None:
    pair = Authority(tmp_path).issue()
    with pytest.raises(ValidationError, match="there is no authentication") as raised:
        Settings(host="0.0.0.0", tls_cert=pair.cert, tls_key=pair.key)
    assert "TLS" not in str(raised.value).partition(". ")[0]
    with pytest.raises(ValidationError, match=r"there is no TLS\."):
        Settings(host="192.0.2.1", auth=True)
    Settings(host="0.0.0.0", auth=True, tls_cert=pair.cert, tls_key=pair.key)


@pytest.mark.parametrize("host", ["memsvc.example", "0", "2130706433", "127.0.0.1.nip.example"])
def test_what_is_no_loopback_address_is_taken_for_none(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback"):
        Settings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert Settings(host=host).open_sides == ()


def test_whoever_insists_is_warned(tmp_path) -> None:
    with Server(tmp_path / "data", host="0.0.0.0", insecure_expose=True) as server:
        assert server.target.startswith("0.0.0.0:")
    assert "whoever reaches the port is served" in server.log
    assert "authentication" in server.log


def test_others_are_not_sent_to_every_address(tmp_path) -> None:
    shared = {"store": "redis://127.0.0.1:1", "insecure_expose": True}
    with pytest.raises(ValidationError, match=r"advertise: clients cannot be sent to 0\.0\.0\.0"):
        Settings(host="0.0.0.0", **shared)
    Settings(host="0.0.0.0", advertise="memsvc-0:50051", **shared)


def test_a_file_that_is_no_text_is_refused(tmp_path) -> None:
    file = tmp_path / "memsvc.toml"
    file.write_bytes(b"threads = '\xff'")
    ran = serve(tmp_path, env={**os.environ, "MEMSVC_CONFIG": str(file)})
    assert (ran.returncode, ran.stderr.startswith(f"error: {file}: 'utf-8' codec")) == (2, True)
