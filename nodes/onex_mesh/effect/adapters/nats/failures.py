"""What NATS answers and how its connections break, as errors of the mesh."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
import nats.js.errors

from onex_mesh.runtime.errors import EffectFailedError, OnexError, PayloadTooLargeError, TargetUnavailableError

_ANSWER_CHARS_MAX = 300
_LOGIN_REFUSED = ("authorization", "authentication", "credentials")


class ConnectionLostError(nats.errors.Error):
    """The connection broke while an answer was awaited."""


@contextmanager
def translated(target: str, *, may_repeat: bool) -> Iterator[None]:
    """Errors of the library as those of the mesh.

    Args:
        target: Name of the target.
        may_repeat: Whether something whose outcome is unknown may be done again.
    """
    try:
        yield
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise _meaning(error, target, may_repeat) from error


def _meaning(error: Exception, target: str, may_repeat: bool) -> OnexError:
    context: dict[str, object] = {"target": target}
    match error:
        case nats.js.errors.NoStreamResponseError() | nats.errors.NoRespondersError():
            return TargetUnavailableError(f"{target!r}: no stream takes the message", error_context=context)
        case nats.js.errors.ServiceUnavailableError():
            return TargetUnavailableError(_answer(target, error), error_context=context)
        case nats.js.errors.ServerError():
            return _unavailable(_answer(target, error), context, may_repeat)
        case nats.js.errors.APIError():
            return EffectFailedError(_answer(target, error), error_context=context | {"nats_code": error.err_code})
        case nats.errors.MaxPayloadError():
            return PayloadTooLargeError(f"{target!r}: the server takes no message of that size", error_context=context)
        case nats.errors.SecureConnWantedError():
            return EffectFailedError(f"{target!r} offers no TLS, and the target asks for it", error_context=context)
        case ssl.SSLCertVerificationError():
            text = f"the certificate of {target!r} is not trusted: {error.verify_message}"
            return EffectFailedError(text, error_context=context)
        case nats.errors.ConnectionClosedError() | nats.errors.NoServersError():
            # Nothing was sent.
            return TargetUnavailableError(f"{target!r} cannot be reached", error_context=context)
    if is_login_refusal(error):
        return EffectFailedError(f"{target!r} refused the credentials", error_context=context)
    if "permissions violation" in str(error).lower():
        return EffectFailedError(f"{target!r} does not permit this: {str(error)[:_ANSWER_CHARS_MAX]}")
    return _unavailable(f"{target!r} does not answer: {type(error).__name__}", context, may_repeat)


def is_login_refusal(error: Exception) -> bool:
    """Whether a server did not let the client in."""
    text = str(error).lower()
    return isinstance(error, nats.errors.Error) and any(word in text for word in _LOGIN_REFUSED)


def _unavailable(text: str, context: dict[str, object], may_repeat: bool) -> TargetUnavailableError:
    unavailable = TargetUnavailableError(text, error_context=context)
    unavailable.retryable = may_repeat
    return unavailable


def _answer(target: str, error: nats.js.errors.APIError) -> str:
    return f"{target!r} answered {error.code} {error.description}"[:_ANSWER_CHARS_MAX]
