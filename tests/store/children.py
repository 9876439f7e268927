"""What the tests run in a process of its own: `python -m tests.store.children NAME DIRECTORY`."""

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

from memsvc.errors import UnavailableError
from memsvc.store.sqlite import SqliteStore
from tests.conformance.stores import payload, write

ROOT = Path(__file__).parents[2]
WRITERS = 6


def command(name: str, directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.store.children", name, str(directory)]


def start(name: str, directory: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command(name, directory), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())  # one write: it is with the parent before anything else happens


async def hold(directory: Path) -> None:
    """Hold the directory until standard input ends."""
    store = SqliteStore.open(directory)
    say("open")
    await asyncio.to_thread(sys.stdin.buffer.read)
    await store.close()


async def append(directory: Path) -> None:
    """Append one by one, and say so after each."""
    store = SqliteStore.open(directory)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    for i in range(5):
        await write(store, tenant.uid, payload(f"id{i}", "x" * 5_000))
        say(f"ack {i}")
    await store.close()


async def append_for_ever(directory: Path) -> None:
    """Many writers, each of which says which entry was acknowledged, and at which seq; one snapshots meanwhile."""
    store = SqliteStore.open(directory)
    writers = []
    for w in range(WRITERS):
        tenant = await store.get_tenant(f"tenant{w % 3}") or await store.create_tenant(f"tenant{w % 3}", b"", b"", "")
        writers.append(_write_on(store, tenant.uid, w))
    await asyncio.gather(*writers)


async def _write_on(store: SqliteStore, uid: str, writer: int) -> None:
    entries = await store.scan(uid, 0, 1_000_000)
    i = sum(entry.payload.id.startswith(f"{writer}-") for entry in entries)
    while True:
        appended = await write(store, uid, payload(f"{writer}-{i}", "x" * (i % 7) * 300))
        say(f"{uid} {writer}-{i} {appended.seqs[0]}")
        i += 1


async def fill(directory: Path) -> None:
    """Append beyond a limit on the size of files, then with the limit lifted."""
    store = SqliteStore.open(directory)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    await write(store, tenant.uid, payload("before", "b"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    results = await asyncio.gather(
        *(write(store, tenant.uid, payload(f"big{i}", "x" * 100_000)) for i in range(4)), return_exceptions=True
    )
    say(" ".join(type(r).__name__ for r in results))
    try:
        await write(store, tenant.uid, payload("big", "x" * 400_000))
        say("written")
    except UnavailableError as error:
        say(error.reason)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await write(store, tenant.uid, payload("after", "a"))
    say(" ".join(entry.payload.id for entry in await store.scan(tenant.uid, 0, 100)))
    await store.close()


if __name__ == "__main__":
    asyncio.run({f.__name__: f for f in (hold, append, append_for_ever, fill)}[sys.argv[1]](Path(sys.argv[2])))
