"""What makes the thread of the tests ready for the memory's arithmetic is made good again."""

import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    # Triton reads it when it is imported, which transformers does too: kernels are interpreted (tests/kernels).
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="module", autouse=True)
def subnormals() -> Iterator[None]:
    """Subnormal numbers count again afterwards: generated input relies on them."""
    yield
    torch.set_flush_denormal(False)
