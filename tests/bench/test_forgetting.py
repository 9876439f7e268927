"""The benchmark of forgetting in its short form, and the facts that it tells."""

import pytest
from memsvc_bench import forgetting
from memsvc_bench.facts import facts
from memsvc_bench.report import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return forgetting.bench(scale=forgetting.QUICK)


@pytest.mark.parametrize("kind", forgetting.KINDS.values())
def test_every_setting_has_its_curves(result, kind):
    for name in forgetting.SETTINGS:
        row = result.figures[f"{kind}, {name}"]
        assert list(row) == [f"{kind} after {tokens}" for tokens in ("0", "1,000", "3,000")]
        assert all(0 <= value <= 1.5 for value in row.values())


def test_capacity_is_measured_for_every_number_of_facts(result):
    for name in forgetting.CAPACITY:
        assert list(result.figures[f"read back of all told, {name}"]) == ["read back of 20", "read back of 60"]


def test_facts_that_were_told_are_expected_better_than_others_while_nothing_else_was_read(result):
    written, never = (
        next(iter(result.figures[f"{kind}, {forgetting.DEFAULT}"].values()))
        for kind in ("residual if written", "residual if never written")
    )
    assert written < never < 1


def test_checks_what_the_default_holds_and_what_forgetting_costs(result):
    assert [check.target for check in result.checks] == [">= 0.5", ">= 0"]


def test_facts_are_different_and_the_same_in_every_run():
    assert facts(500, seed=0)[:200] == facts(200, seed=0) != facts(200, seed=1)
    many = facts(5_000, seed=0)
    assert len({fact.text for fact in many}) == 5_000
    assert not {fact.text for fact in many} & {fact.twin for fact in many}


def test_a_twin_differs_in_places_and_numbers_alone():
    for fact in facts(100, seed=0):
        pairs = zip(fact.text.split(), fact.twin.split(), strict=True)
        others = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
        assert 1 <= len(others) <= 4
        assert all(ours[0].isupper() or ours[0].isdigit() for ours, _ in others)
