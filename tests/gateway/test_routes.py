"""The table of routes, held against the API."""

import re

import pytest
from openapi_spec_validator import validate

from memsvc.gateway.openapi import document
from memsvc.gateway.routes import ROUTES, SERVICES, WHOLE
from memsvc.gateway.routes import Route as Row

STREAMED_IN = {"WriteStream", "ImportTenant"}
FILES = {"ExportTenant"}


def test_every_call_has_a_route_but_for_streams_of_the_callers_and_files() -> None:
    calls = {method.name for service in SERVICES for method in service.methods}
    assert calls - {route.call for route in ROUTES} == STREAMED_IN | FILES
    assert len({route.call for route in ROUTES}) == len({(route.verb, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.call)
def test_what_a_path_and_a_body_set_is_there_in_the_message(route: Row) -> None:
    for name in re.findall(r"{(\w+)}", route.path):
        kind = route.asks
        *above, last = route.place(name).split(".")
        for each in above:
            kind = kind.fields_by_name[each].message_type
        assert kind.fields_by_name[last].type == kind.fields_by_name[last].TYPE_STRING
    assert route.body in {"", WHOLE} or route.asks.fields_by_name[route.body].message_type is not None


def test_the_document_is_one() -> None:
    validate(document())


def test_the_document_has_every_route_and_says_what_the_definition_says() -> None:
    paths = document()["paths"]
    for route in ROUTES:
        operation = paths[route.path][route.verb.lower()]
        assert operation["operationId"] == route.call
        assert operation["description"]
        assert all(each.get("description") or each["in"] == "path" for each in operation["parameters"])
    schemas = document()["components"]["schemas"]
    assert schemas["Entry"]["properties"]["commitTime"] == {
        "description": "Output only. When that record was committed; monotone in a tenant.",
        "readOnly": True,
        "type": "string",
        "format": "date-time",
    }
    assert schemas["Entry"]["properties"]["vector"]["writeOnly"]
    written = paths["/v1/tenants/{tenant}/entries"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(written["properties"]) == {"entries", "wait"}
