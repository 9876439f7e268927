"""Exports and imports, in both clients."""

import asyncio
import os
import stat
import threading
import time
from pathlib import Path

import grpc.aio
import pytest
from fake_server import Fail, Hang
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode
from memsvc_client import (
    AlreadyExistsError,
    AsyncMemoryClient,
    DataLossError,
    DeadlineExceededError,
    Imported,
    InvalidArgumentError,
    MemsvcError,
    NotFoundError,
    UnavailableError,
    _aio_transfer,
    _files,
)

from memsvc.v1.tenants_pb2 import ImportTenantRequest

CUT = Fail(StatusCode.UNAVAILABLE, "cut", [ErrorInfo(reason="CUT")])
PART = 256 * 1024


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", [str, Path])
def test_an_export_is_one_file_of_all_parts(client, fake, tmp_path, kind):
    fake.exported.append([b"a" * 10, b"", b"b" * 300_000, b"c"])
    assert client.export_tenant("ada", kind(tmp_path / "ada.memsvc")) == 300_011
    assert (tmp_path / "ada.memsvc").read_bytes() == b"a" * 10 + b"b" * 300_000 + b"c"
    assert names(tmp_path) == ["ada.memsvc"]
    assert fake.asked("ExportTenant")[0].tenant == "ada"


def test_only_its_owner_may_read_an_export(client, tmp_path):
    client.export_tenant("ada", tmp_path / "file")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_an_export_is_on_disk_before_it_has_its_name(client, tmp_path, monkeypatch):
    seen = []
    fsync = os.fsync

    def watched(number):
        is_file = stat.S_ISREG(os.fstat(number).st_mode)
        seen.append((is_file, (tmp_path / "file").exists(), os.fstat(number).st_size if is_file else 0))
        fsync(number)

    monkeypatch.setattr(os, "fsync", watched)
    client.export_tenant("ada", tmp_path / "file")
    assert seen == [(True, False, len(b"all of it")), (False, True, 0)]


def test_the_progress_of_an_export_is_told(client, fake, tmp_path):
    fake.exported.append([b"abc", b"de"])
    fake.total = 9
    told = []
    client.export_tenant("ada", tmp_path / "file", progress=lambda *done: told.append(done))
    assert told == [(3, 9), (5, 9)]


def test_the_total_of_an_export_is_an_estimate(client, fake, tmp_path):
    fake.exported.append([b"abc", b"de"])
    fake.total = 4
    told = []
    client.export_tenant("ada", tmp_path / "file", progress=lambda *done: told.append(done))
    assert told == [(3, 4), (5, 5)], "what is there is never more than all"


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(client, fake, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        client.export_tenant("ada", tmp_path / "file")
    assert not fake.calls
    assert (tmp_path / "file").read_bytes() == b"old"
    assert client.export_tenant("ada", tmp_path / "file", overwrite=True) == 9
    assert (tmp_path / "file").read_bytes() == b"all of it"
    assert names(tmp_path) == ["file"]


def test_a_file_that_comes_meanwhile_stays(client, tmp_path):
    with pytest.raises(FileExistsError):
        client.export_tenant("ada", tmp_path / "file", progress=lambda *_: (tmp_path / "file").write_bytes(b"other"))
    assert (tmp_path / "file").read_bytes() == b"other"
    assert names(tmp_path) == ["file"]


def test_a_folder_is_no_place_for_an_export(client, fake, tmp_path):
    with pytest.raises(IsADirectoryError):
        client.export_tenant("ada", tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError):
        client.export_tenant("ada", tmp_path / "none" / "file")
    assert not fake.calls


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([b"half", Fail(StatusCode.DATA_LOSS, "rotten")], DataLossError),
        ([Fail(StatusCode.DATA_LOSS, "rotten")], DataLossError),
        ([b"half", Hang()], DeadlineExceededError),
    ],
    ids=["midway", "at once", "silence"],
)
def test_nothing_is_left_of_an_export_that_fails(client, fake, tmp_path, steps, error):
    (tmp_path / "file").write_bytes(b"old")
    fake.exported.append(steps)
    with pytest.raises(error):
        client.export_tenant("ada", tmp_path / "file", overwrite=True, timeout=0.5)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_nothing_is_left_of_an_export_that_its_caller_ends(client, fake, tmp_path):
    def stop(*_):
        raise RuntimeError("enough")

    fake.exported.append([b"half", Hang()])
    with pytest.raises(RuntimeError, match="enough"):
        client.export_tenant("ada", tmp_path / "file", progress=stop)
    assert names(tmp_path) == []
    assert fake.over.wait(10)


def test_nothing_is_left_of_an_export_for_which_there_is_no_room(client, tmp_path, monkeypatch):
    def full(number):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        client.export_tenant("ada", tmp_path / "file")
    assert names(tmp_path) == []


def test_an_unknown_tenant_is_not_exported(client, tmp_path):
    with pytest.raises(NotFoundError):
        client.export_tenant("nobody", tmp_path / "file")
    assert names(tmp_path) == []


