"""A server of one's own for a directory: real processes, killed ones among them."""

import asyncio
import importlib.util
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from memsvc_client import (
    AsyncMemoryClient,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    MemoryClient,
    MemsvcError,
)

from tests.serving import Server

USER = """
import sys
from memsvc_client import MemoryClient
with MemoryClient.embedded(sys.argv[1]) as client:
    client.create_tenant("shared", exist_ok=True)
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def light(monkeypatch) -> None:
    """Servers that start here need no model."""
    monkeypatch.setenv("MEMSVC_ENCODER", "kmer")
    monkeypatch.setenv("MEMSVC_THREADS", "1")
    monkeypatch.setenv("MEMSVC_STORE", "redis://127.0.0.1:1")  # a directory's server is never on it


@pytest.fixture
def home(tmp_path):
    """A directory whose server ends with the test."""
    yield tmp_path / "home"
    _ends(tmp_path / "home")


def _server(home: Path) -> int:
    """Return the process that holds the directory."""
    return int((home / "lock").read_text())


def _ends(home: Path) -> bool:
    """Whether the directory's server ends within two minutes."""
    if not (home / "lock").exists():
        return True
    pid, deadline = _server(home), time.monotonic() + 120
    while time.monotonic() < deadline:
        if not _lives(pid):
            return True
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return False


def _lives(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent does not."""
    try:
        return subprocess.check_output(["ps", "-o", "stat=", "-p", str(pid)], text=True)[0] != "Z"
    except subprocess.CalledProcessError:
        return False


def _user(home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", USER, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _leave(user: "subprocess.Popen[str]", kill: bool = False) -> None:
    if kill:
        user.kill()
    user.communicate()


def test_it_serves_while_it_is_used_and_keeps_what_was_written(home):
    with MemoryClient.embedded(home) as client:
        client.create_tenant("ada")
        client.write("ada", "The key is under the mat.", wait="applied")
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "embedded.sock").stat().st_mode) == 0o600
        assert _lives(_server(home))
    assert _ends(home)
    with MemoryClient.embedded(home) as client:
        assert [entry.text for entry in client.list_entries("ada")] == ["The key is under the mat."]


@pytest.mark.parametrize("kill", [False, True], ids=["leaves", "killed"])
def test_it_ends_with_its_last_user(home, kill):
    other = _user(home)
    assert other.stdout.readline() == "open\n"
    with MemoryClient.embedded(home) as client:
        server = _server(home)
        assert [each.tenant for each in client.list_tenants()] == ["shared"]
        _leave(other, kill)
        time.sleep(0.5)
        assert _lives(server)
        list(client.list_tenants())
    assert _ends(home)


def test_a_last_user_who_is_killed_ends_it(home):
    only = _user(home)
    only.stdout.readline()
    server = _server(home)
    _leave(only, kill=True)
    assert _ends(home)
    with MemoryClient.embedded(home):
        assert _server(home) != server


def test_many_who_start_at_once_share_one_server(home):
    users = [_user(home) for _ in range(6)]
    try:
        assert [user.stdout.readline() for user in users] == ["open\n"] * 6
        assert not (home / "embedded.log.1").exists()  # each start begins a new one
    finally:
        for user in users:
            _leave(user)
    assert _ends(home)


def test_a_starter_who_is_killed_leaves_the_server_to_others(home):
    starter = _user(home)
    while not (home / "embedded.log").exists():
        time.sleep(0.01)
    other = _user(home)
    time.sleep(0.2)
    _leave(starter, kill=True)
    assert other.stdout.readline() == "open\n"
    _leave(other)
    assert _ends(home)


def test_a_server_that_is_killed_is_started_again_by_who_opens_next(home):
    with MemoryClient.embedded(home) as first:
        first.create_tenant("ada")
        os.kill(_server(home), signal.SIGKILL)
        assert _ends(home)
        with MemoryClient.embedded(home) as second:
            assert [each.tenant for each in second.list_tenants()] == ["ada"]
            assert [each.tenant for each in first.list_tenants()] == ["ada"]


def test_commands_reach_it_too(home):
    with MemoryClient.embedded(home) as client:
        client.create_tenant("ada")
        command = [
            sys.executable,
            "-m",
            "memsvc.cli.main",
            "tenants",
            "--target",
            f"unix:{home}/embedded.sock",
            "--json",
        ]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert '"ada"' in said


def test_a_directory_with_a_long_path(tmp_path):
    home = tmp_path / ("long-" * 30)
    with MemoryClient.embedded(home) as client:
        assert (home / "embedded.sock").is_socket()
        link = Path(client._embedded.target.removeprefix("unix:")).parent
        assert link.resolve() == home
        client.create_tenant("ada")
    assert not link.parent.exists()
    assert _ends(home)


async def test_inside_a_running_loop(home):
    async with await AsyncMemoryClient.embedded(home) as client:
        await client.create_tenant("ada")
        with MemoryClient.embedded(home) as blocking:  # as a cell of a notebook would
            assert [each.tenant for each in blocking.list_tenants()] == ["ada"]
    assert await asyncio.to_thread(_ends, home)


FORK = """
import os, sys
from memsvc_client import MemoryClient, MemsvcError
client = MemoryClient.embedded(sys.argv[1])
client.create_tenant("ada")
child = os.fork()
if not child:
    said = []
    for use in (lambda: list(client.list_tenants()), lambda: MemoryClient.embedded(sys.argv[1])):
        try:
            use()
        except MemsvcError as error:
            said.append("spawn" in str(error))
    client.close()
    os._exit(0 if said == [True, True] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), [each.tenant for each in client.list_tenants()])
