"""Grants: which tenants a pattern reaches, and what a set of them holds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.auth.grants import Grant, Right, covers, spans
from memsvc.auth.principal import ANYONE, Principal
from memsvc.errors import InvalidArgumentError

READ = frozenset({Right.READ})


def reader(*patterns: str) -> Principal:
    return Principal(name="test", grants=tuple(Grant(pattern, READ) for pattern in patterns))


@pytest.mark.parametrize(
    ("pattern", "reached", "out_of_reach"),
    [
        ("foo", ["foo"], ["", "fo", "foobar", "foo/", "foo/bar", "Foo", "foo ", "fop"]),
        ("foo/*", ["foo/bar", "foo/bar/baz", "foo/é", "foo/*", "foo//"], ["foo", "foo/", "foobar", "foo0", "fo/bar"]),
        ("a/b/*", ["a/b/c"], ["a/b", "a/bc", "a/c", "b/c"]),
        ("é@x/*", ["é@x/1"], ["é@x", "é@xy"]),
        ("*", ["", "foo", "foo/bar", "\U0001f600"], []),
    ],
)
def test_a_pattern_reaches_whole_segments(pattern, reached, out_of_reach):
    principal = reader(pattern)
    assert all(principal.may(Right.READ, tenant) for tenant in reached)
    assert not any(principal.may(Right.READ, tenant) for tenant in out_of_reach)


@pytest.mark.parametrize("pattern", ["", "foo*", "*foo", "foo/*/bar", "**", "*/*", "a\nb", "x" * 257])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(InvalidArgumentError) as caught:
        Grant(pattern, READ)
    assert caught.value.field == "tenant"


def test_a_grant_has_a_right():
    with pytest.raises(InvalidArgumentError):
        Grant("foo", frozenset())


def test_no_right_implies_another():
    for right in Right:
        principal = Principal(name="test", grants=(Grant("foo", frozenset({right})),))
        assert [other for other in Right if principal.may(other, "foo")] == [right]
        assert [other for other in Right if principal.holds(other)] == [right]


IDS = st.text(st.sampled_from("ab/é0\U0001f600"), min_size=1, max_size=6)
PATTERNS = st.one_of(st.just("*"), IDS, IDS.map(lambda id: f"{id}/*"))


@given(st.lists(PATTERNS, max_size=6), st.lists(IDS, max_size=20))
def test_spans_hold_what_the_grants_reach_and_are_in_order(patterns, ids):
    principal = reader(*patterns)
    found = principal.spans(Right.READ)
    for id in ids:
        assert principal.may(Right.READ, id) == any(span.holds(id.encode()) for span in found)
    assert all(before.end is not None and before.end < after.first for before, after in pairwise(found))
    assert principal.spans(Right.WRITE) == ()


@given(st.lists(PATTERNS, max_size=4), PATTERNS, st.lists(IDS, max_size=20))
def test_what_is_covered_is_reached(patterns, inner, ids):
    grant = Grant(inner, READ)
    outer = reader(*patterns)
    if covers(spans(outer.grants, Right.READ), grant.span):
        assert all(outer.may(Right.READ, id) for id in ids if grant.span.holds(id.encode()))
    else:
        assert inner not in patterns


@pytest.mark.parametrize(
    ("own", "asked", "outranks", "administers"),
    [
        ([("*", "read,write,admin")], [("foo/*", "read,admin")], True, True),
        ([("foo/*", "read,admin")], [("foo/bar", "read")], True, True),
        ([("foo/*", "read,admin")], [("foo/bar/*", "admin")], True, True),
        ([("foo/*", "read,admin")], [("foo/bar", "write")], False, True),
        ([("foo/*", "read")], [("foo/bar", "read")], True, False),
        ([("foo/*", "read,admin")], [("foo", "read")], False, False),
        ([("foo/*", "read,admin")], [("*", "read")], False, False),
        ([("foo/*", "read,admin")], [("foo/a", "read"), ("bar", "read")], False, False),
        ([("foo/a", "admin"), ("foo/b", "admin")], [("foo/*", "admin")], False, False),
    ],
)
def test_nobody_hands_out_more_than_they_have(own, asked, outranks, administers):
    def grants(pairs):
        return tuple(Grant(tenant, frozenset(map(Right, names.split(",")))) for tenant, names in pairs)

    principal = Principal(name="test", grants=grants(own))
    assert (principal.outranks(grants(asked)), principal.administers(grants(asked))) == (outranks, administers)


def test_anyone_may_do_everything():
    assert all(ANYONE.may(right, tenant) for right in Right for tenant in ("", "foo", "\U0001f600"))
