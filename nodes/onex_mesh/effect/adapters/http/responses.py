"""What an HTTP response means for the effect, and its JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from onex_mesh.effect.adapters.exact_json import exact_json
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError
from onex_mesh.runtime.payload import Json

_BODY_CHARS_MAX = 500
_HEADERS_KEPT = ("content-type", "etag", "last-modified", "location", "link", "x-request-id")

_OVERLOADED = (429, 503)
"""The server says that it has not done it."""
_MAY_COME_BACK = (408, 425, 502, 504)
_NEVER = (501, 505)


def refusal(
    status: int, headers: Mapping[str, str], body: str, *, target: str, may_repeat: bool, retry_after_max_s: float
) -> OnexError | None:
    """The error that a response stands for; None for a success.

    Args:
        status: HTTP status code.
        headers: Of the response, lower-case.
        body: Its text; a bounded part of it goes into the error.
        target: Name of the target.
        may_repeat: Whether a call of unknown outcome may be repeated: its method is idempotent, or a key was sent.
        retry_after_max_s: With a longer Retry-After the call is not tried again.
    """
    if 200 <= status < 300:
        return None
    context: dict[str, object] = {"target": target, "status": status}
    if body:
        context["body"] = body[:_BODY_CHARS_MAX]
    if 300 <= status < 400:
        return EffectFailedError(f"{target!r} answered {status}: redirects are not followed", error_context=context)
    if (status < 500 and status not in (*_OVERLOADED, *_MAY_COME_BACK)) or status in _NEVER:
        return EffectFailedError(f"{target!r} answered {status}", error_context=context)
    wait_s = retry_after_s(headers.get("retry-after", ""))
    if wait_s is not None:
        context["retry_after_s"] = wait_s
    error = TargetUnavailableError(f"{target!r} answered {status}", error_context=context)
    error.retryable = (status in _OVERLOADED or may_repeat) and (wait_s is None or wait_s <= retry_after_max_s)
    return error


def retry_after_s(text: str) -> float | None:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, section 10.2.3); None where it is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), 10**9))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def result(status: int, headers: Mapping[str, str], content: bytes, encoding: str) -> dict[str, Json]:
    """The JSON of a success: status, some headers, and the body as JSON, text or Base64."""
    value: dict[str, Json] = {
        "status": status,
        "headers": {name: headers[name] for name in _HEADERS_KEPT if name in headers},
    }
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content:
        value["body"] = None
    elif media == "application/json" or media.endswith("+json"):
        value["body"] = _json_or_text(content)
    elif media.startswith("text/") or media.endswith(("+xml", "/xml")):
        value["body"] = content.decode(encoding, errors="replace")
    else:
        value["body_base64"] = base64.b64encode(content).decode()
    return value


def _json_or_text(content: bytes) -> Json:
    try:
        return exact_json(content)
    except ValueError:
        return content.decode(errors="replace")
