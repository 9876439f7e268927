"""What makes the thread of the tests ready for the memory's arithmetic is made good again."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def subnormals() -> Iterator[None]:
    """Subnormal numbers count again afterwards: generated input relies on them."""
    yield
    torch.set_flush_denormal(False)
