"""SIGKILL under load: every acknowledged entry is there once, in order, and the state is the fold of the log.

The seeded short form; `memsvc bench crash` runs twenty kills.
"""

from memsvc_bench.crash import kills


def test_acknowledged_entries_survive_sigkill(tmp_path) -> None:
    outcome = kills(tmp_path / "data", times=3, seed=1, encoder="kmer")
    assert outcome.acknowledged > 0
    assert outcome.lost == []
    assert outcome.duplicated == []
    assert outcome.out_of_order == 0
    assert outcome.states_equal
