"""Logs: one line each on stderr, of ids and figures, never of text or secrets."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure(level_name: str, *, as_json: bool) -> None:
    """Have all that is logged from now on, by us and by libraries, in one form: text, or one JSON object a line."""
    level = logging.getLevelNamesMapping()[level_name.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Here, and not in the renderer: that one would show the values of variables, and with them a tenant's text.
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,  # otherwise every line, and every one that is not written, makes a logger
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in ("asyncio", "grpc"):  # they tell of every call how they go about it
        logging.getLogger(library).setLevel(max(level, logging.INFO))
    for library in ("httpx2", "httpcore2", "openai"):  # a line for every request to a model's server
        logging.getLogger(library).setLevel(max(level, logging.WARNING))
    # Below that it tells of its own life, and of whoever sends what is no HTTP.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_may_be_told)


_UNTOLD = ("ExecuteBatchError raised in core", "Invalid encoding on")
"""Errors, as gRPC sees it, that are none of ours. A caller left while an answer was on its way: the call's own line
says CANCELLED. A caller's metadata are no text: they would stand in the log as they came, whatever they hold."""


def _may_be_told(record: logging.LogRecord) -> bool:
    """Whether a line of gRPC's is to be in the log."""
    return not record.getMessage().startswith(_UNTOLD)
