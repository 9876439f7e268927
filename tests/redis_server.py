"""Real Redis servers for tests: subprocesses on free loopback ports, stopped by whoever started them."""

import hashlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import pytest

START_S = 30
LOOPBACK = "127.0.0.1"

Option = object | Sequence[object]
"""Of redis.conf; several lines for a list."""

DURABLE: Mapping[str, Option] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
    "save": '""',
}
"""What the store asks for."""


class RedisServer:
    """`redis-server` on a directory of its own. Options are those of redis.conf, with underscores for dashes."""

    def __init__(self, directory: Path, **options: Option) -> None:
        self.directory = directory
        self.port = free_port()
        self.options = {**DURABLE, **{name.replace("_", "-"): value for name, value in options.items()}}
        self.process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """For the store."""
        return f"redis://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> str:
        """What the server has to say."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.directory.parent / f"{self.directory.name}.log"

    def start(self) -> "RedisServer":
        """Start, on what the directory holds, and wait until it serves."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory.parent / f"{self.directory.name}.conf"
        config.write_text("\n".join(self._lines()))
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([binary(), config], cwd=self.directory, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._serves():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"redis-server did not start:\n{self.log}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        self.process.wait(timeout=60)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        self.process.kill()
        self.process.wait(timeout=60)

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words: object) -> bytes:
        """Send one command outside of any client of ours, and return the first of the answer."""
        with socket.create_connection((LOOPBACK, self.port), timeout=10) as wire:
            parts = [str(word).encode() for word in words]
            wire.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return wire.recv(65536)

    def _lines(self) -> list[str]:
        fixed = {"bind": LOOPBACK, "port": self.port, "dir": self.directory, "daemonize": "no", "databases": 2}
        pairs = {**fixed, **self.options}.items()
        return [
            f"{name} {value}"
            for name, values in pairs
            for value in (values if isinstance(values, list | tuple) else [values])
        ]

    def _serves(self) -> bool:
        try:
            return not self.command("PING").startswith(b"-LOADING")
        except OSError:
            return False

    def __enter__(self) -> "RedisServer":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.kill()


class RedisUser(RedisServer):
    """A server that knows one user beside the default one, which is off.

    Args:
        directory: its own.
        rules: what the user may do, as in an ACL.
        options: of redis.conf.
    """

    NAME, PASSWORD = "memsvc", "a word/of @honour?"

    def __init__(self, directory: Path, rules: str = "~* &* +@all", **options: Option) -> None:
        acl = directory.parent / f"{directory.name}.acl"
        super().__init__(directory, aclfile=acl, **options)
        # In a file, a password is hashed: nothing in it needs quotes.
        hashed = hashlib.sha256(self.PASSWORD.encode()).hexdigest()
        directory.parent.mkdir(parents=True, exist_ok=True)
        acl.write_text(f"user default off\nuser {self.NAME} on #{hashed} {rules}\n")

    @property
    def url(self) -> str:
        return f"redis://{self.NAME}:{quote(self.PASSWORD, safe='')}@{LOOPBACK}:{self.port}"


class RedisCluster(RedisServer):
    """A cluster of one node, which has all slots."""

    def __init__(self, directory: Path, **options: Option) -> None:
        super().__init__(directory, cluster_enabled="yes", cluster_port=free_port(), databases=1, **options)

    @property
    def url(self) -> str:
        return f"redis+cluster://{LOOPBACK}:{self.port}"

    def start(self) -> "RedisServer":
        super().start()
        if b"cluster_slots_assigned:16384" not in self.command("CLUSTER", "INFO"):
            assert self.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383) == b"+OK\r\n"
        while b"cluster_state:ok" not in self.command("CLUSTER", "INFO"):
            time.sleep(0.01)
        return self


class RedisTls(RedisServer):
    """A server that speaks TLS, with a certificate for its loopback address, and asks for none."""

    def __init__(self, directory: Path, **options: Option) -> None:
        self.tls_port = free_port()
        self.certificates = make_certificates(directory.parent / f"{directory.name}-tls")
        made = self.certificates
        super().__init__(
            directory,
            **{
                "tls_port": self.tls_port,
                "tls_cert_file": made / "server.crt",
                "tls_key_file": made / "server.key",
                "tls_ca_cert_file": made / "ca.crt",
                "tls_auth_clients": "optional",
                **options,
            },
        )

    @property
    def url(self) -> str:
        return f"rediss://{LOOPBACK}:{self.tls_port}?ca_certs={self.certificates / 'ca.crt'}"

    def start(self) -> "RedisServer":
        try:
            return super().start()
        except RuntimeError:
            if "tls-port" in self.log:  # Bad directive: it is built without TLS
                pytest.skip("this redis-server has no TLS")
            raise


class Sentinel:
    """A sentinel that watches one server under the name `memory`."""

    SERVICE = "memory"

    def __init__(self, watched: RedisServer, directory: Path) -> None:
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "sentinel.conf"
        self._config.write_text(
            f"port {self.port}\nbind {LOOPBACK}\ndir {directory}\n"
            f"sentinel monitor {self.SERVICE} {LOOPBACK} {watched.port} 1\n"
        )

    @property
    def url(self) -> str:
        """For the store."""
        return f"redis+sentinel://{LOOPBACK}:{self.port}/{self.SERVICE}"

    def __enter__(self) -> "Sentinel":
        log = self._config.with_suffix(".log").open("ab")
        with log:
            self._process = subprocess.Popen([binary(), self._config, "--sentinel"], stdout=log, stderr=log)
        for _ in range(START_S * 100):
            try:
                socket.create_connection((LOOPBACK, self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("the sentinel did not start")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(timeout=60)


def binary() -> str:
    """Return where redis-server is, or skip the test."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("there is no redis-server: install it (apt-get install redis-server) to run this test")
    return found


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as wire:
        wire.bind((LOOPBACK, 0))
        port: int = wire.getsockname()[1]
        return port


def make_certificates(directory: Path) -> Path:
    """Make an authority, and a certificate of it for the loopback address. Skip the test without openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates with")
    directory.mkdir(parents=True, exist_ok=True)
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    ca = ["-CA", "ca.crt", "-CAkey", "ca.key"]
    name = ["-subj", "/CN=memsvc test", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    for command in (
        ["req", "-x509", *key, "-subj", "/CN=memsvc authority", *authority, "-keyout", "ca.key", "-out", "ca.crt"],
        ["req", "-x509", *key, *ca, *name, "-keyout", "server.key", "-out", "server.crt"],
    ):
        subprocess.run([openssl, *command], cwd=directory, check=True, capture_output=True)
    return directory
