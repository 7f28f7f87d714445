"""What an HTTP response means for the effect, and its JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from onex_mesh.effect.adapters.exact_json import exact_json
from onex_mesh.effect.adapters.http.json_pointer import MissingFieldError, pick
from onex_mesh.effect.core.kinds.http_routes import ResponseRules
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError
from onex_mesh.runtime.payload import Json

_BODY_CHARS_MAX = 500
_HEADERS_KEPT = ("content-type", "etag", "last-modified", "location", "link", "x-request-id")

_OVERLOADED = (429, 503)
"""The server says that it has not done it."""
_MAY_COME_BACK = (408, 425)
_NEVER = (501, 505)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes
    encoding: str = "utf-8"

    @property
    def text(self) -> str:
        """The content as text; what is none is replaced."""
        return self.content.decode(self.encoding, errors="replace")


def refusal(
    answer: Answer,
    rules: Sequence[ResponseRules],
    *,
    target: str,
    body: str,
    may_repeat: bool,
    retry_after_max_s: float,
) -> OnexError | None:
    """The error that a response stands for; None for a success.

    Args:
        answer: The response.
        rules: What statuses mean; the first one that says something counts.
        target: Name of the target.
        body: Text of the response without credentials; a bounded part of it goes into the error.
        may_repeat: Whether a call of unknown outcome may be repeated: its method is idempotent, or a key was sent.
        retry_after_max_s: With a longer Retry-After the call is not tried again.
    """
    status = answer.status
    meaning = next((said for rule in rules if (said := rule.meaning(status)) is not None), None)
    if meaning == "success" or (meaning is None and 200 <= status < 300):
        return None
    context: dict[str, object] = {"target": target, "status": status}
    if body:
        context["body"] = body[:_BODY_CHARS_MAX]
    if meaning is None and 300 <= status < 400:
        return EffectFailedError(f"{target!r} answered {status}: redirects are not followed", error_context=context)
    if meaning == "failure" or (meaning is None and _is_final(status)):
        return EffectFailedError(f"{target!r} answered {status}", error_context=context)
    wait_s = retry_after_s(answer.headers.get("retry-after", ""))
    if wait_s is not None:
        context["retry_after_s"] = wait_s
    error = TargetUnavailableError(f"{target!r} answered {status}", error_context=context)
    is_undone = meaning == "temporary" or status in _OVERLOADED
    error.retryable = (is_undone or may_repeat) and (wait_s is None or wait_s <= retry_after_max_s)
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


def result(answer: Answer, rules: Sequence[ResponseRules], target: str) -> dict[str, Json]:
    """The JSON of a success: status, some headers, and the body, or what the rules take of it.

    Raises:
        EffectFailedError: The answer does not have what the rules take.
    """
    kept = next((rule.headers for rule in rules if rule.headers is not None), _HEADERS_KEPT)
    value: dict[str, Json] = {
        "status": answer.status,
        "headers": {name: answer.headers[name] for name in kept if name in answer.headers},
    }
    wanted = next((rule.result for rule in rules if rule.result is not None), None)
    if wanted is None:
        return value | _body(answer)
    context = {"target": target, "status": answer.status}
    try:
        value["body"] = pick(exact_json(answer.content), wanted)
    except MissingFieldError as error:
        raise EffectFailedError(f"the answer of {target!r} {error}", error_context=context) from error
    except ValueError as error:
        raise EffectFailedError(f"the answer of {target!r} is not JSON", error_context=context) from error
    return value


def _is_final(status: int) -> bool:
    return (status < 500 and status not in (*_OVERLOADED, *_MAY_COME_BACK)) or status in _NEVER


def _body(answer: Answer) -> dict[str, Json]:
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not answer.content:
        return {"body": None}
    if media == "application/json" or media.endswith("+json"):
        return {"body": _json_or_text(answer.content)}
    if media.startswith("text/") or media.endswith(("+xml", "/xml")):
        return {"body": answer.text}
    return {"body_base64": base64.b64encode(answer.content).decode()}


def _json_or_text(content: bytes) -> Json:
    try:
        return exact_json(content)
    except ValueError:
        return content.decode(errors="replace")