client.close()
"""

FORK_AND_STAY = """
import os, sys, time
from memsvc_client import MemoryClient
client = MemoryClient.embedded(sys.argv[1])
if not os.fork():
    sys.stdin.readline()
    os._exit(0)
print("forked", flush=True)
os._exit(0)
"""


def test_a_forked_process_is_refused_clearly_and_its_parent_goes_on(home):
    ran = subprocess.run([sys.executable, "-c", FORK, home], capture_output=True, text=True, timeout=120, check=False)
    assert (ran.stdout, ran.stderr) == ("0 ['ada']\n", "")
    assert _ends(home)


def test_a_forked_process_is_no_user(home):
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK_AND_STAY, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout.readline() == "forked\n"
    assert _ends(home)  # while the child still waits
    parent.communicate()


def test_a_spawned_process_is_a_user_like_any_other(home):
    with MemoryClient.embedded(home):
        spawned = _user(home)
        assert spawned.stdout.readline() == "open\n"
        _leave(spawned)


def test_without_the_server_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FailedPreconditionError, match=r"pip install 'memsvc\[server\]'") as raised:
        MemoryClient.embedded(tmp_path / "home")
    assert raised.value.reason == "EXTRA_MISSING"


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path):
    config = tmp_path / "memsvc.toml"
    config.write_text('encoder = "none-such"\nnonsense = 1\n')
    with pytest.raises(FailedPreconditionError, match=r"(?s)embedded\.log.*nonsense") as raised:
        MemoryClient.embedded(tmp_path / "home", config=config)
    assert raised.value.reason == "START_FAILED"


def test_a_directory_that_another_server_has(tmp_path):
    with Server(tmp_path / "home", store=""), pytest.raises(FailedPreconditionError, match="is in use by process"):
        MemoryClient.embedded(tmp_path / "home")


def test_a_start_that_takes_too_long(home):
    with pytest.raises(DeadlineExceededError, match="does not serve in time"):
        MemoryClient.embedded(home, start_timeout=0.001)
    with MemoryClient.embedded(home):  # it found that it has no user, and is waited for
        pass


def test_bad_arguments(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").touch()
    for path in (tmp_path / "open", tmp_path / "file", "", 3):
        with pytest.raises(InvalidArgumentError) as raised:
            MemoryClient.embedded(path)
        assert raised.value.field == "path"
    with pytest.raises(InvalidArgumentError, match="config"):
        MemoryClient.embedded(tmp_path / "home", config=tmp_path / "none.toml")


def test_a_closed_client_is_closed(home):
    client = MemoryClient.embedded(home)
    client.close()
    client.close()
    with pytest.raises(MemsvcError, match="closed"):
        list(client.list_tenants())
