"""The short form of the fuzzer, and that it would tell."""

import asyncio
import random
from contextlib import suppress

import pytest
from memsvc_bench import fuzz, fuzz_decoding, fuzz_files, fuzz_http2, fuzz_replay
from memsvc_bench.fuzz_decoding import Failure
from memsvc_bench.fuzz_messages import Call
from memsvc_bench.fuzz_mutate import damaged

from memsvc.errors import InvalidArgumentError
from memsvc.tenant.archive import Reader

SERVICES = (
    "/memsvc.v1.MemoryService/",
    "/memsvc.v1.TenantService/",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)


def test_a_server_stands_all_kinds_of_input(tmp_path) -> None:
    result = fuzz.bench(count=500, seed=1, failures=tmp_path)
    assert result.ok, [result.figures.get("violations"), *(check for check in result.checks if not check.ok)]
    sent = {name for name, value in result.figures.items() if isinstance(value, dict)}
    for service in SERVICES:
        assert any(name.startswith(service) for name in sent)
    assert sent >= {"files", "decoders", "/memsvc.v1.TenantService/ImportTenant"}
    assert any(name.startswith("HTTP/2") for name in sent)
    # It is no fuzzer whose input is all refused, or all taken.
    assert result.figures["code: OK"]["calls"] > 80
    assert result.figures["code: INVALID_ARGUMENT"]["calls"] > 50


def test_decoders_of_whole_bytes_take_them() -> None:
    outcome = fuzz_decoding.feed_again([("feedback", b"\x01\x91\xc3"), ("feedback", b"\x01\x91"), ("copies", b"\x90")])
    assert (outcome.fed.total(), outcome.accepted, outcome.failures) == (3, 2, [])


def test_input_is_a_function_of_its_number() -> None:
    for number in range(200):
        assert fuzz_http2.wire(3, number) == fuzz_http2.wire(3, number)
    seeds = [b"one two three", b"four"]
    assert [damaged(random.Random(i), seeds[0], seeds) for i in range(50)] == [
        damaged(random.Random(i), seeds[0], seeds) for i in range(50)
    ]


def test_what_was_sent_is_written_and_read_again(tmp_path) -> None:
    steps = [
        Call("/a/B", [b"\xff\0", b""], leave_after_s=0.5, makes="t"),
        fuzz_http2.wire(0, 1),
        Failure("payload", b"\x01\xc1", "ValueError"),
    ]
    fuzz_replay.write(tmp_path / "deep" / "f.json", "because", steps)
    assert fuzz_replay.read((tmp_path / "deep" / "f.json").read_text()) == steps
    with pytest.raises(ValueError, match="no file of inputs"):
        fuzz_replay.read("{}")


def test_a_file_with_right_checksums_is_read() -> None:
    """Else damage behind the checksums would never be seen."""
    values = [["tenant", "t", 1, b"c", b"k", [], 0]]
    reader = Reader(most_snapshot_bytes=None)
    assert [item.tenant for item in reader.feed(fuzz_files.file(values))] == ["t"]
    reader.finish()
    assert fuzz_files.frames(fuzz_files.file(values)) == values
    with pytest.raises(InvalidArgumentError):
        list(Reader(most_snapshot_bytes=None).feed(fuzz_files.file([["tenant"]])))


def test_a_connection_is_let_go_however_it_ends() -> None:
    async def go() -> None:
        async def swallow(reader, writer):
            with suppress(ConnectionError):
                while await reader.read(1000):
                    pass
            writer.close()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        held: list = []
        for ending in fuzz_http2.Ending:
            await fuzz_http2.send(f"{host}:{port}", fuzz_http2.Wire("x", [b"abc"], ending), held)
        assert len(held) == 1
        fuzz_http2.end(held.pop())
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)

    asyncio.run(go())
