"""Headers that the node sends: the target's own, and those of one call."""

from __future__ import annotations

from collections.abc import Mapping

from onex_mesh.effect.adapters.http.content import ACCEPTED_ENCODING
from onex_mesh.effect.adapters.http.parameters import READING_METHODS, Call, header_text
from onex_mesh.effect.adapters.http.trace import traceparent
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import ValidationError


def fixed_headers(name: str, target: HttpTarget, environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The headers of every call, and the credentials in them.

    Raises:
        ValidationError: A credential is missing, or a value cannot be in a header.
    """
    headers = {"user-agent": "onex-mesh", "accept": "*/*", "accept-encoding": ACCEPTED_ENCODING, **target.headers}
    secrets: list[str] = []
    token = read_secret(name, target.bearer_token_env, target.bearer_token_file, environment)
    if token is not None:
        headers["authorization"] = f"Bearer {token.value}"
        secrets.append(token.value)
    for header, variable in target.header_env.items():
        secret = read_secret(name, variable, None, environment)
        assert secret is not None
        headers[header] = secret.value
        secrets.append(secret.value)
    for header, value in headers.items():
        if not value.isascii() or not value.isprintable() or value != value.strip():
            text = "the value is not visible ASCII, or has blanks around it"
            raise ValidationError(f"target {name!r}: headers.{header}: {text}", violations=((header, text),))
    return headers, secrets


def call_headers(
    fixed: Mapping[str, str], call: Call, context: EffectContext, target: HttpTarget
) -> list[tuple[str, str]]:
    """All headers of one call: the fixed ones, the contract's, and who asks under which key (R9, R22)."""
    headers = dict(call.headers)
    headers["traceparent"] = traceparent(context.traceparent, context.correlation_id)
    if call.body is not None:
        headers["content-type"] = call.body.content_type
    if context.correlation_id:
        headers["x-correlation-id"] = header_text(context.correlation_id)
    if context.idempotency_key and call.method not in READING_METHODS:
        headers[target.idempotency_header] = context.idempotency_key
    # A contract may say better what it accepts; whatever else is fixed, it cannot name.
    given = {name.lower() for name in headers}
    return [*((name, value) for name, value in fixed.items() if name.lower() not in given), *headers.items()]
