"""Who asks a stub, and looks that no error tells the key."""

import traceback
from dataclasses import fields
from typing import NamedTuple

from memsvc.backbone.base import Message, Piece, Prompt, Usage
from memsvc.backbone.load import BackboneConfig
from memsvc.backbone.openai import OpenAIBackbone
from memsvc.errors import MemsvcError
from tests.backbone.stub_openai import Stub

KEY = "sk-hunter2-0123456789"
ASKED = Prompt(messages=(Message("user", "who?"),), max_tokens=16)


class Came(NamedTuple):
    """What comes of a prompt: pieces, and then usage or an error."""

    pieces: list[str]
    usage: Usage | None
    error: MemsvcError | None


def build(url: str, **settings) -> OpenAIBackbone:
    """A backbone that has not been started."""
    names = {field.name for field in fields(BackboneConfig)}
    config = {"model": "m", "api_key": KEY, **{key: settings.pop(key) for key in names & settings.keys()}}
    return OpenAIBackbone(BackboneConfig(name=f"openai:{url}", **config), **settings)


async def gather(backbone: OpenAIBackbone, prompt: Prompt = ASKED) -> Came:
    pieces, usage, error = list[str](), None, None
    try:
        async for item in backbone.generate(prompt):
            assert usage is None
            if isinstance(item, Piece):
                assert item.text
                pieces.append(item.text)
            else:
                usage = item
    except MemsvcError as caught:
        error = caught
    assert (usage is None) == (error is not None)
    if error is not None:
        assert KEY not in f"{error}{error.metadata}{''.join(traceback.format_exception(error))}"
    return Came(pieces, usage, error)


async def ask(stub: Stub, prompt: Prompt = ASKED, **settings) -> Came:
    """Ask a stub once, from its start to its end."""
    async with stub.serve():
        backbone = build(stub.url, **settings)
        try:
            return await gather(backbone, prompt)
        finally:
            await backbone.close()
