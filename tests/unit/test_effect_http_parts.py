"""Parts of HTTP targets: declarations, bounded content, traces, JSON pointers, what statuses mean."""

from __future__ import annotations

import gzip
import re
import uuid
import zlib
from collections.abc import AsyncIterator

import pydantic
import pytest

from onex_mesh.effect.adapters.http.content import ContentEncodingError, ContentTooLargeError, read_content
from onex_mesh.effect.adapters.http.json_pointer import MissingFieldError, at, pick
from onex_mesh.effect.adapters.http.parameters import header_text
from onex_mesh.effect.adapters.http.responses import Answer, refusal
from onex_mesh.effect.adapters.http.trace import traceparent
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.kinds.http_routes import ResponseRules
from onex_mesh.runtime.errors import TargetUnavailableError
from onex_mesh.runtime.payload import Json

ROUTE = {"methods": ["GET"], "path": "/x"}


def _declared(**fields: object) -> HttpTarget:
    return HttpTarget.model_validate({"kind": "http", "base_url": "https://api.example", "allow": [ROUTE]} | fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"base_url": "https://2130706433"}, "not written as four decimal numbers"),
        ({"base_url": "https://0x7f.0.0.1"}, "not written as four decimal numbers"),
        ({"base_url": "https://127.0.0.1"}, "127.0.0.1 is loopback; allow_private"),
        ({"base_url": "https://[::ffff:10.0.0.1]"}, "is private; allow_private"),
        ({"base_url": "https://169.254.169.254", "allow_private": True}, "is link local; allow_private"),
        ({"base_url": "https://[fe80::1%25eth0]"}, "is not http|zone|does not appear"),
        ({"base_url": "https://h:99999"}, "is not http"),
        ({"base_url": "https://h:0"}, "is not http"),
        ({"base_url": "https://h/a/../b"}, "leads elsewhere"),
        ({"base_url": "https://h?x=1"}, "has a query"),
        ({"headers": {"Host": "evil"}}, "is set by the node"),
        ({"header_env": {"Content-Length": "X"}}, "is set by the node"),
        ({"headers": {"x y": "1"}}, "is not a header name"),
        ({"idempotency_header": "x y"}, "should match pattern"),
        ({"allow_private": ["10.0.0.1/8"]}, "is not a network"),
        ({"health_path": "/../x"}, "leads elsewhere"),
        ({"base_url": "http://h.example", "tls": {"ca_file": "ca.pem"}}, "is for https"),
        ({"allow": [ROUTE | {"path": "/a/../b"}]}, "neither plain text nor"),
        ({"allow": [ROUTE | {"parameters": {"id": {}}}]}, "the path has no {id}"),
        ({"allow": [ROUTE | {"path": "/{id}", "parameters": {"id": {"pattern": "("}}}]}, "not a regular expression"),
        ({"allow": [ROUTE | {"name": "a"}, ROUTE | {"name": "a"}]}, "two routes have the name 'a'"),
        ({"allow": [ROUTE | {"content_types": ["Text/Plain"]}]}, "not a media type"),
        ({"allow": [ROUTE | {"response": {"result": "id"}}]}, "not a JSON pointer"),
        ({"allow": [ROUTE | {"response": {"result": {"a": "/a~2"}}}]}, "not a JSON pointer"),
        ({"allow": [ROUTE | {"response": {"headers": ["a b"]}}]}, "not a header name"),
        ({"allow": [ROUTE | {"response": {"success": [404], "failure": [404]}}]}, "404 stands here twice"),
        ({"allow": [ROUTE | {"response": {"success": [100]}}]}, "greater than or equal to 200"),
        ({"allow": [ROUTE | {"response": {"success": ["2x"]}}]}, "should match pattern"),
    ],
)  # fmt: skip
def test_declarations_that_are_refused(fields: dict[str, object], problem: str) -> None:
    """R17, R18: told when the file is read, before anything is sent."""
    with pytest.raises(pydantic.ValidationError, match=problem):
        _declared(**fields)


def test_an_address_that_the_operator_lists() -> None:
    """R7: as a network, or by allow_private."""
    assert _declared(base_url="http://127.0.0.1:8080", allow_private=["127.0.0.0/8"]).base_url
    assert _declared(base_url="http://[::1]:8080", allow_private=True).base_url
    assert _declared(base_url="http://169.254.1.1", allow_private=["169.254.1.1/32"]).base_url


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 65_536])
async def test_content_up_to_the_bound(size: int) -> None:
    """R154: plain and packed, in pieces of any size; members of a gzip follow each other."""
    text = bytes(range(256)) * 8
    assert await read_content(_pieces(text, size), "", 2_048) == text
    assert await read_content(_pieces(gzip.compress(text), size), "GZIP", 2_048) == text
    members = gzip.compress(text[:1_000]) + gzip.compress(b"") + gzip.compress(text[1_000:])
    assert await read_content(_pieces(members, size), "gzip", 2_048) == text
    assert await read_content(_pieces(b"", size), "gzip", 2_048) == b""
    for packed, encoding in ((text, "identity"), (gzip.compress(text), "gzip")):
        with pytest.raises(ContentTooLargeError):
            await read_content(_pieces(packed, size), encoding, 2_047)


