"""What docker-compose.yml promises, where that can be told without containers. `make lint` checks it by its schema."""

import re

import pytest
from typer.main import get_command

from memsvc.cli.main import make_app
from memsvc.server.config import CONFIG_VARIABLE, Settings
from memsvc.server.quota_config import QuotaConfig
from tests.deploy.composition import ROOT, compose, make_secrets, memory, services

SERVICES = sorted(services())
CLIENTS = {"MEMSVC_TLS_CA"}
"""Variables of `memsvc` as a client."""
each = pytest.mark.parametrize("name", SERVICES)


def test_these_are_the_services():
    assert SERVICES == ["grafana", "memsvc", "memsvc-gpu", "prometheus", "redis"]
    profiles = {name: service["profiles"] for name, service in services().items() if "profiles" in service}
    assert profiles == {"memsvc": ["cpu"], "memsvc-gpu": ["gpu"]}


@each
def test_an_image_is_pinned(name):
    assert re.fullmatch(r"[a-z][a-z/]*:v?\d+\.\d+\.\d+(-[a-z]+)?", services()[name]["image"])


@each
def test_a_service_can_do_little(name):
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert "docker.sock" not in str(service)


@each
def test_a_service_is_bounded_and_looked_after(name):
    service = services()[name]
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])


@each
def test_secrets_are_files(name):
    service = services()[name]
    environment = service.get("environment", {})
    given = set(re.findall(r"/run/secrets/(\w+)", f"{environment} {service.get('command')}"))
    assert given == set(service.get("secrets", []))
    for variable, value in environment.items():
        if re.search("PASSWORD|KEY|TOKEN|SECRET", variable):
            assert value.startswith("/run/secrets/"), variable


def test_only_memsvc_leaves_the_machine_and_only_when_it_is_told_to():
    published = {name: service.get("ports", []) for name, service in services().items()}
    assert published["redis"] == []
    assert published["memsvc"] == published["memsvc-gpu"] == ["${MEMSVC_BIND:-127.0.0.1}:50051:50051"]
    for port in published["prometheus"] + published["grafana"]:
        assert port.startswith("127.0.0.1:")


def test_redis_is_reached_by_memsvc_alone():
    networks = compose()["networks"]
    assert services()["redis"]["networks"] == ["store"]
    assert networks["store"]["internal"] is True
    assert {name for name, service in services().items() if "store" in service["networks"]} == {
        "redis",
        "memsvc",
        "memsvc-gpu",
    }


def test_redis_has_room_to_write_its_file_anew():
    redis = services()["redis"]
    command = redis["command"]
    most = memory(command[command.index("--maxmemory") + 1])
    assert most <= memory(redis["deploy"]["resources"]["limits"]["memory"]) * 0.7
    assert "./memsvc/stack/redis.conf:/etc/redis/redis.conf:ro" in redis["volumes"]
    assert command[:2] == ["redis-server", "/etc/redis/redis.conf"]


def test_redis_is_set_as_the_documentation_says():
    (shown,) = re.findall(r"```conf\n(.*?)```", (ROOT / "docs" / "redis.md").read_text(), re.DOTALL)
    assert shown in (ROOT / "memsvc" / "stack" / "redis.conf").read_text()


def test_a_server_has_time_to_drain():
    minutes = re.fullmatch(r"(\d+)m", services()["memsvc"]["stop_grace_period"])
    assert int(minutes[1]) * 60 > 2 * Settings().drain_s


def test_nobody_may_use_all_of_it(monkeypatch):
    """The file of quotas is in the container where the server looks for it."""
    for name in ("memsvc", "memsvc-gpu"):
        service = services()[name]
        mounted = dict(reversed(volume.split(":")[:2]) for volume in service["volumes"])
        monkeypatch.setenv(CONFIG_VARIABLE, str(ROOT / mounted[service["environment"][CONFIG_VARIABLE]]))
        quotas = Settings().quotas
        assert 0 < quotas.tenant.requests_per_s < QuotaConfig().tenant.requests_per_s
        assert quotas.tenant.entries > 0


def test_every_setting_and_command_exists():
    known = {f"MEMSVC_{field.upper()}" for field in Settings.model_fields} | CLIENTS | {CONFIG_VARIABLE}
    commands = set(get_command(make_app()).commands)
    for name in ("memsvc", "memsvc-gpu"):
        service = services()[name]
        assert set(service["environment"]) <= known
        assert service["command"][0] in commands
        kind, program, command = service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "memsvc")
        assert command in commands


def test_every_file_is_there_or_is_made(tmp_path):
    made = {path.name for path in make_secrets(tmp_path).iterdir()}
    assert {entry["file"] for entry in compose()["secrets"].values()} == {f"./deploy/secrets/{name}" for name in made}
    for service in services().values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert volume.endswith(":ro")
            else:
                assert source in compose()["volumes"]
        for secret in service.get("secrets", []):
            assert secret in compose()["secrets"]


def test_secrets_are_no_part_of_the_repository_or_the_image():
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert not any(line.startswith("!deploy") for line in (ROOT / ".dockerignore").read_text().splitlines())
