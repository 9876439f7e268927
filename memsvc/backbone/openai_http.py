"""The requests to an OpenAI-compatible server, and what bounds them."""

from collections.abc import AsyncIterator
from typing import Any

from httpx2 import URL, AsyncByteStream, AsyncClient, InvalidURL, Limits, Response, Timeout, TransportError
from openai import AsyncOpenAI, Omit
from pydantic import BaseModel, SecretStr

from memsvc.errors import InvalidArgumentError

MAX_BODY_BYTES = 1 << 20
"""Of a list of models, or of an error; streams have limits of their own."""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class ModelServer:
    """An OpenAI-compatible server.

    Args:
        base_url: what the paths follow.
        key: what it is shown; nothing when empty.
        connect_timeout_s: for a connection to be made. There are no other timeouts here.
        keep: connections that are kept while nothing goes over them.

    Raises:
        InvalidArgumentError: the URL or the key cannot be one.
    """

    def __init__(self, base_url: str, key: SecretStr, *, connect_timeout_s: float, keep: int) -> None:
        _check_url(base_url)
        secret = key.get_secret_value()
        if not (secret.isascii() and secret.isprintable()):
            raise InvalidArgumentError("backbone_key_file", "must hold printable ASCII")
        timeout = Timeout(None, connect=connect_timeout_s)
        http = AsyncClient(
            timeout=timeout,
            limits=Limits(max_connections=None, max_keepalive_connections=keep),
            follow_redirects=False,  # whoever it leads to would be shown the prompt
            event_hooks={"response": [_limit]},
        )
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=secret or "none",  # else it takes that of the environment
            timeout=timeout,
            max_retries=0,  # it knows no first token, and no deadline over all attempts
            http_client=http,
        )
        # The environment's are for OpenAI's own server, which this need not be.
        self._client.organization = self._client.project = self._client.admin_api_key = None
        self._headers = {
            "Authorization": f"Bearer {secret}" if secret else Omit(),
            "Accept-Encoding": "identity",  # limits are on what comes over the wire
        }

    async def ask(self, request: dict[str, Any]) -> Response:
        """Return the answer to a request, its stream still to be read.

        Raises:
            openai.OpenAIError, httpx2.HTTPError: there is none.
        """
        # Raw: the library's own reader of streams has no limits, and does not tell one that ends from one cut off.
        raw = await self._client.chat.completions.with_raw_response.create(
            stream=True, extra_headers=self._headers, **request
        )
        response: Response = raw.http_response
        return response

    async def models(self) -> list[str]:
        """Return the names of its models.

        Raises:
            openai.OpenAIError, httpx2.HTTPError: it does not say.
            pydantic.ValidationError: they are none.
        """
        raw = await self._client.models.with_raw_response.list(extra_headers=self._headers)
        return [model.id for model in _Models.model_validate_json(raw.content).data]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _check_url(base_url: str) -> None:
    # Not what it is: it may hold a password.
    try:
        url = URL(base_url)
    except InvalidURL:
        raise InvalidArgumentError("backbone", "what follows openai: is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidArgumentError("backbone", "what follows openai: must be an http:// or https:// URL")
    if url.userinfo:
        raise InvalidArgumentError("backbone", "its URL must hold no user and no password; a key has its own setting")
    if "?" in base_url or "#" in base_url:
        raise InvalidArgumentError("backbone", "its URL must have no ? and no #")


class TooLargeError(TransportError):
    """A body passes its limit."""


class _Limited(AsyncByteStream):
    """A body that ends with an error past the limit."""

    def __init__(self, stream: AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise TooLargeError("the body is too large")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _limit(response: Response) -> None:
    """Limit what is read as a whole."""
    if not (response.is_success and response.request.method == "POST") and isinstance(response.stream, AsyncByteStream):
        response.stream = _Limited(response.stream)
