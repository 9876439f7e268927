"""Benchmarks make their thread ready for the arithmetic of the memory; the tests' own is made good again."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def subnormals() -> Iterator[None]:
    """Subnormal numbers count again afterwards: generated input relies on them."""
    yield
    torch.set_flush_denormal(False)
