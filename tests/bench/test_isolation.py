"""The short form of the benchmark of isolation."""

import pytest
from memsvc_bench import isolation


@pytest.mark.parametrize("offload", [False, True], ids=["resident", "offload"])
def test_no_tenant_sees_anothers_text_or_state(offload) -> None:
    result = isolation.bench(scale=isolation.QUICK, offload=offload, seed=1)
    assert result.ok, [check for check in result.checks if not check.ok]
    assert result.figures["answers_checked"] > 0
    assert result.figures["recalls_compared"] > 0