async def test_a_bomb_is_not_unpacked() -> None:
    """R154: what would unpack to a gigabyte is given up after the bound, and so is an endless row of empty members."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(1_024)) + packer.flush()
    assert len(bomb) < 2**21
    with pytest.raises(ContentTooLargeError):
        await read_content(_pieces(bomb, 65_536), "gzip", 10_000)
    with pytest.raises(ContentTooLargeError):
        await read_content(_pieces(gzip.compress(b"") * 10_000, 65_536), "gzip", 10_000)


@pytest.mark.parametrize(
    ("data", "encoding", "problem"),
    [
        (b"x", "br", "'br', which was not asked for"),
        (b"x", "gzip, gzip", "'gzip, gzip', which was not asked for"),
        (b"not gzip", "gzip", "is not gzip"),
        (gzip.compress(b"hello")[:-4], "gzip", "ends in the middle"),
        (gzip.compress(b"hello") + b"tail", "gzip", "is not gzip|ends in the middle"),
    ],
)
async def test_content_that_cannot_be_unpacked(data: bytes, encoding: str, problem: str) -> None:
    """R25: an encoding that was not asked for, or a broken one, is an error and not content."""
    with pytest.raises(ContentEncodingError, match=problem):
        await read_content(_pieces(data, 4), encoding, 10_000)


def test_a_text_as_a_header_carries_it() -> None:
    """R22: nothing that a client calls its request becomes a header of its own."""
    assert header_text("a\r\nHost: b ä%") == "a%0D%0AHost:%20b%20%C3%A4%25"


def test_a_trace_derives_from_the_correlation_id() -> None:
    """R22: a valid traceparent; one trace for all calls of a request, a span of its own for each call."""
    form = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-00")
    ids = [str(uuid.uuid4()), "order 7", str(uuid.UUID(int=0)), ""]
    found = [[form.fullmatch(traceparent("", name)) for _ in range(2)] for name in ids]
    assert all(match is not None for pair in found for match in pair)
    traces = [[match.group(1) for match in pair if match] for pair in found]
    spans = {match.group(2) for pair in found for match in pair if match}
    assert traces[0] == [ids[0].replace("-", "")] * 2
    assert [pair[0] == pair[1] for pair in traces] == [True, True, True, False]
    assert len({trace for pair in traces for trace in pair}) == 5
    assert len(spans) == 8


def test_a_trace_that_came_is_continued() -> None:
    """R22: its id and whether it is sampled; a malformed one is not believed."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = traceparent(f"00-{trace}-00f067aa0ba902b7-01", "c")
    assert sent.startswith(f"00-{trace}-")
    assert sent.endswith("-01")
    assert "00f067aa0ba902b7" not in sent
    assert trace in traceparent(f"cc-{trace}-00f067aa0ba902b7-03-more", "c")
    for wrong in (
        f"ff-{trace}-00f067aa0ba902b7-01",
        f"00-{trace}-00f067aa0ba902b7-01-more",
        f"00-{trace.upper()}-00f067aa0ba902b7-01",
        f"00-{trace}-0000000000000000-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        "x",
    ):
        assert traceparent(wrong, "c")[:35] == traceparent("", "c")[:35]


DOCUMENT: Json = {"data": {"items": [{"id": 7}, None]}, "a/b": 1, "m~n": 2, "": 3, "01": 4}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/data/items/0/id", 7),
        ("/data/items/1", None),
        ("/a~1b", 1),
        ("/m~0n", 2),
        ("/", 3),
        ("/01", 4),
    ],
)
def test_pointers(pointer: str, value: Json) -> None:
    """RFC 6901: what a pointer points at."""
    assert at(DOCUMENT, pointer) == value


@pytest.mark.parametrize("pointer", ["/x", "/data/items/2", "/data/items/-", "/data/items/00", "/data/items/0/id/x"])
def test_pointers_to_nothing(pointer: str) -> None:
    """RFC 6901: an index has no leading zeros; nothing lies beyond a list or within a number."""
    with pytest.raises(MissingFieldError, match=f"has no {pointer}"):
        at(DOCUMENT, pointer)


def test_a_result_of_several_fields() -> None:
    """R13: one that need not be there is null."""
    rules = ResponseRules.model_validate(
        {"result": {"id": "/data/items/0/id", "note": {"pointer": "/note", "required": False}}}
    )
    assert rules.result is not None
    assert pick(DOCUMENT, rules.result) == {"id": 7, "note": None}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "success"),
        (404, "success"),
        (409, "temporary"),
        (410, "failure"),
        (202, "failure"),
        (503, "failure"),
        (500, "unknown"),
        (599, "unknown"),
    ],
)
def test_what_statuses_mean(status: int, outcome: str) -> None:
    """R15: a code goes before its class, the contract before the route, both before the usual meaning."""
    contract = ResponseRules.model_validate({"success": [404], "failure": [503]})
    route = ResponseRules.model_validate({"success": ["2xx"], "failure": [202, "4xx", 404], "temporary": [409, 503]})
    error = refusal(
        Answer(status, {}, b""), (contract, route), target="t", body="", may_repeat=False, retry_after_max_s=1.0
    )
    if error is None:
        assert outcome == "success"
    elif isinstance(error, TargetUnavailableError):
        assert outcome == ("temporary" if error.retryable else "unknown")
    else:
        assert outcome == "failure"
