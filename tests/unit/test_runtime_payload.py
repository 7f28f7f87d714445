"""The depth of payloads, as parsers count it, and values that contain themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import workflow_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload, levels_of, require_shallow, to_struct, to_value

nested_values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=30,
)


@pytest.mark.parametrize(("wrap", "depth"), [(lambda inner: [inner], 30), (lambda inner: {"k": inner}, 20)])
def test_depth_is_bounded_as_parsers_count_it(wrap: Callable[[object], object], depth: int) -> None:
    """A value is refused before it is too deep for the parsers of any language, with what carries it around it."""
    deep: object = 1
    for _ in range(depth):
        deep = wrap(deep)
    payload = json_payload(deep)
    require_shallow(payload.json, "input")
    commit = workflow_pb2.Commit(results=[workflow_pb2.StepResult(step_id="s", result=payload)])
    assert workflow_pb2.Commit.FromString(commit.SerializeToString()) == commit
    with pytest.raises(ValidationError, match="nested too deep: at most 20 objects or 30 lists"):
        json_payload(wrap(deep))
    with pytest.raises(ValidationError, match="nested too deep"):
        to_struct({"inner": deep})


def test_what_came_over_the_wire_is_checked_too() -> None:
    """R36: a client in another language may send what our own nodes would not make; it is refused with its place."""
    value = struct_pb2.Value()
    innermost = value
    for _ in range(30):
        innermost = innermost.list_value.values.add()
    innermost.number_value = 1
    require_shallow(value, "input")
    with pytest.raises(ValidationError, match=r"^input: nested too deep") as refused:
        require_shallow(value, "input", levels=levels_of(["rows"]))
    assert refused.value.violations[0][0] == "input"
    innermost.list_value.values.add()
    with pytest.raises(ValidationError, match=r"^input: nested too deep"):
        require_shallow(value, "input")


def test_the_depth_of_a_place() -> None:
    """A name leads into an object, which is three messages; a number into a list, which is two."""
    assert levels_of(()) == 0
    assert levels_of(("rows", 3, "price")) == 3 + 2 + 3


@given(nested_values)
def test_what_may_be_made_may_be_carried_on(value: object) -> None:
    """Both ways of counting agree: what one node may make, the next one accepts."""
    require_shallow(to_value(value), "value")


@pytest.mark.parametrize("in_object", [False, True])
def test_a_value_that_contains_itself_is_refused(in_object: bool) -> None:
    """A cycle ends as an error about depth, not as a crash."""
    inner: list[object] = []
    inner.append({"again": inner} if in_object else inner)
    with pytest.raises(ValidationError, match="nested too deep"):
        json_payload(inner)


def test_fields_are_read_in_the_order_of_their_names() -> None:
    """R48: protobuf would give them in another order in each process."""
    value = {"b": 1, "a": {"z": 1, "y": [{"d": 1, "c": 2}]}}
    read = from_payload(json_payload(value))
    assert read == value
    assert repr(read) == "{'a': {'y': [{'c': 2, 'd': 1}], 'z': 1}, 'b': 1}"
