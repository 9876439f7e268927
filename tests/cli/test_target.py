"""How commands are told which server to talk to, and what to show it."""

import click
import pytest
import typer
from memsvc_client import TLS, UnavailableError

from memsvc.cli.main import make_app
from tests.certificates import Authority


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text("from-the-file\n")
    return path


def test_a_key_comes_from_a_file_or_the_environment(fake, memsvc, monkeypatch, key_file):
    memsvc("tenants", "list")
    assert (fake.options["api_key"], fake.options["tls"]) == (None, False)
    monkeypatch.setenv("MEMSVC_API_KEY", "from-the-environment")
    memsvc("tenants", "list")
    assert fake.options["api_key"] == "from-the-environment"
    memsvc("tenants", "list", "--api-key-file", key_file)
    assert fake.options["api_key"] == "from-the-file"


def test_files_of_tls_are_handed_on(fake, memsvc, monkeypatch, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue()
    memsvc("tenants", "--tls")
    assert fake.options["tls"] is True
    memsvc("tenants", "--tls-ca", authority.ca, "--tls-cert", cert, "--tls-key", key)
    assert fake.options["tls"] == TLS(ca=authority.ca, cert=cert, key=key)
    monkeypatch.setenv("MEMSVC_TLS_CA", str(authority.ca))
    memsvc("tenants")
    assert fake.options["tls"] == TLS(ca=authority.ca)


def test_the_servers_own_variables_are_not_the_clients(fake, memsvc, monkeypatch, tmp_path):
    """Where both run in one container."""
    pair = Authority(tmp_path).issue()
    monkeypatch.setenv("MEMSVC_TLS_CERT", str(pair.cert))
    monkeypatch.setenv("MEMSVC_TLS_KEY", str(pair.key))
    assert memsvc("tenants").code == 0
    assert fake.options["tls"] is False


def test_what_is_wrong_is_said_of_the_option(fake, memsvc, tmp_path):
    cert, _ = Authority(tmp_path).issue()
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    for arguments, says in [
        (["--tls-cert", cert], "--tls-key: a certificate needs its key"),
        (["--tls-ca", tmp_path / "none"], "--tls-ca"),
        (["--api-key-file", tmp_path / "none"], "--api-key-file"),
        (["--api-key-file", binary], "--api-key-file"),
    ]:
        ran = memsvc("tenants", *arguments)
        assert (ran.code, says in ran.err) == (2, True)


def test_a_key_in_the_clear_is_refused_unless_it_is_allowed(memsvc, key_file):
    remote = ["tenants", "--target", "192.0.2.1:1", "--api-key-file", key_file]
    ran = memsvc(*remote)
    assert (ran.code, "api_key: would go to 192.0.2.1:1 unencrypted" in ran.err) == (2, True)
    assert "from-the-file" not in ran.err


def test_a_key_in_the_clear_can_be_allowed(fake, memsvc, key_file):
    memsvc("tenants", "--api-key-file", key_file, "--allow-plaintext-key")
    assert fake.options["allow_plaintext_key"] is True


def test_a_handshake_that_fails_is_not_taken_for_a_server_that_is_down(fake, memsvc):
    fake.fail["list_tenants"] = [UnavailableError("127.0.0.1:1 does not speak TLS", reason="HANDSHAKE_FAILED")]
    ran = memsvc("tenants")
    assert (ran.code, "does not speak TLS" in ran.err, "memsvc serve" in ran.err) == (3, True, False)


def test_every_command_that_connects_has_all_of_it():
    """A command with --target that could not show a key would be of no use with a server that asks for one."""

    def walk(command: click.Command):
        yield command
        for each in getattr(command, "commands", {}).values():
            yield from walk(each)

    connecting = 0
    for command in walk(typer.main.get_command(make_app())):
        options = {option for parameter in command.params for option in parameter.opts}
        if "--target" in options:
            connecting += 1
            assert {"--api-key-file", "--tls", "--tls-ca", "--tls-cert", "--tls-key"} <= options
    assert connecting > 15
