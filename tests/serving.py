"""Real servers for tests: subprocesses on free loopback ports, stopped by whoever started them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import grpc
from memsvc_client import MemoryClient

from memsvc.v1 import auth_pb2_grpc, generate_pb2_grpc, memory_pb2_grpc, tenants_pb2_grpc

START_S = 120
CREDENTIAL = re.compile(r"msk_[0-9a-f]{16}_[\w-]{20}|eyJ[\w-]{10,}\.eyJ[\w-]{10}")
"""A key, or a token of an issuer."""


class Server:
    """`memsvc serve` on a data directory; the encoder needs no model unless asked otherwise."""

    def __init__(self, data: Path, **settings: object) -> None:
        self.data = data
        self._settings = {"encoder": "kmer", "threads": 1, **settings}
        self.process: subprocess.Popen[str]
        self.target = ""

    def start(self) -> "Server":
        self.process = self.spawn()
        line = self.process.stdout.readline() if self.process.stdout else ""
        if "listening on " not in line:
            _, errors = self.process.communicate(timeout=START_S)
            raise RuntimeError(f"the server did not start: {errors}")
        self.target = line.strip().rpartition(" ")[2]
        return self

    def spawn(self) -> "subprocess.Popen[str]":
        """Start the process without waiting for it to serve."""
        env = {**os.environ, **{f"MEMSVC_{key.upper()}": str(value) for key, value in self._settings.items()}}
        command = [sys.executable, "-m", "memsvc.cli.main", "serve", "--port", "0", "--data", str(self.data)]
        with (self.data.parent / f"{self.data.name}.log").open("a") as log:
            return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)

    @property
    def log(self) -> str:
        return (self.data.parent / f"{self.data.name}.log").read_text(errors="replace")

    def client(self, **options) -> MemoryClient:
        return MemoryClient(self.target, **options)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM, and wait for the drain; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(timeout=60)
        if self.process.stdout:
            self.process.stdout.close()
        # Whatever a test is about: no server of any of them writes a credential down.
        assert not CREDENTIAL.search(self.log), "there is a credential in the server's log"
        return code

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.kill()
        else:
            self._reap()


class Credential(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends a credential with every call."""

    def __init__(self, key: str) -> None:
        self._sent = ("authorization", f"Bearer {key}")

    def _call(self, continuation, details, request):
        return continuation(details._replace(metadata=[*(details.metadata or ()), self._sent]), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _call


def refused(server: Server) -> str:
    """See a server end before it serves; return what it said."""
    process = server.spawn()
    assert process.wait(timeout=60) != 0
    if process.stdout:
        assert "listening" not in process.stdout.read()
        process.stdout.close()
    assert "Traceback" not in server.log
    return server.log


class Stubs:
    """The raw services, for what the client would not let through."""

    def __init__(self, target: str, key: str = "") -> None:
        self.channel = grpc.insecure_channel(target)
        asks = grpc.intercept_channel(self.channel, Credential(key)) if key else self.channel
        self.memory = memory_pb2_grpc.MemoryServiceStub(asks)
        self.tenants = tenants_pb2_grpc.TenantServiceStub(asks)
        self.auth = auth_pb2_grpc.AuthServiceStub(asks)
        self.generate = generate_pb2_grpc.GenerateServiceStub(asks)

    def __enter__(self) -> "Stubs":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
