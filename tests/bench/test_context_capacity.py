"""How much a context memory holds, outside of any model: what the published table says, in small."""

from dataclasses import replace

from memsvc_bench.context_capacity import VARIANTS, held

SMALL = replace(VARIANTS["as shipped"], hidden=256)


def test_a_second_order_memory_holds_more_facts_than_a_wider_one_of_first_order():
    wider = replace(VARIANTS["first order, hidden 512"], hidden=512)
    assert held(SMALL, 30, 0).exact > 0.95
    assert held(wider, 30, 0).exact < held(SMALL, 30, 0).exact


def test_what_is_held_grows_with_the_width_and_shrinks_with_the_number_of_facts():
    assert held(SMALL, 100, 0).values < held(SMALL, 30, 0).values
    assert held(SMALL, 100, 0).values < held(replace(SMALL, hidden=512), 100, 0).values


def test_equal_seeds_give_equal_figures():
    assert held(SMALL, 20, 3) == held(SMALL, 20, 3)
