"""The oracle finds each way in which the promise may be broken, and nothing where it is kept."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from memsvc_bench.fault_oracle import Oracle, text_of
from memsvc_client import Receipt, StoredEntry

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def stored(id: str, seq: int) -> StoredEntry:
    return StoredEntry(text=text_of(id), id=id, seq=seq, time=NOW, commit_time=NOW)


def receipt(seq: int, ids: list[str], *, known: bool = False) -> Receipt:
    return Receipt(seq, tuple(ids), (seq,) * len(ids), (known,) * len(ids))


@pytest.fixture
def oracle() -> Oracle:
    """Of t: 0 and 1 in record 2; 2 in record 3; 3 has no answer."""
    oracle = Oracle(["t", "u"])
    oracle.acknowledge("t", receipt(2, oracle.ids("t", 2)), head=1)
    oracle.acknowledge("t", receipt(3, oracle.ids("t", 1)), head=2)
    oracle.ids("t", 1)
    return oracle


ALL = [stored("t/0", 2), stored("t/1", 2), stored("t/2", 3), stored("t/3", 4)]


@pytest.mark.parametrize("there", [ALL, ALL[:3]])
def test_what_was_told_is_there(oracle, there) -> None:
    oracle.check_all("t", oracle.expected("t"), there)
    assert (oracle.acknowledged, oracle.sent) == (3, 4)
    assert not oracle.violations


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (ALL[1:], {"acknowledged and lost"}),
        ([*ALL, stored("t/3", 5)], {"stored twice"}),
        ([ALL[1], ALL[0], *ALL[2:]], {"out of order"}),
        ([*ALL[:2], ALL[3], ALL[2]], {"out of order"}),
        ([*ALL[:2], stored("t/2", 4)], {"out of order"}),
        ([*ALL, stored("t/4", 5)], {"stored and never sent"}),
        ([*ALL, stored("u/0", 5)], {"stored and never sent"}),
        ([replace(ALL[0], text=text_of("t/1")), *ALL[1:]], {"stored with another text"}),
    ],
)
def test_what_is_not_as_it_was_told_is_found(oracle, there, found) -> None:
    oracle.check_all("t", oracle.expected("t"), there)
    assert set(oracle.violations) == found
    assert oracle.details


def test_what_is_forgotten_is_not_there(oracle) -> None:
    before = oracle.expected("t")
    oracle.forgetting("t", "t/0")
    for there in (ALL, ALL[1:]):
        oracle.check_all("t", before, there)
        oracle.check_all("t", oracle.expected("t"), there)
    assert not oracle.violations, "asked for and not answered: either is right"
    oracle.forgot("t", "t/0")
    oracle.check_all("t", before, ALL)
    assert not oracle.violations, "the list was begun before"
    oracle.check_all("t", oracle.expected("t"), ALL)
    assert set(oracle.violations) == {"forgotten and there"}


def test_one_seq_has_one_batch(oracle) -> None:
    oracle.acknowledge("t", receipt(3, ["t/2"], known=True), head=3)
    assert not oracle.violations, "told again"
    oracle.acknowledge("t", receipt(3, ["t/3"]), head=2)
    assert set(oracle.violations) == {"one seq acknowledged twice"}


def test_a_head_that_goes_back_is_found(oracle) -> None:
    oracle.saw("t", 5, head=3)
    assert oracle.head("t") == 5
    assert not oracle.violations
    oracle.saw("t", 4, head=3)
    assert not oracle.violations, "it was asked for before 5 was shown"
    oracle.saw("t", 4, head=5)
    oracle.acknowledge("t", receipt(5, ["t/3"]), head=5)
    assert oracle.violations == {"seen to go back": 2}
