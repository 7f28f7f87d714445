"""What a broken connection means: whether the request certainly had no effect, and what to say about it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import httpx
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset
from h2.exceptions import H2Error

from onex_mesh.runtime.errors import TargetUnavailableError

BROKEN = (httpx.HTTPError, httpx.StreamError, H2Error)
"""What the client raises where a connection is refused, breaks, or carries nonsense."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def unreachable(target: str, error: Exception, *, may_repeat: bool) -> TargetUnavailableError:
    """The error of a call without an answer.

    Args:
        target: Name of the target.
        error: One of `BROKEN`.
        may_repeat: Whether a call of unknown outcome may be repeated.
    """
    causes = list(_causes(error))
    refused = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if refused is not None:
        what = f"its certificate was not accepted: {refused.verify_message}"
    else:
        what = f"{type(error).__name__}{f': {error}' if isinstance(error, _UNSENT) and str(error) else ''}"
    unavailable = TargetUnavailableError(
        f"{target!r} cannot be reached or broke off: {what}", error_context={"target": target}
    )
    # Asking again will not change a certificate.
    unavailable.retryable = refused is None and (may_repeat or isinstance(error, _UNSENT) or any(map(_undone, causes)))
    return unavailable


def _undone(error: BaseException) -> bool:
    """Whether an HTTP/2 server said that it did not look at the request (RFC 9113, sections 6.8 and 8.7)."""
    event = error.args[0] if error.args else None
    if isinstance(event, StreamReset):
        return event.error_code == ErrorCodes.REFUSED_STREAM
    return isinstance(event, ConnectionTerminated) and event.last_stream_id == 0


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__
