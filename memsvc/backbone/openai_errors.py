"""What goes wrong between us and a model's server, in terms of ours."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import NamedTuple

import anyio
import httpx2
import openai
from pydantic import SecretStr, ValidationError

from memsvc.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    MemsvcError,
    ResourceExhaustedError,
    UnavailableError,
)

FAILED, REFUSED, TIMEOUT, BUSY, TOO_LONG = (
    "BACKBONE_FAILED",
    "BACKBONE_REFUSED",
    "BACKBONE_TIMEOUT",
    "BACKBONE_BUSY",
    "PROMPT_TOO_LONG",
)
MAX_SAID = 200
"""Characters of what a server says that a message repeats."""
RETRY_S, MAX_RETRY_S = 1.0, 3600.0
"""When to come again, where the server does not say, and at most."""

_SETTINGS: Mapping[str, str] = MappingProxyType(
    {name: name for name in ("max_tokens", "temperature", "top_p", "stop", "seed")}
    | {"max_completion_tokens": "max_tokens"}
)
"""What a request sets, and what our callers call it."""
_TOO_LONG_CODES = ("context_length_exceeded", "exceed_context_size_error")
_TOO_LONG = re.compile(
    r"context[ _-](length|size|window)"
    r"|(prompt|inputs?)\b.{0,40}(too long|must have less than|tokens\b.{0,40}must be <)",
    re.IGNORECASE,
)


class FaultError(Exception):
    """An answer that began well does not go on so.

    Args:
        message: what is wrong.
        said: what the server says of it.
        again: whether a further attempt may help.
    """

    def __init__(self, message: str, *, said: object = None, again: bool = True) -> None:
        super().__init__(message)
        self.said, self.again = said, again


class Failure(NamedTuple):
    """What an exception comes to."""

    error: MemsvcError
    again: bool
    """Whether a further attempt may help."""
    wait: float | None = None
    """Seconds before it, where the server names them."""


FAILURES = (
    FaultError,
    openai.OpenAIError,
    httpx2.HTTPError,
    ValidationError,
    # Two that pass through httpx2 as they are: of TLS, and of a stream that ends.
    OSError,
    anyio.EndOfStream,
)
"""All that a server can bring about."""


def failure(error: Exception, key: SecretStr) -> Failure:
    """Return what one of `FAILURES` comes to; no message repeats the key, or much of what a server says."""
    match error:
        case openai.APIStatusError():
            return _of_status(error, key)
        case FaultError():
            code, said = _described(error.said)
            if _too_long(code, said):
                return Failure(_prompt_too_long(_said(said, key)), again=False)
            return Failure(UnavailableError(f"{error}{_said(said, key)}", reason=FAILED), error.again)
        case openai.APITimeoutError():
            timeout = DeadlineExceededError("the model's server takes too long to connect to", reason=TIMEOUT)
            return Failure(timeout, again=True)
        case openai.APIConnectionError():
            what = f"the model's server cannot be reached ({type(error.__cause__).__name__})"
            return Failure(UnavailableError(what, reason=FAILED), again=True)
        case httpx2.SSEError():
            what = f"the model's server sends no answer that can be read{_said(str(error), key)}"
            return Failure(UnavailableError(what, reason=FAILED), again=False)
        case ValidationError():
            what = "the model's server sends no answer that can be read: it is not the JSON it should be"
            return Failure(UnavailableError(what, reason=FAILED), again=False)
    what = f"the connection to the model's server broke ({type(error).__name__})"
    return Failure(UnavailableError(what, reason=FAILED), again=True)


def excerpt(text: str) -> str:
    """Return the beginning of a text, in one line of what can be printed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_SAID]).split())
    return line if len(line) <= MAX_SAID else f"{line[: MAX_SAID - 1]}…"


def _of_status(error: openai.APIStatusError, key: SecretStr) -> Failure:
    status = error.status_code
    code, message = _described(error.body)
    said, wait = _said(message, key), _retry_after(error.response.headers)
    if status == 413 or (status in (400, 422) and _too_long(code, message)):
        return Failure(_prompt_too_long(said), again=False)
    if status in (400, 422) and (setting := _refused_setting(error.body)):
        refused = InvalidArgumentError(setting, f"is refused by the model's server{said}", reason=REFUSED)
        return Failure(refused, again=False)
    if status == 429:
        what = f"the model's server has too much to do{said}"
        return Failure(ResourceExhaustedError(what, retry_after=wait or RETRY_S, reason=BUSY), again=True, wait=wait)
    if status == 408:
        late = DeadlineExceededError(f"the model's server gave up on the request{said}", reason=TIMEOUT)
        return Failure(late, again=True, wait=wait)
    if status == 409 or status >= 500:
        what = f"the model's server failed ({status}){said}"
        return Failure(UnavailableError(what, reason=FAILED), again=True, wait=wait)
    if status in (401, 403):  # what it says may name parts of the key
        what = f"the model's server does not accept the key that this server has for it ({status})"
    elif status == 404:
        what = f"the model's server has no such model, or its URL is another ({status}){said}"
    elif status < 400:
        what = f"the model's server is elsewhere ({status}): a redirection is not followed, set the URL that it names"
    else:
        what = f"the model's server does not take such a request ({status}){said}"
    return Failure(FailedPreconditionError(what, reason=REFUSED), again=False)


def _prompt_too_long(said: str) -> InvalidArgumentError:
    what = f"with what was recalled it is longer than the model's window{said}"
    return InvalidArgumentError("prompt", what, reason=TOO_LONG)


def _too_long(code: str, message: str) -> bool:
    return any(known in code for known in _TOO_LONG_CODES) or _TOO_LONG.search(message[: 4 * MAX_SAID]) is not None


def _refused_setting(body: object) -> str:
    """Return which setting of an answer a server names as what it does not take; empty for none.

    OpenAI names it as `param`, FastAPI at the end of each detail's `loc`.
    """
    if not isinstance(body := _inner(body), dict):
        return ""
    details = body.get("detail")
    places = [detail.get("loc") for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    named = [body.get("param"), *(place[-1] for place in places if isinstance(place, list) and place)]
    return next((_SETTINGS[name] for name in named if isinstance(name, str) and name in _SETTINGS), "")


def _inner(body: object) -> object:
    return body["error"] if isinstance(body, dict) and "error" in body else body


def _described(body: object) -> tuple[str, str]:
    """Return the codes and the message in what a server says of an error, which each does in a way of its own."""
    body = _inner(body)
    if not isinstance(body, dict):
        return "", body if isinstance(body, str) else ""
    code, message = (
        " ".join(value for name in names if isinstance(value := body.get(name), str))
        for names in (("code", "type"), ("message", "detail"))
    )
    return code, message


def _said(message: str, key: SecretStr) -> str:
    """Return what follows a message of ours: a server's own, without the key that it may show."""
    secret = key.get_secret_value()
    text = excerpt(message.replace(secret, "***") if secret else message)
    return f": {text}" if text else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server wants us to wait, given as such or as a date."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(seconds, MAX_RETRY_S) if seconds > 0 else None
