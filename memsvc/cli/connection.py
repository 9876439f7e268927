"""How a command reaches its server, and what it says when that fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from memsvc_client import InvalidArgumentError, MemoryClient, MemsvcError, RetryPolicy, UnavailableError

from memsvc.cli.output import FAILED, NO_SERVER, USAGE, fail
from memsvc.cli.target import Server

LONG_TIMEOUT_S = 24 * 3600.0
"""For what takes as long as a log or a file is."""

_UNREACHABLE = """no memsvc server answers at {target}.
Start one in another terminal:

    memsvc serve --data DIR

or name one that runs with --target HOST:PORT or the variable MEMSVC_TARGET."""


@contextmanager
def connect(server: Server, *, timeout: float = 60.0, attempts: int = 3) -> Iterator[MemoryClient]:
    """Open a client; what it raises inside the block ends the command with one plain message.

    Args:
        server: where it listens, and how it is talked to.
        timeout: seconds for a call, its retries included.
        attempts: tries of a call while nobody answers.
    """
    try:
        with MemoryClient(
            server.target,
            timeout=timeout,
            retry=RetryPolicy(attempts=attempts),
            api_key=server.api_key,
            tls=server.tls,
            allow_plaintext_key=server.allow_plaintext_key,
        ) as client:
            yield client
    except UnavailableError as error:
        fail(_UNREACHABLE.format(target=server.target) if error.reason == "UNREACHABLE" else str(error), NO_SERVER)
    except InvalidArgumentError as error:
        fail(str(error), USAGE)
    except MemsvcError as error:
        fail(str(error), FAILED)
