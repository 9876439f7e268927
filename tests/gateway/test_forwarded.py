"""What goes on from a request to its call."""

import pytest
from starlette.datastructures import Headers

from memsvc.errors import InvalidArgumentError
from memsvc.gateway.forwarded import ANSWER_S, DEFAULT_S, Forwarded
from memsvc.gateway.routes import ROUTES

ROUTE = {route.call: route for route in ROUTES}


def forwarded(call: str = "Recall", **headers: str) -> Forwarded:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Forwarded.of(ROUTE[call], Headers(raw=raw), "an-id")


def test_credential_trace_and_id_go_on_and_nothing_else() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = forwarded(authorization="Bearer k", traceparent=trace, cookie="c", x_forwarded_for="1.2.3.4")
    assert found.metadata == (("x-request-id", "an-id"), ("authorization", "Bearer k"), ("traceparent", trace))


def test_what_grpc_cannot_send_is_replaced() -> None:
    assert ("authorization", "Bearer ?a?") in forwarded(authorization="Bearer \xffa\t").metadata


@pytest.mark.parametrize(
    ("given", "seconds"), [("2H", 7200), ("3M", 180), ("5S", 5), ("250m", 0.25), ("10u", 1e-5), ("7n", 7e-9)]
)
def test_a_deadline_is_read_as_grpc_writes_it(given, seconds) -> None:
    assert forwarded(grpc_timeout=given).timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "given", ["", "5", "S", "-1S", "1.5S", "123456789S", "5 S", "5s", "\u0665S".encode().decode("latin-1")]
)
def test_another_deadline_is_named(given) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        forwarded(grpc_timeout=given)
    assert caught.value.field == "grpc-timeout"


@pytest.mark.parametrize(("call", "seconds"), [("Write", DEFAULT_S), ("Generate", ANSWER_S), ("WatchTenant", None)])
def test_without_one_it_is_what_suits_the_call(call, seconds) -> None:
    assert forwarded(call).timeout == seconds
