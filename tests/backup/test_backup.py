"""Backups of a server that serves, brought back on another one: what an operator relies on."""

import json
import shutil

import pytest
from memsvc_client import Entry, MemoryClient
from typer.testing import CliRunner

from memsvc.backup import check
from memsvc.backup.error import BackupError
from memsvc.cli.main import make_app
from memsvc.store.hashes import id_hash
from memsvc.store.types import Origin, Record, RecordKind, StoredEntry
from memsvc.tenant.archive import Header, Writer
from memsvc.tenant.record import Content, encode_payload
from tests.serving import Server


def memsvc(*arguments: object, code: int = 0) -> dict:
    ran = CliRunner().invoke(make_app(), [*map(str, arguments), "--json"])
    assert ran.exit_code == code, ran.stderr
    return json.loads(ran.stdout) if ran.stdout else {"error": ran.stderr}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("first") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("other") / "data") as server:
        yield server


def emptied(server: Server) -> MemoryClient:
    client = server.client()
    for tenant in list(client.list_tenants()):
        client.delete_tenant(tenant.tenant)
    return client


@pytest.fixture
def client(server):
    with emptied(server) as client:
        yield client


@pytest.fixture
def elsewhere(other):
    with emptied(other) as client:
        yield client


def fill(client: MemoryClient, *tenants: str) -> None:
    for tenant in tenants:
        client.create_tenant(tenant)
        for i in range(40):
            text = f"the harbour of {tenant} opened its gate {i * 37 % 101} at dawn"
            client.write(tenant, [Entry(text, id=f"e{i}")])
        client.delete_entry(tenant, "e3")


def test_a_deployment_is_brought_back_on_another_server_bit_for_bit(client, elsewhere, server, other, tmp_path):
    fill(client, "ada", "bob/é x")
    made = memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    assert (made["tenants"], made["written"]) == (2, 2)
    assert memsvc("backup", "verify", tmp_path / "b")["problems"] == []
    assert memsvc("backup", "restore", tmp_path / "b", "--target", other.target)["restored"] == 2
    for tenant in ("ada", "bob/é x"):
        there, here = elsewhere.verify(tenant), client.verify(tenant)
        assert there.state_hash == there.folded_hash == here.state_hash
        recalled = [
            [(hit.id, hit.score) for hit in at.recall(tenant, "gate 37 at dawn").hits] for at in (client, elsewhere)
        ]
        assert recalled[0] == recalled[1] != []


def test_what_did_not_change_is_not_written_again(client, server, tmp_path):
    fill(client, "ada", "bob", "cat")
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "b" / "tenants").iterdir()}
    client.write("bob", [Entry("one more", id="new")])
    client.delete_tenant("cat")
    client.create_tenant("dan")
    made = memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    assert (made["tenants"], made["written"]) == (3, 2)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "b" / "tenants").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 5
    listed = memsvc("backup", "list", tmp_path / "b")["backups"]
    assert [each["tenants"] for each in listed] == [3, 3]
    assert listed[1]["backup"] == made["backup"]


def test_an_older_backup_and_single_tenants_can_be_asked_for(client, elsewhere, server, other, tmp_path):
    fill(client, "ada", "bob")
    first = memsvc("backup", "create", tmp_path / "b", "--target", server.target)["backup"]
    client.write("ada", [Entry("a later thought", id="later")])
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    asked = ("backup", "restore", tmp_path / "b", "--backup", first, "--tenant", "ada", "--target", other.target)
    assert memsvc(*asked)["restored"] == 1
    assert [tenant.tenant for tenant in elsewhere.list_tenants()] == ["ada"]
    assert "later" not in {entry.id for entry in elsewhere.list_entries("ada")}
    again = memsvc(*asked, code=1)
    assert again["tenants"] == [{"tenant": "ada", "outcome": "exists"}]


def file_of(backups, tenant):
    """Return the file that a tenant has in the only backup."""
    (manifest,) = backups.glob("*.json")
    saved = json.loads(manifest.read_text())["tenants"]
    uid = next(each["uid"] for each in saved if each["tenant"] == tenant)
    (file,) = (backups / "tenants").glob(f"{uid}-*")
    return file


def test_a_damaged_file_is_found_and_costs_only_its_tenant(client, elsewhere, server, other, tmp_path):
    fill(client, "ada", "bob")
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    file = file_of(tmp_path / "b", "ada")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    problems = memsvc("backup", "verify", tmp_path / "b", code=1)["problems"]
    assert [(problem["tenant"], problem["file"]) for problem in problems] == [("ada", file.name)]
    restored = memsvc("backup", "restore", tmp_path / "b", "--target", other.target, code=1)
    assert restored["restored"] == 1
    assert [tenant.tenant for tenant in elsewhere.list_tenants()] == ["bob"]
    file.unlink()
    assert memsvc("backup", "create", tmp_path / "b", "--target", server.target)["written"] == 1
    assert memsvc("backup", "verify", tmp_path / "b")["problems"] == []


def test_another_export_in_a_tenants_place_is_not_brought_back(client, elsewhere, server, other, tmp_path):
    """A whole one, which the server would take: of the tenant's own past, say, or of another one."""
    fill(client, "ada", "bob")
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    file = file_of(tmp_path / "b", "ada")
    client.write("ada", [Entry("planted since", id="planted")])
    client.export_tenant("ada", file, overwrite=True)
    restored = memsvc("backup", "restore", tmp_path / "b", "--target", other.target, code=1)
    (failed,) = (each["outcome"] for each in restored["tenants"] if each["tenant"] == "ada")
    assert file.name in failed
    assert restored["restored"] == 1
    assert [tenant.tenant for tenant in elsewhere.list_tenants()] == ["bob"]


