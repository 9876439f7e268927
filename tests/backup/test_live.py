"""Backups of a deployment that is written meanwhile, on a directory and on a Redis that several servers share."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from memsvc_client import MemoryClient
from typer.testing import CliRunner

from memsvc.backup.create import create
from memsvc.backup.directory import Directory
from memsvc.backup.error import BackupError
from memsvc.cli.main import make_app
from tests.e2e.on_redis import Load, owned, until
from tests.redis_server import RedisServer
from tests.serving import Server

TENANTS = [f"tenant {number}" for number in range(8)]


def memsvc(*arguments: object) -> dict[str, Any]:
    ran = CliRunner().invoke(make_app(), [*map(str, arguments), "--json"])
    assert ran.exit_code == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(params=["sqlite", "redis"])
def servers(request, tmp_path) -> Iterator[list[Server]]:
    """One on a directory; or two on a Redis, each the owner of some tenants."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield [stack.enter_context(Server(tmp_path / "data"))]
            return
        redis = stack.enter_context(RedisServer(tmp_path / "redis"))
        yield [stack.enter_context(Server(tmp_path / name, store=redis.url, lease_s=3)) for name in ("one", "two")]


def test_what_was_acknowledged_before_a_backup_is_in_it_and_a_part_of_a_batch_never(servers, tmp_path) -> None:
    target = ",".join(server.target for server in servers)
    with MemoryClient(target) as client:
        for tenant in TENANTS:
            client.create_tenant(tenant)
        if len(servers) > 1:
            until(lambda: all(owned(server, TENANTS) for server in servers))
        with Load(client, TENANTS) as load:
            load.more(9)
            before = {tenant: dict(seqs) for tenant, seqs in load.acknowledged.items()}
            made = memsvc("backup", "create", tmp_path / "b", "--target", target)
            assert (made["tenants"], made["written"]) == (len(TENANTS), len(TENANTS))
            load.more(9)
        assert memsvc("backup", "verify", tmp_path / "b")["problems"] == []
        listed = {tenant: list(client.list_entries(tenant)) for tenant in TENANTS}
    with Server(tmp_path / "elsewhere") as other, other.client() as elsewhere:
        assert memsvc("backup", "restore", tmp_path / "b", "--target", other.target)["restored"] == len(TENANTS)
        for tenant in TENANTS:
            back = [(entry.id, entry.seq, entry.text) for entry in elsewhere.list_entries(tenant)]
            assert before[tenant].items() <= {id: seq for id, seq, _ in back}.items()
            assert len(back) < len(listed[tenant]), "it was written all the time"
            assert back == [(entry.id, entry.seq, entry.text) for entry in listed[tenant]][: len(back)]
            assert len(back) % 3 == 0, "batches are of three"
            found = elsewhere.verify(tenant)
            assert found.equal
            assert found.seq == elsewhere.stats(tenant).head_seq


class Damaging:
    """A client whose disk turns a bit in what it writes."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def export_tenant(self, tenant: str, path: Path, **options: Any) -> int:
        size = self._client.export_tenant(tenant, path, **options)
        data = bytearray(path.read_bytes())
        data[size // 2] ^= 1
        path.write_bytes(data)
        return size


def test_a_file_that_the_disk_damaged_is_no_backup(tmp_path) -> None:
    directory = Directory(tmp_path / "b")
    with Server(tmp_path / "data") as server, server.client() as client:
        client.create_tenant("ada")
        client.write("ada", ["the spare key is under the mat"])
        first = create(client, directory, lambda *_: None).manifest
        client.write("ada", ["no, behind the shed"])
        with pytest.raises(BackupError):
            create(Damaging(client), directory, lambda *_: None)
        assert directory.names() == [first.name]
        assert memsvc("backup", "verify", tmp_path / "b")["problems"] == []
        assert create(client, directory, lambda *_: None).written == 1
