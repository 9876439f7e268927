"""The backbone of a server, from its start to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memsvc.backbone.base import Backbone
from memsvc.backbone.load import load_backbone
from memsvc.server.config import Settings


@asynccontextmanager
async def answering(settings: Settings) -> AsyncIterator[Backbone | None]:
    """Hold the backbone that the settings name ready; None where they name none.

    Raises:
        InvalidArgumentError: a setting is wrong; names it.
        FailedPreconditionError: the model is not here, or does not work.
    """
    config = settings.generation()
    if config is None:
        yield None
        return
    backbone = load_backbone(config)
    await backbone.start()
    try:
        yield backbone
    finally:
        await backbone.close()
