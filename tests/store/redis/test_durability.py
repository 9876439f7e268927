"""What the store appends is on Redis's disk before it is acknowledged, by a trace of its system calls."""

import re
import shutil
from typing import NamedTuple

import pytest
from memsvc_bench.redis_process import RedisProcess

from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from tests.conformance.stores import payload, write
from tests.tracing import strace_works

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server"),
    pytest.mark.skipif(not strace_works(), reason="strace is missing, or tracing is not allowed"),
]

APPENDS = 5


class Call(NamedTuple):
    """One system call, by the lines of the trace at which it begins and returns."""

    begins: int
    returns: int
    name: str
    file: str
    text: str


def calls(trace: str) -> list[Call]:
    """Read a trace, in the order in which the calls begin."""
    found: list[Call] = []
    begun: dict[str, tuple[int, str]] = {}
    for place, line in enumerate(trace.splitlines()):
        thread, call = line.split(maxsplit=1)
        begins = place
        if "<unfinished" in call:
            begun[thread] = (place, call)
            continue
        if "resumed>" in call:
            begins, start = begun.pop(thread)
            call = start + call
        if parts := re.match(r"(\w+)\(\d+<([^>]*)>", call):
            found.append(Call(begins, place, parts[1], parts[2], call))
    return sorted(found)


def synced_before_the_answer(trace: str, mark: str) -> bool:
    """Whether what came with a mark was written to the log and synced before its client was answered."""
    all_calls = calls(trace)
    came = next(call for call in all_calls if call.name == "read" and mark in call.text)
    answer = next(c for c in all_calls if c.name == "write" and c.file == came.file and c.begins > came.returns)
    between = [call for call in all_calls if came.returns < call.begins < answer.begins and ".aof" in call.file]
    written = [call for call in between if call.name == "write" and mark in call.text]
    synced = [call for call in between if call.name in ("fdatasync", "fsync") and call.returns < answer.begins]
    return bool(written and synced) and written[-1].returns < synced[-1].begins


@pytest.mark.parametrize(("fsync", "durable"), [("always", True), ("everysec", False)])
async def test_an_append_is_on_the_disk_of_redis_before_it_is_acknowledged(tmp_path, fsync: str, durable: bool) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-s", "4096", "-e", "trace=read,write,fdatasync,fsync", "-o", str(trace)]
    options = RedisOptions(address="here:1", shards=1, allow_weak=not durable)
    with RedisProcess(tmp_path / "redis", {"appendfsync": fsync}, under=strace) as server:
        store = await RedisStore.open(parse(server.url), options)
        tenant = await store.create_tenant("tenant", b"", b"", "")
        for i in range(1, APPENDS + 1):
            await write(store, tenant.uid, payload(f"id {i}", f"mark {i}"))
        await store.close()
    seen = trace.read_text(errors="replace")
    assert [synced_before_the_answer(seen, f"mark {i}") for i in range(1, APPENDS + 1)] == [durable] * APPENDS
