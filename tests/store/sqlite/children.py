"""What the tests run in a process of its own: `python -m tests.store.sqlite.children NAME DIRECTORY`."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from memsvc.errors import UnavailableError
from memsvc.store.sqlite import SqliteStore, log_destroy
from tests.conformance.stores import payload, write

ROOT = Path(__file__).parents[2]
WRITERS = 6


def command(name: str, directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.store.sqlite.children", name, str(directory)]


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


async def change_for_ever(directory: Path) -> None:
    """Write, update and delete, one after another, and say what each change was about."""
    store = SqliteStore.open(directory)
    tenant = await store.create_tenant("tenant", b"", b"", "")
    await asyncio.gather(*(_change_on(store, tenant.uid, w) for w in range(WRITERS)))


async def _change_on(store: SqliteStore, uid: str, writer: int) -> None:
    i = 0
    while True:
        id = f"{writer}-{i}"
        await write(store, uid, payload(id, "x" * 100, learn=i % 2 == 0))
        updated = (await store.update(uid, payload(id, "y" * 100), "")).record
        say(f"{updated.seq} {updated.about[0]}")
        deleted = (await store.delete(uid, id, "")).record
        say(f"{deleted.seq} {deleted.about[0]}")
        i += 1


async def forget(directory: Path) -> None:
    """Forget half of the entries of the tenant there, and die."""
    store = SqliteStore.open(directory)
    await _forget(store)
    os.kill(os.getpid(), signal.SIGKILL)


async def erase_half(directory: Path) -> None:
    """Forget half of the entries of the tenant there, erase one slice of them, and die."""
    store = SqliteStore.open(directory)
    uid = await _forget(store)
    await store._committer.run(partial(log_destroy.erase_slice, uid=uid))
    os.kill(os.getpid(), signal.SIGKILL)


async def _forget(store: SqliteStore) -> str:
    tenant = await store.get_tenant("tenant")
    entries = await store.scan(tenant.uid, 0, 1_000_000)
    erasure, _ = await store.forget(tenant.uid, [e.payload.id for e in entries[::2]], "r")
    say(erasure.operation)
    return tenant.uid


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
    functions = (hold, append, append_for_ever, change_for_ever, forget, erase_half, fill)
    asyncio.run({f.__name__: f for f in functions}[sys.argv[1]](Path(sys.argv[2])))
