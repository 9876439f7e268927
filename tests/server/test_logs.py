"""What gRPC tells of its callers stays out of the log where it is theirs, or no fault."""

import logging

import pytest
import structlog

from memsvc.server import logs

CORE = "grpc._cython.cygrpc"


@pytest.fixture
def configured(capsys):
    """The log as a server has it; how the tests have it comes back."""
    root, core = logging.getLogger(), logging.getLogger(CORE)
    handlers, level, filters, before = root.handlers[:], root.level, core.filters[:], structlog.get_config()
    logs.configure("info", as_json=False)
    yield logging.getLogger(CORE)
    root.handlers[:], core.filters[:] = handlers, filters
    root.setLevel(level)
    structlog.configure(**before)


@pytest.mark.parametrize(
    ("message", "argument", "told"),
    [
        ("ExecuteBatchError raised in core by servicer method [%s]", "/memsvc.v1.TenantService/ExportTenant", False),
        ("Invalid encoding on %s", b"\xffsecret", False),
        ("Exception in %s", "a method", True),
    ],
)
def test_what_is_the_callers_is_left_out(configured, capsys, message, argument, told):
    configured.error(message, argument)
    assert bool(capsys.readouterr().err) == told
