import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.limits import MAX_METADATA_BYTES
from memsvc.recall.filter import Filter
from memsvc.recall.metadata import MAX_DEPTH, parse_object, value_of

from .build import entries, index_of

NUMBERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**53, 2**53 + 1, 10**400, -(10**400)]), st.floats(-3, 3), st.just(1e300)
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text("abé", max_size=2), st.just("\ud800"))
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text("ab", max_size=1), v, max_size=2)
)
OPERATORS = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
CONDITIONS = st.one_of(VALUES, st.dictionaries(OPERATORS, VALUES, min_size=1, max_size=2))
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)


def matches(condition: str, metadata: str) -> bool:
    return Filter.parse(metadata_json=condition).matches("", "", 0, metadata)


@pytest.mark.parametrize(
    ("condition", "metadata", "expected"),
    [
        ('{"page": 3}', '{"page": 3}', True),
        ('{"page": 3}', '{"page": 3.0}', True),
        ('{"page": 3}', '{"page": "3"}', False),
        ('{"page": 1}', '{"page": true}', False),
        ('{"page": true}', '{"page": 1}', False),
        ('{"page": {"$gte": 3, "$lt": 9}}', '{"page": 3}', True),
        ('{"page": {"$gte": 3, "$lt": 9}}', '{"page": 9}', False),
        ('{"page": {"$gt": 3}}', '{"page": 3}', False),
        ('{"page": {"$lte": 3}}', '{"page": 3}', True),
        ('{"page": {"$gt": 0}}', '{"page": true}', False),
        ('{"page": {"$gt": 0}}', '{"page": "9"}', False),
        ('{"page": {"$gt": 9007199254740992}}', '{"page": 9007199254740993}', True),
        ('{"lang": {"$gt": "de"}}', '{"lang": "en"}', True),
        ('{"lang": {"$ne": "de"}}', '{"lang": "en"}', True),
        ('{"lang": {"$ne": "de"}}', '{"lang": "de"}', False),
        ('{"lang": {"$ne": "1"}}', '{"lang": 1}', True),
        ('{"lang": {"$ne": "de"}}', "{}", True),
        ('{"lang": {"$ne": "de"}}', "", True),
        ('{"lang": null}', "{}", False),
        ('{"lang": null}', '{"lang": null}', True),
        ('{"lang": {"$gte": null}}', '{"lang": null}', False),
        ('{"tags": ["a", 1]}', '{"tags": ["a", 1.0]}', True),
        ('{"tags": ["a", 1]}', '{"tags": [1, "a"]}', False),
        ('{"at": {"b": 1, "a": 2}}', '{"at": {"a": 2, "b": 1}}', True),
        ('{"at": {"$eq": {"$x": 2}}}', '{"at": {"$x": 2}}', True),
        ('{"at": {}}', '{"at": {}}', True),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2, "c": 3}', True),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', False),
        ("", '{"a": 1}', True),
        ("{}", "", True),
    ],
)
def test_metadata_conditions(condition, metadata, expected) -> None:
    assert matches(condition, metadata) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "[]",
        "3",
        "{",
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": {"$in": [1]}}',
        '{"a": {"$gt": 1, "b": 2}}',
        '{"$or": [{"a": 1}]}',
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"a": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}",
        '{"a": ' + "9" * 5000 + "}",
        json.dumps({"a": "é" * (MAX_METADATA_BYTES // 2)}, ensure_ascii=False),
    ],
)
def test_a_condition_that_is_none_is_refused_by_name(condition) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Filter.parse(metadata_json=condition)
    assert caught.value.field == "filter.metadata_json"


def test_metadata_may_be_nested_up_to_the_limit() -> None:
    nested = '{"a": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    assert matches(nested, nested)
    assert parse_object(nested, "metadata_json")
    with pytest.raises(InvalidArgumentError, match="metadata_json"):
        parse_object('{"a": ' + nested + "}", "metadata_json")


def test_times_are_from_inclusive_to_exclusive() -> None:
    window = Filter.parse(after_us=10, before_us=20)
    assert [t for t in (9, 10, 19, 20) if window.matches("s", "r", t, "")] == [10, 19]


def test_session_and_role_are_exact() -> None:
    assert Filter.parse(session="s", role="r").matches("s", "r", 0, "")
    assert not Filter.parse(session="s").matches("S", "r", 0, "")
    assert not Filter.parse(role="r").matches("s", "", 0, "")
    assert Filter.parse(session="").matches("", "r", 0, "")
    assert not Filter.parse(session="").matches("s", "r", 0, "")


@pytest.mark.parametrize("wrap", ["{}", "[{}]", '{{"a": {}}}'])
def test_numbers_that_python_hashes_alike_are_told_apart_at_no_cost(wrap) -> None:
    """In a table of values that all hash alike each new one is compared with all: a batch of them took many minutes."""
    values = [value_of(json.loads(wrap.format(i * sys.hash_info.modulus))) for i in range(1000)]
    assert len(set(map(hash, values))) > 990
    for same in ("1 1.0 1e0", "0 -0.0 0e9", "9007199254740992 9007199254740992.0", "1e999 2e999"):
        assert len({value_of(json.loads(wrap.format(number))) for number in same.split()}) == 1


@settings(max_examples=150, deadline=None)
@given(
    metadata=st.lists(st.one_of(st.just(""), OBJECTS.map(json.dumps)), min_size=1, max_size=12),
    conditions=st.dictionaries(st.sampled_from("xyz"), CONDITIONS, min_size=1, max_size=2),
    session=st.sampled_from([None, "", "s0", "s1", "none"]),
    role=st.sampled_from([None, "", "user", "none"]),
    after=st.none() | st.integers(0, 1000),
    before=st.none() | st.integers(0, 1000),
)
def test_the_index_selects_what_the_filter_matches(metadata, conditions, session, role, after, before) -> None:
    made = [e._replace(metadata_json=m) for e, m in zip(entries(1, len(metadata)), metadata, strict=True)]
    wanted = Filter.parse(session, role, after, before, json.dumps(conditions))
    index = index_of(made, 5)
    for count in (len(made), len(made) // 2):
        expected = [wanted.matches(e.session, e.role, e.time_us, e.metadata_json) for e in made[:count]]
        np.testing.assert_array_equal(index.select(wanted, count), expected)
        only = Filter.parse(metadata_json=json.dumps(conditions))
        expected = [only.matches(e.session, e.role, e.time_us, e.metadata_json) for e in made[:count]]
        np.testing.assert_array_equal(index.select(only, count), expected)
