"""The benchmark of genomics in its short form, and the DNA that it is made of."""

import numpy as np
import pytest
from memsvc_bench import genomics
from memsvc_bench.genome import FRAGMENT_BASES, LEAST_BASES, fragments, genome
from memsvc_bench.report import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return genomics.bench(scale=genomics.QUICK)


def test_every_way_to_rank_has_a_row(result):
    ways = (*genomics.SHARED.values(), "memory, default", "memory, genomics", "shared 11-mers")
    rows = [result.figures[f"{errors}: {way}"] for errors in genomics.ERRORS for way in ways]
    assert all(0 <= row["@1"] <= row["@10"] <= 1 for row in rows)


def test_fragments_are_found_by_what_they_share_and_not_by_words(result):
    assert result.figures["5 %: shared 11-mers"]["@10"] > 0.9
    assert result.figures["5 %: cosine"]["@10"] > result.figures["5 %: BM25"]["@10"]


def test_drift_has_a_row_for_each_sigma(result):
    for sigma in ("2", "8"):
        assert 0 <= result.figures[f"switches, sigma {sigma}"]["to DNA, seen"] <= 1
        assert result.figures[f"single domains, sigma {sigma}"]["alarms per million"] >= 0


def test_a_genome_is_the_same_in_every_run_and_has_repeats():
    contigs = genome(2, 20_000, np.random.default_rng(0))
    assert contigs == genome(2, 20_000, np.random.default_rng(0))
    assert [len(contig) for contig in contigs] == [20_000, 20_000]
    assert set(contigs[0]) == set("ACGT")
    places: dict[str, int] = {}
    for i in range(20_000 - 16):
        places[contigs[0][i : i + 16]] = places.get(contigs[0][i : i + 16], 0) + 1
    assert max(places.values()) > 1


def test_a_fragment_is_what_its_entries_hold_but_for_errors():
    contigs = genome(2, 4_000, np.random.default_rng(0))
    whole = "".join(contigs)
    for fragment in fragments(contigs, 400, 50, errors=0.05, rng=np.random.default_rng(1)):
        there = whole[fragment.start : fragment.start + FRAGMENT_BASES]
        assert sum(a != b for a, b in zip(fragment.text, there, strict=True)) < 25
        assert 1 <= len(fragment.gold) <= 2
        for entry in fragment.gold:
            held = min(fragment.start + FRAGMENT_BASES, 400 * entry + 400) - max(fragment.start, 400 * entry)
            assert held >= LEAST_BASES
