import errno
import os
from pathlib import Path

import numpy as np
import pytest

from memsvc.recall import columns, pages, vectors
from memsvc.recall.columns import Column
from memsvc.recall.vectors import Vectors

from .build import unit

ROWS = unit(np.random.default_rng(0), 100_000)  # of 16 numbers: several blocks
MAPS = Path("/proc/self/maps")


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(pages, "folder", tmp_path)
    monkeypatch.setattr(vectors, "EXACT_ROWS", 1)
    return tmp_path


def filled() -> Vectors:
    grown = Vectors(ROWS.shape[1])
    for start in range(0, len(ROWS), 999):
        grown.extend(ROWS[start : start + 999])
    return grown


def mapped(folder: Path) -> bool:
    return str(folder) in MAPS.read_text()


@pytest.mark.skipif(not MAPS.exists(), reason="the system does not tell a process's maps in /proc")
def test_many_rows_lie_in_a_file_without_a_name_while_they_are_used(folder) -> None:
    grown = filled()
    assert mapped(folder)
    assert not list(folder.iterdir())
    del grown
    assert not mapped(folder)


def test_rows_are_the_same_wherever_they_lie(folder) -> None:
    grown = filled()
    np.testing.assert_array_equal(grown.slice(0, len(ROWS)), ROWS)
    some = np.random.default_rng(1).integers(0, len(ROWS), 500)
    np.testing.assert_array_equal(grown.take(some), ROWS[some])


def test_a_full_disk_leaves_them_in_memory(folder, monkeypatch, caplog) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    grown = filled()
    np.testing.assert_array_equal(grown.slice(0, len(ROWS)), ROWS)
    assert "No space left on device" in caplog.text
    if MAPS.exists():
        assert not mapped(folder)


@pytest.mark.parametrize("cold", [True, False])
def test_of_columns_those_that_no_query_reads_lie_in_files(folder, monkeypatch, cold) -> None:
    monkeypatch.setattr(columns, "COLD_BYTES", 1 << 16)
    column = Column(np.float32, ROWS.shape[1], cold=cold)
    for start in range(0, len(ROWS), 999):
        column.extend(ROWS[start : start + 999])
    np.testing.assert_array_equal(column.values, ROWS)
    if MAPS.exists():
        assert mapped(folder) == cold


def test_without_a_folder_all_is_in_memory(folder, monkeypatch) -> None:
    monkeypatch.setattr(pages, "folder", None)
    np.testing.assert_array_equal(filled().slice(0, len(ROWS)), ROWS)
