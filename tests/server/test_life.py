"""Starting, stopping, and what a server refuses to start on."""

import sqlite3
import threading

import grpc
import pytest
from memsvc_client import Entry

from memsvc.v1.memory_pb2 import WriteStreamBatch, WriteStreamOpen, WriteStreamRequest
from memsvc.v1.types_pb2 import Entry as EntryMessage
from tests.serving import Server, Stubs, refused


def test_a_directory_in_use_is_refused_and_left_alone(tmp_path) -> None:
    with Server(tmp_path / "data") as server:
        second = Server(tmp_path / "data")
        assert "in use" in refused(second) or "another process" in second.log
        with server.client() as client:
            client.create_tenant("t")
            client.write("t", [Entry("still here")])


def test_a_newer_format_is_refused_and_left_alone(tmp_path) -> None:
    with Server(tmp_path / "data") as server:
        server.stop()
    database = tmp_path / "data" / "log.db"
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = database.read_bytes()
    assert "newer" in refused(Server(tmp_path / "data"))
    assert database.read_bytes() == before


def test_an_unknown_encoder_is_refused(tmp_path) -> None:
    assert "encoder: must be minilm" in refused(Server(tmp_path / "data", encoder="nonesuch"))


def test_a_wrong_setting_is_named(tmp_path) -> None:
    assert "slots" in refused(Server(tmp_path / "data", slots=0))


def test_a_drain_lets_go_of_nothing(tmp_path) -> None:
    """SIGTERM in the middle of a stream: what was acknowledged is there, the exit is clean, the stream hears why."""
    with Server(tmp_path / "data") as server:
        with server.client() as client:
            client.create_tenant("t")
        acknowledged: list[str] = []
        ended: list[grpc.StatusCode] = []
        going = threading.Event()

        def requests():
            yield WriteStreamRequest(open=WriteStreamOpen(tenant="t"))
            for i in range(100_000):
                if ended:
                    return
                yield WriteStreamRequest(batch=WriteStreamBatch(entries=[EntryMessage(id=str(i), text=f"text {i}")]))

        def stream() -> None:
            with Stubs(server.target) as stubs:
                try:
                    for response in stubs.memory.WriteStream(requests()):
                        acknowledged.extend(result.id for result in response.ack.results)
                        if len(acknowledged) > 20:
                            going.set()
                except grpc.RpcError as error:
                    ended.append(error.code())

        thread = threading.Thread(target=stream)
        thread.start()
        assert going.wait(30)
        assert server.stop() == 0
        thread.join(30)
        assert ended == [grpc.StatusCode.UNAVAILABLE]
    with Server(tmp_path / "data") as server, server.client() as client:
        ids = [entry.id for entry in client.list_entries("t")]
        assert ids[: len(acknowledged)] == acknowledged
        assert client.recall("t", "text").applied_seq == client.stats("t").head_seq
        assert client.stats("t").applied_seq == client.stats("t").head_seq


def test_logs_hold_no_text(tmp_path) -> None:
    with Server(tmp_path / "data", log_level="debug") as server, server.client() as client:
        client.create_tenant("t")
        client.write("t", [Entry("the secret word is xylophone", id="e")], wait="applied")
        client.recall("t", "xylophone")
        with pytest.raises(Exception, match="content"):
            client.write("t", [Entry("another xylophone", id="e")])
        server.stop()
    assert "xylophone" not in server.log
