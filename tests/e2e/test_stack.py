"""A deployment on one machine: two servers on one Redis, some of which die, and nothing that stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from memsvc_client import MemoryClient

from tests.redis_server import binary

TEXT = "The spare key is under the third flower pot."


class Running:
    """`memsvc stack`, as a person or a service manager runs it."""

    def __init__(self, data: Path, *options: str, path: Path | None = None) -> None:
        command = [sys.executable, "-m", "memsvc.cli.main", "stack", "--data", str(data), "--port", "0", "--json"]
        env = {**os.environ, "MEMSVC_LEASE_S": "2", "MEMSVC_THREADS": "1"}
        if path is not None:
            env["PATH"] = f"{path}{os.pathsep}{env['PATH']}"
        self.process = subprocess.Popen(
            [*command, "--encoder", "kmer", *options],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def serves(self) -> "Running":
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.shown = json.loads(line)
        self.pids = {each["name"]: each["pid"] for each in self.shown["processes"]}
        return self

    def hears(self, words: str) -> str:
        """Wait until it says so; return the line."""
        while line := self.process.stderr.readline():
            self.said += line
            if words in line:
                return line
        raise AssertionError(f"it ended without a word of {words!r}:\n{self.said}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        _, said = self.process.communicate(timeout=120)
        self.said += said
        return self.process.returncode

    def client(self) -> MemoryClient:
        return MemoryClient(self.shown["target"], timeout=60)


@pytest.fixture
def run(tmp_path) -> Iterator:
    """Run stacks; see to it that nothing outlives a test that fails."""
    binary()
    stacks: list[Running] = []

    def run(*options: str, data: Path = tmp_path / "data", path: Path | None = None) -> Running:
        stacks.append(Running(data, *options, path=path))
        return stacks[-1]

    yield run
    for stack in stacks:
        if stack.process.poll() is None:
            stack.stop()
        stack.process.stdout.close()
        stack.process.stderr.close()


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_that_dies_is_missed_by_nobody(run) -> None:
    stack = run("--servers", "2").serves()
    assert set(stack.pids) == {"redis", "memsvc-0", "memsvc-1"} or "prometheus" in stack.pids
    with stack.client() as client:
        for tenant in ("ada", "eve", "bob", "kim"):
            client.create_tenant(tenant)
            client.write(tenant, [TEXT])
        os.kill(stack.pids["memsvc-0"], signal.SIGKILL)
        for tenant in ("ada", "eve", "bob", "kim"):
            assert client.recall(tenant, "spare key").hits[0].text == TEXT
        assert "ended by signal 9" in stack.hears("memsvc-0 ended")
        stack.pids["again"] = int(stack.hears("memsvc-0 serves again").rpartition(" ")[2])
        client.write("ada", ["and still there"])
    assert stack.stop() == 0
    assert [name for name, pid in stack.pids.items() if lives(pid)] == []


def test_what_was_written_outlives_redis_and_the_stack(run) -> None:
    stack = run().serves()
    with stack.client() as client:
        client.create_tenant("ada")
        client.write("ada", [TEXT])
        os.kill(stack.pids["redis"], signal.SIGKILL)
        stack.hears("redis serves again")
        client.write("ada", ["written afterwards"])
        assert len(list(client.list_entries("ada"))) == 2
    assert stack.stop(signal.SIGINT) == 0
    stack = run().serves()
    with stack.client() as client:
        assert client.recall("ada", "spare key").hits[0].text == TEXT
    assert stack.stop() == 0


def test_its_redis_keeps_what_it_takes_and_is_reached_by_nobody_else(run) -> None:
    stack = run().serves()
    (store,) = [each["address"] for each in stack.shown["processes"] if each["name"] == "redis"]
    command = [sys.executable, "-m", "memsvc.cli.main", "doctor", "--store", store, "--json"]
    examined = subprocess.run(command, capture_output=True, text=True, check=False)
    assert examined.returncode == 0, examined.stdout
    socket = Path(store.removeprefix("unix://"))
    assert socket.stat().st_mode & 0o077 == 0
    assert socket.parent.stat().st_mode & 0o077 == 0
    assert stack.stop() == 0
    assert not socket.parent.exists()


def test_a_second_signal_waits_for_nobody(run) -> None:
    stack = run().serves()
    os.kill(stack.pids["memsvc-0"], signal.SIGSTOP)  # it will not hear the first one
    stack.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        stack.process.wait(2)
    assert stack.stop() == 0
    assert [name for name, pid in stack.pids.items() if lives(pid)] == []


def test_two_stacks_do_not_share_a_directory(run) -> None:
    first = run().serves()
    second = run()
    assert second.end() == 1
    assert "is in use by another stack" in second.said
    first.process.kill()  # its processes live on, and Redis writes to its directory
    first.process.wait()
    third = run()
    assert (third.end(), "redis-server of one that was killed" in third.said) == (1, True)
    for pid in first.pids.values():
        os.kill(pid, signal.SIGTERM)
    while any(map(lives, first.pids.values())):
        time.sleep(0.05)
    assert run().serves().stop() == 0


def test_a_server_that_does_not_start_ends_the_stack(run) -> None:
    stack = run("--encoder", "nonesuch")
    assert stack.end() == 1
    assert "memsvc-0 did not start" in stack.said
    assert "encoder: must be minilm" in stack.said
    assert_nothing_runs_in(stack)


def test_a_process_that_does_not_stay_ends_the_stack(run, tmp_path) -> None:
    fake = tmp_path / "bin" / "prometheus"
    fake.parent.mkdir()
    fake.write_text(PROMETHEUS.format(python=sys.executable))
    fake.chmod(0o755)
    stack = run(path=fake.parent).serves()
    assert stack.end() == 1
    assert stack.said.count("prometheus ended with exit code 7; it is started again") == 2
    assert "prometheus ended with exit code 7, 3 times within a minute" in stack.said
    assert [name for name, pid in stack.pids.items() if lives(pid)] == []


PROMETHEUS = """#!{python}
import json, socket, sys
from urllib.request import urlopen
options = dict(each.split("=", 1) for each in sys.argv[1:])
(scrape,) = json.load(open(options["--config.file"]))["scrape_configs"]
(target,) = scrape["static_configs"][0]["targets"]
assert b"memsvc_" in urlopen(f"http://{{target}}/metrics").read()
host, _, port = options["--web.listen-address"].rpartition(":")
with socket.create_server((host, int(port))) as server:
    server.accept()[0].recv(1)
sys.exit(7)
"""
"""Reads what it was told to, then listens where it was told to, for one connection."""


def assert_nothing_runs_in(stack: Running) -> None:
    """See that no process has the stack's id for its parent any more, nor its Redis the lock of the directory."""
    data = Path(stack.process.args[stack.process.args.index("--data") + 1])
    again = Running(data)
    assert again.serves().stop() == 0
    again.process.stdout.close()
    again.process.stderr.close()
