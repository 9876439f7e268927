"""Where JSON and messages are made of each other: what is small at once, what is large beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

SMALL_BYTES = 16 * 1024
"""Converted in some 20 ms at worst."""


class Converter:
    """Has one thread: conversions hold the interpreter, so that more of them would only slow the calls of others."""

    def __init__(self) -> None:
        self._beside = ThreadPoolExecutor(1, "memsvc-json")

    async def run(self, size: int, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a conversion of so many bytes gives."""
        if size <= SMALL_BYTES:
            return work(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._beside, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Let the thread go."""
        self._beside.shutdown(wait=False, cancel_futures=True)
