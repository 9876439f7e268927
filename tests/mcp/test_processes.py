"""`memsvc-mcp` as its users' clients start it: over stdio and over HTTP, with a server of its own or another."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters

from tests.mcp.test_tools import tell
from tests.observability.eventually import eventually
from tests.serving import Server

MCP = [sys.executable, "-m", "memsvc_mcp.cli"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
ACCEPT = {"accept": "application/json, text/event-stream"}


def over_stdio(*arguments: object, **env: object) -> Client:
    settings = {"MEMSVC_ENCODER": "kmer", "MEMSVC_THREADS": "1", **{name: str(value) for name, value in env.items()}}
    command, *rest = [*MCP, *map(str, arguments)]
    return Client(StdioServerParameters(command=command, args=rest, env={**os.environ, **settings}))


async def test_over_stdio_with_a_server_that_runs(server) -> None:
    async with over_stdio("--target", server.target, "--tenant", "stdio") as client:
        await tell(client, "remember", text="gattaca")
        assert "gattaca" in await tell(client, "recall", query="gattaca")
    with server.client() as other:
        assert [entry.text for entry in other.list_entries("stdio")] == ["gattaca"]


async def test_over_stdio_with_a_server_of_its_own_that_remembers_across_restarts(tmp_path) -> None:
    async with over_stdio(XDG_DATA_HOME=tmp_path, MEMSVC_TENANT="ada@example.com") as client:
        await tell(client, "remember", text="gattaca")
        async with over_stdio("--data", tmp_path / "memsvc", "--tenant", "other") as second:  # at the same time
            assert await tell(second, "list") == "Nothing was found."
    async with over_stdio(XDG_DATA_HOME=tmp_path, MEMSVC_TENANT="ada@example.com") as client:
        assert "gattaca" in await tell(client, "recall", query="gattaca")


@contextmanager
def over_http(server: Server, log: Path, *arguments: str) -> Iterator[str]:
    """Run `memsvc-mcp --http`; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*MCP, "--target", server.target, "--tenant", "http", "--http", str(port), *arguments]

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with log.open("w") as said, subprocess.Popen(command, stderr=said) as process:
        try:
            eventually(answers, 60)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM, log.read_text()


async def test_over_http(server, tmp_path) -> None:
    with over_http(server, tmp_path / "log") as url:
        assert url in (tmp_path / "log").read_text()
        async with Client(url) as one, Client(url) as two:
            await tell(one, "remember", text="gattaca")
            assert "gattaca" in await tell(two, "list")


def test_over_http_only_known_names_and_pages_call(server, tmp_path) -> None:
    page = "https://app.example"
    told = ("--allow-host", "mcp.example", "--allow-origin", page)
    with over_http(server, tmp_path / "log", *told) as url, httpx2.Client(trust_env=False, headers=ACCEPT) as caller:

        def status(**headers: str) -> int:
            return caller.post(url, json=INITIALIZE, headers=headers).status_code

        assert status() == 200
        assert status(host="mcp.example") == status(host="localhost:1") == 200
        assert status(host="evil.example") == 421
        assert status(host="127.0.0.1.evil.example:80") == 421
        assert status(origin=page) == 200
        assert status(origin="http://evil.example") == 403
        assert status(origin=url.removesuffix("/mcp")) == 403


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MCP, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--http", "8000", "--host", "0.0.0.0"), "--host"),
        (("--api-key-file", "/nowhere/key"), "--api-key-file: /nowhere/key cannot be read"),
        (("--http", "none"), "--http"),
        (("--http", "99999"), "--http"),
    ],
)
def test_wrong_arguments_are_named(arguments, said) -> None:
    done = ran(*arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("http", [False, True])
def test_ctrl_c_ends_it_at_once_and_without_a_trace(server, http) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Who runs the tests in the background ignores Ctrl-C, and the process would, too.
    default = ["env", "--default-signal=INT"]
    command = [*default, *MCP, "--target", server.target, *(["--http", str(port)] if http else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if http:
            process.stderr.readline()
        else:
            process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
            process.stdin.flush()
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == -signal.SIGINT  # stdin is open still
        finally:
            process.kill()
        assert b"Traceback" not in process.stderr.read()


def test_it_brings_no_part_of_the_server() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'memsvc.server', 'memsvc.tenant'}"
    code = f"import sys, memsvc_mcp.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
