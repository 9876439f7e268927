"""How much a context memory holds, outside of any model, in small."""

from memsvc_bench.context_capacity import VARIANTS, bench, held

from memsvc.backbone.titans_mac.shelf import Shelf

SMALL = VARIANTS["hidden 256"]


def test_a_second_order_memory_holds_more_facts_than_a_wider_one_of_first_order():
    (ours,), (wider,) = held(SMALL, [30], 0), held(VARIANTS["first order, hidden 512"], [30], 0)
    assert ours.exact > 0.95
    assert wider.exact < ours.exact


def test_what_is_held_grows_with_the_width_and_shrinks_with_the_number_of_facts():
    few, many = held(SMALL, [30, 100], 0)
    assert many.values < few.values
    assert many.values < held(VARIANTS["hidden 512"], [30, 100], 0)[1].values


def test_equal_seeds_give_equal_figures():
    assert held(SMALL, [20], 3) == held(SMALL, [20], 3)


def test_the_models_that_ship_have_a_row():
    shelf = Shelf()
    shapes = {(config.second_order, *config.shapes) for config in VARIANTS.values()}
    for name in ("text", "dialogue", "dna"):
        memory = shelf.find(name).model.config.memory
        assert (memory.second_order, *memory.shapes) in shapes


def test_a_row_is_what_is_held_after_each_number_of_facts():
    result = bench(variants={"small": SMALL}, facts=(8, 100), seeds=1)
    row = result.figures["small"]
    assert row["numbers"] == 256 * (64 + 32)
    assert [row["exact_of_8"], row["exact_of_100"]] == [each.exact for each in held(SMALL, [8, 100], 0)]
