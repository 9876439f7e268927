"""How a command reaches its server, and what it says when that fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from memsvc_client import InvalidArgumentError, MemoryClient, MemsvcError, RetryPolicy, UnavailableError

from memsvc.cli.output import FAILED, NO_SERVER, USAGE, fail

LONG_TIMEOUT_S = 24 * 3600.0
"""For what takes as long as a log or a file is."""

_UNREACHABLE = """no memsvc server answers at {target}.
Start one in another terminal:

    memsvc serve --data DIR

or name one that runs with --target HOST:PORT or the variable MEMSVC_TARGET."""


@contextmanager
def connect(target: str, *, timeout: float = 60.0, attempts: int = 3) -> Iterator[MemoryClient]:
    """Open a client; what it raises inside the block ends the command with one plain message.

    Args:
        target: where the server listens; several addresses with commas between.
        timeout: seconds for a call, its retries included.
        attempts: tries of a call while nobody answers.
    """
    try:
        with MemoryClient(target, timeout=timeout, retry=RetryPolicy(attempts=attempts)) as client:
            yield client
    except UnavailableError as error:
        fail(_UNREACHABLE.format(target=target) if error.reason == "UNREACHABLE" else str(error), NO_SERVER)
    except InvalidArgumentError as error:
        fail(str(error), USAGE)
    except MemsvcError as error:
        fail(str(error), FAILED)
