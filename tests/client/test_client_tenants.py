"""Settings of a tenant's memory, in both clients."""

from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToDict
from memsvc_client import AlreadyExistsError, InvalidArgumentError, Policies, Tenant

SETTINGS = {
    "layers": 3,
    "theta": 0.25,
    "eta": 0.5,
    "half_life": 0,
    "gate": "fixed",
    "gate_value": 1.5,
    "drift": False,
    "drift_sigma": 4,
    "drift_windows": 2,
    "restart_tokens": 2**40,
    "window": 65_536,
}
POLICIES = {
    "max_entries": 10**7,
    "ttl": timedelta(days=30, microseconds=1),
    "snapshots": "log_spaced",
    "duplicates": "merge",
}


def sent(request):
    fields = MessageToDict(request, preserving_proto_field_name=True)
    del fields["request_id"]
    return fields


def test_create_tenant_sends_its_settings(client, fake):
    client.create_tenant("new", preset="long-doc", **SETTINGS, **POLICIES)
    assert sent(fake.asked("CreateTenant")[0]) == {
        "tenant": {
            "tenant": "new",
            "memory": {
                "layers": 3,
                "theta": 0.25,
                "eta": 0.5,
                "half_life": 0.0,
                "gate": "GATE_POLICY_FIXED",
                "gate_value": 1.5,
                "preset": "long-doc",
                "drift": False,
                "drift_sigma": 4.0,
                "drift_windows": 2,
                "restart_tokens": str(2**40),
                "window": 65_536,
            },
            "policies": {
                "max_entries": str(10**7),
                "ttl": "2592000.000001s",
                "snapshots": "SNAPSHOT_RETENTION_LOG_SPACED",
                "duplicates": "DUPLICATE_POLICY_MERGE",
            },
        }
    }


def test_create_tenant_names_the_context_memorys_model(client, fake):
    client.create_tenant("new", context_memory="small")
    assert sent(fake.asked("CreateTenant")[0]) == {"tenant": {"tenant": "new", "context_memory": "small"}}
    with pytest.raises(InvalidArgumentError) as error:
        client.create_tenant("other", context_memory=3)
    assert error.value.field == "context_memory"


def test_create_tenant_sends_nothing_that_was_not_said(client, fake):
    client.create_tenant("new")
    client.create_tenant("other", True, preset="genomics")
    first, second = fake.asked("CreateTenant")
    assert sent(first) == {"tenant": {"tenant": "new"}}
    assert not first.tenant.HasField("memory")
    assert not first.tenant.HasField("policies")
    assert sent(second) == {"tenant": {"tenant": "other", "memory": {"preset": "genomics"}}}


def test_exist_ok_leaves_the_settings_as_they_are(client, fake):
    client.create_tenant("new", eta=0.5)
    client.create_tenant("new", exist_ok=True, eta=0.75)
    assert fake.memories["new"].eta == 0.5
    with pytest.raises(AlreadyExistsError):
        client.create_tenant("new", eta=0.75)


@pytest.mark.parametrize("gate", ["off", "fixed", "quantile"])
def test_every_gate_comes_back_as_it_went(client, gate):
    assert client.update_tenant("ada", gate=gate).memory.gate == gate


def test_update_tenant_names_what_it_changes_and_returns_the_tenant(client, fake):
    tenant = client.update_tenant("ada", eta=0.5, drift=True, gate="quantile", half_life=0.0)
    (request,) = fake.asked("UpdateTenant")
    assert list(request.update_mask.paths) == ["memory.eta", "memory.drift", "memory.gate", "memory.half_life"]
    assert sent(request)["tenant"] == {
        "tenant": "ada",
        "memory": {"eta": 0.5, "drift": True, "gate": "GATE_POLICY_QUANTILE", "half_life": 0.0},
    }
    assert isinstance(tenant, Tenant)
    assert (tenant.tenant, tenant.uid) == ("ada", "uid")
    memory = tenant.memory
    assert (memory.layers, memory.theta, memory.eta, memory.half_life) == (2, 0.5, 0.5, 0.0)
    assert (memory.gate, memory.drift, memory.drift_sigma, memory.restart_tokens) == ("quantile", True, None, None)


def test_every_setting_comes_back_as_it_went(client):
    memory = client.update_tenant("ada", **SETTINGS).memory
    assert {name: getattr(memory, name) for name in SETTINGS} == SETTINGS


def test_update_tenant_names_the_policies_it_changes_and_no_others(client, fake):
    tenant = client.update_tenant("ada", ttl=90, eta=0.5)
    client.update_tenant("ada", snapshots="none")
    first, second = fake.asked("UpdateTenant")
    assert list(first.update_mask.paths) == ["policies.ttl", "memory.eta"]
    assert sent(first)["tenant"] == {"tenant": "ada", "memory": {"eta": 0.5}, "policies": {"ttl": "90s"}}
    assert list(second.update_mask.paths) == ["policies.snapshots"]
    assert not second.tenant.HasField("memory")
    assert tenant.policies == Policies(max_entries=7, ttl=timedelta(seconds=90), snapshots=None, duplicates=None)
    assert tenant.memory.eta == 0.5


def test_every_policy_comes_back_as_it_went(client):
    assert client.update_tenant("ada", **POLICIES).policies == Policies(**POLICIES)
    for snapshots in ("none", "log_spaced", "all"):
        assert client.update_tenant("ada", snapshots=snapshots).policies.snapshots == snapshots
    for duplicates in ("keep", "merge"):
        assert client.update_tenant("ada", duplicates=duplicates).policies.duplicates == duplicates


def test_an_entry_that_lives_for_ever_is_not_one_of_which_nothing_is_said(client, fake):
    assert client.update_tenant("ada", ttl=0).policies.ttl == timedelta(0)
    assert fake.asked("UpdateTenant")[0].tenant.policies.HasField("ttl")
    (listed,) = client.list_tenants()
    assert listed.policies == Policies(max_entries=None, ttl=None, snapshots=None, duplicates=None)


def test_an_unknown_setting_is_named_with_those_there_are(client, fake):
    with pytest.raises(InvalidArgumentError, match="thetta: is no setting; there are layers, theta, eta,"):
        client.update_tenant("ada", eta=0.5, thetta=0.1)
    assert not fake.calls
