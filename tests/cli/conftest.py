"""The command line, run in this process against a fake client."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from memsvc.cli import connection
from memsvc.cli.main import make_app
from tests.cli.fake_client import FakeClient


@dataclass
class Ran:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def fake(monkeypatch) -> FakeClient:
    client = FakeClient()

    def opened(target: str, **options: Any) -> FakeClient:
        client.options = options
        return client

    monkeypatch.setattr(connection, "MemoryClient", opened)
    return client


@pytest.fixture
def memsvc(monkeypatch):
    """Run `memsvc` with these arguments."""
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("TARGET", "API_KEY", "TLS", "TLS_CA"):
        monkeypatch.delenv(f"MEMSVC_{name}", raising=False)

    def run(*arguments: str, stdin: bytes | str | None = None) -> Ran:
        result = CliRunner().invoke(make_app(), [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run
