"""What any caller can send before it is known does not end the server."""

import asyncio

import grpc
import pytest
from memsvc_bench import fuzz_http2 as wire


@pytest.mark.parametrize("path", [b"/\xff\xfe/\0", b"\xff", b"/memsvc.v1.MemoryService/Recall\xff", b"", b"/none"])
def test_a_path_that_is_none_ends_nothing(server, client, path) -> None:
    headers = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 1, wire.request(path))
    for _ in range(3):
        sent = wire.Wire("path", [wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0), headers], wire.Ending.CLOSE)
        asyncio.run(wire.send(server.target, sent, []))
        with grpc.insecure_channel(server.target) as channel:
            grpc.channel_ready_future(channel).result(10)
        list(client.list_tenants())


def test_a_method_that_is_not_there_is_unimplemented(server) -> None:
    with grpc.insecure_channel(server.target) as channel:
        for path in ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/memsvc.v1.MemoryService/None"):
            call = channel.unary_unary(path)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
