"""What the commands print goes somewhere: a pipe, a full disk, a terminal with few characters."""

import errno
import io
import json
import os
import subprocess
import sys

import pytest

from memsvc.cli import main as main_module

COMMAND = "from memsvc.cli.main import main; main()"


class Full(io.RawIOBase):
    """A file on a disk that has no room."""

    full = True

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["memsvc", *arguments])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    return ended.value.code


@pytest.mark.parametrize("arguments", [("--version",), ("backup", "list", "."), ("backup", "list", ".", "--json")])
def test_output_that_cannot_be_written_is_said(arguments, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    # The buffer of a file is written when it is full, or at the end.
    disk = Full()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(disk), encoding="utf-8"))
    assert run(monkeypatch, *arguments) == 1
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err
    disk.full = False  # for what is written when the file is dropped


@pytest.mark.parametrize("arguments", [("--version",), ("tenants",), ("tenants", "--json")])
def test_output_that_was_closed_is_said(arguments, fake, monkeypatch, capsys):
    """As a shell's >&- does."""
    fake.create_tenant("ada")
    monkeypatch.setattr(sys, "stdout", None)
    assert run(monkeypatch, *arguments) == 1
    assert "standard output is closed" in capsys.readouterr().err


def test_input_that_was_closed_is_left_out(fake, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert run(monkeypatch, "ingest", "ada", "-", "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == {"stdin": "standard input is closed"}
    assert run(monkeypatch, "tenants", "delete", "ada") == 2
    assert "say --yes" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--version",), ("backup", "list", "."), ("backup", "list", ".", "--json")])
def test_a_reader_that_has_gone_hears_nothing(arguments, tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            stdout=writes,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""},
            check=False,
        )
    finally:
        os.close(writes)
    assert (ran.returncode, ran.stderr) == (1, "")


def test_a_character_that_the_terminal_has_not_is_replaced(fake, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    fake.create_tenant("kafé 中")
    assert run(monkeypatch, "tenants") == 0
    assert "kafé ?".encode("latin-1") in out.buffer.getvalue()


def test_more_entries_than_a_machine_counts_are_a_wrong_argument(fake, memsvc):
    fake.create_tenant("ada")
    assert memsvc("entries", "ada", "--limit", str(2**64)).code == 2