def test_what_was_forgotten_is_gone_once_older_backups_are_pruned(client, server, tmp_path):
    fill(client, "ada")
    client.write("ada", [Entry("the word is xylofage", id="secret")])
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    client.forget("ada", ids=["secret"])
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)

    def holding() -> int:
        return sum(b"xylofage" in path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file())

    assert holding() == 1, "the older backup has it: the scan can find it"
    memsvc("backup", "prune", tmp_path / "b", "--keep", 1)
    assert holding() == 0
    assert memsvc("backup", "verify", tmp_path / "b")["problems"] == []


def test_a_backup_that_breaks_off_leaves_the_one_before(client, server, tmp_path):
    fill(client, "ada")
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    shutil.copy(next((tmp_path / "b" / "tenants").iterdir()), tmp_path / "b" / "tenants" / "begun.part")
    client.write("ada", [Entry("more", id="more")])
    assert memsvc("backup", "verify", tmp_path / "b")["problems"] == []
    failed = memsvc("backup", "create", tmp_path / "b", "--target", "127.0.0.1:1", code=3)
    assert "no memsvc server answers" in failed["error"]
    assert len(memsvc("backup", "list", tmp_path / "b")["backups"]) == 1
    assert memsvc("backup", "create", tmp_path / "b", "--target", server.target)["written"] == 1


def test_a_directory_without_a_backup_or_with_a_strange_one_is_said(tmp_path):
    (tmp_path / "b").mkdir()
    assert "no backup yet" in memsvc("backup", "verify", tmp_path / "b", code=1)["error"]
    (tmp_path / "b" / "20260101T000000.000000Z.json").write_text('{"format": 2, "tenants": []}')
    assert "newer version" in memsvc("backup", "verify", tmp_path / "b", code=1)["error"]
    named = {"tenant": "t", "uid": "../../etc", "head_seq": 1, "size": 1, "sha256": "00"}
    manifest = {"format": 1, "made": "2026-01-01T00:00:00Z", "tenants": [named]}
    (tmp_path / "b" / "20260101T000000.000000Z.json").write_text(json.dumps(manifest))
    assert "tenants.0.uid" in memsvc("backup", "verify", tmp_path / "b", code=1)["error"]


@pytest.mark.parametrize("command", [("list",), ("verify",), ("restore",), ("prune", "--keep", 1)])
def test_a_directory_that_holds_no_backup_stays_as_it_is(command, tmp_path):
    name, *options = command
    missing = memsvc("backup", name, tmp_path / "missing", *options, code=1)
    assert "no such directory" in missing["error"]
    others = tmp_path / "others"
    (others / "tenants").mkdir(parents=True)
    (others / "tenants" / "ada.txt").write_text("hers")
    (others / "2024-report.json").write_text("{}")
    others.chmod(0o755)
    memsvc("backup", name, others, *options, code=0 if name == "list" else 1)
    assert not (tmp_path / "missing").exists()
    assert others.stat().st_mode & 0o777 == 0o755
    held = sorted(str(path.relative_to(others)) for path in others.rglob("*"))
    assert held == ["2024-report.json", "tenants", "tenants/ada.txt"]


def test_files_of_others_beside_backups_are_neither_read_nor_deleted(client, server, tmp_path):
    fill(client, "ada")
    others = [tmp_path / "b" / "2024-report.json", tmp_path / "b" / "zz.json", tmp_path / "b" / "tenants" / "README"]
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    (tmp_path / "b" / "tenants" / ".memsvc-k1ll_ed.part").write_text("a text")
    for path in others:
        path.write_text("{}")
    kept = memsvc("backup", "create", tmp_path / "b", "--target", server.target)["backup"]
    assert len(memsvc("backup", "prune", tmp_path / "b", "--keep", 1)["deleted"]) == 1
    assert [each["backup"] for each in memsvc("backup", "list", tmp_path / "b")["backups"]] == [kept]
    assert all(path.read_text() == "{}" for path in others)
    assert not list((tmp_path / "b" / "tenants").glob("*.part")), (
        "what an export left that was killed is a tenant's text"
    )


def test_nobody_else_may_read_a_backup(client, server, tmp_path):
    fill(client, "ada")
    memsvc("backup", "create", tmp_path / "b", "--target", server.target)
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "b" / "tenants").iterdir())


def test_a_file_with_an_entry_that_is_forgotten_does_not_verify(tmp_path):
    """No import takes it."""
    key, file = b"k" * 32, tmp_path / "file"
    entry = StoredEntry(number=1, seq=1, commit_us=1, payload=encode_payload("kept", Content(text="a text")))
    for forgotten in ("gone", "kept"):
        origin = Origin(created_us=1, config=b"", id_key=key, forgotten=(id_hash(key, forgotten),))
        writer = Writer()
        record = Record(seq=1, commit_us=1, kind=RecordKind.WRITE, entries=(entry,))
        parts = writer.begin(Header(tenant="t", origin=origin, head_seq=1)), writer.record(record), writer.end()
        file.write_bytes(b"".join(parts))
        if forgotten == "gone":
            assert check.read(file, "00").head_seq == 1
    with pytest.raises(BackupError, match="is forgotten"):
        check.read(file, "00")
