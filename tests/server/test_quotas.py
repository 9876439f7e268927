"""Who may use how much, without a server: what is counted for whom, what is said of it, and what is kept in mind."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from memsvc.errors import ResourceExhaustedError
from memsvc.server import quotas as quotas_module
from memsvc.server.quota_config import QuotaConfig
from memsvc.server.quotas import Quotas, Scope, request, written


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock | None = None, **config) -> Quotas:
    return Quotas(QuotaConfig.model_validate(config), clock or Clock())


def refused(quotas: Quotas, tenant: str = "t", principal: str = "p", size: int = 1) -> ResourceExhaustedError:
    with pytest.raises(ResourceExhaustedError) as caught:
        quotas.admit(tenant, principal, request(size))
    return caught.value


# --- whose limits -----------------------------------------------------------------------------------------------------


def test_the_name_itself_counts_before_the_longest_beginning_and_that_before_everyone() -> None:
    config = QuotaConfig.model_validate(
        {
            "tenant": {"streams": 1},
            "tenants": {
                "*": {"streams": 2},
                "team/*": {"streams": 3},
                "team/a*": {"streams": 4},
                "team/ada": {"entries": 9},
                "star*": {"streams": 5},
            },
            "principals": {"key:*": {"requests_per_s": 7}},
        }
    )
    found = {id: config.of_tenant(id).streams for id in ("x", "team/", "team/b", "team/abe", "star*", "star", "team")}
    assert found == {"x": 2, "team/": 3, "team/b": 3, "team/abe": 4, "star*": 5, "star": 5, "team": 2}
    assert (config.of_tenant("team/ada").streams, config.of_tenant("team/ada").entries) == (1, 9), "one table counts"
    assert config.of_principal("key:1").requests_per_s == 7
    assert config.of_principal("jwt:1").requests_per_s == QuotaConfig().principal.requests_per_s


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"tenant": {"streams": -1}}, "tenant.streams"),
        ({"tenant": {"requests_per_s": float("nan")}}, "tenant.requests_per_s"),
        ({"principal": {"bytes_per_s": float("inf")}}, "principal.bytes_per_s"),
        ({"principal": {"entries": 1}}, "principal.entries"),
        ({"principals": {"p": {"bytes": 1}}}, "principals.p.bytes"),
        ({"tenants": {"t": {"entrys": 1}}}, "tenants.t.entrys"),
        ({"burst_s": 0}, "burst_s"),
    ],
)
def test_a_wrong_quota_is_named(config, field) -> None:
    with pytest.raises(ValidationError) as caught:
        QuotaConfig.model_validate(config)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [field]


# --- what is counted --------------------------------------------------------------------------------------------------


def test_a_refusal_says_which_quota_of_whom_and_when_there_is_more() -> None:
    clock = Clock()
    quotas = made(clock, burst_s=1, tenant={"requests_per_s": 4}, principal={"bytes_per_s": 100})
    for _ in range(4):
        quotas.admit("t", "p", request(10))
    error = refused(quotas, size=10)
    assert error.reason == "QUOTA_EXCEEDED"
    assert error.metadata == {"quota": "requests_per_s", "scope": "tenant", "limit": "4"}
    assert error.retry_after == pytest.approx(0.25)
    error = refused(quotas, tenant="another", size=90)
    assert error.metadata == {"quota": "bytes_per_s", "scope": "principal", "limit": "100"}
    assert error.retry_after == pytest.approx(0.3)
    clock.now += 0.3
    quotas.admit("another", "p", request(90))


def test_what_is_refused_uses_nothing_of_what_is_left() -> None:
    quotas = made(burst_s=1, tenant={"requests_per_s": 10, "bytes_per_s": 100}, principal={"requests_per_s": 10})
    quotas.admit("t", "p", request(100))
    for _ in range(50):
        assert refused(quotas, size=1).metadata["quota"] == "bytes_per_s"
    for _ in range(9):
        quotas.admit("other", "p", request(0))


def test_tokens_that_were_written_are_paid_for_by_what_follows() -> None:
    clock = Clock()
    quotas = made(clock, burst_s=1, tenant={"tokens_per_s": 100}, principals={"p": {"tokens_per_s": 10}})
    for _ in range(3):  # nothing of them is known yet
        quotas.admit("t", "q", request(1, writes=True))
    quotas.charge("t", "q", written(300))
    with pytest.raises(ResourceExhaustedError) as caught:
        quotas.admit("t", "q", request(1, writes=True))
    assert caught.value.metadata == {"quota": "tokens_per_s", "scope": "tenant", "limit": "100"}
    assert caught.value.retry_after == pytest.approx(2)
    quotas.admit("t", "q", request(1))
    quotas.admit("another", "q", request(1, writes=True))
    clock.now += 2
    quotas.admit("t", "q", request(1, writes=True))
    quotas.charge("t", "p", written(20))
    assert quotas.wait("another", "p", request(1, writes=True)) == pytest.approx(1)
    assert quotas.limits("t", "", written(0))
    assert not made().limits("t", "p", written(0))


def test_nobody_and_no_tenant_have_no_quota() -> None:
    quotas = made(burst_s=1, tenant={"requests_per_s": 1}, principal={"requests_per_s": 1})
    for _ in range(10):
        quotas.admit("", "", request(10**9))
    quotas.open_stream(Scope.TENANT, "t")


def test_zero_is_no_limit() -> None:
    nothing = {"requests_per_s": 0, "bytes_per_s": 0, "streams": 0}
    quotas = made(tenant=nothing, principal=nothing)
    for _ in range(1000):
        quotas.admit("t", "p", request(10**12))
        quotas.open_stream(Scope.TENANT, "t")


def test_new_limits_count_at_once_and_what_was_used_counts_still() -> None:
    clock = Clock()
    quotas = made(clock, burst_s=1, tenant={"requests_per_s": 10})
    for _ in range(10):
        quotas.admit("t", "", request(0))
    quotas.change(QuotaConfig.model_validate({"burst_s": 1, "tenant": {"requests_per_s": 100}}))
    assert refused(quotas, principal="").retry_after == pytest.approx(0.01)
    quotas.change(QuotaConfig.model_validate({"tenant": {"requests_per_s": 0}}))
    quotas.admit("t", "", request(0))
    quotas.change(QuotaConfig.model_validate({"burst_s": 1, "tenants": {"t": {"requests_per_s": 2}}}))
    quotas.admit("t", "", request(0))
    quotas.admit("t", "", request(0))
    assert refused(quotas, principal="").metadata["limit"] == "2"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_streams_are_counted_in_and_out(steps) -> None:
    quotas, opened = made(tenant={"streams": 2}), dict.fromkeys("abc", 0)
    for tenant, opens in steps:
        if not opens and opened[tenant]:
            quotas.close_stream(Scope.TENANT, tenant)
            opened[tenant] -= 1
        elif opens and opened[tenant] < 2:
            quotas.open_stream(Scope.TENANT, tenant)
            opened[tenant] += 1
        elif opens:
            with pytest.raises(ResourceExhaustedError) as caught:
                quotas.open_stream(Scope.TENANT, tenant)
            assert caught.value.metadata == {"quota": "streams", "scope": "tenant", "limit": "2"}
            assert caught.value.retry_after
    assert quotas.kept == sum(map(bool, opened.values()))


def test_a_million_names_take_no_more_memory_than_ten_thousand(monkeypatch) -> None:
    monkeypatch.setattr(quotas_module, "MOST_SUBJECTS", 100)
    quotas = made(principal={"requests_per_s": 0})
    quotas.open_stream(Scope.TENANT, "stays")
    for i in range(10_000):
        quotas.admit(f"tenant {i}", f"principal {i % 300}", request(1))
    assert quotas.kept <= 201


def test_whoever_is_heard_of_is_not_forgotten_for_others(monkeypatch) -> None:
    monkeypatch.setattr(quotas_module, "MOST_SUBJECTS", 10)
    quotas = made(burst_s=1, tenant={"requests_per_s": 1})
    quotas.admit("busy", "", request(0))
    for i in range(100):
        quotas.admit(f"other {i}", "", request(0))
        assert refused(quotas, tenant="busy", principal="").metadata["quota"] == "requests_per_s"


# --- what the page says -----------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "quotas.md").read_text()


def test_the_file_that_the_page_shows_means_what_it_says() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config = QuotaConfig.model_validate(tomllib.loads(shown)["quotas"])
    assert config.of_tenant("pays").entries == 1_000_000
    assert config.of_tenant("free/bob").entries == 10_000
    assert (config.of_tenant("free/ada").entries, config.of_tenant("free/ada").streams) == (50_000, 4)
    assert config.of_tenant("free/ada").requests_per_s == 200
    assert config.of_principal("key:1").requests_per_s == 50


def _shown(limit: float) -> str:
    return f"{limit:,}" if limit else "none"


def test_the_defaults_are_those_of_the_page() -> None:
    tenant, principal = QuotaConfig().tenant, QuotaConfig().principal
    for quota in type(tenant).model_fields:
        ours, theirs = getattr(tenant, quota), getattr(principal, quota, None)
        shown = [_shown(ours), "" if theirs is None else _shown(theirs)]
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{quota}` |")]
        assert [cell.strip() for cell in row.split("|")][3:5] == shown
    assert f"`burst_s` ({QuotaConfig().burst_s:g})" in PAGE
    assert f"last {quotas_module.MOST_SUBJECTS:,} tenants" in PAGE
