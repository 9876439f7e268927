"""`memsvc export` and `memsvc import`."""

import pytest
from memsvc_client import InvalidArgumentError


@pytest.fixture
def ada(fake):
    fake.create_tenant("ada")
    fake.asked.clear()
    return fake


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ada.memsvc"
    path.write_bytes(b"x" * 2**20)
    return path


def test_export_says_where_the_tenant_is_and_draws_how_far_it_is(ada, memsvc, tmp_path):
    ran = memsvc("export", "ada", tmp_path / "file")
    assert ran.code == 0
    assert ran.out == f"tenant ada is in {tmp_path / 'file'} (2,097,152 bytes)\n"
    assert "export" in ran.err
    assert "2.0/2.0 MiB" in ran.err, "what there was in the end, whatever was expected"
    assert ada.asked == [("export_tenant", {"tenant": "ada", "path": tmp_path / "file", "overwrite": False})]


def test_an_export_that_breaks_off_shows_how_much_was_to_come(ada, memsvc, tmp_path):
    ada.exported = [2**20, OSError(28, "No space left on device")]
    assert "1.0/3.0 MiB" in memsvc("export", "ada", tmp_path / "file").err


def test_export_replaces_a_file_only_when_it_is_told_to(ada, memsvc, file):
    ada.fail["export_tenant"] = [FileExistsError(17, "File exists", str(file))]
    ran = memsvc("export", "ada", file, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: {file} is there already; --overwrite replaces it\n"
    memsvc("export", "ada", file, "--overwrite")
    assert ada.asked[-1][1]["overwrite"] is True


def test_a_disk_that_is_full_is_said(ada, memsvc, tmp_path):
    ada.fail["export_tenant"] = [OSError(28, "No space left on device")]
    ran = memsvc("export", "ada", tmp_path / "file", "--json")
    assert (ran.code, ran.err) == (1, "error: [Errno 28] No space left on device\n")


def test_import_says_what_it_made(ada, memsvc, file):
    ran = memsvc("import", file)
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["tenant", "exported"],
        ["head", "seq", "7"],
        ["adopted", "no"],
    ]
    assert "1.0/1.0 MiB" in ran.err
    assert "--rebuild" not in ran.err
    assert ada.asked == [("import_tenant", {"path": file, "as_tenant": None, "rebuild": False})]


def test_import_takes_another_id_and_folds_afresh_when_it_is_told_to(ada, memsvc, file):
    ada.adopted = True
    assert "--rebuild folds it afresh" in memsvc("import", file).err
    ran = memsvc("import", file, "--as", "eve", "--rebuild")
    assert "eve" in ran.out
    assert "--rebuild" not in ran.err
    assert ada.asked[-1] == ("import_tenant", {"path": file, "as_tenant": "eve", "rebuild": True})


def test_json_draws_nothing(ada, memsvc, file, tmp_path):
    ran = memsvc("import", file, "--json")
    assert (ran.json["tenant"]["tenant"], ran.json["head_seq"], ran.json["adopted"]) == ("exported", 7, False)
    assert ran.err == ""
    ran = memsvc("export", "ada", tmp_path / "new", "--json")
    assert ran.json == {"tenant": "ada", "file": str(tmp_path / "new"), "bytes": 2**21}
    assert ran.err == ""


def test_a_file_that_the_server_refuses_is_said(ada, memsvc, file):
    ada.fail["import_tenant"] = [InvalidArgumentError("data: the file is cut short", field="data")]
    ran = memsvc("import", file, "--json")
    assert (ran.code, ran.err) == (2, "error: data: the file is cut short\n")


@pytest.mark.parametrize("command", ["export", "import"])
def test_transfers_take_as_long_as_they_take(ada, memsvc, file, tmp_path, command):
    memsvc(*(("import", file) if command == "import" else ("export", "ada", tmp_path / "new")))
    assert ada.options["timeout"] >= 3600
