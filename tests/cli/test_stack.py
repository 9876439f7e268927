"""`memsvc stack`, what it shows of the processes that it started."""

from pathlib import Path
from types import SimpleNamespace

from memsvc.cli import stack as stack_module


def test_a_directory_is_shown_by_its_name_whatever_that_is(monkeypatch, capsys):
    """Brackets in it are no markup, which would end the stack that has just begun to serve."""
    monkeypatch.setenv("COLUMNS", "200")
    server = SimpleNamespace(name="memsvc-0", address="127.0.0.1:1", pid=7, log=Path("kept [old]/[/b]/memsvc-0.log"))
    stack_module._print(SimpleNamespace(children=[server], servers=[server]))
    assert "kept [old]/[/b]/memsvc-0.log" in capsys.readouterr().out
