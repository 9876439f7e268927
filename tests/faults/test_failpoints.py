"""Failpoints: what arms them, what they do, and that the list of them is the list of those in the code."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import memsvc
from memsvc import failpoints
from memsvc.errors import InvalidArgumentError, UnavailableError
from memsvc.store.sqlite import SqliteStore
from tests.conformance.stores import payload, write
from tests.serving import Server


@pytest.fixture
def arm(monkeypatch):
    """Arm failpoints in this process."""

    def arm(text: str) -> None:
        monkeypatch.setenv(failpoints.VARIABLE, text)
        failpoints.armed.cache_clear()

    yield arm
    monkeypatch.delenv(failpoints.VARIABLE)
    failpoints.armed.cache_clear()


def test_every_failpoint_is_in_the_code_and_every_one_in_the_code_is_listed() -> None:
    root = Path(memsvc.__file__).parent
    calls = [
        node
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hit", "failpoints.hit")
    ]
    assert all(isinstance(call.args[0], ast.Constant) for call in calls), "a name that is not a literal"
    assert {call.args[0].value for call in calls} == set(failpoints.SITES)


def test_it_raises_at_the_nth_time_alone(arm) -> None:
    arm("evict=raise@2,restore=raise")
    failpoints.hit("evict")
    with pytest.raises(UnavailableError) as caught:
        failpoints.hit("evict")
    assert caught.value.reason == "FAILPOINT"
    failpoints.hit("evict")
    failpoints.hit("append.before")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            failpoints.hit("restore")


def test_it_stalls_for_so_many_milliseconds(arm, monkeypatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(failpoints.time, "sleep", slept.append)
    arm("evict=sleep:250@2")
    for _ in range(3):
        failpoints.hit("evict")
    assert slept == [0.25]


def test_it_dies_and_it_freezes() -> None:
    code = "from memsvc.failpoints import hit; hit('evict'); print('on', flush=True); hit('restore'); print('missed')"
    command, env = [sys.executable, "-c", code], {**os.environ, failpoints.VARIABLE: "evict=stop,restore=crash"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "on\n"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("text", ["evict", "evict=explode", "evict=sleep", "evict=crash:5", "evict=crash@0", "=crash"])
def test_what_cannot_be_read_is_refused(text) -> None:
    with pytest.raises(InvalidArgumentError, match=r"is not name=action") as caught:
        failpoints.parse(f"restore=crash,{text}")
    assert caught.value.field == failpoints.VARIABLE


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"no failpoint 'append'; there are append\.before"):
        failpoints.parse("append=crash")


def test_a_server_says_what_is_armed_and_refuses_what_it_cannot_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "evict=raise@99")
    with Server(tmp_path / "data") as server:
        server.stop()
    assert "failpoints are armed" in server.log
    assert "evict" in server.log
    monkeypatch.setenv(failpoints.VARIABLE, "evict")
    refused = Server(tmp_path / "data").spawn()
    code = refused.wait(60)
    refused.stdout.close()
    assert code == 2
    assert "MEMSVC_FAILPOINTS: 'evict' is not name=action" in server.log


async def test_the_store_serves_on_after_one_that_raised(arm, tmp_path) -> None:
    store = SqliteStore.open(tmp_path)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    for i, (site, stays) in enumerate([("append.before", False), ("append.after", True), ("acknowledge.before", True)]):
        arm(f"{site}=raise@1")
        with pytest.raises(UnavailableError):
            await write(store, tenant.uid, payload(f"id{i}"))
        appended = await write(store, tenant.uid, payload(f"id{i}"))
        assert appended.skipped == (stays,), "said again, it is there once"
    assert await store.head(tenant.uid) == 4
    await store.close()
