"""What grows, in the short form: every point has its row, and what does not depend on time holds."""

import sys
from collections.abc import Iterator

import pytest
from memsvc_bench import scale, service_texts
from memsvc_bench.corpus import Passage
from memsvc_bench.report import Result
from memsvc_client import Entry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")


def some_turns() -> list[Passage]:
    return [Passage("manual", turn) for turn in service_texts.dialogue(None)[:200]]


@pytest.fixture(scope="module")
def result() -> Result:
    with pytest.MonkeyPatch.context() as patch:
        # Reading all docstrings of the library takes long.
        patch.setattr(scale, "library", some_turns)
        return scale.bench(scale=scale.QUICK)


def test_every_point_has_a_row(result):
    rows = [name for name, row in result.figures.items() if isinstance(row, dict)]
    points = ("history 2,000", "history 4,000", "tenants 1", "tenants 3", "chunk 16", "chunk 64", "depth 2", "depth 3")
    assert rows == list(points)
    assert all(value > 0 for name in rows for value in result.figures[name].values())


def test_history_grows_by_what_was_written(result):
    short, long = (result.figures[name] for name in ("history 2,000", "history 4,000"))
    assert 2_000 <= short["history"] < 4_000 <= long["history"]
    assert long["entries"] > short["entries"]
    assert long["disk_mb"] > short["disk_mb"]


def test_the_memorys_share_has_its_target(result):
    assert [(check.name, check.target) for check in result.checks] == [
        ("depth 2: the memory's share of ingest", "<= 0.15")
    ]


def test_says_what_repeats_it(result):
    assert result.command == "memsvc bench scale --history 2000,4000 --tenants 1,3 --chunks 16,64 --depths 2,3"


def test_takes_as_many_entries_as_have_the_tokens():
    entries: Iterator[tuple[Entry, int]] = iter([(Entry(str(i)), 4) for i in range(9)])
    first, tokens = scale.take(entries, 10)
    assert ([entry.text for entry in first], tokens) == (["0", "1", "2"], 12)
    assert scale.take(entries, 1)[0][0].text == "3"
