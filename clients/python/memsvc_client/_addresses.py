"""Addresses of processes: those that a caller names, and those that processes name of each other."""

import ipaddress
import re
from collections.abc import Sequence

from memsvc_client import _values

_HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\]"
_HOST_PORT = re.compile(rf"(?:{_HOST}):([1-9][0-9]{{0,4}})", re.ASCII)


def targets(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses that a caller names, each once: one, several between commas, or a sequence of them.

    Raises:
        InvalidArgumentError: there is none, or one is no text.
    """
    given = value.split(",") if isinstance(value, str) else value
    if (
        not isinstance(given, Sequence)
        or not given
        or not all(isinstance(each, str) and each.strip() for each in given)
    ):
        raise _values.wrong("target", 'must be one or more addresses, for example "127.0.0.1:50051"')
    return tuple(dict.fromkeys(each.strip() for each in given))


def is_host_and_port(address: str) -> bool:
    """Whether this is a host and a port and nothing else, such as `10.0.0.7:50051`, `[::1]:50051`, `memsvc-0:50051`."""
    found = _HOST_PORT.fullmatch(address)
    return found is not None and int(found[1]) < 2**16


def stays_here(address: str) -> bool:
    """Whether what is sent there does not leave this machine: loopback, or a unix socket."""
    return address.startswith("unix:") or is_loopback(address)


def is_loopback(address: str) -> bool:
    """Whether this is a host and a port of this machine alone; False where that cannot be told."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return is_host_and_port(address) and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
