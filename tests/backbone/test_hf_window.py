"""A prompt's own window, beside the server's and the model's."""

from pathlib import Path

import pytest

from memsvc.errors import InvalidArgumentError
from tests.backbone.hf_build import LINES, LONG, answer, ask, opened, save


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize(
    ("server", "tenant", "whose", "least"),
    [(0, 131_072, "model", 1024), (700, 131_072, "server", 700), (700, 600, "tenant", 600), (0, 600, "tenant", 600)],
)
async def test_the_smallest_window_counts_and_is_named(tiny, server, tenant, whose, least) -> None:
    async with opened(tiny, window=server) as backbone:
        _, usage = await answer(backbone, ask(LONG, window=tenant, max_tokens=1))
        room = least - usage.prompt_tokens
        assert (await answer(backbone, ask(LONG, window=tenant, max_tokens=room)))[1].completion_tokens == room
        with pytest.raises(InvalidArgumentError, match=f"the {whose}'s window of {least},") as caught:
            await answer(backbone, ask(LONG, window=tenant, max_tokens=room + 1))
    assert caught.value.reason == "PROMPT_TOO_LONG"


async def test_an_answer_slides_in_the_window_of_its_prompt(tiny) -> None:
    async with opened(tiny, slide=True) as backbone, opened(tiny, slide=True, window=40) as narrow:
        said = await answer(backbone, ask(LINES[3], window=40, max_tokens=150))
        assert said == await answer(narrow, ask(LINES[3], max_tokens=150))
        assert said != await answer(backbone, ask(LINES[3], window=60, max_tokens=150))
        with pytest.raises(InvalidArgumentError, match="the tenant's window of 40 takes 40"):
            await answer(backbone, ask(LONG, window=40, max_tokens=1))


@pytest.mark.parametrize("slide", [False, True])
async def test_nothing_is_reused_in_a_window_that_it_does_not_fit(tiny, slide) -> None:
    async with opened(tiny, slide=slide) as backbone, opened(tiny, slide=slide, prefix_bytes=0) as forgetful:
        _, usage = await answer(forgetful, ask(LONG, max_tokens=1))
        # The first just fits, and its answer slides; where none may, both are beside the answer.
        narrow = usage.prompt_tokens + (0 if slide else 100)
        reused = []
        for window in (900, narrow, narrow, 900):
            prompt = ask(LONG, window=window, max_tokens=100, tenant="a")
            (said, usage), (fresh, _) = await answer(backbone, prompt), await answer(forgetful, prompt)
            assert said == fresh
            reused.append(usage.cached_tokens > 0)
    # Without sliding, keys and values do not depend on the window.
    assert reused == ([False, False, True, False] if slide else [False, True, True, True])
