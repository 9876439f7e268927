"""The stability benchmark at a small width."""

import pytest
from memsvc_bench import stability
from memsvc_bench.report import Result
from memsvc_bench.streams import STREAMS


@pytest.fixture(scope="module")
def result() -> Result:
    return stability.bench(tokens=20_000, width=16)


def test_holds(result):
    assert result.ok


def test_has_a_row_for_every_stream_depth_and_setting(result):
    rows = [name for name, row in result.figures.items() if isinstance(row, dict)]
    assert len(rows) == len(STREAMS) + 11 + len(stability.SETTINGS)
    assert result.figures["default"]["tokens"] >= 20_000


def test_every_bound_has_to_act_somewhere(result):
    figures = result.figures
    assert figures["harsh step, all bounds"]["bound_share"] > 0
    assert figures["harsh step, clip and radius"]["clip_share"] > 0
    assert figures["harsh step, radius alone"]["radius_share"] > 0
    assert figures["default, extreme"]["skipped_share"] > 0
    assert figures["default, repeated"]["skipped_share"] == 0