def test_a_broken_export_begins_anew(client, fake, tmp_path):
    fake.exported.extend([[b"a long beginning", CUT], [CUT], [b"short"]])
    told = []
    assert client.export_tenant("ada", tmp_path / "file", progress=lambda done, _: told.append(done)) == 5
    assert (tmp_path / "file").read_bytes() == b"short"
    assert told == [16, 5]
    assert len(fake.asked("ExportTenant")) == 3


def test_an_export_is_not_tried_for_ever(client, fake, tmp_path):
    fake.exported.extend([[b"half", CUT]] * 9)
    with pytest.raises(UnavailableError, match="cut"):
        client.export_tenant("ada", tmp_path / "file")
    assert len(fake.asked("ExportTenant")) == 4
    assert names(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, PART, 3 * PART, 20 * PART + 7])
def test_an_import_sends_a_file_in_parts(client, fake, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    imported = client.import_tenant(str(tmp_path / "file"))
    assert isinstance(imported, Imported)
    assert (imported.tenant.tenant, imported.tenant.uid, imported.head_seq) == ("exported", "new", size)
    assert imported.adopted is True
    (sent,) = fake.uploads
    assert b"".join(message.data for message in sent) == data
    assert all(len(message.data) == PART for message in sent[:-1])
    assert len(sent) == max(1, -(-size // PART))


def test_an_import_says_once_what_it_is_to_be(client, fake, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * (PART + 1))
    imported = client.import_tenant(tmp_path / "file", as_tenant="eve", rebuild=True)
    assert (imported.tenant.tenant, imported.adopted) == ("eve", False)
    (sent,) = fake.uploads
    assert [(message.as_tenant, message.rebuild) for message in sent] == [("eve", True), ("", False)]


def test_the_progress_of_an_import_is_told(client, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * (2 * PART + 1))
    told = []
    client.import_tenant(tmp_path / "file", progress=lambda *done: told.append(done))
    assert told == [(done, 2 * PART + 1) for done in (PART, 2 * PART, 2 * PART + 1)]


def test_a_file_that_is_not_there_is_not_imported(client, fake, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.import_tenant(tmp_path / "file")
    assert not fake.uploads


@pytest.mark.parametrize("late", [False, True], ids=["refused", "reply lost"])
def test_a_broken_import_begins_anew_and_makes_one_tenant(client, fake, tmp_path, late):
    data = os.urandom(2 * PART + 1)
    (tmp_path / "file").write_bytes(data)
    fake.fail("ImportTenant", *[Fail(StatusCode.UNAVAILABLE, "cut", late=late)] * 2)
    imported = client.import_tenant(tmp_path / "file")
    assert (imported.tenant.tenant, fake.imports) == ("exported", 1)
    assert [b"".join(message.data for message in sent) for sent in fake.uploads] == [data] * 3
    ids = [[message.request_id for message in sent] for sent in fake.uploads]
    assert ids == [[ids[0][0], "", ""]] * 3
    assert ids[0][0]
    client.import_tenant(tmp_path / "file")
    assert fake.uploads[-1][0].request_id != ids[0][0]


def test_an_import_is_not_tried_for_ever(client, fake, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    fake.fail("ImportTenant", *[Fail(StatusCode.UNAVAILABLE, "cut", [ErrorInfo(reason="CUT")])] * 9)
    with pytest.raises(UnavailableError, match="cut"):
        client.import_tenant(tmp_path / "file")
    assert len(fake.uploads) == 4


def test_what_can_be_read_only_once_is_imported_in_one_go(client, fake, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def write():
        (tmp_path / "pipe").write_bytes(b"x" * 5)

    writer = threading.Thread(target=write)
    writer.start()
    assert client.import_tenant(tmp_path / "pipe").head_seq == 5
    writer.join()


@pytest.mark.parametrize(
    ("code", "error"), [(StatusCode.ALREADY_EXISTS, AlreadyExistsError), (StatusCode.INVALID_ARGUMENT, ValueError)]
)
def test_a_refusal_while_the_file_is_on_its_way_says_why(client, fake, tmp_path, code, error):
    (tmp_path / "file").write_bytes(b"x" * (40 * PART))
    fake.refuse = Fail(code, "it says why", [ErrorInfo(reason="WHY")])
    for _ in range(10):  # which part of it the refusal meets is chance
        with pytest.raises(error, match="it says why") as raised:
            client.import_tenant(tmp_path / "file")
        assert raised.value.reason == "WHY"


class Overwritten:
    """A call of gRPC's that gets its status, and then another one because a message was on its way."""

    def __init__(self, *statuses):
        self.statuses, self.tell, self.now = statuses, None, None

    def add_done_callback(self, callback):
        self.tell = callback

    async def write(self, message):
        for status in self.statuses:
            self.now = status
            self.tell(self)
        raise self.failure()

    def failure(self):
        code, details, trailers = self.now
        return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=details)

    async def code(self):
        return self.now[0]

    async def details(self):
        return self.now[1]

    async def trailing_metadata(self):
        return self.now[2]

    def __await__(self):
        raise self.failure()
        yield

    def cancel(self):
        pass


OWN = (StatusCode.INTERNAL, "Internal error from Core", grpc.aio.Metadata())
REFUSED = (StatusCode.ALREADY_EXISTS, "there is one", grpc.aio.Metadata(("a", "b")))
BROKEN = (StatusCode.INTERNAL, "a bug of ours", grpc.aio.Metadata(("a", "b")))


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([REFUSED, OWN], "there is one"),
        ([OWN, REFUSED], "there is one"),
        ([BROKEN, OWN], "a bug of ours"),
        ([OWN], "Core"),
    ],
)
async def test_an_error_of_grpc_hides_no_status_of_the_server(tmp_path, statuses, said):
    (tmp_path / "file").write_bytes(b"x")
    with _files.Source(tmp_path / "file", ImportTenantRequest()) as source, pytest.raises(grpc.RpcError) as raised:
        await _aio_transfer._send(Overwritten(*statuses), source, None)
    assert said in raised.value.details()


def test_a_refusal_ends_the_reading(client, fake, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * (400 * PART))
    fake.refuse = Fail(StatusCode.ALREADY_EXISTS)
    told = []
    with pytest.raises(AlreadyExistsError):
        client.import_tenant(tmp_path / "file", progress=lambda done, _: told.append(done))
    assert len(told) < 300


def test_an_import_ends_at_its_timeout(client, fake, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    fake.fail("ImportTenant", Hang())
    with pytest.raises(DeadlineExceededError):
        client.import_tenant(tmp_path / "file", timeout=0.2)


def test_an_import_of_which_nobody_takes_the_parts_ends_too(connect, fake, tmp_path, monkeypatch):
    taken = threading.Event()
    (tmp_path / "file").write_bytes(b"x" * (400 * PART))
    server = type(fake)(tenants={})
    monkeypatch.setattr(server, "ImportTenant", lambda requests, context: taken.wait(10))
    target = server.start()
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        connect(target).import_tenant(tmp_path / "file", timeout=0.5)
    assert time.monotonic() - began < 5
    taken.set()
    server.stop()


def test_a_file_that_cannot_be_read_on_ends_the_call(client, fake, tmp_path, monkeypatch):
    """The server must not take a part of it for the whole."""

    def messages(source):
        yield ImportTenantRequest(data=b"x")
        time.sleep(0.1)
        raise OSError("rotten disk")

    monkeypatch.setattr(_files.Source, "messages", messages)
    (tmp_path / "file").write_bytes(b"xyz")
    with pytest.raises(OSError, match="rotten disk"):
        client.import_tenant(tmp_path / "file")
    assert fake.over.wait(10)
    assert not fake.asked("ImportTenant")


def test_an_import_that_its_caller_ends_ends_the_call(client, fake, tmp_path):
    def stop(*_):
        raise RuntimeError("enough")

    (tmp_path / "file").write_bytes(b"x" * (9 * PART))
    with pytest.raises(RuntimeError, match="enough"):
        client.import_tenant(tmp_path / "file", progress=stop)
    assert not fake.uploads or fake.over.wait(10)  # the call may not even have begun
    assert not fake.asked("ImportTenant")


def test_an_unreachable_server_is_named(connect, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    client = connect("127.0.0.1:9")
    for call in (
        lambda: client.import_tenant(tmp_path / "file"),
        lambda: client.export_tenant("ada", tmp_path / "other"),
    ):
        with pytest.raises(UnavailableError, match=r"no memsvc server answers at 127\.0\.0\.1:9"):
            call()
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("ending", ["cancel", "close"])
async def test_what_ends_an_asyncio_export_leaves_nothing(fake, tmp_path, ending):
    begun = asyncio.Event()
    fake.exported.append([b"half", Hang()])
    client = AsyncMemoryClient(fake.target)
    task = asyncio.create_task(client.export_tenant("ada", tmp_path / "file", progress=lambda *_: begun.set()))
    await begun.wait()
    if ending == "cancel":
        task.cancel()
    else:
        await client.close()
    with pytest.raises(asyncio.CancelledError if ending == "cancel" else MemsvcError):
        await task
    await client.close()
    assert names(tmp_path) == []
    assert await asyncio.to_thread(fake.over.wait, 10)


async def test_closing_the_asyncio_client_ends_an_import(fake, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    fake.fail("ImportTenant", Hang())
    client = AsyncMemoryClient(fake.target)
    task = asyncio.create_task(client.import_tenant(tmp_path / "file"))
    while not fake.asked("ImportTenant"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await client.close()
    with pytest.raises(MemsvcError) as raised:
        await task
    assert raised.value.code is StatusCode.CANCELLED


def test_wrong_arguments_make_no_file(client, tmp_path):
    with pytest.raises(InvalidArgumentError):
        client.export_tenant("ada", tmp_path / "file", timeout=0)
    assert names(tmp_path) == []
