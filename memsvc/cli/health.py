"""`memsvc health`: whether a server serves, for whoever looks after its process."""

from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2
from memsvc_client import InvalidArgumentError, MemsvcError, _addresses, _status
from memsvc_client._access import Access
from memsvc_client._channel import open_channel
from rich.text import Text

from memsvc.cli.options import AsJson
from memsvc.cli.output import FAILED, NO_SERVER, USAGE, clean, fail, note, print_json, stdout, table
from memsvc.cli.target import Server, connects

LIVENESS = "liveness"
UNREACHABLE = "UNREACHABLE"
"""What no server says of itself."""


@connects
def health(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Only whether it answers at all, not whether it serves calls now.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 5.0,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Ask whether a server serves; of several addresses, whether each does. It shows no key: health is no secret.

    Exits with 0 if all do, 1 if one does not now, 3 if nobody answers.
    """
    try:
        credentials = Access(None, server.tls, allow_plaintext_key=False).credentials
        addresses = _addresses.targets(server.target)
    except InvalidArgumentError as error:
        fail(str(error), USAGE)
    found = {}
    for address in addresses:
        try:
            found[address] = _ask(address, credentials, LIVENESS if live else "", timeout)
        except MemsvcError as error:
            note(str(error))
            found[address] = UNREACHABLE
    if as_json:
        print_json(found)
    else:
        rows = table("server", "status")
        for address, status in found.items():
            rows.add_row(Text(clean(address)), status)
        stdout().print(rows)
    if all(status == UNREACHABLE for status in found.values()):
        raise typer.Exit(NO_SERVER)
    if any(status != "SERVING" for status in found.values()):
        raise typer.Exit(FAILED)


def _ask(address: str, credentials: grpc.ChannelCredentials | None, service: str, timeout: float) -> str:
    """Return what a server says of itself.

    Raises:
        MemsvcError: it does not answer.
    """
    with open_channel(address, credentials) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError as failure:
            raise _status.to_error(failure, address) from failure
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
