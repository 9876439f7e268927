"""Fairness: by tokens, whatever the size and rhythm of requests."""

from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.engine.scheduler import Scheduler


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.tuples(st.sampled_from("abcd"), st.integers(1, 500)), st.integers(1, 800)), max_size=80),
)
def test_nothing_is_lost_or_reordered_within_a_tenant(actions) -> None:
    scheduler: Scheduler[int] = Scheduler()
    pushed: dict[str, list[int]] = {uid: [] for uid in "abcd"}
    taken: dict[str, list[int]] = {uid: [] for uid in "abcd"}
    for i, action in enumerate(actions):
        if isinstance(action, tuple):
            uid, cost = action
            scheduler.push(uid, i, cost)
            pushed[uid].append(i)
        else:
            for uid, item in scheduler.take(action):
                taken[uid].append(item)
        scheduler.check_integrity()
    for uid, item in scheduler.take(10**9):
        taken[uid].append(item)
    assert taken == pushed
    assert not scheduler


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=5), st.integers(1000, 5000))
def test_backlogged_tenants_get_equal_tokens_whatever_their_item_sizes(costs, budget) -> None:
    scheduler: Scheduler[int] = Scheduler()
    for i, cost in enumerate(costs):
        for _ in range(budget // cost + 1):
            scheduler.push(f"t{i}", cost, cost)
    served = dict.fromkeys((f"t{i}" for i in range(len(costs))), 0)
    for uid, cost in scheduler.take(budget):
        served[uid] += cost
    assert max(served.values()) - min(served.values()) <= 2 * max(costs)


def test_a_light_tenant_is_served_before_a_backlog() -> None:
    scheduler: Scheduler[str] = Scheduler()
    for _ in range(1000):
        scheduler.push("heavy", "h", 100)
    scheduler.take(5000)
    scheduler.push("light", "l", 10)
    assert "l" in [item for _, item in scheduler.take(300)]


def test_asking_for_little_at_a_time_earns_nothing() -> None:
    scheduler: Scheduler[str] = Scheduler()
    for _ in range(1000):
        scheduler.push("steady", "s", 100)
    served = {"steady": 0, "sly": 0}
    for _ in range(200):
        scheduler.push("sly", "x", 100)
        for uid, _ in scheduler.take(100):
            served[uid] += 100
    assert abs(served["steady"] - served["sly"]) <= 300


def test_dropped_work_is_never_handed_out() -> None:
    scheduler: Scheduler[str] = Scheduler()
    scheduler.push("a", "x", 1)
    scheduler.push("b", "y", 1)
    scheduler.drop("a")
    assert scheduler.take(100) == [("b", "y")]


def test_who_is_passed_over_keeps_its_place() -> None:
    scheduler: Scheduler[str] = Scheduler()
    for uid in "ab":
        for item in (1, 2):
            scheduler.push(uid, f"{uid}{item}", 10)
    assert [item for _, item in scheduler.take(1000, passing_over={"a"})] == ["b1", "b2"]
    scheduler.check_integrity()
    scheduler.push("b", "b3", 10)
    assert [item for _, item in scheduler.take(1000)] == ["a1", "a2", "b3"]
