"""The header traceparent (W3C Trace Context, level 1)."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


def traceparent(received: str, correlation_id: str) -> str:
    """The header for one call, with a span id of its own.

    Args:
        received: The traceparent that came with the request; its trace is continued. Empty or malformed: a trace
            begins whose id derives from the correlation id, so that all calls of one request are in one trace.
        correlation_id: Of the request; empty: the trace has this call only.
    """
    trace_id, flags = _continued(received) or (_trace_id(correlation_id), 0)
    return f"00-{trace_id}-{_span_id()}-{flags:02x}"


def _continued(received: str) -> tuple[str, int] | None:
    match = _TRACEPARENT.fullmatch(received.strip())
    if match is None or (match.group(1) == "00" and match.group(4)):
        return None
    return match.group(2), int(match.group(3), 16) & _SAMPLED


def _trace_id(correlation_id: str) -> str:
    if not correlation_id:
        return uuid.uuid4().hex
    try:
        given = uuid.UUID(correlation_id)
    except ValueError:
        return hashlib.sha256(correlation_id.encode()).hexdigest()[:32]
    return given.hex if given.int else hashlib.sha256(correlation_id.encode()).hexdigest()[:32]


def _span_id() -> str:
    return f"{secrets.randbelow(2**64 - 1) + 1:016x}"
