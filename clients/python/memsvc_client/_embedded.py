"""A server of one's own for a directory: its first user starts it, and it ends with its last.

Who is there is said by locks (flock) on two files of the directory, which go with their process however that ends.
`embedded.server` the server holds alone, from before its start to its end: its starter takes the lock and hands it
down. `embedded.users` all users share, and the server takes it alone when there are none left; who comes then waits
for its end, and starts another.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from weakref import WeakSet, finalize

import grpc

from memsvc.v1.tenants_pb2 import ListTenantsRequest
from memsvc.v1.tenants_pb2_grpc import TenantServiceStub
from memsvc_client import _status, _values
from memsvc_client._channel import open_channel
from memsvc_client._file_lock import FileLock
from memsvc_client._socket_path import SocketPath
from memsvc_client.errors import DeadlineExceededError, FailedPreconditionError, UnavailableError

SERVER, USERS, LOG = "embedded.server", "embedded.users", "embedded.log"
_NEEDED = ("torch", "typer")
"""Packages that come with the server alone."""
_ASK_S = 0.25
_TAIL_LINES = 15
_TAIL_BYTES = 4096
_FORKED = "is not to be used in a forked process: start processes by `spawn` or `forkserver`, and open a client there"

_open: "WeakSet[Embedded]" = WeakSet()
_in_fork = False


class Embedded:
    """A hold on the server of a directory, which serves at least until `close`, or until this object is gone.

    Args:
        path: the directory; made when it is not there.
        config: the server's settings, a TOML file, for the server that this starts.
        timeout: seconds until it has to serve.

    Raises:
        InvalidArgumentError: an argument is wrong; names the field.
        FailedPreconditionError: the server is not installed (reason EXTRA_MISSING), cannot start (START_FAILED), or
            this process was forked from one that had a client of this kind (FORKED).
        DeadlineExceededError: it does not serve in time.
    """

    def __init__(self, path: str | Path, config: str | Path | None, timeout: float) -> None:
        if _in_fork:
            raise FailedPreconditionError(f"an embedded server {_FORKED}", reason="FORKED")
        self.forked: Callable[[str], None] = lambda _: None
        """Called with a reason in a process forked from this one, where the client cannot be used."""
        self._directory = _private(path)
        self._config = None if config is None else _existing("config", config)
        self._deadline = time.monotonic() + timeout
        self._user = FileLock(self._directory / USERS)
        self._socket = SocketPath(self._directory)
        self._end = finalize(self, _release, self._user, self._socket)
        try:
            self._join()
        except BaseException:
            self.close()
            raise
        _open.add(self)

    @property
    def target(self) -> str:
        """The server's address."""
        return f"unix:{self._socket.path}"

    def close(self) -> None:
        """Let go of the server."""
        self._end()

    def leave(self) -> None:
        """In a forked process: hold nothing, and leave what belongs to the parent as it is."""
        if self._end.detach() is None:  # it was closed
            return
        self._user.close()
        self.forked(f"this client {_FORKED}")

    def _join(self) -> None:
        while not self._user.share():  # a server that lost its last user is about to end
            self._check_time()
            time.sleep(0.05)
        started = False
        while True:
            server = FileLock(self._directory / SERVER)
            try:
                if server.take():  # nobody serves
                    if started:
                        raise self._failure("the embedded server did not start")
                    self._start(server)
                    started = True
            finally:
                server.close()
            if _serves(self.target):
                return
            self._check_time()

    def _start(self, server: FileLock) -> None:
        if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
            raise FailedPreconditionError(
                f"an embedded server needs more than the client, among it {missing[0]}: pip install 'memsvc[server]'",
                reason="EXTRA_MISSING",
            )
        command = [sys.executable, "-m", "memsvc.cli.main", "serve", "--data", str(self._directory)]
        command += ["--listen", self.target, "--while-held", str(self._directory / USERS)]
        environment = {**os.environ, "MEMSVC_STORE": ""}
        if self._config is not None:
            command += ["--config", str(self._config)]
        elif "MEMSVC_CONFIG" not in environment:  # a line for every call would fill the directory
            environment.setdefault("MEMSVC_LOG_LEVEL", "warning")
        with open(_new_log(self._directory / LOG), "wb") as log:
            process = subprocess.Popen(  # noqa: S603  our own command
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[server.descriptor],
                start_new_session=True,  # Ctrl-C ends this program, not what others use
            )
        Thread(target=process.wait, name="memsvc-embedded", daemon=True).start()

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            said = self._failure("the embedded server does not serve in time")
            raise DeadlineExceededError(str(said))

    def _failure(self, what: str) -> FailedPreconditionError:
        log = self._directory / LOG
        try:
            lines = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").splitlines()[-_TAIL_LINES:]
        except OSError:
            lines = []
        said = "\n  ".join(["; its log ends:", *lines]) if lines else ""
        return FailedPreconditionError(f"{what}, see {log}{said}", reason="START_FAILED")


def _release(user: FileLock, socket: SocketPath) -> None:
    user.close()
    socket.close()


def _serves(target: str) -> bool:
    """Whether a server answers; waits a little for one that does not."""
    with open_channel(target, None) as channel:
        try:
            TenantServiceStub(channel).ListTenants(ListTenantsRequest(page_size=1), timeout=_ASK_S, wait_for_ready=True)
        except grpc.RpcError as failure:
            error = _status.to_error(failure, target)
            if isinstance(error, UnavailableError | DeadlineExceededError):
                return False
            raise error from failure
    return True


def _private(path: str | Path) -> Path:
    """Return a directory that others cannot put a socket of theirs in."""
    if not isinstance(path, str | Path) or not str(path):
        raise _values.wrong("path", "must be the path of a directory")
    directory = Path(path).expanduser().absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        raise _values.wrong("path", f"{directory} cannot be used: {error.strerror}") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise _values.wrong("path", f"{directory} must be this user's, and others must not be able to write to it")
    return directory


def _existing(field: str, path: str | Path) -> Path:
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise _values.wrong(field, f"there is no file {file}")
    return file


def _new_log(path: Path) -> int:
    """Open an empty log; that of the server before stays beside it, as `embedded.log.1`."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _forked() -> None:
    """Run in every process forked from this one: gRPC does not survive there."""
    global _in_fork  # noqa: PLW0603  a fork is an event of the whole process
    _in_fork = _in_fork or bool(_open)
    for each in list(_open):
        each.leave()


os.register_at_fork(after_in_child=_forked)
