"""The footprint's benchmark in its short form: it runs end to end, and what does not depend on time holds."""

import sys

import pytest
from memsvc_bench import footprint
from memsvc_bench.report import Result

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")


@pytest.fixture(scope="module")
def result() -> Result:
    return footprint.bench(scale=footprint.QUICK)


def test_has_a_row_for_every_size(result):
    sizes = (0, footprint.IDLE_ENTRIES, *footprint.QUICK.sizes)
    assert [name for name in result.figures if name.startswith("entries: ")] == [f"entries: {n}" for n in sizes]


def test_more_entries_take_more_disk(result):
    size = footprint.QUICK.sizes[-1]
    # A vector and its text are in the log, and in the snapshot's segment.
    assert result.figures[f"entries: {size}"]["disk_bytes"] > size * 2 * 4 * footprint.DIM


def test_checks_every_target_of_the_issue(result):
    assert [check.target for check in result.checks] == ["<= 16384", "<= 200", "<= 500"]


def test_small_targets_hold(result):
    disk, memory, _ = result.checks
    assert disk.ok
    assert memory.ok


def test_disk_bytes_counts_files_in_folders(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x" * 10_000)
    assert 10_000 <= footprint.disk_bytes(tmp_path) <= 20_000
