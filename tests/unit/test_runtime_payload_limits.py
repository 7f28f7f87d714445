"""Payloads: what comes back is what went in, or it was refused."""

from __future__ import annotations

import datetime
import decimal
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import (
    bytes_payload,
    from_payload,
    from_struct,
    from_value,
    json_payload,
    to_struct,
    to_value,
)

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_json_comes_back_equal(value: object) -> None:
    """R129: whatever JSON goes into a payload comes out equal, also over the wire."""
    sent = json_payload(value)
    received = common_pb2.Payload.FromString(sent.SerializeToString())
    assert from_payload(received) == value
    assert received.content_type == "application/json"


def test_whole_numbers_come_back_as_int() -> None:
    """F22: 3 does not become 3.0 in what user code sees."""
    assert repr(from_value(to_value([3, -0.5, 2**53]))) == f"[3, -0.5, {2**53}]"


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 10**30])
def test_integers_that_would_be_rounded_are_refused(value: int) -> None:
    """F22: an integer beyond ±2^53 is refused with the path of its field, never rounded."""
    with pytest.raises(ValidationError, match=r"order\.lines\[1\]\.qty: the integer") as refused:
        json_payload({"order": {"lines": [{"qty": 1}, {"qty": value}]}})
    assert refused.value.violations[0][0] == "order.lines[1].qty"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    """F22: NaN and infinities are no JSON."""
    with pytest.raises(ValidationError, match=r"rate: .* is not JSON"):
        json_payload({"rate": value})


def test_depth_is_bounded() -> None:
    """F22: what is accepted survives the parser of the other side; what is too deep for it is refused before."""

    def nested(levels: int) -> object:
        value: object = 1
        for _ in range(levels):
            value = [value]
        return value

    sent = json_payload(nested(20))
    assert from_payload(common_pb2.Payload.FromString(sent.SerializeToString())) == nested(20)
    with pytest.raises(ValidationError, match="nested too deep"):
        json_payload(nested(100))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1: "a"}, "the key 1 is not a string"),
        ({"a": {1, 2}}, "a: a set cannot be JSON"),
        ({"a": [b"x"]}, r"a\[0\]: a bytes cannot be JSON"),
        (object(), "value: a object cannot be JSON"),
    ],
)
def test_what_is_no_json_is_refused_by_name(value: object, text: str) -> None:
    """F22: nothing is turned into text silently."""
    with pytest.raises(ValidationError, match=text):
        json_payload(value)


def test_exact_types_become_text() -> None:
    """F37: Decimal, UUID and dates have one exact spelling."""
    day = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    key = uuid.UUID(int=5)
    value = json_payload({"price": decimal.Decimal("1.10"), "id": key, "at": day, "on": day.date()})
    assert from_payload(value) == {"price": "1.10", "id": str(key), "at": day.isoformat(), "on": "2024-05-06"}


def test_bytes_pass_untouched() -> None:
    """R129: bytes keep every byte and their media type."""
    payload = bytes_payload(bytes(range(256)), "image/png")
    assert from_payload(payload) == bytes(range(256))
    assert payload.content_type == "image/png"


def test_bytes_that_say_they_are_json_are_parsed() -> None:
    """R129: application/json as bytes is JSON; where it is not, that is an error of the request."""
    assert from_payload(bytes_payload(b'{"a": [1]}', "application/json")) == {"a": [1]}
    with pytest.raises(ValidationError, match="not JSON"):
        from_payload(bytes_payload(b"{", "application/json"))


def test_nothing_and_null_are_none_and_a_location_is_refused() -> None:
    """R129: an empty payload holds nothing; one that is stored elsewhere must be fetched first."""
    assert from_payload(common_pb2.Payload()) is None
    assert from_payload(json_payload(None)) is None
    with pytest.raises(ValidationError, match="was not fetched"):
        from_payload(common_pb2.Payload(location=common_pb2.PayloadLocation(uri="a")))


def test_structs_are_refused_by_the_path_too() -> None:
    """F22: parameters follow the same rules as payloads."""
    assert from_struct(to_struct({"a": {"b": [1, None]}, "empty": {}})) == {"a": {"b": [1, None]}, "empty": {}}
    with pytest.raises(ValidationError, match=r"a\.b: "):
        to_struct({"a": {"b": 2**60}})
