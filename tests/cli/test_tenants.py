"""`memsvc tenants create` and `update`: the settings of a memory."""

from datetime import timedelta

import pytest
from memsvc_client import InvalidArgumentError

OPTIONS = ["--theta", "0.25", "--eta", "0.5", "--half-life", "0", "--gate", "quantile", "--gate-value", "0.75"]
OPTIONS += ["--no-drift", "--drift-sigma", "4", "--drift-windows", "2", "--restart-tokens", "2048", "--window", "4096"]
POLICY_OPTIONS = ["--max-entries", "5000", "--ttl", "30d", "--snapshots", "log_spaced", "--duplicates", "merge"]
POLICIES = {"max_entries": 5000, "ttl": timedelta(days=30), "snapshots": "log_spaced", "duplicates": "merge"}
SETTINGS = {
    "theta": 0.25,
    "eta": 0.5,
    "half_life": 0.0,
    "gate": "quantile",
    "gate_value": 0.75,
    "drift": False,
    "drift_sigma": 4.0,
    "drift_windows": 2,
    "restart_tokens": 2048,
    "window": 4096,
}


def test_create_gives_the_settings_and_the_preset(fake, memsvc):
    assert memsvc("tenants", "create", "ada", "--preset", "long-doc", "--layers", "3", *OPTIONS).code == 0
    assert fake.asked == [
        ("create_tenant", {"tenant": "ada", "exist_ok": False, "preset": "long-doc", "layers": 3, **SETTINGS})
    ]


def test_create_gives_nothing_that_was_not_said(fake, memsvc):
    assert memsvc("tenants", "create", "ada", "--json").json == {"tenant": "ada"}
    assert fake.asked == [("create_tenant", {"tenant": "ada", "exist_ok": False, "preset": None})]


def test_create_names_the_context_memorys_model_and_lists_show_it(fake, memsvc):
    memsvc("tenants", "create", "ada", "--context-memory", "small@0123456789ab")
    given = {"tenant": "ada", "exist_ok": False, "preset": None, "context_memory": "small@0123456789ab"}
    assert fake.asked == [("create_tenant", given)]
    memsvc("tenants", "create", "bob")
    assert "small@0123456789ab" in memsvc("tenants").out
    listed = {tenant["tenant"]: tenant.get("context_memory") for tenant in memsvc("tenants", "--json").json["tenants"]}
    assert listed == {"ada": "small@0123456789ab", "bob": None}


def test_update_gives_the_settings_and_shows_what_came_of_them(fake, memsvc):
    fake.create_tenant("ada")
    fake.asked.clear()
    ran = memsvc("tenants", "update", "ada", *OPTIONS, "--json")
    assert fake.asked == [("update_tenant", {"tenant": "ada", **SETTINGS})]
    assert (ran.json["tenant"], ran.json["uid"]) == ("ada", "uid-ada")
    assert ran.json["memory"] == {"layers": 2, **SETTINGS}


def test_update_changes_only_what_was_said(fake, memsvc):
    fake.create_tenant("ada")
    fake.asked.clear()
    ran = memsvc("tenants", "update", "ada", "--drift")
    assert fake.asked == [("update_tenant", {"tenant": "ada", "drift": True})]
    assert "drift windows" in ran.out
    assert "restart tokens" not in ran.out


def test_what_is_kept_is_set_as_the_memory_is(fake, memsvc):
    memsvc("tenants", "create", "ada", *POLICY_OPTIONS, "--eta", "0.5")
    assert fake.asked == [
        ("create_tenant", {"tenant": "ada", "exist_ok": False, "preset": None, "eta": 0.5, **POLICIES})
    ]
    fake.asked.clear()
    ran = memsvc("tenants", "update", "ada", *POLICY_OPTIONS)
    assert fake.asked == [("update_tenant", {"tenant": "ada", **POLICIES})]
    shown = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert {"max entries 5,000", "ttl 30 days, 0:00:00", "snapshots log_spaced", "eta 0.5"} <= set(shown)
    kept = {"max_entries": 5000, "ttl": 30 * 24 * 3600.0, "snapshots": "log_spaced", "duplicates": "merge"}
    assert memsvc("tenants", "update", "ada", "--max-entries", "5000", "--json").json["policies"] == kept


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("0", timedelta(0)),
        ("90", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("2m", timedelta(minutes=2)),
        ("7s", timedelta(seconds=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_a_length_of_time_has_a_unit_or_is_seconds(fake, memsvc, given, means):
    memsvc("tenants", "create", "ada", "--ttl", given)
    assert fake.asked[0][1]["ttl"] == means


def test_a_setting_that_the_server_refuses_is_named(fake, memsvc):
    fake.fail["update_tenant"] = [InvalidArgumentError("tenant.memory.eta: must be below 1", field="tenant.memory.eta")]
    ran = memsvc("tenants", "update", "ada", "--eta", "1")
    assert (ran.code, ran.err) == (2, "error: tenant.memory.eta: must be below 1\n")


@pytest.mark.parametrize("command", ["create", "update"])
def test_the_help_shows_every_setting(memsvc, command):
    shown = memsvc("tenants", command, "--help").out
    assert all(option in shown for option in OPTIONS + POLICY_OPTIONS if option.startswith("--"))
