"""What S3 servers and the way to them answer, as errors of the mesh. Codes are passed on, texts of the server never."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict, cast

import aiohttp
from botocore import exceptions as boto  # type: ignore[import-untyped]  # ships no types

from onex_mesh.effect.adapters.objects.store import ConditionFailedError, NoSuchObjectError, UnknownOutcomeError
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError

# Refused before anything was done.
_UNDONE = frozenset(
    {"SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests", "429", "503"}
)
_UNDONE_STATUS = frozenset({429, 503})
# A put on a condition met another put; nothing was done.
_CONDITION = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "401",
        "403",
    }
)
_ELSEWHERE = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect"}
)
_TIMED_OUT = frozenset({"RequestTimeout", "IncompleteBody"})
_UNSENT = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_NOTHING_SENT = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


class _Metadata(TypedDict, total=False):
    HTTPStatusCode: int
    HTTPHeaders: Mapping[str, str]


class _Response(TypedDict, total=False):
    Error: Mapping[str, str]
    ResponseMetadata: _Metadata


@contextmanager
def faults(target: str, path: str) -> Iterator[None]:
    """Errors of botocore and aiohttp as those of the mesh.

    Raises:
        NoSuchObjectError: There is none.
        ConditionFailedError: The condition of a put did not hold.
        UnknownOutcomeError: The request may have been carried out.
        TargetUnavailableError: It was not; trying again may help.
        EffectFailedError: It was not, and trying again will not help.
    """
    try:
        yield
    except boto.ClientError as error:
        raise _answered(target, path, cast(_Response, error.response)) from error
    except _UNSENT as error:
        raise TargetUnavailableError(
            f"{target!r} cannot be reached: {type(error).__name__}", error_context={"target": target}
        ) from error
    except _NOTHING_SENT as error:
        raise EffectFailedError(
            f"{target!r}: no credentials were found: {type(error).__name__}", error_context={"target": target}
        ) from error
    except boto.ParamValidationError as error:
        raise EffectFailedError(
            f"{path!r}: the object has a name or metadata that cannot be sent", error_context={"target": target}
        ) from error
    except (boto.BotoCoreError, aiohttp.ClientError, ConnectionError) as error:
        raise UnknownOutcomeError(
            f"{target!r} broke off: {type(error).__name__}", error_context={"target": target}
        ) from error


def _answered(target: str, path: str, response: _Response) -> Exception:
    code = response.get("Error", {}).get("Code", "")
    metadata = response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    if code in _CONDITION:
        return ConditionFailedError()
    if code in ("NoSuchKey", "404"):
        return NoSuchObjectError(f"{path!r}: there is no such object", error_context={"target": target, "path": path})
    context: dict[str, object] = {"target": target, "status": status, "code": code[:64]}
    if code in _UNDONE or status in _UNDONE_STATUS:
        wait = metadata.get("HTTPHeaders", {}).get("retry-after", "")
        if wait.isascii() and wait.isdigit():
            context["retry_after_s"] = float(wait[:6])
        return TargetUnavailableError(f"{target!r} asks to slow down: {code[:64]}", error_context=context)
    if status == 501 or code == "NotImplemented":
        return EffectFailedError(f"{target!r} does not offer what this needs: {code[:64]}", error_context=context)
    if status >= 500 or code in _TIMED_OUT:
        text = f"{status}" if code == str(status) else f"{status} {code[:64]}"
        return UnknownOutcomeError(f"{target!r} answered {text}", error_context=context)
    return _refused(target, code, status, context)


def _refused(target: str, code: str, status: int, context: dict[str, object]) -> OnexError:
    if code == "NoSuchBucket":
        text = "its bucket does not exist"
    elif code in _DENIED:
        text = f"access is denied ({code})"
    elif code in _ELSEWHERE or 300 <= status < 400:
        text = f"the bucket is in another region, or at another endpoint ({code})"
    else:
        text = f"the request was refused: {code[:64] or status}"
    return EffectFailedError(f"{target!r}: {text}", error_context=context)
