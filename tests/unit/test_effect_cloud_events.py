"""Events as messages carry them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from onex_mesh.effect.adapters.cloud_events import Event, binary, printable, structured
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def _event(data: Json | bytes = None, **attributes: str) -> Event:
    return Event(id="k", source="/shop", type="placed", time=NOON, data=data, extensions=attributes)


def test_attributes_without_a_value_are_left_out() -> None:
    """CloudEvents has no empty attributes; an event without data has no content type."""
    assert json.loads(structured(_event(correlationid="")).body) == {
        "specversion": "1.0",
        "id": "k",
        "source": "/shop",
        "type": "placed",
        "time": "2026-01-31T12:00:00Z",
    }
    encoded = binary(_event())
    assert encoded.body == b""
    assert "ce-datacontenttype" not in encoded.headers


def test_times_are_utc() -> None:
    """The time attribute is that of RFC 3339, in UTC."""
    moment = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    event = Event(id="k", source="/shop", type="placed", time=moment)
    assert event.attributes()["time"] == "2026-01-31T10:00:00.250000Z"


def test_the_same_event_gives_the_same_bytes() -> None:
    """The order in which fields arrived does not show."""
    one, other = _event({"a": 1, "b": {"c": 2, "d": 3}}), _event({"b": {"d": 3, "c": 2}, "a": 1})
    assert structured(one) == structured(other)
    assert binary(one) == binary(other)


def test_headers_are_visible_ascii() -> None:
    """Whatever an attribute holds, its header has no line break, no blank and nothing beyond ASCII."""
    value = 'ü "x" 100% \U0001f600 \r\nNats-Rollup: all'
    header = binary(_event(correlationid=value)).headers["ce-correlationid"]
    assert header == "%C3%BC%20%22x%22%20100%25%20%F0%9F%98%80%20%0D%0ANats-Rollup:%20all"


def test_control_characters_of_clients() -> None:
    """They are percent-encoded where CloudEvents allows none."""
    assert printable("a\r\nb\x00\x7f\x85 ü") == "a%0D%0Ab%00%7F%C2%85 ü"


@pytest.mark.parametrize("data", [float("nan"), float("inf"), {"a": [float("-inf")]}, "\ud800", {"\udfff": 1}])
@pytest.mark.parametrize("encode", [structured, binary])
def test_what_is_no_json(encode: type, data: Json) -> None:
    """R18: data that no parser would take is refused."""
    with pytest.raises(ValidationError, match="cannot be JSON") as failed:
        encode(_event(data))
    assert failed.value.violations[0][0] == "data"


def test_depth() -> None:
    """F22: sixty levels pass, one more is refused, a thousand do not break the node."""

    def nested(levels: int) -> Json:
        value: Json = 1
        for level in range(levels):
            value = [value] if level % 2 else {"a": value}
        return value

    assert binary(_event(nested(60))).body
    for levels in (61, 5000):
        with pytest.raises(ValidationError, match="nested deeper than 60 levels"):
            binary(_event(nested(levels)))


def test_the_size_counts_headers() -> None:
    """A limit on messages holds for all of them, not for the body alone."""
    encoded = binary(_event("x" * 10))
    assert encoded.size_bytes > len(encoded.body) + sum(map(len, encoded.headers.values()))
