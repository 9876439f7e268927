"""The rules: one for each method, held against each message."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from memsvc.auth.grants import Grant, Right
from memsvc.auth.principal import Principal
from memsvc.auth.rules import RULES, Scope
from memsvc.errors import PermissionDeniedError
from memsvc.v1 import auth_pb2, generate_pb2, memory_pb2, tenants_pb2

MODULES = (memory_pb2, tenants_pb2, generate_pb2, auth_pb2)
SERVICES = [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}


def principal(*rights: str, tenant: str = "foo") -> Principal:
    return Principal(name="test", grants=(Grant(tenant, frozenset(map(Right, rights))),))


def test_every_method_has_a_rule_and_every_rule_a_method():
    assert RULES.keys() == METHODS.keys()


@pytest.mark.parametrize("method", METHODS)
def test_a_rule_reads_fields_that_the_request_has(method):
    for path in filter(None, (RULES[method].tenant, *RULES[method].also)):
        message: Descriptor = METHODS[method].input_type
        *parents, last = path.split(".")
        for parent in parents:
            message = message.fields_by_name[parent].message_type
        assert message.fields_by_name[last].type == FieldDescriptor.TYPE_STRING


def names_of(message: Descriptor, path: str = "") -> set[str]:
    """Paths of a request's fields that name a tenant, as far as two messages deep."""
    found = set()
    for field in message.fields:
        here = f"{path}{field.name}"
        if field.type == FieldDescriptor.TYPE_STRING and field.name in {"tenant", "as_tenant"}:
            found.add(here)
        elif field.message_type is not None and not path:
            found |= names_of(field.message_type, f"{here}.")
    return found


@pytest.mark.parametrize("method", METHODS)
def test_no_field_that_names_a_tenant_is_left_out(method):
    rule = RULES[method]
    # The grants of a key that is to be made are patterns; the service holds them against its caller's.
    patterns = {"grants.tenant"} if method.endswith("/CreateKey") else set()
    assert names_of(METHODS[method].input_type) - patterns == {path for path in (rule.tenant, *rule.also) if path}


def request_of(method: str, tenant: str):
    """A request that names a tenant where the rule looks."""
    rule, message = RULES[method], GetMessageClass(METHODS[method].input_type)()
    for path in filter(None, (rule.tenant, *rule.also)):
        *parents, last = path.split(".")
        at = message
        for parent in parents:
            at = getattr(at, parent)
        setattr(at, last, tenant)
    return message


@pytest.mark.parametrize("method", METHODS)
def test_all_rights_of_a_rule_are_needed_and_no_other(method):
    rule = RULES[method]
    needed = {right.value for right in rule.rights}
    request = request_of(method, "foo")
    rule.check(principal(*needed), request, first=True)
    for right in needed:
        rest = {"read", "write", "admin"} - {right}
        with pytest.raises(PermissionDeniedError):
            rule.check(principal(*rest), request, first=True)


@pytest.mark.parametrize("method", [method for method in METHODS if RULES[method].tenant])
@pytest.mark.parametrize("tenant", ["foobar", "fo", "foo/bar", "foo ", "FOO", "*", "foo/*"])
def test_a_neighbour_is_out_of_reach(method, tenant):
    with pytest.raises(PermissionDeniedError):
        RULES[method].check(principal("read", "write", "admin"), request_of(method, tenant), first=True)


@pytest.mark.parametrize("method", [method for method, rule in RULES.items() if rule.scope is Scope.NAMED])
def test_a_request_that_names_nobody_is_for_those_who_reach_all(method):
    everything = principal("read", "write", "admin", tenant="*")
    nobody = GetMessageClass(METHODS[method].input_type)()
    RULES[method].check(everything, nobody, first=True)
    with pytest.raises(PermissionDeniedError):
        RULES[method].check(principal("read", "write", "admin"), nobody, first=True)


@pytest.mark.parametrize("method", [method for method, rule in RULES.items() if METHODS[method].client_streaming])
def test_a_later_message_that_names_a_tenant_is_checked_too(method):
    mine = principal("read", "write", "admin")
    RULES[method].check(mine, request_of(method, ""), first=False)
    RULES[method].check(mine, request_of(method, "foo"), first=False)
    with pytest.raises(PermissionDeniedError):
        RULES[method].check(mine, request_of(method, "foobar"), first=False)


def test_both_tenants_of_a_restore_are_checked():
    method = "/memsvc.v1.TenantService/RestoreTenant"
    mine = principal("read", "admin")
    RULES[method].check(mine, tenants_pb2.RestoreTenantRequest(tenant="foo"), first=True)
    for request in (
        tenants_pb2.RestoreTenantRequest(tenant="foo", as_tenant="bar"),
        tenants_pb2.RestoreTenantRequest(tenant="bar", as_tenant="foo"),
    ):
        with pytest.raises(PermissionDeniedError):
            RULES[method].check(mine, request, first=True)
