"""A training is examined every step in some tests, and then by little."""

import pytest

from memsvc.train import trainer


@pytest.fixture(scope="package", autouse=True)
def examined_by_little():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "EXAMINED", {"rows": 2, "length": 256, "needles": (4,)})
        yield
