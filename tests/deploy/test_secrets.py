"""The secrets of docker-compose.yml at work: Redis and a server with its settings, as processes of this machine."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from memsvc_client import TLS, MemoryClient

from tests.deploy.composition import ROOT, make_secrets, services
from tests.redis_server import RedisServer, free_port
from tests.serving import Server


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    return make_secrets(tmp_path_factory.mktemp("deploy"), "memsvc.example", "10.0.0.7")


@pytest.fixture
def redis(tmp_path, secrets):
    """Redis with the file and the users that the container has."""
    settings = [line.partition(" ") for line in (ROOT / "memsvc/stack/redis.conf").read_text().splitlines() if line]
    options = {name: value for name, _, value in settings if not name.startswith("#")}
    with RedisServer(tmp_path / "redis", **options, aclfile=secrets / "redis_acl") as server:
        yield server


def test_what_is_there_stays(secrets):
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run([secrets.parent / "secrets.sh"], check=True, capture_output=True, timeout=60)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


def test_others_do_not_reach_them_and_containers_can_read_them(secrets):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}
    contents = {path.name: path.read_text() for path in secrets.iterdir()}
    assert len({contents[name] for name in ("admin_key", "grafana_password", "redis_password")}) == 3
    assert all(len(contents[name]) == 64 for name in ("admin_key", "grafana_password", "redis_password"))
    assert contents["redis_password"] not in contents["redis_acl"]


def test_the_health_check_of_redis_needs_no_password_and_can_do_nothing_else(redis):
    def say(*words: str) -> str:
        command = ["redis-cli", "-p", str(redis.port), "--user", "health", "--pass", "none", "--no-auth-warning"]
        return subprocess.run([*command, *words], capture_output=True, text=True, check=False).stdout.strip()

    assert say("ping") == "PONG"
    assert say("get", "memsvc:x").startswith("NOPERM")
    assert say("info").startswith("NOPERM")
    assert redis.command("PING").startswith(b"-NOAUTH")


def test_a_server_with_the_settings_of_the_container_serves(redis, secrets, tmp_path):
    given = {
        variable.removeprefix("MEMSVC_").lower(): str(value)
        .replace("/run/secrets", str(secrets))
        .replace("/etc/memsvc", str(ROOT / "deploy"))
        for variable, value in services()["memsvc"]["environment"].items()
    }
    given["store"] = given["store"].replace("redis:6379", f"127.0.0.1:{redis.port}")
    given |= {"port": free_port(), "metrics_port": free_port(), "metrics_host": "127.0.0.1"}
    given["advertise"] = f"localhost:{given['port']}"
    with Server(tmp_path / "unused", **given) as server:
        target = f"localhost:{server.target.rpartition(':')[2]}"
        key, tls = (secrets / "admin_key").read_text(), TLS(ca=secrets / "tls_ca")
        with MemoryClient(target, api_key=key, tls=tls) as client:
            client.create_tenant("ada")
            client.write("ada", ["The key is under the mat."], wait="applied")
            assert client.recall("ada", "key").hits[0].text == "The key is under the mat."
        ran = subprocess.run(
            [sys.executable, "-m", "memsvc.cli.main", "health", "--target", target, "--tls-ca", secrets / "tls_ca"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, "SERVING" in ran.stdout) == (0, True)
        assert server.stop() == 0
    password = (secrets / "redis_password").read_text()
    assert not {secret for secret in (key, password) if secret in server.log}
